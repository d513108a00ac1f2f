"""The preconditioner: a crossbar whose conductance varies in one direction only, solved exactly.

With the conductance averaged along axis 1, the modes of the lines along axis 1 decouple: in a mode of resistance
zeta, each line along axis 0 is a ladder of its own with the shunts g / (1 + g zeta). The averaged array thus costs
two matrix products and one sweep up and down the ladders. Ladders are reduced by series and parallel connection,
which never subtracts and takes 0 ohm as it comes.
"""

from __future__ import annotations

from typing import final

import numpy as np

from xbar_spice.engines.nodal.grid import Grid, RealArray

__all__ = ["SpectralPreconditioner"]


@final
class SpectralPreconditioner:
    """Solves (1/Z + g) e = r, where g is the mean conductance of each line along axis 1.

    Attributes:
        conductance: (n0, 1) g in siemens.
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
        self._modes = modes.astype(dtype)
        self._share = share.astype(dtype)
        self._series = series.astype(dtype)
        self._looking = list(looking.astype(dtype))
        self._climbs = ladder.terminal > 0

    def __call__(self, residual: RealArray) -> RealArray:
        """Voltages e for a residual in amperes, both (batch, n0, n1)."""
        batch, n0, n1 = residual.shape
        source = (residual.reshape(-1, n1) @ self._modes).reshape(batch, n0, n1)
        if self._climbs:
            ladder_volts = self._ladder_voltages(source)
            source *= self._zeta
            source += ladder_volts
        else:
            source *= self._zeta
        source *= self._share
        return (source.reshape(-1, n1) @ self._modes.T).reshape(batch, n0, n1)

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
