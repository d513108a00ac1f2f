"""Weight matrices that live in arrays: every product is a read."""

from __future__ import annotations

import time
from dataclasses import dataclass, fields, replace
from typing import Any, cast, final

import numpy as np
from numpy.typing import ArrayLike

from xbar_spice.checks import Array, Instance, Optional, Text, checked
from xbar_spice.engines.base import Bank, Closeable, Engine
from xbar_spice.engines.registry import get_engine
from xbar_spice.errors import InvalidInputError
from xbar_spice.hardware.crossbar import Side, other
from xbar_spice.hardware.digital_numbers import Rounded
from xbar_spice.linear.convolution import Convolution
from xbar_spice.linear.fourier_form import BlockDiagonalMatrix
from xbar_spice.linear.operator import DenseOperator, FloatArray, LinearOperator
from xbar_spice.mapping.design import Design
from xbar_spice.mapping.matrix import MappedMatrix, map_weights
from xbar_spice.mapping.measured import conductance_map
from xbar_spice.mapping.merged import MergedReads
from xbar_spice.mapping.noisy_twin import NoisyTwin
from xbar_spice.mapping.power import read_power
from xbar_spice.mapping.readout import Readout
from xbar_spice.mapping.rewritten import SharedArrays
from xbar_spice.mapping.trace import Direction, ReadRecord, ReadTrace
from xbar_spice.read_context import current_stage

__all__ = ["AnalogMatrix", "program"]

CALIBRATION = 64  # vectors

_DIRECTION: dict[Side, Direction] = {"rows": "forward", "cols": "transposed"}


def _checked_calibration(calibration: ArrayLike, mapped: MappedMatrix) -> FloatArray:
    """(n, batch) inputs, of a design that uses them."""
    samples, inputs = Array()("calibration", calibration), mapped.shape[1]
    if samples.ndim != 2 or samples.shape[0] != inputs or not samples.shape[1]:
        raise InvalidInputError(f"calibration must have shape ({inputs}, batch), got {samples.shape}")
    converters = mapped.design.converters
    if converters.exact_currents or converters.adc_reference != "calibration":
        raise InvalidInputError(
            "calibration has no effect without Converters(adc_bits=..., adc_reference='calibration'), got "
            f"{converters!r}; leave it out"
        )
    return samples


@final
@dataclass(frozen=True, eq=False)
class _Arrays:
    """Programmed arrays, and what stands around them."""

    mapped: MappedMatrix
    bank: Bank
    readout: Readout
    merged: MergedReads


