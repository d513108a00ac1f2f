"""Newton's method from 0 V for laws that grow, fall or end steeply: one vector at a time, by the sparse factor.

Every cell has a voltage of its own at which its law is linearised, as in SPICE. Where the network would carry a cell
far up a steep law, the cell stops at the voltage at which it has the current that the network gave it; that is Newton's
method for its voltage as a function of its current, and a voltage V0 ln(I) does not run away where V0 exp does.

If that does not settle, the sources are raised step by step from 0 V, as when a circuit is switched on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import final

import numpy as np

from xbar_spice.engines.base import refuse_numbers
from xbar_spice.engines.nodal.conjugate_gradients import Outcome
from xbar_spice.engines.nodal.extended import Extended, exact
from xbar_spice.engines.nodal.factor import FACTOR_CELLS, FactorPreconditioner
from xbar_spice.engines.nodal.grid import Grid
from xbar_spice.engines.nodal.laws import reach
from xbar_spice.engines.nodal.refined import Refined, gather, refine
from xbar_spice.errors import ConvergenceError
from xbar_spice.hardware.device import Device
from xbar_spice.linear.operator import FloatArray

__all__ = ["approach", "limited"]

CellLaw = Callable[[FloatArray], tuple[FloatArray, FloatArray]]  # currents and slopes at voltages

ITERATIONS = 100
BISECTIONS = 40
NEAR = 1e-7  # of the largest voltage: a step below leaves the rest to `refine`
SMALLEST_STEP = 1e-4  # of the sources
DAMPED_FROM = 30  # iterations after which only a part of each step is taken


def approach(grid: Grid, device: Device, drive: FloatArray, tolerance: float) -> Outcome:
    """The operating points of a batch of drives, (batch, n0, n1) volts; `operating_point` says the rest.

    Raises:
        DeviceError: the law gives no number where the circuit needs one.
        ConvergenceError: an array too large for a sparse factor, or no state in which a circuit would stay.
    """
    rows, cols = grid.shape
    if rows * cols > FACTOR_CELLS:
        raise ConvergenceError(
            f"an array of {rows} x {cols} cells is too large for the method that its {device!r} cells need here; "
            "cut it into tiles, or try lower voltages"
        )
    solved = []
    for index, volts in enumerate(drive):
        conductances = grid.conductances()[[index if grid.conductance.ndim == 3 else 0]]
        one = replace(grid, conductance=conductances[0])
        solved.append(_Path(one, device, np.broadcast_to(volts, grid.shape)[np.newaxis]).end(tolerance))
    return gather(solved)


@final
class _Path:
    """The states of one array while its sources rise."""

    def __init__(self, grid: Grid, device: Device, drive: FloatArray) -> None:
        self._grid, self._device, self._drive = grid, device, drive
        self._conductance = grid.conductances()
        self._span = reach(drive)
        self._aim = drive

    def end(self, tolerance: float) -> Refined:
        """The state at the full drive.

        Raises:
            DeviceError: the law gives no number where the circuit needs one.
            ConvergenceError: the only states found are ones that a circuit would not stay in.
        """
        rest = np.zeros_like(self._drive)
        for values, what in zip(self._law(rest), ("current", "differential conductance"), strict=True):
            refuse_numbers(self._device, self._conductance, rest, values, what)
        straight = self._settle(rest, 1.0)
        found = None if straight is None else self._refined(straight, tolerance)
        if found is None or not found.converged or self._factor(found.volts).falling():
            raised = self._raise(rest)
            found = None if raised is None else self._refined(raised, tolerance)
        if found is None:
            return Refined(exact(rest), rest, (exact(rest), exact(rest)), self._no_levels(), False, ITERATIONS)
        if found.converged and self._factor(found.volts).falling():
            raise ConvergenceError(
                f"currents of {self._device!r} cells fall so steeply here that no state was found in which the circuit "
                "would stay, though there are several; try lower voltages, or lower resistances of wires and terminals"
            )
        return found

    def _raise(self, volts: FloatArray) -> FloatArray | None:
        """Cell voltages at the full drive, reached along the states at parts of it."""
        reached, step = 0.0, 0.125
        while reached < 1.0:
            part = min(1.0, reached + step)
            settled = self._settle(volts * (part / reached if reached else 1.0), part)
            if settled is None and reached:
                settled = self._settle(volts, part)
            if settled is None:
                step /= 2
                if step < SMALLEST_STEP:
                    refuse_numbers(self._device, self._conductance, self._aim, self._law(self._aim)[0], "current")
                    return None
            else:
                reached, step, volts = part, 1.5 * step, settled
        return volts

    def _settle(self, volts: FloatArray, part: float) -> FloatArray | None:
        """Cell voltages at a part of the drive, from a guess; None if they do not settle."""
        drive = part * self._drive
        current, slope = self._law(volts)
        if not (np.isfinite(current).all() and np.isfinite(slope).all()):
            return None
        for iteration in range(ITERATIONS):
            with np.errstate(over="ignore", invalid="ignore"):
                source = current + slope * (drive - volts)
                lost = self._factor(volts, slope).solve(source)
            if not np.isfinite(lost).all():
                return None
            self._aim = drive - lost
            wanted = source - slope * lost
            moved = limited(self._law, volts, self._aim, current, wanted)
            if iteration >= DAMPED_FROM:
                moved = volts + 0.5 * (moved - volts)
            step = float(np.abs(moved - volts).max())
            short = float(np.abs(moved - self._aim).max())
            volts = moved
            current, slope = self._law(volts)
            if not (np.isfinite(current).all() and np.isfinite(slope).all()):
                return None
            small = NEAR * max(self._span, float(np.abs(volts).max()))
            if step <= small:  # a cell that cannot go where it should is at the end of its law
                return volts if short <= small else None
        return None

    def _law(self, volts: FloatArray) -> tuple[FloatArray, FloatArray]:
        with np.errstate(all="ignore"):
            return self._device.current_and_slope(self._conductance, volts)

    def _factor(self, volts: FloatArray, slope: FloatArray | None = None) -> FactorPreconditioner:
        slope = self._law(volts)[1] if slope is None else slope
        return FactorPreconditioner(replace(self._grid, conductance=slope[0]))

    def _refined(self, volts: FloatArray, tolerance: float) -> Refined:
        def law(at: Extended) -> tuple[Extended, FloatArray]:
            current, slope = self._law(at.high)
            return exact(current) + exact(slope * at.low), slope

        currents, levels = self._law(volts)[0], self._no_levels()
        if self._grid.floating:
            drops = self._grid.drops(currents, np.empty_like(currents), np.empty_like(currents))
            levels = np.asarray(self._grid.floating.take(volts - self._drive + drops).mean(axis=2))
        return refine(self._grid, self._drive, law, currents, tolerance, levels=levels)

    def _no_levels(self) -> FloatArray:
        return np.zeros((1, self._grid.floating.places.size if self._grid.floating else 0))


def limited(law: CellLaw, volts: FloatArray, aim: FloatArray, current: FloatArray, wanted: FloatArray) -> FloatArray:
    """The aim, but on the way there the place where the current has changed as much as was wanted."""
    at_aim, _ = law(aim)
    change = np.abs(wanted - current)
    with np.errstate(invalid="ignore"):
        beyond = ~(np.abs(at_aim - current) <= 2.0 * change + 1e-300)
    if not beyond.any():
        return aim
    # A cell that carries nothing yet cannot say how much it wants.
    jump = np.where(np.isfinite(at_aim), np.abs(at_aim - current), 0.0)
    change = np.where(change > 1e-9 * jump, change, np.maximum(change, 0.1 * jump))
    low, high = np.zeros_like(volts), np.ones_like(volts)
    for _ in range(BISECTIONS):
        middle = 0.5 * (low + high)
        tried, _ = law(volts + middle * (aim - volts))
        with np.errstate(invalid="ignore"):
            passed = ~(np.abs(tried - current) <= change)
        low, high = np.where(passed, low, middle), np.where(passed, middle, high)
    return np.asarray(np.where(beyond, volts + low * (aim - volts), aim))
