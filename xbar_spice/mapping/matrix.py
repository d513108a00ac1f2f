"""Weight matrices as crossbars: devices, tiles, and the voltage scaling around them.

A weight matrix W (m x n) acts as y = W x. Input j is a word line, output i a bit line: an array of W has n rows. A
`Mapping` says which devices a weight becomes; tiles of T x T weights are arrays of their own whose currents are added
digitally. With k = `siemens_per_weight`, y = sum of weight times current over the lines, / (k * volts per unit of x).

With a headroom h, k is smaller by h: the largest weight leaves the upper part of the range free, for weights that will
grow and for the larger conductances of a compensated array.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xbar_spice.errors import InvalidInputError
from xbar_spice.hardware.converters import quantise
from xbar_spice.hardware.crossbar import Crossbar, Side
from xbar_spice.linear.operator import FloatArray
from xbar_spice.mapping.base import IntArray, Lines, by_line
from xbar_spice.mapping.compensation import compensate
from xbar_spice.mapping.design import Design

__all__ = ["MappedArray", "MappedMatrix", "map_weights"]

COMPENSATED = 1e-3  # of the largest conductance: less than programming can hit


@final
@dataclass(frozen=True, eq=False)
class MappedArray:
    """One array of a weight matrix.

    Attributes:
        name: letters, digits and underscores; unique within the matrix.
        crossbar: the programmed array.
        rows: word lines, with the input that each one carries.
        cols: bit lines, with the output that each one belongs to.
        device: (rows, cols), or a shape that broadcasts to it: which of the devices of its weight each cell is.
    """

    name: str
    crossbar: Crossbar
    rows: Lines
    cols: Lines
    device: IntArray

    @property
    def inputs(self) -> IntArray:
        """(rows,) index of the input that each word line carries."""
        return self.rows.index

    @property
    def outputs(self) -> IntArray:
        """(cols,) index of the output that each bit line belongs to."""
        return self.cols.index

    @property
    def signs(self) -> FloatArray:
        """(cols,) weight with which a bit line counts for its output."""
        return self.cols.weight

    @property
    def devices(self) -> tuple[IntArray, IntArray, IntArray]:
        """Indices that pick this array's (rows, cols) out of all devices of the matrix, (devices, inputs, outputs)."""
        return self.device, self.inputs[:, np.newaxis], self.outputs

    def lines(self, side: Side) -> Lines:
        """The lines of a side."""
        return self.rows if side == "rows" else self.cols


@final
@dataclass(frozen=True, eq=False)
class MappedMatrix:
    """A weight matrix as a set of arrays, and the digital arithmetic around them.

    Attributes:
        shape: (m, n) of the weight matrix.
        design: how it was built.
        arrays: the arrays.
        siemens_per_weight: k, the conductance of a weight of 1.
        target: (devices, n, m) siemens that programming aimed at.
        slope: (devices, n, m) dG/dT, the derivative of each programmed conductance with respect to its target; 0 for a
            device that is stuck.
    """

    shape: tuple[int, int]
    design: Design
    arrays: tuple[MappedArray, ...]
    siemens_per_weight: float
    target: FloatArray
    slope: FloatArray

    @property
    def largest_weight(self) -> float:
        """The weight that takes a device to `g_max`: the `weight_range` of a model for the same chip."""
        return self.design.mapping.window(self.design.g_min, self.design.g_max) / self.siemens_per_weight

    @property
    def programmed(self) -> FloatArray:
        """(m, n) the weights that the devices stand for, whatever wires and terminals make of them."""
        total = np.zeros(self.shape)
        for array in self.arrays:
            signed = (array.rows.weight[:, np.newaxis] * array.cols.weight * array.crossbar.conductance).T
            np.add.at(total, (array.outputs[:, np.newaxis], array.inputs), signed)
        return total / self.siemens_per_weight

    @property
    def crossbars(self) -> tuple[Crossbar, ...]:
        """The arrays alone, as engines take them."""
        return tuple(array.crossbar for array in self.arrays)

    def volts_per_unit(self, vectors: FloatArray) -> FloatArray:
        """(batch,) scale that brings the largest entry of each vector to `v_read`."""
        largest = np.abs(vectors).max(axis=0)
        return self.design.v_read / np.where(largest > 0, largest, 1.0)

    def drives(self, vectors: FloatArray, side: Side) -> list[FloatArray]:
        """Voltages for every array.

        A line is driven with its weight: a transposed read drives a minus bit line with the inverted voltage, which
        makes the sum on a shared word line the differential result. DACs give the nearest of their levels.

        Args:
            vectors: (n, batch) for side "rows", (m, batch) for "cols".
            side: the driven side.
        """
        exact = vectors * self.volts_per_unit(vectors)
        volts = quantise(exact, self.design.v_read, self.design.converters.dac_bits)
        return [by_line(array.lines(side), volts) for array in self.arrays]

    def products(self, currents: Sequence[FloatArray], vectors: FloatArray, side: Side) -> FloatArray:
        """(m, batch) products W x, or (n, batch) products W^T y, from the currents of every array."""
        total = np.zeros((self.shape[0] if side == "rows" else self.shape[1], vectors.shape[1]))
        for array, amperes in zip(self.arrays, currents, strict=True):
            sensed = array.cols if side == "rows" else array.rows
            np.add.at(total, sensed.index, sensed.weight[:, np.newaxis] * amperes)
        return total / self.siemens_per_weight / self.volts_per_unit(vectors)