@final
class AnalogMatrix(LinearOperator, Closeable):
    """A weight matrix programmed into arrays; a context manager, because a simulator may stand behind it.

    `mv` reads forward and `T.mv` transposed; both see all parasitics of their own direction, and the read noise and the
    converters of the design.
    """

    @checked()
    def __init__(
        self,
        weights: ArrayLike | LinearOperator,
        mapped: MappedMatrix,
        bank: Bank,
        *,
        name: str = "W",
        trace: ReadTrace | None = None,
        readout: Readout | None = None,
        calibration: ArrayLike | None = None,
        rounded: Rounded | None = None,
    ) -> None:
        if isinstance(weights, Convolution | BlockDiagonalMatrix):
            self._digital: DenseOperator | Convolution | BlockDiagonalMatrix = weights
        else:
            self._digital = DenseOperator(cast(Any, weights), "weights")
        self._calibration = None if calibration is None else _checked_calibration(calibration, mapped)
        self._own = self._held = _Arrays(mapped, bank, readout or Readout(mapped), MergedReads(mapped, bank))
        self._shared: SharedArrays | None = None
        self._trace = trace
        self.rounded = rounded
        """What rounds activations, and has counted them; None where the digital part computes with float64."""
        self.name = name
        self.power: dict[Direction, float] = {}
        """Watts of the first read in each direction, see `read_power`."""

    @property
    def shape(self) -> tuple[int, int]:
        return self.mapped.shape

    @property
    def mapped(self) -> MappedMatrix:
        """Its arrays; of those that all steps share, as the last read has found them."""
        return self._held.mapped

    @property
    def shared(self) -> SharedArrays | None:
        """The arrays that it shares with the matrices of other steps; None of one that has its own."""
        return self._shared

    def share(self, arrays: SharedArrays) -> None:
        """Read arrays from now on that the matrices of other steps are written to, too."""
        arrays.add(self.name, self._own.mapped, self._own.bank)
        self._shared = arrays

    @property
    def weights(self) -> FloatArray:
        """(m, n) the wanted matrix, which the arrays hold as well as they can."""
        return self._digital.matrix

    def noisy_twin(self, rng: np.random.Generator | None) -> LinearOperator:
        return NoisyTwin(self, rng)

    def spread(self, vectors: ArrayLike, side: Side = "rows") -> FloatArray:
        """How far reads lie from what exact converters and arrays without read noise would give.

        Args:
            vectors: (n, batch); (m, batch) of transposed reads.
            side: The driven side, "cols" for transposed reads.

        Returns:
            (m, batch), or (n, batch), expected root mean square deviation; rounding counts as an error uniform over one
            spacing of levels.
        """
        x, mapped = Array()("vectors", vectors), self.mapped
        driven, sensed = (1, 0) if side == "rows" else (0, 1)
        if x.ndim != 2 or x.shape[0] != self.shape[driven]:
            raise InvalidInputError(f"vectors must have shape ({self.shape[driven]}, batch), got {x.shape}")
        variance = np.zeros((self.shape[sensed], x.shape[1]))
        self._calibrate(side)
        drives, parts = mapped.pulses(x, side)
        for array, squares in zip(mapped.arrays, self._held.readout.variance(drives, side), strict=True):
            array.lines(other(side)).squared.collect(variance, array.factor**2 * _added(squares, parts**2))
        scale = mapped.volts_per_unit(x)
        step = mapped.design.converters.drive_spacing(mapped.design.v_read) / scale
        squares = (self._digital.matrix if side == "rows" else self._digital.matrix.T) ** 2
        of_digits = mapped.design.numbers.variance * (1.0 + squares.sum(axis=1, keepdims=True))
        rounded = squares @ (x != 0) * step**2 / 12 + of_digits
        deviation = np.sqrt(variance / (mapped.siemens_per_weight * scale) ** 2 + rounded)
        return np.where(x.any(axis=0), deviation, 0.0)  # the product of a vector of zeros is exact, see `products`

    @property
    def digital(self) -> DenseOperator | Convolution | BlockDiagonalMatrix:
        """The wanted matrix as an operator."""
        return self._digital

    @property
    def keeps_kernel(self) -> bool:
        return self._digital.keeps_kernel

    def outer(self, cotangent: FloatArray, x: FloatArray) -> FloatArray:
        return self._digital.outer(cotangent, x)

    def _forward(self, x: FloatArray) -> FloatArray:
        return self._read(x, "rows")

    def _transposed(self, y: FloatArray) -> FloatArray:
        return self._read(y, "cols")

    def _read(self, vectors: FloatArray, side: Side) -> FloatArray:
        if not np.isfinite(vectors).all():
            raise InvalidInputError(f"matrix {self.name!r} cannot be read with NaN or infinity in its input")
        if not vectors.shape[1]:
            return np.zeros((self.shape[0] if side == "rows" else self.shape[1], 0))
        writes = self._find()
        asked, vectors = vectors, vectors if self.rounded is None else self.rounded(vectors)
        if _DIRECTION[side] not in self.power:
            self.power[_DIRECTION[side]] = read_power(self.mapped, vectors, side)
        start = time.perf_counter()
        held = self._held
        products, parts = held.merged.products(vectors, side), 1
        if products is None:
            self._calibrate(side)
            drives, weights = self.mapped.pulses(vectors, side)
            currents = held.readout(held.bank.read(drives, side), drives, side)
            products = self.mapped.products([_added(amperes, weights) for amperes in currents], vectors, side)
            parts = len(weights)
        if self.rounded is not None:
            products = self.rounded(products)
        if self._trace is not None:
            record = self._record(asked, products, side, time.perf_counter() - start, parts)
            self._trace.append(replace(record, writes=writes) if writes else record)
        return products

    def _find(self) -> int:
        """Look what the arrays hold, if they are shared; returns how often they are written for the next read."""
        if self._shared is None:
            return 0
        mapped, bank, writes = self._shared.holding(self.name)
        own = self._own
        if bank is own.bank:
            self._held = own
        elif bank is not self._held.bank:
            mapped = mapped.scaled_as(own.mapped)
            self._held = _Arrays(mapped, bank, own.readout.before(mapped), MergedReads(mapped, bank))
        return writes

    def _calibrate(self, side: Side) -> None:
        """Set the range of the ADCs, before the first read of a side that needs it."""
        held = self._held
        if not held.readout.needs_calibration(side):
            return
        samples, count = self._calibration, self.shape[1] if side == "rows" else self.shape[0]
        if samples is None:
            samples = np.random.default_rng(0).standard_normal((self.shape[1], CALIBRATION))
            samples = np.hstack([samples, np.abs(samples)])  # images and what a ReLU leaves have one sign
        if side == "cols":  # what comes back is most like what went out
            samples = self._digital.mv(samples)
        if not samples.any():
            samples = np.eye(count)
        held.readout.calibrate(held.bank.read(self.mapped.pulses(samples, side)[0], side), side)

    def _record(self, vectors: FloatArray, products: FloatArray, side: Side, seconds: float, pulses: int) -> ReadRecord:
        digital = self._digital if side == "rows" else self._digital.T
        wanted = digital.mv(vectors)
        error, size = np.linalg.norm(products - wanted, axis=0), np.linalg.norm(wanted, axis=0)
        # Where the digital product is zero, an error is one of the largest product that the devices could stand for.
        largest = self.mapped.largest_weight * np.abs(vectors).sum(axis=0)
        whole = np.linalg.norm(size) or np.linalg.norm(largest) or 1.0
        size = np.where(size > 0, size, largest)
        stage = current_stage()
        return ReadRecord(
            phase=stage.phase or "",
            step=stage.step,
            newton=stage.newton,
            krylov=stage.krylov,
            matrix=self.name,
            direction=_DIRECTION[side],
            batch=vectors.shape[1],
            relative_error=float(np.linalg.norm(error) / whole),
            worst_relative_error=float(np.divide(error, size, out=np.zeros_like(error), where=size > 0).max()),
            seconds=seconds,
            source=self._held.bank.source,
            pulses=pulses,
        )

    def close(self) -> None:
        if self._shared is not None:
            self._shared.close()
        for held in (self._own, self._held):
            held.merged.forget()
            held.bank.close()


