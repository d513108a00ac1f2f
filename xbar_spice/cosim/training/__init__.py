"""Training on the arrays of a chip."""

from xbar_spice.cosim.training.chip import Chip, GradientKind
from xbar_spice.cosim.training.descent import Descent, Step

__all__ = [
    "Chip",
    "Descent",
    "GradientKind",
    "Step",
]
