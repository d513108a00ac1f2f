"""One conducting line of an array: a chain of equal wire segments with a terminal at one end or at both.

With its terminals at 0 V, a line is known by its resistance matrix Z: cells that draw the currents y from it lower
its nodes by Z y. Z stays finite where conductances do not, so 0 ohm needs no special case.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import ceil
from typing import TypeVar, final

import numpy as np
from numpy.typing import NDArray

from xbar_spice.engines.nodal.recurrences import running_sums
from xbar_spice.linear.operator import FloatArray

__all__ = ["Line", "RealArray"]

RealArray = NDArray[np.floating]  # of either precision
Precision = TypeVar("Precision", bound=np.floating)

STEPS = 100  # of Newton's method; it takes five, or one for each factor of two of a terminal that hardly conducts
DENSE_TO = 64  # cells up to which a product with Z itself takes less time than two running sums


@final
@dataclass(frozen=True)
class Line:
    """A line, its cells counted from the end that has the terminal.

    Attributes:
        cells: number of cells on the line.
        segment: ohm between neighbouring cells.
        terminal: ohm between a terminal and its nearest cell, one wire segment included.
        double: whether the far end has a terminal of its own, with the same resistance.
    """

    cells: int
    segment: float
    terminal: float
    double: bool = False

    @property
    def span(self) -> float:
        """The largest entry of Z, in ohm: what a cell sees of the line at the place where the line is weakest."""
        to_last = self.terminal + (self.cells - 1) * self.segment
        return self.end_to_end / 4 + self.terminal / 2 if self.double else to_last

    @property
    def end_to_end(self) -> float:
        """Ohm between two terminals."""
        return 2 * self.terminal + (self.cells - 1) * self.segment

    def far_share(self) -> FloatArray:
        """(cells,) share of each cell's current that the far terminal carries."""
        if not self.double:
            return np.zeros(self.cells)
        from_near = self.terminal + self.segment * np.arange(self.cells)
        return np.asarray(from_near / (from_near[-1] + self.terminal))

    def wire_currents(
        self, currents: NDArray[Precision], axis: int, out: NDArray[Precision] | None = None
    ) -> NDArray[Precision]:
        """Current that reaches each cell's node from the near side, in amperes.

        Args:
            currents: what the cells draw from the line, which runs along `axis`.
            axis: 1 or 2 of (batch, n0, n1).
            out: where to put the result; must not be `currents`.
        """
        wires = np.empty_like(currents) if out is None else out
        wires[...] = currents
        running_sums(self.cells, wires.dtype).backward(wires, axis)
        if self.double:
            wires -= np.expand_dims(self.far_current(currents, axis), axis)
        return wires

    def far_current(self, currents: RealArray, axis: int) -> RealArray:
        """Current that the far terminal delivers to each line, in amperes; the axis of the line is gone."""
        if not self.double:
            return np.zeros((*currents.shape[:axis], *currents.shape[axis + 1 :]), dtype=currents.dtype)
        return np.asarray(np.tensordot(currents, self.far_share(), axes=([axis], [0])))

    def through_currents(self, currents: FloatArray, axis: int) -> FloatArray:
        """Current away from the near terminal in the resistance before each cell and in the one behind the last."""
        batch, n0, n1 = currents.shape
        through = np.empty((batch, n0 + (axis == 1), n1 + (axis == 2)))
        wires, behind = (through[:, :-1], through[:, -1]) if axis == 1 else (through[:, :, :-1], through[:, :, -1])
        self.wire_currents(currents, axis, wires)
        behind[...] = -self.far_current(currents, axis)
        return through

    def add_drops(self, currents: RealArray, axis: int, out: RealArray, work: RealArray) -> None:
        """Add Z y to `out`, in volts.

        Args:
            currents: y, what the cells draw from the line, which runs along `axis`.
            axis: 1 or 2 of (batch, n0, n1).
            out: the sum.
            work: an array to spoil.
        """
        if self.segment == 0:  # one node, whose cells must see the same voltage to the last bit
            out += self.terminal / (2 if self.double else 1) * currents.sum(axis=axis, keepdims=True)
            return
        if self.cells <= DENSE_TO:
            resistances = _resistances(self)
            first, second = (currents, resistances) if axis == 2 else (resistances, currents)
            out += np.matmul(first, second, out=work)
            return
        self._add_running_drops(currents, axis, out, work)

    def _add_running_drops(self, currents: RealArray, axis: int, out: RealArray, work: RealArray) -> None:
        drops = self.wire_currents(currents, axis, work)
        along = np.moveaxis(drops, axis, 0)
        along[0] *= self.terminal
        along[1:] *= self.segment
        running_sums(self.cells, drops.dtype).forward(drops, axis)
        out += drops

    def modes_above(self, resistance: float) -> int:
        """How many eigenvalues of Z may be larger, counted by the angles of a line with an open end."""
        if self.segment == 0:
            return 1
        share = self.segment / (4 * resistance) if resistance > 0 else np.inf
        return self.cells if share >= 1 else ceil(2 * self.cells / np.pi * np.arcsin(np.sqrt(share)))

    def modes(self, count: int | None = None) -> tuple[FloatArray, FloatArray]:
        """The largest eigenvalues of Z in ohm, (count,), and orthonormal eigenvectors, (cells, count); all if None."""
        count = self.cells if count is None else count
        if self.segment == 0:
            # Z is terminal * ones (half of it with two terminals): any basis that starts with a constant.
            eigenvalues = np.zeros(count)
            eigenvalues[0] = self.cells * self.terminal / (2 if self.double else 1)
            return eigenvalues, _modes(self.cells, 0.0, False, count)[1]
        angles, vectors = _modes(self.cells, self.segment / self.terminal, self.double, count)
        return self.segment / (4 * np.sin(angles / 2) ** 2), vectors


