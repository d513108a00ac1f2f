"""Encoders and classifiers of named tensors and settings, as files have them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np

from xbar_spice.errors import WeightsError
from xbar_spice.weights.chains import Chain
from xbar_spice.weights.end import End, named_below
from xbar_spice.weights.ends import Classifier, Encoder, Normalisation, Pool

__all__ = ["assumed_ends", "end_of", "require_said"]

_FORMS: dict[str, type[Encoder] | type[Classifier]] = {"encoder": Encoder, "classifier": Classifier}
_OF_STAGES = {"field", "method", "time", "on_arrays", "h", "steps", "grid", "weight_range"}
_EPSILON = 1e-5  # of normalisations in frameworks, unless somebody says otherwise


def end_of(
    end: str,
    values: Mapping[str, Any],
    texts: Mapping[str, str],
    need: Callable[[str], Any],
    stage: Callable[[dict[str, Any]], End],
) -> Encoder | Classifier | Chain:
    """An encoder or a classifier, with its settings.

    Args:
        end: "encoder" or "classifier".
        values: All tensors and numbers by name, "encoder.weight", or "encoder.0.weight" of the first of several layers.
        texts: All texts by name.
        need: What gives a tensor, or says that it is missing.
        stage: What makes a stage of the tensors and settings of its model.

    Raises:
        WeightsError: A tensor is missing, or something does not fit.
    """
    own, said = named_below(values, end), named_below(texts, end)
    images = _shape(values["image_shape"]) if "image_shape" in values else None
    count = _count(end, own)
    if not count:
        need(f"{end}.weight")
        return _layer(end, end, own, said, images)
    activations = said.get("activation", "").split(",") if "activation" in said else []
    if activations and len(activations) != count:
        raise WeightsError(
            f"'{end}.activation': expected one for each of {count} layers with commas between them, such as "
            f"{','.join(['relu'] * (count - 1) + ['identity'])}, got {said['activation']!r}"
        )
    layers: list[End] = []
    common = {name: value for name, value in own.items() if name == "image_shape"}
    for k in range(count):
        form = said.get(f"{k}.form", end)
        if form == "stage":
            layers.append(stage(_of_stage(f"{end}.{k}", named_below(own, f"{k}"))))
            continue
        if form == "pool":
            layers.append(_pool(f"{end}.{k}", named_below(own, f"{k}"), named_below(said, f"{k}")))
            images = cast(Pool, layers[-1]).output_shape
            continue
        need(f"{end}.{k}.weight")
        of_layer = (common if k == 0 else {}) | named_below(own, f"{k}")
        words = {"padding": said["padding"]} if "padding" in said else {}  # of all layers
        words |= ({"activation": activations[k].strip()} if activations else {}) | named_below(said, f"{k}")
        if k and isinstance(layers[-1], Encoder):
            images = layers[-1].output_shape
        layers.append(_layer(f"{end}.{k}", end, of_layer, words, images))
    return Chain(layers)


def _count(end: str, own: Mapping[str, Any]) -> int:
    """Number of layers; 0 for one that has no number."""
    numbers = {int(number) for name in own if (number := name.partition(".")[0]).isdecimal()}
    if numbers and ("weight" in own or numbers != set(range(len(numbers)))):
        raise WeightsError(
            f"the layers of {end} must be numbered from 0 on without a gap, got {', '.join(sorted(own))[:200]}"
        )
    return len(numbers)


def _of_stage(name: str, own: Mapping[str, Any]) -> dict[str, Any]:
    """The tensors and settings of the model of a stage, by the names that they have there."""
    others = {of: value for of, value in own.items() if of != "form" and not of.startswith("field.")}
    held = named_below(own, "field")
    if not held:
        raise WeightsError(f"a stage needs the tensors of its field, such as '{name}.field.K', got {', '.join(own)}")
    return {**others, **held}


def _pool(name: str, own: Mapping[str, Any], said: Mapping[str, str]) -> Pool:
    if missing := {"image_shape", "pooling"} - own.keys():
        raise WeightsError(f"'{name}.{min(missing)}' is missing: a pool says what it pools, and how")
    channels = int(np.ravel(own.get("channels", 1))[0])
    block = int(np.ravel(own["block"])[0]) if "block" in own else None
    return Pool(cast(Any, said["pooling"]), _shape(own["image_shape"]), channels, block)


def _layer(
    name: str, end: str, own: Mapping[str, Any], said: Mapping[str, str], images: tuple[int, int] | None
) -> Encoder | Classifier:
    """One layer; `images` is what is known of the images that go in."""
    options: dict[str, Any] = {"bias": own.get("bias")}
    options |= {of: said[of] for of in ("activation", "padding", "pooling") if of in said}
    for of in ("stride", "block"):
        if of in own:
            options[of] = np.ravel(own[of]).tolist()[0]
    if "image_shape" in own:
        options["image_shape"] = _shape(own["image_shape"])
    pooled_or_convolved = np.ndim(own["weight"]) == 4 or "pooling" in options
    if images is not None and pooled_or_convolved and (options.get("stride", 1) == 1 or "." in name):
        options.setdefault("image_shape", images)  # that of the states, or what the layer in front makes
    form = said.get("form", end)
    if form not in _FORMS:
        raise WeightsError(f"'{name}.form': expected one of {', '.join(_FORMS)}, pool, stage, got {form!r}")
    if wrong := sorted(own.keys() & _OF_STAGES):
        raise WeightsError(f"'{name}.{wrong[0]}' is a setting of a stage: say '{name}.form' = 'stage', or leave it out")
    try:
        return _FORMS[form](own["weight"], normalisation=_normalisation(name, own), **options)
    except WeightsError as error:
        raise WeightsError(str(error).replace(f"{form}.", f"{name}.")) from error


def _normalisation(name: str, own: Mapping[str, Any]) -> Normalisation | None:
    """What stands between a weight and its activation; statistics of batches become a scale and a shift."""
    parts = {of: np.asarray(own[of]) for of in ("scale", "shift", "running_mean", "running_var") if of in own}
    if not parts:
        return None
    epsilon = float(np.ravel(own.get("epsilon", _EPSILON))[0])
    groups = None if "groups" not in own else int(np.ravel(own["groups"])[0])
    if "running_mean" not in parts and "running_var" not in parts:
        scale = parts.get("scale", np.ones_like(parts.get("shift", 1.0)))
        return Normalisation(scale, cast(Any, parts.get("shift")), groups, epsilon)
    if missing := {"running_mean", "running_var"} - parts.keys():
        raise WeightsError(f"tensor '{name}.{missing.pop()}' is missing beside the other statistics of batches")
    mean, variance = (parts[of].astype(float) for of in ("running_mean", "running_var"))
    scale = parts.get("scale", np.ones(1)) / np.sqrt(variance + epsilon)
    return Normalisation(scale, parts.get("shift", np.zeros(1)) - scale * mean)


def _shape(value: Any) -> tuple[int, int]:
    return tuple(np.ravel(value).tolist())


def require_said(values: Mapping[str, Any]) -> None:
    """Ask for what the tensors of a framework do not say of encoder, classifier and normalisations of the field.

    Raises:
        WeightsError: It has several layers and nobody says what stands between them, or a normalisation without
            statistics and nobody says over which channels it takes its own.
    """
    inside = next((name for name in values if re.fullmatch(r"scale\d+", name)), "")
    if inside and "groups" not in values:
        raise WeightsError(
            f"tensor {inside!r} is of a normalisation inside the field: say how many groups of channels it takes "
            "mean and variance of, 1 for a layer normalisation (--set groups=1)"
        )
    for end in _FORMS:
        own = named_below(values, end)
        layers = sorted({name.partition(".")[0] for name in own if name.partition(".")[0].isdecimal()}, key=int)
        if layers and "activation" not in own and not any(f"{k}.activation" in own for k in layers):
            raise WeightsError(
                f"the {end} has {len(layers)} layers, and nobody says what stands between them: give an activation "
                f"for each, {_WHERE[end]} its weight (--set {end}.activation={','.join(['relu'] * len(layers))}, "
                "with identity for none)"
            )
        for name in (f"{k}." for k in (layers or [])) if layers else ("",):
            statistics = f"{name}running_mean" in own
            if f"{name}scale" in own and not statistics and f"{name}groups" not in own:
                raise WeightsError(
                    f"tensor '{end}.{name}scale' is of a normalisation without statistics of batches: say how many "
                    f"groups of channels it takes them of, 1 for a layer normalisation (--set {end}.{name}groups=1)"
                )


_WHERE = {"encoder": "behind", "classifier": "in front of"}


def assumed_ends(values: Mapping[str, Any]) -> list[str]:
    """What stands beside the weights of encoder and classifier as nobody has said it, in words."""
    found = []
    for end in _FORMS:
        own = named_below(values, end)
        if "weight" in own and "activation" not in own:
            found.append(f"{end} without an activation (nobody has said so)")
        normalised = any(name.rpartition(".")[2] in ("scale", "running_mean") for name in own)
        if normalised and not any(name.rpartition(".")[2] == "epsilon" for name in own):
            found.append(f"normalisations of the {end} {_WHERE[end]} its weights with epsilon {_EPSILON:g} (likewise)")
        if any(np.ndim(value) == 4 for value in own.values()) and not any("padding" in name for name in own):
            found.append(f"convolutions of the {end} padded with zeros by half a kernel (likewise)")
    return found
