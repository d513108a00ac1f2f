"""Read noise of a user's own: the shot noise of the currents, which grows with their root."""

from dataclasses import dataclass

import numpy as np

from xbar_spice.hardware.read_noise import Noise


@dataclass(frozen=True)
class ShotNoise(Noise):
    """sqrt(2 e I df) for the sum I of the sizes of the currents that flow into a line."""

    bandwidth: float = 1e8  # hertz

    def current_deviation(self, conductance, volts, device, g_max, *, terminals=1, programmed=None):
        amperes = conductance.T @ np.abs(volts)
        return np.sqrt(2 * 1.602176634e-19 * amperes * self.bandwidth)
