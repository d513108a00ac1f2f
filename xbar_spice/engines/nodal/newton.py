"""Newton's method for cells with a nonlinear law I(G, V): I(G, D0 - Z y) = y.

The linearised array has the differential conductances of the cells, which differ between the vectors of a batch, and
is solved as any other. For cells whose current rises with their voltage the equation is the gradient of a convex
function (the co-content of the network), so it has one solution, and shortened steps lead there from anywhere. What
these steps do not reach, and all with slopes below zero, is left to `approach`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import final

import numpy as np

from xbar_spice.engines.nodal.approach import approach
from xbar_spice.engines.nodal.checks import ReductionCheck, SenseCheck
from xbar_spice.engines.nodal.conjugate_gradients import ROUNDING, Outcome, Preconditioner
from xbar_spice.engines.nodal.factor import FACTOR_CELLS
from xbar_spice.engines.nodal.grid import BoolArray, Grid, Placement
from xbar_spice.engines.nodal.laws import Laws, reach
from xbar_spice.engines.nodal.solver import LinearCircuit, batches
from xbar_spice.errors import ConvergenceError
from xbar_spice.hardware.device import Device
from xbar_spice.linear.operator import FloatArray
from xbar_spice.linear.threads import one_thread

__all__ = ["WORKING_ARRAYS", "operating_point", "read_nonlinear", "require_operating_point"]

ITERATIONS = 50
HALVINGS = 25
WORKING_ARRAYS = 20
BEYOND = 1e30  # siemens or amperes that no circuit has, and single precision hardly holds
NEAR = 2.0  # ratio of slopes and programmed conductances up to which one preconditioner fits both
MOST = 0.1  # of the residual of a Newton step: what the linear solver may leave of it
CLOSE, SPARE = 10.0, 0.01  # of the error that is allowed: a step that would leave so much aims at so little


def read_nonlinear(
    grid: Grid,
    placement: Placement,
    device: Device,
    volts: FloatArray,
    tolerance: float,
    *,
    spectral: Preconditioner | None = None,
    laws: Laws | None = None,
) -> FloatArray:
    """(ports, batch) sense currents for (ports, batch) volts.

    Args:
        grid: the array.
        placement: how it lies there.
        device: law of the cells.
        volts: of the drivers.
        tolerance: relative to each sense current.
        spectral: a preconditioner of the programmed array, as `operating_point` takes it.
        laws: what this session knows of its devices.

    Raises:
        DeviceError: as `operating_point` raises it.
        ConvergenceError: for the columns of the drive that did not converge.
    """
    sensed = []
    for columns in batches(grid, volts.shape[1], WORKING_ARRAYS):
        drive = placement.sign * placement.drive_to_grid(volts[:, columns])
        outcome = operating_point(grid, placement, device, drive, tolerance, spectral=spectral, laws=laws)
        require_operating_point(outcome.converged, device, volts, columns.start)
        total = (outcome.currents + outcome.residual).sum(axis=1 + placement.sense_axis)
        sensed.append(placement.sign * total)
    return placement.from_sense(np.concatenate(sensed))


def require_operating_point(converged: BoolArray, device: Device, volts: FloatArray, first: int = 0) -> None:
    """Raise for the columns of a drive, the first of which has this number, that are not solved."""
    if not converged.all():
        failed = (first + np.flatnonzero(~converged)).tolist()
        raise ConvergenceError(
            f"Newton's method did not converge for columns {failed} of the drive, with {device!r} cells and "
            f"up to {np.abs(volts[:, failed]).max():g} V; try lower voltages, or smaller ratios between the slopes of "
            "cells and the conductances of wires and terminals"
        )


@one_thread()
def operating_point(
    grid: Grid,
    placement: Placement,
    device: Device,
    drive: FloatArray,
    tolerance: float,
    *,
    each: bool = True,
    spectral: Preconditioner | None = None,
    laws: Laws | None = None,
) -> Outcome:
    """What every cell carries from its word line to its bit line.

    Args:
        grid: the array, or one for each vector of the batch.
        placement: how it lies there.
        device: law of the cells.
        drive: (batch, ...) volts between the ends of the lines, word line minus bit line; broadcasts to the cells.
        tolerance: relative to each sense current, or to the largest one.
        each: which of the two.
        spectral: a preconditioner of the programmed array. One serves as long as no slope is far from the conductance
            that it was made for.
        laws: what this session knows of its devices.

    Raises:
        DeviceError: a law whose slope does not fit its current, or which gives no number where the circuit needs one.
        ConvergenceError: the only states found are ones that a circuit would not stay in.
    """
    laws = laws or Laws()
    falls = laws.fall(device, grid.conductance, reach(drive))
    state = _State(grid, device, drive)
    failed = np.zeros(drive.shape[0], dtype=bool)
    unfit = failed.copy()
    iterations, fit = 0, grid.conductance  # what the preconditioner was made for
    forcing = np.full(drive.shape[0], MOST)
    for _ in range(ITERATIONS):
        slopes, lost = state.slopes()
        unfit |= lost
        failed |= lost
        if spectral is None or not _near(slopes, fit):
            spectral, fit = None, slopes
        circuit = LinearCircuit(replace(grid, conductance=slopes), "iterative", tolerance, spectral=spectral)
        check = SenseCheck(circuit.grid, placement.sense_axis, tolerance, each=each)
        error = check.error(state.residual) + check.drift(state.currents + state.residual)
        allowed = check.allowance(state.currents, state.residual)
        done = (error <= allowed).all(axis=1)
        if (done | failed).all():
            break
        active = ~(done | failed)
        residual = state.residual if active.all() else np.where(active[:, np.newaxis, np.newaxis], state.residual, 0.0)
        enough = np.divide(allowed, error, out=np.ones(error.shape), where=error > allowed).min(axis=1)
        forcing = np.where(forcing <= CLOSE * enough, SPARE * enough, forcing)
        wanted = ReductionCheck(residual, np.minimum(forcing, MOST))
        inner, spectral = circuit.solve(residual, wanted, rough=True), circuit.spectral
        iterations += inner.iterations
        before = state.size
        failed |= ~state.advance(inner.currents, inner.levels, active)
        # Newton's next step gains as many digits as this one and the one before together: Eisenstat and Walker, SIAM
        # J. Sci. Comput. 17, 16, 1996, choice 2.
        forcing = np.divide(state.size, before, out=np.zeros_like(before), where=before > 0) ** 2
    rounding = state.size <= ROUNDING * state.ideal_current()
    converged = done | check.met_by_noise(state.currents, state.residual, rounding)
    if grid.floating:
        converged &= done
    converged &= check.told(state.currents, state.residual) & ~unfit
    outcome = Outcome(state.currents, state.residual, converged, iterations, state.levels)
    if not converged.all() and grid.shape[0] * grid.shape[1] <= FACTOR_CELLS:
        left = np.flatnonzero(~converged)
        some = replace(grid, conductance=grid.conductance[left]) if grid.conductance.ndim == 3 else grid
        outcome = outcome.with_vectors(left, approach(some, device, drive[left], tolerance))
    if falls and outcome.converged.any():
        laws.require_one_state(device, grid, reach(drive))
    return outcome


def _near(slopes: FloatArray, conductance: FloatArray) -> bool:
    """Whether no slope is far from another conductance of its cell."""
    return bool((slopes <= NEAR * conductance).all() and (NEAR * slopes >= conductance).all())


def _taken(places: BoolArray, values: FloatArray, others: FloatArray) -> FloatArray:
    """The values of some vectors of a batch, and the others of the others."""
    return values if places.all() else np.where(places.reshape(-1, *(1,) * (values.ndim - 1)), values, others)


@final
class _State:
    """Cell currents y and what the cells would like to carry on top, I(G, D0 - Z y) - y, both (batch, n0, n1)."""

    def __init__(self, grid: Grid, device: Device, drive: FloatArray) -> None:
        self._grid = grid
        self._device = device
        self._drive = drive
        self.currents = np.zeros((drive.shape[0], *grid.shape))
        self.levels = np.zeros((drive.shape[0], grid.floating.places.size if grid.floating else 0))
        self.volts, self.residual, self._slopes = self._law(np.array(np.broadcast_to(drive, self.currents.shape)), 0.0)

    def ideal_current(self) -> FloatArray:
        """(batch,) amperes that all cells would carry at their full drive, about."""
        return np.asarray((self._grid.conductance * np.abs(self._drive)).sum(axis=(1, 2)))

    def slopes(self) -> tuple[FloatArray, BoolArray]:
        """The differential conductances here, and (batch,) of which vectors they are of no use.

        Conjugate gradients take no slope below 0, and no method one that is not a number.
        """
        slopes = self._slopes
        usable = (slopes >= 0) & (slopes < BEYOND) & (np.abs(self.residual) < BEYOND)
        lost = np.asarray(~usable.all(axis=(1, 2)))
        if self._grid.floating:  # a line whose cells do not conduct has no level that could be found from slopes
            lost |= (self._grid.floating.take(slopes).sum(axis=2) == 0).any(axis=1)
        if lost.any():
            slopes = np.where(lost[:, np.newaxis, np.newaxis], self._grid.conductances(), slopes)
            self.residual = np.where(lost[:, np.newaxis, np.newaxis], 0.0, self.residual)
        return slopes, lost

    @property
    def size(self) -> FloatArray:
        """(batch,) amperes, the sum of the residual."""
        return np.asarray(np.abs(self.residual).sum(axis=(1, 2)))

    def advance(self, step: FloatArray, rise: FloatArray, active: BoolArray) -> BoolArray:
        """Move the active vectors by the step, halved until the residual falls; (batch,) whether that was possible."""
        length = np.ones((step.shape[0], 1, 1))
        before = self.size
        for _ in range(HALVINGS):
            currents, levels = self.currents + length * step, self.levels + length[:, :, 0] * rise
            volts, residual, slopes = self._evaluate(currents, levels)
            # A voltage so far off that the law overflows gives no number, which is not a smaller one.
            fallen = np.abs(residual).sum(axis=(1, 2)) <= (1.0 - 1e-4 * length[:, 0, 0]) * before
            fallen |= ~active | (before == 0)
            if fallen.all():
                break
            length[~fallen] *= 0.5
        taken = fallen & active
        self.currents = _taken(taken, currents, self.currents)
        self.levels = _taken(taken, levels, self.levels)
        self.volts = _taken(taken, volts, self.volts)
        self.residual = _taken(taken, residual, self.residual)
        self._slopes = _taken(taken, slopes, self._slopes)
        return np.asarray(fallen)

    def _evaluate(self, currents: FloatArray, levels: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Voltages, residual and slopes at these currents."""
        return self._law(self._grid.volts(self._drive, currents, levels), currents)

    def _law(self, volts: FloatArray, currents: FloatArray | float) -> tuple[FloatArray, FloatArray, FloatArray]:
        """The same where the voltages are known."""
        with np.errstate(over="ignore", invalid="ignore"):
            wanted, slopes = self._device.current_and_slope(self._grid.conductance, volts)
            return volts, wanted - currents, slopes
