"""States between the points of a grid, and what a loss of them adds to the gradients of a run.

A method that interpolates says them itself, and its adjoint starts from their cotangents. For all others they are on
Hermite's cubic through z and f(z) at both ends of a step, with x the part of the step that has passed:

    z(x) = (1 + 2x)(1 - x)^2 z_k + x (1 - x)^2 h f(z_k) + x^2 (3 - 2x) z_{k+1} + x^2 (x - 1) h f(z_{k+1})

It is of order 4. The cotangent of z(x) reaches both ends directly and through f, with J^T at either of them.

Source: Hairer, Norsett and Wanner, Solving Ordinary Differential Equations I, section II.6.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import final

import numpy as np

from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.operator import FloatArray
from xbar_spice.read_context import stage
from xbar_spice.solve.fields.contributions import By, Contributions
from xbar_spice.solve.fields.evaluation import Evaluation
from xbar_spice.solve.integrators.method import ForwardRun, Method

__all__ = ["Dense"]


@final
@dataclass(frozen=True, eq=False)
class Dense:
    """States within the steps of a run.

    Attributes:
        times: (steps + 1,) of the grid points.
        runs: The run, stretch by stretch.
        scheme: The method that made it.
        known: What f was at ends of steps, as far as it has been asked for: no state is read twice.
    """

    times: FloatArray
    runs: tuple[ForwardRun, ...]
    scheme: Method | None = None
    known: dict[tuple[int, int], Evaluation] = field(default_factory=dict)

    def state(self, time: float) -> FloatArray:
        """(n, batch) the state at a time."""
        run, k, x, h = self._step(time)
        if self.scheme is not None and self.scheme.interpolates:
            return self.scheme.between(run, k - run.grid.start, x)
        value: FloatArray = np.zeros_like(run.z[0])
        for end, of_z, of_f in _weights(x, h):
            value = value + of_z * run.z[k + end - run.grid.start] + of_f * self._at(run, k + end).value
        return np.asarray(value)

    def points(self, times: Iterable[float]) -> list[int]:
        """The grid points on both sides of each time."""
        return sorted({self._place(time)[0] + end for time in times for end in (0, 1)})

    def asked(self, cotangents: Mapping[float, FloatArray]) -> tuple[ForwardRun, ...]:
        """The runs with cotangents of states within them, (n, batch), for the adjoint of a method that interpolates.

        Each time is `inside` a run of one step, as `points` are stops.
        """
        inside: dict[int, list[tuple[float, FloatArray]]] = {}
        for time, w in cotangents.items():
            run, _, x, _ = self._step(time)
            inside.setdefault(run.grid.start, []).append((x, w))
        return tuple(replace(run, inside=tuple(inside.get(run.grid.start, ()))) for run in self.runs)

    def pulled(
        self, cotangents: Mapping[float, FloatArray], axes: tuple[By, ...]
    ) -> tuple[dict[int, FloatArray], dict[int, FloatArray], dict[int, Contributions]]:
        """What cotangents of states between points, (n, batch) each, are to others.

        Returns:
            The cotangents of the states at grid points, (n, batch), and of the lengths of steps, (batch,), by their
            numbers, and the contributions to the parameters of each layer.
        """
        at: dict[int, FloatArray] = {}
        lengths: dict[int, FloatArray] = {}
        totals: dict[int, Contributions] = {}
        for time, w in cotangents.items():
            run, k, x, h = self._step(time)
            total = totals.setdefault(run.grid.layer, Contributions(axes, w.shape[1]))
            for end, of_z, of_f in _weights(x, h):
                with stage(phase="adjoint", step=k):
                    f = self._at(run, k + end)
                    at[k + end] = at.get(k + end, 0.0) + of_z * w + total.pull(run.field, f, {k: of_f * w})
                lengths[k] = lengths.get(k, 0.0) + of_f / h * (w * f.value).sum(axis=0)
        return at, lengths, totals

    def _step(self, time: float) -> tuple[ForwardRun, int, float, float]:
        """The stretch and the number of the step of a time, the part of it that has passed, and its length."""
        k, part, h = self._place(time)
        return next(run for run in self.runs if k in run.grid.numbers), k, part, h

    def _place(self, time: float) -> tuple[int, float, float]:
        if self.scheme is not None and self.scheme.second_order:
            raise InvalidInputError(
                f"there are no states between grid points of this method, got time {time:g}: it solves d^2z/dt^2 = f, "
                "and f is not the slope of z; take a shorter step that has this time among its points"
            )
        way = np.sign(self.times[-1] - self.times[0])
        if not 0.0 <= way * (time - self.times[0]) <= abs(self.times[-1] - self.times[0]):
            raise InvalidInputError(
                f"time {time:g} is beyond the run, which goes from {self.times[0]:g} to {self.times[-1]:g}"
            )
        k = min(int(np.searchsorted(way * self.times, way * time, side="right")) - 1, len(self.times) - 2)
        h = float(self.times[k + 1] - self.times[k])
        return k, float(time - self.times[k]) / h, h

    def _at(self, run: ForwardRun, point: int) -> Evaluation:
        """F at a grid point, with the weights of the stretch that is looked at."""
        key, row = (run.grid.start, point), point - run.grid.start
        if key not in self.known:
            kept = run.evaluations[row]
            if kept and np.array_equal(kept[0].z, run.z[row]):
                self.known[key] = kept[0]
            else:
                with stage(phase="forward", step=point):
                    self.known[key] = run.field.evaluate_finite(run.z[row])
        return self.known[key]


def _weights(x: float, h: float) -> tuple[tuple[int, float, float], tuple[int, float, float]]:
    """Of z and of f at the first and at the second end of a step."""
    left = 1.0 - x
    return (0, (1.0 + 2.0 * x) * left**2, h * x * left**2), (1, x**2 * (3.0 - 2.0 * x), -h * x**2 * left)
