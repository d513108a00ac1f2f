"""The preconditioner: a crossbar whose conductance varies in one direction only, solved exactly.

With the conductance averaged along axis 1, the modes of the lines along axis 1 decouple: in a mode of resistance
zeta, each line along axis 0 is a ladder of its own with the shunts g / (1 + g zeta). The averaged array thus costs
two matrix products and one sweep up and down the ladders. Ladders are reduced by series and parallel connection,
which never subtracts and takes 0 ohm as it comes.

Floating lines correct it. With z = w - C^T phi and y = r - g z, where C sums over each open line (and, with two
terminals, weighs with the share of the far one), (1/Z + g) w = r + g C^T phi. That C y = 0, or -phi / R for the second
kind, fixes phi by one dense system of the size of C.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import final

import numpy as np
from scipy.linalg import lu_solve
from scipy.linalg.lapack import dgetrf

from xbar_spice.engines.nodal.floating import FloatingLines
from xbar_spice.engines.nodal.grid import Grid, RealArray
from xbar_spice.linear.operator import FloatArray

__all__ = ["DENSE_TO", "FloatingPreconditioner", "SpectralPreconditioner", "StackedPreconditioner"]

DENSE_TO = 64  # cells on a ladder up to which its inverse, once known, takes less time than a sweep


@final
class SpectralPreconditioner:
    """Solves (1/Z + g) e = r, where g is the mean conductance of each line along axis 1.

    Attributes:
        conductance: (n0, 1) g in siemens.
        modes: (n1, n1) of the lines along axis 1.
    """

    def __init__(self, grid: Grid, dtype: type[np.floating]) -> None:
        ladder = grid.lines[0]
        zeta, modes = grid.lines[1].modes()
        mean = grid.conductance.mean(axis=-1)
        mean = mean.mean(axis=0) if mean.ndim == 2 else mean
        share = 1.0 / (1.0 + np.multiply.outer(mean, zeta))
        # looking[k] = 1 / (1 + segment * admittance seen from node k away from the terminal)
        looking = np.empty_like(share)
        shunts = mean[:, np.newaxis] * share
        admittance = shunts[-1] + (1.0 / ladder.terminal if ladder.double else 0.0)
        for cell in range(ladder.cells - 1, 0, -1):
            looking[cell] = 1.0 / (1.0 + ladder.segment * admittance)
            admittance = shunts[cell - 1] + admittance * looking[cell]
        # The inflow of a node becomes its voltage behind the terminal (node 0) or the segment before it.
        series = ladder.segment * looking
        series[0] = ladder.terminal / (1.0 + ladder.terminal * admittance)
        self.conductance: RealArray = mean.astype(dtype)[:, np.newaxis]
        self._zeta = zeta.astype(dtype)
        self.modes = modes.astype(dtype)
        self._share = share.astype(dtype)
        self._series = series.astype(dtype)
        self._looking = list(looking.astype(dtype))
        self._climbs = ladder.terminal > 0
        self._swept = 0  # vectors

    def __call__(self, residual: RealArray) -> RealArray:
        """Voltages e for a residual in amperes, both (batch, n0, n1)."""
        batch, n0, n1 = residual.shape
        source = (residual.reshape(-1, n1) @ self.modes).reshape(batch, n0, n1)
        # The inverses of short ladders take one sweep of n0 vectors: so many have been swept before they are known.
        if n0 > DENSE_TO or self._swept < n0:
            self._swept += batch
            volts = self._solve_modes(source)
        else:
            volts = np.matmul(self.inverses, source.transpose(2, 1, 0)).transpose(2, 1, 0)
        return (volts.reshape(-1, n1) @ self.modes.T).reshape(batch, n0, n1)

    @cached_property
    def inverses(self) -> RealArray:
        """(modes, n0, n0) of the ladders, ohm: what a source at each node does to every mode."""
        size, modes = self._share.shape
        units = np.repeat(np.eye(size, dtype=self._share.dtype)[:, :, np.newaxis], modes, axis=2)
        return np.ascontiguousarray(self._solve_modes(units).transpose(2, 1, 0))

    def _solve_modes(self, source: RealArray) -> RealArray:
        """The voltages of every mode, (batch, n0, modes), from its sources; spoils them."""
        if self._climbs:
            ladder_volts = self._ladder_voltages(source)
            source *= self._zeta
            source += ladder_volts
        else:
            source *= self._zeta
        source *= self._share
        return source

    def _ladder_voltages(self, source: RealArray) -> RealArray:
        """What the nodes of the ladders along axis 0 lose to the sources of each mode."""
        flow = source * self._share
        nodes = list(np.swapaxes(flow, 0, 1))  # (batch, modes) of every node
        term = np.empty_like(nodes[0])
        for cell in range(len(nodes) - 2, -1, -1):
            np.multiply(nodes[cell + 1], self._looking[cell + 1], out=term)
            np.add(nodes[cell], term, out=nodes[cell])
        flow *= self._series
        for cell in range(1, len(nodes)):
            np.multiply(nodes[cell - 1], self._looking[cell], out=term)
            np.add(nodes[cell], term, out=nodes[cell])
        return np.asarray(flow)


@final
class StackedPreconditioner:
    """Short arrays of the same lines side by side, each with the preconditioner of its own conductances.

    Args:
        arrays: one preconditioner for each array.
        vectors: number of vectors of each array, which follow each other in a batch.
    """

    def __init__(self, arrays: Sequence[SpectralPreconditioner], vectors: int) -> None:
        self.conductance: RealArray = np.repeat(np.stack([array.conductance for array in arrays]), vectors, axis=0)
        self._inverses = np.stack([array.inverses for array in arrays])
        self._modes = arrays[0].modes

    def __call__(self, residual: RealArray) -> RealArray:
        """Voltages e for a residual in amperes, both (arrays * vectors, n0, n1)."""
        _, n0, n1 = residual.shape
        source = (residual.reshape(-1, n1) @ self._modes).reshape(len(self._inverses), -1, n0, n1)
        volts = np.matmul(self._inverses, source.transpose(0, 3, 2, 1)).transpose(0, 3, 2, 1)
        return np.asarray(volts.reshape(-1, n1) @ self._modes.T).reshape(residual.shape)


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
