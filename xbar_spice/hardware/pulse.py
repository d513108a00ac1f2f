"""A read in time as two frozen values: the pulse that drives it, and the capacitances that it charges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from xbar_spice.checks import Optional, Real, settle
from xbar_spice.errors import InvalidInputError

__all__ = ["LineCapacitance", "Pulse"]


@final
@dataclass(frozen=True)
class Pulse:
    """The shape that multiplies every drive voltage: 0, a straight rise, 1 for a while, a straight fall, 0.

    It begins at t = 0 and comes once.

    Args:
        width: seconds at full drive; `math.inf` is a drive that is switched on for good.
        rise: seconds from 0 to full drive, and as many for the fall. 0 is an ideal step.
        rest: seconds at 0 V that belong to the read, in which the lines discharge; as many as the read is driven when
            left out.

    Raises:
        InvalidInputError: a duration is negative, or not finite where it must be.

    Example:
        >>> Pulse(width=8e-9, rise=1e-9).cycle
        2e-08
    """

    width: float
    rise: float = 0.0
    rest: float | None = None

    def __post_init__(self) -> None:
        seconds = Real("s", least=0)
        rules = {"width": Real("s", least=0, infinite=True), "rise": seconds, "rest": Optional(seconds)}
        for name, rule in rules.items():
            object.__setattr__(self, name, rule(f"the {name} of a pulse", getattr(self, name)))
        if not self.rise + self.width > 0:
            raise InvalidInputError("a pulse needs a rise or a width above 0 s")

    @property
    def top_end(self) -> float:
        """Seconds at which the drive begins to fall."""
        return self.rise + self.width

    @property
    def end(self) -> float:
        """Seconds at which the drive is 0 V again."""
        return self.top_end + self.rise

    @property
    def cycle(self) -> float:
        """Seconds that the whole read takes, rest and all."""
        return self.end + (self.end if self.rest is None else self.rest)


@final
@dataclass(frozen=True)
class LineCapacitance:
    """What the lines of an array hold, in farad.

    A capacitor to ground stands at every node of a line, that is at the end of every cell: a line of N cells has N of
    them, and the segment between a terminal and the first cell ends at the first. A line without wire resistance is
    one node with N capacitors side by side. Drivers, sense terminals and the insides of cells have none.

    Args:
        c_word: at each node of a word line. For orientation: wires have 0.2 fF per micrometre.
        c_bit: at each node of a bit line.
        c_cell: across each cell, from its word line to its bit line; a missing cell (0 S) has none.

    Raises:
        InvalidInputError: a capacitance is negative or not finite.
    """

    c_word: float = 0.0
    c_bit: float = 0.0
    c_cell: float = 0.0

    def __post_init__(self) -> None:
        farad = Real("F", least=0)
        settle(self, c_word=farad, c_bit=farad, c_cell=farad)
