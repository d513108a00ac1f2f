"""How far constant voltages move states: one scalar equation for each cell, each with steps of its own.

An exponential Rosenbrock method (exprb32 of M. Hochbruck and A. Ostermann, Acta Numerica 19 (2010) 209) follows

    dx/dt = r(x),  x1 = x0 + h phi1(h r') r + 2 h phi3(h r') (r(U) - r - r' (U - x0)),  U = x0 + h phi1(h r') r.

It is exact where the rate is linear in the state, as it is at the limits, however stiff it is there. The last term is
the error estimate. A state never passes its limits: a step that would is put to them.
"""

from __future__ import annotations

import numpy as np

from xbar_spice.errors import ConvergenceError
from xbar_spice.hardware.dynamic.cell import DynamicDevice
from xbar_spice.linear.operator import FloatArray

__all__ = ["moved"]

TOLERANCE = 1e-9  # of the span of the state, error of a step
NUDGE = 1e-7  # of the span, for the derivative of the rate
STEPS = 100_000
SMALL = 1e-2  # below, series of the phi functions


def moved(device: DynamicDevice, state: FloatArray, volts: FloatArray, seconds: FloatArray | float) -> FloatArray:
    """States after constant voltages, of the shape of `state`.

    Args:
        device: The law.
        state: Where they start.
        volts: Across each cell, of the same shape.
        seconds: How long, one number or one for each cell.

    Raises:
        ConvergenceError: A law whose rate is no number, or which takes too many steps.
    """
    start = device.within(np.asarray(state, dtype=float))
    found = start.ravel().copy()
    v = np.broadcast_to(volts, start.shape).ravel()
    left = np.broadcast_to(seconds, start.shape).astype(float).ravel()
    active = np.flatnonzero((left > 0) & (_rate(device, found, v) != 0))
    x, v, left = found[active], v[active], left[active]
    h = left.copy()
    for _ in range(STEPS):
        if not active.size:
            return found.reshape(start.shape)
        h = np.minimum(h, left)
        x1, error = _step(device, x, v, h)
        allowed = TOLERANCE * device.span * np.maximum(1.0, np.abs(x) if np.isinf(device.limits[1]) else 1.0)
        factor = np.clip(0.9 * np.cbrt(allowed / np.maximum(error, 1e-6 * allowed)), 0.1, 8.0)
        accepted = error <= allowed
        x = np.where(accepted, x1, x)
        left = np.where(accepted, left - h, left)
        h = h * factor
        done = left <= 0
        if done.any():
            found[active[done]] = x[done]
            active = active[~done]
            x, v, left, h = (part[~done] for part in (x, v, left, h))
    raise ConvergenceError(
        f"the states of {device!r} did not come to the end of a pulse at {v[0]:g} V; shorten it, or lower the voltage"
    )


def _rate(device: DynamicDevice, x: FloatArray, volts: FloatArray) -> FloatArray:
    rate = np.asarray(device.rate(x, volts), dtype=float)
    if rate.shape != x.shape or not np.isfinite(rate).all():
        raise ConvergenceError(
            f"the rate of {device!r} must be one number for each state, got shape {rate.shape} for {x.shape}"
            + ("" if np.isfinite(rate).all() else " and values that are no numbers")
        )
    return rate


def _step(device: DynamicDevice, x: FloatArray, volts: FloatArray, h: FloatArray) -> tuple[FloatArray, FloatArray]:
    """States after one step, and its error."""
    nudge = NUDGE * device.span
    low, high = device.within(x - nudge), device.within(x + nudge)
    rates = _rate(device, np.concatenate([x, low, high]), np.tile(volts, 3)).reshape(3, -1)
    slope = (rates[2] - rates[1]) / (high - low)
    z = h * slope
    first, third = _phi(z)
    middle = device.within(x + h * first * rates[0])
    bend = _rate(device, middle, volts) - rates[0] - slope * (middle - x)
    correction = 2.0 * h * third * bend
    return device.within(middle + correction), np.abs(correction)


def _phi(z: FloatArray) -> tuple[FloatArray, FloatArray]:
    """phi1(z) = (e^z - 1) / z and phi3(z) = (e^z - 1 - z - z^2 / 2) / z^3."""
    z = np.minimum(z, 50.0)  # a runaway; the error estimate shortens such a step
    small = np.abs(z) < SMALL
    safe = np.where(small, 1.0, z)
    first = np.where(small, 1 + z / 2 * (1 + z / 3 * (1 + z / 4 * (1 + z / 5))), np.expm1(safe) / safe)
    exact = (np.expm1(safe) - safe - 0.5 * safe**2) / safe**3
    third = np.where(small, (1 + z / 4 * (1 + z / 5 * (1 + z / 6 * (1 + z / 7)))) / 6, exact)
    return first, third
