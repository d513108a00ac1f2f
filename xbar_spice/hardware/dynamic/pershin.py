"""Pershin and Di Ventra's threshold model: a resistance that voltages beyond a threshold push up or down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from xbar_spice.checks import Real, settle
from xbar_spice.errors import DeviceError
from xbar_spice.hardware.dynamic.cell import EDGE, DynamicDevice, falling_edge, rising_edge
from xbar_spice.linear.operator import FloatArray

__all__ = ["Pershin"]


@final
@dataclass(frozen=True)
class Pershin(DynamicDevice):
    """dR/dt = beta V + (alpha - beta) (|V + vt| - |V - vt|) / 2 between r_min and r_max.

    The state is x = (R - r_min) / (r_max - r_min). Positive volts raise the resistance where beta > 0, and lower it
    where beta < 0. Y. Pershin, S. La Fontaine and M. Di Ventra, Phys. Rev. E 80 (2009) 021926.

    Attributes:
        r_min: ohm.
        r_max: ohm.
        alpha: ohm per volt and second below the threshold.
        beta: ohm per volt and second beyond it.
        vt: volts of the threshold.
    """

    library = "pershin.lib"
    subcircuit_name = "pershin"

    r_min: float = 1e3
    r_max: float = 1e4
    alpha: float = 0.0
    beta: float = 1e9
    vt: float = 1.6

    def __post_init__(self) -> None:
        settle(self, DeviceError, r_min=Real("ohm", above=0), r_max=Real("ohm", above=0), alpha=Real(), beta=Real(),
               vt=Real("V", least=0))  # fmt: skip
        if not self.r_min < self.r_max:
            raise DeviceError(f"r_min must be less than r_max (ohm), got {self.r_min} and {self.r_max}")
        if self.beta == 0:
            raise DeviceError("beta must not be 0: beyond the threshold it moves the resistance")

    @property
    def limits(self) -> tuple[float, float]:
        return 0.0, 1.0

    @property
    def write_volts(self) -> tuple[float, float]:
        volts = 1.9 * (self.vt or 0.5)
        return (-volts, volts) if self.beta > 0 else (volts, -volts)

    def conductance_of(self, state: FloatArray) -> FloatArray:
        return np.asarray(1.0 / (self.r_min + (self.r_max - self.r_min) * self.within(state)))

    def state_of(self, conductance: FloatArray) -> FloatArray:
        return self.within((1.0 / self.known_conductance(conductance) - self.r_min) / (self.r_max - self.r_min))

    def rate(self, state: FloatArray, volts: FloatArray) -> FloatArray:
        held = np.minimum(np.maximum(volts, -self.vt), self.vt)  # (|V + vt| - |V - vt|) / 2, without its rounding
        motion = (self.alpha * held + self.beta * (volts - held)) / (self.r_max - self.r_min)
        return np.asarray(motion * np.where(motion > 0, rising_edge(state, 1.0, EDGE), falling_edge(state, 0.0, EDGE)))
