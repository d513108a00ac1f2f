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
from dataclasses import replace
from typing import final

import numpy as np
from scipy.sparse.linalg import SuperLU

from xbar_spice.engines.base import refuse_numbers
from xbar_spice.engines.nodal.approach import DAMPED_FROM, ITERATIONS, NEAR, SMALLEST_STEP, limited
from xbar_spice.engines.nodal.biased_amplifiers import saturates, settle
from xbar_spice.engines.nodal.checks import CANCELLATION
from xbar_spice.engines.nodal.extended import Extended, exact
from xbar_spice.engines.nodal.factor import FACTOR_CELLS
from xbar_spice.engines.nodal.laws import Laws
from xbar_spice.engines.nodal.wiring import State, Tangent, Wiring
from xbar_spice.errors import ConvergenceError
from xbar_spice.hardware.biases import BoolArray, End, require_held, require_resistance
from xbar_spice.hardware.cells import Ohmic
from xbar_spice.hardware.crossbar import EDGE_SIDE, Crossbar, Edge
from xbar_spice.hardware.gate_lines import GateLines
from xbar_spice.linear.operator import FloatArray

__all__ = ["BiasedArray"]

CORRECTIONS = 60
SAFETY = 0.1  # the part of the allowed error that the last correction may still make
STEADY = 1e-13  # of the largest voltage: a correction of the voltages below is noise
NOTHING = 1e-26  # of such currents, in numbers of twice the usual precision
CONDUCTS = 1e-12  # of the programmed conductances: slopes below hold a line nowhere
TOGETHER = 2**18  # cells of the sets of voltages that are solved at once, so that a cache holds them


