"""Drift: what becomes of programmed conductances with time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

import numpy as np

from xbar_spice.checks import Real, settle
from xbar_spice.errors import InvalidInputError
from xbar_spice.hardware.variation import Programmed
from xbar_spice.linear.operator import FloatArray

__all__ = ["CmoDrift", "Drift", "DriftLaw", "NoDrift", "PcmDrift"]


class DriftLaw(ABC):
    """What becomes of programmed conductances some seconds after programming; one's own subclasses this."""

    @property
    def random(self) -> bool:
        """Whether it draws random numbers."""
        return True

    @abstractmethod
    def drifted(
        self,
        conductance: FloatArray,
        target: FloatArray,
        g_min: float,
        g_max: float,
        after: float,
        rng: np.random.Generator | None,
    ) -> Programmed:
        """Conductances and their derivatives with respect to the programmed ones.

        Args:
            conductance: As programmed, siemens.
            target: What programming aimed at, of the same shape.
            g_min: Lowest programmed conductance, siemens.
            g_max: Highest programmed conductance, siemens.
            after: Seconds since programming, > 0.
            rng: Source of all draws, the same ones at all times: a device keeps its exponent. A law that is not
                `random` may get None.
        """


@final
@dataclass(frozen=True)
class NoDrift(DriftLaw):
    """Devices that stay as they were programmed."""

    random = False

    def drifted(
        self,
        conductance: FloatArray,
        target: FloatArray,
        g_min: float,
        g_max: float,
        after: float,
        rng: np.random.Generator | None,
    ) -> Programmed:
        return Programmed.as_meant(conductance)


@final
@dataclass(frozen=True)
class Drift(DriftLaw):
    """The power law G(t) = G ((t + t0) / t0)^-nu, where nu = |N(nu, spread)| is drawn for each device.

    Attributes:
        nu: Mean exponent before its sign is dropped.
        spread: Standard deviation of the exponent from device to device.
        t0: Seconds after programming at which the programmed conductance was verified.
    """

    nu: float
    spread: float = 0.0
    t0: float = 20.0

    def __post_init__(self) -> None:
        settle(self, nu=Real(least=-1e3, most=1e3), spread=Real(least=0, most=1e3), t0=Real("s", above=0))

    @property
    def random(self) -> bool:
        return self.spread > 0

    def drifted(
        self,
        conductance: FloatArray,
        target: FloatArray,
        g_min: float,
        g_max: float,
        after: float,
        rng: np.random.Generator | None,
    ) -> Programmed:
        if not self.random:
            return _power_law(conductance, np.full(conductance.shape, self.nu), self.t0, after)
        exponent = self.nu + self.spread * _normal(self, conductance, rng)
        return _power_law(conductance, np.abs(exponent), self.t0, after)


@final
@dataclass(frozen=True)
class PcmDrift(DriftLaw):
    """Phase-change memory: the power law with an exponent that depends on the target, g = T / g_max.

    nu = |N(mu, s)|, mu = clip(-0.0155 ln g + 0.0244, 0.049, 0.1), s = clip(-0.0125 ln g - 0.0059, 0.008, 0.045),
    t0 = 20 s; Joshi et al., Nat. Commun. 11 (2020) 2473, as fitted in aihwkit.
    """

    def drifted(
        self,
        conductance: FloatArray,
        target: FloatArray,
        g_min: float,
        g_max: float,
        after: float,
        rng: np.random.Generator | None,
    ) -> Programmed:
        logarithm = np.log(np.maximum(target / g_max, 1e-7))
        mean = np.clip(-0.0155 * logarithm + 0.0244, 0.049, 0.1)
        spread = np.clip(-0.0125 * logarithm - 0.0059, 0.008, 0.045)
        exponent = np.abs(mean + spread * _normal(self, conductance, rng))
        return _power_law(conductance, exponent, 20.0, after)


@final
@dataclass(frozen=True)
class CmoDrift(DriftLaw):
    """CMO/HfOx from 1 s on: a shift of -0.089 ln t and a spread of 0.042 ln t + 0.412 microsiemens, as in aihwkit.

    The conductances end within g_min and g_max; a device of 0 S, on a dead line, stays one.
    """

    def drifted(
        self,
        conductance: FloatArray,
        target: FloatArray,
        g_min: float,
        g_max: float,
        after: float,
        rng: np.random.Generator | None,
    ) -> Programmed:
        if after < 1:
            raise InvalidInputError(f"the drift of CMO/HfOx is known from 1 s after programming on, got {after:g} s")
        shift = -0.089 * np.log(after) + (0.042 * np.log(after) + 0.412) * _normal(self, conductance, rng)
        moved = conductance + 1e-6 * shift
        kept = np.where(conductance > 0, np.clip(moved, g_min, g_max), 0.0)
        return Programmed(kept, np.where(kept == moved, 1.0, 0.0))


def _normal(law: DriftLaw, conductance: FloatArray, rng: np.random.Generator | None) -> FloatArray:
    if rng is None:
        raise InvalidInputError(
            f"{law!r} draws random numbers: pass rng=numpy.random.default_rng(seed), got no generator"
        )
    return rng.standard_normal(conductance.shape)


def _power_law(conductance: FloatArray, exponent: FloatArray, t0: float, after: float) -> Programmed:
    factor = ((after + t0) / t0) ** -exponent
    return Programmed(conductance * factor, factor)
