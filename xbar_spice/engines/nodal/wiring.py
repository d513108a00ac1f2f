"""The lines and terminals of an array as equations: what its cells make of them, and how a correction spreads.

Nodes without resistance between them are one, so that no conductance of a wire is infinite; those without resistance to
a terminal, and lines that nothing holds, are no unknowns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

import numpy as np
from scipy.sparse.linalg import SuperLU

from xbar_spice.engines.nodal.extended import Extended, exact
from xbar_spice.engines.nodal.factor import factorise
from xbar_spice.engines.nodal.ladders import Ladders, LadderState
from xbar_spice.hardware.biases import BoolArray, End, held_lines
from xbar_spice.hardware.crossbar import Edge
from xbar_spice.linear.operator import FloatArray

__all__ = ["State", "Tangent", "Wiring", "turned"]


@final
@dataclass(frozen=True, eq=False)
class State:
    """An array under some sets of voltages.

    Attributes:
        cells: (batch, rows, cols) amperes from word line to bit line.
        levels: (batch, rows) and (batch, cols) volts of floating lines.
        word: what the word lines carry, from left to right.
        bit: what the bit lines carry, from top to bottom; its lines come first.
    """

    cells: Extended
    levels: tuple[Extended, Extended]
    word: LadderState
    bit: LadderState

    @cached_property
    def bit_volts(self) -> Extended:
        """(batch, rows, cols) at the bit-line ends of the cells."""
        return turned(self.bit.nodes)

    @cached_property
    def volts(self) -> Extended:
        """(batch, rows, cols) across the cells, word line minus bit line."""
        return self.word.nodes - self.bit_volts

    @cached_property
    def reach(self) -> float:
        """Volts of the node that is furthest from 0 V."""
        return max(float(np.abs(lines.nodes.high).max(initial=0.0)) for lines in (self.word, self.bit))

    def at_ends(self) -> dict[Edge, FloatArray]:
        """(lines, batch) amperes into the terminals of every edge."""
        word, bit = (lines.through.rounded().transpose(1, 0, 2) for lines in (self.word, self.bit))
        return {"left": -word[:, :, 0], "right": word[:, :, -1], "top": -bit[:, :, 0], "bottom": bit[:, :, -1]}


@final
@dataclass(frozen=True, eq=False)
class Tangent:
    """The straight lines that cells are near some voltages.

    Attributes:
        current: (batch, rows, cols) amperes there.
        slope: (batch, rows, cols) siemens, by the voltage across a cell.
        by_bit: (batch, rows, cols) siemens, by the bit line while that stays; None for cells with two terminals.
    """

    current: FloatArray
    slope: FloatArray
    by_bit: FloatArray | None = None

    @property
    def finite(self) -> bool:
        """Whether all of it are numbers."""
        return bool(np.isfinite(self.current).all() and np.isfinite(self.slope).all())


@final
class Wiring:
    """The lines of an array and what is connected to them.

    Args:
        segments: (rows, cols + 1) and (cols, rows + 1) ohm of the wires.
        ends: what stands at every edge.
        conducts: (rows, cols) which cells connect their lines.
    """

    def __init__(self, segments: tuple[FloatArray, FloatArray], ends: Mapping[Edge, End], conducts: BoolArray) -> None:
        self.shape = conducts.shape
        self.word = Ladders(segments[0], ends["left"], ends["right"])
        self.bit = Ladders(segments[1], ends["top"], ends["bottom"])
        held = held_lines(ends, conducts)
        word, count = self.word.node_numbers(held[0], 0)
        bit, self._count = self.bit.node_numbers(held[1], count)
        self._nodes = word.ravel(), bit.T.ravel()
        self._lasts = word[self.word.floating, -1], bit[self.bit.floating, -1]
        self._firsts = word[self.word.floating, 0], bit[self.bit.floating, 0]
        self._wires = [*self.word.branches(word), *self.bit.branches(bit)]

    def apply(self, ends: Mapping[Edge, End], columns: slice) -> State:
        """Put some sets of voltages to the terminals; the state in which no cell carries anything."""
        self.word.apply(ends["left"].volts[:, columns], ends["right"].volts[:, columns])
        self.bit.apply(ends["top"].volts[:, columns], ends["bottom"].volts[:, columns])
        batch, (rows, cols) = columns.stop - columns.start, self.shape
        flat = exact(np.zeros((batch, rows))), exact(np.zeros((batch, cols)))
        return self.state(exact(np.zeros((batch, rows, cols))), flat, 1.0)

    def state(self, cells: Extended, levels: tuple[Extended, Extended], part: float) -> State:
        """What the lines are at when their cells carry these currents, at a part of the voltages of the terminals."""
        return State(
            cells, levels, self.word.state(cells, levels[0], part), self.bit.state(-turned(cells), levels[1], part)
        )

    def factor(self, slopes: FloatArray, by_bit: FloatArray | None = None) -> SuperLU | None:
        """The factor of the equations with these slopes, (rows, cols) siemens."""
        branches = [(*self._nodes, slopes.ravel()), *self._wires]
        return factorise(branches, self._count, None if by_bit is None else (*self._nodes, by_bit.ravel()))

    def spread(self, factor: SuperLU | None, residual: FloatArray, strays: list[FloatArray]) -> FloatArray:
        """(nodes + 1, batch) volts by which the nodes move, the ground behind them, for a residual of the cells.

        Args:
            factor: of the equations.
            residual: (batch, rows, cols) amperes that the cells would carry on top.
            strays: (floating lines, batch) amperes that word lines and bit lines lose beside their cells.
        """
        return self.solve(factor, -residual, residual, strays)

    def solve(
        self,
        factor: SuperLU | None,
        word: FloatArray,
        bit: FloatArray,
        strays: Sequence[FloatArray] = (),
        *,
        transpose: bool = False,
    ) -> FloatArray:
        """(nodes + 1, batch) volts of the nodes, the ground behind them, for currents sent into them.

        Args:
            factor: of the equations.
            word: (batch, rows, cols) amperes into the word lines at the cells.
            bit: likewise into the bit lines.
            strays: (floating lines, batch) amperes out of the last nodes of word lines and bit lines.
            transpose: solve with the transposed equations.
        """
        nodes = np.zeros((self._count + 1, len(word)))
        for numbers, flows in zip(self._nodes, (word, bit), strict=True):
            np.add.at(nodes, numbers, flows.reshape(len(flows), -1).T)
        for lasts, stray in zip(self._lasts, strays, strict=False):
            np.add.at(nodes, lasts, -stray)
        if factor is not None:
            direction: Any = ("T",) if transpose else ()  # the stubs of SciPy know no direction
            nodes[:-1] = factor.solve(nodes[:-1], *direction)
        nodes[-1] = 0.0
        return nodes

    def raised(self, levels: tuple[Extended, Extended], nodes: FloatArray) -> tuple[Extended, Extended]:
        """The levels of floating lines after their nodes have moved."""
        found = []
        for lines, level, firsts in zip((self.word, self.bit), levels, self._firsts, strict=True):
            rise = np.zeros(level.high.shape)
            rise[:, lines.floating] = nodes[firsts].T
            found.append(level + exact(rise))
        return found[0], found[1]

    def across(self, nodes: FloatArray) -> FloatArray:
        """(batch, rows, cols) volts across the cells from those of the nodes."""
        return np.asarray((nodes[self._nodes[0]] - nodes[self._nodes[1]]).T.reshape(-1, *self.shape))

    def answer(self, factor: SuperLU | None, amperes: FloatArray) -> FloatArray:
        """(rows, cols) volts by which the voltages of the cells change for (rows, cols) amperes that they carry on top.

        In plain precision, for those who come back to an array often; `corrected` is exact.
        """
        none = [np.zeros((int(lines.floating.sum()), 1)) for lines in (self.word, self.bit)]
        return np.asarray(self.across(self.spread(factor, amperes[np.newaxis], none))[0])

    def corrected(
        self, state: State, residual: FloatArray, tangent: Tangent, factor: SuperLU | None, part: float
    ) -> tuple[State, float]:
        """The state after one correction, and the largest change of a cell's voltage.

        Args:
            state: before it.
            residual: (batch, rows, cols) amperes that the cells would carry on top.
            tangent: of the cells.
            factor: of the equations with it.
            part: of the voltages of the terminals.
        """
        strays = [
            draws.total(2).rounded()[:, lines.floating, 0].T
            for lines, draws in ((self.word, state.cells), (self.bit, -turned(state.cells)))
        ]
        nodes = self.spread(factor, residual, strays)
        moved = self.across(nodes)
        levels = self.raised(state.levels, nodes)
        change = residual + tangent.slope * moved
        if tangent.by_bit is not None:
            change += tangent.by_bit * nodes[self._nodes[1]].T.reshape(-1, *self.shape)
        cells = state.cells + exact(change)
        return self.state(cells, levels, part), float(np.abs(moved).max(initial=0.0))


def turned(values: Extended) -> Extended:
    """(batch, cols, rows) of (batch, rows, cols), or the other way round."""
    return Extended(np.swapaxes(values.high, 1, 2), np.swapaxes(values.low, 1, 2))
