"""Lines of one side of an array whose segments and ends are all their own.

Cells that draw the currents y from a line leave c_m = c_0 - sum_{j<m} y_j in the resistance R_m before cell m, counted
from the near end to the far one, and the nodes at

    v_k = v - sum_{m<=k} R_m c_m.

With a terminal at the near end v is its voltage; else it follows from the far one; else it is the level of a line that
floats. Where both ends have terminals, c_0 = (V_near - V_far + sum_m R_m sum_{j<m} y_j) / sum_m R_m. No conductance of
a wire is ever formed, so 0 ohm needs no special case here. All of it is in numbers of twice the usual precision: what a
terminal gets may be a small rest of what its line carries.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from xbar_spice.engines.nodal.extended import Extended, exact
from xbar_spice.engines.nodal.factor import GROUND, Branches
from xbar_spice.engines.nodal.grid import BoolArray, IntArray
from xbar_spice.hardware.biases import End
from xbar_spice.linear.operator import FloatArray

__all__ = ["LadderState", "Ladders"]


@final
@dataclass(frozen=True, eq=False)
class LadderState:
    """What the lines of a side carry.

    Attributes:
        through: (batch, lines, cells + 1) amperes from near to far, before each cell and behind the last one.
        nodes: (batch, lines, cells) volts.
    """

    through: Extended
    nodes: Extended


@final
class Ladders:
    """The lines of one side.

    Args:
        segments: (lines, cells + 1) ohm of the wire segments, from the near end to the far one.
        near: what is connected at one end of each line.
        far: what is connected at the other.
    """

    def __init__(self, segments: FloatArray, near: End, far: End) -> None:
        self.near, self.far = near.connected, far.connected
        self.shape = (segments.shape[0], segments.shape[1] - 1)
        ohms = segments.copy()
        ohms[:, 0] = np.where(self.near, segments[:, 0] + near.load, 0.0)
        ohms[:, -1] = np.where(self.far, segments[:, -1] + far.load, 0.0)
        self.ohms: FloatArray = ohms
        whole = exact(ohms).total(1)
        self._whole = Extended(np.where(whole.high > 0, whole.high, 1.0)[:, 0], whole.low[:, 0])
        self.apply(near.volts, far.volts)

    def apply(self, near: FloatArray, far: FloatArray) -> None:
        """Put voltages, (lines, batch), to the terminals."""
        self._ends = [exact(volts.T) for volts in (near, far)]

    @property
    def floating(self) -> BoolArray:
        """(lines,) whether no terminal touches a line."""
        return ~(self.near | self.far)

    def state(self, draws: Extended, levels: Extended, part: float = 1.0) -> LadderState:
        """What the lines carry when their cells draw these currents.

        Args:
            draws: (batch, lines, cells) amperes.
            levels: (batch, lines) volts of the first nodes of floating lines.
            part: of the voltages at the terminals.
        """
        batch, (lines, cells) = draws.high.shape[0], self.shape
        drawn = _behind_zero(draws.running(2))
        ohms = exact(np.broadcast_to(self.ohms, (batch, lines, cells + 1)))
        near, far = (_times(volts, part) for volts in self._ends)
        entering = _choose(self.near, _flat(drawn.last(2)), exact(np.zeros((batch, lines))))
        both = self.near & self.far
        if both.any():
            across = near - far + _flat((ohms * drawn).total(2))
            entering = _choose(both, across / _spread(self._whole, batch), entering)
        through = _deep(entering, cells + 1) - drawn
        drops = ohms * through
        first = _choose(self.near, near, levels)
        if (self.far & ~self.near).any():
            behind = far + _flat(_part(drops, slice(1, None)).total(2))
            first = _choose(self.far & ~self.near, behind, first)
        nodes = _deep(first, cells) - _part(drops, slice(0, cells)).running(2)
        return LadderState(through, nodes)

    def node_numbers(self, held: BoolArray, first: int) -> tuple[IntArray, int]:
        """(lines, cells) numbers of the nodes from `first` on, and the next free one.

        Nodes without resistance between them are one; those without resistance to a terminal, and lines that are not
        held anywhere, are `GROUND`.
        """
        lines, cells = self.shape
        group = np.zeros((lines, cells), dtype=np.int64)
        group[:, 1:] = np.cumsum(self.ohms[:, 1:-1] > 0, axis=1)
        fixed = np.zeros((lines, cells), dtype=bool)
        fixed |= (self.near & (self.ohms[:, 0] == 0))[:, np.newaxis] & (group == 0)
        fixed |= (self.far & (self.ohms[:, -1] == 0))[:, np.newaxis] & (group == group[:, -1:])
        fixed |= ~held[:, np.newaxis]
        keys = group + np.arange(lines)[:, np.newaxis] * cells
        numbers = np.full((lines, cells), GROUND, dtype=np.int64)
        _, places = np.unique(keys[~fixed], return_inverse=True)
        numbers[~fixed] = first + places
        return numbers, first + (int(places.max()) + 1 if places.size else 0)

    def branches(self, numbers: IntArray) -> Branches:
        """The conductances of wires and terminals, siemens."""
        found: Branches = []
        for ends, ohms, connected in (
            (numbers[:, 0], self.ohms[:, 0], self.near),
            (numbers[:, -1], self.ohms[:, -1], self.far),
        ):
            there = connected & (ohms > 0)
            found.append((ends[there], np.full(int(there.sum()), GROUND), 1.0 / ohms[there]))
        inner = self.ohms[:, 1:-1]
        apart = inner > 0
        found.append((numbers[:, :-1][apart], numbers[:, 1:][apart], 1.0 / inner[apart]))
        return found


def _behind_zero(values: Extended) -> Extended:
    pad = ((0, 0), (0, 0), (1, 0))
    return Extended(np.pad(values.high, pad), np.pad(values.low, pad))


def _times(values: Extended, part: float) -> Extended:
    return values if part == 1.0 else values * exact(np.full(values.high.shape, part))


def _flat(values: Extended) -> Extended:
    return Extended(values.high[:, :, 0], values.low[:, :, 0])


def _deep(values: Extended, places: int) -> Extended:
    shape = (*values.high.shape, places)
    return Extended(
        np.broadcast_to(values.high[:, :, np.newaxis], shape), np.broadcast_to(values.low[:, :, np.newaxis], shape)
    )


def _part(values: Extended, places: slice) -> Extended:
    return Extended(values.high[:, :, places], values.low[:, :, places])


def _spread(values: Extended, batch: int) -> Extended:
    shape = (batch, values.high.size)
    return Extended(np.broadcast_to(values.high, shape), np.broadcast_to(values.low, shape))


def _choose(where: BoolArray, one: Extended, other: Extended) -> Extended:
    return Extended(np.where(where, one.high, other.high), np.where(where, one.low, other.low))
