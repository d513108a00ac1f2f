"""Reads into amplifiers whose output saturates: a nonlinear termination of every sensed line.

An amplifier holds its line at v(I), with I the current into it. The grid already has its resistance R at small currents
in the terminal, so what remains is a source of e = v(I) - R I at every sensed end. The equation for all ends,

    e = v(I(e)) - R I(e),    dI/de = -Y,    Y the conductances between the ends of the (linearised) array,

is solved by Newton's method with the products Y x alone. Y itself is kept for linear cells, where it stays the same,
unless the array is large. With S^2 = v' - R >= 0, a step is symmetric:

    d = S w - r,    (1 + S Y S) w = S Y r,    r = e - (v(I) - R I).

Amplifiers and cells whose current rises with their voltage leave one solution.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import final

import numpy as np

from xbar_spice.engines.nodal.checks import ReductionCheck
from xbar_spice.engines.nodal.grid import BoolArray, Grid, Placement
from xbar_spice.engines.nodal.laws import Laws
from xbar_spice.engines.nodal.newton import operating_point
from xbar_spice.engines.nodal.solver import LinearCircuit, batches, require_convergence
from xbar_spice.errors import ConvergenceError
from xbar_spice.hardware.amplifier import Amplifier
from xbar_spice.hardware.device import Device
from xbar_spice.linear.operator import FloatArray

__all__ = ["Array", "end_conductances", "read_saturating"]

ITERATIONS = 60
HALVINGS = 30
INNER = 1e-2  # tolerance of the array's solution, relative to that of the read
FORCING = 1e-6  # how far a Newton step is solved
REDUCTION = 1e-8  # of the residual in each of its products
KEPT_REDUCTION = 1e-12  # of the residual in a Y that is kept
DENSE_TO = 512  # sensed ends up to which Y is kept
ROUNDING = 1e-11  # of the voltages: an inconsistency below is noise
WORKING_ARRAYS = 30


@final
@dataclass(frozen=True, eq=False)
class Array:
    """An array as it lies in its grid."""

    grid: Grid
    placement: Placement
    device: Device
    laws: Laws = field(default_factory=Laws)


def read_saturating(
    array: Array, amplifier: Amplifier, volts: FloatArray, tolerance: float, known: FloatArray | None = None
) -> FloatArray:
    """(ports, batch) amperes that the amplifiers return for (ports, batch) volts.

    Args:
        array: lines, cells and their law.
        amplifier: at every sensed end.
        volts: of the drivers.
        tolerance: relative to each sense current.
        known: `end_conductances` of the array, for linear cells; it makes every read after the first cheap.

    Raises:
        ConvergenceError: for the columns of the drive that did not converge.
    """
    returned, placement = [], array.placement
    for columns in batches(array.grid, volts.shape[1], WORKING_ARRAYS):
        drive = placement.sign * placement.drive_to_grid(volts[:, columns])
        state = _State(array, amplifier, drive, max(1e-14, INNER * tolerance), known)
        converged = _solve(state, tolerance)
        if not converged.all():
            failed = (columns.start + np.flatnonzero(~converged)).tolist()
            raise ConvergenceError(
                f"Newton's method did not converge for columns {failed} of the drive, with {amplifier!r} at the ends; "
                "try lower voltages, a smaller gain, or engine='ngspice'"
            )
        returned.append(amplifier.returned(state.currents).sum(axis=1))
    return placement.from_sense(np.concatenate(returned))


def _solve(state: _State, tolerance: float) -> BoolArray:
    """Newton's method, its steps halved until the inconsistency of a vector falls; (batch,) whether it converged."""
    failed = np.zeros(state.shape[0], dtype=bool)
    for _ in range(ITERATIONS):
        done = state.good_enough(tolerance)
        if (done | failed).all():
            break
        step = state.step()
        length = np.where(done | failed, 0.0, 1.0)[:, np.newaxis, np.newaxis]
        start, before = state.volts, state.inconsistency()
        for _ in range(HALVINGS):
            state.move_to(start + length * step)
            worse = (state.inconsistency() > (1 - 1e-4 * length[:, 0, 0]) * before) & (length[:, 0, 0] > 0)
            if not worse.any():
                break
            length[worse] *= 0.5
        failed |= worse
    return state.good_enough(tolerance)


@final
class _Ends:
    """The ends at which lines are sensed: one of each line, or both. Voltages and currents are (batch, ends, lines)."""

    def __init__(self, grid: Grid, placement: Placement) -> None:
        line = grid.lines[placement.sense_axis]
        far = line.far_share()
        self._axis = placement.sense_axis
        self._sign = placement.sign
        self._shares = np.stack([1.0 - far, far]) if line.double else np.ones((1, line.cells))  # (ends, cells)
        self._across = 1.0 / line.end_to_end if line.double else 0.0
        self._floating = np.zeros(grid.shape[1 - placement.sense_axis], dtype=bool)
        if grid.floating and grid.floating.axis == placement.sense_axis:
            self._floating[grid.floating.places] = True
        self.shape = (self._shares.shape[0], self._floating.size)

    def across_cells(self, volts: FloatArray) -> FloatArray:
        """(batch, n0, n1) volts, word line minus bit line, that voltages at the ends put across the cells."""
        along = -self._sign * np.einsum("ec,bel->bcl", self._shares, volts)
        return along if self._axis == 0 else np.swapaxes(along, 1, 2)

    def collected(self, cells: FloatArray, volts: FloatArray) -> FloatArray:
        """Amperes into the ends, from the cells and from one end of a line to the other."""
        along = cells if self._axis == 0 else np.swapaxes(cells, 1, 2)
        collected = self._sign * np.einsum("ec,bcl->bel", self._shares, along)
        collected -= self._across * (volts - volts[:, ::-1])
        collected[:, :, self._floating] = 0.0  # no terminal is there
        return np.asarray(collected)

    def product(self, circuit: LinearCircuit, volts: FloatArray, reduction: float) -> FloatArray:
        """Y x, the amperes out of the ends at the voltages x when the drivers are at 0 V."""
        source = circuit.grid.conductance * self.across_cells(volts)
        outcome = circuit.solve(source, ReductionCheck(source, reduction))
        return -self.collected(outcome.currents + outcome.residual, volts)


