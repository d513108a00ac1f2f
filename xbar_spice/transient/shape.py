"""How a pulse, and a mode of time constant tau that follows it, go in time.

A mode with tau da/dt + a = f s + g ds/dt is a(t) = f s(t) - h l(t), h = f - g / tau, where l is how far it lags behind
for a unit of h. An edge that rises from t = 0 to e gives, with p(x) = (1 - exp(-x)) / x,

    l(t) = (t / e) p(t / tau)                     for t <= e,
    l(t) = p(e / tau) exp(-(t - e) / tau)         for t >= e;

p keeps its digits for an edge of any length, and p(0) = 1 makes a step of an edge of length 0.
"""

from __future__ import annotations

import numpy as np

from xbar_spice.hardware.pulse import Pulse
from xbar_spice.linear.operator import FloatArray

__all__ = ["drive_rate", "drive_shape", "edge_lag_rate", "pulse_lag", "pulse_lag_rate"]


def drive_shape(pulse: Pulse, t: FloatArray) -> FloatArray:
    """(T,) s(t), the part of the full drive."""
    return _ramp(t, pulse.rise) - _ramp(t - pulse.top_end, pulse.rise)


def drive_rate(pulse: Pulse, t: FloatArray) -> FloatArray:
    """(T,) ds/dt per second, just after t; 0 for ideal steps."""
    return _ramp_rate(t, pulse.rise) - _ramp_rate(t - pulse.top_end, pulse.rise)


def pulse_lag(pulse: Pulse, t: FloatArray, times: FloatArray) -> FloatArray:
    """(modes, T) l(t) for time constants `times`."""
    return _edge_lag(t, times, pulse.rise) - _edge_lag(t - pulse.top_end, times, pulse.rise)


def pulse_lag_rate(pulse: Pulse, t: FloatArray, times: FloatArray) -> FloatArray:
    """(modes, T) dl/dt per second, just after t."""
    return edge_lag_rate(t, times, pulse.rise) - edge_lag_rate(t - pulse.top_end, times, pulse.rise)


def edge_lag_rate(t: FloatArray, times: FloatArray, rise: float) -> FloatArray:
    """(modes, T) dl/dt of a single edge that begins at t = 0."""
    tau = times[:, np.newaxis]
    on_edge = np.exp(-np.maximum(t, 0.0) / tau) / rise if rise > 0 else 0.0 * tau
    after = -_mean_decay(rise / tau) * np.exp(-np.maximum(t - rise, 0.0) / tau) / tau
    return np.where(t < 0, 0.0, np.where(t < rise, on_edge, after))


def _edge_lag(t: FloatArray, times: FloatArray, rise: float) -> FloatArray:
    tau = times[:, np.newaxis]
    on_edge = _ramp(t, rise) * _mean_decay(np.maximum(t, 0.0) / tau)
    after = _mean_decay(rise / tau) * np.exp(-np.maximum(t - rise, 0.0) / tau)
    return np.where(t < 0, 0.0, np.where(t < rise, on_edge, after))


def _mean_decay(x: FloatArray) -> FloatArray:
    """p(x), the mean of exp(-y) over 0 <= y <= x."""
    return np.divide(-np.expm1(-x), x, out=np.ones_like(x), where=x > 0)


def _ramp(t: FloatArray, rise: float) -> FloatArray:
    return np.clip(t / rise, 0.0, 1.0) if rise > 0 else np.where(t < 0, 0.0, 1.0)


def _ramp_rate(t: FloatArray, rise: float) -> FloatArray:
    return np.where((t >= 0) & (t < rise), 1.0 / rise if rise > 0 else 0.0, 0.0)
