"""The preconditioner: a crossbar whose conductance varies in one direction only, solved exactly.

With the conductance averaged along axis 1, the modes of the lines along axis 1 decouple: in a mode of resistance
zeta, each line along axis 0 is a ladder of its own with the shunts g / (1 + g zeta). The averaged array thus costs
two matrix products and one sweep up and down the ladders. Ladders are reduced by series and parallel connection,
which never subtracts and takes 0 ohm as it comes. This is the factor L D L^T of a tridiagonal matrix, and all ladders
in a row are one such matrix.

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
from xbar_spice.linear.operator import FloatArray

__all__ = ["FloatingPreconditioner", "SpectralPreconditioner"]

SOLVED = {np.dtype(np.float32): spttrs, np.dtype(np.float64): dpttrs}  # tridiagonal systems by their factors


@final
class SpectralPreconditioner:
    """Solves (1/Z + g) e = r, where g is the mean conductance of each line along axis 1.

    Attributes:
        conductance: (n0, 1) g in siemens; with a batch in front where every vector has an array of its own.
    """

    def __init__(self, grid: Grid, dtype: type[np.floating]) -> None:
        ladder = grid.lines[0]
        zeta, modes = grid.lines[1].modes()
        mean = grid.conductance.mean(axis=-1)
        mean = mean.mean(axis=0) if mean.ndim == 2 else mean
        share = 1.0 / (1.0 + np.multiply.outer(mean, zeta))
        # The part of a node's inflow that the next one gets, and the resistance to 0 V if nothing came back from there.
        passed, series = np.zeros_like(share), np.zeros_like(share)
        if ladder.terminal > 0:
            shunts = mean[:, np.newaxis] * share
            admittance = shunts[0] + 1.0 / ladder.terminal
            for cell in range(ladder.cells - 1):
                passed[cell] = 1.0 / (1.0 + ladder.segment * admittance)
                admittance = shunts[cell + 1] + admittance * passed[cell]
            series = ladder.segment * passed
            series[-1] = 1.0 / (admittance + (1.0 / ladder.terminal if ladder.double else 0.0))
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
            arrays: one preconditioner for each array.
            vectors: number of vectors of each array, which follow each other in a batch.
        """
        stack = cls.__new__(cls)
        stack._modes, stack._zeta = arrays[0]._modes, arrays[0]._zeta
        for name in ("conductance", "_share", "_diagonal", "_beside"):
            setattr(stack, name, np.repeat(np.stack([getattr(array, name) for array in arrays]), vectors, axis=0))
        return stack

    def __call__(self, residual: RealArray) -> RealArray:
        """Voltages e for a residual in amperes, both (batch, n0, n1)."""
        volts = np.matmul(self._modes.T, residual.swapaxes(1, 2))  # (batch, modes, n0)
        ladders = (volts * self._share).reshape(-1, self._diagonal.size).T
        solve = SOLVED[self._diagonal.dtype]
        ladders, _ = solve(
            self._diagonal.ravel(), self._beside.ravel()[: max(1, self._beside.size - 1)], ladders, overwrite_b=True
        )
        volts *= self._zeta
        volts += ladders.T.reshape(volts.shape)
        volts *= self._share
        return np.asarray(np.matmul(volts.swapaxes(1, 2), self._modes.T))


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

    def __call__(self, residual: RealArray) -> RealArray:
        """Voltages e for a residual in amperes, both (batch, n0, n1)."""
        batch, n0, n1 = residual.shape
        volts = self._inner(residual)
        sums = self._sums(residual - self.conductance * volts)
        levels = -lu_solve(self._factor, sums.reshape(batch, -1).T, check_finite=False).T
        raised = self._spread(levels.reshape(sums.shape), (n0, n1))
        volts += self._inner(self.conductance * raised)
        volts -= raised
        return volts

    def _rest(self, residual: RealArray) -> RealArray:
        return residual - self.conductance * self._inner(residual)

    def _sums(self, cells: RealArray) -> FloatArray:
        """C y, (batch, lines, kinds)."""
        return np.asarray(self._lines.take(cells) @ self._profiles.T)

    def _spread(self, levels: FloatArray, shape: tuple[int, int]) -> FloatArray:
        """C^T phi, (batch, n0, n1)."""
        volts = np.zeros((levels.shape[0], *shape))
        self._lines.add(volts, levels @ self._profiles)
        return volts