@lru_cache(maxsize=64)
def _resistances(line: Line) -> FloatArray:
    """Z, (cells, cells) ohm."""
    near = line.terminal + line.segment * np.arange(line.cells)
    nearer = np.minimum.outer(near, near)
    if not line.double:
        return np.asarray(nearer)
    return np.asarray(nearer * np.minimum.outer(near[::-1], near[::-1]) / line.end_to_end)


@lru_cache(maxsize=16)
def _modes(cells: int, leak: float, double: bool, count: int) -> tuple[FloatArray, FloatArray]:
    """The smallest angles t and eigenvectors of a line's Laplacian, whose eigenvalues are (2 - 2 cos t) / segment.

    Away from the terminal the equations of a uniform line have the solutions cos(p(x)), p(x) = t (center - x) - phase.
    The open end, or the middle of a line with two terminals, fixes center and phase. With leak = segment / terminal,
    the node at the terminal asks for cos p(-1) = (1 - leak) cos p(0), which is

        p(-1/2) = m pi + arctan(leak cos(t/2) / ((2 - leak) sin(t/2))).

    The difference of the two sides grows with t, and ever more slowly, so that Newton's method from below, where the
    line would have an open end in place of its terminal, comes up to the root and never passes it.
    """
    order, places = np.arange(count), np.arange(cells)
    center = (cells - 1) / 2 if double else cells - 0.5
    half_turns = np.where(order % 2, 0.5 * np.pi, 0.0) if double else np.zeros(count)
    turns = half_turns + np.pi * (order // 2 if double else order)
    share, length = leak / (2 - leak), center + 0.5
    angles = order * np.pi / cells
    for _ in range(STEPS if leak else 0):
        sines, cosines = np.sin(angles / 2), share * np.cos(angles / 2)
        slope = length + 0.5 * share / (sines**2 + cosines**2)
        further = angles - (length * angles - turns - np.arctan2(cosines, sines)) / slope
        if not (further > angles).any():
            break
        angles = np.maximum(angles, further)
    vectors = np.cos(np.multiply.outer(center - places, angles) - half_turns)
    vectors /= np.linalg.norm(vectors, axis=0)
    angles.setflags(write=False)
    vectors.setflags(write=False)
    return angles, vectors
