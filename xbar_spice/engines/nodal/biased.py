"""An array under biases, exactly: Kirchhoff's equations by a sparse factor, corrected in twice the usual precision.

Unknowns are the currents y of the cells and the levels of floating lines; the lines make voltages of them (`Ladders`).
With f what the cells would carry on top of y at these voltages, g their slopes and L the conductances of the lines, a
correction is

    L_w w + g (w - b) = -f,    L_b b - g (w - b) = f,    y <- y + f + g (w - b),

one factor for all sets of voltages where cells are linear. Laws that are not are followed as in `approach`: each cell
is linearised at a voltage of its own, and where that does not settle, the sources rise step by step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property
from typing import final

import numpy as np
from scipy.sparse.linalg import SuperLU

from xbar_spice.engines.base import refuse_numbers
from xbar_spice.engines.nodal.approach import DAMPED_FROM, ITERATIONS, NEAR, SMALLEST_STEP, limited
from xbar_spice.engines.nodal.biased_amplifiers import saturates, settle
from xbar_spice.engines.nodal.checks import CANCELLATION
from xbar_spice.engines.nodal.extended import Extended, exact
from xbar_spice.engines.nodal.factor import FACTOR_CELLS, factorise
from xbar_spice.engines.nodal.ladders import Ladders, LadderState
from xbar_spice.engines.nodal.laws import Laws
from xbar_spice.errors import ConvergenceError
from xbar_spice.hardware.biases import BoolArray, End, held_lines, require_held, require_resistance
from xbar_spice.hardware.cells import Ohmic
from xbar_spice.hardware.crossbar import EDGE_SIDE, Crossbar, Edge
from xbar_spice.linear.operator import FloatArray

__all__ = ["BiasedArray", "State"]

CORRECTIONS = 60
SAFETY = 0.1  # the part of the allowed error that the last correction may still make
STEADY = 1e-13  # of the largest voltage: a correction of the voltages below is noise
CONDUCTS = 1e-12  # of the programmed conductances: slopes below hold a line nowhere
TOGETHER = 2**18  # cells of the sets of voltages that are solved at once, so that a cache holds them


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
    def volts(self) -> Extended:
        """(batch, rows, cols) across the cells, word line minus bit line."""
        return self.word.nodes - _turned(self.bit.nodes)

    def at_ends(self) -> dict[Edge, FloatArray]:
        """(lines, batch) amperes into the terminals of every edge."""
        word, bit = (lines.through.rounded().transpose(1, 0, 2) for lines in (self.word, self.bit))
        return {"left": -word[:, :, 0], "right": word[:, :, -1], "top": -bit[:, :, 0], "bottom": bit[:, :, -1]}


@final
class BiasedArray:
    """One array with what is connected to it, solved for the voltages of its ends.

    Args:
        crossbar: the array.
        ends: what stands at every edge.
        tolerance: relative to the current of every terminal.
        laws: what a session knows of its devices.
        loose: let parts without any terminal be, at 0 V, where only currents are asked for.

    Raises:
        InvalidInputError: op-amps of the user's own, which only ngspice knows.
        SingularCircuitError: lines that no terminal holds, not even through cells.
        ConvergenceError: an array too large for a sparse factor.
    """

    def __init__(
        self,
        crossbar: Crossbar,
        ends: Mapping[Edge, End],
        tolerance: float = 1e-10,
        *,
        laws: Laws | None = None,
        loose: bool = False,
    ) -> None:
        if crossbar.conductance.size > FACTOR_CELLS:
            raise ConvergenceError(
                f"an array of {crossbar.shape[0]} x {crossbar.shape[1]} cells is too large for the sparse factor that "
                "its biases or uneven wires need; cut it into tiles"
            )
        self._device, self._conductance = crossbar.device, crossbar.conductance
        self._offset: FloatArray | float = 0.0
        self._tolerance, self._laws, self._loose = tolerance, laws or Laws(), loose
        self._segments = crossbar.segments("rows"), crossbar.segments("cols")
        require_resistance(crossbar, ends)
        if not loose:
            require_held(ends, crossbar.conductance > 0)
        self._connect(ends, crossbar.conductance > 0)

    def _connect(self, ends: Mapping[Edge, End], conducts: BoolArray) -> None:
        self._ends, self._conducts = ends, conducts
        self.word = Ladders(self._segments[0], ends["left"], ends["right"])
        self.bit = Ladders(self._segments[1], ends["top"], ends["bottom"])
        held = held_lines(ends, conducts)
        word, count = self.word.node_numbers(held[0], 0)
        bit, self._count = self.bit.node_numbers(held[1], count)
        self._nodes = word.ravel(), bit.T.ravel()
        self._lasts = word[self.word.floating, -1], bit[self.bit.floating, -1]
        self._firsts = word[self.word.floating, 0], bit[self.bit.floating, 0]
        self._wires = [*self.word.branches(word), *self.bit.branches(bit)]
        self._linear_factor: SuperLU | None = None
        self._between_amplifiers: FloatArray | None = None

    def currents(self, ends: Mapping[Edge, End] | None = None) -> dict[Edge, FloatArray]:
        """(lines, batch) amperes that the terminals of every edge return; `solve` says the rest."""
        parts = [state.at_ends() for state in self.solve(ends)]
        found: dict[Edge, FloatArray] = {}
        for edge, end in self._ends.items():
            empty = np.zeros((end.connected.size, 0))
            found[edge] = end.returned(np.concatenate([empty, *(part[edge] for part in parts)], axis=1))
        return found

    def solve(self, ends: Mapping[Edge, End] | None = None) -> list[State]:
        """The states at the voltages of the ends, or of others that are connected alike; a part of the batch each.

        Raises:
            DeviceError: a law whose slope does not fit its current, or which gives no number where one is needed.
            ConvergenceError: the iteration did not converge.
            SingularCircuitError: floating lines whose cells conduct nowhere.
        """
        ends = self._ends if ends is None else ends
        if not saturates(ends):
            return self._solve_sources(ends)
        return [
            settle(
                {edge: replace(end, volts=end.volts[:, [column]]) for edge, end in ends.items()},
                lambda raised: self._solve_sources(raised)[0],
                self._amplifier_conductances,
            )
            for column in range(ends["left"].volts.shape[1])
        ]

    def _amplifier_conductances(self, state: State, alone: Callable[[FloatArray], Mapping[Edge, End]]) -> FloatArray:
        """What `settle` asks for; found once where cells are linear."""
        if self._between_amplifiers is not None:
            return self._between_amplifiers
        amplified = {edge: end.connected for edge, end in self._ends.items() if end.amplifier}
        units = np.eye(sum(int(lines.sum()) for lines in amplified.values()))
        parts = [part.at_ends() for part in self.linearised(self.slopes(state))._solve_sources(alone(units))]
        found = np.hstack([np.vstack([part[edge][lines] for edge, lines in amplified.items()]) for part in parts])
        if self._device.linear:
            self._between_amplifiers = found
        return found

    def slopes(self, state: State) -> FloatArray:
        """(rows, cols) siemens of the cells in a state; of a batch the first one where they differ."""
        return self._conductance if self._device.linear else self._law(state.volts.rounded())[1][0]

    def _solve_sources(self, ends: Mapping[Edge, End]) -> list[State]:
        batch = ends["left"].volts.shape[1]
        span = float(
            max(0.0, *(end.volts.max(initial=0.0) for end in ends.values()))
            - min(0.0, *(end.volts.min(initial=0.0) for end in ends.values()))
        )
        together = max(1, TOGETHER // self._conductance.size) if self._device.linear else 1
        if not self._device.linear:
            self._laws.fall(self._device, self._conductance, span)
        return [
            self._solve_part(ends, slice(first, min(first + together, batch)), span)
            for first in range(0, batch, together)
        ]

    def linearised(
        self, slopes: FloatArray, ends: Mapping[Edge, End] | None = None, offset: FloatArray | float = 0.0
    ) -> BiasedArray:
        """The same wires with cells that are straight lines.

        Args:
            slopes: (rows, cols) siemens of any sign.
            ends: other terminals at the same places; the same ones when left out.
            offset: (batch, rows, cols) amperes of the cells at 0 V.
        """
        array = copy(self)
        same = ends is None and slopes is self._conductance
        array._device, array._conductance, array._offset = Ohmic(), slopes, offset
        if ends is not None:
            array._connect(ends, self._conducts)
        array._linear_factor = self._linear_factor if same else None
        return array

    def factor(self, slopes: FloatArray) -> SuperLU | None:
        """The factor of the equations with these slopes, (rows, cols) siemens."""
        return factorise([(*self._nodes, slopes.ravel()), *self._wires], self._count)

    def spread(self, factor: SuperLU | None, residual: FloatArray, strays: list[FloatArray]) -> FloatArray:
        """(nodes + 1, batch) volts by which the nodes move, the ground behind them, for a residual of the cells.

        Args:
            factor: of the equations.
            residual: (batch, rows, cols) amperes that the cells would carry on top.
            strays: (floating lines, batch) amperes that word lines and bit lines lose beside their cells.
        """
        flows = residual.reshape(len(residual), -1).T
        nodes = np.zeros((self._count + 1, flows.shape[1]))
        np.add.at(nodes, self._nodes[0], -flows)
        np.add.at(nodes, self._nodes[1], flows)
        for lasts, stray in zip(self._lasts, strays, strict=True):
            np.add.at(nodes, lasts, -stray)
        nodes[:-1] = nodes[:-1] if factor is None else factor.solve(nodes[:-1])
        nodes[-1] = 0.0
        return nodes

    def across(self, nodes: FloatArray) -> FloatArray:
        """(batch, rows, cols) volts across the cells from those of the nodes."""
        return np.asarray((nodes[self._nodes[0]] - nodes[self._nodes[1]]).T.reshape(-1, *self._conductance.shape))

    def _solve_part(self, ends: Mapping[Edge, End], columns: slice, span: float) -> State:
        self.word.apply(ends["left"].volts[:, columns], ends["right"].volts[:, columns])
        self.bit.apply(ends["top"].volts[:, columns], ends["bottom"].volts[:, columns])
        batch = columns.stop - columns.start
        rows, cols = self._conductance.shape
        flat = exact(np.zeros((batch, rows))), exact(np.zeros((batch, cols)))
        rest = self._state(exact(np.zeros((batch, rows, cols))), flat, 1.0)
        if self._device.linear:
            self._linear_factor = self._linear_factor or self.factor(self._conductance)
            found = self._refined(rest, self._linear_factor)
        else:
            found = self._approached(rest, span)
        if found is None:
            where = f"{columns.start}" if batch == 1 else f"{columns.start} to {columns.stop - 1}"
            raise ConvergenceError(
                f"the array did not settle under vector {where} of the biases, with {self._device!r} cells and up to "
                f"{span:g} V between terminals; try lower voltages, or smaller ratios between the slopes of cells and "
                "the conductances of wires and terminals"
            )
        if not (self._device.linear or self._loose):
            _, slopes = self._law(found.volts.rounded())
            require_held(
                self._ends, np.abs(slopes[0]) > CONDUCTS * self._conductance, " that conduct at these voltages"
            )
        return found

    def _state(self, cells: Extended, levels: tuple[Extended, Extended], part: float) -> State:
        return State(
            cells, levels, self.word.state(cells, levels[0], part), self.bit.state(-_turned(cells), levels[1], part)
        )

    def _corrected(
        self, state: State, residual: FloatArray, slopes: FloatArray, factor: SuperLU | None, part: float
    ) -> tuple[State, float]:
        """The state after one correction, and the largest change of a cell's voltage."""
        strays = [
            draws.total(2).rounded()[:, lines.floating, 0].T
            for lines, draws in ((self.word, state.cells), (self.bit, -_turned(state.cells)))
        ]
        nodes = self.spread(factor, residual, strays)
        moved = self.across(nodes)
        levels = []
        for lines, level, firsts in zip((self.word, self.bit), state.levels, self._firsts, strict=True):
            rise = np.zeros(level.high.shape)
            rise[:, lines.floating] = nodes[firsts].T
            levels.append(level + exact(rise))
        cells = state.cells + exact(residual + slopes * moved)
        return self._state(cells, (levels[0], levels[1]), part), float(np.abs(moved).max(initial=0.0))

    def _refined(self, state: State, factor: SuperLU | None = None) -> State | None:
        """Corrected until no terminal's current changes any more; None if that does not happen."""
        before, stalled, given = np.inf, 0, factor is not None
        for _ in range(CORRECTIONS):
            amperes, slopes = self._exact_law(state.volts)
            residual = (amperes - state.cells).rounded()
            if not (np.isfinite(residual).all() and np.isfinite(slopes).all()):
                return None
            factor = factor if given else self.factor(slopes[0])
            moved, size = self._corrected(state, residual, slopes, factor, 1.0)
            largest = float(np.abs(moved.volts.high).max(initial=0.0))
            steady = size <= STEADY * largest or not residual.any()
            steady &= self._still(state, moved)
            if steady:
                return moved
            stalled = stalled + 1 if size > 0.5 * before else 0
            state, before = moved, size
            if stalled >= 4:
                return None
        return None

    def _still(self, state: State, moved: State) -> bool:
        """Whether a correction has left the currents of all terminals where they were."""
        gross = {"rows": np.abs(moved.cells.high).sum(axis=2).T, "cols": np.abs(moved.cells.high).sum(axis=1).T}
        old, new = state.at_ends(), moved.at_ends()
        return all(
            bool(
                (
                    np.abs(new[edge] - old[edge])
                    <= np.maximum(SAFETY * self._tolerance * np.abs(new[edge]), CANCELLATION * gross[EDGE_SIDE[edge]])
                ).all()
            )
            for edge in new
        )

    def _exact_law(self, volts: Extended) -> tuple[Extended, FloatArray]:
        if self._device.linear:
            straight = exact(np.broadcast_to(self._conductance, volts.high.shape)) * volts
            return straight + exact(np.broadcast_to(self._offset, volts.high.shape)), self._conductance[np.newaxis]
        current, slope = self._law(volts.high)
        return exact(current) + exact(slope * volts.low), slope

    def _law(self, volts: FloatArray) -> tuple[FloatArray, FloatArray]:
        with np.errstate(all="ignore"):
            current = self._device.current(self._conductance, volts)
            return current, self._device.differential_conductance(self._conductance, volts)

    def _approached(self, rest: State, span: float) -> State | None:
        """The state of cells that are not linear: straight from 0 V, or along states at parts of the voltages."""
        none = np.zeros((1, *self._conductance.shape))
        for values, what in zip(self._law(none), ("current", "differential conductance"), strict=True):
            refuse_numbers(self._device, self._conductance, none, values, what)
        settled = self._settled(rest, none, 1.0, span)
        found = None if settled is None else self._refined(settled[0])
        if found is None or self._falls(found):
            settled = self._raised(rest, none, span)
            found = None if settled is None else self._refined(settled[0])
        if found is not None and self._falls(found):
            raise ConvergenceError(
                f"currents of {self._device!r} cells fall so steeply here that no state was found in which the circuit "
                "would stay, though there are several; try lower voltages, or lower resistances of wires and terminals"
            )
        return found

    def _falls(self, state: State) -> bool:
        slopes = self._law(state.volts.rounded())[1]
        if (slopes >= 0).all():
            return False
        factor = self.factor(slopes[0])
        return factor is not None and bool((factor.U.diagonal() <= 0).any())

    def _raised(self, rest: State, volts: FloatArray, span: float) -> tuple[State, FloatArray] | None:
        reached, step, state = 0.0, 0.125, rest
        while reached < 1.0:
            part = min(1.0, reached + step)
            settled = self._settled(state, volts * (part / reached if reached else 1.0), part, span)
            if settled is None and reached:
                settled = self._settled(state, volts, part, span)
            if settled is None:
                step /= 2
                if step < SMALLEST_STEP:
                    aim = state.volts.rounded()
                    refuse_numbers(self._device, self._conductance, aim, self._law(aim)[0], "current")
                    return None
            else:
                reached, step, (state, volts) = part, 1.5 * step, settled
        return state, volts

    def _settled(self, state: State, volts: FloatArray, part: float, span: float) -> tuple[State, FloatArray] | None:
        """The state at a part of the voltages, and where its cells are linearised; None if they do not settle."""
        state = self._state(state.cells, state.levels, part)
        current, slope = self._law(volts)
        if not (np.isfinite(current).all() and np.isfinite(slope).all()):
            return None
        for iteration in range(ITERATIONS):
            with np.errstate(over="ignore", invalid="ignore"):
                residual = current + slope * (state.volts.rounded() - volts) - state.cells.rounded()
                state, _ = self._corrected(state, residual, slope, self.factor(slope[0]), part)
            aim = state.volts.rounded()
            if not np.isfinite(aim).all():
                return None
            moved = limited(self._law, volts, aim, current, current + slope * (aim - volts))
            if iteration >= DAMPED_FROM:
                moved = volts + 0.5 * (moved - volts)
            step, short = float(np.abs(moved - volts).max()), float(np.abs(moved - aim).max())
            volts = moved
            current, slope = self._law(volts)
            if not (np.isfinite(current).all() and np.isfinite(slope).all()):
                return None
            small = NEAR * max(span, float(np.abs(volts).max()))
            if step <= small:  # a cell that cannot go where it should is at the end of its law
                return (state, volts) if short <= small else None
        return None


def _turned(values: Extended) -> Extended:
    return Extended(np.swapaxes(values.high, 1, 2), np.swapaxes(values.low, 1, 2))