@final
class BiasedArray:
    """One array with what is connected to it, solved for the voltages of its ends.

    Args:
        crossbar: the array.
        ends: what stands at every edge.
        tolerance: relative to the current of every terminal.
        laws: what a session knows of its devices.
        loose: let parts without any terminal be, at 0 V, where only currents are asked for.

    Attributes:
        wiring: the lines and what is connected to them, whatever the cells are.

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
        self._by_bit: FloatArray | None = None
        volts = ends["left"].gates
        self._gates = None if volts is None else GateLines.beside(crossbar.device, volts)
        self._tolerance, self._laws, self._loose = tolerance, laws or Laws(), loose
        self._segments = crossbar.segments("rows"), crossbar.segments("cols")
        require_resistance(crossbar, ends)
        if not loose:
            require_held(ends, crossbar.conductance > 0)
        self._connect(ends, crossbar.conductance > 0)

    def _connect(self, ends: Mapping[Edge, End], conducts: BoolArray) -> None:
        self._ends, self._conducts = ends, conducts
        self.wiring = Wiring(self._segments, ends, conducts)
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
        parts = [part.at_ends() for part in self.linearised(self.tangent(state))._solve_sources(alone(units))]
        found = np.hstack([np.vstack([part[edge][lines] for edge, lines in amplified.items()]) for part in parts])
        if self._device.linear:
            self._between_amplifiers = found
        return found

    def tangent(self, state: State) -> Tangent:
        """The cells in a state; of a batch, the first one where they differ."""
        if self._device.linear:
            return Tangent(state.cells.high, self._conductance[np.newaxis])
        return self._at(state)

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

    def linearised(self, tangent: Tangent, ends: Mapping[Edge, End] | None = None) -> BiasedArray:
        """The same wires with cells that are straight lines.

        Args:
            tangent: slopes of any sign; the currents do not count.
            ends: other terminals at the same places; the same ones when left out.
        """
        array, slopes = copy(self), tangent.slope[0]
        same = ends is None and self._device.linear
        array._device, array._conductance = Ohmic(), slopes
        array._by_bit = None if tangent.by_bit is None else tangent.by_bit[0]
        if ends is not None:
            array._connect(ends, self._conducts)
        array._linear_factor = self._linear_factor if same else None
        return array

    def shifted(self, offset: FloatArray) -> BiasedArray:
        """A linearised array whose cells carry (batch, rows, cols) amperes more."""
        array = copy(self)
        array._offset = offset
        return array

    def _solve_part(self, ends: Mapping[Edge, End], columns: slice, span: float) -> State:
        rest = self.wiring.apply(ends, columns)
        if self._device.linear:
            self._linear_factor = self._linear_factor or self.wiring.factor(self._conductance, self._by_bit)
            found = self._refined(rest, self._linear_factor)
        else:
            found = self._approached(rest, span)
        if found is None:
            where = (
                f"{columns.start}" if columns.stop - columns.start == 1 else f"{columns.start} to {columns.stop - 1}"
            )
            raise ConvergenceError(
                f"the array did not settle under vector {where} of the biases, with {self._device!r} cells and up to "
                f"{span:g} V between terminals; try lower voltages, or smaller ratios between the slopes of cells and "
                "the conductances of wires and terminals"
            )
        if not (self._device.linear or self._loose):
            slopes = self._at(found).slope[0]
            require_held(self._ends, np.abs(slopes) > CONDUCTS * self._conductance, " that conduct at these voltages")
        return found

    def _refined(self, state: State, factor: SuperLU | None = None) -> State | None:
        """Corrected until no terminal's current changes any more; None if that does not happen."""
        before, stalled, given = np.inf, 0, factor is not None
        for _ in range(CORRECTIONS):
            amperes, tangent = self._exact_law(state)
            residual = (amperes - state.cells).rounded()
            if not (np.isfinite(residual).all() and tangent.finite):
                return None
            factor = factor if given else self._factor(tangent)
            moved, size = self.wiring.corrected(state, residual, tangent, factor, 1.0)
            largest = float(np.abs(moved.volts.high).max(initial=0.0))
            steady = size <= max(STEADY * largest, NOTHING * moved.reach) or not residual.any()
            steady &= self._still(state, moved)
            if steady:
                return moved
            stalled = stalled + 1 if size > 0.5 * before else 0
            state, before = moved, size
            if stalled >= 4:
                return None
        return None

    def _still(self, state: State, moved: State) -> bool:
        """Whether a correction has left the currents of all terminals where they were.

        A line that carries nothing, because what it leads to floats, has rounding in it of currents that others carry
        or could carry.
        """
        sizes = np.abs(moved.cells.high)
        gross = {"rows": sizes.sum(axis=2).T, "cols": sizes.sum(axis=1).T}
        least = NOTHING * (float(sizes.max()) + moved.reach * float(np.abs(self._conductance).max()))
        old, new = state.at_ends(), moved.at_ends()
        for edge, end in self._ends.items():
            allowed = np.maximum(SAFETY * self._tolerance * np.abs(new[edge]), CANCELLATION * gross[EDGE_SIDE[edge]])
            still = np.abs(new[edge] - old[edge]) <= np.maximum(allowed, least)
            if not still[end.connected].all():
                return False
        return True

    def _exact_law(self, state: State) -> tuple[Extended, Tangent]:
        volts = state.volts
        if self._device.linear:
            straight = exact(np.broadcast_to(self._conductance, volts.high.shape)) * volts
            straight = straight + exact(np.broadcast_to(self._offset, volts.high.shape))
            if self._by_bit is None:
                return straight, Tangent(volts.high, self._conductance[np.newaxis])
            straight = straight + exact(np.broadcast_to(self._by_bit, volts.high.shape)) * state.bit_volts
            return straight, Tangent(volts.high, self._conductance[np.newaxis], self._by_bit[np.newaxis])
        tangent = self._law(volts.high, state.bit_volts.high)
        found = exact(tangent.current) + exact(tangent.slope * volts.low)
        if tangent.by_bit is not None:
            found = found + exact(tangent.by_bit * state.bit_volts.low)
        return found, tangent

    def _law(self, volts: FloatArray, bit: FloatArray) -> Tangent:
        """Of cells that are not linear, at volts across them and at their bit lines."""
        with np.errstate(all="ignore"):
            if self._gates:
                slopes = self._gates.slopes(self._conductance, volts, bit)
                return Tangent(self._gates.current(self._conductance, volts, bit), *slopes)
            current = self._device.current(self._conductance, volts)
            return Tangent(current, self._device.differential_conductance(self._conductance, volts))

    def _at(self, state: State) -> Tangent:
        return self._law(state.volts.rounded(), state.bit_volts.rounded())

    def _factor(self, tangent: Tangent) -> SuperLU | None:
        return self.wiring.factor(tangent.slope[0], None if tangent.by_bit is None else tangent.by_bit[0])

    def _approached(self, rest: State, span: float) -> State | None:
        """The state of cells that are not linear: straight from 0 V, or along states at parts of the voltages."""
        none = np.zeros((1, *self._conductance.shape))
        still = self._law(none, none)
        for values, what in ((still.current, "current"), (still.slope, "differential conductance")):
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
        tangent = self._at(state)
        if (tangent.slope >= 0).all() or tangent.by_bit is not None:  # no current through a transistor falls
            return False
        factor = self._factor(tangent)
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
                    amperes = self._law(aim, state.bit_volts.rounded()).current
                    refuse_numbers(self._device, self._conductance, aim, amperes, "current")
                    return None
            else:
                reached, step, (state, volts) = part, 1.5 * step, settled
        return state, volts

    def _settled(self, state: State, volts: FloatArray, part: float, span: float) -> tuple[State, FloatArray] | None:
        """The state at a part of the voltages, and where its cells are linearised; None if they do not settle."""
        state = self.wiring.state(state.cells, state.levels, part)
        bit = state.bit_volts.rounded()
        tangent = self._law(volts, bit)
        if not tangent.finite:
            return None
        for iteration in range(ITERATIONS):
            with np.errstate(over="ignore", invalid="ignore"):
                beyond = state.volts.rounded() - volts
                residual = tangent.current + tangent.slope * beyond - state.cells.rounded()
                state, _ = self.wiring.corrected(state, residual, tangent, self._factor(tangent), part)
            aim, bit = state.volts.rounded(), state.bit_volts.rounded()
            if not np.isfinite(aim).all():
                return None
            moved = self._limited(volts, aim, bit, tangent)
            if iteration >= DAMPED_FROM:
                moved = volts + 0.5 * (moved - volts)
            step, short = float(np.abs(moved - volts).max()), float(np.abs(moved - aim).max())
            volts = moved
            tangent = self._law(volts, bit)
            if not tangent.finite:
                return None
            small = NEAR * max(span, float(np.abs(volts).max()))
            if step <= small:  # a cell that cannot go where it should is at the end of its law
                return (state, volts) if short <= small else None
        return None

    def _limited(self, volts: FloatArray, aim: FloatArray, bit: FloatArray, tangent: Tangent) -> FloatArray:
        """Where the cells go; those between gate lines and bit lines have no steep law that would keep them from it."""
        if self._gates:
            return aim

        def law(at: FloatArray) -> tuple[FloatArray, FloatArray]:
            found = self._law(at, bit)
            return found.current, found.slope

        return limited(law, volts, aim, tangent.current, tangent.current + tangent.slope * (aim - volts))
