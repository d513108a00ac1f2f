"""Three gradients of one model and their differences: digital, hardware and true.

- digital: of the digital model;
- hardware: what the arrays return, an analog forward run and transposed reads;
- true: of the analog loss with respect to the programmed weights, through the circuit's sensitivities;

and two more that tell the causes apart: hybrid, an analog forward run with the digital transposes, and effective, the
exact gradient with respect to the effective matrices. hardware - true is the bias that a trainer on the arrays sees,
true - digital what the circuit changed in the model itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from typing import Any, final

import numpy as np

from xbar_spice.checks import ANYTHING, SEED, Optional, Real, checked
from xbar_spice.cosim.gradients.circuit_field import TapedReads
from xbar_spice.cosim.gradients.true_gradient import (
    CircuitGradients,
    circuit_gradients,
    taped_field,
    weight_gradients,
)
from xbar_spice.cosim.run.comparison import Comparison, compare
from xbar_spice.cosim.run.convergence import failed_runs, warn_of_failures
from xbar_spice.cosim.run.cosimulation import Problem, SolverOptions, conditions, solve_model
from xbar_spice.cosim.run.programming import ends_on, expected_noise, field_on, in_digital_numbers, program_model
from xbar_spice.cosim.run.record import RunEntry, Table, typed
from xbar_spice.cosim.training.descent import Descent
from xbar_spice.engines.base import Engine
from xbar_spice.linear.operator import FloatArray, LinearOperator
from xbar_spice.linear.threads import one_thread
from xbar_spice.mapping.analog_matrix import AnalogMatrix
from xbar_spice.mapping.design import Design
from xbar_spice.solve.fields.contributions import By, Split, split_axes, summed
from xbar_spice.streams import Streams
from xbar_spice.weights import Model, end_gradients, from_written, named_gradients

__all__ = ["GradientStudy", "adjoint_mismatch", "three_gradients"]

_PAIRS = {
    "bias": ("hardware", "true"),
    "shift": ("true", "digital"),
    "total": ("hardware", "digital"),
    "transpose": ("hardware", "effective"),
    "hybrid": ("hybrid", "true"),
}
_DIRECTIONS = ("digital", "hardware", "hybrid", "true")
_VECTORS = 8
_WHOLE = ("z0", "h", "times")
_ENDS = ("encoder.", "classifier.")


@final
@dataclass(frozen=True)
class Decrease:
    """Of the analog loss, by one small step of the weights."""

    expected: float
    measured: float


@final
@dataclass(frozen=True)
class Losses:
    """The losses before any step."""

    analog: float
    digital: float


Compared = Mapping[str, Mapping[str, Comparison]]
ComparedParts = Mapping[str, Mapping[str, Sequence[Comparison]]]


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class GradientRecord(Table):
    """What the comparison of the gradients showed; also a table of plain values, `record["differences"]["bias"]`.

    Attributes:
        solver: `SolverOptions` of all runs.
        loss: The losses.
        differences: By the name of the difference and of the parameter, the first gradient against the second: "bias"
            hardware and true, "shift" true and digital, "total" hardware and digital, "transpose" hardware and
            effective, "hybrid" hybrid and true.
        by: For "step" and "sample", as far as asked for, the same for each of them.
        adjoint_mismatch: By matrix, how far transposed reads are from the transpose of forward reads.
        convergence: By the name of the run.
        descent: By the name of the gradient, the decrease by a step against it, expected to first order and measured;
            less is measured where a weight is to grow beyond the range of the chip. None without steps.
    """

    loss: Losses
    differences: Compared
    by: Mapping[str, ComparedParts]
    adjoint_mismatch: Mapping[str, float]
    convergence: Mapping[str, RunEntry]
    solver: Mapping[str, Any] = field(default_factory=dict)
    descent: Mapping[str, Decrease] | None = None


@final
@dataclass(frozen=True, eq=False)
class GradientStudy:
    """Gradients of one model on one set of arrays.

    Attributes:
        gradients: "digital", "hardware", "hybrid", "effective" and "true", each by the name of the parameter.
        devices: dL/dG of each matrix, (devices, inputs, outputs) per siemens; where `skip_empty` left a tile out, those
            of the tile as it would be built.
        parts: by "step" and "sample", as far as asked for, the same gradients with a leading axis, without z0.
        record: the comparisons, see `GradientRecord`.
    """

    gradients: Mapping[str, Mapping[str, FloatArray]]
    devices: Mapping[str, FloatArray]
    parts: Mapping[By, Mapping[str, Mapping[str, FloatArray]]]
    record: GradientRecord

    @property
    def converged(self) -> bool:
        """Whether every run behind the gradients and the steps did."""
        return not failed_runs(self.record["convergence"])


@checked(by=ANYTHING, seed=SEED, step=Optional(Real(above=0, most=1)))
def three_gradients(
    problem: Problem,
    design: Design,
    *,
    engine: str | Engine = "nodal",
    seed: int = 0,
    solver: SolverOptions | None = None,
    by: Split = (),
    step: float | None = 1e-3,
) -> GradientStudy:
    """Compare the digital, the hardware and the true gradient of a model.

    Runs that did not converge are named in the record, and a `ConvergenceWarning` is given.

    Args:
        problem: model, samples and loss.
        design: how the arrays are built.
        engine: who answers the reads; sensitivities always come from the nodal engine.
        seed: from which the devices are drawn.
        solver: tolerances of all runs; no twin or circuit solves linear systems, but GMRES in place of chord and
            feedback.
        by: "step", "sample" or both: compare the parts of the gradients, too, as `gradients` splits them.
        step: length of the descent steps, relative to the weights (of the kernels, if there are kernels); None leaves
            them out.

    Raises:
        SimulationError: the simulator behind the engine failed.
        EngineUnavailableError: the engine needs something that this machine lacks.
        InvalidInputError: `by` is unknown.
    """
    options, model, axes = (solver or SolverOptions()).iterative, problem.model, split_axes(by)
    with one_thread(), ExitStack() as opened:
        digital = solve_model(problem, model.field, options, axes)
        model = in_digital_numbers(model, design, seed)
        held = replace(problem, model=model)
        matrices = program_model(model, design, engine, seed=seed)
        for matrix in matrices:
            opened.enter_context(matrix)
        allowed = options.allowing(expected_noise(model, matrices, digital.trajectory.z))
        hardware = solve_model(held, field_on(model, matrices), allowed, axes, ends_on(model, matrices))
        straight, ends = taped_field(model, [TapedReads(matrix, exact=False) for matrix in matrices])
        hybrid = solve_model(held, straight, allowed, axes, ends)
        exact = circuit_gradients(held, matrices, allowed, by=axes)
        mismatch = {matrix.name: adjoint_mismatch(matrix, Streams(seed).mismatch()) for matrix in matrices}
    runs = {"digital": digital, "hardware": hardware, "hybrid": hybrid}
    weights = _Weights(model, matrices)
    found = {name: _summed(run.parameters, axes) for name, run in runs.items()} | weights.gradients(exact, axes)
    parts = {
        axis: {name: _summed(run.parameters, axes, axis) for name, run in runs.items()}
        | weights.gradients(exact, axes, axis)
        for axis in axes
    }
    record = {
        **conditions(problem, design, engine, seed),
        "solver": options.describe(),
        "loss": {"analog": hardware.loss, "digital": digital.loss},
        "differences": _differences(found),
        "by": {axis: _differences_of_parts(split) for axis, split in parts.items()},
        "adjoint_mismatch": mismatch,
        "convergence": {name: run.convergence for name, run in runs.items()} | {"true": exact.convergence},
    }
    if step is not None and design.conductances is None:  # measured devices do not follow a step
        descent = Descent(weights.held(problem), design, engine, seed, allowed, step)
        steps = {name: descent.along(found[name], found["true"], hardware.loss) for name in _DIRECTIONS}
        record["descent"] = {name: taken.decrease for name, taken in steps.items()}
        record["convergence"] |= {f"step against {name}": taken.convergence for name, taken in steps.items()}
    warn_of_failures("three gradients", record["convergence"])
    return GradientStudy(found, exact.devices, parts, typed(GradientRecord, record))


def _differences(gradients: Mapping[str, Mapping[str, FloatArray]]) -> dict[str, dict[str, dict[str, float]]]:
    """The comparisons of `_PAIRS` by parameter."""
    return {
        name: {key: asdict(compare(values, gradients[second][key])) for key, values in gradients[first].items()}
        for name, (first, second) in _PAIRS.items()
    }


def _differences_of_parts(
    gradients: Mapping[str, Mapping[str, FloatArray]],
) -> dict[str, dict[str, list[dict[str, float]]]]:
    """The comparisons of `_PAIRS` by parameter, one for each step or sample."""
    return {
        name: {
            key: [asdict(compare(*pair)) for pair in zip(values, gradients[second][key], strict=True)]
            for key, values in gradients[first].items()
        }
        for name, (first, second) in _PAIRS.items()
    }


def adjoint_mismatch(matrix: LinearOperator, rng: np.random.Generator) -> float:
    """How far the transposed reads are from the transpose of the forward reads.

    The root mean square of y^T (W x) - x^T (W^T y) over random x and y, relative to that of the larger of the two
    products; 0 for exact transposes.
    """
    m, n = matrix.shape
    x, y = rng.standard_normal((n, _VECTORS)), rng.standard_normal((m, _VECTORS))
    forward, transposed = (y * matrix.mv(x)).sum(axis=0), (x * matrix.T.mv(y)).sum(axis=0)
    size = max(np.linalg.norm(forward), np.linalg.norm(transposed))
    return float(np.linalg.norm(forward - transposed) / size) if size > 0 else 0.0


def _summed(parameters: Mapping[str, FloatArray], axes: tuple[By, ...], but: By | None = None) -> dict[str, FloatArray]:
    """Split gradients, summed over all axes but one; of what does not belong to the field there are no parts."""
    whole = {name: value for name, value in parameters.items() if name in _WHOLE or name.startswith(_ENDS)}
    split = {name: summed(value, axes, but=but) for name, value in parameters.items() if name not in whole}
    return split if but else split | whole


@final
@dataclass(frozen=True)
class _Weights:
    """Where the weights of a model went."""

    model: Model
    matrices: Sequence[AnalogMatrix]

    def held(self, problem: Problem) -> Problem:
        """The problem with the range of weights that this chip holds."""
        largest = {matrix.name: matrix.mapped.largest_weight for matrix in self.matrices}
        stages = {
            name: replace(stage, weight_range=tuple(largest[f"{name}.{of}"] for of in stage.written))
            for name, stage in self.model.stages.items()
        }
        held = tuple(largest[name] for name in self.model.written)
        return replace(problem, model=replace(problem.model.with_stages(stages), weight_range=held))

    def gradients(
        self, exact: CircuitGradients, axes: tuple[By, ...], but: By | None = None
    ) -> dict[str, dict[str, FloatArray]]:
        """The effective and the true gradient by the name of the parameter."""
        devices = exact.devices if but is None else exact.parts[but].devices
        effective = _summed(exact.parameters, axes, but)
        by_matrix = weight_gradients(self.matrices, devices)
        written = named_gradients(self.model, from_written(self.model, by_matrix), lead=int(but is not None))
        ends = {} if but else end_gradients(self.model, by_matrix)
        return {"effective": effective, "true": effective | written | ends}
