"""The digital twin: every cell sees the full drive voltage, wires and periphery cost nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import final

import numpy as np

from xbar_spice.engines.base import Bank, Engine, refuse_numbers
from xbar_spice.hardware.amplifier import Amplifier
from xbar_spice.hardware.crossbar import Crossbar, Side
from xbar_spice.linear.operator import FloatArray

__all__ = ["IdealBank", "IdealEngine"]


@final
class IdealBank(Bank):
    """Arrays without wires."""

    def _as_read(self, crossbar: Crossbar) -> Crossbar:
        return replace(crossbar, amplifier=Amplifier(), r_word=0.0, r_bit=0.0, r_driver=0.0, r_sense=0.0)

    def _read(self, drives: Sequence[FloatArray], side: Side) -> list[FloatArray]:
        return [_ideal_currents(xbar, volts, side) for xbar, volts in zip(self.crossbars, drives, strict=True)]


@final
class IdealEngine(Engine):
    """Reads without parasitics: I_j = sum_i I(G_ij, V_i)."""

    name = "ideal"

    def program_bank(self, crossbars: Sequence[Crossbar]) -> Bank:
        return IdealBank(crossbars)


def _ideal_currents(crossbar: Crossbar, volts: FloatArray, side: Side) -> FloatArray:
    cells = crossbar.conductance
    if crossbar.open_rows:  # a floating line settles at the 0 V of the bit lines; sensed, it has no terminal
        cells = cells.copy()
        cells[list(crossbar.open_rows)] = 0.0
    conductance = cells if side == "rows" else cells.T
    if crossbar.device.linear:
        return conductance.T @ volts
    # The cell's voltage is word line minus bit line, so driving the columns reverses it.
    sign = 1.0 if side == "rows" else -1.0
    across, siemens = np.broadcast_arrays(sign * volts[:, None, :], conductance[:, :, None])
    with np.errstate(over="ignore", invalid="ignore"):
        flows: FloatArray = crossbar.device.current(conductance[:, :, None], sign * volts[:, None, :])
    refuse_numbers(crossbar.device, siemens, across, flows, "current")
    currents: FloatArray = sign * flows.sum(axis=0)
    return currents
