"""Files of named tensors, `.npz`, `.safetensors` and PyTorch's, as models and back.

In the documented format tensors have the names of the model: `A`, (m, n), and `B`, (n, m), of a field B sig(A z + bias)
+ output_bias, or what else the field calls them; kernels `a` and `b` with `image_shape` in their place; and
`encoder.weight`, `encoder.bias`, `classifier.weight`, `classifier.bias`. Beside them stand the numbers `h` and `steps`,
or `grid`, and the texts `field`, `activation`, `method`, `padding` and `trained_on`, of which all may be left out. A
`.safetensors` file, which holds no text, has them in its metadata; the numbers may stand there too.

The names of frameworks are understood as well, see `xbar_spice.weights.layouts`, and a mapping tells the rest.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np

from xbar_spice.checks import checked
from xbar_spice.disk import Arrays, require_writable, write
from xbar_spice.errors import InvalidInputError, WeightsError
from xbar_spice.parts import FIELDS
from xbar_spice.solve.fields.field import ActivationField, Field
from xbar_spice.solve.fields.normalised import NormalisedField
from xbar_spice.solve.fields.timed import TimedField
from xbar_spice.solve.integrators.layers import Layers, fields_of
from xbar_spice.weights.chains import Chain
from xbar_spice.weights.end import End
from xbar_spice.weights.ends import Classifier, Encoder, Pool
from xbar_spice.weights.formats import writer
from xbar_spice.weights.model import Model
from xbar_spice.weights.reading import model_of, no_code, read_weights
from xbar_spice.weights.stages import Stage

__all__ = ["load_model", "require_savable", "save_model"]


@checked()
def load_model(path: str | os.PathLike[str], mapping: Mapping[str, str] | None = None, **settings: Any) -> Model:
    """Read a model from a file of named tensors (see this module). Nothing in a file is ever executed.

    Every number is kept as float64; files may hold 16, 32 or 64 bits, whole numbers up to 2^53, and `h` and `steps` as
    scalars or one element.

    Args:
        path: A `.npz`, `.safetensors`, `.pt` or `.pth` file; the latter two are read without PyTorch.
        mapping: Where a file has other names: from names of the model, such as "A", "bias" or "classifier.weight", to
            names in the file, or to their ends. A layer's bias comes with its weight, and "" leaves a tensor out.
        **settings: What the file does not say, or says otherwise, such as `h=0.1`, `steps=10`, `activation="tanh"`.

    Raises:
        WeightsError: The file is missing or damaged, a tensor is missing, unknown, of the wrong shape or dtype, or not
            finite; the text names file, tensor, what was expected and what came.

    Example:
        >>> load_model("net.pt", {"A": "odefunc.l1", "B": "odefunc.l2"}, h=0.1, steps=10)  # doctest: +SKIP
    """
    given: Any = {} if mapping is None else mapping
    if not isinstance(given, Mapping) or any(not isinstance(text, str) for pair in given.items() for text in pair):
        raise WeightsError(
            "mapping must give a name in the file for names of the model, such as {'A': 'odefunc.l1.weight'}, "
            f"got {given!r}"
        )
    return read_weights(Path(path), mapping, settings).model()


@checked()
def save_model(path: str | os.PathLike[str], model: Model) -> None:
    """Write a model to a file that `load_model` reads; a file of that name is replaced as a whole or not at all.

    Convolutions are written as their kernels. The provenance is not written: it is the file from then on.

    Args:
        path: A name ending in `.npz`, `.safetensors`, `.pt` or `.pth`.
        model: What to write.

    Raises:
        WeightsError: The name ends otherwise, the file cannot be written, or the model has a field or an activation of
            one's own, which a file could only name as code.
    """
    write(path, writer(path)(*_tensors(model)), error=WeightsError)


def require_savable(path: str | os.PathLike[str]) -> None:
    """Raise now if `save_model` could not write to this path later: before a training whose weights would be lost.

    Raises:
        WeightsError: See `save_model`.
    """
    writer(path)
    require_writable(path, error=WeightsError)


def _tensors(model: Model) -> tuple[Arrays, dict[str, str]]:
    """The numbers and the texts of a model, by name."""
    tensors: Arrays = {"h": np.array(model.h), "steps": np.array(model.steps)}
    if model.grid is not None:
        tensors = {"grid": model.grid}
    texts = {"method": no_code("method", model.method)}
    texts |= {"trained_on": model.trained_on} if model.trained_on else {}
    texts |= {name: ",".join(held) for name in ("on_arrays", "frozen") if (held := getattr(model, name))}
    tensors |= model.tensors
    for name, end in (("encoder", model.encoder), ("classifier", model.classifier)):
        layers = end.layers if isinstance(end, Chain) else () if end is None else (end,)
        for number, layer in enumerate(layers):
            numbers, words = _layer_settings(f"{name}.{number}" if isinstance(end, Chain) else name, layer)
            if layer.kind != name:
                words[f"{name}.{number}.form"] = layer.kind
            tensors |= numbers
            texts |= words
    if model.weight_range is not None:
        tensors["weight_range"] = np.array(model.weight_range)
    texts |= _field_texts(model.field)
    tensors |= _field_numbers(model.field)
    images = _images(model)
    if images:
        tensors["image_shape"], texts["padding"] = np.array(images[0]), images[1]
    _require_same(model, tensors, texts)
    return tensors, texts


def _field_texts(field: Field | Layers) -> dict[str, str]:
    """Kind and activation of a field; nothing where they are the default ones."""
    one = fields_of(field)[0]
    time = {"time": "last"} if isinstance(one, TimedField) else {}
    one = one.field if isinstance(one, TimedField) else one
    if isinstance(one, ActivationField) and type(one).__name__ in ("ActivationField", "ReluField"):
        kind = "activation"
    else:
        kind = next((name for name in FIELDS if FIELDS.loaded(name) is type(one)), "")
    activation = getattr(one, "activation", None)
    if not kind:
        raise WeightsError(
            f"'field': a weight file names a field of this package and no code, got {type(one).__name__}; of "
            f"{', '.join(FIELDS)}"
        )
    texts = time | ({} if kind == "activation" else {"field": kind})
    return texts | ({"activation": activation.name} if activation is not None and activation.name != "relu" else {})


def _field_numbers(field: Field | Layers) -> Arrays:
    """The settings of a field that are numbers."""
    one = fields_of(field)[0]
    one = one.field if isinstance(one, TimedField) else one
    if not isinstance(one, NormalisedField):
        return {}
    groups = {} if one.groups is None else {"groups": np.array(one.groups)}
    return groups | {"epsilon": np.array(one.epsilon)}


def _images(model: Model) -> tuple[tuple[int, int], str] | None:
    """What the convolutions of a field move over, and their padding."""
    found = {
        (operator.image_shape, operator.padding)
        for operator in model.operators.values()
        if hasattr(operator, "image_shape") and hasattr(operator, "padding")
    }
    return next(iter(found)) if found else None


def _layer_settings(name: str, end: End) -> tuple[Arrays, dict[str, str]]:
    """The settings of a layer of encoder or classifier that are no defaults."""
    if isinstance(end, Stage):
        held, words = _tensors(end.model)
        return (
            {f"{name}.{of}": value for of, value in held.items() if of not in end.model.tensors},
            {f"{name}.{of}": text for of, text in words.items()},
        )
    if isinstance(end, Pool):
        numbers = {"image_shape": np.array(end.image_shape), "channels": np.array(end.channels)}
        numbers |= {} if end.block is None else {"block": np.array(end.block)}
        return {f"{name}.{of}": value for of, value in numbers.items()}, {f"{name}.pooling": end.pooling}
    return _end_settings(name, cast("Encoder | Classifier", end))


def _end_settings(name: str, end: Encoder | Classifier) -> tuple[Arrays, dict[str, str]]:
    """The settings of an encoder or a classifier that are no defaults."""
    numbers: Arrays = {}
    texts: dict[str, str] = {}
    if end.image_shape is not None:
        numbers[f"{name}.image_shape"] = np.array(end.image_shape)
        texts[f"{name}.padding"] = end.padding
    if end.normalisation is not None:
        numbers[f"{name}.epsilon"] = np.array(end.normalisation.epsilon)
        if end.normalisation.groups is not None:
            numbers[f"{name}.groups"] = np.array(end.normalisation.groups)
    if end.stride != 1:
        numbers[f"{name}.stride"] = np.array(end.stride)
    if end.block is not None:
        numbers[f"{name}.block"] = np.array(end.block)
    if end.pooling is not None:
        texts[f"{name}.pooling"] = end.pooling
    activation = end.activation if isinstance(end.activation, str) else end.activation.name
    if activation != "identity":
        texts[f"{name}.activation"] = activation
    return numbers, texts


def _require_same(model: Model, tensors: Arrays, texts: Mapping[str, str]) -> None:
    """Refuse a model that the file would not give back, such as one with a class of the user's own in it."""
    try:
        again = model_of(tensors | {name: np.array(text) for name, text in texts.items()})
    except InvalidInputError as error:
        raise WeightsError(f"this model cannot be written to a file: {error}") from error
    z = model.started(np.random.default_rng(0).standard_normal((model.states, 2)))
    fields = [fields_of(one) for one in (model.field, again.field)]
    for was, now in zip(*fields, strict=True):
        with np.errstate(all="ignore"):
            same = np.array_equal(was.evaluate(z).value, now.evaluate(z).value, equal_nan=True)
        if not same:
            raise WeightsError(
                "this model cannot be written to a file: its field has options, or an activation of one's own, that a "
                "file does not keep"
            )
