"""What stands before and behind a neural ODE in a network of torch, as an encoder and a classifier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from torch import nn

from xbar_spice.errors import InvalidInputError
from xbar_spice.torch.layers import CrossbarConv2d, CrossbarLinear, numbers
from xbar_spice.weights import Chain, Classifier, Encoder, Normalisation

__all__ = ["Part", "classifier_of", "encoder_of", "named_parts"]

Part = tuple[str, nn.Module]
"""A module with its name in the network."""

_WEIGHTED = (nn.Linear, CrossbarLinear, nn.Conv2d, CrossbarConv2d)
_NORMALISATIONS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.GroupNorm, nn.LayerNorm)
_POOLINGS: Mapping[type[nn.Module], str] = {
    nn.MaxPool2d: "max", nn.AvgPool2d: "mean", nn.AdaptiveAvgPool2d: "mean", nn.AdaptiveMaxPool2d: "max",
}  # fmt: skip
_ACTIVATIONS: Mapping[type[nn.Module], str] = {
    nn.ReLU: "relu", nn.Tanh: "tanh", nn.Softplus: "softplus", nn.Sigmoid: "sigmoid", nn.ELU: "elu", nn.SiLU: "silu",
    nn.GELU: "gelu", nn.LeakyReLU: "leaky_relu",
}  # fmt: skip
_OPTIONS: Mapping[type[nn.Module], Mapping[str, Any]] = {  # of activations here
    nn.Softplus: {"beta": 1.0, "threshold": 20.0}, nn.ELU: {"alpha": 1.0}, nn.GELU: {"approximate": "none"},
    nn.LeakyReLU: {"negative_slope": 0.01},
}  # fmt: skip


def named_parts(parts: Sequence[Part]) -> str:
    """Parts of a network in words."""
    return ", ".join(f"{name or 'the module itself'} ({type(part).__name__})" for name, part in parts)


def encoder_of(parts: Sequence[Part], image_shape: tuple[int, int] | None) -> Encoder | Chain | None:
    """The encoder of what stands before: layers with normalisation, activation and pooling behind their weights.

    Raises:
        InvalidInputError: A part would be lost, or has an option that no encoder has.
    """
    layers: list[Encoder] = []
    for group in _groups(parts, behind=True):
        weight, options = _options(group)
        images = layers[-1].output_shape if layers else image_shape
        kernel, bias = _weight(weight)
        layers.append(Encoder(kernel, bias, **options, **_images(weight, images)))
    return _chained(layers)


def classifier_of(
    parts: Sequence[Part], encoder: Encoder | Chain | None, image_shape: tuple[int, int] | None
) -> Classifier | Chain | None:
    """The classifier of what stands behind: layers with normalisation, activation and pooling in front of them.

    Raises:
        InvalidInputError: A part would be lost, or has an option that no classifier has.
    """
    last = encoder.layers[-1] if isinstance(encoder, Chain) else encoder
    images = last.output_shape if isinstance(last, Encoder) else image_shape
    layers: list[Classifier] = []
    for group in _groups(parts, behind=False):
        weight, options = _options(group)
        shaped = _images(weight, None if layers else images) if "pooling" in options or _convolves(weight[1]) else {}
        kernel, bias = _weight(weight)
        layers.append(Classifier(kernel, bias, **{**shaped, **options}))
    return _chained(layers)


def _chained(layers: Sequence[Any]) -> Any:
    return None if not layers else layers[0] if len(layers) == 1 else Chain(list(layers))


def _groups(parts: Sequence[Part], *, behind: bool) -> list[list[Part]]:
    """Each weight with what belongs to it, which stands behind it or in front of it, in the order of the formulas."""
    weights = [place for place, (_, part) in enumerate(parts) if isinstance(part, _WEIGHTED)]
    bounds = [*weights, len(parts)] if behind else [0, *(place + 1 for place in weights)]
    groups = [list(parts[first:end]) for first, end in pairwise(bounds)]
    lost = list(parts[: bounds[0]]) + list(parts[bounds[-1] :])
    for group in groups:
        ranks = [_rank(part) for _, part in group]
        ranks = ranks if behind else ranks[-1:] + ranks[:-1]
        if -1 in ranks or ranks != sorted(set(ranks)):
            lost += [entry for entry in group if not isinstance(entry[1], _WEIGHTED)]
    if lost:
        raise InvalidInputError(
            f"export cannot keep {named_parts(lost)}: around the neural ODE a file holds linear layers and "
            f"convolutions, {'behind' if behind else 'in front of'} each of them at most a normalisation, an "
            "activation and a pooling, in this order; give the parts that it can hold"
        )
    return groups


def _rank(part: nn.Module) -> int:
    for rank, kinds in enumerate((_WEIGHTED, _NORMALISATIONS, tuple(_ACTIVATIONS), tuple(_POOLINGS))):
        if type(part) in kinds:
            return rank
    return -1


def _options(group: Sequence[Part]) -> tuple[Part, dict[str, Any]]:
    """The part with the weight, and the options that the others are."""
    weight = next(entry for entry in group if isinstance(entry[1], _WEIGHTED))
    options: dict[str, Any] = {}
    for name, part in group:
        if type(part) in _NORMALISATIONS:
            options["normalisation"] = _normalisation(name, part)
        elif type(part) in _ACTIVATIONS:
            _require(name, part, _OPTIONS.get(type(part), {}))
            options["activation"] = _ACTIVATIONS[type(part)]
        elif type(part) in _POOLINGS:
            options |= {"pooling": _POOLINGS[type(part)], "block": _block(name, part)}
    return weight, options


def _require(name: str, part: Any, wanted: Mapping[str, Any]) -> None:
    for option, value in wanted.items():
        given = getattr(part, option)
        if given not in (value, (value, value)):
            raise InvalidInputError(
                f"export cannot keep {named_parts([(name, part)])} with {option}={given}: it has to be {value}"
            )


def _block(name: str, part: Any) -> int | None:
    """Pixels of a block in either direction; None for the whole image."""
    if isinstance(part, nn.AdaptiveAvgPool2d | nn.AdaptiveMaxPool2d):
        _require(name, part, {"output_size": 1})
        return None
    size = part.kernel_size if isinstance(part.kernel_size, int) else part.kernel_size[0]
    _require(name, part, {"kernel_size": size, "stride": size, "padding": 0, "ceil_mode": False})
    if isinstance(part, nn.MaxPool2d):
        _require(name, part, {"dilation": 1})
    return int(size)


def _normalisation(name: str, part: Any) -> Normalisation:
    scale = None if part.weight is None else numbers(part.weight)
    shift = None if part.bias is None else numbers(part.bias)
    if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
        if part.running_mean is None or part.running_var is None:
            raise InvalidInputError(
                f"export cannot keep {named_parts([(name, part)])} without the statistics of its training"
            )
        factor = (1.0 if scale is None else scale) / np.sqrt(numbers(part.running_var) + part.eps)
        return Normalisation(factor, (0.0 if shift is None else shift) - factor * numbers(part.running_mean))
    channels = part.num_channels if isinstance(part, nn.GroupNorm) else int(np.prod(part.normalized_shape))
    groups = part.num_groups if isinstance(part, nn.GroupNorm) else 1
    whole = np.ones(channels) if scale is None else scale.ravel()
    return Normalisation(whole, np.zeros(channels) if shift is None else shift.ravel(), groups, part.eps)


def _convolves(part: nn.Module) -> bool:
    return isinstance(part, nn.Conv2d | CrossbarConv2d)


def _weight(entry: Part) -> tuple[Any, Any]:
    part: Any = entry[1]
    return numbers(part.weight), None if part.bias is None else numbers(part.bias)


def _images(entry: Part, images: tuple[int, int] | None) -> dict[str, Any]:
    """The options of a convolution, or of the images that are pooled."""
    name, part = entry
    if not _convolves(part):
        return {} if images is None else {"image_shape": images}
    if images is None:
        raise InvalidInputError(
            f"export cannot keep {named_parts([entry])} without the pixels that it moves over: give "
            "image_shape=(height, width) of what goes into the network"
        )
    made: Any = part
    size, stride = made.kernel_size[0], made.stride[0]
    _require(name, part, {"kernel_size": size, "stride": stride, "dilation": 1})
    _require(name, part, {"groups": 1})
    kinds = {"zeros": "zero", "circular": "circular"}
    if made.padding in ("valid", (0, 0)):
        return {"image_shape": images, "stride": stride, "padding": "none"}
    if made.padding != "same" or size % 2 == 0:
        _require(name, part, {"padding": (size - 1) // 2})
    if made.padding_mode not in kinds:
        _require(name, part, {"padding_mode": "zeros"})
    return {"image_shape": images, "stride": stride, "padding": kinds[made.padding_mode]}
