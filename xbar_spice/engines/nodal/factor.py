"""The exact preconditioner: a sparse factor of Kirchhoff's equations, for arrays that the spectral one does not fit.

Unknowns are the voltages of the line nodes. A line that touches its terminal without resistance is at 0 V there, and
a line without wire resistance is one node.
"""

from __future__ import annotations

from typing import final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.linalg import SuperLU, splu

from xbar_spice.engines.nodal.grid import Grid, RealArray
from xbar_spice.engines.nodal.line import Line
from xbar_spice.linear import FloatArray

__all__ = ["FactorPreconditioner"]

IntArray = NDArray[np.int64]
Branches = list[tuple[IntArray, IntArray, FloatArray]]

GROUND = -1


@final
class FactorPreconditioner:
    """Solves (1/Z + G) e = r by sparse LU.

    Attributes:
        conductance: G itself, siemens.
    """

    def __init__(self, grid: Grid) -> None:
        self.conductance: RealArray = grid.conductance
        along_0, grounds_0 = _nodes(grid.lines[0])
        along_1, grounds_1 = _nodes(grid.lines[1])
        n0, n1 = grid.shape
        count_0 = int(along_0.max()) + 1
        self._upper = _spread(along_0, n1).T
        self._lower = _spread(along_1, n0)
        self._lower = np.where(self._lower == GROUND, GROUND, self._lower + count_0 * n1)
        self._count = max(int(self._upper.max()), int(self._lower.max())) + 1
        wires = [
            *_wires(grid.lines[0], self._upper.T, grounds_0),
            *_wires(grid.lines[1], self._lower, grounds_1),
        ]
        self._factors = [self._factorise(cells, wires) for cells in grid.conductances()]

    def __call__(self, residual: RealArray) -> RealArray:
        """Voltages e for a residual in amperes, both (batch, n0, n1)."""
        volts = np.zeros_like(residual)
        for index, amperes in enumerate(residual):
            factor = self._factors[index if len(self._factors) > 1 else 0]
            if factor is None:
                continue
            nodes = np.zeros(self._count + 1)  # the last one is the ground
            np.add.at(nodes, self._upper, amperes)
            np.add.at(nodes, self._lower, -amperes)
            nodes[:-1] = factor.solve(nodes[:-1])
            nodes[GROUND] = 0.0
            volts[index] = nodes[self._upper] - nodes[self._lower]
        return volts

    def _factorise(self, cells: FloatArray, wires: Branches) -> SuperLU | None:
        if not self._count:
            return None
        branches = [(self._upper.ravel(), self._lower.ravel(), cells.ravel()), *wires]
        first, second, siemens = (np.concatenate(parts) for parts in zip(*branches, strict=True))
        rows = np.concatenate([first, second, first, second])
        cols = np.concatenate([first, second, second, first])
        entries = np.concatenate([siemens, siemens, -siemens, -siemens])
        inner = (rows != GROUND) & (cols != GROUND)
        matrix = coo_array((entries[inner], (rows[inner], cols[inner])), shape=(self._count, self._count))
        # Symmetric positive definite: diagonal pivots are stable, and keep the fill low.
        return splu(matrix.tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})


def _nodes(line: Line) -> tuple[IntArray, bool]:
    """(cells,) node numbers along one line, and whether its first node is the terminal itself."""
    grounded = line.terminal == 0
    numbers = np.arange(line.cells) if line.segment > 0 else np.zeros(line.cells, dtype=np.int64)
    return (np.full(line.cells, GROUND) if grounded else numbers), grounded


def _spread(numbers: IntArray, lines: int) -> IntArray:
    """(lines, cells) node numbers of many lines."""
    per_line = int(numbers.max()) + 1
    return np.where(numbers == GROUND, GROUND, numbers + per_line * np.arange(lines)[:, np.newaxis])


def _wires(line: Line, nodes: IntArray, grounded: bool) -> Branches:
    if grounded:
        return []
    ends = [nodes[:, 0], nodes[:, -1]] if line.double else [nodes[:, 0]]
    branches = [(end, np.full_like(end, GROUND), np.full(end.size, 1.0 / line.terminal)) for end in ends]
    if line.segment > 0:
        first, second = nodes[:, :-1].ravel(), nodes[:, 1:].ravel()
        branches.append((first, second, np.full(first.size, 1.0 / line.segment)))
    return branches
