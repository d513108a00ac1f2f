"""How a number that differs from chip to chip is printed: its median, with the least and the largest."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["spread"]


def spread(values: ArrayLike, form: str = ".3g") -> str:
    """Median of the values, with the least and the largest in parentheses.

    Args:
        values: (chips,) of any unit.
        form: How each number is written, as `format` takes it.

    Example:
        >>> print(spread([0.14, 0.53, 0.20], ".0%"))
        20% (14% to 53%)
        >>> print(spread([0.14], ".0%"))
        14%
    """
    found = np.asarray(values, dtype=float)
    middle, least, largest = (format(float(end(found)), form) for end in (np.median, np.min, np.max))
    return middle if found.size == 1 else f"{middle} ({least} to {largest})"
