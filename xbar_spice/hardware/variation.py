"""What makes a programmed array differ from its target: programming error and stuck devices.

Every draw comes from a generator that the caller passes in, and each effect draws the same numbers whether or not
the other one is switched on, so that one source of error can be studied without moving the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import erf, exp, pi, sqrt
from typing import ClassVar, Literal, final

import numpy as np

from xbar_spice.checks import DEVIATION, PART, SEED, OneOf, Text, checked, refuse_idle, settle
from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.operator import FloatArray

__all__ = ["Variation", "random_stream"]


@final
@dataclass(frozen=True)
class Variation:
    """Device statistics of one programming of an array.

    Attributes:
        programming: relative standard deviation of the conductance; 0 is perfect.
        distribution: "gaussian" multiplies by 1 + s x, cut at 0 S; "lognormal" by exp(s x) (x standard normal).
        stuck_on: probability that a device is stuck at `g_max`.
        stuck_off: probability that a device is stuck at `g_min`.

    Example:
        >>> Variation(programming=0.05, distribution="lognormal").random
        True
    """

    NEEDS: ClassVar = {"distribution": "programming"}

    programming: float = 0.0
    distribution: Literal["gaussian", "lognormal"] = "gaussian"
    stuck_on: float = 0.0
    stuck_off: float = 0.0

    def __post_init__(self) -> None:
        settle(
            self,
            programming=DEVIATION,
            distribution=OneOf("gaussian", "lognormal"),
            stuck_on=PART,
            stuck_off=PART,
        )
        refuse_idle(self)
        if self.stuck_on + self.stuck_off > 1:
            raise InvalidInputError(
                "stuck_on and stuck_off must be probabilities that add up to at most 1, "
                f"got {self.stuck_on} and {self.stuck_off}"
            )

    def __str__(self) -> str:
        """In words, as it stands at the head of a deck."""
        said = {
            f"{self.distribution} programming error of {100 * self.programming:g} %": self.programming,
            f"{100 * self.stuck_on:g} % of the devices stuck at g_max": self.stuck_on,
            f"{100 * self.stuck_off:g} % of the devices stuck at g_min": self.stuck_off,
        }
        return ", ".join(text for text, size in said.items() if size > 0) or "none"

    @property
    def random(self) -> bool:
        """True if programming with it needs random numbers."""
        return self.programming > 0 or self.stuck_on > 0 or self.stuck_off > 0

    def moments(self, target: FloatArray, g_min: float, g_max: float) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation of the conductances that `apply` draws, of the shape of `target`, siemens."""
        s = self.programming
        if self.distribution == "lognormal":
            mean, square = exp(0.5 * s**2), exp(2.0 * s**2)
        elif s == 0:
            mean, square = 1.0, 1.0
        else:  # max(1 + s x, 0), x standard normal
            inside, edge = 0.5 * (1.0 + erf(1.0 / (s * sqrt(2.0)))), exp(-0.5 / s**2) / sqrt(2.0 * pi)
            mean, square = inside + s * edge, (1.0 + s**2) * inside + s * edge
        free = 1.0 - self.stuck_on - self.stuck_off
        first = free * mean * target + self.stuck_on * g_max + self.stuck_off * g_min
        second = free * square * target**2 + self.stuck_on * g_max**2 + self.stuck_off * g_min**2
        return first, np.sqrt(np.maximum(second - first**2, 0.0))

    def apply(self, target: FloatArray, g_min: float, g_max: float, rng: np.random.Generator | None) -> FloatArray:
        """The conductances that a chip ends up with.

        Args:
            target: wanted conductances of any shape, siemens.
            g_min: conductance of a device that is stuck off, siemens.
            g_max: conductance of a device that is stuck on, siemens.
            rng: source of all draws; not needed when nothing is random.

        Raises:
            InvalidInputError: something is random and there is no generator.
        """
        if not self.random:
            return target
        if rng is None:
            raise InvalidInputError(
                f"{self!r} draws random numbers: pass rng=numpy.random.default_rng(seed), got no generator"
            )
        deviation = self.programming * rng.standard_normal(target.shape)
        lot = rng.random(target.shape)
        factor = np.exp(deviation) if self.distribution == "lognormal" else np.maximum(1.0 + deviation, 0.0)
        programmed = target * factor
        programmed[lot < self.stuck_on] = g_max
        programmed[lot >= 1.0 - self.stuck_off] = g_min
        return programmed


@checked()
def random_stream(seed: int, *names: str) -> np.random.Generator:
    """An independent generator for each use of randomness, found by seed and name.

    Args:
        seed: the seed of a study or case, >= 0.
        *names: what the numbers are for, such as "devices", "A".

    Example:
        >>> bool(random_stream(1, "devices").random() == random_stream(1, "data").random())
        False
    """
    key = "/".join(Text()("names", name) for name in names).encode()
    return np.random.default_rng(np.random.SeedSequence(SEED("seed", seed), spawn_key=tuple(key)))
