"""The gradients that arrays return beside the digital and the true one."""

from xbar_spice.cosim.gradients.circuit_field import CircuitField, TapedReads, circuit_field
from xbar_spice.cosim.gradients.read_derivative import ReadDerivative
from xbar_spice.cosim.gradients.three_gradients import GradientStudy, adjoint_mismatch, three_gradients
from xbar_spice.cosim.gradients.true_gradient import (
    CircuitGradients,
    CircuitParts,
    circuit_gradients,
    taped_field,
    weight_gradient,
    weight_gradients,
    with_devices,
)

__all__ = [
    "CircuitField",
    "CircuitGradients",
    "CircuitParts",
    "GradientStudy",
    "ReadDerivative",
    "TapedReads",
    "adjoint_mismatch",
    "circuit_field",
    "circuit_gradients",
    "taped_field",
    "three_gradients",
    "weight_gradient",
    "weight_gradients",
    "with_devices",
]
