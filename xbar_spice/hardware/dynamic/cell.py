"""What a cell that moves has on top of a static one: a state, how it maps to a conductance, and its rate."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np

from xbar_spice.errors import DeviceError
from xbar_spice.hardware.cells import Device, Ohmic
from xbar_spice.linear.operator import FloatArray

__all__ = ["EDGE", "DynamicDevice", "falling_edge", "rising_edge"]

EDGE = 1e-3  # of the span of a state: so near to a limit, what moves it towards that limit fades out
MARGIN = 1e-9  # of the range of conductances, for rounding


class DynamicDevice(Device):
    """A cell with one state, which stands still in a read and moves in a pulse.

    A law of one's own subclasses this as a frozen dataclass. At any state the current is that of `read_law` at the
    conductance of the state, so that all engines read the cell as they read a static one. `state_of` and
    `conductance_of` are inverses of each other, and both work elementwise, as `rate` does.

    ngspice needs a subcircuit of the same equations: `library` is SPICE text, or the name of a file in `models/`, that
    defines `subcircuit_name` with the pins word and bit. It holds its state as the voltage of a capacitor `Cstate` of
    1 F between its node x and 0 that starts at `ic={x0}`, and has x0 and the fields of the class as parameters.
    """

    library: ClassVar[str] = ""
    """SPICE text with the subcircuit, or the name of a file in `models/` that holds it."""

    subcircuit_name: ClassVar[str] = ""
    """The subcircuit in it."""

    @property
    @abstractmethod
    def limits(self) -> tuple[float, float]:
        """The smallest and the largest state, in units in which its span is about 1; infinite if there are none."""

    @abstractmethod
    def conductance_of(self, state: FloatArray) -> FloatArray:
        """Siemens of a state, for small voltages."""

    @abstractmethod
    def state_of(self, conductance: FloatArray) -> FloatArray:
        """The state of a conductance in siemens.

        Raises:
            DeviceError: No state has this conductance.
        """

    @abstractmethod
    def rate(self, state: FloatArray, volts: FloatArray) -> FloatArray:
        """Change of the state per second while these volts, word line minus bit line, are across the cell."""

    @property
    def read_law(self) -> Device:
        """The static law at a fixed state; an ohmic one unless a model says otherwise."""
        return Ohmic()

    @property
    def write_volts(self) -> tuple[float, float]:
        """Volts of pulses that raise and that lower the conductance, where `PulseTrain` does not say them."""
        raise DeviceError(f"{self!r} names no volts to write with; give PulseTrain(raise_volts=..., lower_volts=...)")

    @property
    def subcircuit_parameters(self) -> dict[str, float]:
        """Parameters of the subcircuit: the fields of the class unless a model says otherwise."""
        return {name: float(value) for name, value in vars(self).items() if isinstance(value, int | float)}

    @property
    def conductance_range(self) -> tuple[float, float]:
        """Siemens between the two limits of the state."""
        low, high = sorted(float(self.conductance_of(np.array(limit))) for limit in self.limits)
        return low, high

    @property
    def span(self) -> float:
        """By which changes of the state are measured: the distance of its limits, 1 where there are none."""
        low, high = self.limits
        return high - low if np.isfinite(high - low) else 1.0

    def within(self, state: FloatArray) -> FloatArray:
        """States at their limits where they lie beyond."""
        low, high = self.limits
        return np.asarray(np.minimum(np.maximum(state, low), high))  # np.clip takes several times as long

    def known_conductance(self, conductance: FloatArray) -> FloatArray:
        """Conductances that some state has; what lies beyond the range by rounding is put to its end.

        Raises:
            DeviceError: One lies beyond it by more.
        """
        low, high = self.conductance_range
        values = np.asarray(conductance, dtype=float)
        slack = MARGIN * (high - low)
        outside = ~((values >= low - slack) & (values <= high + slack))
        if outside.any():
            raise DeviceError(
                f"{self!r} has states from {low:.6g} to {high:.6g} S, got {values[outside].flat[0]:g} S; set targets, "
                "or g_min and g_max of the design, within this range"
            )
        return np.asarray(np.clip(values, low, high))

    @property
    def linear(self) -> bool:
        return self.read_law.linear

    @property
    def template(self) -> str:
        return self.read_law.template

    @property
    def junctions(self) -> bool:
        return self.read_law.junctions

    @property
    def voltage_range(self) -> tuple[float, float] | None:
        return self.read_law.voltage_range

    def current(self, conductance: FloatArray, voltage: FloatArray) -> FloatArray:
        return self.read_law.current(conductance, voltage)

    def differential_conductance(self, conductance: FloatArray, voltage: FloatArray) -> FloatArray:
        return self.read_law.differential_conductance(conductance, voltage)

    def conductance_sensitivity(self, conductance: FloatArray, voltage: FloatArray) -> FloatArray:
        return self.read_law.conductance_sensitivity(conductance, voltage)


def rising_edge(state: FloatArray, high: float, width: float) -> FloatArray:
    """By what motion towards the upper limit fades out within this width of it: 1 before, 0 from the limit on."""
    return np.asarray(np.minimum(np.maximum((high - state) / width, 0.0), 1.0))


def falling_edge(state: FloatArray, low: float, width: float) -> FloatArray:
    """The same towards the lower limit."""
    return np.asarray(np.minimum(np.maximum((state - low) / width, 0.0), 1.0))
