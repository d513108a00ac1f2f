"""Cells of a transistor and a resistor whose gates are at gate lines, one beside each word line: row select.

The gate line of a row is at a voltage of its own, whatever the bit lines do; gates draw no current, so that it has no
wires. The source of the transistor is at the bit line, and what counts is the gate's voltage a above the threshold:

    I = beta / 2 (p(a - b)^2 - p(a - d)^2) = G (w - d),    p(x) = max(x, 0),

with the word line at w, the bit line at b, and d between resistor and transistor. Source and drain are alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from xbar_spice.errors import InvalidInputError
from xbar_spice.hardware.cells import Device, OneTransistorOneResistor
from xbar_spice.linear.operator import FloatArray

__all__ = ["GateLines"]


@final
@dataclass(frozen=True, eq=False)
class GateLines:
    """The cells of an array between word lines, bit lines and gate lines.

    Args:
        device: the law of the cells; `v_gate` is not used, because gate lines take its place.
        volts: (rows,) of the gate lines.

    Raises:
        InvalidInputError: cells without a transistor.
    """

    device: OneTransistorOneResistor
    volts: FloatArray

    @classmethod
    def beside(cls, device: Device, volts: FloatArray) -> GateLines:
        """Gate lines beside the word lines of an array with such cells."""
        if not isinstance(device, OneTransistorOneResistor):
            raise InvalidInputError(
                f"gate lines take cells with a transistor, got {device!r}; use device=OneTransistorOneResistor(), or "
                "leave gates out"
            )
        return cls(device, volts)

    @property
    def above_threshold(self) -> FloatArray:
        """(rows, 1) volts."""
        return self.volts[:, np.newaxis] - self.device.v_threshold

    def current(self, conductance: FloatArray, across: FloatArray, bit: FloatArray) -> FloatArray:
        """(..., rows, cols) amperes from word line to bit line.

        Args:
            conductance: (rows, cols) siemens of the resistors.
            across: (..., rows, cols) volts, word line minus bit line.
            bit: (..., rows, cols) volts at the bit lines.
        """
        on = self.above_threshold - bit
        forward = _with_overdrive(self.device, conductance, across, np.maximum(on, 0.0))
        backward = -0.5 * self.device.beta * self._at_drain(conductance, across, bit) ** 2
        return np.where(on > 0, forward, backward)

    def slopes(self, conductance: FloatArray, across: FloatArray, bit: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(..., rows, cols) siemens: dI/dw, and dI/db when the voltage across the cell stays."""
        beta = self.device.beta
        at_drain = beta * self._at_drain(conductance, across, bit)
        at_source = beta * np.maximum(self.above_threshold - bit, 0.0)
        passed = _ratio(conductance, conductance + at_drain)
        return passed * at_drain, passed * (at_drain - at_source)

    def conductance_sensitivity(self, conductance: FloatArray, across: FloatArray, bit: FloatArray) -> FloatArray:
        """(..., rows, cols) volts, dI/dG."""
        at_drain = self.device.beta * self._at_drain(conductance, across, bit)
        over_resistor = _ratio(self.current(conductance, across, bit), conductance)
        return over_resistor * _ratio(at_drain, conductance + at_drain)

    def _at_drain(self, conductance: FloatArray, across: FloatArray, bit: FloatArray) -> FloatArray:
        """p(a - d) in volts, from beta / 2 p(a - d)^2 + G p(a - d) = beta / 2 p(a - b)^2 - G (w - a)."""
        beta, overdrive = self.device.beta, self.above_threshold - bit
        right = np.maximum(0.5 * beta * np.maximum(overdrive, 0.0) ** 2 - conductance * (across - overdrive), 0.0)
        return _ratio(2.0 * right, conductance + np.sqrt(conductance**2 + 2.0 * beta * right))


def _with_overdrive(
    device: OneTransistorOneResistor, conductance: FloatArray, across: FloatArray, on: FloatArray
) -> FloatArray:
    """The current where the gate is `on` volts above threshold and bit line, without differences of large numbers."""
    slope = device.beta * on + conductance
    root = np.sqrt(np.maximum(slope**2 - 2 * device.beta * conductance * across, 0.0))
    transistor = _ratio(2 * conductance * across, slope + root)
    saturates = conductance * (across - on) >= 0.5 * device.beta * on**2
    return np.where(saturates, 0.5 * device.beta * on**2, conductance * (across - transistor))


def _ratio(above: FloatArray, below: FloatArray) -> FloatArray:
    """0 where there is nothing below, as without a cell behind a gate that is off."""
    above, below = np.broadcast_arrays(above, below)
    return np.divide(above, below, out=np.zeros(above.shape), where=below > 0)