def _added(values: FloatArray, parts: FloatArray) -> FloatArray:
    """(lines, batch) sum of the pulses of every vector, from (lines, pulses * batch)."""
    if parts.size == 1:
        return values
    return np.asarray(np.tensordot(parts, values.reshape(len(values), parts.size, -1), axes=([0], [1])))


@checked()
def program(  # noqa: PLR0913 - all that a chip is made of
    weights: ArrayLike | LinearOperator,
    design: Design | None = None,
    *,
    engine: str | Engine = "nodal",
    rng: np.random.Generator | None = None,
    noise_rng: np.random.Generator | None = None,
    name: str = "W",
    trace: ReadTrace | None = None,
    siemens_per_weight: float | None = None,
    calibration: ArrayLike | None = None,
    cycle_rng: np.random.Generator | None = None,
    conductance: ArrayLike | None = None,
    before: ArrayLike | None = None,
    rounding_rng: np.random.Generator | None = None,
    **changes: Any,
) -> AnalogMatrix:
    """Program a weight matrix into arrays and connect them to an engine.

    Args:
        weights: (m, n), finite.
        design: how the arrays are built.
        engine: who answers reads: "ideal", "nodal", "ngspice", or a configured engine.
        rng: source of the programming error; needed if the design's variation is random.
        noise_rng: source of the read noise; needed if the design has some.
        name: name of the matrix in traces and decks.
        trace: collects a record of every read.
        siemens_per_weight: scale of an earlier programming, as for `map_weights`.
        calibration: (n, batch) inputs by which ADCs with `adc_reference="calibration"` are set; standard normal ones
            and their absolute values when left out. Transposed reads are calibrated with the products of these inputs.
        cycle_rng: source of what this occasion of programming adds, as for `map_weights`.
        conductance: a measured map of devices, as for `map_weights`; that of `Design.conductances` when left out.
        before: what the devices have, as for `map_weights`.
        rounding_rng: source of the stochastic rounding of activations; needed if the design has that.
        **changes: any field of `Design`, such as `r_word=1.0, tile=32`, on top of `design`.

    Raises:
        InvalidInputError: wrong weights, an unknown field or engine, or a value that is not allowed.
        EngineUnavailableError: the engine needs something that this machine lacks.

    Example:
        >>> with program([[1.0, -2.0]], engine="ideal") as weights:
        ...     weights.mv([3.0, 1.0]).round(12).tolist()
        [1.0]
    """
    Optional(Instance(Design, example="Design(r_word=1.0)"))("design", design)
    generator = Optional(Instance(np.random.Generator, example="numpy.random.default_rng(0)"))
    generator("noise_rng", noise_rng)
    generator("rounding_rng", rounding_rng)
    Text()("name", name)
    Optional(Instance(ReadTrace, example="ReadTrace()"))("trace", trace)
    if "variation" not in changes and changes.get("programming") is not None:
        changes["variation"] = changes.pop("programming")  # in place of what the design has
    known = {"programming", *(field.name for field in fields(Design))}
    if unknown := sorted(set(changes) - known):
        raise InvalidInputError(f"unknown design field {', '.join(unknown)}; allowed are {', '.join(sorted(known))}")
    built = replace(design or Design(), **changes) if changes or design is None else design
    measured = conductance_map(built, name) if conductance is None else conductance
    mapped = map_weights(
        weights,
        built,
        rng=rng,
        siemens_per_weight=siemens_per_weight,
        cycle_rng=cycle_rng,
        conductance=measured,
        before=before,
    )
    readout = Readout(mapped, noise_rng)
    rounded = Rounded(built.numbers, rounding_rng) if built.numbers.of_activations else None
    bank = get_engine(engine).program_bank(mapped.crossbars)
    return AnalogMatrix(
        weights, mapped, bank, name=name, trace=trace, readout=readout, calibration=calibration, rounded=rounded
    )
