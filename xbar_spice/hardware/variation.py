"""What makes a programmed array differ from its target: programming error and stuck devices.

Every draw comes from a generator that the caller passes in, and each effect draws the same numbers whether or not
the other one is switched on, so that one source of error can be studied without moving the other.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from math import erf, exp, pi, sqrt
from typing import ClassVar, Literal, final

import numpy as np

from xbar_spice.checks import DEVIATION, PART, OneOf, refuse_idle, settle
from xbar_spice.errors import InvalidInputError
from xbar_spice.hardware.crossbar import Crossbar
from xbar_spice.linear.operator import FloatArray
from xbar_spice.settings import setting

__all__ = ["Programmed", "ProgrammingCost", "ProgrammingError", "Variation"]

GROUP = "Devices"  # of the settings


@final
@dataclass(frozen=True)
class ProgrammingCost:
    """What programming in a circuit took, where it was simulated.

    Attributes:
        pulses: at all cells together.
        seconds: that they lasted, one after the other.
        energy: joule that the terminals delivered.
        disturb: the most that pulses for others changed a cell, added up with their signs, relative to g_max - g_min.
        given_up: cells that did not come near enough.
        passes: the most that an array took.
    """

    pulses: int
    seconds: float
    energy: float
    disturb: float
    given_up: int
    passes: int

    def __add__(self, other: ProgrammingCost) -> ProgrammingCost:
        """That of both, one after the other."""
        return ProgrammingCost(
            self.pulses + other.pulses, self.seconds + other.seconds, self.energy + other.energy,
            max(self.disturb, other.disturb), self.given_up + other.given_up, max(self.passes, other.passes),
        )  # fmt: skip


@final
@dataclass(frozen=True, eq=False)
class Programmed:
    """What programming left.

    Attributes:
        conductance: siemens, of the shape of the target.
        slope: dG/dT of each device, with all that was drawn held fixed: how its conductance would follow its target.
        cost: what it took; None where that is not simulated.
    """

    conductance: FloatArray
    slope: FloatArray
    cost: ProgrammingCost | None = None

    @classmethod
    def as_meant(cls, conductance: FloatArray) -> Programmed:
        """Devices that follow their targets, dG/dT = 1, which takes no memory."""
        return cls(conductance, np.broadcast_to(1.0, conductance.shape))


class ProgrammingError(ABC):
    """What makes a programmed device differ from its target.

    One of one's own subclasses this, as a frozen dataclass with its parameters, and is handed over as
    `Design(variation=...)`. Everything that it draws comes from the generator that it is given, in one order and
    number, so that one seed is one chip.
    """

    in_circuit: ClassVar[bool] = False
    """Whether devices are programmed in the circuit of their array, by `program_array`, and not one by one."""

    @property
    @abstractmethod
    def random(self) -> bool:
        """True if programming with it needs random numbers."""

    @abstractmethod
    def program(self, target: FloatArray, g_min: float, g_max: float, rng: np.random.Generator | None) -> Programmed:
        """The conductances that a chip ends up with.

        Args:
            target: Wanted conductances of any shape, siemens.
            g_min: Lowest programmed conductance, siemens.
            g_max: Highest programmed conductance, siemens.
            rng: Source of all draws; needed if it is `random`.

        Raises:
            InvalidInputError: There is no generator although one is needed, or a target that it does not know.
        """

    def program_array(
        self, crossbar: Crossbar, g_min: float, g_max: float, rng: np.random.Generator | None
    ) -> Programmed:
        """The conductances of one array, where they depend on its circuit (`in_circuit`); the arrays come in turn.

        Args:
            crossbar: The array with its wires, and with the targets as its conductances.
            g_min: See `program`.
            g_max: See there.
            rng: See there.
        """
        return self.program(crossbar.conductance, g_min, g_max, rng)

    def rewrite_array(
        self,
        crossbar: Crossbar,
        before: FloatArray,
        g_min: float,
        g_max: float,
        rng: np.random.Generator | None,
    ) -> Programmed:
        """The same of an array that holds something already, which pulses start from.

        Args:
            crossbar: See `program_array`, as for all that follows.
            before: (rows, cols) siemens that its devices have.
            g_min: See there.
            g_max: See there.
            rng: See there.
        """
        return self.program_array(crossbar, g_min, g_max, rng)

    def without(self, part: Literal["error", "stuck devices"]) -> ProgrammingError:
        """The same without one of its parts, as attribution asks for it; the other draws stay what they were."""
        return Variation() if part == "error" else self

    def moments(self, target: FloatArray, g_min: float, g_max: float) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation of the conductances that `program` draws, of the shape of `target`, siemens.

        Needed by sensitivity maps only.
        """
        raise InvalidInputError(f"{self!r} does not say its moments, which a sensitivity map needs: give it `moments`")


@final
@dataclass(frozen=True)
class Variation(ProgrammingError):
    """Programming error relative to the target, and stuck devices.

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

    programming: float = setting(
        0.0, "Relative standard deviation of the programmed conductances.", GROUP, unit="part", deviation=True
    )
    distribution: Literal["gaussian", "lognormal"] = setting(
        "gaussian", "Distribution of the programming error.", GROUP
    )
    stuck_on: float = setting(0.0, "Probability that a device is stuck at the highest conductance.", GROUP, unit="part")
    stuck_off: float = setting(0.0, "Probability that a device is stuck at the lowest conductance.", GROUP, unit="part")

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
        """Mean and standard deviation of the conductances that `program` draws, of the shape of `target`, siemens."""
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

    def without(self, part: Literal["error", "stuck devices"]) -> Variation:
        return replace(self, programming=0.0) if part == "error" else replace(self, stuck_on=0.0, stuck_off=0.0)

    def program(self, target: FloatArray, g_min: float, g_max: float, rng: np.random.Generator | None) -> Programmed:
        if not self.random:
            return Programmed.as_meant(target)
        if rng is None:
            raise InvalidInputError(
                f"{self!r} draws random numbers: pass rng=numpy.random.default_rng(seed), got no generator"
            )
        deviation = self.programming * rng.standard_normal(target.shape)
        lot = rng.random(target.shape)
        factor = np.exp(deviation) if self.distribution == "lognormal" else np.maximum(1.0 + deviation, 0.0)
        programmed = target * factor
        stuck_on, stuck_off = lot < self.stuck_on, lot >= 1.0 - self.stuck_off
        programmed[stuck_on], programmed[stuck_off] = g_max, g_min
        return Programmed(programmed, np.where(stuck_on | stuck_off, 0.0, factor))
