"""What a solver needs to know of a cell's law before it trusts it: numbers, slopes that fit them, and their sign.

A law that a user brings may hold a slip in its derivative, which no residual shows: Newton's method then stops at the
wrong place or nowhere. It is compared with difference quotients at a table of conductances and voltages.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import final

import numpy as np

from xbar_spice.engines.nodal.factor import FactorPreconditioner
from xbar_spice.engines.nodal.grid import Grid
from xbar_spice.errors import ConvergenceWarning, DeviceError
from xbar_spice.hardware.device import Device
from xbar_spice.linear.operator import FloatArray

__all__ = ["Laws", "reach"]

CONDUCTANCES = 9
LOOKED_AT = 4096  # cells of a large array between whose least and largest conductance the others lie
VOLTAGES = 129
STEP = 1e-5  # of the largest voltage, to either side
ALLOWED = 1e-3  # of the slopes at a place; a larger deviation is a slip
NOISE = 1e-14  # of the largest current at a place: rounding in the law


def reach(drive: FloatArray) -> float:
    """The largest voltage between any two terminals, which lie at these voltages or at 0 V."""
    return float(drive.max(initial=0.0) - drive.min(initial=0.0))


@final
class Laws:
    """The laws that were looked at in a session, and up to which voltage."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Device, float, bool]] = {}  # a device of a user's own need not be hashable
        self._single: dict[int, tuple[FloatArray, float]] = {}

    def fall(self, device: Device, conductance: FloatArray, volts: float) -> bool:
        """Whether the current of a cell falls anywhere up to these volts while its voltage rises.

        Raises:
            DeviceError: the law's differential conductance is not the slope of its current, or has another shape.
        """
        if device.linear or not volts or not conductance.any():
            return False
        known = self._known.get(id(device))
        if known is None or known[1] < volts:
            known = (device, volts, _falls(device, conductance, volts))
            self._known[id(device)] = known
        return known[2]

    def require_one_state(self, device: Device, grid: Grid, volts: float) -> None:
        """Warn if an array of cells with falling currents may have more than one state up to these volts.

        With every cell at its smallest slope, positive definite equations prove that there is one.
        """
        known = self._single.get(id(grid.conductance))
        if known is not None and known[1] >= volts:
            return
        if grid.conductance.ndim == 2:  # those of a batch are put together anew for each read
            self._single[id(grid.conductance)] = (grid.conductance, volts)
        lowest = _lowest_slopes(device, grid.conductance, volts)
        if FactorPreconditioner(replace(grid, conductance=lowest)).falling():
            warnings.warn(
                f"cells of {device!r} have slopes down to {lowest.min():g} S up to {volts:g} V, where these wires and "
                "terminals leave room for more than one state; the one found is reached from 0 V. Lower voltages or "
                "lower resistances make it the only one",
                ConvergenceWarning,
                stacklevel=2,
            )


def _lowest_slopes(device: Device, conductance: FloatArray, volts: float) -> FloatArray:
    """The smallest slope of every cell between -volts and volts, siemens, of the shape of the conductances."""
    places = np.linspace(-volts, volts, VOLTAGES)
    lowest = np.full(conductance.shape, np.inf)
    for place in places:
        slopes = _quietly(device.differential_conductance, conductance, np.full(conductance.shape, place))
        lowest = np.fmin(lowest, slopes)
    return np.asarray(lowest)


def _falls(device: Device, conductance: FloatArray, volts: float) -> bool:
    some = conductance.ravel()[:: max(1, conductance.size // LOOKED_AT)]
    least, most = np.min(conductance, where=conductance > 0, initial=np.inf), conductance.max()
    inner = np.linspace(0, 1, CONDUCTANCES)[1:-1]
    cells = np.quantile(np.append(some[some > 0], (least, most)), inner, method="nearest")
    cells = np.unique(np.append(cells, (least, most)))
    # No place of the table is 0 V, nor a round number, where laws that are made of pieces have their corners.
    places = volts * (np.linspace(-1.0, 1.0, VOLTAGES - 1) * 0.99937)
    table, at = (np.ascontiguousarray(part) for part in np.broadcast_arrays(cells[:, np.newaxis], places))
    step = STEP * volts
    below, here, above = (_quietly(device.current, table, at + shift) for shift in (-step, 0.0, step))
    slopes = _quietly(device.differential_conductance, table, at)
    with np.errstate(invalid="ignore", over="ignore"):
        left, right = (here - below) / step, (above - here) / step
        sizes = np.maximum(np.abs(left), np.abs(right))
        slack = ALLOWED * np.fmax(sizes, np.abs(slopes)) + NOISE * np.abs(here) / step
        wrong = (slopes < np.minimum(left, right) - slack) | (slopes > np.maximum(left, right) + slack)
        wrong |= ~np.isfinite(slopes)
        wrong &= np.isfinite(left) & np.isfinite(right)
    if wrong.any():
        excess = np.abs(slopes - 0.5 * (left + right)) / np.maximum(sizes, 1e-300)
        excess = np.where(wrong, np.where(np.isfinite(excess), excess, np.inf), -1.0)
        worst = np.unravel_index(int(np.argmax(excess)), wrong.shape)
        raise DeviceError(
            f"differential_conductance of {device!r} does not fit its current: at {table[worst]:g} S and "
            f"{at[worst]:g} V it gives {slopes[worst]:g} S, while the current rises by {left[worst]:g} to "
            f"{right[worst]:g} A/V (difference quotients over {step:g} V); mend dI/dV"
        )
    return bool((slopes < 0).any() or (left < -slack).any())


def _quietly(
    law: Callable[[FloatArray, FloatArray], FloatArray], conductance: FloatArray, volts: FloatArray
) -> FloatArray:
    with np.errstate(all="ignore"):
        values = np.asarray(law(conductance, volts), dtype=np.float64)
    if values.shape != volts.shape:
        raise DeviceError(
            f"a device works elementwise: for arrays of shape {volts.shape}, {getattr(law, '__qualname__', law)} "
            f"returned shape {values.shape}"
        )
    return values
