"""Lines that no terminal touches: their level is unknown, and the currents of their cells add up to zero.

On such currents y the resistance matrix Z of a line with terminals stays right for a single terminal, which carries no
current; for two terminals with R ohm from end to end it lacks R s s^T, where s is the share of the far one. What
the line gains is a level phi for all of its nodes. It follows from the cells: those of one line ask for no current
in sum.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from xbar_spice.engines.nodal.line import Line, RealArray
from xbar_spice.linear.operator import FloatArray

__all__ = ["FloatingLines"]


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
