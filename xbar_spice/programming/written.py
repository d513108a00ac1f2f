"""What programming by pulses left in an array, and what it took."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from xbar_spice.hardware.variation import ProgrammingCost
from xbar_spice.linear.operator import FloatArray

__all__ = ["Written"]


@final
@dataclass(frozen=True, eq=False)
class Written:
    """What programming by pulses left, and what it took.

    Attributes:
        target: (rows, cols) siemens.
        conductance: (rows, cols) siemens that were reached.
        pulses: (rows, cols) how many pulses each cell got.
        disturb: (rows, cols) siemens by which pulses that were meant for others changed each cell, added up.
        energy: joule that the terminals delivered in all pulses.
        seconds: that all pulses lasted, one after the other.
        passes: through the whole array; the last one applied no pulse, unless passes ran out.
        given_up: (rows, cols) cells that did not come near enough.
        within: siemens around a target that are near enough.
    """

    target: FloatArray
    conductance: FloatArray
    pulses: NDArray[np.int64]
    disturb: FloatArray
    energy: float
    seconds: float
    passes: int
    given_up: NDArray[np.bool_]
    within: float

    @property
    def error(self) -> FloatArray:
        """(rows, cols) siemens, reached minus target."""
        return self.conductance - self.target

    @property
    def reached(self) -> NDArray[np.bool_]:
        """(rows, cols) cells that are near enough to their target in the end, whatever others did to them."""
        return np.asarray(np.abs(self.error) <= self.within)

    def cost(self, window: float) -> ProgrammingCost:
        """What it took in numbers, disturb as a part of this window in siemens."""
        disturb = float(np.abs(self.disturb).max()) / window
        return ProgrammingCost(
            int(self.pulses.sum()), self.seconds, self.energy, disturb, int(self.given_up.sum()), self.passes
        )
