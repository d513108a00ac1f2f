"""The gradients that arrays return beside the digital and the true one."""

from xbar_spice.cosim.gradients.circuit_field import CircuitField, ReadDerivative, Spliced, hybrid_field
from xbar_spice.cosim.gradients.three_gradients import GradientStudy, adjoint_mismatch, three_gradients
from xbar_spice.cosim.gradients.true_gradient import (
    CircuitGradients,
    CircuitParts,
    circuit_gradients,
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
    "Spliced",
    "adjoint_mismatch",
    "circuit_gradients",
    "hybrid_field",
    "three_gradients",
    "weight_gradient",
    "weight_gradients",
    "with_devices",
]
