"""Stopping rules: what a violation of Kirchhoff's laws inside the array may do to the result of a read."""

from __future__ import annotations

from typing import final

import numpy as np

from xbar_spice.engines.nodal.floating import FloatingLines
from xbar_spice.engines.nodal.grid import BoolArray, Grid, RealArray
from xbar_spice.linear.operator import FloatArray

__all__ = ["CANCELLATION", "LOADED", "ReductionCheck", "SenseCheck"]

CANCELLATION = 1e-15  # of the sum of |cell currents| of a line: what their rounding alone does to its current
LOADED = 10.0  # cells that conduct so much more than the terminal of their line hide its current from Kirchhoff's laws
INVISIBLE = 4 * np.finfo(float).eps  # of the voltage that a line loses: rounding errors that no residual shows


@final
class SenseCheck:
    """Estimates the error of every sense current from the residual.

    A residual is a current source across its cell. By reciprocity, what it sends into sense terminal j is the
    voltage across that cell with 1 V at terminal j and 0 V elsewhere. That voltage is at most 1 V, so the sum of all
    |residual| bounds the error. It is smaller on lines which line j feeds only through a small conductance and
    a short wire: about G_kj times the resistance of line k; and a cell on line j itself passes its residual to its
    own terminal, where it is counted, but for what its conductance takes back.

    Args:
        grid: the array.
        sense_axis: the axis over which a sensed line adds up its cells.
        tolerance: the error allowed, relative to a sense current.
        each: whether that is each line's own sense current, or the largest of all lines.

    Attributes:
        load: how much more the cells of a line conduct than its terminal does, at most.
    """

    def __init__(self, grid: Grid, sense_axis: int, tolerance: float, *, each: bool = True) -> None:
        conductance = grid.conductances()
        own, across = grid.lines[sense_axis], grid.lines[1 - sense_axis]
        self._axis = 1 + sense_axis
        self._across = np.minimum(1.0, conductance * across.span).astype(np.float32)  # an estimate
        load = conductance.sum(axis=self._axis) * own.span + conductance.max(axis=self._axis) * across.span
        self._own = np.minimum(1.0, load)
        self.load = float(load.max())
        self._grid, self._spans, self._conductance = grid, (own.span, across.span), conductance
        self._stray: FloatingLines | None = None
        self._floating = grid.floating
        if grid.floating:
            self._let_float(grid.floating, sensed=grid.floating.axis == sense_axis)
        self._tolerance = tolerance
        self._each = each

    def _let_float(self, lines: FloatingLines, *, sensed: bool) -> None:
        """A driven line that floats passes on all it gets; a sensed one has no current, but passes it to all others."""
        lines.add(self._across, (0.0 if sensed else 1.0) - lines.take(self._across))
        if sensed:
            self._own[:, lines.places] = 0.0
            self._stray = lines

    def error(self, residual: RealArray) -> RealArray:
        """(batch, sensed lines) amperes."""
        return self._weighted(np.abs(residual), self._own, self._across)

    def drift(self, cells: FloatArray) -> RealArray | float:
        """(batch, sensed lines) amperes that floating lines may add whose cells do not balance at their level."""
        if self._floating is None:
            return 0.0
        sums = np.abs(self._floating.take(cells).sum(axis=2)).astype(self._across.dtype)
        driven = np.zeros((len(cells), cells.shape[self._axis]), dtype=self._across.dtype)
        if self._stray:
            driven += sums.sum(axis=1, keepdims=True)
        else:
            driven[:, self._floating.places] = sums
        return self._crossing(driven, self._across)

    def _weighted(self, size: RealArray, own: FloatArray, across: RealArray) -> RealArray:
        driven = size.sum(axis=3 - self._axis).astype(across.dtype)
        if self._stray:
            driven += self._stray.take(size).sum(axis=(1, 2), dtype=across.dtype)[:, np.newaxis]
        return np.asarray(own * size.sum(axis=self._axis) + self._crossing(driven, across))

    def _crossing(self, driven: RealArray, across: RealArray) -> RealArray:
        """What the other lines, (batch, lines), send across their cells into each sensed one."""
        if self._axis == 1:
            return np.asarray(np.matmul(driven[:, np.newaxis, :], across)[:, 0, :])
        return np.asarray(np.matmul(across, driven[:, :, np.newaxis])[:, :, 0])

    def allowance(self, currents: FloatArray, residual: FloatArray) -> FloatArray:
        """(batch, sensed lines) amperes of error that the tolerance allows."""
        sensed = currents.sum(axis=self._axis) + residual.sum(axis=self._axis)
        return self._share(np.abs(sensed))

    def met_by_noise(self, currents: FloatArray, residual: FloatArray, rounding: BoolArray) -> BoolArray:
        sensed = np.abs(currents.sum(axis=self._axis) + residual.sum(axis=self._axis))
        gross = np.abs(currents).sum(axis=self._axis)
        # Rounding errors are independent: they add up by their squares. Six standard deviations are allowed for.
        noise = 6 * np.sqrt(self._weighted(residual**2, self._own**2, self._across.astype(float) ** 2))
        independent = (noise <= self._share(sensed)).all(axis=1) & rounding
        cancelled = np.maximum(self._share(sensed), CANCELLATION * gross)
        return np.asarray((self.error(residual) <= cancelled).all(axis=1) | independent)

    def told(self, currents: FloatArray, residual: FloatArray) -> BoolArray:
        if self.load <= LOADED:
            return np.ones(len(currents), dtype=bool)
        size = np.abs(currents)
        gross, across = size.sum(axis=self._axis), size.sum(axis=3 - self._axis)
        sensed = np.abs(currents.sum(axis=self._axis) + residual.sum(axis=self._axis))
        allowed = np.maximum(self._share(sensed), CANCELLATION * gross)
        # At most, all of a line's current passes all of its resistance. What it loses is found where that is too much.
        noise = self._conductance.sum(axis=self._axis) * self._spans[0] * gross
        noise += (self._conductance * (self._spans[1] * np.expand_dims(across, 3 - self._axis))).sum(axis=self._axis)
        if (INVISIBLE * noise > allowed).any():
            lost = self._grid.drops(size, np.empty_like(size), np.empty_like(size))
            noise = np.minimum(noise, (self._conductance * lost).sum(axis=self._axis))
        return np.asarray((INVISIBLE * noise <= allowed).all(axis=1))

    def _share(self, sensed: FloatArray) -> FloatArray:
        return self._tolerance * (sensed if self._each else sensed.max(axis=1, keepdims=True))


@final
class ReductionCheck:
    """Asks for a residual that is smaller by a factor, or by one for each vector, than the one to start from."""

    def __init__(self, residual: FloatArray, factor: float | FloatArray) -> None:
        self._allowance = np.reshape(factor, (-1, 1)) * self.error(residual)

    def error(self, residual: RealArray) -> RealArray:
        return np.asarray(np.abs(residual).sum(axis=(1, 2))[:, np.newaxis])

    def allowance(self, currents: FloatArray, residual: FloatArray) -> FloatArray:
        return np.asarray(self._allowance, dtype=float)

    def met_by_noise(self, currents: FloatArray, residual: FloatArray, rounding: BoolArray) -> BoolArray:
        return rounding

    def told(self, currents: FloatArray, residual: FloatArray) -> BoolArray:
        return np.ones(len(currents), dtype=bool)
