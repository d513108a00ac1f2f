"""Gradients of a run: the exact discrete adjoint, and its checkpointed, reversed, continuous and tangent kin."""

from xbar_spice.solve.adjoint.augmented import AugmentedGradients, augmented_gradients
from xbar_spice.solve.adjoint.continuous import continuous_gradients
from xbar_spice.solve.adjoint.discrete import Gradients, gradients
from xbar_spice.solve.adjoint.memory import LeanGradients, checkpointed_gradients, reversed_gradients, stored_numbers
from xbar_spice.solve.adjoint.tangent import tangent

__all__ = [
    "AugmentedGradients",
    "Gradients",
    "LeanGradients",
    "augmented_gradients",
    "checkpointed_gradients",
    "continuous_gradients",
    "gradients",
    "reversed_gradients",
    "stored_numbers",
    "tangent",
]
