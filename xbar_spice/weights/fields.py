"""Fields made of named tensors, as files and checkpoints hold them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from xbar_spice.checks import checked
from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.convolution import Convolution, Padding
from xbar_spice.linear.operator import FloatArray
from xbar_spice.parts import FIELDS
from xbar_spice.solve.fields.field import Field
from xbar_spice.solve.fields.timed import TimedField
from xbar_spice.solve.integrators.layers import Layers
from xbar_spice.weights.tensors import real

__all__ = ["field_named", "formula_of", "kernel_name", "seems_timed", "with_time_last"]

_BIAS = re.compile(r"(.*\.)?(bias|output_bias|(b|scale|shift)\d+)")
_MATRIX = re.compile(r"[ABab]|[Kk]\d*")
_KERNEL = re.compile(r"(.*\.)?(a|b|k\d*)")


def formula_of(field: Field | Layers) -> str:
    """The right-hand side in words."""
    if isinstance(field, Layers):
        return f"{field.fields[0].formula} with weights of their own in each of {len(field.fields)} layers"
    return field.formula


def kernel_name(matrix: str) -> str:
    """What the kernel of a convolution is called whose matrix has this name.

    Example:
        >>> kernel_name("A"), kernel_name("velocity.K1")
        ('a', 'velocity.k1')
    """
    part, dot, name = matrix.rpartition(".")
    return f"{part}{dot}{name.lower()}"


@checked()
def field_named(
    name: str,
    tensors: Mapping[str, ArrayLike],
    activation: str = "relu",
    *,
    image_shape: tuple[int, int] | None = None,
    padding: Padding = "circular",
    steps: int | None = None,
    time: bool = False,
    **options: Any,
) -> Field | Layers:
    """The field of a kind over tensors of these names.

    A matrix is given as it is, (m, n). A convolution is given by its kernel: as (c_out, c_in, q, q) under the name of
    its matrix, or under that name in small letters in any layout of `convolution_matrix`. With one more axis in front,
    of length `steps`, tensors are those of one time step after the other.

    Args:
        name: A name of `FIELDS`, or a text such as "file.py:Class"; such a class takes its tensors by name.
        tensors: Matrices, kernels and biases, such as "A", "B", "bias" and "output_bias"; a bias that is missing is
            none.
        activation: sig, of fields that take one.
        image_shape: (height, width) of the images that kernels belong to.
        padding: Of convolutions.
        steps: Number of time steps; tensors that belong to one each are found by it.
        time: Whether the first matrix has one more column, for the time as an input line, or the first kernel one more
            channel; the same of any other one that has one more than the matrix in front of it has rows.
        **options: Further options of the field.

    Raises:
        InvalidInputError: No field has this name, or the tensors do not belong together.

    Example:
        >>> field_named("layer", {"K": [[0.0, 1.0], [-1.0, 0.0]], "bias": [1.0, 2.0]}, "tanh").states
        2
    """
    given = {key: real(key, value) for key, value in tensors.items()}
    all_of = {**options, "time": time}
    count = _time_steps(given, steps)
    if count is None:
        return _one_field(name, given, activation, image_shape, padding, all_of)
    return Layers(
        [
            _one_field(name, {key: value[k] for key, value in given.items()}, activation, image_shape, padding, all_of)
            for k in range(count)
        ]
    )


def _one_field(
    name: str,
    tensors: Mapping[str, FloatArray],
    activation: str,
    image_shape: tuple[int, int] | None,
    padding: Padding,
    options: Mapping[str, Any],
) -> Field:
    made = FIELDS.loaded(name)
    digital = getattr(made, "digital", {})  # a class may call a bias by another name than a model does
    arguments: dict[str, Any] = {}
    taken = inspect.signature(made).parameters
    timed = _driven_by_time(tensors) if options["time"] else []
    for key, value in tensors.items():
        matrix, held = _operator(key, value, image_shape, padding, key in timed)
        attribute = digital.get(matrix, matrix)
        arguments[matrix if matrix in taken and attribute not in taken else attribute] = held
    if "activation" in taken:
        arguments["activation"] = activation
    others = dict(options)
    time = others.pop("time")
    if time and "time" in taken:
        others["time"] = True
    field = FIELDS.get(name, **arguments, **others)
    return TimedField(field) if time else field


def _time_steps(tensors: Mapping[str, FloatArray], steps: int | None) -> int | None:
    """How many time steps the tensors have weights of their own for; None if all of them share one set."""
    led = [name for name, value in tensors.items() if _of_steps(name, value)]
    if not led:
        return None
    lengths = {value.shape[:1] for value in tensors.values()}
    count = len(tensors[led[0]])
    if lengths != {(count,)} or (steps is not None and count != steps):
        shapes = ", ".join(f"{name} {value.shape}" for name, value in tensors.items())
        raise InvalidInputError(
            f"weights of one time step after the other need the axis of steps{'' if steps is None else f' ({steps})'} "
            f"in front of every tensor, got {shapes}"
        )
    return count


def _axes_of_steps(name: str) -> tuple[int, ...]:
    """With how many axes a tensor is one of each time step."""
    if _BIAS.fullmatch(name):
        return (2,)
    return (5,) if _KERNEL.fullmatch(name) else (3, 5)


def _operator(
    name: str, value: FloatArray, image_shape: tuple[int, int] | None, padding: Padding, time: bool
) -> tuple[str, FloatArray | Convolution]:
    """The name of a field's matrix or vector, and what it is."""
    if value.ndim != 4 and (_BIAS.fullmatch(name) or not _KERNEL.fullmatch(name)):
        return name, value
    if image_shape is None:
        raise InvalidInputError(f"kernel {name!r} needs image_shape=(height, width), the pixels that it moves over")
    part, dot, last = name.rpartition(".")
    return f"{part}{dot}{last[:1].upper()}{last[1:]}", Convolution(value, image_shape, padding, time=time)


def with_time_last(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Tensors with the time behind what else drives a matrix, or a kernel, of those in which it stands in front."""
    timed = _driven_by_time(_of_one_step(tensors))
    return {**tensors, **{name: np.roll(tensors[name], -1, 1 + _of_steps(name, tensors[name])) for name in timed}}


def seems_timed(tensors: Mapping[str, Any]) -> bool:
    """Whether the first matrix, or kernel, has one input more than the last one has outputs."""
    shapes = list(_shapes(_of_one_step(tensors)).values())
    return bool(shapes) and shapes[0][1] == shapes[-1][0] + 1


def _driven_by_time(tensors: Mapping[str, Any]) -> list[str]:
    """The matrices, or kernels, that the time drives: the first, and those with an input more than there are units."""
    shapes = _shapes(tensors)
    return list(shapes)[:1] + [b for a, b in pairwise(shapes) if shapes[b][1] == shapes[a][0] + 1]


def _shapes(tensors: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """The shapes of matrices and of kernels of several channels, in the order in which a state passes them."""
    names = [name for name, value in tensors.items() if _MATRIX.fullmatch(name) and np.ndim(value) > 1]
    names.sort(key=lambda name: (name[0].lower(), int(name[1:] or 0)))
    return {name: np.shape(tensors[name]) for name in names}


def _of_one_step(tensors: Mapping[str, Any]) -> dict[str, Any]:
    held = {name: np.asarray(value) for name, value in tensors.items()}
    return {name: value[0] if _of_steps(name, value) else value for name, value in held.items()}


def _of_steps(name: str, value: ArrayLike) -> bool:
    return np.ndim(value) in _axes_of_steps(name)
