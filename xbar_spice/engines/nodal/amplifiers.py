"""Reads into amplifiers whose output saturates: a nonlinear termination of every sensed line.

An amplifier holds its line at v(I), with I the current into it. The grid already has its resistance R at small currents
in the terminal, so what remains is a source of e = v(I) - R I at every sensed end. The equation for all ends,

    e = v(I(e)) - R I(e),    dI/de = -Y,    Y the conductances between the ends of the (linearised) array,

is solved by Newton's method with the products Y x alone. With S^2 = v' - R >= 0, a step is symmetric:

    d = S w - r,    (1 + S Y S) w = S Y r,    r = e - (v(I) - R I).

Amplifiers and cells whose current rises with their voltage leave one solution.
"""

from __future__ import annotations

from dataclasses import replace
from typing import final

import numpy as np

from xbar_spice.amplifier import Amplifier
from xbar_spice.devices import Device
from xbar_spice.engines.nodal.checks import ReductionCheck
from xbar_spice.engines.nodal.conjugate_gradients import Outcome
from xbar_spice.engines.nodal.grid import BoolArray, Grid, Placement
from xbar_spice.engines.nodal.newton import operating_point
from xbar_spice.engines.nodal.solver import LinearCircuit, batches, require_convergence
from xbar_spice.errors import ConvergenceError
from xbar_spice.linear import FloatArray

__all__ = ["read_saturating"]

ITERATIONS = 60
HALVINGS = 30
INNER = 1e-2  # tolerance of the array's solution, relative to that of the read
FORCING = 1e-9  # how far the linear solvers reduce the residual of a Newton step
ROUNDING = 1e-11  # of the voltages: an inconsistency below is noise
WORKING_ARRAYS = 30


def read_saturating(
    grid: Grid, placement: Placement, device: Device, amplifier: Amplifier, volts: FloatArray, tolerance: float
) -> FloatArray:
    """(ports, batch) amperes that the amplifiers return for (ports, batch) volts.

    Raises:
        ConvergenceError: for the columns of the drive that did not converge.
    """
    returned = []
    for columns in batches(grid, volts.shape[1], WORKING_ARRAYS):
        drive = placement.sign * placement.drive_to_grid(volts[:, columns])
        state = _State(grid, placement, device, amplifier, drive, max(1e-14, INNER * tolerance))
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
class _State:
    """An array under trial voltages e at the sensed ends of its lines, all (batch, ends, lines)."""

    def __init__(
        self,
        grid: Grid,
        placement: Placement,
        device: Device,
        amplifier: Amplifier,
        drive: FloatArray,
        tolerance: float,
    ) -> None:
        self._grid, self._placement, self._device, self._amplifier = grid, placement, device, amplifier
        self._drive, self._tolerance = drive, tolerance
        line = grid.lines[placement.sense_axis]
        far = line.far_share()
        self._shares = np.stack([1.0 - far, far]) if line.double else np.ones((1, line.cells))  # (ends, cells)
        self._across = 1.0 / line.end_to_end if line.double else 0.0
        self._floating = np.zeros(grid.shape[1 - placement.sense_axis], dtype=bool)
        if grid.floating and grid.floating.axis == placement.sense_axis:
            self._floating[grid.floating.places] = True
        self.shape = (drive.shape[0], *self._shares.shape[:1], self._floating.size)
        self.move_to(np.zeros(self.shape))

    def move_to(self, volts: FloatArray) -> None:
        """Solve the array with these voltages at the sensed ends."""
        self.volts = volts
        outcome = self._cells(self._drive - self._placement.sign * self._spread(volts))
        self._outcome = outcome
        self.currents = self._collected(self._placement.sign * (outcome.currents + outcome.residual), volts)
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
        line = np.moveaxis(self._conductance, 1 + self._placement.sense_axis, 1).sum(axis=1)
        near = 2.0 * line[:, np.newaxis, :] * worst <= tolerance * np.abs(self.currents)
        scale = np.abs(self._drive).max(axis=(1, 2)) + np.abs(self.volts).max(axis=(1, 2))
        return np.asarray(near.all(axis=(1, 2)) | (worst[:, 0, 0] <= ROUNDING * scale))

    def step(self) -> FloatArray:
        """The Newton step d of the voltages."""
        stiffness = self._stiffness
        circuit = LinearCircuit(replace(self._grid, conductance=self._conductance), "iterative", self._tolerance)

        def product(volts: FloatArray) -> FloatArray:
            source = self._placement.sign * circuit.grid.conductance * self._spread(volts)
            outcome = circuit.solve(source, ReductionCheck(source, FORCING))
            cells = self._placement.sign * (outcome.currents + outcome.residual)
            return stiffness * self._collected(cells, -volts)

        right = product(self.residual)
        solution, residual = np.zeros_like(right), right.copy()
        direction, size = residual.copy(), (residual**2).sum(axis=(1, 2), keepdims=True)
        goal = FORCING**2 * size
        for _ in range(2 * self._floating.size + 10):
            active = size > goal
            if not active.any():
                break
            image = direction + product(stiffness * direction)
            curvature = (direction * image).sum(axis=(1, 2), keepdims=True)
            length = np.divide(size, curvature, out=np.zeros_like(size), where=active)
            solution += length * direction
            residual -= length * image
            previous, size = size, (residual**2).sum(axis=(1, 2), keepdims=True)
            direction = residual + np.divide(size, previous, out=np.zeros_like(size), where=active) * direction
        return np.asarray(stiffness * solution - self.residual)

    @property
    def _conductance(self) -> FloatArray:
        """(1, n0, n1) or (batch, n0, n1) siemens of the array linearised here."""
        if self._device.linear:
            return self._grid.conductances()
        cells = self._outcome.currents + self._outcome.residual
        drive = self._drive - self._placement.sign * self._spread(self.volts)
        volts = self._grid.volts(drive, cells, self._outcome.levels)
        return self._device.differential_conductance(self._grid.conductance, volts)

    def _cells(self, drive: FloatArray) -> Outcome:
        """What the cells carry from word line to bit line."""
        outcome = operating_point(self._grid, self._placement, self._device, drive, self._tolerance)
        require_convergence(outcome)
        return outcome

    def _spread(self, volts: FloatArray) -> FloatArray:
        """(batch, n0, n1) volts of the unloaded lines between their ends."""
        along = np.einsum("ec,bel->bcl", self._shares, volts)
        return along if self._placement.sense_axis == 0 else np.swapaxes(along, 1, 2)

    def _collected(self, cells: FloatArray, volts: FloatArray) -> FloatArray:
        """(batch, ends, lines) amperes into the ends, from the cells and from one end of a line to the other."""
        along = cells if self._placement.sense_axis == 0 else np.swapaxes(cells, 1, 2)
        collected = np.einsum("ec,bcl->bel", self._shares, along)
        collected -= self._across * (volts - volts[:, ::-1])
        collected[:, :, self._floating] = 0.0  # no terminal is there
        return np.asarray(collected)
