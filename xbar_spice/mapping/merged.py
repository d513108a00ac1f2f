"""Reads of a matrix as one product, once every array is known by its transfer matrix.

Nothing happens to the current of a single line of linear arrays without read noise and ADCs before the digital side
adds it up. The transfers of all tiles can then be added up instead, once for each direction,

    y = (sum over arrays of sign * transfer) volts / (siemens per weight * volts per unit),

and a read of many small tiles costs what one of the whole matrix does. The devices are in it as programmed, with stuck
ones and amplifiers; DACs stand before the product.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np
from scipy.sparse import coo_array, csr_array

from xbar_spice.engines.base import Bank
from xbar_spice.hardware.crossbar import Side
from xbar_spice.linear.operator import FloatArray
from xbar_spice.mapping.matrix import MappedMatrix

__all__ = ["MergedReads", "summed_tiles"]

FILLED = 0.3  # part of a matrix above which a dense product takes less time than that of its tiles alone


@final
class MergedReads:
    """The effective matrices of a programmed matrix, as far as its reads have told them.

    Args:
        mapped: the arrays.
        bank: who reads them.
    """

    def __init__(self, mapped: MappedMatrix, bank: Bank) -> None:
        design = mapped.design
        self._mapped, self._bank = mapped, bank
        converters = design.converters
        self._sums = not design.noise.random and converters.exact_currents and not converters.serial
        self._effective: dict[Side, FloatArray | csr_array] = {}

    def products(self, vectors: FloatArray, side: Side) -> FloatArray | None:
        """(m, batch) products W x, or (n, batch) products W^T y; None if the arrays have to be read.

        Args:
            vectors: (n, batch) for side "rows", (m, batch) for "cols".
            side: the driven side.
        """
        effective = self._known(side)
        if effective is None:
            return None
        volts = self._mapped.volts(vectors)
        amperes = np.asarray((effective if side == "rows" else effective.T) @ volts)
        found = amperes / self._mapped.siemens_per_weight / self._mapped.volts_per_unit(vectors)
        return np.where(vectors.any(axis=0), found, 0.0)

    def forget(self) -> None:
        """Leave all reads from now on to the arrays."""
        self._sums = False
        self._effective.clear()

    def _known(self, side: Side) -> FloatArray | csr_array | None:
        """(m, n) siemens that the arrays act with in a read of this side."""
        if self._sums and side not in self._effective:
            transfers = self._bank.transfers(side)
            if transfers is not None:
                self._effective[side] = summed_tiles(self._mapped, transfers)
        return self._effective.get(side)


def summed_tiles(mapped: MappedMatrix, transfers: Sequence[FloatArray]) -> FloatArray | csr_array:
    """(m, n) siemens by which arrays with these transfers act, never dense where few tiles were built."""
    tiles: dict[tuple[int, int], FloatArray] = {}
    for outputs, inputs, block in mapped.blocks(transfers):
        place = outputs.start, inputs.start
        tiles[place] = tiles[place] + block if place in tiles else block
    if sum(block.size for block in tiles.values()) > FILLED * mapped.shape[0] * mapped.shape[1]:
        total = np.zeros(mapped.shape)
        for (top, left), block in tiles.items():
            total[top : top + block.shape[0], left : left + block.shape[1]] = block
        return total
    rows = [
        np.repeat(np.arange(top, top + len(block), dtype=np.int32), block.shape[1]) for (top, _), block in tiles.items()
    ]
    cols = [
        np.tile(np.arange(left, left + block.shape[1], dtype=np.int32), len(block))
        for (_, left), block in tiles.items()
    ]
    entries = np.concatenate([block.ravel() for block in tiles.values()])
    return coo_array((entries, (np.concatenate(rows), np.concatenate(cols))), shape=mapped.shape).tocsr()
