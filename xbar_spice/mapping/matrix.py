"""Weight matrices as crossbars: differential pairs, tiles, and the voltage scaling around them.

A weight matrix W (m x n) acts as y = W x. A signed weight w is a pair of devices G+- = g_min + k max(+-w, 0) with
k = (g_max - g_min) / max|W|, so that y = (I+ - I-) / (k * volts per unit of x). Input j is a word line, output i a
bit line: an array of W has n rows. Tiles of T x T weights are arrays of their own whose currents are added digitally.

With a headroom h, k is smaller by h: the largest weight leaves the upper part of the range free, for weights that will
grow and for the larger conductances of a compensated array.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xbar_spice.checks import Array, Flag, Instance, OneOf, Optional, Real, Rule, Whole, checked, settle
from xbar_spice.errors import InvalidInputError
from xbar_spice.hardware.amplifier import Amplifier
from xbar_spice.hardware.cells import Device, Ohmic
from xbar_spice.hardware.converters import Converters, quantise
from xbar_spice.hardware.crossbar import PARTS, Crossbar, Side, Terminations
from xbar_spice.hardware.read_noise import ReadNoise
from xbar_spice.hardware.variation import Variation
from xbar_spice.linear.operator import FloatArray
from xbar_spice.mapping.compensation import compensate

__all__ = ["Design", "MappedArray", "MappedMatrix", "map_weights"]

IntArray = NDArray[np.int64]

SMALLEST = 1e-300  # entry of a vector that is scaled to `v_read`
COMPENSATED = 1e-3  # of the largest conductance: less than programming can hit

RULES: dict[str, Rule[Any]] = {
    "mapping": OneOf("differential", "interleaved"),
    "tile": Optional(Whole(1), "for one array"),
    "active_rows": Optional(Whole(1), "for all word lines at once"),
    "g_min": Real("S", least=0),
    "g_max": Real("S", least=1e-30, most=1e6),  # far beyond any device, and far from overflow
    "v_read": Real("V", least=1e-30, most=1e6),
    **PARTS,
    "variation": Instance(Variation, example="Variation(programming=0.05)"),
    "noise": Instance(ReadNoise, example="ReadNoise(device=0.01)"),
    "converters": Instance(Converters, example="Converters(adc_bits=8)"),
    "headroom": Real(least=1),
    "compensated": Flag(),
    "skip_empty": Flag(),
}


@final
@dataclass(frozen=True)
class Design:
    """How a weight matrix is built as arrays.

    Attributes:
        mapping: "differential" puts G+ and G- in two separate arrays, "interleaved" as neighbouring bit lines of one.
        tile: largest number of inputs and of outputs of one array; None builds one array whatever its size.
        active_rows: how many neighbouring word lines of an array are read at a time, the access transistors of all
            others being off; their currents are added digitally. None reads all at once.
        skip_empty: leave out the tiles whose weights are all zero.
        g_min: lowest programmed conductance, siemens.
        g_max: highest programmed conductance, siemens.
        r_word: ohm per segment of a word line.
        r_bit: ohm per segment of a bit line.
        r_driver: ohm of each driver.
        r_sense: ohm of each sense terminal.
        v_read: volts that the largest entry of every input vector is scaled to.
        device: law of the cells.
        terminations: which ends of the lines a read uses.
        variation: what programming does to the devices.
        amplifier: what senses the lines; a source of 0 V unless it has a feedback resistor.
        noise: what every read adds.
        converters: resolution of drives and sense currents.
        headroom: how many times the range of conductances holds the largest weight.
        compensated: program the conductances that undo wires, drivers and sense terminals, see `compensate`; what
            the variation will do to a device is not known then.
        reltol: what ngspice's Newton method stops by, see `Crossbar`.
    """

    mapping: Literal["differential", "interleaved"] = "differential"
    tile: int | None = None
    g_min: float = 1e-6
    g_max: float = 1e-4
    r_word: float = 0.0
    r_bit: float = 0.0
    r_driver: float = 0.0
    r_sense: float = 0.0
    v_read: float = 0.2
    device: Device = field(default_factory=Ohmic)
    terminations: Terminations = field(default_factory=Terminations)
    variation: Variation = field(default_factory=Variation)
    amplifier: Amplifier = field(default_factory=Amplifier)
    noise: ReadNoise = field(default_factory=ReadNoise)
    converters: Converters = field(default_factory=Converters)
    headroom: float = 1.0
    compensated: bool = False
    skip_empty: bool = False
    reltol: float | None = None
    active_rows: int | None = None

    def __post_init__(self) -> None:
        settle(self, **RULES)
        if self.active_rows is not None and (self.terminations.transposed, self.terminations.sense) != (
            "same_ends",
            "single",
        ):
            raise InvalidInputError(
                "active_rows takes terminations with transposed='same_ends' and sense='single': wires below the rows "
                f"that are read count with the terminals of the bit lines, got {self.terminations!r}"
            )
        if not self.g_min < self.g_max:
            raise InvalidInputError(f"0 <= g_min < g_max (siemens) is needed, got {self.g_min} and {self.g_max}")
        if self.compensated and not (self.device.linear and self.amplifier.linear):
            raise InvalidInputError(
                "only linear cells with linear amplifiers can be compensated, got "
                f"{self.device!r} and {self.amplifier!r}; try compensated=False, or Ohmic() without saturation"
            )
        self.crossbar([[self.g_min, self.g_max]])  # checks the resistances, and warns of the conductances

    @property
    def random(self) -> bool:
        """True if runs with other seeds differ."""
        return self.variation.random or self.noise.random

    @property
    def exact_reads(self) -> bool:
        """True if reads are what the arrays answer, without noise and rounding."""
        return not self.noise.random and self.converters.ideal

    def crossbar(self, conductance: ArrayLike, below: int = 0) -> Crossbar:
        """An array of this design with these conductances.

        Args:
            conductance: (rows, cols) siemens of the word lines that are read together.
            below: how many others lie between them and the terminals of the bit lines. Their transistors are off, so
                that nothing is left of them but wire.
        """
        return Crossbar(
            Array()("conductance", conductance),
            r_word=self.r_word,
            r_bit=self.r_bit,
            r_driver=self.r_driver,
            r_sense=self.r_sense + below * self.r_bit,
            device=self.device,
            terminations=self.terminations,
            amplifier=self.amplifier,
            reltol=self.reltol,
        )


@final
@dataclass(frozen=True, eq=False)
class MappedArray:
    """One array of a weight matrix.

    Attributes:
        name: letters, digits and underscores; unique within the matrix.
        crossbar: the programmed array.
        inputs: (rows,) index of the input that each word line carries.
        outputs: (cols,) index of the output that each bit line belongs to.
        signs: (cols,) +1 or -1, with which a bit line counts for its output.
    """

    name: str
    crossbar: Crossbar
    inputs: IntArray
    outputs: IntArray
    signs: FloatArray

    @property
    def devices(self) -> tuple[IntArray, IntArray, IntArray]:
        """Indices that pick this array's (rows, cols) out of all devices of the matrix, (2, inputs, outputs)."""
        return (self.signs < 0).astype(np.int64), self.inputs[:, np.newaxis], self.outputs


