"""How the sense currents of a read change with the conductances and resistances of the array.

With y the currents of the cells, g their differential conductances and D their voltages, a change obeys

    (1 + g Z) dy = (dI/dG) dG - g (dZ y),    dI_j = the sum of dy over the cells of line j.

One solve gives the product with a change, and one solve of the transposed (adjoint) array the gradient of a weighted
sum of all currents: the adjoint cell voltage times dI/dG, and for a resistance minus the product of the
two currents through it. No derivative is ever stored for pairs of ports and cells.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

import numpy as np
from numpy.typing import ArrayLike

from xbar_spice.engines.nodal.checks import ReductionCheck, SenseCheck
from xbar_spice.engines.nodal.conjugate_gradients import Check, Outcome
from xbar_spice.engines.nodal.grid import place
from xbar_spice.engines.nodal.newton import operating_point
from xbar_spice.engines.nodal.solver import LinearCircuit, require_convergence
from xbar_spice.errors import InvalidInputError
from xbar_spice.hardware.crossbar import Crossbar, Side
from xbar_spice.linear.operator import FloatArray

__all__ = ["Change", "Sensitivity"]


@final
@dataclass(frozen=True, eq=False)
class Change:
    """A change of an array's parameters, or the gradient with respect to them.

    Attributes:
        conductance: (rows, cols); siemens, or result per siemens.
        r_word: ohm, or result per ohm; likewise the others.
    """

    conductance: FloatArray
    r_word: float = 0.0
    r_bit: float = 0.0
    r_driver: float = 0.0
    r_sense: float = 0.0


@final
class Sensitivity:
    """The derivative of the sense currents of one batch of reads, at its operating point.

    Args:
        crossbar: the array, with cells of any law.
        drive: (ports,) or (ports, batch), volts at the driven side.
        side: the driven side.
        tolerance: relative error of the solves.

    Raises:
        InvalidInputError: a drive of another shape or not finite, or amplifiers that saturate.
        ConvergenceError: a solve did not converge.
    """

    def __init__(self, crossbar: Crossbar, drive: ArrayLike, side: Side = "rows", *, tolerance: float = 1e-10) -> None:
        volts = np.asarray(drive, dtype=float)
        volts = volts[:, np.newaxis] if volts.ndim == 1 else volts
        if volts.ndim != 2 or volts.shape[0] != crossbar.ports(side) or not np.isfinite(volts).all():
            raise InvalidInputError(
                f"side={side!r} of this array takes finite drives of shape ({crossbar.ports(side)}, batch), "
                f"got {volts.shape}"
            )
        if not crossbar.amplifier.linear:
            raise InvalidInputError(
                f"sensitivities are those of linear amplifiers, got {crossbar.amplifier!r}; leave its saturation out"
            )
        volts = crossbar.applied(volts, side)
        self._crossbar = crossbar
        self._share = crossbar.amplifier.returned_share
        self._side: Side = side
        self._tolerance = tolerance
        self._grid, self._placement = place(crossbar, side)
        between_ends = self._placement.sign * self._placement.drive_to_grid(volts)
        outcome = operating_point(self._grid, self._placement, crossbar.device, between_ends, tolerance, each=False)
        require_convergence(outcome)
        self._cells = outcome.currents + outcome.residual
        self._volts = self._grid.volts(between_ends, self._cells, outcome.levels)
        law, conductance = crossbar.device, self._grid.conductance
        self._small_signal = (
            self._grid
            if law.linear
            else replace(self._grid, conductance=law.differential_conductance(conductance, self._volts))
        )
        self._by_conductance = law.conductance_sensitivity(conductance, self._volts)
        self._circuit = LinearCircuit(self._small_signal, tolerance=tolerance)

    @property
    def currents(self) -> FloatArray:
        """(ports, batch) sense currents of the reads themselves, amperes."""
        return self._sum(self._cells)

    def jvp(self, change: Change) -> FloatArray:
        """(ports, batch) amperes by which a small change moves the sense currents."""
        source = self._by_conductance * self._placement.to_grid(np.asarray(change.conductance, dtype=float))
        for axis in (0, 1):
            segment, terminal = self._resistances(change, axis)
            if segment or terminal:
                dropped = self._dropped(axis, segment, terminal)
                source -= self._small_signal.conductance * dropped
        outcome = self._solve(source, ReductionCheck(source, self._tolerance))
        return self._sum(outcome.currents + outcome.residual)

    def vjp(self, weights: ArrayLike) -> Change:
        """The gradient of sum(weights * currents) over all ports and reads.

        Args:
            weights: (ports,) or (ports, batch) of the sensed side.
        """
        wanted = np.asarray(weights, dtype=float)
        wanted = wanted[:, np.newaxis] if wanted.ndim == 1 else wanted
        if wanted.shape != self.currents.shape:
            raise InvalidInputError(
                f"weights must have the shape of the currents, {self.currents.shape}, got {wanted.shape}"
            )
        adjoint, volts = self._adjoint(wanted)
        cells = (self._by_conductance * volts).sum(axis=0)
        by_line = [self._line_gradient(adjoint, axis) for axis in (0, 1)]
        return self._named(self._placement.to_array(cells), by_line)

    def conductance_gradients(self, weights: FloatArray) -> FloatArray:
        """The gradients of weighted sums of the currents of linear cells, over all combinations of reads and ports.

        Each takes a product of matrices in place of a solve for every read. With the cell voltages V of the reads
        and those U of the adjoint array, 1 V at one sense terminal, dI_pr/dG = U_p V_r for every cell.

        Args:
            weights: (sums, ports of the sensed side, batch).

        Returns:
            (sums, rows, cols) per siemens.

        Raises:
            InvalidInputError: cells that are not linear: every read has an adjoint array of its own.
        """
        if not self._crossbar.device.linear:
            raise InvalidInputError(
                f"one adjoint array for all reads takes linear cells, got {self._crossbar.device!r}; use vjp"
            )
        ports = list(self._crossbar.connected("cols" if self._side == "rows" else "rows"))  # others carry no current
        reads = self._by_conductance.reshape(len(self._cells), -1)
        terminals = self._adjoint(np.eye(weights.shape[1])[:, ports])[1].reshape(len(ports), -1)
        sums = [np.einsum("pc,pc->c", weight[ports] @ reads, terminals) for weight in weights]
        return np.stack([self._placement.to_array(cells.reshape(self._grid.shape)) for cells in sums])

    def _adjoint(self, wanted: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Cell currents and voltages of the adjoint array: these volts at the sense terminals, the drivers at 0 V."""
        batch = wanted.shape[1]
        ordered = self._placement.sense_to_grid(self._placement.sign * self._share * wanted)
        source = self._small_signal.conductance * ordered
        source = np.broadcast_to(source, (batch, *self._grid.shape)).copy()
        check = SenseCheck(self._small_signal, 1 - self._placement.sense_axis, self._tolerance, each=False)
        outcome = self._solve(source, check)
        currents = outcome.currents + outcome.residual
        return currents, self._grid.volts(ordered, currents, outcome.levels)

    def _solve(self, source: FloatArray, check: Check) -> Outcome:
        outcome = self._circuit.solve(source, check)
        require_convergence(outcome)
        return outcome

    def _sum(self, cells: FloatArray) -> FloatArray:
        sensed = cells.sum(axis=1 + self._placement.sense_axis)
        return self._placement.from_sense(self._placement.sign * self._share * sensed)

    def _line_gradient(self, adjoint: FloatArray, axis: int) -> tuple[float, float]:
        """With respect to all segments and to all terminal resistances of the lines along `axis`."""
        product = self._grid.through_currents(self._cells, axis) * self._grid.through_currents(adjoint, axis)
        ends = np.take(product, [0, -1], axis=axis + 1).sum()
        return -float(product.sum()), -float(ends)

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
        swapped = self._side == "cols" and self._crossbar.terminations.transposed != "same_ends"
        return ("r_sense", "r_driver") if swapped else ("r_driver", "r_sense")

    def _resistances(self, change: Change, axis: int) -> tuple[float, float]:
        """Change of each segment, and of each terminal (its segment included), of the lines along an axis."""
        is_word = (axis == 0) == self._placement.swapped
        segment = change.r_word if is_word else change.r_bit
        return segment, segment + float(getattr(change, self._roles()[0 if is_word else 1]))

    def _named(self, conductance: FloatArray, by_line: list[tuple[float, float]]) -> Change:
        word, bit = by_line if self._placement.swapped else by_line[::-1]
        ends = dict(zip(self._roles(), (word[1], bit[1]), strict=True))
        return Change(conductance, word[0], bit[0], ends["r_driver"], ends["r_sense"])
