"""What a cell is to all engines: the law of its current, and the SPICE element that stands for it."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from xbar_spice.hardware.subcircuit import Subcircuit
from xbar_spice.linear.operator import FloatArray

__all__ = ["Device"]


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

    @property
    def read_law(self) -> Device:
        """The law that decks write and engines read: its own, unless a cell that moves stands still by another one."""
        return self

    @property
    def subcircuits(self) -> tuple[Subcircuit, ...]:
        """Subcircuits of libraries that the template's elements are instances of; a deck holds their libraries."""
        return ()

    @property
    def known(self) -> bool:
        """Whether the law is known here; otherwise only ngspice can read an array of such cells."""
        return True

    @property
    def junctions(self) -> bool:
        """Whether SPICE has to solve transistors or diodes, or a subcircuit that may have some."""
        return False

    @property
    def moves(self) -> bool:
        """Whether SPICE moves a state of it in a transient analysis, which its law here leaves at rest."""
        return False

    @property
    def fitted_range(self) -> tuple[float, float] | None:
        """Conductances, in siemens, between which the law was fitted; None for a law of no such bounds."""
        return None

    @property
    def voltage_range(self) -> tuple[float, float] | None:
        """Volts, word line minus bit line, beyond which reads are refused; None for a law without such bounds."""
        return None

    def require_in_time(self) -> None:  # noqa: B027 - most laws have no state
        """Raise a DeviceError for cells that SPICE cannot simulate in time."""

    def require_known(self, conductance: FloatArray) -> None:  # noqa: B027 - most laws know all of them
        """Raise a DeviceError for a conductance, siemens, of which the law knows nothing."""

    @abstractmethod
    def current(self, conductance: FloatArray, voltage: FloatArray) -> FloatArray:
        """I(G, V) in amperes."""

    @abstractmethod
    def differential_conductance(self, conductance: FloatArray, voltage: FloatArray) -> FloatArray:
        """dI/dV at V in siemens."""

    def current_and_slope(self, conductance: FloatArray, voltage: FloatArray) -> tuple[FloatArray, FloatArray]:
        """`current` and `differential_conductance` at once, which some laws find from one thing inside the cell."""
        return self.current(conductance, voltage), self.differential_conductance(conductance, voltage)

    def conductance_sensitivity(self, conductance: FloatArray, voltage: FloatArray) -> FloatArray:
        """dI/dG at V in volts: what a change of the programmed conductance does.

        Central differences unless a law knows better, good to about nine digits.
        """
        step = 1e-5 * np.maximum(conductance, 1e-12)
        rise = self.current(conductance + step, voltage) - self.current(np.maximum(conductance - step, 0.0), voltage)
        return np.asarray(rise / (step + np.minimum(step, conductance)))
