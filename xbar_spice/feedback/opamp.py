"""The op-amps of a feedback circuit."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, pi
from typing import final

from xbar_spice.checks import settle
from xbar_spice.errors import InvalidInputError

__all__ = ["OpAmp"]


@final
@dataclass(frozen=True)
class OpAmp:
    """An op-amp with one pole, whose other input is at 0 V: v_out = -gain v_in / (1 + i f gain / bandwidth).

    Attributes:
        gain: at 0 Hz; may be infinite, but not in a netlist.
        bandwidth: gain-bandwidth product in Hz, which sets how fast a circuit settles, not where.

    Raises:
        InvalidInputError: a value is not positive.
    """

    gain: float = 1e5
    bandwidth: float = 1e7

    def __post_init__(self) -> None:
        settle(self)
        if not self.gain > 0:
            raise InvalidInputError(f"the gain of an op-amp must be > 0, got {self.gain}")
        if not (isfinite(self.bandwidth) and self.bandwidth > 0):
            raise InvalidInputError(f"the bandwidth of an op-amp must be finite and > 0 Hz, got {self.bandwidth}")

    @property
    def speed(self) -> float:
        """2 pi bandwidth: how fast the output moves for 1 V at the input, 1/s."""
        return 2.0 * pi * self.bandwidth

    @property
    def pole_seconds(self) -> float:
        """The time constant of the op-amp alone, gain / (2 pi bandwidth)."""
        return self.gain / self.speed
