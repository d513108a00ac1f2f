"""Numbers of a fixed point, <IL, FL>: what digital registers hold, and what the counts of pulses amount to."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from xbar_spice.checks import Array, Whole, checked
from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.operator import FloatArray

__all__ = ["Rounding", "fixed_point"]

Rounding = Literal["nearest", "stochastic"]
"""To the nearest number, a tie upwards; or up by a chance equal to the part that is left, which has no bias."""

_MOST_BITS = 52  # of a float64, which holds every such number exactly


@checked(integer_bits=Whole(1, _MOST_BITS), fraction_bits=Whole(0, _MOST_BITS), values=Array())
def fixed_point(
    values: ArrayLike,
    integer_bits: int,
    fraction_bits: int,
    rounding: Rounding = "nearest",
    rng: np.random.Generator | None = None,
) -> FloatArray:
    """Values as numbers of a fixed point, <IL, FL>: multiples of e = 2^-FL from -2^(IL-1) to 2^(IL-1) - e.

    Nearest is floor(x / e + 1/2) e, stochastic floor(x / e + u) e with u evenly in [0, 1): of mean x, and of variance
    e^2 f (1 - f) with f the fraction that is left. What is out of range becomes the end of it, behind the rounding.

    Args:
        values: Of any shape.
        integer_bits: IL, >= 1, the sign among them.
        fraction_bits: FL, >= 0; at most 52 bits together.
        rounding: "nearest" or "stochastic".
        rng: Of u; one u for each value, in their order. Stochastic rounding needs it.

    Source: Gupta et al., Deep learning with limited numerical precision, ICML 2015.

    Returns:
        The numbers, of the shape of the values.

    Raises:
        InvalidInputError: An argument is not allowed.

    Example:
        >>> fixed_point([0.03, 0.7, 5.0], 3, 4)
        array([0.    , 0.6875, 3.9375])
    """
    numbers = np.asarray(values, dtype=float)
    if integer_bits + fraction_bits > _MOST_BITS:
        raise InvalidInputError(
            f"integer_bits + fraction_bits must be <= {_MOST_BITS}, got {integer_bits} + {fraction_bits}"
        )
    if rounding == "stochastic" and rng is None:
        raise InvalidInputError('rounding="stochastic" needs rng, such as np.random.default_rng(0)')
    spacing, top = 2.0**-fraction_bits, 2.0 ** (integer_bits - 1)
    offset = 0.5 if rounding == "nearest" or rng is None else rng.random(numbers.shape)
    # Clipped before, too, so that nothing is lost to infinity; one spacing beyond the ends changes no end.
    scaled = np.clip(numbers, -top - 1.0, top + 1.0) / spacing
    rounded = np.floor(scaled + offset) * spacing
    return np.asarray(np.clip(rounded, -top, top - spacing) + 0.0)
