"""Linear ionic drift (HP Labs) with windows that end the motion of the boundary at the ends of the device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

import numpy as np
from scipy.special import expit, logit

from xbar_spice.checks import OneOf, Real, Whole, settle
from xbar_spice.errors import DeviceError
from xbar_spice.hardware.dynamic.cell import DynamicDevice, falling_edge, rising_edge
from xbar_spice.linear.operator import FloatArray

__all__ = ["HpDrift", "HpJoglekar"]

FURTHEST = 36.0  # logit: no conductance beyond is told from that of the end, and motion fades out before it
NEAREST = 1e-9  # to its ends, as the state of Prodromakis' window comes: at an end it would stay for ever


class _Drift(DynamicDevice):
    """What both forms share: R = r_on x + r_off (1 - x), dx/dt = k i f, with k = mu r_on / D^2."""

    r_on: float
    r_off: float
    d: float
    mu: float
    p: int

    def _settle_parameters(self) -> None:
        positive = Real(above=0)
        settle(self, DeviceError, r_on=positive, r_off=positive, d=positive, mu=positive, p=Whole(1, 1000))
        if not self.r_on < self.r_off:
            raise DeviceError(f"r_on must be less than r_off (ohm), got {self.r_on} and {self.r_off}")

    @property
    def write_volts(self) -> tuple[float, float]:
        return 1.0, -1.0

    def _siemens(self, x: FloatArray) -> FloatArray:
        return np.asarray(1.0 / (self.r_on * x + self.r_off * (1.0 - x)))

    def _boundary(self, conductance: FloatArray) -> FloatArray:
        """The doped part x at a conductance."""
        return np.clip((self.r_off - 1.0 / self.known_conductance(conductance)) / (self.r_off - self.r_on), 0.0, 1.0)

    def _drive(self, x: FloatArray, volts: FloatArray) -> FloatArray:
        """The drive k i, per second."""
        return np.asarray(self.mu * self.r_on / self.d**2 * volts * self._siemens(x))


@final
@dataclass(frozen=True)
class HpJoglekar(_Drift):
    """Joglekar's window, f = 1 - (2x - 1)^(2p), with the logit y = ln(x / (1 - x)) as the state.

    In x this window holds a boundary that has reached an end for ever, and solvers overshoot it. In y there is no end:
    dy/dt = 4 k i sum_{j<p} (2x - 1)^(2j), which is the same equation. D. Strukov et al., Nature 453 (2008) 80; Y.
    Joglekar and S. Wolf, Eur. J. Phys. 30 (2009) 661. The state ends where x no longer differs from its end in a float,
    at y = +-36: what goes further takes as long to come back, as if it were frozen.

    Attributes:
        r_on: ohm of the doped device.
        r_off: ohm of the undoped one.
        d: metre.
        mu: square metre per volt and second.
        p: of the window.
    """

    library = "hp_drift.lib"
    subcircuit_name = "hp_joglekar"

    r_on: float = 100.0
    r_off: float = 16e3
    d: float = 1e-8
    mu: float = 1e-14
    p: int = 1

    def __post_init__(self) -> None:
        self._settle_parameters()

    @property
    def limits(self) -> tuple[float, float]:
        return -FURTHEST, FURTHEST

    @property
    def span(self) -> float:
        return 1.0  # a logit that changes by 1 counts, however far its ends are

    def conductance_of(self, state: FloatArray) -> FloatArray:
        return self._siemens(expit(state))

    def state_of(self, conductance: FloatArray) -> FloatArray:
        return np.clip(logit(self._boundary(conductance)), -FURTHEST, FURTHEST)

    def rate(self, state: FloatArray, volts: FloatArray) -> FloatArray:
        x = expit(state)
        square, total = (2.0 * x - 1.0) ** 2, np.zeros_like(x)
        for _ in range(self.p):
            total = 1.0 + square * total
        motion = 4.0 * self._drive(x, volts) * total
        low, high = self.limits
        return np.asarray(motion * np.where(motion > 0, rising_edge(state, high, 1.0), falling_edge(state, low, 1.0)))


@final
@dataclass(frozen=True)
class HpDrift(_Drift):
    """Biolek's window, 1 - (x - stp(-i))^(2p), or Prodromakis', 1 - ((x - 1/2)^2 + 3/4)^p; the state is x.

    Z. Biolek et al., Radioengineering 18 (2009) 210; T. Prodromakis et al., IEEE Trans. Electron Devices 58 (2011)
    3099, with j = 1. Prodromakis' window slows the boundary down at both ends, on its way out as on its way in; its
    state stays 1e-9 away from them, where the window is not yet 0.

    Attributes:
        window: which one.
        r_on: ohm of the doped device.
        r_off: ohm of the undoped one.
        d: metre.
        mu: square metre per volt and second.
        p: of the window.
    """

    library = "hp_drift.lib"

    window: Literal["biolek", "prodromakis"] = "biolek"
    r_on: float = 100.0
    r_off: float = 16e3
    d: float = 1e-8
    mu: float = 1e-14
    p: int = 2

    def __post_init__(self) -> None:
        self._settle_parameters()
        settle(self, DeviceError, window=OneOf("biolek", "prodromakis"))

    @property
    def subcircuit_name(self) -> str:  # type: ignore[override]  # goes by the window
        return f"hp_{self.window}"

    @property
    def limits(self) -> tuple[float, float]:
        return (0.0, 1.0) if self.window == "biolek" else (NEAREST, 1.0 - NEAREST)

    def conductance_of(self, state: FloatArray) -> FloatArray:
        return self._siemens(self.within(state))

    def state_of(self, conductance: FloatArray) -> FloatArray:
        return self.within(self._boundary(conductance))

    def rate(self, state: FloatArray, volts: FloatArray) -> FloatArray:
        x = self.within(state)
        drive = self._drive(x, volts)
        if self.window == "biolek":
            window = 1.0 - np.where(drive < 0, 1.0 - x, x) ** (2 * self.p)
        else:
            window = 1.0 - ((x - 0.5) ** 2 + 0.75) ** self.p
        return np.asarray(drive * window)
