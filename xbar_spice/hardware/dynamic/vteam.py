"""VTEAM: a state that moves only beyond two threshold voltages, by a power of what exceeds them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from xbar_spice.checks import Real, settle
from xbar_spice.errors import DeviceError
from xbar_spice.hardware.dynamic.cell import EDGE, DynamicDevice, falling_edge, rising_edge
from xbar_spice.linear.operator import FloatArray

__all__ = ["Vteam"]


@final
@dataclass(frozen=True)
class Vteam(DynamicDevice):
    """dx/dt = (k_off / D) (v / v_off - 1)^a_off above v_off, (k_on / D) (v / v_on - 1)^a_on below v_on, else 0.

    The state x = w / D lies in 0..1 and the resistance is r_on + (r_off - r_on) x: positive volts lower the
    conductance. S. Kvatinsky et al., IEEE Trans. Circuits Syst. II 62 (2015) 786. The defaults are those of the paper,
    whose v_off of 20 mV lies below any read.

    Attributes:
        r_on: ohm at x = 0.
        r_off: ohm at x = 1.
        d: metre.
        k_on: metre per second, negative.
        k_off: metre per second.
        a_on: power.
        a_off: power.
        v_on: volts, negative.
        v_off: volts.
    """

    library = "vteam.lib"
    subcircuit_name = "vteam"

    r_on: float = 50.0
    r_off: float = 1000.0
    d: float = 3e-9
    k_on: float = -10.0
    k_off: float = 5e-4
    a_on: float = 3.0
    a_off: float = 1.0
    v_on: float = -0.2
    v_off: float = 0.02

    def __post_init__(self) -> None:
        positive = Real(above=0)
        settle(
            self, DeviceError, r_on=Real("ohm", above=0), r_off=Real("ohm", above=0), d=Real("m", above=0),
            k_on=Real("m/s", below=0), k_off=Real("m/s", above=0), a_on=positive, a_off=positive,
            v_on=Real("V", below=0), v_off=Real("V", above=0),
        )  # fmt: skip
        if not self.r_on < self.r_off:
            raise DeviceError(f"r_on must be less than r_off (ohm), got {self.r_on} and {self.r_off}")

    @property
    def limits(self) -> tuple[float, float]:
        return 0.0, 1.0

    @property
    def write_volts(self) -> tuple[float, float]:
        return 1.9 * self.v_on, 1.9 * self.v_off

    def conductance_of(self, state: FloatArray) -> FloatArray:
        return np.asarray(1.0 / (self.r_on + (self.r_off - self.r_on) * self.within(state)))

    def state_of(self, conductance: FloatArray) -> FloatArray:
        ohm = 1.0 / self.known_conductance(conductance)
        return self.within((ohm - self.r_on) / (self.r_off - self.r_on))

    def rate(self, state: FloatArray, volts: FloatArray) -> FloatArray:
        off = self.k_off / self.d * np.maximum(volts / self.v_off - 1.0, 0.0) ** self.a_off
        on = self.k_on / self.d * np.maximum(volts / self.v_on - 1.0, 0.0) ** self.a_on
        return np.asarray(off * rising_edge(state, 1.0, EDGE) + on * falling_edge(state, 0.0, EDGE))
