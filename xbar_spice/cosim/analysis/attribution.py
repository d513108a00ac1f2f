"""Where an error comes from: combinations of a design's imperfections, with the same devices drawn in each.

With v(S) the error of the design that has the sources S only, a source i counts

- alone: v({i});
- by removal: v(all) - v(all but i);
- by its Shapley value, the mean of v(S + i) - v(S) over all orders in which the sources may come:
  the sum over S without i of |S|! (k - |S| - 1)! / k! (v(S + i) - v(S)). These add up to v(all) - v(none).

All 2^k combinations are run, or, where they are too many, those along some random orders, whose mean is an estimate of
the Shapley values that adds up all the same.

L. S. Shapley, A value for n-person games, Contributions to the Theory of Games II (1953). J. Castro, D. Gomez and
J. Tejada, Polynomial calculation of the Shapley value based on sampling, Comput. Oper. Res. 36 (2009) 1726.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from itertools import product
from math import factorial
from multiprocessing import get_context
from types import MappingProxyType
from typing import Any, final

import numpy as np

from xbar_spice.checks import SEED, Optional, Whole, checked
from xbar_spice.cosim.gradients.three_gradients import three_gradients
from xbar_spice.cosim.run.convergence import Convergence, failed_runs, warn_of_failures
from xbar_spice.cosim.run.cosimulation import Problem, SolverOptions, conditions, cosimulate
from xbar_spice.cosim.run.made import plain
from xbar_spice.cosim.run.record import Record, RunEntry, Table, typed
from xbar_spice.engines.base import Engine
from xbar_spice.errors import ConvergenceWarning, InvalidInputError
from xbar_spice.hardware.amplifier import Amplifier
from xbar_spice.hardware.cells import Ohmic
from xbar_spice.hardware.converters import Converters
from xbar_spice.hardware.digital_numbers import DigitalNumbers
from xbar_spice.hardware.drift import NoDrift
from xbar_spice.hardware.read_noise import ReadNoise
from xbar_spice.linear.operator import FloatArray
from xbar_spice.mapping.design import Design
from xbar_spice.streams import Streams
from xbar_spice.weights.end import of_end
from xbar_spice.weights.fields import kernel_name

__all__ = ["CLIPPED", "SOURCES", "Attribution", "attribute"]

SOURCES: Mapping[str, Callable[[Design], Design]] = MappingProxyType(
    {
        "wires": lambda design: replace(design, r_word=0.0, r_bit=0.0),
        "drivers and sensing": lambda design: replace(design, r_driver=0.0, r_sense=0.0, amplifier=Amplifier()),
        "programming error": lambda design: replace(
            design, variation=design.variation.without("error"), cycle=design.cycle.without("error"), conductances=None
        ),
        "stuck devices": lambda design: replace(
            design, variation=design.variation.without("stuck devices"), cycle=design.cycle.without("stuck devices")
        ),
        "drift": lambda design: replace(design, drift=NoDrift(), after=0.0),
        "nonlinear cells": lambda design: replace(design, device=Ohmic()),
        "read noise": lambda design: replace(design, noise=ReadNoise()),
        "converters": lambda design: replace(design, converters=Converters()),
        "fixed point": lambda design: replace(design, numbers=DigitalNumbers()),
    }
)
"""Every source of error of a design, and how it is freed of it; an entry here is all that a new source needs."""

CLIPPED = "clipped weights"
"""The one source that is no matter of the design alone: weights that have grown beyond the range of their chip."""

Present = tuple[int, ...]
"""One combination: 1 for each source that is there, 0 for the others."""


@final
@dataclass(frozen=True)
class Measure:
    """What each source does to one error; see the methods of `Attribution`."""

    total: float
    none: float
    alone: Mapping[str, float]
    all_but: Mapping[str, float] = field(metadata={"key": "all but"})
    shapley: Mapping[str, float]
    shapley_error: Mapping[str, float] = field(metadata={"key": "shapley error"})


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class AttributionRecord(Table):
    """What an attribution showed; also a table of plain values, `record["measures"]["state"]["shapley"]`.

    Attributes:
        sources: Those that the design has.
        orders: Number of orders along which the Shapley values were estimated; 0 for all.
        runs: Number of combinations that were run.
        convergence: As `Attribution.convergence`.
        measures: By the name of the error.
    """

    engine: str = ""
    sources: Sequence[str]
    orders: int
    measures: Mapping[str, Measure]
    convergence: Mapping[str, RunEntry]
    runs: int | None = None


@final
@dataclass(frozen=True, eq=False)
class Attribution:
    """Errors of all combinations of sources.

    Attributes:
        sources: the sources that the design has.
        errors: by measure, an array of one axis of length 2 per source: the error without (0) and with it (1); NaN for
            combinations that were not run.
        conditions: engine, seed, design and samples, as plain values.
        convergence: by the sources of a combination and the run ("wires, read noise: analog"), whether it converged and
            for which samples not.
        orders: the orders of the sources along which the Shapley values are estimated; all of them when empty.
    """

    sources: tuple[str, ...]
    errors: Mapping[str, FloatArray]
    conditions: Mapping[str, Any]
    orders: tuple[tuple[int, ...], ...] = ()
    convergence: Convergence = field(default_factory=dict)

    @property
    def converged(self) -> bool:
        """Whether every run of every combination did: values that count one that did not mean nothing."""
        return not failed_runs(self.convergence)

    def total(self, measure: str) -> float:
        """The error with all sources."""
        return self._error(measure, range(len(self.sources)))

    def none(self, measure: str) -> float:
        """The error without any source: what the solver's tolerance leaves."""
        return self._error(measure, ())

    def alone(self, measure: str) -> dict[str, float]:
        """The error with each source alone."""
        return {name: self._error(measure, [index]) for index, name in enumerate(self.sources)}

    def all_but(self, measure: str) -> dict[str, float]:
        """The error with all sources but one."""
        everything = set(range(len(self.sources)))
        return {name: self._error(measure, everything - {index}) for index, name in enumerate(self.sources)}

    def shapley(self, measure: str) -> dict[str, float]:
        """The Shapley value of each source; they add up to `total` - `none`."""
        if self.orders:
            return dict(zip(self.sources, self._gains(measure).mean(axis=0).tolist(), strict=True))
        count = len(self.sources)
        sizes = [sum(others) for others in product((0, 1), repeat=count - 1)]
        weights = np.array([factorial(size) * factorial(count - size - 1) / factorial(count) for size in sizes])
        gains = [np.diff(self._errors(measure), axis=axis).ravel() for axis in range(count)]
        return {name: float(weights @ gain) for name, gain in zip(self.sources, gains, strict=True)}

    def shapley_error(self, measure: str) -> dict[str, float]:
        """Standard error of each Shapley value: 0 if all combinations were run."""
        if not self.orders:
            return dict.fromkeys(self.sources, 0.0)
        # An order and its reverse are no independent draws, but their mean is one.
        pairs = self._gains(measure).reshape(-1, 2, len(self.sources)).mean(axis=1)
        spread = pairs.std(axis=0, ddof=1) / np.sqrt(len(pairs))
        return dict(zip(self.sources, spread.tolist(), strict=True))

    @property
    def record(self) -> AttributionRecord:
        """All of it as one value."""
        content: dict[str, Any] = {
            **self.conditions,
            "sources": list(self.sources),
            "orders": len(self.orders),
            "convergence": dict(self.convergence),
            "measures": {
                measure: plain(
                    Measure(
                        self.total(measure),
                        self.none(measure),
                        self.alone(measure),
                        self.all_but(measure),
                        self.shapley(measure),
                        self.shapley_error(measure),
                    )
                )
                for measure in self.errors
            },
        }
        return typed(AttributionRecord, content)

    def _gains(self, measure: str) -> FloatArray:
        """(orders, sources) by how much each source changes the error when it comes in an order."""
        gains = np.empty((len(self.orders), len(self.sources)))
        for row, order in zip(gains, self.orders, strict=True):
            along = [self._error(measure, order[:end]) for end in range(len(order) + 1)]
            row[list(order)] = np.diff(along)
        return gains

    def _error(self, measure: str, present: Any) -> float:
        return float(self._errors(measure)[tuple(int(index in present) for index in range(len(self.sources)))])

    def _errors(self, measure: str) -> FloatArray:
        if measure not in self.errors:
            raise InvalidInputError(f"measure must be one of {', '.join(map(repr, self.errors))}, got {measure!r}")
        return self.errors[measure]


