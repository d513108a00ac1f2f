"""Lines that no terminal touches: their level is unknown, and the currents of their cells add up to zero.

On such currents y the resistance matrix Z of a line with terminals stays right for a single terminal, which carries no
current; for two terminals with R ohm from end to end it lacks R s s^T, where s is the share of the far one. What
the line gains is a level phi for all of its nodes. It follows from the cells: those of one line ask for no current
in sum.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, final

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lu_factor, lu_solve

from xbar_spice.engines.nodal.line import Line
from xbar_spice.linear import FloatArray

__all__ = ["FloatingLines", "FloatingPreconditioner", "Solver"]

RealArray = NDArray[np.floating]


class Solver(Protocol):
    """A preconditioner whose conductance varies along axis 0 only."""

    conductance: RealArray

    def __call__(self, residual: RealArray) -> RealArray:
        """Voltages for a residual, both (batch, n0, n1)."""


@final
@dataclass(frozen=True, eq=False)
class FloatingLines:
    """The open lines of a grid, all along one axis, each with at least one cell.

    Attributes:
        line: what they would be with terminals.
        axis: of the grid, along which they run.
        places: (lines,) where they lie along the other axis.
    """

    line: Line
    axis: int
    places: NDArray[np.int64]

    def take(self, cells: RealArray) -> RealArray:
        """(batch, lines, cells) of (batch, n0, n1)."""
        return cells[:, self.places] if self.axis == 1 else np.swapaxes(cells[:, :, self.places], 1, 2)

    def add(self, cells: RealArray, values: RealArray) -> None:
        """Add (batch, lines, cells) or (batch, lines, 1) to (batch, n0, n1) in place."""
        if self.axis == 1:
            cells[:, self.places] += values
        else:
            cells[:, :, self.places] += np.swapaxes(values, 1, 2)

    def add_drops(self, currents: FloatArray, out: FloatArray) -> None:
        """What Z of lines with terminals lacks, in volts."""
        if self.line.double:
            far = self.line.far_current(self.take(currents), 2)[:, :, np.newaxis]
            self.add(out, self.line.end_to_end * far * self.line.far_share())

    def levels(self, residual: FloatArray, conductances: FloatArray) -> FloatArray:
        """(batch, lines) volts at which the residual of cells at level 0 adds up to zero on each line."""
        return np.asarray(-self.take(residual).sum(axis=2) / self.take(conductances).sum(axis=2))

    def raise_by(self, levels: FloatArray, volts: FloatArray) -> None:
        """Add the levels to the voltages (batch, n0, n1) of the cells, in place."""
        self.add(volts, levels[:, :, np.newaxis])

    def settle(self, residual: FloatArray, conductances: FloatArray) -> FloatArray:
        """Move a residual at level 0 to the lines' levels, in place, and return these."""
        levels = self.levels(residual, conductances)
        self.add(residual, self.take(conductances) * levels[:, :, np.newaxis])
        return levels


@final
class FloatingPreconditioner:
    """A preconditioner of the array with terminals at all lines, corrected to one without some of them.

    With z = w - C^T phi and y = r - g z, where C sums over each open line (and, with two terminals, weighs with the
    share of the far one), (1/Z + g) w = r + g C^T phi and C y = 0, or -phi / R for the second kind, fix phi by one
    dense system of the size of C.
    """

    def __init__(self, lines: FloatingLines, shape: tuple[int, int], inner: Solver) -> None:
        self.conductance: RealArray = inner.conductance
        self._lines = lines
        self._inner = inner
        line = lines.line
        profiles = [np.ones(line.cells), line.far_share()] if line.double else [np.ones(line.cells)]
        self._profiles = np.stack(profiles)
        count, kinds = lines.places.size, len(profiles)
        system = np.empty((count, kinds, count, kinds))
        for index in range(count):
            levels = np.zeros((kinds, count, kinds))
            levels[range(kinds), index, range(kinds)] = 1.0
            volts = self._spread(levels, shape)
            system[:, :, index] = np.moveaxis(self._sums(self._rest(self.conductance * volts)), 0, -1)
        matrix = system.reshape(count * kinds, -1)
        if line.double:
            matrix[1::2, 1::2] += np.eye(count) / line.end_to_end
        self._factor = lu_factor(matrix)

    def __call__(self, residual: RealArray) -> RealArray:
        """Voltages e for a residual in amperes, both (batch, n0, n1)."""
        batch, n0, n1 = residual.shape
        volts = self._inner(residual)
        sums = self._sums(residual - self.conductance * volts)
        levels = -lu_solve(self._factor, sums.reshape(batch, -1).T).T
        raised = self._spread(levels.reshape(sums.shape), (n0, n1))
        volts += self._inner(self.conductance * raised)
        volts -= raised
        return volts

    def _rest(self, residual: RealArray) -> RealArray:
        return residual - self.conductance * self._inner(residual)

    def _sums(self, cells: RealArray) -> FloatArray:
        """C y, (batch, lines, kinds)."""
        return np.asarray(self._lines.take(cells) @ self._profiles.T)

    def _spread(self, levels: FloatArray, shape: tuple[int, int]) -> FloatArray:
        """C^T phi, (batch, n0, n1)."""
        volts = np.zeros((levels.shape[0], *shape))
        self._lines.add(volts, levels @ self._profiles)
        return volts
