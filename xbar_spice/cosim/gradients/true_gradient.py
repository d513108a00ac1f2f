"""The true gradient: of the analog loss, with respect to devices, programmed weights and kernels.

    dL/dG = the sum over all forward reads of (dI/dG)^T dL/dI,    dL/dw = k (dG+/dT+ dL/dG+)     for w > 0,
                                                                         -k (dG-/dT- dL/dG-)     for w < 0,

through the circuit sensitivities of the arrays. k, the siemens of a unit weight, is held fixed: the scale of a chip is
set once. A device that was programmed to the target T ends up at a conductance G; dG/dT is its programming factor, 0
if it is stuck. A weight of exactly 0 gets the mean of its two one-sided derivatives, in a tile that `skip_empty` left
out, too: they are those of the tile that such a weight would build. Clipping to `g_max` is passed straight through.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

from xbar_spice.cosim.gradients.circuit_field import CircuitField
from xbar_spice.cosim.run.cosimulation import Problem, SolverOptions, solve_model
from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.operator import FloatArray
from xbar_spice.mapping.analog_matrix import AnalogMatrix
from xbar_spice.mapping.matrix import MappedMatrix
from xbar_spice.solve.fields.contributions import By, Split, split_axes, summed
from xbar_spice.solve.fields.evaluation import Parameters

__all__ = [
    "CircuitGradients",
    "CircuitParts",
    "circuit_gradients",
    "weight_gradient",
    "weight_gradients",
    "with_devices",
]


@final
@dataclass(frozen=True, eq=False)
class CircuitParts:
    """The gradients of `CircuitGradients`, split by step or by sample along a leading axis."""

    effective: Mapping[str, FloatArray]
    devices: Mapping[str, FloatArray]


@final
@dataclass(frozen=True, eq=False)
class CircuitGradients:
    """Gradients of the analog loss.

    Attributes:
        loss: the analog loss.
        z0: (n, samples).
        effective: dL/dA and dL/dB, with respect to a digital matrix added to what the arrays do; for linear cells,
            with respect to the effective matrices.
        devices: dL/dG of "A" and "B", (devices, inputs, outputs) per siemens; where `skip_empty` left a tile out, those
            of the tile as it would be built.
        parts: by "step" and "sample", as far as asked for, the same two with a leading axis.
        convergence: of the run, as `Run.convergence` gives it.
    """

    loss: float
    z0: FloatArray
    effective: Mapping[str, FloatArray]
    devices: Mapping[str, FloatArray]
    parts: Mapping[By, CircuitParts]
    convergence: Mapping[str, Any]


def circuit_gradients(
    problem: Problem, A: AnalogMatrix, B: AnalogMatrix, solver: SolverOptions | None = None, *, by: Split = ()
) -> CircuitGradients:
    """Solve a model on programmed arrays and differentiate the analog loss exactly.

    No transposed read is made: the derivatives of the forward reads come from the nodal engine. For linear cells that
    takes one forward solve per input and one adjoint solve per output of an array, whatever the parts of the gradient;
    for nonlinear cells the solves of the small-signal arrays at every operating point of the run.

    Args:
        problem: model, samples and loss.
        A: the programmed A of the model.
        B: the programmed B of the model.
        solver: tolerances.
        by: what the gradients are split by in addition, as for `gradients`.

    Raises:
        SimulationError: the simulator behind the arrays failed.
        ConvergenceError: an array could not be solved.
        InvalidInputError: `by` is unknown.
    """
    axes = split_axes(by)
    field = CircuitField(A, B)
    run = solve_model(problem, field, (solver or SolverOptions()).iterative, axes)
    found = dict(run.gradients.parameters)
    total = with_devices(field, {name: summed(value, axes) for name, value in found.items()})
    parts = {
        axis: with_devices(field, {name: summed(value, axes, but=axis) for name, value in found.items()})
        for axis in axes
    }
    return CircuitGradients(run.loss, run.gradients.z0, total.effective, total.devices, parts, run.convergence)


def with_devices(field: CircuitField, parameters: Parameters) -> CircuitParts:
    """The gradients with respect to devices beside those of the matrices, whatever their leading axes."""
    effective = {name: parameters[name] for name in ("A", "B")}
    if field.of_A.linear:
        devices = {"A": field.of_A.devices_of(effective["A"]), "B": field.of_B.devices_of(effective["B"])}
    else:
        devices = {name: parameters[f"{name} devices"] for name in effective}
    return CircuitParts(effective, devices)


def weight_gradients(A: AnalogMatrix, B: AnalogMatrix, devices: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    """dL/dA and dL/dB, by name, with respect to the weights that were written to a chip.

    Args:
        A: the programmed A of the model.
        B: the programmed B of the model.
        devices: dL/dG of "A" and "B".

    Raises:
        InvalidInputError: the arrays are compensated.
    """
    return {
        name: weight_gradient(matrix.weights, matrix.mapped, devices[name]) for name, matrix in (("A", A), ("B", B))
    }


def weight_gradient(weights: FloatArray, mapped: MappedMatrix, devices: FloatArray) -> FloatArray:
    """dL/dW from the gradient with respect to the devices that W was programmed into.

    Args:
        weights: W, (m, n).
        mapped: its arrays.
        devices: (..., devices, n, m) dL/dG.

    Returns:
        (..., m, n).

    Raises:
        InvalidInputError: the arrays are compensated: a device then depends on all weights of its array.
    """
    if mapped.design.compensated:
        raise InvalidInputError(
            "the true gradient of a compensated design is not known, since every device depends on all weights of its "
            "array; use the hardware gradient, which is near it for compensated arrays, or compensated=False"
        )
    return mapped.weight_gradient(weights, devices)