@checked(orders=Optional(Whole(None, 10**6)), jobs=Whole(1, 1024), seed=SEED)
def attribute(
    problem: Problem,
    design: Design,
    *,
    engine: str | Engine = "nodal",
    seed: int = 0,
    solver: SolverOptions | None = None,
    orders: int | None = None,
    split: bool = False,
    jobs: int = 1,
    on_run: Callable[[int, int], None] | None = None,
) -> Attribution:
    """Attribute the errors of a co-simulation to the imperfections of the design.

    Runs one co-simulation for each of the 2^k combinations of its k sources, or those that `orders` need. The measures
    are the relative errors of the final state ("state"), of the loss ("loss"), and of the hardware gradient ("gradient
    of a", ...) against the digital ones. Devices are the same in every combination. Read noise is drawn in the order
    of the reads, which differs between combinations: what a source counts has a random part of its size. Combinations
    with runs that did not converge are named in the result, and a `ConvergenceWarning` is given.

    Args:
        problem: model, samples and loss.
        design: with all imperfections.
        engine: who answers the reads.
        seed: from which devices, read noise and orders are drawn.
        solver: tolerances.
        orders: estimate the Shapley values along so many random orders, an even number >= 4, half of them the reverse
            of the others; all combinations are run when left out, or where they are no more.
        split: attribute the two parts of the gradient's error, too, as `three_gradients` tells them apart: hardware
            against true gradient ("bias of a", ...), and true against digital gradient ("shift of a", ...).
        jobs: runs side by side. With more than one, a script needs the guard `if __name__ == "__main__":`.
        on_run: called after each run with the number of finished runs and of all runs.

    Raises:
        InvalidInputError: the design has no source of error, or a number that is not allowed.
        SimulationError: the simulator behind the engine failed.
    """
    sources = tuple(name for name in (*SOURCES, CLIPPED) if _freed(problem, design, [name]) != (problem, design))
    if not sources:
        raise InvalidInputError(
            f"this design has none of the sources {', '.join([*SOURCES, CLIPPED])}: nothing to attribute"
        )
    if orders is not None and (orders < 4 or orders % 2):
        raise InvalidInputError(f"orders must be None or an even number >= 4, got {orders}")
    if jobs < 1:
        raise InvalidInputError(f"jobs must be a whole number >= 1, got {jobs}")
    drawn = _draw_orders(len(sources), orders, seed)
    combinations = _needed(len(sources), drawn)
    if len(combinations) == 2 ** len(sources):
        drawn = ()
    cases = [
        _Case(*_freed(problem, design, _named(sources, present, there=0)), engine, seed, solver, split)
        for present in combinations
    ]
    errors: dict[str, FloatArray] = {}
    convergence: dict[str, Mapping[str, Any]] = {}
    for number, (place, found) in enumerate(_run(cases, jobs), start=1):
        label = ", ".join(_named(sources, combinations[place], there=1)) or "none"
        convergence |= {f"{label}: {run}": said for run, said in found.convergence.items()}
        for measure, error in found.errors.items():
            errors.setdefault(measure, np.full((2,) * len(sources), np.nan))[combinations[place]] = error
        if on_run is not None:
            on_run(number, len(cases))
    warn_of_failures("attribution", convergence)
    made = conditions(problem, design, engine, seed) | {"runs": len(cases)}
    return Attribution(sources, errors, made, drawn, dict(sorted(convergence.items())))


