"""Which points of a model's time grid a loss looks at."""

from __future__ import annotations

import numpy as np

from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.operator import FloatArray
from xbar_spice.weights import Model

__all__ = ["grid_points"]

_EQUAL = 1e-9  # of the length of the run


def grid_points(model: Model, times: FloatArray | None) -> tuple[int, ...]:
    """The numbers of the grid points at these times; the last point alone for None.

    Raises:
        InvalidInputError: A time is no point of the grid.
    """
    if times is None:
        return (model.steps,)
    grid = model.h * np.arange(model.steps + 1) if model.grid is None else model.grid
    nearest = np.abs(grid - times[:, np.newaxis]).argmin(axis=1)
    off = np.abs(grid[nearest] - times) > _EQUAL * grid[-1]
    if off.any():
        time = times[off][0]
        below = grid[grid <= time]
        raise InvalidInputError(
            f"time {time:g} is no point of the model's grid: it lies behind {below[-1]:g}, and the run ends at "
            f"{grid[-1]:g}; give the model such a grid (grid = (steps + 1,) times from 0 on), or another step length"
        )
    return tuple(nearest.tolist())
