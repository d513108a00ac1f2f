"""Yakopcic's model: thresholds, exponential rates, motion that fades out in part of the range, hyperbolic current."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np

from xbar_spice.checks import Real, settle
from xbar_spice.errors import DeviceError
from xbar_spice.hardware.cells import Device, Sinh
from xbar_spice.hardware.dynamic.cell import DynamicDevice
from xbar_spice.linear.operator import FloatArray

__all__ = ["TwoSidedSinh", "Yakopcic"]


@final
@dataclass(frozen=True)
class TwoSidedSinh(Device):
    """I = G v0 sinh(V / v0), times `ratio` for negative V.

    Attributes:
        v0: volts beyond which the current grows faster than the voltage.
        ratio: of the conductance at negative volts to that at positive ones.
    """

    v0: float = 0.25
    ratio: float = 1.0

    def __post_init__(self) -> None:
        settle(self, DeviceError, v0=Real("V", above=0), ratio=Real(above=0))

    @property
    def linear(self) -> bool:
        return False

    @property
    def template(self) -> str:
        return "cells/two_sided_sinh.cir.j2"

    def current(self, conductance: FloatArray, voltage: FloatArray) -> FloatArray:
        return np.asarray(self._side(voltage) * conductance * self.v0 * np.sinh(voltage / self.v0))

    def differential_conductance(self, conductance: FloatArray, voltage: FloatArray) -> FloatArray:
        return np.asarray(self._side(voltage) * conductance * np.cosh(voltage / self.v0))

    def conductance_sensitivity(self, conductance: FloatArray, voltage: FloatArray) -> FloatArray:
        return np.asarray(self._side(voltage) * self.v0 * np.sinh(voltage / self.v0) + 0.0 * conductance)

    def _side(self, voltage: FloatArray) -> FloatArray:
        return np.where(np.asarray(voltage) < 0, self.ratio, 1.0)


@final
@dataclass(frozen=True)
class Yakopcic(DynamicDevice):
    """I = a1 x sinh(b V) for V >= 0, a2 x sinh(b V) below; dx/dt = eta g(V) f(V, x).

    g = ap (e^V - e^vp) above vp, -an (e^-V - e^vn) below -vn, else 0. In the direction in which eta g > 0 moves it, f
    is 1 up to xp and exp(-alp (x - xp)) (1 - x) / (1 - xp) beyond; in the other one it is 1 down to 1 - xn and
    exp(aln (x + xn - 1)) x / (1 - xn) below. C. Yakopcic et al., IEEE Electron Device Lett. 32 (2011) 1436, and IJCNN
    2013. The defaults are a set published there. The conductance is the slope at 0 V, a1 b x.

    Attributes:
        a1: amperes, for positive volts.
        a2: amperes, for negative volts.
        b: per volt.
        vp: threshold of positive volts.
        vn: threshold of negative volts, a positive number.
        ap: per second.
        an: per second.
        xp: state beyond which motion upwards fades out.
        xn: 1 - xn is the state below which motion downwards fades out.
        alp: how fast, upwards.
        aln: how fast, downwards.
        eta: scales all rates; negative turns the polarity around.
    """

    library = "yakopcic.lib"
    subcircuit_name = "yakopcic"

    a1: float = 0.17
    a2: float = 0.17
    b: float = 0.05
    vp: float = 0.16
    vn: float = 0.15
    ap: float = 4000.0
    an: float = 4000.0
    xp: float = 0.3
    xn: float = 0.5
    alp: float = 1.0
    aln: float = 5.0
    eta: float = 1.0

    def __post_init__(self) -> None:
        positive, part = Real(above=0), Real(above=0, below=1)
        settle(
            self, DeviceError, a1=Real("A", above=0), a2=Real("A", above=0), b=positive, vp=Real("V", least=0),
            vn=Real("V", least=0), ap=positive, an=positive, xp=part, xn=part, alp=Real(least=0), aln=Real(least=0),
            eta=Real(),
        )  # fmt: skip
        if self.eta == 0:
            raise DeviceError("eta must not be 0: it scales all rates")

    @property
    def limits(self) -> tuple[float, float]:
        return 0.0, 1.0

    @cached_property
    def read_law(self) -> Device:
        return Sinh(1.0 / self.b) if self.a1 == self.a2 else TwoSidedSinh(1.0 / self.b, self.a2 / self.a1)

    @property
    def write_volts(self) -> tuple[float, float]:
        volts = 1.9 * (self.vp or 0.3), -1.9 * (self.vn or 0.3)
        return volts if self.eta > 0 else (volts[1], volts[0])

    def conductance_of(self, state: FloatArray) -> FloatArray:
        return np.asarray(self.a1 * self.b * self.within(state))

    def state_of(self, conductance: FloatArray) -> FloatArray:
        return self.within(self.known_conductance(conductance) / (self.a1 * self.b))

    def rate(self, state: FloatArray, volts: FloatArray) -> FloatArray:
        x = self.within(state)
        with np.errstate(over="ignore"):
            up = self.ap * np.maximum(np.exp(np.minimum(volts, 80.0)) - np.exp(self.vp), 0.0)
            down = self.an * np.maximum(np.exp(np.minimum(-np.asarray(volts), 80.0)) - np.exp(self.vn), 0.0)
        motion = self.eta * (up - down)
        over, under = np.maximum(x - self.xp, 0.0), np.maximum(1.0 - self.xn - x, 0.0)
        upwards = np.exp(-self.alp * over) * (1.0 - over / (1.0 - self.xp))
        downwards = np.exp(-self.aln * under) * (1.0 - under / (1.0 - self.xn))
        return np.asarray(motion * np.where(motion > 0, upwards, downwards))
