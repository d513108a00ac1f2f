"""Weight matrices as crossbars: devices, tiles, and the voltage scaling around them.

A weight matrix W (m x n) acts as y = W x. Input j is a word line, output i a bit line: an array of W has n rows. A
`Mapping` says which devices a weight becomes; tiles of T x T weights are arrays of their own whose currents are added
digitally. With k = `siemens_per_weight`, y = sum of weight times current over the lines, / (k * volts per unit of x).

With a headroom h, k is smaller by h: the largest weight leaves the upper part of the range free, for weights that will
grow and for the larger conductances of a compensated array.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import cast, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xbar_spice.checks import Array, Instance, Optional, Real, checked
from xbar_spice.errors import InvalidInputError
from xbar_spice.hardware.crossbar import Crossbar, Side, other
from xbar_spice.hardware.variation import ProgrammingCost
from xbar_spice.linear.convolution import Convolution
from xbar_spice.linear.operator import FloatArray, LinearOperator
from xbar_spice.mapping.base import IntArray, Lines
from xbar_spice.mapping.compensation import compensate
from xbar_spice.mapping.design import Design
from xbar_spice.mapping.programming import measured_devices, programmed_devices
from xbar_spice.mapping.tiled import (
    CLIPPED,
    BuiltTiles,
    by_tile,
    design_of,
    line_orders,
    stays_sparse,
    tiled_targets,
    tiles_of,
)

__all__ = ["MappedArray", "MappedMatrix", "map_weights"]

SMALLEST = 1e-300  # entry of a vector that is scaled to `v_read`
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
        factor: with which the digital side multiplies its currents, in either direction.
    """

    name: str
    crossbar: Crossbar
    rows: Lines
    cols: Lines
    device: IntArray
    factor: float = 1.0

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
        drawn: (devices, n, m) siemens of all devices, of tiles that `skip_empty` left out, too.
        target: (devices, n, m) siemens that programming aimed at.
        slope: (devices, n, m) dG/dT, the derivative of each programmed conductance with respect to its target; 0 for a
            device that is stuck.
        scale: (n, m), or one for all: by which weights were multiplied before they became devices, see `Design.scale`.
        clipped: part of the weights that lie beyond the range of their devices.
        written: (devices, n, m) siemens that programming left, before they drifted.
        cost: of programming by pulses; None where that was not simulated.
    """

    shape: tuple[int, int]
    design: Design
    arrays: tuple[MappedArray, ...]
    siemens_per_weight: float
    drawn: FloatArray
    target: FloatArray
    slope: FloatArray
    scale: FloatArray
    clipped: float
    written: FloatArray
    cost: ProgrammingCost | None = None

    @property
    def present(self) -> NDArray[np.bool_]:
        """(devices, n, m) which devices were built: those of tiles that `skip_empty` left out were not."""
        built = np.zeros(self.drawn.shape, dtype=bool)
        for array in self.arrays:
            built[array.devices] = True
        return built

    def scaled_as(self, other: MappedMatrix) -> MappedMatrix:
        """The same arrays, holding another matrix whose devices have the same targets."""
        return replace(self, siemens_per_weight=other.siemens_per_weight, scale=other.scale, clipped=other.clipped)

    @property
    def left_out(self) -> tuple[MappedArray, ...]:
        """The arrays of the tiles that `skip_empty` left out, as they would be built.

        Nothing reads them. Derivatives need them: a weight of such a tile that leaves zero builds it.
        """
        if by_tile(self.drawn) is not None:
            return ()  # no weight of such a tile can leave zero: the kernel does not reach it
        missing = np.asarray(~self.present.any(axis=0))
        return tuple(_cut(self.drawn, self.target, self.design, missing, self.scale))

    @property
    def activations(self) -> int:
        """How many times the arrays are read one after the other for one product; see `Design.active_rows`."""
        size = self.design.active_rows
        inputs = min(self.shape[1], self.design.tile or self.shape[1])
        longest = max(layout.rows.index.size for layout in self.design.mapping.layouts(inputs, 1))
        return 1 if size is None else -(-longest // size)

    @property
    def largest_weight(self) -> float:
        """The weight that takes a device to `g_max`: the `weight_range` of a model for the same chip."""
        return self.design.mapping.window(self.design.g_min, self.design.g_max) / self.siemens_per_weight

    @property
    def programmed(self) -> FloatArray:
        """(m, n) the weights that the devices stand for, whatever wires and terminals make of them."""
        total = np.zeros(self.shape)
        for outputs, inputs, block in self.blocks([array.crossbar.conductance for array in self.arrays]):
            total[outputs, inputs] += block
        return total / self.siemens_per_weight

    def blocks(self, siemens: Sequence[FloatArray]) -> Iterator[tuple[slice, slice, FloatArray]]:
        """The weights, in siemens, that the arrays act with if each takes drives to currents by a matrix; they add up.

        Args:
            siemens: (rows, cols) of every array, such as its conductances or its transfer matrix.

        Yields:
            For every array the outputs and the inputs of its tile, and (outputs, inputs) its part of their weights.
        """
        for array, cells in zip(self.arrays, siemens, strict=True):
            rows, cols = array.rows.local, array.cols.local
            by_output = np.zeros((cols.span.stop, cells.shape[0]))
            cols.collect(by_output, cells.T)
            block = np.zeros((rows.span.stop, cols.span.stop))
            rows.collect(block, by_output.T)
            yield array.cols.span, array.rows.span, array.factor * block.T - self.baseline / array.cols.divisor

    def weight_gradient(self, weights: FloatArray, devices: FloatArray) -> FloatArray:
        """The gradient with respect to the weights, from that with respect to the devices.

        Args:
            weights: (m, n) that were programmed.
            devices: (..., devices, n, m) dL/dG.

        Returns:
            (..., m, n).
        """
        slopes = self.siemens_per_weight * self.slope * devices
        of_weights = self.design.mapping.slopes(self.scale * weights.T) * self.scale
        return np.asarray(np.swapaxes((of_weights * slopes).sum(axis=-3), -1, -2))

    @property
    def crossbars(self) -> tuple[Crossbar, ...]:
        """The arrays alone, as engines take them."""
        return tuple(array.crossbar for array in self.arrays)

    def volts_per_unit(self, vectors: FloatArray) -> FloatArray:
        """(batch,) scale that brings the largest entry of each vector to `v_read`; a vector of zeros has any, here 1.

        Vectors so small that the scale would overflow are driven with less.
        """
        largest = np.abs(vectors).max(axis=0)
        return np.asarray(self.design.v_read / np.where(largest > 0, np.maximum(largest, SMALLEST), 1.0))

    def volts(self, vectors: FloatArray) -> FloatArray:
        """What the DACs make of vectors, of the same shape: the nearest of their levels."""
        return self.design.converters.drive(vectors * self.volts_per_unit(vectors), self.design.v_read)

    def drives(self, vectors: FloatArray, side: Side, arrays: Sequence[MappedArray] | None = None) -> list[FloatArray]:
        """Voltages for every array.

        A line is driven with its weight: a transposed read drives a minus bit line with the inverted voltage, which
        makes the sum on a shared word line the differential result. DACs give the nearest of their levels.

        Args:
            vectors: (n, batch) for side "rows", (m, batch) for "cols".
            side: the driven side.
            arrays: other ones than those that were built, such as `left_out`.
        """
        driven = self.arrays if arrays is None else arrays
        volts = self.volts(vectors)
        return [array.lines(side).spread(volts) for array in driven]

    def pulses(self, vectors: FloatArray, side: Side) -> tuple[list[FloatArray], FloatArray]:
        """What a read really applies, one after the other: the drives themselves, or the pulses of bit-serial inputs.

        Args:
            vectors: (n, batch) for side "rows", (m, batch) for "cols".
            side: the driven side.

        Returns:
            Voltages for every array, (lines, pulses * batch), all first pulses first; and (pulses,) with which part
            each one counts.
        """
        converters = self.design.converters
        if not converters.serial:
            return self.drives(vectors, side), np.ones(1)
        exact = vectors * self.volts_per_unit(vectors)
        volts, parts = converters.pulses(exact, self.design.v_read)
        joined = np.moveaxis(volts, 0, 1).reshape(len(vectors), -1)
        return [array.lines(side).spread(joined) for array in self.arrays], parts

    def products(self, currents: Sequence[FloatArray], vectors: FloatArray, side: Side) -> FloatArray:
        """(m, batch) products W x, or (n, batch) products W^T y, from the currents of every array.

        The currents are scaled by the largest entry of each vector, which the digital side knows. For a vector of zeros
        that is 0, and so is its product, whatever noise or offset the currents have: the limit of ever smaller vectors,
        and the same in whatever unit the vectors are counted.
        """
        total = np.zeros((self.shape[0] if side == "rows" else self.shape[1], vectors.shape[1]))
        for array, amperes in zip(self.arrays, currents, strict=True):
            array.lines(other(side)).collect(total, amperes if array.factor == 1 else array.factor * amperes)
        if self.baseline:
            self._subtract_baseline(total, vectors, side)
        return np.where(vectors.any(axis=0), total / self.siemens_per_weight / self.volts_per_unit(vectors), 0.0)

    @property
    def baseline(self) -> float:
        """Siemens that every weight has on top, and that the digital side subtracts, times a tile's summed inputs."""
        return self.design.mapping.baseline(self.design.g_min, self.design.g_max)

    def _subtract_baseline(self, total: FloatArray, vectors: FloatArray, side: Side) -> None:
        for array, volts in zip(self.arrays, self.drives(vectors, side), strict=True):
            sensed = array.lines(other(side))
            total[sensed.span] -= self.baseline * volts.sum(axis=0) / sensed.divisor


