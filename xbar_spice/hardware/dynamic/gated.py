"""Cells that move in series with a transistor, whose gate voltage says how much of a pulse reaches them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

import numpy as np

from xbar_spice.checks import Instance, Real, settle
from xbar_spice.errors import DeviceError
from xbar_spice.hardware.cells import Device, Ohmic
from xbar_spice.hardware.dynamic.cell import DynamicDevice
from xbar_spice.linear.operator import FloatArray

__all__ = ["BehindTransistor", "GatedCell"]

ITERATIONS = 100
ROUNDING = 4e-16  # of a voltage


@final
@dataclass(frozen=True)
class BehindTransistor(Device):
    """A cell of any law in series with a level-1 NMOS transistor, I_cell(G, w) = I_channel(V - w).

    The transistor is the one of `OneTransistorOneResistor`: its gate is `v_on` above threshold and above its bit-line
    end, it carries beta (v_on u - u^2 / 2) for the voltage u across it, beta v_on^2 / 2 from u = v_on on, and a
    negative u exchanges source and drain. With v_on <= 0 it carries nothing while u is above v_on.

    Attributes:
        cell: Law of the device, whose current must rise with its voltage.
        beta: Transconductance parameter KP W / L, A/V^2.
        v_on: Volts of the gate above threshold.
    """

    cell: Device = field(default_factory=Ohmic)
    beta: float = 1e-3
    v_on: float = 0.8

    def __post_init__(self) -> None:
        cell: Instance[Device] = Instance(Device, example="Ohmic()")
        settle(self, DeviceError, cell=cell, beta=Real("A/V^2", above=0), v_on=Real("V"))

    @property
    def linear(self) -> bool:
        return False

    @property
    def junctions(self) -> bool:
        return True

    @property
    def template(self) -> str:
        return "cells/behind_transistor.cir.j2"

    def cell_voltage(self, conductance: FloatArray, voltage: FloatArray) -> FloatArray:
        """Volts across the device: Newton's method within bounds, since I_cell(w) - I_channel(V - w) rises with w."""
        conductance, volts = np.broadcast_arrays(np.asarray(conductance, float), np.asarray(voltage, float))
        low, high = np.minimum(volts, 0.0), np.maximum(volts, 0.0)
        found = 0.5 * volts
        for _ in range(ITERATIONS):
            with np.errstate(all="ignore"):
                channel, slope = self._channel(volts - found)
                excess = self.cell.current(conductance, found) - channel
                moved = found - excess / (self.cell.differential_conductance(conductance, found) + slope)
            low, high = np.where(excess < 0, found, low), np.where(excess > 0, found, high)
            outside = ~((moved >= low) & (moved <= high))
            moved = np.where(excess == 0, found, np.where(outside, 0.5 * (low + high), moved))
            still = np.abs(moved - found) <= ROUNDING * np.abs(volts)
            found = moved
            if still.all():
                break
        return np.asarray(found)

    def current(self, conductance: FloatArray, voltage: FloatArray) -> FloatArray:
        return self.cell.current(conductance, self.cell_voltage(conductance, voltage))

    def differential_conductance(self, conductance: FloatArray, voltage: FloatArray) -> FloatArray:
        inside, channel = self._slopes(conductance, voltage)
        return np.asarray(inside * _part(channel, inside))

    def conductance_sensitivity(self, conductance: FloatArray, voltage: FloatArray) -> FloatArray:
        inside, channel = self._slopes(conductance, voltage)
        direct = self.cell.conductance_sensitivity(conductance, self.cell_voltage(conductance, voltage))
        return np.asarray(direct * _part(channel, inside))

    def _slopes(self, conductance: FloatArray, voltage: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Siemens of the device and of the transistor."""
        inside = self.cell_voltage(conductance, voltage)
        return self.cell.differential_conductance(conductance, inside), self._channel(voltage - inside)[1]

    def _channel(self, volts: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Amperes and siemens of the transistor at these volts across it."""
        source, drain = max(self.v_on, 0.0), np.maximum(self.v_on - volts, 0.0)
        return 0.5 * self.beta * (source - drain) * (source + drain), self.beta * drain


@final
@dataclass(frozen=True)
class GatedCell(DynamicDevice):
    """A cell that moves behind a transistor; state, conductance and limits are those of the cell.

    Attributes:
        cell: The law of the device.
        transistor: With the static law of the device.
    """

    cell: DynamicDevice
    transistor: BehindTransistor

    @property
    def limits(self) -> tuple[float, float]:
        return self.cell.limits

    @property
    def span(self) -> float:
        return self.cell.span

    @property
    def read_law(self) -> Device:
        return self.transistor

    def conductance_of(self, state: FloatArray) -> FloatArray:
        return self.cell.conductance_of(state)

    def state_of(self, conductance: FloatArray) -> FloatArray:
        return self.cell.state_of(conductance)

    def rate(self, state: FloatArray, volts: FloatArray) -> FloatArray:
        return self.cell.rate(state, self.transistor.cell_voltage(self.conductance_of(state), volts))


def _part(channel: FloatArray, inside: FloatArray) -> FloatArray:
    """What the device has of a small change of the voltage; 0 where neither conducts."""
    channel, total = np.broadcast_arrays(channel, np.asarray(channel + inside))
    return np.asarray(np.divide(channel, total, out=np.zeros(total.shape), where=total > 0))
