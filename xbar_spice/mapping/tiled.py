"""The devices of large convolutions, which are kept tile by tile, because nearly all of their tiles hold nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, final

import numpy as np

from xbar_spice.hardware.variation import Variation
from xbar_spice.linear.convolution import Convolution
from xbar_spice.linear.operator import FloatArray
from xbar_spice.mapping.design import Design

__all__ = ["BuiltTiles", "TiledDevices", "stays_sparse", "weight_blocks"]

Place = tuple[int, int]
"""First input and first output of a tile."""


@final
class TiledDevices:
    """(devices, inputs, outputs) values of the devices of some tiles; it is indexed as the whole array would be.

    Args:
        shape: Of the whole array.
        size: Lines of a tile in either direction.
        blocks: (..., devices, inputs of the tile, outputs of the tile) by the place of the tile.
    """

    def __init__(self, shape: tuple[int, int, int], size: int, blocks: Mapping[Place, FloatArray]) -> None:
        self.shape, self.size, self.blocks = shape, size, blocks

    def __getitem__(self, place: tuple[Any, Any, Any]) -> FloatArray:
        device, inputs, outputs = place
        top, left = self.place_of(inputs, outputs)
        return np.asarray(self.blocks[top, left][..., device, inputs - top, outputs - left])

    def place_of(self, inputs: Any, outputs: Any) -> Place:
        """The tile in which these lines lie."""
        return int(np.min(inputs)) // self.size * self.size, int(np.min(outputs)) // self.size * self.size

    def __array__(self, dtype: Any = None, copy: Any = None) -> FloatArray:
        """The whole array, with zeros where no tile was built."""
        whole = np.zeros(self.shape)
        for (top, left), block in self.blocks.items():
            whole[:, top : top + block.shape[-2], left : left + block.shape[-1]] = block
        return whole


@final
class BuiltTiles:
    """Which tiles are built; indexed by slices of inputs and outputs, as an array of what is used would be."""

    def __init__(self, places: Mapping[Place, FloatArray]) -> None:
        self._places = places.keys()

    def __getitem__(self, tile: tuple[slice, slice]) -> np.ndarray[Any, np.dtype[np.bool_]]:
        rows, cols = tile
        return np.array([(rows.start, cols.start) in self._places])


def stays_sparse(operator: Convolution, design: Design) -> bool:
    """Whether a convolution is so large, and its design so plain, that it is mapped without its zeros."""
    return (
        operator.large
        and design.skip_empty
        and design.tile is not None
        and design.coverage >= 1
        and design.scale == "matrix"
        and not (design.compensated or design.after or design.conductances is not None)
        and design.variation == Variation()
        and design.cycle == Variation()
    )


def weight_blocks(operator: Convolution, size: int) -> Iterator[tuple[Place, FloatArray]]:
    """The weights of every tile that a kernel reaches, (inputs, outputs), whatever the numbers in it."""
    outputs, inputs = operator.shape
    sparse = operator.sparse
    for left in range(0, outputs, size):
        stripe = sparse[left : left + size]
        for top in np.unique(stripe.indices // size * size).tolist():
            yield (top, left), stripe[:, top : min(top + size, inputs)].toarray().T
