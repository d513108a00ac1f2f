"""How a matrix is cut into tiles; large convolutions keep their devices by tile, because most of these hold nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import gcd
from typing import Any, final

import numpy as np

from xbar_spice.hardware.variation import Variation
from xbar_spice.linear.convolution import Convolution
from xbar_spice.linear.fourier_form import BlockDiagonalMatrix
from xbar_spice.linear.operator import FloatArray
from xbar_spice.mapping.base import IntArray
from xbar_spice.mapping.design import Design

__all__ = [
    "BuiltTiles",
    "TiledDevices",
    "by_tile",
    "design_of",
    "line_orders",
    "stays_sparse",
    "tiled_targets",
    "tiles_of",
    "weight_blocks",
]

CLIPPED = 1e-12  # rounding, by which the largest weight may exceed the range that it made

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

    def __add__(self, other: TiledDevices) -> TiledDevices:
        """The sum of values of the same tiles, such as those that reads of either side add to a gradient."""
        blocks = {place: block + other.blocks[place] for place, block in self.blocks.items()}
        return TiledDevices(self.shape, self.size, blocks)

    def place_of(self, inputs: Any, outputs: Any) -> Place:
        """The tile in which these lines lie."""
        return int(np.min(inputs)) // self.size * self.size, int(np.min(outputs)) // self.size * self.size

    def __array__(self, dtype: Any = None, copy: Any = None) -> FloatArray:
        """The whole array, with zeros where no tile was built."""
        whole = np.zeros(self.shape)
        for (top, left), block in self.blocks.items():
            whole[:, top : top + block.shape[-2], left : left + block.shape[-1]] = block
        return whole


def by_tile(devices: Any) -> TiledDevices | None:
    """The devices of a matrix that is kept tile by tile; None for those of any other."""
    return devices if isinstance(devices, TiledDevices) else None


@final
class BuiltTiles:
    """Which tiles are built; indexed by slices of inputs and outputs, as an array of what is used would be."""

    def __init__(self, places: Mapping[Place, FloatArray]) -> None:
        self._places = places.keys()

    def __getitem__(self, tile: tuple[slice, slice]) -> np.ndarray[Any, np.dtype[np.bool_]]:
        rows, cols = tile
        return np.array([(rows.start, cols.start) in self._places])


def design_of(weights: Any, design: Design) -> Design:
    """The design of a matrix's arrays: a block-diagonal one has those of its blocks alone."""
    if not isinstance(weights, BlockDiagonalMatrix):
        return design
    return replace(design, tile=gcd(weights.tile, design.tile or 0), skip_empty=True)


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


def tiled_targets(
    operator: Convolution, design: Design, siemens_per_weight: float | None
) -> tuple[float, TiledDevices, float]:
    """Siemens of a unit weight, what programming aims at on each tile, and the part of all weights that are clipped."""
    mapping, size = design.mapping, design.tile or max(operator.shape)
    window, largest = mapping.window(design.g_min, design.g_max), float(np.abs(operator.sparse.data).max(initial=0.0))
    siemens = siemens_per_weight or (window / design.headroom) / (largest if largest > 0 else 1.0)
    blocks, beyond = {}, 0
    for place, weights in weight_blocks(operator, size):
        blocks[place] = np.minimum(mapping.targets(weights, siemens, design.g_min, design.g_max), design.g_max)
        beyond += int((siemens * np.abs(weights) > window * (1 + CLIPPED)).sum())
    (outputs, inputs), devices = operator.shape, next(iter(blocks.values())).shape[0]
    return siemens, TiledDevices((devices, inputs, outputs), size, blocks), beyond / operator.entries


def tiles_of(shape: tuple[int, ...], design: Design) -> Iterator[tuple[slice, slice]]:
    """Inputs and outputs of every tile."""
    inputs, outputs = shape
    size = design.tile or max(inputs, outputs)
    for top in range(0, inputs, size):
        for left in range(0, outputs, size):
            yield slice(top, min(top + size, inputs)), slice(left, min(left + size, outputs))


def line_orders(target: FloatArray, design: Design) -> tuple[IntArray, IntArray]:
    """Which line comes where: word lines of large sum next to the sensed ends, such bit lines next to the drivers."""
    if design.order == "given":
        return np.arange(target.shape[0]), np.arange(target.shape[1])
    return np.argsort(target.sum(axis=1), kind="stable"), np.argsort(-target.sum(axis=0), kind="stable")
