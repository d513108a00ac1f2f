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
from xbar_spice.linear import FloatArray
from xbar_spice.mapping import MappedMatrix
from xbar_spice.operators import AnalogMatrix

__all__ = ["CircuitGradients", "circuit_gradients", "weight_gradient"]


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
    if field.of_A.linear:
        devices = {
            "A": _from_effective(field.of_A, effective["A"]),
            "B": _from_effective(field.of_B, effective["B"]),
        }
    else:
        devices = {name: run.gradients.parameters[f"{name} devices"] for name in effective}
    return CircuitGradients(run.loss, run.gradients.z0, effective, devices)


def _from_effective(read: ReadDerivative, gradient: FloatArray) -> FloatArray:
    """dL/dG of linear cells: <dL/dW, W(G)> is a weighted sum of the reads of all unit vectors."""
    return read.device_gradient(np.eye(gradient.shape[1]), gradient)


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
    """
    # The devices are affine in their targets: programmed with 1 S for a window of no width, they show their factors.
    factors = mapped.design.variation.apply(np.ones_like(devices), 0.0, 0.0, rng)
    plus, minus = mapped.siemens_per_weight * factors * devices
    sign = np.sign(weights.T)
    return np.asarray((0.5 * (1.0 + sign) * plus - 0.5 * (1.0 - sign) * minus).T)
