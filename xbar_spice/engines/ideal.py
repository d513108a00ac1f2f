"""The digital twin: every cell sees the full drive voltage, wires and periphery cost nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import final

import numpy as np

from xbar_spice.engines.base import Bank, Engine, refuse_numbers
from xbar_spice.engines.ideal_levels import CellsBetweenLines, let_float
from xbar_spice.errors import InvalidInputError
from xbar_spice.hardware.amplifier import Amplifier
from xbar_spice.hardware.biases import OPPOSITE_EDGES, End, name_lines
from xbar_spice.hardware.crossbar import Crossbar, Edge, Side
from xbar_spice.linear.operator import FloatArray

__all__ = ["IdealBank", "IdealEngine"]


@final
class IdealBank(Bank):
    """Arrays without wires."""

    def transfers(self, side: Side) -> list[FloatArray] | None:
        linear = all(xbar.linear for xbar in self.crossbars)
        return [_connected_cells(xbar) for xbar in self.crossbars] if linear else None

    def _as_read(self, crossbar: Crossbar) -> Crossbar:
        return replace(crossbar, amplifier=Amplifier(), r_word=0.0, r_bit=0.0, r_driver=0.0, r_sense=0.0)

    def _read(self, drives: Sequence[FloatArray], side: Side) -> list[FloatArray]:
        return [_ideal_currents(xbar, volts, side) for xbar, volts in zip(self.crossbars, drives, strict=True)]

    def _bias(self, ends: Mapping[Edge, End]) -> Mapping[Edge, FloatArray]:
        (crossbar,) = self.crossbars
        (word, one_word), (bit, one_bit) = (_levels(ends[near], ends[far]) for near, far in OPPOSITE_EDGES)
        cells = CellsBetweenLines(crossbar, ends["left"].gates)
        let_float(cells, ends, word, bit)
        flows, _, _ = cells.at(word, bit)
        across, siemens = np.broadcast_arrays(word[:, np.newaxis] - bit, crossbar.conductance[:, :, np.newaxis])
        refuse_numbers(crossbar.device, siemens, across, flows, "current")
        drawn, received = -flows.sum(axis=1) * one_word, flows.sum(axis=0) * one_bit
        return {"left": drawn, "right": drawn, "top": received, "bottom": received}


@final
class IdealEngine(Engine):
    """Reads without parasitics: I_j = sum_i I(G_ij, V_i)."""

    name = "ideal"

    def program_bank(self, crossbars: Sequence[Crossbar]) -> Bank:
        return IdealBank(crossbars)


def _levels(near: End, far: End) -> tuple[FloatArray, FloatArray]:
    """(lines, batch) volts of lines without resistance, NaN where they float, and (lines, 1) the share of each end."""
    both = near.connected & far.connected
    apart = np.flatnonzero(both & (near.volts != far.volts).any(axis=1))
    if apart.size:
        raise InvalidInputError(
            f"without resistance a line has one voltage: {name_lines(near.side, apart)} would have one at either end; "
            "read with engine='nodal', or leave one end open"
        )
    held = near.connected | far.connected
    levels = np.where(near.connected[:, np.newaxis], near.volts, far.volts)
    return np.where(held[:, np.newaxis], levels, np.nan), np.where(both, 0.5, 1.0)[:, np.newaxis]


def _connected_cells(crossbar: Crossbar) -> FloatArray:
    """(rows, cols) siemens; a floating line settles at the 0 V of the bit lines, and sensed, it has no terminal."""
    cells = crossbar.conductance
    if crossbar.open_rows:
        cells = cells.copy()
        cells[list(crossbar.open_rows)] = 0.0
    return cells


def _ideal_currents(crossbar: Crossbar, volts: FloatArray, side: Side) -> FloatArray:
    cells = _connected_cells(crossbar)
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