@checked()
def map_weights(
    weights: ArrayLike | LinearOperator,
    design: Design | None = None,
    *,
    rng: np.random.Generator | None = None,
    siemens_per_weight: float | None = None,
    cycle_rng: np.random.Generator | None = None,
    conductance: ArrayLike | None = None,
    before: ArrayLike | None = None,
) -> MappedMatrix:
    """Program a weight matrix into arrays.

    Devices are drawn for the whole matrix before it is cut, so that one seed gives the same devices at every
    tile size.

    Args:
        weights: (m, n), finite; of a convolution that is large the operator, which is mapped without its zeros.
        design: how to build it; the default design when left out.
        rng: source of the programming error.
        siemens_per_weight: k of an earlier programming, for new weights on the same chip; weights beyond its range are
            clipped to `g_max`. Left out, the largest weight takes the range but for the design's headroom.
        cycle_rng: source of what this occasion of programming adds, `Design.cycle`; a stream of `rng` when left out.
        conductance: (devices, n, m) siemens, a measured map that takes the place of all that programming and time would
            make of the targets. Gradients take it that a device follows its target.
        before: (devices, n, m) siemens that the devices have, from which programming by pulses starts.

    Raises:
        InvalidInputError: weights of the wrong shape or not finite, a k that is not positive, or no generator where
            one is needed.
    """
    design = Design() if design is None else design
    design = design_of(weights, Instance(Design, example="Design(r_word=1.0)")("design", design))
    Optional(Instance(np.random.Generator, example="numpy.random.default_rng(0)"))("rng", rng)
    Optional(Real("S", above=0))("siemens_per_weight", siemens_per_weight)
    if isinstance(weights, Convolution) and stays_sparse(weights, design) and conductance is None:
        return _mapped_by_tile(weights, design, siemens_per_weight)
    matrix = Array()("weights", weights.to_dense() if isinstance(weights, LinearOperator) else weights)
    if matrix.ndim != 2 or not matrix.size:
        raise InvalidInputError(f"weights must have shape (m, n) with m, n >= 1, got {matrix.shape}")
    mapping = design.mapping
    window = mapping.window(design.g_min, design.g_max)
    sizes = np.abs(matrix.T)
    largest = float(np.quantile(sizes, design.coverage)) if design.coverage < 1 else float(sizes.max())
    siemens = siemens_per_weight or (window / design.headroom) / (largest if largest > 0 else 1.0)
    scale = _scale(sizes, window / design.headroom / siemens, design)
    wanted = scale * matrix.T
    target = np.minimum(mapping.targets(wanted, siemens, design.g_min, design.g_max), design.g_max)
    clipped = float((siemens * np.abs(wanted) > window * (1 + CLIPPED)).mean())
    used = (matrix.T != 0) if design.skip_empty else np.ones(matrix.T.shape, dtype=bool)
    if not used.any():
        used[0, 0] = True  # a matrix of zeros keeps its first tile
    if design.compensated:
        target = _compensated(target, design, used, scale)
    if conductance is None:
        whole = _cut(target, target, design.at_once, used, scale)
        written, programmed = programmed_devices(target, design, whole, rng, cycle_rng, before)
    else:
        written = programmed = measured_devices(conductance, target, design)
    (rows, cols), drawn, slope = matrix.shape, programmed.conductance, programmed.slope
    arrays, left = tuple(_cut(drawn, target, design, used, scale)), (written.conductance, written.cost)
    return MappedMatrix((rows, cols), design, arrays, siemens, drawn, target, slope, scale, clipped, *left)


