"""Where a loss looks at the run of a model: at points of its time grid, and at times between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import final

import numpy as np

from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.operator import FloatArray
from xbar_spice.parts import METHODS
from xbar_spice.solve.adjoint.discrete import Gradients, gradients
from xbar_spice.solve.fields.contributions import Split
from xbar_spice.solve.integrators.integration import Trajectory
from xbar_spice.weights import Model

__all__ = ["Beside", "Looks", "grid_through", "looks_of"]

_EQUAL = 1e-9  # of the length of the run


@final
@dataclass(frozen=True, eq=False)
class Beside:
    """What a run adds to a loss beside the states that the loss looks at.

    Attributes:
        loss: Mean over the samples.
        at: Its cotangents of the states at grid points, (n, samples).
        parameters: Its gradients with respect to the field's parameters at fixed states, as the adjoint names them.
        facts: What else is known of the run then, by name.
    """

    loss: float
    at: Mapping[int, FloatArray]
    parameters: Mapping[str, FloatArray]
    facts: Mapping[str, float]


@final
@dataclass(frozen=True)
class Looks:
    """The states of a run that a loss looks at.

    Attributes:
        model: Whose run it is.
        places: Of each time the number of its grid point, or else the time itself, negative back in time.
        every: Whether a `Beside` has cotangents at every grid point.
    """

    model: Model
    places: tuple[int | float, ...]
    every: bool = False

    @property
    def stops(self) -> tuple[int, ...]:
        """The numbers of grid points, as `integrate` takes them."""
        if self.every:
            return tuple(range(1, self.model.steps))
        return tuple(place for place in self.places if isinstance(place, int))

    @property
    def between(self) -> tuple[float, ...]:
        """The other times, as `integrate` takes them."""
        return tuple(place for place in self.places if isinstance(place, float))

    def states(self, trajectory: Trajectory) -> FloatArray:
        """(times, n, batch), without the time of a field that depends on it."""
        seen = [trajectory.z[at] if isinstance(at, int) else trajectory.state(at) for at in self.places]
        return self.model.ended(np.stack(seen))

    def pulled(
        self, trajectory: Trajectory, cotangents: FloatArray, by: Split = (), beside: Beside | None = None
    ) -> Gradients:
        """The gradients of a loss from the cotangents of those states, (times, n, batch); `by` as for `gradients`."""
        placed = list(zip(self.places, map(self.model.started, cotangents), strict=True))
        at = {place: w for place, w in placed if isinstance(place, int)}
        between = {place: w for place, w in placed if isinstance(place, float)}
        for place, w in beside.at.items() if beside else ():
            at[place] = at.get(place, 0.0) + w
        last = at.pop(self.model.steps, np.zeros_like(trajectory.z[-1]))
        found = gradients(trajectory, last, by=by, at=at, between=between)
        if beside is None:
            return found
        whole = {name: value + beside.parameters[name] for name, value in found.parameters.items()}
        return replace(found, parameters=whole)


def looks_of(model: Model, times: FloatArray | None, *, every: bool = False) -> Looks:
    """Where a loss looks that looks at these times, counted along the run; at the last point alone for None.

    Args:
        model: Whose run it is.
        times: (times,), or None.
        every: As for `Looks`.

    Raises:
        InvalidInputError: A time is beyond the run, or between grid points of a method that has no states there.
    """
    if times is None:
        return Looks(model, (model.steps,), every)
    grid = np.abs(model.h * np.arange(model.steps + 1) if model.grid is None else model.grid)
    nearest = np.abs(grid - times[:, np.newaxis]).argmin(axis=1)
    off = np.abs(grid[nearest] - times) > _EQUAL * grid[-1]
    if (beyond := times[off & ((times < 0) | (times > grid[-1]))]).size:
        raise InvalidInputError(
            f"time {beyond[0]:g} is beyond the model's run, which ends at {grid[-1]:g}; give the model more steps, a "
            "longer step, or a grid (grid = (steps + 1,) times from 0 on)"
        )
    if off.any() and METHODS.get(model.method).second_order:
        raise InvalidInputError(
            f"time {times[off][0]:g} is no point of the model's grid, and {model.method} has no states between them; "
            "take another step length (--set h=...)"
        )
    way = 1.0 if model.h > 0 else -1.0
    return Looks(
        model,
        tuple(
            way * float(time) if between else int(point)
            for time, point, between in zip(times, nearest, off, strict=True)
        ),
    )


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
