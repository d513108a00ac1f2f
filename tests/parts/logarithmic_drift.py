"""A drift law of a user's own: conductances fall with the logarithm of time, each device at a rate of its own."""

from dataclasses import dataclass

import numpy as np

from xbar_spice.hardware.drift import DriftLaw
from xbar_spice.hardware.variation import Programmed


@dataclass(frozen=True)
class LogarithmicDrift(DriftLaw):
    """G(t) = G (1 - r ln(1 + t / t0)), r = |N(rate, deviation)| drawn for each device, and not below g_min."""

    rate: float = 0.005
    deviation: float = 0.002
    t0: float = 1.0  # seconds

    def drifted(self, conductance, target, g_min, g_max, after, rng):
        rate = np.abs(self.rate + self.deviation * rng.standard_normal(conductance.shape))
        factor = 1.0 - rate * np.log1p(after / self.t0)
        left = np.maximum(factor * conductance, g_min)
        return Programmed(left, np.where(left > g_min, factor, 0.0))  # and its derivative