def _mapped_by_tile(operator: Convolution, design: Design, siemens_per_weight: float | None) -> MappedMatrix:
    """A large convolution without programming error, of which only the tiles are made that its kernel reaches."""
    siemens, targets, clipped = tiled_targets(operator, design, siemens_per_weight)
    tiled, slope, scale = cast(FloatArray, targets), np.broadcast_to(1.0, targets.shape), np.ones((1, 1))
    arrays = tuple(_cut(tiled, tiled, design, cast("NDArray[np.bool_]", BuiltTiles(targets.blocks)), scale))
    return MappedMatrix(operator.shape, design, arrays, siemens, tiled, tiled, slope, scale, clipped, tiled)


def _scale(sizes: FloatArray, largest: float, design: Design) -> FloatArray:
    """By how much weights can be multiplied before they fill the range of their devices; 1 for the whole matrix."""
    scale = np.ones((1, 1))
    if design.scale == "matrix":
        return scale
    scale = np.ones_like(sizes)
    for rows, cols in tiles_of(sizes.shape, design):
        block = sizes[rows, cols].max(axis=0 if design.scale == "column" else None, keepdims=True)
        scale[rows, cols] = np.where(block > 0, np.maximum(largest / np.where(block > 0, block, 1.0), 1.0), 1.0)
    return scale


