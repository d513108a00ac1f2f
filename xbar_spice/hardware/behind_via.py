"""Cells behind a resistance of their own: the via down to the device and its contacts, in series with any law."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import final

import numpy as np

from xbar_spice.checks import Instance, Real, settle
from xbar_spice.errors import DeviceError
from xbar_spice.hardware.cells import Device, Ohmic
from xbar_spice.linear.operator import FloatArray

__all__ = ["BehindVia"]

ITERATIONS = 200
ROUNDING = 4e-16  # of a voltage


@final
@dataclass(frozen=True)
class BehindVia(Device):
    """A cell in series with a resistance, I = I_cell(G, V - R I).

    G is the conductance that the device itself is programmed to. Resistances at the ends of lines are `r_driver`,
    `r_sense` and those of biases; this one is at every crossing.

    Attributes:
        ohm: R.
        cell: law of the device; its current must not fall while its voltage rises.

    Example:
        >>> import numpy as np
        >>> BehindVia(1e4).current(np.array(1e-4), np.array(0.2))
        array(1.e-05)
    """

    ohm: float
    cell: Device = field(default_factory=Ohmic)

    def __post_init__(self) -> None:
        cell: Instance[Device] = Instance(Device, example="Ohmic()")
        settle(self, DeviceError, ohm=Real("ohm", least=0), cell=cell)
        if not self.cell.known:
            raise DeviceError(
                f"a via stands before cells whose law is known, got {self.cell!r}; put it into the subcircuit"
            )

    @property
    def linear(self) -> bool:
        """Never, to the solvers: slopes are not the programmed conductances."""
        return False

    @property
    def read_law(self) -> Device:
        return self if self.cell.read_law is self.cell else replace(self, cell=self.cell.read_law)

    @property
    def template(self) -> str:
        return "cells/behind_via.cir.j2"

    @property
    def junctions(self) -> bool:
        return self.cell.junctions

    @property
    def fitted_range(self) -> tuple[float, float] | None:
        return self.cell.fitted_range

    @property
    def voltage_range(self) -> tuple[float, float] | None:
        return self.cell.voltage_range

    @property
    def moves(self) -> bool:
        return self.cell.moves

    def require_in_time(self) -> None:
        self.cell.require_in_time()

    def require_known(self, conductance: FloatArray) -> None:
        self.cell.require_known(conductance)

    def cell_voltage(self, conductance: FloatArray, voltage: FloatArray) -> FloatArray:
        """Volts across the device, u from u + R I_cell(G, u) = V.

        Newton's method within bounds: the left side rises with u, and its root lies between 0 V and V.
        """
        conductance, volts = np.broadcast_arrays(np.asarray(conductance, float), np.asarray(voltage, float))
        low, high = np.minimum(volts, 0.0), np.maximum(volts, 0.0)
        if self.cell.linear:
            return np.asarray(volts / (1.0 + self.ohm * conductance))
        found = volts.copy()
        for _ in range(ITERATIONS):
            with np.errstate(all="ignore"):
                excess = found + self.ohm * self.cell.current(conductance, found) - volts
                slope = 1.0 + self.ohm * self.cell.differential_conductance(conductance, found)
                moved = found - excess / slope
            low, high = np.where(excess < 0, found, low), np.where(excess > 0, found, high)
            outside = ~((moved >= low) & (moved <= high))
            moved = np.where(excess == 0, found, np.where(outside, 0.5 * (low + high), moved))
            still = np.abs(moved - found) <= ROUNDING * np.abs(volts)
            found = moved
            if still.all():
                break
        return np.asarray(found)

    def current(self, conductance: FloatArray, voltage: FloatArray) -> FloatArray:
        inside = self.cell_voltage(conductance, voltage)
        return np.asarray(self.cell.current(conductance, inside) + 0.0 * voltage)

    def differential_conductance(self, conductance: FloatArray, voltage: FloatArray) -> FloatArray:
        slope = self.cell.differential_conductance(conductance, self.cell_voltage(conductance, voltage))
        return np.asarray(slope / (1.0 + self.ohm * slope))

    def conductance_sensitivity(self, conductance: FloatArray, voltage: FloatArray) -> FloatArray:
        inside = self.cell_voltage(conductance, voltage)
        slope = self.cell.differential_conductance(conductance, inside)
        return np.asarray(self.cell.conductance_sensitivity(conductance, inside) / (1.0 + self.ohm * slope))
