"""Three gradients of one model and their differences: digital, hardware and true.

- digital: of the digital model;
- hardware: what the arrays return, an analog forward run and transposed reads;
- true: of the analog loss with respect to the programmed weights, through the circuit's sensitivities;

and two more that tell the causes apart: hybrid, an analog forward run with the digital transposes, and effective, the
exact gradient with respect to the effective matrices. hardware - true is the bias that a trainer on the arrays sees,
true - digital what the circuit changed in the model itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, final

import numpy as np
from threadpoolctl import threadpool_limits

from xbar_spice.cosim.run import (
    Problem,
    SolverOptions,
    compare,
    expected_noise,
    named_gradients,
    program_model,
    solve_model,
)
from xbar_spice.cosim.true_gradient import CircuitGradients, circuit_gradients, weight_gradient
from xbar_spice.engines.base import Engine
from xbar_spice.linear import DenseOperator, FloatArray, LinearOperator
from xbar_spice.mapping import Design
from xbar_spice.operators import AnalogMatrix
from xbar_spice.solve.field import ReluField
from xbar_spice.variation import random_stream
from xbar_spice.weights import Model

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


@final
@dataclass(frozen=True, eq=False)
class GradientStudy:
    """Gradients of one model on one set of arrays.

    Attributes:
        gradients: "digital", "hardware", "hybrid", "effective" and "true", each by the name of the parameter.
        devices: dL/dG of "A" and "B", (2, inputs, outputs) per siemens: plus and minus devices.
        record: the comparisons, as plain values that JSON can hold. Under "differences", by the name of the difference
            and of the parameter, the first gradient against the second: "bias" hardware and true, "shift" true and
            digital, "total" hardware and digital, "transpose" hardware and effective, "hybrid" hybrid and true. Under
            "descent" the decrease of the analog loss by one small step against each gradient, expected to first order
            and measured; less is measured where a weight is to grow beyond the range of the chip. Under
            "adjoint_mismatch" that of A and B.
    """

    gradients: Mapping[str, Mapping[str, FloatArray]]
    devices: Mapping[str, FloatArray]
    record: dict[str, Any]


def three_gradients(
    problem: Problem,
    design: Design,
    *,
    engine: str | Engine = "nodal",
    seed: int = 0,
    solver: SolverOptions | None = None,
    step: float = 1e-3,
) -> GradientStudy:
    """Compare the digital, the hardware and the true gradient of a model.

    Args:
        problem: model, samples and loss.
        design: how A and B are built.
        engine: who answers the reads; sensitivities always come from the nodal engine.
        seed: from which the devices are drawn.
        solver: tolerances of all runs.
        step: length of the descent steps, relative to the weights (of the kernels, if there are kernels).

    Raises:
        SimulationError: the simulator behind the engine failed.
        EngineUnavailableError: the engine needs something that this machine lacks.
    """
    options, model = solver or SolverOptions(), problem.model
    with threadpool_limits(limits=1, user_api="blas"):
        digital = solve_model(problem, ReluField(model.A, model.B), options)
        A, B = program_model(model, design, engine, seed=seed)
        with A, B:
            allowed = options.allowing(expected_noise(model, A, B, digital.trajectory.z))
            hardware = solve_model(problem, ReluField(A, B), allowed)
            mixed = ReluField(_Spliced(A, DenseOperator(model.A)), _Spliced(B, DenseOperator(model.B)))
            hybrid = solve_model(problem, mixed, allowed)
            exact = circuit_gradients(problem, A, B, allowed)
            mismatch = {matrix.name: adjoint_mismatch(matrix, random_stream(seed, "mismatch")) for matrix in (A, B)}
        found = {
            "digital": digital.parameters,
            "hardware": hardware.parameters,
            "hybrid": hybrid.parameters,
            "effective": named_gradients(model, exact.effective["A"], exact.effective["B"], exact.z0),
            "true": _with_respect_to_weights(model, A, B, exact, seed),
        }
        descent = _Descent(problem, design, engine, seed, allowed, _scales(A, B), step)
        record = {
            "engine": engine.name if isinstance(engine, Engine) else engine,
            "seed": seed,
            "design": asdict(design) | {"device": repr(design.device)},
            "samples": problem.z0.shape[1],
            "solver": asdict(options),
            "loss": {"analog": hardware.loss, "digital": digital.loss},
            "differences": {
                name: {key: asdict(compare(values, found[second][key])) for key, values in found[first].items()}
                for name, (first, second) in _PAIRS.items()
            },
            "descent": {name: descent.along(found[name], found["true"], hardware.loss) for name in _DIRECTIONS},
            "adjoint_mismatch": mismatch,
        }
    return GradientStudy(found, exact.devices, record)


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


@final
class _Spliced(LinearOperator):
    """Forward products of one operator, transposed products of another one."""

    def __init__(self, forward: LinearOperator, transposed: LinearOperator) -> None:
        self._by_mv, self._by_transpose = forward, transposed

    @property
    def shape(self) -> tuple[int, int]:
        return self._by_mv.shape

    def _forward(self, x: FloatArray) -> FloatArray:
        return self._by_mv.mv(x)

    def _transposed(self, y: FloatArray) -> FloatArray:
        return self._by_transpose.T.mv(y)


def _with_respect_to_weights(
    model: Model, A: AnalogMatrix, B: AnalogMatrix, exact: CircuitGradients, seed: int
) -> dict[str, FloatArray]:
    by_matrix = {
        matrix.name: weight_gradient(
            W, matrix.mapped, exact.devices[matrix.name], random_stream(seed, "devices", matrix.name)
        )
        for W, matrix in ((model.A, A), (model.B, B))
    }
    return named_gradients(model, by_matrix["A"], by_matrix["B"], exact.z0)


def _scales(*matrices: AnalogMatrix) -> dict[str, float]:
    return {matrix.name: matrix.mapped.siemens_per_weight for matrix in matrices}


@final
@dataclass(frozen=True)
class _Descent:
    """Steps of the weights on one chip."""

    problem: Problem
    design: Design
    engine: str | Engine
    seed: int
    options: SolverOptions
    scales: Mapping[str, float]
    step: float

    def along(
        self, gradient: Mapping[str, FloatArray], true: Mapping[str, FloatArray], loss: float
    ) -> dict[str, float]:
        """Decrease of the analog loss by a step against a gradient: to first order, and measured."""
        weights = _free_parameters(self.problem.model)
        length = self.step * _joint_norm(weights, weights) / max(_joint_norm(gradient, weights), np.finfo(float).tiny)
        moved = {name: values - length * gradient[name] for name, values in weights.items()}
        expected = length * sum(float(np.vdot(gradient[name], true[name])) for name in weights)
        return {"expected": expected, "measured": loss - self._loss(_moved(self.problem.model, moved))}

    def _loss(self, model: Model) -> float:
        A, B = program_model(model, self.design, self.engine, seed=self.seed, scales=self.scales)
        with A, B:
            return solve_model(replace(self.problem, model=model), ReluField(A, B), self.options).loss


def _free_parameters(model: Model) -> dict[str, FloatArray]:
    """What a trainer changes: the kernels, or the matrices."""
    if model.kernels is not None:
        return {"a": model.kernels.a, "b": model.kernels.b}
    return {"A": model.A, "B": model.B}


def _moved(model: Model, parameters: Mapping[str, FloatArray]) -> Model:
    if model.kernels is None:
        return replace(model, A=parameters["A"], B=parameters["B"])
    kernels = replace(model.kernels, a=parameters["a"], b=parameters["b"])
    A, B = kernels.matrices()
    return replace(model, A=A, B=B, kernels=kernels)


def _joint_norm(values: Mapping[str, FloatArray], names: Mapping[str, FloatArray]) -> float:
    return float(np.sqrt(sum(np.vdot(values[name], values[name]) for name in names)))
