"""How the sense currents of a read change with the conductances and resistances of the array.

With y the currents of the cells, g their differential conductances and D their voltages, a change obeys

    (1 + g Z) dy = (dI/dG) dG - g (dZ y),    dI_j = the sum of dy over the cells of line j.

One solve gives the product with a change, and one solve of the transposed (adjoint) array the gradient of a weighted
sum of all currents: the adjoint cell voltage times dI/dG, and for a resistance minus the product of the
two currents through it. No derivative is ever stored for pairs of ports and cells.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import final

import numpy as np
from numpy.typing import ArrayLike

from xbar_spice.checks import Array, Real, checked, settle
from xbar_spice.engines.base import DRIVE
from xbar_spice.engines.nodal.approach import approach
from xbar_spice.engines.nodal.biased_sensitivity import BiasGradient, BiasSensitivity
from xbar_spice.engines.nodal.checks import LOADED, ReductionCheck, SenseCheck
from xbar_spice.engines.nodal.conjugate_gradients import Outcome
from xbar_spice.engines.nodal.grid import gridded, place
from xbar_spice.engines.nodal.laws import Laws
from xbar_spice.engines.nodal.newton import operating_point
from xbar_spice.engines.nodal.promise import balanced, for_each_current
from xbar_spice.engines.nodal.solver import LinearCircuit, require_convergence
from xbar_spice.errors import InvalidInputError
from xbar_spice.hardware.biases import Currents
from xbar_spice.hardware.crossbar import EDGE_SIDE, Crossbar, Edge, Side, other
from xbar_spice.hardware.reads import read_biases, read_ends, require_known_voltages
from xbar_spice.linear.operator import FloatArray
from xbar_spice.linear.threads import one_thread

__all__ = ["Change", "Sensitivity"]

RESISTANCES = ("r_word", "r_bit", "r_driver", "r_sense", "r_feedback")
FINITE = Array()


@final
@dataclass(frozen=True, eq=False)
class Change:
    """A change of an array's parameters, or the gradient with respect to them.

    Attributes:
        conductance: (rows, cols); siemens, or result per siemens.
        r_word: ohm more in each segment, or result per ohm; likewise the others.
        r_feedback: ohm of the amplifiers' feedback.
        gain: of the amplifiers.
    """

    conductance: FloatArray
    r_word: float = 0.0
    r_bit: float = 0.0
    r_driver: float = 0.0
    r_sense: float = 0.0
    r_feedback: float = 0.0
    gain: float = 0.0

    def __post_init__(self) -> None:
        settle(self, conductance=Array(), **dict.fromkeys(RESISTANCES, Real("ohm")), gain=Real())


@final
class Sensitivity:
    """The derivative of the sense currents of one batch of reads, at its operating point.

    Args:
        crossbar: the array, with cells of any law.
        drive: (ports,) or (ports, batch), volts at the driven side.
        side: the driven side.
        tolerance: relative error of the solves, and of each of the currents.

    Raises:
        InvalidInputError: a drive of another shape or not finite, or op-amps of the user's own.
        DeviceError: a law whose slope does not fit its current, or which gives no number where the circuit needs one.
        ConvergenceError: a solve did not converge.
    """

    @checked(tolerance=Real(above=0, below=1))
    @one_thread()
    def __init__(self, crossbar: Crossbar, drive: ArrayLike, side: Side = "rows", *, tolerance: float = 1e-10) -> None:
        volts = DRIVE("drive", drive)
        volts = volts[:, np.newaxis] if volts.ndim == 1 else volts
        if volts.ndim != 2 or volts.shape[0] != crossbar.ports(side):
            raise InvalidInputError(
                f"side={side!r} of this array takes finite drives of shape ({crossbar.ports(side)}, batch), "
                f"got {volts.shape}"
            )
        volts = crossbar.applied(volts, side)
        if crossbar.device.voltage_range is not None:
            require_known_voltages(crossbar, read_ends(crossbar, side, volts))
        self._crossbar = crossbar
        self._amplifier, self._share = crossbar.amplifier, crossbar.amplifier.returned_share
        self._side: Side = side
        self._tolerance = tolerance
        self._shape = (crossbar.ports(other(side)), volts.shape[1])
        self._biased: BiasSensitivity | None = None
        if not (gridded(crossbar, side) and crossbar.amplifier.linear):
            self._biased = BiasSensitivity(crossbar, read_biases(crossbar, volts, side), tolerance=tolerance)
            return
        self._grid, self._placement = place(crossbar, side)
        between_ends = self._placement.sign * self._placement.drive_to_grid(volts)
        self._between_ends, self._laws = between_ends, Laws()
        self._programmed = programmed = LinearCircuit(self._grid, tolerance=tolerance)
        if crossbar.device.linear and programmed.subtle:
            self._linearise(programmed.refined(between_ends))
            return
        self._linearise(self._state(each=False))
        unsure = self._circuit.subtle and not self._outcome.inside
        if unsure or not balanced(self._outcome, self._grid, tolerance):
            self._linearise(approach(self._grid, crossbar.device, between_ends, tolerance))

    def _state(self, *, each: bool) -> Outcome:
        grid, placement, device = self._grid, self._placement, self._crossbar.device
        drive, tolerance, circuit = self._between_ends, self._tolerance, self._programmed
        if device.linear:
            check = SenseCheck(grid, placement.sense_axis, tolerance, each=each)
            outcome = circuit.or_refined(circuit.solve(grid.conductance * drive, check), drive)
        else:
            outcome = operating_point(
                grid, placement, device, drive, tolerance, each=each, spectral=circuit.spectral, laws=self._laws
            )
        require_convergence(outcome)
        return outcome

    def _linearise(self, outcome: Outcome) -> None:
        require_convergence(outcome)
        self._outcome = outcome
        self._cells = outcome.currents + outcome.residual
        self._volts = outcome.volts(self._grid, self._between_ends)
        law, conductance = self._crossbar.device, self._grid.conductance
        with np.errstate(over="ignore", invalid="ignore"):  # of a state that will be refined before it is used
            self._small_signal = (
                self._grid
                if law.linear
                else replace(self._grid, conductance=law.differential_conductance(conductance, self._volts))
            )
            self._by_conductance = law.conductance_sensitivity(conductance, self._volts)
        self._circuit = self._programmed if law.linear else LinearCircuit(self._small_signal, tolerance=self._tolerance)

    @cached_property
    @one_thread()
    def currents(self) -> FloatArray:
        """(ports, batch) sense currents of the reads themselves, amperes, each to the tolerance."""
        if self._biased:
            return self._sensed(self._biased.currents)
        axis = self._placement.sense_axis
        outcome = for_each_current(
            self._outcome, self._small_signal, axis, self._tolerance, lambda: self._state(each=True)
        )
        return self._sum(outcome.currents + outcome.residual)

    @one_thread()
    def jvp(self, change: Change) -> FloatArray:
        """(ports, batch) amperes by which a small change moves the sense currents.

        Args:
            change: of the array's parameters, finite, with conductances of the shape of the array.

        Raises:
            InvalidInputError: a change of another shape, or that is not finite.
            ConvergenceError: the solve did not converge.
        """
        change = self._checked(change)
        if self._biased:
            names = self._crossbar.resistance_names(self._side)
            at_ends = {edge: getattr(change, names[EDGE_SIDE[edge]]) for edge in self._edges()}
            values = {name: getattr(change, name) for name in ("conductance", "r_word", "r_bit", "r_feedback", "gain")}
            return self._sensed(self._biased.jvp(**values, ohms=at_ends))
        source = self._by_conductance * self._placement.to_grid(change.conductance)
        for axis in (0, 1):
            segment, terminal = self._resistances(change, axis)
            if segment or terminal:
                dropped = self._dropped(axis, segment, terminal)
                source -= self._small_signal.conductance * dropped
        if self._circuit.subtle:
            outcome = self._circuit.refined(np.zeros((1, *self._grid.shape)), source)
        else:
            # What reaches a terminal is smaller than the source by the load of its line.
            wanted = self._tolerance / max(1.0, self._circuit.load / LOADED)
            outcome = self._circuit.solve(source, ReductionCheck(source, wanted))
        require_convergence(outcome)
        returned = change.gain / (1.0 + self._amplifier.gain) / self._amplifier.gain  # of A / (1 + A)
        moved = self._sum(outcome.currents + outcome.residual)
        return moved + returned * self._sum(self._cells) if change.gain and self._amplifier.present else moved

    @one_thread()
    def vjp(self, weights: ArrayLike) -> Change:
        """The gradient of sum(weights * currents) over all ports and reads.

        Args:
            weights: (ports,) or (ports, batch) of the sensed side, finite.

        Raises:
            InvalidInputError: weights of another shape, or that are not finite.
            ConvergenceError: the solve did not converge.
        """
        wanted = FINITE("weights", weights)
        wanted = wanted[:, np.newaxis] if wanted.ndim == 1 else wanted
        if wanted.shape != self._shape:
            raise InvalidInputError(f"weights must have the shape of the currents, {self._shape}, got {wanted.shape}")
        if self._biased:
            return self._of_edges(self._biased.vjp(**dict.fromkeys(self._crossbar.hookup(self._side).sensed, wanted)))
        adjoint, volts = self._adjoint(wanted)
        cells = (self._by_conductance * volts).sum(axis=0)
        by_line = [self._line_gradient(adjoint, axis) for axis in (0, 1)]
        found = self._named(self._placement.to_array(cells), by_line)
        if not self._amplifier.present:
            return found
        by_load = by_line[self._placement.sense_axis][1]  # R / (1 + A) at each end, and A / (1 + A) of the current
        whole = 1.0 + self._amplifier.gain
        by_gain = float((wanted * self._sum(self._cells)).sum()) / whole / self._amplifier.gain
        by_gain -= by_load * self._amplifier.r_feedback / whole**2
        return replace(found, r_feedback=by_load / whole, gain=by_gain)

    @one_thread()
    def conductance_gradients(self, weights: ArrayLike) -> FloatArray:
        """The gradients of weighted sums of the currents of linear cells, over all combinations of reads and ports.

        Each takes a product of matrices in place of a solve for every read. With the cell voltages V of the reads
        and those U of the adjoint array, 1 V at one sense terminal, dI_pr/dG = U_p V_r for every cell.

        Args:
            weights: (sums, ports of the sensed side, batch), finite.

        Returns:
            (sums, rows, cols) per siemens.

        Raises:
            InvalidInputError: cells that are not linear, for which every read has an adjoint array of its own, or
                weights of another shape or that are not finite.
        """
        if not self._crossbar.device.linear:
            raise InvalidInputError(
                f"one adjoint array for all reads takes linear cells, got {self._crossbar.device!r}; use vjp"
            )
        weights = FINITE("weights", weights)
        if weights.ndim != 3 or weights.shape[1:] != self._shape:
            raise InvalidInputError(
                f"weights must have the shape (sums, {self._shape[0]}, {self._shape[1]}), got {weights.shape}"
            )
        if self._biased:
            return np.stack([self.vjp(wanted).conductance for wanted in weights])
        ports = list(self._crossbar.connected(other(self._side)))  # others carry no current
        reads = self._by_conductance.reshape(len(self._cells), -1)
        terminals = self._terminals.reshape(len(ports), -1)
        sums = [np.einsum("pc,pc->c", weight[ports] @ reads, terminals) for weight in weights]
        return np.stack([self._placement.to_array(cells.reshape(self._grid.shape)) for cells in sums])

    @cached_property
    def _terminals(self) -> FloatArray:
        """(connected ports, n0, n1) cell voltages of the adjoint array, 1 V at one sense terminal after the other."""
        ports = list(self._crossbar.connected(other(self._side)))
        return self._adjoint(np.eye(self._shape[0])[:, ports])[1]

    def _adjoint(self, wanted: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Cell currents and voltages of the adjoint array: these volts at the sense terminals, the drivers at 0 V."""
        batch = wanted.shape[1]
        ordered = self._placement.sense_to_grid(self._placement.sign * self._share * wanted)
        if self._circuit.subtle:
            outcome = self._circuit.refined(ordered)
        else:
            source = self._small_signal.conductance * ordered
            source = np.broadcast_to(source, (batch, *self._grid.shape)).copy()
            check = SenseCheck(self._small_signal, 1 - self._placement.sense_axis, self._tolerance, each=False)
            outcome = self._circuit.solve(source, check)
        require_convergence(outcome)
        return outcome.currents + outcome.residual, outcome.volts(self._grid, ordered)

    def _checked(self, change: Change) -> Change:
        if not isinstance(change, Change):
            raise InvalidInputError(f"jvp takes a Change, got {change!r}; such as Change(conductance, r_word=0.1)")
        conductance = FINITE("conductance of a change", change.conductance)
        if conductance.shape != self._crossbar.shape:
            raise InvalidInputError(
                f"conductance of a change must have the shape of the array, {self._crossbar.shape}, "
                f"got {conductance.shape}"
            )
        if not self._amplifier.present and (change.r_feedback or change.gain):
            raise InvalidInputError("there is no amplifier whose r_feedback or gain could change; leave them out")
        return change

    def _edges(self) -> tuple[Edge, ...]:
        hookup = self._crossbar.hookup(self._side)
        return hookup.driven + hookup.sensed

    def _sensed(self, currents: Currents) -> FloatArray:
        """(ports, batch) amperes of the sensed ends, added up."""
        return np.asarray(sum(getattr(currents, edge) for edge in self._crossbar.hookup(self._side).sensed))

    def _of_edges(self, gradient: BiasGradient) -> Change:
        """The gradient with respect to the four resistances."""
        names, ends = self._crossbar.resistance_names(self._side), {"r_driver": 0.0, "r_sense": 0.0}
        for edge in self._edges():
            ends[names[EDGE_SIDE[edge]]] += float(gradient.ohms[edge].sum())
        word, bit = float(gradient.r_word.sum()), float(gradient.r_bit.sum())
        return Change(gradient.conductance, word, bit, **ends, r_feedback=gradient.r_feedback, gain=gradient.gain)

    def _sum(self, cells: FloatArray) -> FloatArray:
        sensed = cells.sum(axis=1 + self._placement.sense_axis)
        currents = self._placement.from_sense(self._placement.sign * self._share * sensed)
        if self._side == "cols":
            currents[list(self._crossbar.open_rows)] = 0.0  # but for rounding, it is
        return currents

    def _line_gradient(self, adjoint: FloatArray, axis: int) -> tuple[float, float]:
        """With respect to all segments and to all terminal resistances of the lines along `axis`."""
        one, other = (self._grid.through_currents(cells, axis) for cells in (self._cells, adjoint))
        ends = sum(float(np.vdot(one.take(end, axis + 1), other.take(end, axis + 1))) for end in (0, -1))
        return -float(np.vdot(one, other)), -ends

    def _dropped(self, axis: int, segment: float, terminal: float) -> FloatArray:
        """The drops dZ y in volts: what the nodes lose when every resistance grows while its current flows."""
        line, through = self._grid.lines[axis], np.moveaxis(self._grid.through_currents(self._cells, axis), axis + 1, 2)
        sources = segment * through
        sources[:, :, [0, -1]] = terminal * through[:, :, [0, -1]]
        total = np.cumsum(sources, axis=2)
        ends = total[:, :, -1:].copy()
        floating = self._grid.floating
        if floating and floating.axis == axis:
            ends[:, floating.places] = 0.0  # the far end of a floating line is at no fixed voltage
        return np.moveaxis(total[:, :, : line.cells] - line.far_share() * ends, 2, axis + 1)

    def _roles(self) -> tuple[str, str]:
        """The resistances in the terminals of the word lines and of the bit lines."""
        names = self._crossbar.resistance_names(self._side)
        return names["rows"], names["cols"]

    def _resistances(self, change: Change, axis: int) -> tuple[float, float]:
        """Change of each segment, and of each terminal (its segment included), of the lines along an axis."""
        is_word = (axis == 0) == self._placement.swapped
        segment = change.r_word if is_word else change.r_bit
        load = 0.0
        if axis == self._placement.sense_axis and self._amplifier.present:
            whole = 1.0 + self._amplifier.gain
            load = change.r_feedback / whole - change.gain * self._amplifier.r_feedback / whole**2
        return segment, segment + load + float(getattr(change, self._roles()[0 if is_word else 1]))

    def _named(self, conductance: FloatArray, by_line: list[tuple[float, float]]) -> Change:
        word, bit = by_line if self._placement.swapped else by_line[::-1]
        ends = dict(zip(self._roles(), (word[1], bit[1]), strict=True))
        return Change(conductance, word[0], bit[0], ends["r_driver"], ends["r_sense"])
