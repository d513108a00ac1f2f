"""Which points of a model's time grid a loss looks at."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.operator import FloatArray
from xbar_spice.weights import Model

__all__ = ["grid_points", "grid_through"]

_EQUAL = 1e-9  # of the length of the run
_MOST_SAID = 40  # points of a grid in an error


def grid_points(model: Model, times: FloatArray | None) -> tuple[int, ...]:
    """The numbers of the grid points at these times; the last point alone for None.

    Raises:
        InvalidInputError: A time is no point of the grid.
    """
    if times is None:
        return (model.steps,)
    grid = np.asarray(model.h * np.arange(model.steps + 1)) if model.grid is None else model.grid
    nearest = np.abs(grid - times[:, np.newaxis]).argmin(axis=1)
    off = np.abs(grid[nearest] - times) > _EQUAL * grid[-1]
    if off.any():
        time = times[off][0]
        below = grid[grid <= time]
        raise InvalidInputError(
            f"time {time:g} is no point of the model's grid: it lies behind {below[-1]:g}, and the run ends at "
            f"{grid[-1]:g}; give the model such a grid (grid = (steps + 1,) times from 0 on), or another step length"
            + _grid_hint(grid, times)
        )
    return tuple(nearest.tolist())


def _grid_hint(grid: FloatArray, times: FloatArray) -> str:
    """The grid of a model with the times in it, too, as an option that can be copied."""
    both = np.unique(np.concatenate([grid, times]))
    if len(both) > _MOST_SAID or times.min() < 0:
        return ""
    return f": --set grid={','.join(f'{time:.15g}' for time in both)}"


def grid_through(times: FloatArray, h: float) -> FloatArray:
    """The points of a grid from 0 on that has all of these times, with steps of at most h.

    Example:
        >>> grid_through(np.array([0.5, 0.6]), 0.25)
        array([0.  , 0.25, 0.5 , 0.6 ])
    """
    seen = np.unique(np.concatenate([[0.0], times]))
    parts = [
        np.linspace(first, last, int(np.ceil((last - first) / h - _EQUAL)) + 1)[1:] for first, last in pairwise(seen)
    ]
    return np.concatenate([[0.0], *parts])
