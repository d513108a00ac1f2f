"""Sums that run along a line, x_i + p x_{i-1}, in blocks of matrix products.

One addition waits for the one before it, so that a running sum takes the latency of an addition for every cell. As
products of small triangular matrices, each with the sum that the block before has left, it takes a quarter of the time.
"""

from __future__ import annotations

from functools import lru_cache
from typing import final

import numpy as np
from numpy.typing import NDArray

from xbar_spice.linear.operator import FloatArray

__all__ = ["Recurrence", "running_sums"]

BLOCK = 32  # cells


@final
class Recurrence:
    """Solves y_i = x_i + p_{i-1} y_{i-1}, and from the other end y_i = x_i + p_i y_{i+1}.

    Args:
        factors: (cells - 1,) p, not negative.
        dtype: the precision of the sums.
    """

    def __init__(self, factors: FloatArray, dtype: type[np.floating] | np.dtype[np.floating]) -> None:
        self._cells = len(factors) + 1
        self._up, self._down = [], []
        shares = _shares(factors)
        for first, share in zip(range(0, self._cells, BLOCK), shares, strict=True):
            rows = min(BLOCK, self._cells - first)
            near, far = int(first > 0), int(first + rows < self._cells)  # cells from which the block takes over
            own = slice(1, 1 + rows)
            self._up.append(np.ascontiguousarray(share[own, 1 - near : 1 + rows], dtype=dtype))
            self._down.append(np.ascontiguousarray(share.T[own, 1 : 1 + rows + far], dtype=dtype))

    def forward(self, values: NDArray[np.floating], axis: int) -> None:
        """Replace x by y in place, from the first cell of `axis`, 1 or 2 of (batch, n0, n1), to the last."""
        for block, first in zip(self._up, range(0, self._cells, BLOCK), strict=True):
            _multiply(values, axis, block, first, first + block.shape[0] - block.shape[1])

    def backward(self, values: NDArray[np.floating], axis: int) -> None:
        """Replace x by y in place, from the last cell of `axis` to the first."""
        for block, first in zip(self._down[::-1], range(0, self._cells, BLOCK)[::-1], strict=True):
            _multiply(values, axis, block, first, first)


def _shares(factors: FloatArray) -> FloatArray:
    """(blocks, cells, cells) what y_i has of x_j, of each block with one cell more at either end.

    Found by a cell after the other: no factor is divided by, as some may be 0.
    """
    blocks = -(-(len(factors) + 1) // BLOCK)
    padded = np.zeros(blocks * BLOCK + 1)
    padded[1 : len(factors) + 1] = factors
    steps = np.lib.stride_tricks.sliding_window_view(padded, BLOCK + 1)[::BLOCK]
    shares = np.zeros((blocks, BLOCK + 2, BLOCK + 2))
    shares[:, range(BLOCK + 2), range(BLOCK + 2)] = 1.0
    for cell in range(1, BLOCK + 2):
        shares[:, cell, :cell] = steps[:, cell - 1, np.newaxis] * shares[:, cell - 1, :cell]
    return shares


def _multiply(values: NDArray[np.floating], axis: int, block: NDArray[np.floating], first: int, start: int) -> None:
    rows, takes = block.shape
    if axis == 1:
        values[:, first : first + rows] = np.matmul(block, values[:, start : start + takes])
    else:
        values[:, :, first : first + rows] = np.matmul(values[:, :, start : start + takes], block.T)


@lru_cache(maxsize=16)
def running_sums(cells: int, dtype: np.dtype[np.floating]) -> Recurrence:
    """Sums without factors."""
    return Recurrence(np.ones(cells - 1), dtype)
