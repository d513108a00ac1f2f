"""Tensors of models as they are taken: what they may hold, and how an error calls them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xbar_spice.errors import WeightsError
from xbar_spice.linear.operator import FloatArray

__all__ = ["array_of", "brief", "names_of", "range_of", "real", "step_count", "step_length"]

_LARGEST_WHOLE = 2**53
_MOST_STEPS = 10**9  # more come of a damaged file


def array_of(name: str, value: Any) -> NDArray[Any]:
    """Whatever was given as an array, of whatever type."""
    if np.ma.is_masked(value):
        raise WeightsError(f"tensor '{name}': expected every value, got masked ones; fill them with array.filled(...)")
    try:
        return np.asarray(value)
    except ValueError:
        raise WeightsError(f"tensor '{name}': expected an array, got rows of different lengths") from None


def real(name: str, value: ArrayLike, shape: str = "") -> FloatArray:
    """A finite float64 copy that nobody can write to; `shape` in words, whose commas say the number of axes.

    Whole numbers are taken as they are, as long as float64 holds every one of that size: up to 2^53.
    """
    array = array_of(name, value)
    if not (np.issubdtype(array.dtype, np.floating) or np.issubdtype(array.dtype, np.integer)):
        raise WeightsError(f"tensor '{name}': expected a floating-point or integer dtype, got {array.dtype}")
    if np.issubdtype(array.dtype, np.integer) and ((array > _LARGEST_WHOLE) | (array < -_LARGEST_WHOLE)).any():
        raise WeightsError(
            f"tensor '{name}': expected whole numbers between -2^53 and 2^53, which float64 holds exactly, got "
            f"{array.min()} to {array.max()}; scale them and store float64"
        )
    axes = len([axis for axis in shape.strip("()").split(",") if axis])
    if shape and (array.ndim != axes or not array.size):
        raise WeightsError(f"tensor '{name}': expected shape {shape}, got {array.shape}")
    with np.errstate(over="ignore"):  # numbers of more than 64 bits may become infinite
        array = array.astype(np.float64)
    wrong = int(np.count_nonzero(~np.isfinite(array)))
    if wrong:
        raise WeightsError(f"tensor '{name}': expected finite values, got NaN or infinity in {wrong} of {array.size}")
    array.setflags(write=False)
    return array


def _scalar(name: str, value: object, expected: str) -> float:
    array = array_of(name, value)
    if array.size != 1 or not (np.issubdtype(array.dtype, np.floating) or np.issubdtype(array.dtype, np.integer)):
        raise WeightsError(f"tensor '{name}': expected {expected}, got {brief(array)}")
    return float(array.item())


def step_length(value: object) -> float:
    """A step length, not 0."""
    h = _scalar("h", value, "one number that is not 0")
    if not (np.isfinite(h) and h):
        raise WeightsError(f"tensor 'h': expected a finite step length that is not 0 (< 0 goes back in time), got {h}")
    return h


def step_count(value: object) -> int:
    """A number of steps, >= 1."""
    steps = _scalar("steps", value, "one whole number >= 1")
    if not (steps.is_integer() and steps >= 1):
        raise WeightsError(f"tensor 'steps': expected a whole number >= 1, got {steps:g}")
    if steps > _MOST_STEPS:
        raise WeightsError(f"tensor 'steps': expected at most {_MOST_STEPS} steps, got {steps:g}")
    return int(steps)


def brief(array: NDArray[Any]) -> str:
    """An array as an error says it."""
    return f"{array.tolist()}" if array.size <= 4 else f"{array.dtype} of shape {array.shape}"


def names_of(name: str, names: Any) -> tuple[str, ...]:
    """A sequence of names."""
    if isinstance(names, str) or not isinstance(names, Sequence) or not all(isinstance(one, str) for one in names):
        raise WeightsError(f"'{name}': expected names, such as ('bias',), got {names!r}")
    return tuple(names)


def range_of(value: ArrayLike, count: int) -> tuple[float, ...]:
    """The largest weight of each of so many matrices."""
    largest = array_of("weight_range", value)
    numbers = np.issubdtype(largest.dtype, np.floating) or np.issubdtype(largest.dtype, np.integer)
    if not (numbers and largest.shape == (count,) and np.isfinite(largest).all() and (largest > 0).all()):
        expected = "two" if count == 2 else count
        raise WeightsError(f"tensor 'weight_range': expected {expected} finite numbers > 0, got {brief(largest)}")
    return tuple(map(float, largest))
