"""A crossbar under one hookup as the solvers see it: conductances between two sets of lines.

The unknowns are the currents y of the cells. The voltage of the cells is D = D0 - Z y, where D0 is the drive and Z y
what the lines lose, the word line's loss plus the bit line's. An ohmic cell asks for y = G D, so one read is

    (1 + G Z) y = G D0,    one unknown for each cell.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from xbar_spice.engines.nodal.floating import FloatingLines
from xbar_spice.engines.nodal.line import Line, RealArray
from xbar_spice.errors import InvalidInputError
from xbar_spice.hardware.biases import End
from xbar_spice.hardware.crossbar import Crossbar, Edge, Side
from xbar_spice.hardware.reads import read_ends
from xbar_spice.linear.operator import FloatArray

__all__ = ["BoolArray", "Grid", "IntArray", "Placement", "RealArray", "gridded", "place"]

BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]


@final
@dataclass(frozen=True, eq=False)
class Grid:
    """Cells between lines along axis 0 and lines along axis 1, every line counted from its terminal.

    Attributes:
        conductance: (n0, n1) or (batch, n0, n1), siemens; small-signal conductances may differ between vectors.
        lines: the line that runs along axis 0 (there are n1 of it) and the one along axis 1 (n0 of it).
        floating: the lines that are left open, if any.
    """

    conductance: FloatArray
    lines: tuple[Line, Line]
    floating: FloatingLines | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """(n0, n1)."""
        return self.lines[0].cells, self.lines[1].cells

    def conductances(self) -> FloatArray:
        """(1, n0, n1) or (batch, n0, n1)."""
        return self.conductance if self.conductance.ndim == 3 else self.conductance[np.newaxis]

    def drops(self, currents: FloatArray, out: FloatArray, work: FloatArray) -> FloatArray:
        """Z y in volts for currents y of shape (batch, n0, n1), written to `out`; spoils `work`."""
        out.fill(0.0)
        for axis, line in enumerate(self.lines, start=1):
            if line.terminal > 0:
                line.add_drops(currents, axis, out, work)
        if self.floating:
            self.floating.add_drops(currents, out)
        return out

    def residual(self, source: FloatArray, currents: FloatArray, out: FloatArray, lost: FloatArray) -> FloatArray:
        """Write the residual f - G Z y - y in amperes to `out`, what the cells would carry on top of y.

        Args:
            source: f, all arrays (batch, n0, n1).
            currents: y.
            out: where the residual goes.
            lost: where Z y goes, volts.

        Returns:
            (batch, lines) volts by which the floating lines lie above where the source assumes them.
        """
        self.drops(currents, lost, out)
        np.multiply(lost, self.conductance, out=out)
        np.subtract(source, out, out=out)
        out -= currents
        if self.floating:
            return self.floating.settle(out, self.conductances())
        return np.zeros((source.shape[0], 0))

    def volts(self, drive: FloatArray, currents: FloatArray, levels: FloatArray) -> FloatArray:
        """(batch, n0, n1) volts across the cells, D0 - Z y and the levels of floating lines."""
        return self.behind(drive, self.drops(currents, np.empty_like(currents), np.empty_like(currents)), levels)

    def behind(self, drive: FloatArray, lost: FloatArray, levels: FloatArray) -> FloatArray:
        """The same where Z y, `lost`, is known."""
        volts = drive - lost
        if self.floating:
            self.floating.raise_by(levels, volts)
        return np.asarray(volts)

    def line_volts(self, draws: FloatArray, axis: int, levels: FloatArray) -> FloatArray:
        """(batch, n0, n1) volts of the nodes along `axis` above their drive, when the cells draw these currents."""
        drops = np.zeros_like(draws)
        self.lines[axis].add_drops(draws, axis + 1, drops, np.empty_like(draws))
        if self.floating and self.floating.axis == axis:
            self.floating.add_drops(draws, drops)
            self.floating.raise_by(-levels, drops)
        return -drops

    def through_currents(self, currents: FloatArray, axis: int) -> FloatArray:
        """`Line.through_currents` of the lines along `axis`, 0 or 1; nothing passes the ends of floating ones."""
        line = self.lines[axis]
        through = line.through_currents(currents, axis + 1)
        if self.floating and self.floating.axis == axis and line.double:
            far = line.far_current(self.floating.take(currents), 2)
            self.floating.add(through, far[:, :, np.newaxis])
        return through


@final
@dataclass(frozen=True)
class Placement:
    """How the cells of an array lie in a grid.

    Attributes:
        flips: axes of the array to reverse, so that every line is counted from its terminal.
        swapped: whether axis 0 of the grid runs along the word lines (across the array's columns).
        sense_axis: the axis of the grid over which a sensed line adds up its cells.
        sign: +1 if the word lines are driven, -1 if the bit lines are: cells count voltage and current from word
            line to bit line, reads count them from drive to sense.
    """

    flips: tuple[int, ...]
    swapped: bool
    sense_axis: int
    sign: float

    def to_grid(self, cells: FloatArray) -> FloatArray:
        """(..., rows, cols) of an array to (..., n0, n1), contiguous."""
        flipped = np.flip(cells, tuple(axis - 2 for axis in self.flips))
        return np.ascontiguousarray(np.swapaxes(flipped, -1, -2) if self.swapped else flipped)

    def to_array(self, cells: FloatArray) -> FloatArray:
        """(..., n0, n1) of a grid to (..., rows, cols)."""
        unswapped = np.swapaxes(cells, -1, -2) if self.swapped else cells
        return np.flip(unswapped, tuple(axis - 2 for axis in self.flips))

    def drive_to_grid(self, volts: FloatArray) -> FloatArray:
        """(ports, batch) of a read to (batch, n0, 1) or (batch, 1, n1), which broadcasts over the cells."""
        return np.expand_dims(self._ordered(volts.T, self.sense_axis), 2 - self.sense_axis)

    def sense_to_grid(self, volts: FloatArray) -> FloatArray:
        """(ports, batch) of the sensed side, likewise."""
        return np.expand_dims(self._ordered(volts.T, 1 - self.sense_axis), 1 + self.sense_axis)

    def from_sense(self, currents: FloatArray) -> FloatArray:
        """(batch, lines) sums over the sense axis to (ports, batch) of a read."""
        return self._ordered(currents, 1 - self.sense_axis).T

    def from_drive(self, currents: FloatArray) -> FloatArray:
        """(batch, lines) sums over the other axis, by driven line, likewise."""
        return self._ordered(currents, self.sense_axis).T

    def _ordered(self, lines: FloatArray, axis: int) -> FloatArray:
        array_axis = 1 - axis if self.swapped else axis
        return lines[:, ::-1] if array_axis in self.flips else lines


def place(crossbar: Crossbar, side: Side, ends: Mapping[Edge, End] | None = None) -> tuple[Grid, Placement]:
    """The grid of a read that drives `side`; the same grid for both sides of one circuit.

    Axis 0 gets the longer lines, which is the cheaper way round for every method, but never lines with terminals at
    both ends, which `elimination` cannot have there.
    """
    hookup = crossbar.hookup(side)
    if crossbar.even and not gridded(crossbar, side):
        raise InvalidInputError(
            "this takes one set of lines with terminals at both ends, got drive='double' and sense='double'; use "
            "reads, biases, solve_array or sensitivities, which take both"
        )
    ends = read_ends(crossbar, side) if ends is None else ends
    driven, sensed = (
        _line(crossbar, ends[edges[0]], double=len(edges) == 2) for edges in (hookup.driven, hookup.sensed)
    )
    word, bit = (driven, sensed) if side == "rows" else (sensed, driven)
    near = {hookup.driven[0], hookup.sensed[0]}
    # Axis 0 of the array runs along the bit lines, axis 1 along the word lines.
    flips = tuple(axis for axis, edge in ((0, "bottom"), (1, "right")) if edge in near)
    swapped = bit.double or (word.cells > bit.cells and not word.double)
    placement = Placement(flips, swapped, int(swapped == (side == "rows")), 1.0 if side == "rows" else -1.0)
    lines = (word, bit) if swapped else (bit, word)
    return Grid(placement.to_grid(crossbar.conductance), lines, _floating(crossbar, placement, word)), placement


def gridded(crossbar: Crossbar, side: Side) -> bool:
    """Whether a read has a grid: equal segments, and terminals at both ends of one set of lines at most."""
    hookup = crossbar.hookup(side)
    return crossbar.even and min(len(hookup.driven), len(hookup.sensed)) == 1


def _floating(crossbar: Crossbar, placement: Placement, word: Line) -> FloatingLines | None:
    """The open word lines; one without cells carries nothing, whatever is connected to it."""
    if not crossbar.floating_rows:
        return None
    places = np.array(crossbar.floating_rows)
    places = crossbar.shape[0] - 1 - places if 0 in placement.flips else places
    return FloatingLines(word, 0 if placement.swapped else 1, places)


def _line(crossbar: Crossbar, near: End, *, double: bool) -> Line:
    """The lines that end here, which a read terminates alike."""
    segment = crossbar.segment_resistance(near.side)
    cells = crossbar.shape[1] if near.side == "rows" else crossbar.shape[0]
    return Line(cells, segment, float(near.load[0]) + segment, double)