def map_weights(
    weights: ArrayLike,
    design: Design | None = None,
    *,
    rng: np.random.Generator | None = None,
    siemens_per_weight: float | None = None,
) -> MappedMatrix:
    """Program a weight matrix into arrays.

    Devices are drawn for the whole matrix before it is cut, so that one seed gives the same devices at every
    tile size.

    Args:
        weights: (m, n), finite.
        design: how to build it; the default design when left out.
        rng: source of the programming error.
        siemens_per_weight: k of an earlier programming, for new weights on the same chip; weights beyond its range are
            clipped to `g_max`. Left out, the largest weight takes the range but for the design's headroom.

    Raises:
        InvalidInputError: weights of the wrong shape or not finite, a k that is not positive, or no generator where
            one is needed.
    """
    design = Design() if design is None else design
    matrix = np.asarray(weights, dtype=float)
    if matrix.ndim != 2 or not matrix.size:
        raise InvalidInputError(f"weights must have shape (m, n) with m, n >= 1, got {matrix.shape}")
    if not np.isfinite(matrix).all():
        raise InvalidInputError("weights must be finite, got NaN or infinity among them")
    if siemens_per_weight is not None and not 0 < siemens_per_weight < np.inf:
        raise InvalidInputError(f"siemens_per_weight must be finite and > 0, got {siemens_per_weight}")
    mapping = design.mapping
    largest = float(np.abs(matrix).max())
    whole = mapping.window(design.g_min, design.g_max) / design.headroom
    siemens = siemens_per_weight or whole / (largest if largest > 0 else 1.0)
    target = mapping.targets(matrix.T, siemens, design.g_min)
    if siemens_per_weight is not None:
        target = np.minimum(target, design.g_max)
    used = matrix.T != 0
    if design.compensated:
        target = _compensated(target, design, used)
    programmed = design.variation.program(target, design.g_min, design.g_max, rng)
    rows, cols = matrix.shape
    arrays = tuple(_cut(programmed.conductance, design, used))
    return MappedMatrix((rows, cols), design, arrays, siemens, target, programmed.slope)


def _compensated(target: FloatArray, design: Design, used: NDArray[np.bool_]) -> FloatArray:
    """Conductances whose arrays read like the target without wires, as far as the range allows."""
    found = target.copy()
    for array in _cut(target, design, used):
        wanted = array.crossbar.conductance
        undone = compensate(array.crossbar, wanted, design.g_min, design.g_max, tolerance=COMPENSATED)
        found[array.devices] = undone.crossbar.conductance
    return found


def _cut(devices: FloatArray, design: Design, used: NDArray[np.bool_]) -> list[MappedArray]:
    """The arrays of every tile; with `skip_empty` of those that are used, and of the first one if none is."""
    _, inputs, outputs = devices.shape
    size = design.tile or max(inputs, outputs)
    arrays = []
    for top in range(0, inputs, size):
        for left in range(0, outputs, size):
            rows, cols = min(size, inputs - top), min(size, outputs - left)
            if (
                design.skip_empty
                and not used[top : top + rows, left : left + cols].any()
                and (used.any() or top or left)
            ):
                continue
            for layout in design.mapping.layouts(rows, cols):
                word = Lines(layout.rows.index + top, layout.rows.weight)
                bit = Lines(layout.cols.index + left, layout.cols.weight)
                conductance = devices[layout.device, word.index[:, np.newaxis], bit.index]
                name = f"t{top // size}_{left // size}{layout.suffix}"
                arrays.append(MappedArray(name, design.crossbar(conductance), word, bit, layout.device))
    return arrays