def end_conductances(grid: Grid, placement: Placement) -> FloatArray | None:
    """Y of an array of linear cells, (ends * lines, ends * lines) siemens; None if it is too large to be worth it."""
    ends = _Ends(grid, placement)
    count = ends.shape[0] * ends.shape[1]
    if count > DENSE_TO:
        return None
    circuit, units = LinearCircuit(grid, "iterative"), np.eye(count).reshape(count, *ends.shape)
    parts = [ends.product(circuit, units[some], KEPT_REDUCTION) for some in batches(grid, count, WORKING_ARRAYS)]
    return np.concatenate(parts).reshape(count, count)


@final
class _State:
    """An array under trial voltages e at the sensed ends of its lines."""

    def __init__(
        self, array: Array, amplifier: Amplifier, drive: FloatArray, tolerance: float, known: FloatArray | None
    ) -> None:
        self._array, self._amplifier = array, amplifier
        self._drive, self._tolerance, self._known = drive, tolerance, known
        self._ends = _Ends(array.grid, array.placement)
        self.shape = (drive.shape[0], *self._ends.shape)
        self._grounded: FloatArray | None = None
        self.move_to(np.zeros(self.shape))

    def move_to(self, volts: FloatArray) -> None:
        """Find the currents with these voltages at the sensed ends."""
        self.volts = volts
        self.currents = self._currents(volts)
        small = self._amplifier.input_resistance
        self.residual = volts - (self._amplifier.input_voltage(self.currents) - small * self.currents)
        # The slope of v(I) - R I: an output that follows the current less raises the input more.
        lost = self._amplifier.returned_share - self._amplifier.returned_slope(self.currents)
        self._stiffness = np.sqrt(np.maximum(self._amplifier.r_feedback * lost, 0.0))

    def inconsistency(self) -> FloatArray:
        """(batch,) volts by which the ends miss what their amplifiers ask for."""
        return np.asarray(np.sqrt((self.residual**2).sum(axis=(1, 2))))

    def good_enough(self, tolerance: float) -> BoolArray:
        """(batch,) whether each current is right to the tolerance, or all that is left is rounding."""
        worst = np.abs(self.residual).max(axis=(1, 2))[:, np.newaxis, np.newaxis]
        line = self._conductance.sum(axis=1 + self._array.placement.sense_axis)
        near = 2.0 * line[:, np.newaxis, :] * worst <= tolerance * np.abs(self.currents)
        scale = np.abs(self._drive).max(axis=(1, 2)) + np.abs(self.volts).max(axis=(1, 2))
        return np.asarray(near.all(axis=(1, 2)) | (worst[:, 0, 0] <= ROUNDING * scale))

    def step(self) -> FloatArray:
        """The Newton step d of the voltages."""
        stiffness, product = self._stiffness, self._product()
        right = stiffness * product(self.residual)
        solution = _conjugate_gradients(lambda w: w + stiffness * product(stiffness * w), right)
        return np.asarray(stiffness * solution - self.residual)

    def _product(self) -> Callable[[FloatArray], FloatArray]:
        known = self._known
        if known is not None:
            return lambda volts: (volts.reshape(len(volts), -1) @ known).reshape(volts.shape)
        linearised = replace(self._array.grid, conductance=self._conductance)
        circuit = LinearCircuit(linearised, "iterative", self._tolerance)
        return lambda volts: self._ends.product(circuit, volts, REDUCTION)

    def _currents(self, volts: FloatArray) -> FloatArray:
        """Amperes into the ends at these voltages."""
        if self._known is not None and self._grounded is not None:
            return np.asarray(self._grounded - self._product()(volts))
        grid, placement, device = self._array.grid, self._array.placement, self._array.device
        between_ends = self._drive + self._ends.across_cells(volts)
        outcome = operating_point(grid, placement, device, between_ends, self._tolerance, laws=self._array.laws)
        require_convergence(outcome)
        cells = outcome.currents + outcome.residual
        self._conductance = grid.conductances()
        if not device.linear:
            self._conductance = device.differential_conductance(grid.conductance, outcome.volts(grid, between_ends))
        currents = self._ends.collected(cells, volts)
        if self._grounded is None:
            self._grounded = currents
        return currents


def _conjugate_gradients(product: Callable[[FloatArray], FloatArray], right: FloatArray) -> FloatArray:
    """Solve symmetric systems for a batch of right-hand sides, all (batch, ends, lines)."""

    def dot(one: FloatArray, other: FloatArray) -> FloatArray:
        return np.asarray((one * other).sum(axis=(1, 2), keepdims=True))

    solution, residual, direction = np.zeros_like(right), right.copy(), right.copy()
    size = dot(right, right)
    goal = FORCING**2 * size
    for _ in range(2 * right[0].size + 10):
        active = size > goal
        if not active.any():
            break
        image = product(direction)
        length = np.divide(size, dot(direction, image), out=np.zeros_like(size), where=active)
        solution += length * direction
        residual -= length * image
        previous, size = size, dot(residual, residual)
        direction = residual + np.divide(size, previous, out=np.zeros_like(size), where=active) * direction
    return solution
