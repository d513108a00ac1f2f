"""A model written to its arrays: the devices of its matrices, the scale of a chip, and the noise of its reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import cast

import numpy as np

from xbar_spice.engines.base import Engine
from xbar_spice.engines.registry import get_engine
from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.convolution import Convolution
from xbar_spice.linear.fourier_form import BlockDiagonalMatrix, FourierForm
from xbar_spice.linear.operator import FloatArray, LinearOperator
from xbar_spice.mapping.analog_matrix import AnalogMatrix, program
from xbar_spice.mapping.design import Design
from xbar_spice.mapping.matrix import MappedMatrix, map_weights
from xbar_spice.mapping.noisy_twin import NoisyTwin
from xbar_spice.mapping.rewritten import SharedArrays, devices_name
from xbar_spice.mapping.trace import ReadTrace
from xbar_spice.solve.fields.field import Field, ReluField
from xbar_spice.solve.integrators.layers import Layers, fields_of
from xbar_spice.streams import Streams
from xbar_spice.weights import Model, matrix_of, read_by
from xbar_spice.weights.end import Read, of_end

__all__ = [
    "all_fields",
    "drawn_by",
    "ends_on",
    "expected_noise",
    "field_on",
    "in_digital_numbers",
    "program_model",
    "weight_scales",
    "weights_on_arrays",
]

_DRAWS = 8  # of noise, by which that of a field is measured whose formula is not known here


def in_digital_numbers(model: Model, design: Design, seed: int, occasion: str = "") -> Model:
    """The model whose weights and biases of the field are numbers that the design's digital part can keep."""
    if not design.numbers.of_weights:
        return model
    rng = Streams(seed).rounding("weights", occasion)
    held = {name: value for name, value in model.tensors.items() if not of_end(name)}
    return model.with_tensors(design.numbers.tensors(held, rng))


