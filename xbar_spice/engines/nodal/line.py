"""One conducting line of an array: a chain of equal wire segments with a terminal at one end or at both.

With its terminals at 0 V, a line is known by its resistance matrix Z: cells that draw the currents y from it lower
its nodes by Z y. Z stays finite where conductances do not, so 0 ohm needs no special case.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import final

import numpy as np
from numpy.typing import NDArray

from xbar_spice.linear.operator import FloatArray

__all__ = ["Line", "RealArray"]

RealArray = NDArray[np.floating]  # of either precision

DENSE_TO = 128  # cells up to which a product with Z itself takes less time than two running sums


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

    def wire_currents(self, currents: FloatArray, axis: int, out: FloatArray | None = None) -> FloatArray:
        """Current that reaches each cell's node from the near side, in amperes.

        Args:
            currents: what the cells draw from the line, which runs along `axis`.
            axis: 1 or 2 of (batch, n0, n1).
            out: where to put the result; must not be `currents`.
        """
        wires = np.empty_like(currents) if out is None else out
        if axis == 2:
            np.cumsum(currents[:, :, ::-1], axis=2, out=wires[:, :, ::-1])
        else:  # numpy's cumsum is slow across rows
            wires[:, -1] = currents[:, -1]
            for cell in range(self.cells - 2, -1, -1):
                np.add(wires[:, cell + 1], currents[:, cell], out=wires[:, cell])
        if self.double:
            wires -= np.expand_dims(self.far_current(currents, axis), axis)
        return wires

    def far_current(self, currents: RealArray, axis: int) -> FloatArray:
        """Current that the far terminal delivers to each line, in amperes; the axis of the line is gone."""
        return np.asarray(np.tensordot(currents, self.far_share(), axes=([axis], [0])))

    def through_currents(self, currents: FloatArray, axis: int) -> FloatArray:
        """Current away from the near terminal in the resistance before each cell and in the one behind the last."""
        behind = -np.expand_dims(self.far_current(currents, axis), axis)
        return np.concatenate([self.wire_currents(currents, axis), behind], axis=axis)

    def add_drops(self, currents: FloatArray, axis: int, out: FloatArray, work: FloatArray) -> None:
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
            out += np.matmul(*((currents, resistances) if axis == 2 else (resistances, currents)), out=work)
            return
        self._add_running_drops(currents, axis, out, work)

    def _add_running_drops(self, currents: FloatArray, axis: int, out: FloatArray, work: FloatArray) -> None:
        drops = self.wire_currents(currents, axis, work)
        if axis == 2:
            drops[:, :, 0] *= self.terminal
            drops[:, :, 1:] *= self.segment
            np.cumsum(drops, axis=2, out=drops)
            out += drops
            return
        level = self.terminal * drops[:, 0]
        out[:, 0] += level
        for cell in range(1, self.cells):
            drops[:, cell] *= self.segment
            level += drops[:, cell]
            out[:, cell] += level

    def modes(self) -> tuple[FloatArray, FloatArray]:
        """Eigenvalues of Z in ohm, (cells,), and orthonormal eigenvectors, (cells, cells), one in each column."""
        if self.segment == 0:
            # Z is terminal * ones (half of it with two terminals): any basis that starts with a constant.
            eigenvalues = np.zeros(self.cells)
            eigenvalues[0] = self.cells * self.terminal / (2 if self.double else 1)
            return eigenvalues, _modes(self.cells, 0.0, False)[1]
        angles, vectors = _modes(self.cells, self.segment / self.terminal, self.double)
        return self.segment / (4 * np.sin(angles / 2) ** 2), vectors


@lru_cache(maxsize=64)
def _resistances(line: Line) -> FloatArray:
    """Z, (cells, cells) ohm."""
    units = np.eye(line.cells)[np.newaxis]
    resistances = np.zeros_like(units)
    line._add_running_drops(units, 2, resistances, np.empty_like(units))
    return np.asarray(resistances[0])


@lru_cache(maxsize=16)
def _modes(cells: int, leak: float, double: bool) -> tuple[FloatArray, FloatArray]:
    """Angles t and eigenvectors of a line's Laplacian, whose eigenvalues are (2 - 2 cos t) / segment.

    Away from the terminal the equations of a uniform line have the solutions cos(t (x - center) - phase). The open
    end, or the middle of a line with two terminals, fixes center and phase, and the node at the terminal, with
    leak = segment / terminal, gives the equation for t. Its roots lie between those of an open end (leak 0) and of a
    node at 0 V one segment away (leak 1).
    """
    order = np.arange(cells)
    center = (cells - 1) / 2 if double else cells - 0.5
    half_turns = np.where(order % 2, 0.5 * np.pi, 0.0) if double else np.zeros(cells)
    low = order * np.pi / cells
    high = (order + 1) * np.pi / (cells + 1) if double else (order + 0.5) * np.pi / (cells + 0.5)

    def excess(angle: FloatArray) -> FloatArray:
        """phi(-1) - (1 - leak) phi(0), without cancellation."""
        middle = angle * (center + 0.5) - half_turns
        return -2 * np.sin(middle) * np.sin(angle / 2) + leak * np.cos(angle * center - half_turns)

    sign = np.sign(np.cos(low * center - half_turns))  # of phi(0), hence of `excess` at the lower end
    for _ in range(60):
        middle = 0.5 * (low + high)
        below = excess(middle) * sign > 0
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    angles = 0.5 * (low + high) if leak else order * np.pi / cells
    vectors = np.cos(np.multiply.outer(center - order, angles) - half_turns)
    vectors /= np.linalg.norm(vectors, axis=0)
    angles.setflags(write=False)
    vectors.setflags(write=False)
    return angles, vectors
