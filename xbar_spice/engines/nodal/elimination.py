"""The transfer matrix of short arrays: lines are eliminated one after the other, with dense blocks.

The array is cut between two rungs; a rung is one line along axis 1 and its cells. What lies on the far side of the cut
is, seen from the n lines that cross it, an n x n admittance Y and a transfer W from the rungs' terminals to short
circuit currents. Adding a rung adds its own admittance; crossing a wire segment of resistance r turns Y into
(1 + r Y)^-1 Y and W into (1 + r Y)^-1 W. The last W is the answer. With N rungs this costs about 2 N n^3 operations,
all of them in dense matrix products and Cholesky factors.

Y has non-positive entries off its diagonal, and its row sums are what W makes of equal voltages at all terminals
(then no current flows). Keeping these two instead of the diagonal avoids every subtraction, so that each entry of the
result is accurate in itself, over any range of conductances (Grassmann, Taksar and Heyman, Oper. Res. 33, 1107, 1985).
"""

from __future__ import annotations

from typing import final

import numpy as np
from scipy.linalg import solve_triangular
from scipy.linalg.blas import dsymv
from scipy.linalg.lapack import dpotrf, dpotri

from xbar_spice.engines.nodal.grid import Grid
from xbar_spice.engines.nodal.line import Line
from xbar_spice.linear.operator import FloatArray

__all__ = ["STACKED_TO", "transfer_matrices", "transfer_matrix"]

STACKED_TO = 64  # cells on a rung up to which many arrays at once are found faster than one after the other

DOMINATED = 1e4  # ratio of couplings to row sums from which a diagonal made of both loses too many digits of the sums


def transfer_matrix(grid: Grid) -> FloatArray:
    """Short-circuit currents of the lines along axis 0 for 1 V at each line along axis 1.

    Args:
        grid: linear cells; the lines along axis 0 have one terminal.

    Returns:
        (n0, n1), siemens, all >= 0.
    """
    n0, n1 = grid.shape
    front = grid.lines[0]
    rungs = _Rungs(grid.conductance, grid.lines[1])
    coupling = np.zeros((n1, n1))  # -Y; the lower triangle without the diagonal counts, the rest is spoilt
    transfer = rungs.leak.T.copy()  # column by column, each right from the rung where it begins
    leak = np.zeros(n1)  # row sums of Y
    for index in range(n0 - 1, -1, -1):
        coupling += rungs.coupling(index)
        leak += rungs.leak[index]
        resistance = front.segment if index else front.terminal
        if resistance > 0:
            crossing = _crossing(coupling, leak, resistance)
            transfer[:, index:] = crossing @ transfer[:, index:]
            leak = crossing @ leak
            coupling = crossing / resistance
    return np.ascontiguousarray(transfer.T)


def transfer_matrices(conductances: FloatArray, lines: tuple[Line, Line]) -> FloatArray:
    """`transfer_matrix` of many short arrays with the same lines, rung by rung for all of them at once.

    Args:
        conductances: (arrays, n0, n1) siemens.
        lines: as `Grid` has them; those along axis 0 have one terminal.

    Returns:
        (arrays, n0, n1), siemens, all >= 0.
    """
    _, n0, n1 = conductances.shape
    front = lines[0]
    rungs = _Rungs(conductances, lines[1])
    coupling = np.zeros((len(conductances), n1, n1))
    transfer = rungs.leak.swapaxes(-1, -2).copy()
    leak = np.zeros((len(conductances), n1))
    for index in range(n0 - 1, -1, -1):
        far = rungs.coupling(index)
        # The spoilt triangle is larger: a ladder's T^-1 is p(near) q(far) with p/q rising away from the terminal.
        coupling += np.minimum(far, far.swapaxes(-1, -2))
        leak += rungs.leak[:, index]
        resistance = front.segment if index else front.terminal
        if resistance > 0:
            crossing = _crossings(coupling, leak, resistance)
            transfer[:, :, index:] = crossing @ transfer[:, :, index:]
            leak = np.matmul(crossing, leak[:, :, np.newaxis])[:, :, 0]
            coupling = crossing / resistance
    return np.ascontiguousarray(transfer.swapaxes(-1, -2))


def _crossing(coupling: FloatArray, leak: FloatArray, resistance: float) -> FloatArray:
    """(1 + r Y)^-1, all >= 0, in the place of `coupling`."""
    np.fill_diagonal(coupling, 0.0)
    diagonal = leak + dsymv(1.0, coupling.T, np.ones_like(leak), lower=0)
    own = 1.0 + resistance * leak
    matrix = np.multiply(coupling, -resistance, out=coupling)
    if (resistance * diagonal > DOMINATED * own).any():
        return _inverse_of_sums(matrix, own)
    np.fill_diagonal(matrix, 1.0 + resistance * diagonal)
    _invert(matrix)
    return matrix


def _crossings(couplings: FloatArray, leaks: FloatArray, resistance: float) -> FloatArray:
    """`_crossing` of every array, (arrays, n, n), from full symmetric couplings, which are spoilt."""
    ports = np.arange(leaks.shape[1])
    couplings[:, ports, ports] = 0.0
    diagonal = leaks + couplings.sum(axis=2)
    own = 1.0 + resistance * leaks
    matrices = np.multiply(couplings, -resistance, out=couplings)
    dominated = (resistance * diagonal > DOMINATED * own).any(axis=1)
    matrices[:, ports, ports] = np.where(dominated[:, np.newaxis], 1.0, 1.0 + resistance * diagonal)
    exact = {array: _inverse_of_sums(matrices[array], own[array]) for array in np.flatnonzero(dominated)}
    _invert_all(matrices)
    for array, inverse in exact.items():
        matrices[array] = inverse
    return matrices


