"""A model written to its arrays: the devices of its matrices, the scale of a chip, and the noise of its reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack

import numpy as np

from xbar_spice.engines.base import Engine
from xbar_spice.engines.registry import get_engine
from xbar_spice.hardware.crossbar import Side
from xbar_spice.linear.convolution import Convolution
from xbar_spice.linear.fourier_form import BlockDiagonalMatrix, FourierForm
from xbar_spice.linear.operator import FloatArray, LinearOperator
from xbar_spice.mapping.analog_matrix import AnalogMatrix, ReadTrace, program
from xbar_spice.mapping.design import Design
from xbar_spice.solve.fields.field import Field, ReluField
from xbar_spice.solve.integrators.layers import Layers
from xbar_spice.streams import Streams
from xbar_spice.weights import Model, matrix_of, read_by

__all__ = ["ends_on", "expected_noise", "field_on", "fields_of", "program_model", "weight_scales", "weights_on_arrays"]

_DRAWS = 8  # of noise, by which that of a field is measured whose formula is not known here


def weights_on_arrays(model: Model) -> dict[str, FloatArray | LinearOperator]:
    """The matrices of a model that live on arrays, by name: those of its field, then what else it says.

    A large convolution comes as an operator, without its zeros, and so does a matrix of which its blocks are written.
    """
    ends = {"encoder": model.encoder, "classifier": model.classifier}
    others = {
        f"{name}.{weight}": operator
        for name, end in ends.items()
        if end is not None and name in model.on_arrays
        for weight, operator in end.operators.items()
    }
    field = {name: _written(operator) for name, operator in model.written.items()}
    return {**field, **{name: _written(operator) for name, operator in others.items()}}


def _written(operator: LinearOperator) -> FloatArray | LinearOperator:
    kept = isinstance(operator, BlockDiagonalMatrix) or (isinstance(operator, Convolution) and operator.large)
    return operator if kept else matrix_of(operator)


def field_on(
    model: Model, matrices: Iterable[AnalogMatrix], wrapped: Callable[[AnalogMatrix], LinearOperator] | None = None
) -> Field | Layers:
    """The field of a model with its matrices on arrays, or with what a function makes of each of these."""
    return read_by(model.deployed, {m.name: wrapped(m) if wrapped else m for m in matrices if m.name in model.written})


def fields_of(field: Field | Layers) -> tuple[Field, ...]:
    """The fields of all layers, or the one."""
    return field.fields if isinstance(field, Layers) else (field,)


def ends_on(
    model: Model, matrices: Iterable[AnalogMatrix], wrapped: Callable[[AnalogMatrix], LinearOperator] | None = None
) -> dict[str, LinearOperator]:
    """Those of encoder and classifier that live on arrays, by name."""
    return {m.name: wrapped(m) if wrapped else m for m in matrices if m.name not in model.written}


def program_model(
    model: Model,
    design: Design,
    engine: str | Engine,
    *,
    seed: int = 0,
    trace: ReadTrace | None = None,
    occasion: str = "",
) -> tuple[AnalogMatrix, ...]:
    """Program the matrices of a model, such as A and B, in their order.

    Each draws its devices, and its read noise, from streams of its own, found by seed and name.

    Args:
        model: the weights; one with a `weight_range` is written to the chip that holds this range.
        design: how the arrays are built.
        engine: who answers the reads.
        seed: from which the devices are drawn.
        trace: collects a record of every read.
        occasion: one of several on which the same chip is written: its devices are the same on all of them, its read
            noise and what `Design.cycle` adds are others on each.
    """
    answering = get_engine(engine)
    scales, streams = weight_scales(model, design), Streams(seed)
    with ExitStack() as opened:
        programmed = [
            opened.enter_context(
                program(
                    W,
                    design,
                    engine=answering,
                    rng=streams.devices(name),
                    noise_rng=streams.read_noise(name, occasion),
                    name=name,
                    trace=trace,
                    siemens_per_weight=scales.get(name),
                    cycle_rng=streams.cycle(name, occasion),
                )
            )
            for name, W in weights_on_arrays(model).items()
        ]
        opened.pop_all()
    return tuple(programmed)


def weight_scales(model: Model, design: Design) -> dict[str, float]:
    """Siemens per weight of each matrix where the model says which weights its chip holds; empty where it does not."""
    window = design.mapping.window(design.g_min, design.g_max)
    if model.weight_range is None:
        return _scales_of_frequencies(model, window / design.headroom)
    return {name: window / largest for name, largest in zip(model.written, model.weight_range, strict=True)}


def _scales_of_frequencies(model: Model, window: float) -> dict[str, float]:
    """All frequencies of a convolution share one scale, that of the largest."""
    found: dict[str, float] = {}
    for name, form in model.deployed.operators.items():
        if isinstance(form, FourierForm):
            names = [part for part, one in form.parts.items() if isinstance(one, BlockDiagonalMatrix)]
            largest = max(model.largest(f"{name}.{part}") for part in names)
            found |= {f"{name}.{part}": window / (largest or 1.0) for part in names}
    return found


def expected_noise(model: Model, matrices: Sequence[AnalogMatrix], states: FloatArray) -> float:
    """What read noise and converters leave of the equation base + c f(z) - z = 0 of an implicit step.

    Args:
        model: the digital model, whose step length is taken for c.
        matrices: its programmed matrices.
        states: (steps + 1, n, samples) through which it goes.

    Returns:
        The largest root mean square of c f(z) over all states and samples, relative to |z|; 0 for exact reads.
    """
    if all(matrix.mapped.design.exact_reads for matrix in matrices):
        return 0.0
    z = np.concatenate(list(states), axis=1)
    z = z[:, np.isfinite(z).all(axis=0) & z.any(axis=0)]
    if not isinstance(model.field, ReluField) or "fourier" in model.on_arrays:
        return _measured_noise(model, matrices, z)
    A, B = matrices[:2]
    z = z / np.abs(z).max(axis=0)  # reads are scaled to `v_read`, so that the size of a state does not matter
    s = A.mapped.programmed @ z  # stuck devices make large products, and these large noise
    variance = B.spread(np.maximum(s, 0.0)) ** 2 + B.mapped.programmed**2 @ (A.spread(z) ** 2 * (s > 0))
    return float((abs(model.h) * np.sqrt(variance.sum(axis=0)) / np.linalg.norm(z, axis=0)).max(initial=0.0))


def _measured_noise(model: Model, matrices: Sequence[AnalogMatrix], z: FloatArray) -> float:
    """The same of any field: what draws of the deviation that each read is expected to have make of f."""
    rng = np.random.default_rng(0)
    largest = 0.0
    exact = field_on(model, matrices, lambda matrix: _Noisy(matrix, None))
    noisy = field_on(model, matrices, lambda matrix: _Noisy(matrix, rng))
    for clean, drawn in zip(fields_of(exact), fields_of(noisy), strict=True):
        f = clean.evaluate(z).value
        squares = np.mean([np.sum((drawn.evaluate(z).value - f) ** 2, axis=0) for _ in range(_DRAWS)], axis=0)
        largest = max(largest, float((abs(model.h) * np.sqrt(squares) / np.linalg.norm(z, axis=0)).max(initial=0.0)))
    return largest


class _Noisy(LinearOperator):
    """The programmed weights of a matrix, with the noise that reads of it are expected to have."""

    def __init__(self, matrix: AnalogMatrix, rng: np.random.Generator | None) -> None:
        self._matrix, self._rng = matrix, rng

    @property
    def shape(self) -> tuple[int, int]:
        return self._matrix.shape

    def _forward(self, x: FloatArray) -> FloatArray:
        return self._read(self._matrix.mapped.programmed, x, "rows")

    def _transposed(self, y: FloatArray) -> FloatArray:
        return self._read(self._matrix.mapped.programmed.T, y, "cols")

    def _read(self, weights: FloatArray, x: FloatArray, side: Side) -> FloatArray:
        product = weights @ x
        if self._rng is None:
            return product
        return product + self._matrix.spread(x, side) * self._rng.standard_normal(product.shape)
