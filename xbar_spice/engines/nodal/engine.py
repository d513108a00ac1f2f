"""The nodal engine: the exact solution of the array's resistor network by sparse LU.

An array's transfer matrix K (driven ports x sensed ports, siemens) is found once with one factorisation and one
right-hand side for each driven port; a read is then the product with K, exactly as the linear network answers it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np
from scipy.sparse.linalg import SuperLU, splu

from xbar_spice.array import Crossbar, Hookup, Side
from xbar_spice.engines.base import Bank, Engine
from xbar_spice.engines.nodal.network import Network, build_network
from xbar_spice.errors import DeviceError
from xbar_spice.linear import FloatArray

__all__ = ["NodalBank", "NodalEngine", "cell_voltages"]


@final
class NodalEngine(Engine):
    """Exact network solution in NumPy and SciPy."""

    name = "nodal"

    def program_bank(self, crossbars: Sequence[Crossbar]) -> Bank:
        return NodalBank(crossbars)


@final
class NodalBank(Bank):
    """Arrays with their transfer matrices, each computed at the first read that needs it."""

    def __init__(self, crossbars: Sequence[Crossbar]) -> None:
        super().__init__(crossbars)
        for crossbar in self.crossbars:
            _require_linear(crossbar)
        self._transfers: list[dict[frozenset[object], FloatArray]] = [{} for _ in self.crossbars]

    def _read(self, drives: Sequence[FloatArray], side: Side) -> list[FloatArray]:
        return [self._transfer(index, side).T @ volts for index, volts in enumerate(drives)]

    def _transfer(self, index: int, side: Side) -> FloatArray:
        """K of shape (driven ports, sensed ports); reciprocity gives both directions of one circuit at once."""
        crossbar = self.crossbars[index]
        known = self._transfers[index]
        hookup = crossbar.hookup(side)
        key: frozenset[object] = frozenset([("side", side), *hookup.connections])
        if key not in known:
            known[key] = _transfer_matrix(crossbar, hookup, side)
            other: Side = "cols" if side == "rows" else "rows"
            if crossbar.hookup(other).connections == hookup.connections:
                known[frozenset([("side", other), *hookup.connections])] = known[key].T
        return known[key]


def cell_voltages(crossbar: Crossbar, drive: FloatArray, side: Side = "rows") -> FloatArray:
    """Voltage across every cell in a read, word line minus bit line.

    Args:
        crossbar: the array; linear cells.
        drive: (ports,) volts at the driven side.
        side: the driven side.

    Returns:
        (rows, cols) volts.
    """
    _require_linear(crossbar)
    solver = _NetworkSolver(crossbar, crossbar.hookup(side))
    nodes = solver.node_voltages(np.asarray(drive, dtype=float)[:, np.newaxis])[:, 0]
    return nodes[solver.network.word] - nodes[solver.network.bit]


def _transfer_matrix(crossbar: Crossbar, hookup: Hookup, side: Side) -> FloatArray:
    solver = _NetworkSolver(crossbar, hookup)
    network = solver.network
    nodes = solver.node_voltages(np.eye(crossbar.ports(side)))
    # All current of a sensed line comes through its cells. Adding up the cells, rather than dividing the last
    # voltage drop by the wire's resistance, loses no digits when the wire is nearly ideal.
    transfer = np.empty((crossbar.ports(side), crossbar.shape[1] if side == "rows" else crossbar.shape[0]))
    sign, axis = (1.0, 0) if side == "rows" else (-1.0, 1)
    for port in range(nodes.shape[1]):
        cells = crossbar.conductance * (nodes[network.word, port] - nodes[network.bit, port])
        transfer[port] = sign * cells.sum(axis=axis)
    return transfer


@final
class _NetworkSolver:
    """Factorises the network of one hookup once and solves it for any drive."""

    def __init__(self, crossbar: Crossbar, hookup: Hookup) -> None:
        self._hookup = hookup
        self.network: Network = build_network(crossbar, hookup)
        rows = self.network.laplacian[self.network.free, :]
        self._factor: SuperLU | None = None
        if self.network.free.size:
            # The matrix is symmetric positive definite: diagonal pivots are stable, and keep the fill low.
            self._factor = splu(
                rows[:, self.network.free].tocsc(),
                permc_spec="MMD_AT_PLUS_A",
                diag_pivot_thresh=0.0,
                options={"SymmetricMode": True},
            )
        self._from_known = rows

    def node_voltages(self, drives: FloatArray) -> FloatArray:
        """(nodes, batch) volts for (ports, batch) volts at the driven terminals and 0 V at the sensed ones."""
        network = self.network
        nodes = np.zeros((network.laplacian.shape[0], drives.shape[1]))
        for connection in self._hookup.driven:
            nodes[network.terminals[connection]] = drives
        if self._factor is not None:
            nodes[network.free] = self._factor.solve(-(self._from_known @ nodes))
        return nodes


def _require_linear(crossbar: Crossbar) -> None:
    if not crossbar.device.linear:
        raise DeviceError(
            f"the nodal engine solves linear cells, got {crossbar.device!r}; use Ohmic() cells or engine 'ngspice'"
        )
