"""Euclidean norms of the samples of a batch, of whatever size their entries are."""

from __future__ import annotations

import numpy as np

from xbar_spice.linear.operator import FloatArray

__all__ = ["norms"]

_SMALL = 1e-145  # below this norm squares are lost, or have lost digits


def norms(x: FloatArray, axis: int = 0) -> FloatArray:
    """|x| along an axis; entries are scaled first only where the sum of their squares leaves the range of float64.

    NaN where an entry is NaN, else infinity where one is infinite.

    Example:
        >>> norms(np.array([[3e-200, 3e200], [4e-200, 4e200]]))
        array([5.e-200, 5.e+200])
    """
    with np.errstate(over="ignore"):
        plain = np.asarray(np.linalg.norm(x, axis=axis), dtype=float)
    if not ((plain < _SMALL) | np.isinf(plain)).any():
        return plain
    largest = np.abs(x).max(axis=axis, initial=0.0, keepdims=True)
    unit = np.where((largest > 0.0) & np.isfinite(largest), largest, 1.0)
    with np.errstate(over="ignore"):
        scaled = np.linalg.norm(x / unit, axis=axis) * unit.squeeze(axis)
    return np.where((plain < _SMALL) | np.isinf(plain), scaled, plain)
