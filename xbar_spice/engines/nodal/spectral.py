"""The preconditioner: a crossbar whose conductance varies in one direction only, solved exactly.

With the conductance averaged along axis 1, the modes of the lines along axis 1 decouple: in a mode of resistance
zeta, each line along axis 0 is a ladder of its own with the shunts g / (1 + g zeta). The averaged array thus costs
two matrix products and one sweep up and down the ladders. Ladders are reduced by series and parallel connection,
which never subtracts and takes 0 ohm as it comes. This is the factor L D L^T of a tridiagonal matrix, and all ladders
in a row are one such matrix.

A mode of much less resistance than the cells hardly shows, and most modes of a long line are such ones. They are left
out, together: as if their zeta were 0, all columns of the array become one ladder, and the voltages

    e = e0 + Z1 (r - g e0)

are what this ladder has, and what the currents that it leaves then lose on their lines along axis 1. These voltages
solve (1/Z + g) e = r + g Z1 (r - g e0) exactly, which is all that conjugate gradients need to know. An array costs a
few times its cells in this way, with as many iterations as with all modes.

Floating lines correct it. With z = w - C^T phi and y = r - g z, where C sums over each open line (and, with two
terminals, weighs with the share of the far one), (1/Z + g) w = r + g C^T phi. That C y = 0, or -phi / R for the second
kind, fixes phi by one dense system of the size of C.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self, final

import numpy as np
from scipy.linalg import lu_solve
from scipy.linalg.lapack import dgetrf, dpttrs, spttrs

from xbar_spice.engines.nodal.floating import FloatingLines
from xbar_spice.engines.nodal.grid import Grid, RealArray
from xbar_spice.engines.nodal.line import Line
from xbar_spice.engines.nodal.recurrences import Recurrence
from xbar_spice.linear.operator import FloatArray

__all__ = ["FloatingPreconditioner", "SpectralPreconditioner"]

WHOLE_TO = 112  # cells on a line up to which all modes take less time; not below what is solved in stacks
SLIGHT = 0.1  # resistance of a mode, in that of a cell, below which it is left out
SOLVED = {np.dtype(np.float32): spttrs, np.dtype(np.float64): dpttrs}  # tridiagonal systems by their factors


@final
class SpectralPreconditioner:
    """Solves (1/Z + g) e = r, nearly, where g is the mean conductance of each line along axis 1.

    Args:
        grid: the array.
        dtype: the precision.
        whole: whether all modes are kept, which solves it exactly; so they are anyway where lines are short.

    Attributes:
        conductance: (n0, 1) g in siemens; with a batch in front where every vector has an array of its own.
    """

    def __init__(self, grid: Grid, dtype: type[np.floating], *, whole: bool = False) -> None:
        ladder, line = grid.lines
        mean = grid.conductance.mean(axis=-1)
        mean = mean.mean(axis=0) if mean.ndim == 2 else mean
        count = line.modes_above(SLIGHT / mean.max()) if line.cells > WHOLE_TO and not whole else line.cells
        count = count if count <= line.cells / 2 else line.cells
        zeta, modes = line.modes(count)
        share = 1.0 / (1.0 + np.multiply.outer(mean, np.append(zeta, 0.0)))  # the last ladder is that of the rest
        passed, series = _ladders(ladder, mean[:, np.newaxis] * share)
        self._rest = _Rest(line, mean, passed[:, -1], series[:, -1], dtype) if count < line.cells else None
        passed, series, share = passed[:, :-1], series[:, :-1], share[:, :-1]
        self.conductance: RealArray = mean.astype(dtype)[:, np.newaxis]
        self._modes, self._zeta = modes.astype(dtype), zeta.astype(dtype)[:, np.newaxis]
        self._share = _by_mode(share, dtype)
        with np.errstate(divide="ignore", over="ignore"):  # nodes without resistance to 0 V
            self._diagonal = _by_mode(1.0 / series, dtype)
        self._beside = _by_mode(-passed, dtype)

    @classmethod
    def stacked(cls, arrays: Sequence[Self], vectors: int) -> Self:
        """Arrays of the same lines side by side, each with the preconditioner of its own conductances.

        Args:
            arrays: one preconditioner for each array, with all modes.
            vectors: number of vectors of each array, which follow each other in a batch.
        """
        stack = cls.__new__(cls)
        stack._rest = None
        stack._modes, stack._zeta = arrays[0]._modes, arrays[0]._zeta
        for name in ("conductance", "_share", "_diagonal", "_beside"):
            setattr(stack, name, np.repeat(np.stack([getattr(array, name) for array in arrays]), vectors, axis=0))
        return stack

    def __call__(self, residual: RealArray) -> tuple[RealArray, RealArray]:
        parts = np.matmul(self._modes.T, residual.swapaxes(1, 2))  # (batch, modes, n0)
        solved = self._by_ladders(parts)
        if self._rest is None:
            return np.asarray(np.matmul(solved.swapaxes(1, 2), self._modes.T)), residual
        volts, lost = self._rest.solve(residual - np.matmul(parts.swapaxes(1, 2), self._modes.T))
        volts += np.matmul(solved.swapaxes(1, 2), self._modes.T)
        lost *= self.conductance
        lost += residual
        return volts, lost

    def _by_ladders(self, parts: RealArray) -> RealArray:
        """Voltages of the modes, (batch, modes, n0), from amperes."""
        volts: RealArray = parts * self._share
        ladders = volts.reshape(-1, self._diagonal.size).T
        solve = SOLVED[self._diagonal.dtype]
        beside = self._beside.ravel()[: max(1, self._beside.size - 1)]
        ladders, _ = solve(self._diagonal.ravel(), beside, ladders, overwrite_b=True)
        volts = parts * self._zeta
        volts += ladders.T.reshape(volts.shape)
        volts *= self._share
        return volts


@final
class _Rest:
    """The modes that are left out: every column of the array is one and the same ladder."""

    def __init__(
        self, line: Line, mean: FloatArray, passed: FloatArray, series: FloatArray, dtype: type[np.floating]
    ) -> None:
        self._line, self._sums = line, Recurrence(passed[:-1], dtype)
        self._series, self._conductance = (values.astype(dtype)[:, np.newaxis] for values in (series, mean))

    def solve(self, residual: RealArray) -> tuple[RealArray, RealArray]:
        """(batch, n0, n1) volts, and how much of them is lost on the lines along axis 1; spoils the residual."""
        volts, lost = residual.copy(), np.zeros_like(residual)
        self._sums.forward(volts, 1)
        volts *= self._series
        self._sums.backward(volts, 1)
        work = np.multiply(volts, self._conductance)
        residual -= work
        self._line.add_drops(residual, 2, lost, work)
        volts += lost
        return volts, lost


def _ladders(ladder: Line, shunts: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Ladders with these shunts in siemens, (n0, ladders), reduced from the first node to the last.

    Returns:
        The part of each node's inflow that the next one gets, and the ohm to 0 V if nothing came back from there.
    """
    passed, series = np.zeros_like(shunts), np.zeros_like(shunts)
    if ladder.terminal > 0:
        admittance = shunts[0] + 1.0 / ladder.terminal
        for cell in range(ladder.cells - 1):
            passed[cell] = 1.0 / (1.0 + ladder.segment * admittance)
            admittance = shunts[cell + 1] + admittance * passed[cell]
        series = ladder.segment * passed
        series[-1] = 1.0 / (admittance + (1.0 / ladder.terminal if ladder.double else 0.0))
    return passed, series


