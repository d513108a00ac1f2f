"""Where an error comes from: every combination of a design's imperfections, with the same devices drawn in each.

With v(S) the error of the design that has the sources S only, a source i counts

- alone: v({i});
- by removal: v(all) - v(all but i);
- by its Shapley value, the mean of v(S + i) - v(S) over all orders in which the sources may come:
  the sum over S without i of |S|! (k - |S| - 1)! / k! (v(S + i) - v(S)). These add up to v(all) - v(none).

L. S. Shapley, A value for n-person games, Contributions to the Theory of Games II (1953).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import product
from math import factorial
from types import MappingProxyType
from typing import Any, final

import numpy as np

from xbar_spice.amplifier import Amplifier
from xbar_spice.cosim.run import Cosimulation, Problem, SolverOptions, cosimulate
from xbar_spice.devices import Ohmic
from xbar_spice.engines.base import Engine
from xbar_spice.errors import InvalidInputError
from xbar_spice.linear import FloatArray
from xbar_spice.mapping import Design

__all__ = ["SOURCES", "Attribution", "attribute"]

SOURCES: Mapping[str, Callable[[Design], Design]] = MappingProxyType(
    {
        "wires": lambda design: replace(design, r_word=0.0, r_bit=0.0),
        "drivers and sensing": lambda design: replace(design, r_driver=0.0, r_sense=0.0, amplifier=Amplifier()),
        "programming error": lambda design: replace(design, variation=replace(design.variation, programming=0.0)),
        "stuck devices": lambda design: replace(
            design, variation=replace(design.variation, stuck_on=0.0, stuck_off=0.0)
        ),
        "nonlinear cells": lambda design: replace(design, device=Ohmic()),
    }
)
"""Every source of error, and how a design is freed of it."""


@final
@dataclass(frozen=True, eq=False)
class Attribution:
    """Errors of all combinations of sources.

    Attributes:
        sources: the sources that the design has.
        errors: by measure, an array of one axis of length 2 per source: the error without (0) and with it (1).
        conditions: engine, seed, design and samples, as plain values.
    """

    sources: tuple[str, ...]
    errors: Mapping[str, FloatArray]
    conditions: Mapping[str, Any]

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
        count = len(self.sources)
        sizes = np.indices((2,) * (count - 1)).reshape(count - 1, -1).sum(axis=0)
        weights = np.array([factorial(size) * factorial(count - size - 1) / factorial(count) for size in sizes])
        gains = [np.diff(self._errors(measure), axis=axis).ravel() for axis in range(count)]
        return {name: float(weights @ gain) for name, gain in zip(self.sources, gains, strict=True)}

    @property
    def record(self) -> dict[str, Any]:
        """All of it as plain values that JSON can hold."""
        return {
            **self.conditions,
            "sources": list(self.sources),
            "measures": {
                measure: {
                    "total": self.total(measure),
                    "none": self.none(measure),
                    "alone": self.alone(measure),
                    "all but": self.all_but(measure),
                    "shapley": self.shapley(measure),
                }
                for measure in self.errors
            },
        }

    def _error(self, measure: str, present: Any) -> float:
        return float(self._errors(measure)[tuple(int(index in present) for index in range(len(self.sources)))])

    def _errors(self, measure: str) -> FloatArray:
        if measure not in self.errors:
            raise InvalidInputError(f"measure must be one of {', '.join(map(repr, self.errors))}, got {measure!r}")
        return self.errors[measure]


def attribute(
    problem: Problem,
    design: Design,
    *,
    engine: str | Engine = "nodal",
    seed: int = 0,
    solver: SolverOptions | None = None,
) -> Attribution:
    """Attribute the errors of a co-simulation to the imperfections of the design.

    Runs one co-simulation for each of the 2^k combinations of its k sources, at most 32. The measures are the relative
    errors of the final state ("state"), of the loss ("loss"), and of the hardware gradient ("gradient of a", ...)
    against the digital ones.

    Args:
        problem: model, samples and loss.
        design: with all imperfections.
        engine: who answers the reads.
        seed: from which the devices are drawn, the same ones in every combination.
        solver: tolerances.

    Raises:
        InvalidInputError: the design has no source of error.
        SimulationError: the simulator behind the engine failed.
    """
    sources = tuple(name for name, without in SOURCES.items() if without(design) != design)
    if not sources:
        raise InvalidInputError(f"this design has none of the sources {', '.join(SOURCES)}: nothing to attribute")
    errors: dict[str, FloatArray] = {}
    for present in product((0, 1), repeat=len(sources)):
        chosen = _freed(design, [name for name, there in zip(sources, present, strict=True) if not there])
        result = cosimulate(problem, chosen, engine=engine, seed=seed, solver=solver)
        for measure, error in _measures(result).items():
            errors.setdefault(measure, np.full((2,) * len(sources), np.nan))[present] = error
    conditions = {
        "engine": engine.name if isinstance(engine, Engine) else engine,
        "seed": seed,
        "design": asdict(design) | {"device": repr(design.device)},
        "samples": problem.z0.shape[1],
    }
    return Attribution(sources, errors, conditions)


def _freed(design: Design, sources: list[str]) -> Design:
    for name in sources:
        design = SOURCES[name](design)
    return design


def _measures(result: Cosimulation) -> dict[str, float]:
    record = result.record
    names = [name for name in ("a", "b") if name in record["gradients"]] or ["A", "B"]
    gradients = {f"gradient of {name}": float(record["gradients"][name]["relative_error"]) for name in names}
    return {"state": record["state"]["relative_error"], "loss": record["loss"]["relative_error"]} | gradients
