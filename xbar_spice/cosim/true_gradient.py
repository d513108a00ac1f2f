"""The true gradient: of the analog loss, with respect to devices, programmed weights and kernels.

    dL/dG = the sum over all forward reads of (dI/dG)^T dL/dI,    dL/dw = k (dG+/dT+ dL/dG+)     for w > 0,
                                                                         -k (dG-/dT- dL/dG-)     for w < 0,

through the circuit sensitivities of the arrays. k, the siemens of a unit weight, is held fixed: the scale of a chip is
set once. A device that was programmed to the target T ends up at a conductance G; dG/dT is its programming factor, 0
if it is stuck. A weight of exactly 0 gets the mean of its two one-sided derivatives. Clipping to `g_max` is passed
straight through.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import numpy as np

from xbar_spice.cosim.circuit_field import CircuitField, ReadDerivative
from xbar_spice.cosim.run import Problem, SolverOptions, solve_model
from xbar_spice.errors import InvalidInputError
from xbar_spice.linear import FloatArray
from xbar_spice.mapping import MappedMatrix
from xbar_spice.operators import AnalogMatrix
from xbar_spice.solve.adjoint import Gradients
from xbar_spice.variation import random_stream
from xbar_spice.weights import Model

__all__ = ["CircuitGradients", "circuit_gradients", "device_gradients", "weight_gradient", "weight_gradients"]


@final
@dataclass(frozen=True, eq=False)
class CircuitGradients:
    """Gradients of the analog loss.

    Attributes:
        loss: the analog loss.
        z0: (n, samples).
        effective: dL/dA and dL/dB, with respect to a digital matrix added to what the arrays do; for linear cells,
            with respect to the effective matrices.
        devices: dL/dG of "A" and "B", (2, inputs, outputs) per siemens: plus and minus devices.
    """

    loss: float
    z0: FloatArray
    effective: Mapping[str, FloatArray]
    devices: Mapping[str, FloatArray]


def circuit_gradients(
    problem: Problem, A: AnalogMatrix, B: AnalogMatrix, solver: SolverOptions | None = None
) -> CircuitGradients:
    """Solve a model on programmed arrays and differentiate the analog loss exactly.

    No transposed read is made: the derivatives of the forward reads come from the nodal engine. For linear cells that
    takes one forward and one adjoint solve per input of an array; for nonlinear cells the solves of the small-signal
    arrays at every operating point of the run.

    Args:
        problem: model, samples and loss.
        A: the programmed A of the model.
        B: the programmed B of the model.
        solver: tolerances.

    Raises:
        SimulationError: the simulator behind the arrays failed.
        ConvergenceError: an array could not be solved.
    """
    field = CircuitField(A, B)
    run = solve_model(problem, field, solver or SolverOptions())
    effective = {"A": run.gradients.A, "B": run.gradients.B}
    return CircuitGradients(run.loss, run.gradients.z0, effective, device_gradients(field, run.gradients))


def device_gradients(field: CircuitField, gradients: Gradients) -> dict[str, FloatArray]:
    """dL/dG of "A" and "B", (2, inputs, outputs) per siemens, from the gradients of a run of the field."""
    if field.of_A.linear:
        return {"A": _from_effective(field.of_A, gradients.A), "B": _from_effective(field.of_B, gradients.B)}
    return {name: gradients.parameters[f"{name} devices"] for name in "AB"}


def _from_effective(read: ReadDerivative, gradient: FloatArray) -> FloatArray:
    """dL/dG of linear cells: <dL/dW, W(G)> is a weighted sum of the reads of all unit vectors."""
    return read.device_gradient(np.eye(gradient.shape[1]), gradient)


def weight_gradients(
    model: Model, A: AnalogMatrix, B: AnalogMatrix, devices: Mapping[str, FloatArray], seed: int
) -> tuple[FloatArray, FloatArray]:
    """dL/dA and dL/dB with respect to the weights that `program_model` wrote to a chip.

    Args:
        model: the weights.
        A: the programmed A of the model.
        B: the programmed B of the model.
        devices: dL/dG of "A" and "B".
        seed: from which the devices of the chip were drawn.

    Raises:
        InvalidInputError: the arrays are compensated.
    """
    of_A, of_B = (
        weight_gradient(W, matrix.mapped, devices[name], random_stream(seed, "devices", name))
        for name, W, matrix in (("A", model.A, A), ("B", model.B, B))
    )
    return of_A, of_B


def weight_gradient(
    weights: FloatArray, mapped: MappedMatrix, devices: FloatArray, rng: np.random.Generator | None = None
) -> FloatArray:
    """dL/dW from the gradient with respect to the devices that W was programmed into.

    Args:
        weights: W, (m, n).
        mapped: its arrays.
        devices: (2, n, m) dL/dG.
        rng: the generator in the state in which W was programmed with it.

    Returns:
        (m, n).

    Raises:
        InvalidInputError: the arrays are compensated: a device then depends on all weights of its array.
    """
    if mapped.design.compensated:
        raise InvalidInputError(
            "the true gradient of a compensated design is not known, since every device depends on all weights of its "
            "array; use the hardware gradient, which is near it for compensated arrays, or compensated=False"
        )
    # The devices are affine in their targets: programmed with 1 S for a window of no width, they show their factors.
    factors = mapped.design.variation.apply(np.ones_like(devices), 0.0, 0.0, rng)
    plus, minus = mapped.siemens_per_weight * factors * devices
    sign = np.sign(weights.T)
    return np.asarray((0.5 * (1.0 + sign) * plus - 0.5 * (1.0 - sign) * minus).T)