def _compensated(target: FloatArray, design: Design, used: NDArray[np.bool_], scale: FloatArray) -> FloatArray:
    """Conductances whose arrays read like the target without wires, as far as the range allows."""
    found = target.copy()
    for array in _cut(target, target, design, used, scale):
        wanted = array.crossbar.conductance
        undone = compensate(array.crossbar, wanted, design.g_min, design.g_max, tolerance=COMPENSATED)
        found[array.devices] = undone.crossbar.conductance
    return found


def _cut(
    devices: FloatArray, target: FloatArray, design: Design, used: NDArray[np.bool_], scale: FloatArray
) -> Iterator[MappedArray]:
    """The arrays of the tiles of which any part is used, (inputs, outputs)."""
    _, inputs, outputs = devices.shape
    size = design.tile or max(inputs, outputs)
    for rows, cols in tiles_of((inputs, outputs), design):
        if not used[rows, cols].any():
            continue
        divisor = None if design.scale == "matrix" else scale[rows.start, cols]
        for layout in design.mapping.layouts(rows.stop - rows.start, cols.stop - cols.start):
            place = layout.device, rows.start + layout.rows.index[:, np.newaxis], cols.start + layout.cols.index
            word_order, bit_order = line_orders(target[place], design)
            word = layout.rows.moved(rows.start, word_order)
            bit = layout.cols.moved(cols.start, bit_order, divisor)
            shape = word_order.size, bit_order.size
            orders = [
                order if count > 1 else np.zeros(1, dtype=np.int64)
                for order, count in zip((word_order, bit_order), layout.device.shape, strict=True)
            ]
            device = np.broadcast_to(layout.device[np.ix_(*orders)], shape)  # without a number for every cell
            conductance = devices[device, word.index[:, np.newaxis], bit.index]
            name = f"t{rows.start // size}_{cols.start // size}{layout.suffix}"
            step = design.active_rows or word_order.size
            for first in range(0, word_order.size, step):
                active = slice(first, first + step)
                ending = f"_{first // step}" if design.active_rows else ""
                below = max(word_order.size - first - step, 0)
                crossbar = design.crossbar(conductance[active], below)
                yield MappedArray(name + ending, crossbar, word.part(active), bit, device[active], layout.factor)
