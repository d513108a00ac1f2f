"""Levels of floating lines without resistance: where their cells carry nothing in sum, by Newton's method."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import numpy as np

from xbar_spice.errors import ConvergenceError
from xbar_spice.hardware.biases import BoolArray, End, require_held
from xbar_spice.hardware.crossbar import Crossbar, Edge
from xbar_spice.hardware.gate_lines import GateLines
from xbar_spice.linear.operator import FloatArray

__all__ = ["CellsBetweenLines", "let_float"]

ITERATIONS = 200
HALVINGS = 60
STEADY = 1e-15  # of the largest level: a step below is rounding
CONDUCTS = 1e-12  # of the programmed conductances: slopes below hold a line nowhere


@final
class CellsBetweenLines:
    """The cells of an array whose lines are one node each.

    Args:
        crossbar: the array.
        gates: (rows,) volts of its gate lines, if there are any.
    """

    def __init__(self, crossbar: Crossbar, gates: FloatArray | None) -> None:
        self.conductance, self.device = crossbar.conductance, crossbar.device
        self._gates = None if gates is None else GateLines.beside(crossbar.device, gates)

    def at(self, word: FloatArray, bit: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Amperes and their slopes by word line and by bit line (with its sign turned), all (rows, cols, batch).

        Args:
            word: (rows, batch) volts.
            bit: (cols, batch) volts.
        """
        across = word.T[:, :, np.newaxis] - bit.T[:, np.newaxis]
        with np.errstate(over="ignore", invalid="ignore"):
            if self._gates:
                levels = np.broadcast_to(bit.T[:, np.newaxis], across.shape)
                by_word, rest = self._gates.slopes(self.conductance, across, levels)
                found = self._gates.current(self.conductance, across, levels), by_word, by_word - rest
            else:
                slope = self.device.differential_conductance(self.conductance, across)
                found = self.device.current(self.conductance, across), slope, slope
        flows, by_word, by_bit = (np.moveaxis(values, 0, 2) for values in found)
        return flows, by_word, by_bit


def let_float(cells: CellsBetweenLines, ends: Mapping[Edge, End], word: FloatArray, bit: FloatArray) -> None:
    """Put the levels at which floating lines carry nothing in the place of NaN, in (lines, batch) of both sides.

    Raises:
        SingularCircuitError: cells that conduct nowhere leave a line without a level.
        ConvergenceError: Newton's method did not find the levels.
    """
    free = np.isnan(np.concatenate([word, bit])).any(axis=1)
    if not free.any():
        return
    rows = word.shape[0]
    for vector in range(word.shape[1]):
        levels = np.concatenate([word[:, vector], bit[:, vector]])
        _solve_linear(cells.conductance, levels, free)
        if not cells.device.linear:
            _settle(cells, ends, levels, free)
        word[:, vector], bit[:, vector] = levels[:rows], levels[rows:]


def _solve_linear(conductance: FloatArray, levels: FloatArray, free: BoolArray) -> None:
    """The levels between ohmic cells."""
    rows = conductance.shape[0]
    laplacian = np.zeros((levels.size, levels.size))
    laplacian[:rows, rows:] = -conductance
    laplacian += laplacian.T
    np.fill_diagonal(laplacian, -laplacian.sum(axis=1))
    levels[free] = np.linalg.solve(laplacian[free][:, free], -laplacian[free][:, ~free] @ levels[~free])


def _settle(cells: CellsBetweenLines, ends: Mapping[Edge, End], levels: FloatArray, free: BoolArray) -> None:
    """The levels between cells of any law whose current rises with the voltage, from a guess."""
    rows = cells.conductance.shape[0]

    def missed(at: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        flows, by_word, by_bit = (x[:, :, 0] for x in cells.at(at[:rows, np.newaxis], at[rows:, np.newaxis]))
        return np.concatenate([flows.sum(axis=1), -flows.sum(axis=0)])[free], by_word, by_bit

    residual, by_word, by_bit = missed(levels)
    for _ in range(ITERATIONS):
        require_held(ends, np.abs(by_word) > CONDUCTS * cells.conductance, " that conduct at these voltages")
        matrix = np.block([[np.diag(by_word.sum(axis=1)), -by_bit], [-by_word.T, np.diag(by_bit.sum(axis=0))]])
        step = np.linalg.solve(matrix[free][:, free], -residual)
        size, length = float(np.abs(residual).max()), 1.0
        for _ in range(HALVINGS):
            tried = levels.copy()
            tried[free] += length * step
            after = missed(tried)
            if float(np.abs(after[0]).max()) < size:
                break
            length *= 0.5
        else:
            return  # no step makes it smaller: what is left is rounding
        levels[:], (residual, by_word, by_bit) = tried, after
        if np.abs(step).max() <= STEADY * max(1.0, np.abs(levels).max()):
            return
    raise ConvergenceError(
        f"the levels of floating lines did not settle with {cells.device!r} cells; lower the voltages"
    )
