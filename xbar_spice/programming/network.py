"""An array under biases, solved again and again while its states move: Newton's method that starts where it ended.

The open-circuit voltages v0 of the cells follow from the terminals alone. Cells that carry I(v) move the nodes by w,
L w = -A^T I(v0 + A w), where L are the conductances of the lines and A takes nodes to cells. The factor of L + A^T g A
of the nodal engine (`Wiring`) serves for many such equations: it is made anew only where the iteration
with an old one falls behind.
"""

from __future__ import annotations

from dataclasses import replace
from typing import final

import numpy as np
from scipy.sparse.linalg import SuperLU

from xbar_spice.engines.nodal.biased import BiasedArray
from xbar_spice.engines.nodal.wiring import Wiring
from xbar_spice.hardware.biases import Biases, End, require_held, require_resistance
from xbar_spice.hardware.crossbar import Crossbar
from xbar_spice.linear.operator import FloatArray

__all__ = ["Network"]

TOLERANCE = 1e-11  # of the largest voltage, of a correction
SLOW = 0.05  # by which each correction should be smaller than the one before, or a new factor is made
ITERATIONS = 40


@final
class Network:
    """The wires and terminals of one array, whatever its cells are and whichever volts its terminals have.

    Args:
        crossbar: The array; its conductances say which cells are there.
        biases: Which ends have terminals, and their resistances.
    """

    def __init__(self, crossbar: Crossbar, biases: Biases) -> None:
        ends, there = biases.ends(crossbar), crossbar.conductance > 0
        require_resistance(crossbar, ends)
        require_held(ends, there)
        self._wiring = Wiring((crossbar.segments("rows"), crossbar.segments("cols")), ends, there)
        self._crossbar = crossbar
        self._factored: tuple[FloatArray, SuperLU | None] | None = None  # slopes of the cells, and the factor
        self._moved = np.zeros(crossbar.shape)  # from the open-circuit voltages, in the last solution

    def open_circuit(self, biases: Biases) -> FloatArray:
        """(rows, cols) volts that the terminals would put across cells that do not conduct."""
        ends = biases.ends(self._crossbar)
        word = _levels(self._wiring.word.ohms, ends["left"], ends["right"])
        return word - _levels(self._wiring.bit.ohms, ends["top"], ends["bottom"]).T

    def solve(self, conductance: FloatArray, biases: Biases, source: FloatArray) -> FloatArray:
        """(rows, cols) volts across the cells.

        Args:
            conductance: (rows, cols) siemens.
            biases: Connected as those of the network.
            source: The open-circuit voltages under them.

        Raises:
            ConvergenceError: No state was found.
        """
        volts = self._near(conductance, source)
        if volts is None:  # from 0 V on, as a read is solved
            crossbar = replace(self._crossbar, conductance=conductance)
            (state,) = BiasedArray(crossbar, biases.ends(crossbar)).solve()
            volts = state.volts.rounded()[0]
        self._moved = volts - source
        return volts

    def _near(self, conductance: FloatArray, source: FloatArray) -> FloatArray | None:
        """The same from the last solution on; None if that does not lead to one."""
        law, enough = self._crossbar.device, TOLERANCE * float(np.abs(source).max())
        volts, before, stale = source + self._moved, np.inf, False
        for _ in range(ITERATIONS):
            with np.errstate(all="ignore"):
                current = law.current(conductance, volts)
                slopes = law.differential_conductance(conductance, volts)
            if not (np.isfinite(current).all() and np.isfinite(slopes).all()):
                return None
            if self._factored is None or stale:
                self._factored = slopes, self._wiring.factor(slopes)
            slopes, factor = self._factored
            aim = source + self._wiring.answer(factor, current - slopes * (volts - source))
            moved = float(np.abs(aim - volts).max())
            if not np.isfinite(moved):
                return None
            volts, stale, last, before = aim, moved > SLOW * before, before, moved
            if moved <= enough or moved**2 <= enough * last:  # the next one is as much smaller as this one was
                return volts
        return None


def _levels(ohms: FloatArray, near: End, far: End) -> FloatArray:
    """(lines, cells) volts of lines from which nothing is drawn; 0 V where there is no terminal."""
    before = np.cumsum(ohms[:, :-1], axis=1)
    total = ohms.sum(axis=1, keepdims=True)
    part = np.where(near.connected & far.connected, 1.0, 0.0)[:, np.newaxis] * before / np.where(total > 0, total, 1.0)
    start = np.where(near.connected, near.volts[:, 0], far.volts[:, 0])[:, np.newaxis]
    return np.asarray(start + part * (far.volts - start))