def _by_mode(values: FloatArray, dtype: type[np.floating]) -> RealArray:
    """(modes, n0), from (n0, modes)."""
    return np.ascontiguousarray(values.T, dtype=dtype)


@final
class FloatingPreconditioner:
    """Solves (1/Z + g) e = r for the averaged array without the terminals of its floating lines.

    Attributes:
        conductance: g, (n0, 1) siemens.
    """

    def __init__(self, lines: FloatingLines, shape: tuple[int, int], inner: SpectralPreconditioner) -> None:
        self.conductance: RealArray = inner.conductance
        self._lines = lines
        self._inner = inner
        line = lines.line
        profiles = [np.ones(line.cells), line.far_share()] if line.double else [np.ones(line.cells)]
        self._profiles = np.stack(profiles)
        count, kinds = lines.places.size, len(profiles)
        system = np.empty((count, kinds, count, kinds))
        for index in range(count):
            levels = np.zeros((kinds, count, kinds))
            levels[range(kinds), index, range(kinds)] = 1.0
            volts = self._spread(levels, shape)
            system[:, :, index] = np.moveaxis(self._sums(self._rest(self.conductance * volts)), 0, -1)
        matrix = system.reshape(count * kinds, -1)
        if line.double:
            matrix[1::2, 1::2] += np.eye(count) / line.end_to_end
        factor, pivots, singular = dgetrf(matrix)
        if singular:  # terminals far above the cells: what is left of the system is rounding
            factor, pivots, _ = dgetrf(matrix + 1e-14 * np.abs(matrix).max() * np.eye(len(matrix)))
        self._factor = factor, pivots

    def __call__(self, residual: RealArray) -> tuple[RealArray, RealArray]:
        batch, n0, n1 = residual.shape
        volts, _ = self._inner(residual)
        sums = self._sums(residual - self.conductance * volts)
        levels = -lu_solve(self._factor, sums.reshape(batch, -1).T, check_finite=False).T
        raised = self._spread(levels.reshape(sums.shape), (n0, n1))
        volts += self._inner(self.conductance * raised)[0]
        volts -= raised
        return volts, residual

    def _rest(self, residual: RealArray) -> RealArray:
        return residual - self.conductance * self._inner(residual)[0]

    def _sums(self, cells: RealArray) -> FloatArray:
        """C y, (batch, lines, kinds)."""
        return np.asarray(self._lines.take(cells) @ self._profiles.T)

    def _spread(self, levels: FloatArray, shape: tuple[int, int]) -> FloatArray:
        """C^T phi, (batch, n0, n1)."""
        volts = np.zeros((levels.shape[0], *shape))
        self._lines.add(volts, levels @ self._profiles)
        return volts
