"""The layers of a framework: which make up the field, which stand in front of it, and which behind."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import final

from xbar_spice.disk import Arrays
from xbar_spice.weights.layout_names import (
    ENDS,
    MAP_HINT,
    ODE,
    WEIGHTS,
    Layout,
    as_weight,
    bias_of,
    is_count,
    left_over,
    named_by,
    words_of,
)

__all__ = ["guessed", "with_ends"]

_BACK_TO_STATES = ("B", "b", "K", "k", "K2", "k2")  # a matrix of as many rows as there are states, or channels
_OF_LAYERS = {  # what the layers of a field are, in their order
    "activation": ("A", "B"),
    "layer": ("K",),
    "antisymmetric": ("K",),
    "parabolic": ("K",),
    "hamiltonian": ("K",),
}
_CHAINS = ("residual", "perceptron", "normalised")  # fields of any number of layers
_FRONT = {
    "encoder",
    "enc",
    "embed",
    "embedding",
    "lift",
    "opening",
    "input",
    "in_proj",
    "proj_in",
    "stem",
    "rec",
    "recognition",
}
_BACK = {
    "classifier",
    "head",
    "fc",
    "readout",
    "decoder",
    "dec",
    "linear_layer",
    "output",
    "out",
    "out_proj",
    "proj_out",
    "linear",
}


@final
@dataclass(frozen=True)
class Layer:
    """A weight and its bias, which belong to one layer of a framework.

    Attributes:
        path: The layer's name in the file.
        weight: The name of its weight there.
        bias: The name of its bias; empty for none.
        shape: Of the weight.
        beside: Other tensors that belong to it, those of a normalisation, by what they are: "scale", "shift",
            "running_mean", "running_var".
    """

    path: str
    weight: str
    bias: str
    shape: tuple[int, ...]
    beside: tuple[tuple[str, str], ...] = ()

    def has(self, words: set[str]) -> bool:
        """Whether one of these words is a part of its name."""
        return any(_plain(word) in words for word in words_of(self.path))

    @property
    def is_inside(self) -> bool:
        """Whether its name puts it into the right-hand side; layers of which each time step has one are there, too."""
        return "*" in self.path or any(_plain(word).rstrip("0123456789_") in ODE for word in words_of(self.path))


def _plain(word: str) -> str:
    """A part of a name as the lists above have it: "func_state_dict" is "func"."""
    return word.lower().removesuffix("_state_dict")


def with_ends(taken: dict[str, str], others: list[str], tensors: Arrays) -> Layout:
    """A field whose tensors have their own names, with an encoder and a classifier that may have others."""
    layers, loose = _layers(others, tensors)
    states = next((tensors[taken[name]].shape[:1] for name in _BACK_TO_STATES if name in taken), ())
    front = [layer for layer in layers if _is_front(layer, *states, before=False)] if states else []
    back = [layer for layer in layers if layer not in front]
    found = dict(taken)
    front, back, loose = _normalised(front, back, layers, loose, tensors)
    if states and not loose:
        found |= _tensors_of([*_numbered("encoder", front), *_numbered("classifier", back)])
    unused = tuple(left_over(others, tensors, found))
    problem = f"tensor {unused[0]!r}: expected one of A, B, {', '.join(ENDS)}; {MAP_HINT}" if unused else ""
    return Layout(found, foreign=len(found) > len(taken), unused=unused, problem=problem)


def guessed(names: list[str], tensors: Arrays, field: str) -> Layout:
    """What the layers of a framework are: one field, and perhaps an encoder and a classifier."""
    layers, loose = _layers(names, tensors)
    front, inside, back = _parts(layers)
    front, back, loose = _normalised(front, back, layers, loose, tensors)
    norms, loose = _inside_norms(inside, loose, tensors)
    if loose:
        last = words_of(loose[0])[-1]
        norm = last in ("weight", "bias", "scale", "running_mean") and tensors[loose[0]].ndim == 1
        kind = "seems to be of a normalisation, which belongs to no layer" if norm else "belongs to no layer"
        if re.fullmatch(r"weight_(g|v|u|orig)|original\d", last):
            kind = (
                "is a part of a weight that its framework puts together: take that off before the network is saved "
                "(torch.nn.utils.parametrize.remove_parametrizations, remove_weight_norm, remove_spectral_norm)"
            )
        return Layout({}, unused=tuple(loose), problem=f"tensor {loose[0]!r}: {kind}; {MAP_HINT}")
    kinds = [kind for kind, matrices in _OF_LAYERS.items() if len(matrices) == len(inside)]
    kind = field or ("normalised" if norms else {0: "", 1: "", 2: "activation"}.get(len(inside), "perceptron"))
    matrices = _matrices(kind, len(inside))
    taken = _tensors_of(
        [
            *((matrix, [layer]) for matrix, layer in zip(matrices, inside, strict=False)),
            *_numbered("encoder", front),
            *_numbered("classifier", back),
        ]
    )
    taken |= norms
    said = ", ".join(f"{layer.path} {layer.shape}" for layer in inside) or "none"
    problem = ""
    if not kind and kinds:
        problem = (
            f"one layer, {said}, may be a field of several kinds: say which, field='layer' or another one of "
            f"{', '.join(kinds)} (--set field=layer)"
        )
    elif len(matrices) != len(inside):
        wanted = f"a field {kind!r} has {len(matrices)}" if kind else "a field has one at least"
        problem = f"the right-hand side seems to have {len(inside)} layers ({said}), and {wanted}; {MAP_HINT}"
    return Layout(taken, kind, True, tuple(left_over(names, tensors, taken)), problem)


def _parts(layers: list[Layer]) -> tuple[list[Layer], list[Layer], list[Layer]]:
    """The layers in front of the right-hand side, those of it, and those behind it."""
    inside = [layer for layer in layers if layer.is_inside]
    if not inside or len(inside) == len(layers):
        front = [layer for layer in layers if layer.has(_FRONT) and len(layers) > 1]
        back = [layer for layer in layers if layer.has(_BACK) and layer not in front and len(layers) > 1]
        return front, [layer for layer in layers if layer not in front + back], back
    states, first = inside[-1].shape[0], layers.index(inside[0])
    rest = [layer for layer in layers if layer not in inside]
    front = [layer for layer in rest if _is_front(layer, states, before=layers.index(layer) < first)]
    return front, inside, [layer for layer in rest if layer not in front]


def _matrices(kind: str, layers: int) -> tuple[str, ...]:
    """What a field of a kind calls its layers, in their order; some have as many as there are."""
    return tuple(f"K{k + 1}" for k in range(layers)) if kind in _CHAINS else _OF_LAYERS.get(kind, ())


def _tensors_of(layers: Iterable[tuple[str, list[Layer]]]) -> dict[str, str]:
    """The tensors of a model that the weights and biases of layers are."""
    taken: dict[str, str] = {}
    for matrix, held in layers:
        for layer in held:
            taken[matrix] = layer.weight
            if layer.bias:
                taken[bias_of(matrix)] = layer.bias
            taken |= {f"{matrix.removesuffix('weight')}{of}": there for of, there in layer.beside}
    return taken


def _numbered(end: str, layers: list[Layer]) -> list[tuple[str, list[Layer]]]:
    """What the weights of an encoder or a classifier are called, which has numbers if there are several."""
    if len(layers) == 1:
        return [(f"{end}.weight", layers)]
    return [(f"{end}.{k}.weight", [layer]) for k, layer in enumerate(layers)]


_OF_NORMALISATIONS = {
    "weight": "scale", "bias": "shift", "running_mean": "running_mean", "running_var": "running_var",
}  # fmt: skip


def _normalised(
    front: list[Layer], back: list[Layer], layers: list[Layer], loose: list[str], tensors: Arrays
) -> tuple[list[Layer], list[Layer], list[str]]:
    """Encoder and classifier with normalisations, and what is left of tensors that belonged to no layer.

    In an encoder a normalisation belongs to the layer in front of it, in a classifier to the one behind it, as
    activations do.
    """
    place = {name: k for k, name in enumerate(tensors)}
    of_layer = [(place[named_by(tensors, layer.weight)[0]], layer) for layer in layers]
    groups: dict[str, list[str]] = {}
    for name in loose:
        groups.setdefault(name.rpartition(".")[0], []).append(name)
    beside: dict[str, tuple[tuple[str, str], ...]] = {}
    left: list[str] = []
    for group in groups.values():
        parts = {name.rpartition(".")[2]: name for name in group}
        before = [layer for at, layer in of_layer if at < place[group[0]]][-1:]
        behind = [layer for at, layer in of_layer if at > place[group[0]]][:1]
        owner = [layer for layer in before if layer in front] or [layer for layer in behind if layer in back]
        vectors = all(tensors[name].ndim == 1 for name in group)
        inside = Layer(group[0].rpartition(".")[0], "", "", ()).is_inside
        if not owner or not vectors or inside or parts.keys() - _OF_NORMALISATIONS.keys() or owner[0].path in beside:
            left += group
            continue
        beside[owner[0].path] = tuple((_OF_NORMALISATIONS[part], name) for part, name in parts.items())
    with_them = [[replace(layer, beside=beside.get(layer.path, ())) for layer in end] for end in (front, back)]
    return with_them[0], with_them[1], left


def _inside_norms(inside: list[Layer], loose: list[str], tensors: Arrays) -> tuple[dict[str, str], list[str]]:
    """Normalisations of the field by the names of its tensors, and what is left: "scale1" is behind the first layer."""
    place = {name: k for k, name in enumerate(tensors)}
    taken: dict[str, str] = {}
    left: list[str] = []
    for name in loose:
        path, _, last = name.rpartition(".")
        of = _OF_NORMALISATIONS.get(last, "")
        layers = sum(place[named_by(tensors, layer.weight)[0]] < place[name] for layer in inside)
        known = of in ("scale", "shift") and tensors[name].ndim == 1 and Layer(path, "", "", ()).is_inside
        if known and f"{of}{layers}" not in taken:
            taken[f"{of}{layers}"] = name
        else:
            left.append(name)
    return taken, left


def _layers(names: list[str], tensors: Arrays) -> tuple[list[Layer], list[str]]:
    """Layers in the order of the file, and the tensors that belong to none."""
    layers, used = [], set[str]()
    for name in names:
        value = as_weight(name, tensors[name])
        last = words_of(name)[-1]
        if last in WEIGHTS and value.ndim in (2, 4):
            path = name.removesuffix(last).removesuffix(".")
            bias = f"{path}.bias" if path else "bias"
            bias = bias if bias in tensors and tensors[bias].shape == value.shape[:1] else ""
            layers.append(Layer(path, name, bias, value.shape))
            used |= {name, bias}
    return _by_step(layers), [name for name in names if name not in used and not is_count(tensors[name])]


def _by_step(layers: list[Layer]) -> list[Layer]:
    """Layers of which there is one for each time step as one, with a star for its number.

    They are of one shape and numbered from 0 on without a gap, as a list of modules is; a right-hand side of several
    layers is no such list, and nor are two layers alone.
    """
    found: dict[str, list[Layer]] = {}
    for layer in layers:
        number = re.search(r"(?<![^.])\d+(?![^.])", layer.path)
        several = number is not None and not layer.is_inside and not layer.has(_FRONT | _BACK)
        key = f"{layer.path[: number.start()]}*{layer.path[number.end() :]}" if number and several else layer.path
        found.setdefault(key, []).append(layer)
    merged: list[Layer] = []
    for key, group in found.items():
        numbers = [words_of(layer.path)[words_of(key).index("*")] for layer in group] if "*" in key else []
        least = 3 if key.endswith("*") else 2
        alike = len({(layer.shape, bool(layer.bias)) for layer in group}) == 1
        if len(group) < least or not alike or numbers != [str(k) for k in range(len(group))]:
            merged += group
        else:
            bias = f"{key}.bias" if group[0].bias else ""
            merged.append(Layer(key, f"{key}.{words_of(group[0].weight)[-1]}", bias, group[0].shape))
    return merged


def _is_front(layer: Layer, states: int, *, before: bool) -> bool:
    """Whether a layer makes states rather than takes them."""
    makes, takes = layer.shape[0] == states, layer.shape[1] == states
    if layer.has(_FRONT) != layer.has(_BACK):
        return layer.has(_FRONT)
    return before if makes == takes else makes