def _inverse_of_sums(matrix: FloatArray, sums: FloatArray) -> FloatArray:
    """The inverse of a symmetric matrix known by its entries <= 0 off the diagonal (lower triangle) and its row sums.

    Where the sums are small beside the entries, a diagonal made of both has lost them. The elimination therefore
    carries the sums along and adds up each pivot when its turn comes, without a subtraction.
    """
    size = len(sums)
    links, sums = -(np.tril(matrix, -1) + np.tril(matrix, -1).T), sums.copy()
    factor, pivots = np.eye(size), np.empty(size)
    for place in range(size):
        behind = slice(place + 1, None)
        pivots[place] = sums[place] + links[place, behind].sum()
        share = links[behind, place] / pivots[place]
        links[behind, behind] += np.multiply.outer(share, links[place, behind])
        sums[behind] += share * sums[place]
        factor[behind, place] = -share
    solved = solve_triangular(factor, np.eye(size), lower=True, unit_diagonal=True)
    return np.asarray((solved.T / pivots) @ solved)


def _invert(matrix: FloatArray) -> None:
    """Put the inverse of a symmetric positive definite matrix, given by its lower triangle, in its place.

    By halves, so that nearly all of the work is in matrix products, which run three times as fast as LAPACK's
    inverse. The off-diagonal entries of these matrices are <= 0, so that no product here cancels another.
    """
    size = matrix.shape[0]
    if size <= 64:
        inverse, _ = dpotri(dpotrf(matrix.T, lower=0)[0], lower=0)
        matrix[:] = np.triu(inverse) + np.triu(inverse, 1).T
        return
    half = size // 2
    first, below, second = matrix[:half, :half], matrix[half:, :half], matrix[half:, half:]
    _invert(first)
    ratio = below @ first
    second -= ratio @ below.T
    _invert(second)
    np.negative(second @ ratio, out=below)
    first -= ratio.T @ below
    matrix[:half, half:] = below.T


def _invert_all(matrices: FloatArray) -> None:
    """`_invert` for a stack of full matrices, (arrays, n, n)."""
    size = matrices.shape[-1]
    if size <= 16:
        matrices[:] = np.linalg.inv(matrices)  # diagonally dominant, so that no pivot is moved
        return
    half = size // 2
    first, below, second = matrices[:, :half, :half], matrices[:, half:, :half], matrices[:, half:, half:]
    _invert_all(first)
    ratio = below @ first
    second -= ratio @ below.swapaxes(-1, -2)
    _invert_all(second)
    np.negative(second @ ratio, out=below)
    first -= ratio.swapaxes(-1, -2) @ below
    matrices[:, :half, half:] = below.swapaxes(-1, -2)


@final
class _Rungs:
    """All rungs, (..., rungs, cells), reduced as ladders by series and parallel connection.

    A rung seen from the far ends of its cells has the admittance diag(g) - g T^-1 g, where T is the tridiagonal matrix
    of its line with the cells. With V(a) the voltage at node a, T^-1 between two nodes is that of the nearer node with
    itself times the voltage ratio between them.
    """

    def __init__(self, conductance: FloatArray, line: Line) -> None:
        beyond = conductance.copy()  # admittance of a node and all that lies beyond it, seen from the terminal
        ratio = np.ones_like(conductance)  # voltage of a node over that of its neighbour nearer to the terminal
        if line.double:
            beyond[..., -1] += 1.0 / line.terminal
        for cell in range(line.cells - 1, 0, -1):
            ratio[..., cell] = 1.0 / (1.0 + line.segment * beyond[..., cell])
            beyond[..., cell - 1] += beyond[..., cell] * ratio[..., cell]
        before = np.empty_like(conductance)  # resistance from a node back to the terminal
        before[..., 0] = line.terminal
        for cell in range(1, line.cells):
            previous = before[..., cell - 1]
            before[..., cell] = line.segment + previous / (1.0 + conductance[..., cell - 1] * previous)
        itself = before / (1.0 + beyond * before)  # diagonal of T^-1
        reach = np.cumsum(np.log(ratio), axis=-1)
        volts = np.exp(reach) / (1.0 + line.terminal * beyond[..., :1])  # with 1 V at the terminals
        if line.double:
            volts += itself * np.exp(reach[..., -1:] - reach) / line.terminal
        self.leak: FloatArray = conductance * volts
        self._conductance = conductance
        self._itself: FloatArray = itself
        self._reach: FloatArray = reach

    def coupling(self, index: int) -> FloatArray:
        """The product g T^-1 g of one rung, (..., cells, cells); only the lower triangle counts."""
        conductance, reach = self._conductance[..., index, :], self._reach[..., index, :]
        near = conductance * self._itself[..., index, :]
        if reach[..., -1].min() > -300.0:
            far = conductance * np.exp(reach)
            return np.asarray(far[..., np.newaxis] * (near * np.exp(-reach))[..., np.newaxis, :])
        # Far apart, the exponentials leave the range of numbers one by one but not as a ratio.
        ratios = np.exp(np.minimum(reach[..., np.newaxis] - reach[..., np.newaxis, :], 0.0))
        return np.asarray(conductance[..., np.newaxis] * ratios * near[..., np.newaxis, :])
