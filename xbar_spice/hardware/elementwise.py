"""Elementwise formulas of many steps, computed block by block: what a step leaves for the next stays in the cache."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["both_in_blocks", "in_blocks"]

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
    (found,) = _in_blocks(lambda one, other: (formula(one, other),), first, second, 1)
    return found


def both_in_blocks(
    formula: Callable[[Floats, Floats], tuple[Floats, Floats]], first: Floats, second: Floats
) -> tuple[Floats, Floats]:
    """As `in_blocks`, for a formula of two results."""
    one, other = _in_blocks(formula, first, second, 2)
    return one, other


def _in_blocks(
    formula: Callable[[Floats, Floats], tuple[Floats, ...]], first: Floats, second: Floats, results: int
) -> list[Floats]:
    operands: Any = [first, second, *(None,) * results]
    flags: Any = [["readonly"], ["readonly"], *(["writeonly", "allocate"],) * results]
    places = np.nditer(
        operands,
        ["external_loop", "buffered", "zerosize_ok"],
        flags,
        op_dtypes=[np.float64] * len(operands),
        buffersize=BLOCK,
    )
    with places:
        for one, other, *into in places:
            for out, found in zip(into, formula(one, other), strict=True):
                out[...] = found
        return [np.asarray(found) for found in places.operands[2:]]
