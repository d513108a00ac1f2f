"""Everything inside an array in one read: voltages, currents and power of cells, wires and periphery."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

import numpy as np
from numpy.typing import ArrayLike

from xbar_spice.checks import Real, checked
from xbar_spice.engines.base import DRIVE
from xbar_spice.engines.nodal.approach import approach
from xbar_spice.engines.nodal.checks import SenseCheck
from xbar_spice.engines.nodal.conjugate_gradients import Outcome
from xbar_spice.engines.nodal.grid import Grid, Placement, place
from xbar_spice.engines.nodal.laws import Laws
from xbar_spice.engines.nodal.newton import operating_point
from xbar_spice.engines.nodal.promise import balanced, for_each_current
from xbar_spice.engines.nodal.solver import LinearCircuit, require_convergence
from xbar_spice.errors import InvalidInputError, SingularCircuitError
from xbar_spice.hardware.cells import Device
from xbar_spice.hardware.crossbar import Crossbar, Side
from xbar_spice.linear.operator import FloatArray

__all__ = ["Solution", "solve_array"]

UNHELD = 1e-12  # of the programmed conductances: slopes below hold a line nowhere


@final
@dataclass(frozen=True, eq=False)
class Solution:
    """The state of an array in one read.

    Attributes:
        crossbar: the array.
        side: the driven side.
        drive: (ports,) volts at the sources of that side.
        word_voltages: (rows, cols) volts at each cell's word-line end; 0 for an open line without any cell.
        bit_voltages: (rows, cols) volts at each cell's bit-line end.
        cell_currents: (rows, cols) amperes from word line to bit line.
        word_currents: (rows, cols + 1) amperes to the right, in the segment before each cell and behind the last one.
        bit_currents: (rows + 1, cols) amperes downward, in the segment above each cell and below the last one.
    """

    crossbar: Crossbar
    side: Side
    drive: FloatArray
    word_voltages: FloatArray
    bit_voltages: FloatArray
    cell_currents: FloatArray
    word_currents: FloatArray
    bit_currents: FloatArray

    @property
    def cell_voltages(self) -> FloatArray:
        """(rows, cols) volts, word line minus bit line."""
        return self.word_voltages - self.bit_voltages

    @property
    def sense_currents(self) -> FloatArray:
        """(ports,) amperes into the sense terminals, or what their amplifiers make of it; what a read returns."""
        sensed = self.cell_currents.sum(axis=0) if self.side == "rows" else -self.cell_currents.sum(axis=1)
        if self.side == "cols":
            sensed[list(self.crossbar.open_rows)] = 0.0  # but for rounding, it is
        return np.asarray(self.crossbar.amplifier.returned_share * sensed)

    @property
    def worst_cell(self) -> tuple[int, int]:
        """(row, column) of the cell whose voltage falls furthest short of its drive."""
        driven = self.drive[:, np.newaxis] if self.side == "rows" else -self.drive[np.newaxis, :]
        row, col = np.unravel_index(np.argmax(np.abs(driven - self.cell_voltages)), self.crossbar.shape)
        return int(row), int(col)

    @property
    def cell_power(self) -> FloatArray:
        """(rows, cols) watts."""
        return self.cell_currents * self.cell_voltages

    @property
    def word_wire_power(self) -> FloatArray:
        """(rows, cols + 1) watts in the segments of the word lines."""
        return self.crossbar.r_word * self.word_currents**2

    @property
    def bit_wire_power(self) -> FloatArray:
        """(rows + 1, cols) watts in the segments of the bit lines."""
        return self.crossbar.r_bit * self.bit_currents**2

    @property
    def periphery_power(self) -> float:
        """Watts in the resistances of drivers and sense terminals, and into the inputs of amplifiers."""
        hookup = self.crossbar.hookup(self.side)
        return float(
            sum(
                connection.load * np.sum(self._terminal_currents()[connection.edge] ** 2)
                for connection in hookup.driven + hookup.sensed
            )
        )

    @property
    def source_power(self) -> float:
        """Watts that the sources deliver."""
        ends = self._terminal_currents()
        into_array = {"left": 1.0, "right": -1.0, "top": 1.0, "bottom": -1.0}
        return float(
            sum(
                into_array[connection.edge] * self.drive @ ends[connection.edge]
                for connection in self.crossbar.hookup(self.side).driven
            )
        )

    def _terminal_currents(self) -> dict[str, FloatArray]:
        return {
            "left": self.word_currents[:, 0],
            "right": self.word_currents[:, -1],
            "top": self.bit_currents[0],
            "bottom": self.bit_currents[-1],
        }


@checked(tolerance=Real(above=0, below=1))
def solve_array(crossbar: Crossbar, drive: ArrayLike, side: Side = "rows", *, tolerance: float = 1e-10) -> Solution:
    """Solve an array and keep everything inside.

    Args:
        crossbar: the array, with cells of any law.
        drive: (ports,) volts at the driven side.
        side: the driven side.
        tolerance: error of each sense current, relative to it.

    Raises:
        InvalidInputError: a drive of another shape or not finite, or amplifiers that saturate.
        DeviceError: a law whose slope does not fit its current, or which gives no number where the circuit needs one.
        ConvergenceError: the iteration did not converge.
        SingularCircuitError: an open word line whose cells do not conduct, so that it has no level.
    """
    volts = DRIVE("drive", drive)
    if volts.shape != (crossbar.ports(side),):
        raise InvalidInputError(
            f"side={side!r} of this array takes one finite drive of shape ({crossbar.ports(side)},), got {volts.shape}"
        )
    if not crossbar.amplifier.linear:
        raise InvalidInputError(
            f"the inside of an array is known for linear amplifiers, got {crossbar.amplifier!r}; "
            "leave its saturation out"
        )
    volts = crossbar.applied(volts, side)
    crossbar.require_known_voltages(volts, side)
    grid, placement = place(crossbar, side)
    between_ends = placement.sign * placement.drive_to_grid(volts[:, np.newaxis])
    outcome = _state(grid, placement, crossbar.device, between_ends, tolerance)
    require_convergence(outcome)
    _require_levels(crossbar, grid, placement, outcome, between_ends)
    return _describe(crossbar, side, volts, grid, placement, outcome)


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
        across = grid.volts(drive, outcome.currents + outcome.residual, outcome.levels)
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
    across = grid.volts(drive, outcome.currents + outcome.residual, outcome.levels)
    slopes = crossbar.device.differential_conductance(grid.conductance, across)
    held = placement.to_array(slopes)[0].sum(axis=1) > UNHELD * crossbar.conductance.sum(axis=1)
    loose = [row for row in crossbar.open_rows if crossbar.conductance[row].any() and not held[row]]
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
        side,
        volts,
        nodes[word_axis] + (driven if side == "rows" else 0.0),
        nodes[bit_axis] + (driven if side == "cols" else 0.0),
        placement.to_array(cells[0]),
        wires[word_axis],
        wires[bit_axis],
    )