@final
@dataclass(frozen=True)
class _Found:
    """What one combination showed: its errors by measure, and the convergence of its runs by name."""

    errors: dict[str, float]
    convergence: Convergence


@final
@dataclass(frozen=True, eq=False)
class _Case:
    """One combination, as it is sent to another process."""

    problem: Problem
    design: Design
    engine: str | Engine
    seed: int
    solver: SolverOptions | None
    split: bool

    def run(self) -> _Found:
        problem, design, engine, seed, solver = self.problem, self.design, self.engine, self.seed, self.solver
        compared = cosimulate(problem, design, engine=engine, seed=seed, solver=solver).record
        errors, convergence = _measures(compared), dict(compared["convergence"])
        if self.split:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)  # the attribution names its runs itself
                record = three_gradients(problem, design, engine=engine, seed=seed, solver=solver, step=None).record
            for part in ("bias", "shift"):
                errors |= _relative_errors(part, record["differences"][part])
            convergence |= record["convergence"]
        return _Found(errors, convergence)


def _run(cases: Sequence[_Case], jobs: int) -> Iterator[tuple[int, _Found]]:
    """The measures of each case with its number, as they come."""
    if jobs == 1:
        yield from ((number, case.run()) for number, case in enumerate(cases))
        return
    # A forked process would inherit locks of threads that it does not have.
    with ProcessPoolExecutor(min(jobs, len(cases)), mp_context=get_context("spawn")) as pool:
        numbers = {pool.submit(_Case.run, case): number for number, case in enumerate(cases)}
        try:
            for future in as_completed(numbers):
                yield numbers[future], future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _draw_orders(sources: int, orders: int | None, seed: int) -> tuple[tuple[int, ...], ...]:
    if orders is None:
        return ()
    rng = Streams(seed).orders()
    drawn = [tuple(rng.permutation(sources).tolist()) for _ in range(orders // 2)]
    return tuple(order for one in drawn for order in (one, one[::-1]))


def _needed(sources: int, orders: Sequence[tuple[int, ...]]) -> list[Present]:
    """The combinations to run: all of them, or with nothing, everything, each source alone, all but one, and orders."""
    everything = list(product((0, 1), repeat=sources))
    if not orders:
        return everything
    along = {frozenset(order[:end]) for order in orders for end in range(sources + 1)}
    return [
        present
        for present in everything
        if sum(present) in (1, sources - 1) or frozenset(np.flatnonzero(present).tolist()) in along
    ]


def _named(sources: Sequence[str], present: Present, *, there: int) -> list[str]:
    """The sources that are there in a combination (1), or those that are not (0)."""
    return [name for name, one in zip(sources, present, strict=True) if one == there]


def _freed(problem: Problem, design: Design, sources: list[str]) -> tuple[Problem, Design]:
    """Both without these sources; the very same objects where they do not have them."""
    for name in sources:
        if name == CLIPPED:
            problem, design = _unclipped(problem, design)
        else:
            design = SOURCES[name](design)
    return problem, design


def _unclipped(problem: Problem, design: Design) -> tuple[Problem, Design]:
    """A window of conductances that holds the largest weight, at the same siemens per weight.

    Only a model with a `weight_range` is ever clipped. A wider window moves no other device, but those that are stuck
    at `g_max` or that programming would take beyond it.
    """
    model = problem.model
    if model.weight_range is None:
        return problem, design
    wider = max(model.largest(name) / held for name, held in zip(model.written, model.weight_range, strict=True))
    if wider <= 1.0:
        return problem, design
    held = tuple(largest * wider for largest in model.weight_range)
    window = (design.g_max - design.g_min) * wider
    return replace(problem, model=replace(model, weight_range=held)), replace(design, g_max=design.g_min + window)


def _measures(record: Record) -> dict[str, float]:
    state_and_loss = {"state": record.state.relative_error, "loss": record.loss.relative_error}
    return state_and_loss | _relative_errors("gradient", record["gradients"])


def _relative_errors(what: str, comparisons: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Of all tensors of fields, but of the matrices of kernels; not of the states and of what stands around fields."""
    left_out = {name for name in comparisons if kernel_name(name) in comparisons.keys() - {name}} | {"z0"}
    around = [name for name in comparisons if of_end(name) and ".field." not in name]
    names = [name for name in comparisons if name not in left_out and name not in around]
    return {f"{what} of {name}": float(comparisons[name]["relative_error"]) for name in names}
