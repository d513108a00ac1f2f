"""Static laws of the two-terminal cells of an array: current, differential conductance, SPICE element."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

from xbar_spice.linear import FloatArray

__all__ = ["Device", "Ohmic"]


class Device(ABC):
    """A cell's law I(G, V), where G is the programmed (small-signal) conductance.

    Cells are memoryless in a read. `current` and `differential_conductance` work elementwise on arrays,
    conductance in siemens and voltage in volts, word line minus bit line.
    """

    @property
    @abstractmethod
    def linear(self) -> bool:
        """True if the current is proportional to the voltage."""

    @property
    @abstractmethod
    def template(self) -> str:
        """Name of the Jinja template in `netlists/` that writes one cell."""

    @abstractmethod
    def current(self, conductance: FloatArray, voltage: FloatArray) -> FloatArray:
        """I(G, V) in amperes."""

    @abstractmethod
    def differential_conductance(self, conductance: FloatArray, voltage: FloatArray) -> FloatArray:
        """dI/dV at V in siemens."""


@final
@dataclass(frozen=True)
class Ohmic(Device):
    """I = G V."""

    @property
    def linear(self) -> bool:
        return True

    @property
    def template(self) -> str:
        return "cells/ohmic.cir.j2"

    def current(self, conductance: FloatArray, voltage: FloatArray) -> FloatArray:
        return conductance * voltage

    def differential_conductance(self, conductance: FloatArray, voltage: FloatArray) -> FloatArray:
        return conductance + 0.0 * voltage
