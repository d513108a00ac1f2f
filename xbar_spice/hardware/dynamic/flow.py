"""How far constant voltages move states: one scalar equation for each cell, each with steps of its own.

The exponential Rosenbrock method exprb43 (M. Hochbruck, A. Ostermann and J. Schweitzer, SIAM J. Numer. Anal. 47 (2009)
786) follows dx/dt = r(x) from x0 with F = r(x0), J = r'(x0) and D(U) = r(U) - F - J (U - x0):

    U2 = x0 + h/2 phi1(h J / 2) F,  U3 = x0 + h phi1(h J) (F + D2),
    x1 = x0 + h phi1 F + h (16 phi3 - 48 phi4) D2 + h (12 phi4 - 2 phi3) D3.

The terms with phi4 are the error estimate. The method is exact where the rate is linear in the state, as it is at the
limits, however stiff it is there. A state never passes its limits: a step that would is put to them.
"""

from __future__ import annotations

from math import factorial

import numpy as np

from xbar_spice.errors import ConvergenceError
from xbar_spice.hardware.dynamic.cell import DynamicDevice
from xbar_spice.linear.operator import FloatArray

__all__ = ["moved"]

TOLERANCE = 1e-8  # of the span of the state, estimated error of a step
NUDGE = 1e-7  # of the span, for the derivative of the rate
STEPS = 100_000
LARGEST = 50.0  # argument of the phi functions: the error estimate shortens a step of a runaway long before
POWERS = np.arange(16)
SERIES = np.array([1.0 / factorial(k + 4) for k in POWERS])  # phi4 = sum_k z^k / (k + 4)!


def moved(
    device: DynamicDevice,
    state: FloatArray,
    volts: FloatArray,
    seconds: FloatArray | float,
    tolerance: float = TOLERANCE,
) -> FloatArray:
    """States after constant voltages, of the shape of `state`.

    Args:
        device: The law.
        state: Where they start.
        volts: Across each cell, of the same shape.
        seconds: How long, one number or one for each cell.
        tolerance: What a step may have as an estimated error, relative to the span of the state. The estimate is that
            of the lower order of the method; what is left is usually a tenth to a thousandth of it.

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
        allowed = tolerance * device.span * np.maximum(1.0, np.abs(x) if np.isinf(device.limits[1]) else 1.0)
        factor = np.clip(0.9 * (allowed / np.maximum(error, 1e-6 * allowed)) ** 0.25, 0.1, 8.0)
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
    rate, below, above = _rate(device, np.concatenate([x, low, high]), np.concatenate([volts, volts, volts])).reshape(
        3, -1
    )
    slope = (above - below) / (high - low)
    (half, first), (_, third), (_, fourth) = _phi(np.stack([0.5 * h * slope, h * slope]))

    def bend(there: FloatArray) -> FloatArray:
        return _rate(device, there, volts) - rate - slope * (there - x)

    second = bend(device.within(x + 0.5 * h * half * rate))
    last = bend(device.within(x + h * first * (rate + second)))
    error = h * fourth * (12.0 * last - 48.0 * second)
    after = x + h * first * rate + h * third * (16.0 * second - 2.0 * last) + error
    return device.within(after), np.abs(error)


def _phi(z: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """The functions phi1, phi3 and phi4, phi_n(z) = sum_k z^k / (k + n)!."""
    z = np.minimum(z, LARGEST)
    small = np.abs(z) < 1.0
    near, safe = np.where(small, z, 0.0), np.where(small, 1.0, z)
    fourth = near[..., np.newaxis] ** POWERS @ SERIES
    third = near * fourth + 1 / 6
    first = near * (near * third + 0.5) + 1.0
    far = [np.expm1(safe) / safe]
    for n in (1.0, 2.0, 6.0):
        far.append((far[-1] - 1.0 / n) / safe)
    return np.where(small, first, far[0]), np.where(small, third, far[2]), np.where(small, fourth, far[3])
