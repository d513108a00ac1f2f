"""Elementwise formulas of many steps, computed block by block: what a step leaves for the next stays in the cache."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = ["in_blocks"]

BLOCK = 2**13  # entries

Floats = NDArray[np.float64]  # `linear` stands above


def in_blocks(formula: Callable[[Floats, Floats], Floats], first: Floats, second: Floats) -> Floats:
    """What a formula makes of two arrays, entry by entry.

    Args:
        formula: Takes one-dimensional arrays of one length and returns one.
        first: Of any shape.
        second: Of any shape that broadcasts with it.

    Example:
        >>> in_blocks(np.hypot, np.array([3.0, 5.0]), np.array([[4.0], [12.0]]))
        array([[ 5.        ,  6.40312424],
               [12.36931688, 13.        ]])
    """
    places = np.nditer(
        [first, second, None],
        ["external_loop", "buffered", "zerosize_ok"],
        [["readonly"], ["readonly"], ["writeonly", "allocate"]],
        op_dtypes=[np.float64] * 3,
        buffersize=BLOCK,
    )
    with places:
        for one, other, out in places:
            out[...] = formula(one, other)
        return np.asarray(places.operands[2])