@final
@dataclass(frozen=True, eq=False)
class MappedMatrix:
    """A weight matrix as a set of arrays, and the digital arithmetic around them.

    Attributes:
        shape: (m, n) of the weight matrix.
        design: how it was built.
        arrays: the arrays.
        siemens_per_weight: k, the conductance of a weight of 1.
        drawn: (2, n, m) siemens of all devices, of tiles that `skip_empty` left out, too.
    """

    shape: tuple[int, int]
    design: Design
    arrays: tuple[MappedArray, ...]
    siemens_per_weight: float
    drawn: FloatArray

    @property
    def present(self) -> NDArray[np.bool_]:
        """(2, n, m) which devices were built: those of tiles that `skip_empty` left out were not."""
        built = np.zeros(self.drawn.shape, dtype=bool)
        for array in self.arrays:
            built[array.devices] = True
        return built

    @property
    def left_out(self) -> tuple[MappedArray, ...]:
        """The arrays of the tiles that `skip_empty` left out, as they would be built.

        Nothing reads them. Derivatives need them: a weight of such a tile that leaves zero builds it.
        """
        return tuple(_cut(self.drawn, self.design, ~self.present[0]))

    @property
    def activations(self) -> int:
        """How many times the arrays are read one after the other for one product; see `Design.active_rows`."""
        size = self.design.active_rows
        longest = min(self.shape[1], self.design.tile or self.shape[1])
        return 1 if size is None else -(-longest // size)

    @property
    def largest_weight(self) -> float:
        """The weight that takes a device to `g_max`: the `weight_range` of a model for the same chip."""
        return (self.design.g_max - self.design.g_min) / self.siemens_per_weight

    @property
    def programmed(self) -> FloatArray:
        """(m, n) the weights that the devices stand for, whatever wires and terminals make of them."""
        total = np.zeros(self.shape)
        for array in self.arrays:
            signed = (array.signs * array.crossbar.conductance).T
            np.add.at(total, (array.outputs[:, np.newaxis], array.inputs), signed)
        return total / self.siemens_per_weight

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

    def drives(self, vectors: FloatArray, side: Side, arrays: Sequence[MappedArray] | None = None) -> list[FloatArray]:
        """Voltages for every array.

        A transposed read drives a minus bit line with the inverted voltage, which makes the sum on a shared word
        line the differential result. DACs give the nearest of their levels.

        Args:
            vectors: (n, batch) for side "rows", (m, batch) for "cols".
            side: the driven side.
            arrays: other ones than those that were built, such as `left_out`.
        """
        driven = self.arrays if arrays is None else arrays
        exact = vectors * self.volts_per_unit(vectors)
        volts = quantise(exact, self.design.v_read, self.design.converters.dac_bits)
        if side == "rows":
            return [volts[array.inputs] for array in driven]
        return [array.signs[:, np.newaxis] * volts[array.outputs] for array in driven]

    def products(self, currents: Sequence[FloatArray], vectors: FloatArray, side: Side) -> FloatArray:
        """(m, batch) products W x, or (n, batch) products W^T y, from the currents of every array.

        The currents are scaled by the largest entry of each vector, which the digital side knows. For a vector of zeros
        that is 0, and so is its product, whatever noise or offset the currents have: the limit of ever smaller vectors,
        and the same in whatever unit the vectors are counted.
        """
        total = np.zeros((self.shape[0] if side == "rows" else self.shape[1], vectors.shape[1]))
        for array, amperes in zip(self.arrays, currents, strict=True):
            if side == "rows":
                np.add.at(total, array.outputs, array.signs[:, np.newaxis] * amperes)
            else:
                np.add.at(total, array.inputs, amperes)
        return np.where(vectors.any(axis=0), total / self.siemens_per_weight / self.volts_per_unit(vectors), 0.0)


@checked()
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
    Instance(Design, example="Design(r_word=1.0)")("design", design)
    Optional(Instance(np.random.Generator, example="numpy.random.default_rng(0)"))("rng", rng)
    matrix = Array()("weights", weights)
    if matrix.ndim != 2 or not matrix.size:
        raise InvalidInputError(f"weights must have shape (m, n) with m, n >= 1, got {matrix.shape}")
    Optional(Real("S", above=0))("siemens_per_weight", siemens_per_weight)
    largest = float(np.abs(matrix).max())
    whole = (design.g_max - design.g_min) / design.headroom
    siemens = siemens_per_weight or whole / (largest if largest > 0 else 1.0)
    # (2, n, m): plus and minus devices, word lines first.
    target = design.g_min + siemens * np.maximum(np.stack([matrix.T, -matrix.T]), 0.0)
    if siemens_per_weight is not None:
        target = np.minimum(target, design.g_max)
    used = (matrix.T != 0) if design.skip_empty else np.ones(matrix.T.shape, dtype=bool)
    if not used.any():
        used[0, 0] = True  # a matrix of zeros keeps its first tile
    if design.compensated:
        target = _compensated(target, design, used)
    devices = design.variation.apply(target, design.g_min, design.g_max, rng)
    rows, cols = matrix.shape
    return MappedMatrix((rows, cols), design, tuple(_cut(devices, design, used)), siemens, devices)


def _compensated(target: FloatArray, design: Design, used: NDArray[np.bool_]) -> FloatArray:
    """Conductances whose arrays read like the target without wires, as far as the range allows."""
    found = target.copy()
    for array in _cut(target, design, used):
        wanted = array.crossbar.conductance
        undone = compensate(array.crossbar, wanted, design.g_min, design.g_max, tolerance=COMPENSATED)
        found[array.devices] = undone.crossbar.conductance
    return found


def _cut(devices: FloatArray, design: Design, used: NDArray[np.bool_]) -> list[MappedArray]:
    """The arrays of the tiles of which any part is used, (inputs, outputs)."""
    _, inputs, outputs = devices.shape
    size = design.tile or max(inputs, outputs)
    arrays = []
    for top in range(0, inputs, size):
        for left in range(0, outputs, size):
            rows = np.arange(top, min(top + size, inputs))
            cols = np.arange(left, min(left + size, outputs))
            if not used[rows[:, np.newaxis], cols].any():
                continue
            name = f"t{top // size}_{left // size}"
            step = design.active_rows or rows.size
            for first in range(0, rows.size, step):
                block = rows[first : first + step]
                below = int(rows[-1] - block[-1])
                ending = f"_{first // step}" if design.active_rows else ""
                arrays += _pair(devices, design, name, ending, block, cols, below)
    return arrays


def _pair(
    devices: FloatArray, design: Design, name: str, ending: str, rows: IntArray, cols: IntArray, below: int
) -> list[MappedArray]:
    """The plus and minus devices of the word lines of a tile that are read together, with others below them."""
    plus, minus = devices[:, rows[:, np.newaxis], cols]
    if design.mapping == "interleaved":
        pairs = np.stack([plus, minus], axis=2).reshape(rows.size, 2 * cols.size)
        signs = np.tile([1.0, -1.0], cols.size)
        return [MappedArray(name + ending, design.crossbar(pairs, below), rows, np.repeat(cols, 2), signs)]
    return [
        MappedArray(name + suffix + ending, design.crossbar(half, below), rows, cols, np.full(cols.size, sign))
        for suffix, half, sign in (("p", plus, 1.0), ("m", minus, -1.0))
    ]
