"""Reads of arrays without a grid: wires that differ, or terminals at both ends of all lines.

Each vector is solved as the biases that it is, by a sparse factor that both directions of one circuit share. Where
cells and amplifiers are linear, the transfer matrix takes over once the vectors before it have cost as much.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import final

import numpy as np

from xbar_spice.engines.nodal.biased import BiasedArray
from xbar_spice.engines.nodal.laws import Laws
from xbar_spice.engines.nodal.solver import Method
from xbar_spice.hardware.biases import Currents
from xbar_spice.hardware.crossbar import Crossbar, Side
from xbar_spice.hardware.reads import circuit_of, read_ends
from xbar_spice.linear.operator import FloatArray

__all__ = ["GridlessReads"]


@final
class GridlessReads:
    """The reads of one array.

    Args:
        crossbar: the array.
        method: as `NodalEngine` takes it.
        tolerance: of sense currents.
        laws: what a session knows of its devices.
    """

    def __init__(self, crossbar: Crossbar, method: Method, tolerance: float, laws: Laws) -> None:
        self._crossbar, self._method, self._tolerance, self._laws = crossbar, method, tolerance, laws
        self._arrays: dict[Hashable, BiasedArray] = {}
        self._solved: dict[Side, int] = {"rows": 0, "cols": 0}
        self._transfers: dict[Side, FloatArray] = {}

    def read(self, volts: FloatArray, side: Side) -> FloatArray:
        """(ports, batch) amperes for (ports, batch) volts at the driven side."""
        vectors, ports = volts.shape[1], self._crossbar.ports(side)
        wanted = self._method == "direct" or (self._method == "auto" and self._solved[side] + vectors >= 2 * ports)
        if side not in self._transfers and self._crossbar.linear and wanted:
            self._transfers[side] = self._solve(np.eye(ports), side)
        if side in self._transfers:
            return self._transfers[side] @ self._crossbar.applied(volts, side)
        self._solved[side] += vectors
        return self._solve(volts, side)

    def transfer(self, side: Side) -> FloatArray | None:
        """(rows, cols) siemens if it has been found."""
        found = self._transfers.get(side)
        return found if found is None or side == "cols" else found.T

    def _solve(self, volts: FloatArray, side: Side) -> FloatArray:
        ends = read_ends(self._crossbar, side, volts)
        key = circuit_of(ends)
        if key not in self._arrays:
            self._arrays[key] = BiasedArray(self._crossbar, ends, self._tolerance, laws=self._laws, loose=True)
        currents = Currents.of_ends(ends, self._arrays[key].currents(ends), volts.shape[1])
        return np.asarray(sum(getattr(currents, edge) for edge in self._crossbar.hookup(side).sensed))
