"""The exact preconditioner: a sparse factor of Kirchhoff's equations, for arrays that the spectral one does not fit.

Slopes below zero are taken as they are. Where the equations have no unique solution, as with a line whose cells do not
conduct, a conductance to 0 V far below all others settles it; whoever asks sees by the residual whether that was right.

Unknowns are the voltages of the line nodes. A line that touches its terminal without resistance is at 0 V there, a line
without wire resistance is one node, and a floating line lacks the branches to its terminals.
"""

from __future__ import annotations

from typing import final

import numpy as np
from scipy.sparse import coo_array, csc_array, eye_array
from scipy.sparse.linalg import SuperLU, splu

from xbar_spice.engines.nodal.grid import BoolArray, Grid, IntArray, RealArray
from xbar_spice.engines.nodal.line import Line
from xbar_spice.linear.operator import FloatArray

__all__ = ["FACTOR_CELLS", "GROUND", "Branches", "FactorPreconditioner", "factorise"]

Branches = list[tuple[IntArray, IntArray, FloatArray]]

FACTOR_CELLS = 400_000  # above, a sparse factor takes more memory than a workstation has
GROUND = -1
SHIFT = 1e-13  # of the largest conductance


@final
class FactorPreconditioner:
    """Solves (1/Z + G) e = r by sparse LU.

    Attributes:
        conductance: G itself, siemens.
    """

    def __init__(self, grid: Grid) -> None:
        self.conductance: RealArray = grid.conductance
        connected = [_connected(grid, axis) for axis in (0, 1)]
        upper = _nodes(grid.lines[0], connected[0])
        lower = _nodes(grid.lines[1], connected[1])
        count = int(upper.max()) + 1
        self._lower = np.where(lower == GROUND, GROUND, lower + count)
        self._upper = upper.T
        self._count = max(count, int(self._lower.max()) + 1)
        wires = [
            *_wires(grid.lines[0], upper, connected[0]),
            *_wires(grid.lines[1], self._lower, connected[1]),
        ]
        self._factors = [self._factorise(cells, wires) for cells in grid.conductances()]

    def __call__(self, residual: RealArray) -> tuple[RealArray, RealArray]:
        return self.solve(residual), residual

    def solve(self, residual: RealArray) -> RealArray:
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
        return factorise([(self._upper.ravel(), self._lower.ravel(), cells.ravel()), *wires], self._count)

    def falling(self) -> bool:
        """Whether the equations are not positive definite: a state from which a circuit would run away."""
        return any(bool((factor.U.diagonal() <= 0).any()) for factor in self._factors if factor is not None)


def factorise(
    branches: Branches, count: int, controlled: tuple[IntArray, IntArray, FloatArray] | None = None
) -> SuperLU | None:
    """The factor of the equations of `count` nodes with conductances between them and `GROUND`; None without nodes.

    Args:
        branches: first and second nodes, and siemens between them.
        count: of the nodes.
        controlled: first and second nodes, and siemens by which the voltage of the second sends a current from the
            first to the second.
    """
    if not count:
        return None
    first, second, siemens = (np.concatenate(parts) for parts in zip(*branches, strict=True))
    rows = np.concatenate([first, second, first, second])
    cols = np.concatenate([first, second, second, first])
    entries = np.concatenate([siemens, siemens, -siemens, -siemens])
    if controlled is not None:
        first, second, siemens = controlled
        rows, cols = np.concatenate([rows, first, second]), np.concatenate([cols, second, second])
        entries = np.concatenate([entries, siemens, -siemens])
    inner = (rows != GROUND) & (cols != GROUND)
    matrix = coo_array((entries[inner], (rows[inner], cols[inner])), shape=(count, count))
    factor = _factor if controlled is None else splu
    try:
        return factor(matrix.tocsc())
    except RuntimeError:  # how SuperLU says that a pivot is exactly zero
        largest = float(np.abs(matrix.data).max(initial=0.0)) or 1.0
        return factor((matrix + SHIFT * largest * eye_array(count)).tocsc())


def _factor(matrix: csc_array) -> SuperLU:
    # Symmetric, and positive definite where no slope is negative: diagonal pivots keep the fill low.
    return splu(matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})


def _connected(grid: Grid, axis: int) -> BoolArray:
    """(lines,) whether each line along an axis has terminals."""
    connected = np.ones(grid.shape[1 - axis], dtype=bool)
    if grid.floating and grid.floating.axis == axis:
        connected[grid.floating.places] = False
    return connected


def _nodes(line: Line, connected: BoolArray) -> IntArray:
    """(lines, cells) node numbers; those of lines that are the ground are `GROUND`."""
    per_line = line.cells if line.segment > 0 else 1
    has_nodes = ~connected | (line.terminal > 0)
    first = np.where(has_nodes, per_line * (np.cumsum(has_nodes) - 1), GROUND)[:, np.newaxis]
    along = np.arange(line.cells) if line.segment > 0 else np.zeros(line.cells, dtype=np.int64)
    return np.where(first == GROUND, GROUND, first + along)


def _wires(line: Line, nodes: IntArray, connected: BoolArray) -> Branches:
    branches: Branches = []
    if line.terminal > 0:
        near, far = nodes[connected, 0], nodes[connected, -1]
        ends = [near, far] if line.double else [near]
        branches += [(end, np.full_like(end, GROUND), np.full(end.size, 1.0 / line.terminal)) for end in ends]
    if line.segment > 0:
        first, second = nodes[:, :-1].ravel(), nodes[:, 1:].ravel()
        branches.append((first, second, np.full(first.size, 1.0 / line.segment)))
    return branches
