"""The preconditioner of an array with floating lines: that of the array with all terminals, corrected.

With z = w - C^T phi and y = r - g z, where C sums over each open line (and, with two terminals, weighs with the share
of the far one), (1/Z + g) w = r + g C^T phi. That C y = 0, or -phi / R for the second kind, fixes phi by one dense
system of the size of C.
"""

from __future__ import annotations

from typing import final

import numpy as np
from scipy.linalg import lu_solve
from scipy.linalg.lapack import dgetrf

from xbar_spice.engines.nodal.floating import FloatingLines
from xbar_spice.engines.nodal.grid import RealArray
from xbar_spice.engines.nodal.spectral import SpectralPreconditioner
from xbar_spice.linear.operator import FloatArray

__all__ = ["FloatingPreconditioner"]


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
