"""The Stanford-PKU model: a gap in a filament, which tunnelling crosses and which a heated field opens and closes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np
from scipy.constants import Boltzmann, elementary_charge

from xbar_spice.checks import Real, settle
from xbar_spice.errors import DeviceError
from xbar_spice.hardware.cells import Device, Sinh
from xbar_spice.hardware.dynamic.cell import EDGE, DynamicDevice, falling_edge, rising_edge
from xbar_spice.linear.operator import FloatArray

__all__ = ["StanfordGap"]

VOLTS_PER_KELVIN = Boltzmann / elementary_charge
LARGEST_EXPONENT = 80.0  # so that a rate has a number, however hot the cell


@final
@dataclass(frozen=True)
class StanfordGap(DynamicDevice):
    """I = i0 exp(-g / g0) sinh(V / v0); dg/dt = -vel exp(-ea / kT) sinh(gamma a0 V / (tox kT)), kT in volts.

    gamma = gam0 - beta g^3 and T = t0 + |V I| rth. The state is the gap g in nanometre: a state in metre is beyond
    what a simulator resolves. Z. Jiang et al., SISPAD 2014, with the default parameters of the model. There is no
    threshold: every voltage moves the gap, if only a little.

    Attributes:
        g0: nanometre in which the current falls by a factor e.
        v0: volts of the hyperbolic current.
        i0: amperes.
        rth: kelvin per watt.
        gam0: field enhancement at no gap.
        beta: per cubic nanometre.
        tox: nanometre of oxide.
        vel: nanometre per second.
        ea: volts, activation energy over the charge of an electron.
        a0: nanometre, distance of hops.
        t0: kelvin around the cell.
        gap_min: nanometre.
        gap_max: nanometre.
    """

    library = "stanford_gap.lib"
    subcircuit_name = "stanford_gap"

    g0: float = 0.25
    v0: float = 0.25
    i0: float = 1e-3
    rth: float = 2.1e3
    gam0: float = 16.0
    beta: float = 0.8
    tox: float = 12.0
    vel: float = 1e10
    ea: float = 0.6
    a0: float = 0.25
    t0: float = 298.0
    gap_min: float = 0.2
    gap_max: float = 1.7

    def __post_init__(self) -> None:
        positive, any_ = Real(above=0), Real(least=0)
        names = ("g0", "v0", "i0", "tox", "vel", "a0", "t0", "gap_max")
        settle(self, DeviceError, **dict.fromkeys(names, positive), rth=any_, ea=any_, gam0=any_, beta=any_,
               gap_min=any_)  # fmt: skip
        if not self.gap_min < self.gap_max:
            raise DeviceError(f"gap_min must be less than gap_max (nm), got {self.gap_min} and {self.gap_max}")

    @property
    def limits(self) -> tuple[float, float]:
        return self.gap_min, self.gap_max

    @cached_property
    def read_law(self) -> Device:
        return Sinh(self.v0)

    @property
    def write_volts(self) -> tuple[float, float]:
        return 1.1, -1.1

    def conductance_of(self, state: FloatArray) -> FloatArray:
        return np.asarray(self.i0 / self.v0 * np.exp(-self.within(state) / self.g0))

    def state_of(self, conductance: FloatArray) -> FloatArray:
        return self.within(-self.g0 * np.log(self.known_conductance(conductance) * self.v0 / self.i0))

    def rate(self, state: FloatArray, volts: FloatArray) -> FloatArray:
        gap, width = self.within(state), EDGE * self.span
        with np.errstate(over="ignore"):
            watts = np.abs(volts * self.i0 * np.exp(-gap / self.g0) * np.sinh(volts / self.v0))
        kt = VOLTS_PER_KELVIN * (self.t0 + self.rth * np.minimum(watts, 1e6))
        pull = (self.gam0 - self.beta * gap**3) * self.a0 * volts / (self.tox * kt)
        ahead, back = (np.exp(np.minimum(sign * pull - self.ea / kt, LARGEST_EXPONENT)) for sign in (1.0, -1.0))
        motion = -0.5 * self.vel * (ahead - back)
        low, high = self.limits
        edge = np.where(motion > 0, rising_edge(gap, high, width), falling_edge(gap, low, width))
        return np.asarray(motion * edge)