def weights_on_arrays(model: Model) -> dict[str, FloatArray | LinearOperator]:
    """The matrices of a model that live on arrays, by name: those of its field, then of stages, and what else it says.

    A large convolution comes as an operator, without its zeros, and so does a matrix of which its blocks are written.
    """
    ends = {"encoder": model.encoder, "classifier": model.classifier}
    others = {
        f"{name}.{weight}": operator
        for name, end in ends.items()
        if end is not None
        for weight, operator in end.on_arrays(name, model.on_arrays).items()
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


def all_fields(field: Field | Layers, ends: Mapping[str, Read]) -> list[Field]:
    """The fields of a model and those of its stages, as `ends_on` has them."""
    stages = [one for one in ends.values() if isinstance(one, Field | Layers)]
    return [one for part in (field, *stages) for one in fields_of(part)]


def ends_on(
    model: Model, matrices: Iterable[AnalogMatrix], wrapped: Callable[[AnalogMatrix], LinearOperator] | None = None
) -> dict[str, Read]:
    """Those of encoder and classifier that live on arrays, by name; of stages their fields on their matrices."""
    found: dict[str, Read] = {m.name: wrapped(m) if wrapped else m for m in matrices if m.name not in model.written}
    for name, stage in model.stages.items():
        held = {of: found.pop(f"{name}.{of}") for of in stage.written if f"{name}.{of}" in found}
        found[name] = read_by(stage.deployed, cast("dict[str, LinearOperator]", held))
    return found


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

    Each draws its devices, and its read noise, from streams of its own, found by seed and name. Those of all steps
    share their devices if the design is `rewritten`, see `SharedArrays`.

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
    weights = weights_on_arrays(model)
    shared: dict[str, SharedArrays] = {}
    held: dict[str, FloatArray] = {}

    def written_back(name: str, before: MappedMatrix) -> MappedMatrix:
        return map_weights(
            weights[name],
            design,
            rng=drawn_by(streams, name, design, "back"),
            siemens_per_weight=scales.get(name),
            cycle_rng=streams.cycle(name, f"{occasion} back"),
            before=before.drawn,
        )

    with ExitStack() as opened:
        programmed: list[AnalogMatrix] = []
        for name, W in weights.items():
            common = devices_name(name, design)
            matrix = program(
                W,
                design,
                engine=answering,
                rng=drawn_by(streams, name, design),
                noise_rng=streams.read_noise(name, occasion),
                name=name,
                trace=trace,
                siemens_per_weight=scales.get(name),
                cycle_rng=streams.cycle(name, occasion),
                before=held.get(common),
                rounding_rng=streams.rounding(name, occasion),
            )
            programmed.append(opened.enter_context(matrix))
            if common != name:
                _require_alike(programmed, common, design)
                matrix.share(shared.setdefault(common, SharedArrays(answering, written_back)))
                held[common] = matrix.mapped.drawn
        opened.pop_all()
    return tuple(programmed)


def drawn_by(streams: Streams, name: str, design: Design, sweep: str = "") -> np.random.Generator:
    """What programming a matrix draws from: the devices that it is written to, or, of pulses, that write alone."""
    of_a_write = design.variation.in_circuit or not design.rewritten
    return streams.devices(" ".join(filter(None, [name, sweep])) if of_a_write else devices_name(name, design))


def _require_alike(matrices: Sequence[AnalogMatrix], common: str, design: Design) -> None:
    """Raise unless all of these steps fit into the same arrays."""
    shapes = {one.name: one.shape for one in matrices if devices_name(one.name, design) == common}
    if len(set(shapes.values())) > 1:
        raise InvalidInputError(
            f"rewritten arrays hold the weights of all steps in turn, which must have one shape, got {shapes}; take "
            "rewritten=False"
        )


def weight_scales(model: Model, design: Design) -> dict[str, float]:
    """Siemens per weight of each matrix where the model says which weights its chip holds; empty where it does not."""
    window = design.mapping.window(design.g_min, design.g_max)
    if model.weight_range is None:
        found = _scales_of_frequencies(model, window / design.headroom)
    else:
        found = {name: window / largest for name, largest in zip(model.written, model.weight_range, strict=True)}
    for stage, one in model.stages.items():
        found |= {f"{stage}.{name}": scale for name, scale in weight_scales(one, design).items()}
    return found


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
        The largest root mean square of c f(z) over all states and samples, relative to |z|; 0 for exact reads. Stages
        in front are judged at normal numbers, as their states are not known.
    """
    if all(matrix.mapped.design.exact_reads for matrix in matrices):
        return 0.0
    z = np.concatenate(list(states), axis=1)
    z = z[:, np.isfinite(z).all(axis=0) & z.any(axis=0)]
    normal = np.random.default_rng(0)
    before = [
        _measured_noise(
            stage.h,
            lambda rng, name=name: cast(Field, ends_on(model, matrices, lambda matrix: NoisyTwin(matrix, rng))[name]),  # type: ignore[misc]
            normal.standard_normal((stage.field.states, _DRAWS)),
        )
        for name, stage in model.stages.items()
    ]
    return max(_last_noise(model, matrices, z), *before, 0.0)


def _last_noise(model: Model, matrices: Sequence[AnalogMatrix], z: FloatArray) -> float:
    """The same of the field of the model alone, at (n, states)."""
    if not isinstance(model.field, ReluField) or "fourier" in model.on_arrays:
        return _measured_noise(model.h, lambda rng: field_on(model, matrices, lambda matrix: NoisyTwin(matrix, rng)), z)
    A, B = matrices[:2]
    z = z / np.abs(z).max(axis=0)  # reads are scaled to `v_read`, so that the size of a state does not matter
    s = A.mapped.programmed @ z  # stuck devices make large products, and these large noise
    variance = B.spread(np.maximum(s, 0.0)) ** 2 + B.mapped.programmed**2 @ (A.spread(z) ** 2 * (s > 0))
    return float((abs(model.h) * np.sqrt(variance.sum(axis=0)) / np.linalg.norm(z, axis=0)).max(initial=0.0))


def _measured_noise(
    h: float, field_with: Callable[[np.random.Generator | None], Field | Layers], z: FloatArray
) -> float:
    """The same of any field: what draws of the deviation that each read is expected to have make of f."""
    rng = np.random.default_rng(0)
    largest = 0.0
    for clean, drawn in zip(fields_of(field_with(None)), fields_of(field_with(rng)), strict=True):
        f = clean.evaluate(z).value
        squares = np.mean([np.sum((drawn.evaluate(z).value - f) ** 2, axis=0) for _ in range(_DRAWS)], axis=0)
        largest = max(largest, float((abs(h) * np.sqrt(squares) / np.linalg.norm(z, axis=0)).max(initial=0.0)))
    return largest
