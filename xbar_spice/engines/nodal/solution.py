"""Everything inside an array in one read: voltages, currents and power of cells, wires and periphery."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import final

import numpy as np
from numpy.typing import ArrayLike

from xbar_spice.checks import ANYTHING, Real, checked
from xbar_spice.engines.base import DRIVE
from xbar_spice.engines.nodal.approach import approach
from xbar_spice.engines.nodal.biased import BiasedArray
from xbar_spice.engines.nodal.checks import SenseCheck
from xbar_spice.engines.nodal.conjugate_gradients import Outcome
from xbar_spice.engines.nodal.grid import Grid, Placement, gridded, place
from xbar_spice.engines.nodal.laws import Laws
from xbar_spice.engines.nodal.newton import operating_point
from xbar_spice.engines.nodal.promise import balanced, for_each_current
from xbar_spice.engines.nodal.solver import LinearCircuit, require_convergence
from xbar_spice.errors import InvalidInputError, SingularCircuitError
from xbar_spice.hardware.biases import Biases, Currents, End
from xbar_spice.hardware.crossbar import Crossbar, Edge, Side
from xbar_spice.hardware.device import Device
from xbar_spice.hardware.reads import read_biases, read_ends, require_known_voltages
from xbar_spice.linear.operator import FloatArray
from xbar_spice.linear.threads import one_thread

__all__ = ["Solution", "solve_array"]

UNHELD = 1e-12  # of the programmed conductances: slopes below hold a line nowhere


@final
@dataclass(frozen=True, eq=False)
class Solution:
    """The state of an array in one read, or under one set of biases.

    Attributes:
        crossbar: the array.
        biases: what is connected to the ends of its lines.
        word_voltages: (rows, cols) volts at each cell's word-line end; 0 for an open line without any cell.
        bit_voltages: (rows, cols) volts at each cell's bit-line end.
        cell_currents: (rows, cols) amperes from word line to bit line.
        word_currents: (rows, cols + 1) amperes to the right, in the segment before each cell and behind the last one.
        bit_currents: (rows + 1, cols) amperes downward, in the segment above each cell and below the last one.
        side: the driven side of a read; None under other biases.
    """

    crossbar: Crossbar
    biases: Biases
    word_voltages: FloatArray
    bit_voltages: FloatArray
    cell_currents: FloatArray
    word_currents: FloatArray
    bit_currents: FloatArray
    side: Side | None = None

    @cached_property
    def ends(self) -> dict[Edge, End]:
        """What stands at every edge."""
        return self.biases.ends(self.crossbar)

    @property
    def currents(self) -> Currents:
        """Amperes into the terminals of every edge, 0 at open ends."""
        into = self._into_terminals()
        amperes = {edge: end.returned(into[edge][:, np.newaxis]) for edge, end in self.ends.items()}
        return Currents.of_ends(self.ends, amperes, None)

    @property
    def cell_voltages(self) -> FloatArray:
        """(rows, cols) volts, word line minus bit line."""
        return self.word_voltages - self.bit_voltages

    @property
    def sense_currents(self) -> FloatArray:
        """(ports,) amperes into the sense terminals, or what their amplifiers make of it; what a read returns."""
        if self.side is None:
            raise InvalidInputError(
                "biases do not say which terminals sense; take currents.left, .right, .top, .bottom"
            )
        if not self.crossbar.amplifier.linear:
            sensed_edges = self.crossbar.hookup(self.side).sensed
            return np.asarray(sum(getattr(self.currents, edge) for edge in sensed_edges))
        sensed = self.cell_currents.sum(axis=0) if self.side == "rows" else -self.cell_currents.sum(axis=1)
        if self.side == "cols":
            sensed[list(self.crossbar.open_rows)] = 0.0  # but for rounding, it is
        return np.asarray(self.crossbar.amplifier.returned_share * sensed)

    @property
    def nominal_voltages(self) -> FloatArray:
        """(rows, cols) volts that the terminals would put across the cells without wires; NaN at floating lines."""
        word, bit = (
            np.where(
                one.connected & other.connected,
                0.5 * (one.volts + other.volts)[:, 0],
                np.where(one.connected, one.volts[:, 0], np.where(other.connected, other.volts[:, 0], np.nan)),
            )
            for one, other in ((self.ends["left"], self.ends["right"]), (self.ends["top"], self.ends["bottom"]))
        )
        return np.asarray(word[:, np.newaxis] - bit)

    @property
    def worst_cell(self) -> tuple[int, int]:
        """(row, column) of the cell whose voltage is furthest from what its terminals would put across it."""
        lost = np.abs(self.nominal_voltages - self.cell_voltages)
        if np.isnan(lost).all():
            raise InvalidInputError("no cell lies between two lines with terminals, so that none has a nominal voltage")
        row, col = np.unravel_index(np.nanargmax(lost), self.crossbar.shape)
        return int(row), int(col)

    @property
    def cell_power(self) -> FloatArray:
        """(rows, cols) watts."""
        return self.cell_currents * self.cell_voltages

    @property
    def word_wire_power(self) -> FloatArray:
        """(rows, cols + 1) watts in the segments of the word lines."""
        return self.crossbar.segments("rows") * self.word_currents**2

    @property
    def bit_wire_power(self) -> FloatArray:
        """(rows + 1, cols) watts in the segments of the bit lines."""
        return self.crossbar.segments("cols").T * self.bit_currents**2

    @property
    def periphery_power(self) -> float:
        """Watts in the resistances of terminals, and into the inputs of amplifiers."""
        amperes = self._into_terminals()
        lost = {edge: end.lost(amperes[edge][:, np.newaxis])[:, 0] for edge, end in self.ends.items()}
        return float(sum(lost[edge][end.connected] @ amperes[edge][end.connected] for edge, end in self.ends.items()))

    @property
    def source_power(self) -> float:
        """Watts that the sources deliver."""
        amperes = self._into_terminals()
        return float(sum(-end.volts[:, 0] @ amperes[edge] for edge, end in self.ends.items()))

    def _into_terminals(self) -> dict[Edge, FloatArray]:
        return {
            "left": -self.word_currents[:, 0],
            "right": self.word_currents[:, -1],
            "top": -self.bit_currents[0],
            "bottom": self.bit_currents[-1],
        }


@checked(drive=ANYTHING, tolerance=Real(above=0, below=1))
@one_thread()
def solve_array(
    crossbar: Crossbar, drive: ArrayLike | Biases, side: Side = "rows", *, tolerance: float = 1e-10
) -> Solution:
    """Solve an array and keep everything inside.

    Args:
        crossbar: the array, with cells of any law.
        drive: (ports,) volts at the driven side of a read, or one set of biases.
        side: the driven side of a read.
        tolerance: error of each sense current, or of that of every terminal, relative to it.

    Raises:
        InvalidInputError: a drive of another shape or not finite, or op-amps of the user's own.
        DeviceError: a law whose slope does not fit its current, or which gives no number where the circuit needs one.
        ConvergenceError: the iteration did not converge.
        SingularCircuitError: an open word line whose cells do not conduct, so that it has no level, or another part
            that no terminal holds.
    """
    if isinstance(drive, Biases):
        return _under_biases(crossbar, drive, tolerance)
    volts = DRIVE("drive", drive)
    if volts.shape != (crossbar.ports(side),):
        raise InvalidInputError(
            f"side={side!r} of this array takes one finite drive of shape ({crossbar.ports(side)},), got {volts.shape}"
        )
    volts = crossbar.applied(volts, side)
    require_known_voltages(crossbar, read_ends(crossbar, side, volts))
    if not (gridded(crossbar, side) and crossbar.amplifier.linear):
        return _under_biases(crossbar, read_biases(crossbar, volts, side), tolerance, side)
    grid, placement = place(crossbar, side)
    between_ends = placement.sign * placement.drive_to_grid(volts[:, np.newaxis])
    outcome = _state(grid, placement, crossbar.device, between_ends, tolerance)
    require_convergence(outcome)
    _require_levels(crossbar, grid, placement, outcome, between_ends)
    return _describe(crossbar, side, volts, grid, placement, outcome)


def _under_biases(crossbar: Crossbar, biases: Biases, tolerance: float, side: Side | None = None) -> Solution:
    if biases.batch is not None:
        raise InvalidInputError(
            f"what is inside is that of one set of voltages, got a batch of {biases.batch}; leave the second axis out"
        )
    ends = biases.ends(crossbar)
    require_known_voltages(crossbar, ends)
    (state,) = BiasedArray(crossbar, ends, tolerance).solve()
    word, bit = (part.nodes.rounded()[0] for part in (state.word, state.bit))
    along, down = (part.through.rounded()[0] for part in (state.word, state.bit))
    return Solution(crossbar, biases, word, bit.T, state.cells.rounded()[0], along, down.T, side)


def _state(grid: Grid, placement: Placement, device: Device, drive: FloatArray, tolerance: float) -> Outcome:
    """What the cells carry, each sense current to the tolerance."""
    axis = placement.sense_axis
    if not device.linear:
        laws = Laws()

        def point(*, each: bool) -> Outcome:
            return operating_point(grid, placement, device, drive, tolerance, each=each, laws=laws)

        outcome = point(each=False)
        if not balanced(outcome, grid, tolerance):
            return approach(grid, device, drive, tolerance)
        require_convergence(outcome)
        across = outcome.volts(grid, drive)
        with np.errstate(over="ignore", invalid="ignore"):
            near = LinearCircuit(replace(grid, conductance=device.differential_conductance(grid.conductance, across)))
        if near.subtle and not outcome.inside:
            return approach(grid, device, drive, tolerance)
        return for_each_current(outcome, near.grid, axis, tolerance, lambda: point(each=True))
    circuit = LinearCircuit(grid, tolerance=tolerance)
    if circuit.subtle:
        return circuit.refined(drive)
    source = grid.conductance * drive
    outcome = circuit.solve(source, SenseCheck(grid, axis, tolerance, each=False))
    again = SenseCheck(grid, axis, tolerance)
    return for_each_current(
        circuit.or_refined(outcome, drive),
        grid,
        axis,
        tolerance,
        lambda: circuit.or_refined(circuit.solve(source, again), drive),
    )


def _require_levels(crossbar: Crossbar, grid: Grid, placement: Placement, outcome: Outcome, drive: FloatArray) -> None:
    """Refuse an open word line whose cells hold it nowhere, such as thresholds that are not reached."""
    if grid.floating is None or crossbar.device.linear:
        return
    across = outcome.volts(grid, drive)
    slopes = crossbar.device.differential_conductance(grid.conductance, across)
    held = placement.to_array(slopes)[0].sum(axis=1) > UNHELD * crossbar.conductance.sum(axis=1)
    loose = [row for row in crossbar.floating_rows if not held[row]]
    if loose:
        raise SingularCircuitError(
            f"the open word lines {loose} have no level of their own: none of their {crossbar.device!r} cells conducts "
            "at these voltages. Sense currents are known nevertheless, by a read with engine='nodal'; for voltages, "
            "connect these lines, or drive the array harder"
        )


def _describe(
    crossbar: Crossbar,
    side: Side,
    volts: FloatArray,
    grid: Grid,
    placement: Placement,
    outcome: Outcome,
) -> Solution:
    """The lines' state, from what every cell carries."""
    cells = outcome.currents + outcome.residual
    word_axis, bit_axis = (0, 1) if placement.swapped else (1, 0)
    flipped = {word_axis: 1 in placement.flips, bit_axis: 0 in placement.flips}
    nodes, wires = {}, {}
    for axis, draws in ((word_axis, cells), (bit_axis, -cells)):
        above = grid.line_volts(draws, axis, outcome.levels)
        if outcome.inside:
            lost = outcome.inside.second if axis else outcome.inside.first
            above = -lost if axis == word_axis else lost
        nodes[axis] = placement.to_array(above[0])
        through = grid.through_currents(draws, axis)[0]
        # Counted from the terminal; in the array from left to right and from top to bottom.
        wires[axis] = placement.to_array(-through if flipped[axis] else through)
    driven = volts[:, np.newaxis] if side == "rows" else volts[np.newaxis, :]
    return Solution(
        crossbar,
        read_biases(crossbar, volts, side),
        nodes[word_axis] + (driven if side == "rows" else 0.0),
        nodes[bit_axis] + (driven if side == "cols" else 0.0),
        placement.to_array(cells[0]),
        wires[word_axis],
        wires[bit_axis],
        side,
    )
