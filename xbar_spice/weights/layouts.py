"""What a file's tensors are in a model: found by their names and shapes, or told by a mapping.

A file in the documented format names its tensors as the model does. Others have the names that their framework gave
them: the matrix of a layer `odefunc.l1` is `odefunc.l1.weight`, its bias `odefunc.l1.bias`, in front of that may stand
what wrapped it (`module.`, `_orig_mod.`), and beside it the state of an optimiser.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from xbar_spice.disk import Arrays
from xbar_spice.errors import WeightsError
from xbar_spice.weights.formats import NUMBERS, TEXTS
from xbar_spice.weights.torch_files import Opaque

__all__ = ["ENDS", "Layout", "flattened", "laid_out", "named_by"]

ENDS = ("encoder.weight", "encoder.bias", "classifier.weight", "classifier.bias")
_FIELD = re.compile(r"(?:(?:velocity|force)\.)?(?:[AB]|K\d*|[ab]|k\d*|bias|output_bias|b\d+)")
"""The names of matrices, kernels and biases of fields."""
_BIASES = {"A": "bias", "B": "output_bias", "K": "bias", "a": "bias", "b": "output_bias", "k": "bias"}
_BACK_TO_STATES = ("B", "b", "K", "k", "K2", "k2")  # a matrix of as many rows as there are states, or channels
_OF_LAYERS = {  # what the layers of a field are, in their order
    "activation": ("A", "B"),
    "layer": ("K",),
    "antisymmetric": ("K",),
    "parabolic": ("K",),
    "hamiltonian": ("K",),
}
_CHAINS = ("residual", "perceptron")  # fields of any number of layers
_WRAPPERS = {"module", "_orig_mod"}
_CONTAINERS = {"state_dict", "model_state_dict", "model_state", "model", "net", "network"}
_ODE = {
    "ode", "odes", "odefunc", "ode_func", "odenet", "ode_net", "odeblock", "ode_block", "ode_layer", "node",
    "neuralode", "neural_ode", "func", "f", "vf", "field", "vector_field", "rhs", "defunc", "dynamics", "drift",
    "diffeq",
}  # fmt: skip
_FRONT = {"encoder", "enc", "embed", "embedding", "lift", "opening", "input", "in_proj", "proj_in", "stem"}
_BACK = {"classifier", "head", "fc", "readout", "decoder", "output", "out", "out_proj", "proj_out", "linear"}


@final
@dataclass(frozen=True)
class Layer:
    """A weight and its bias, which belong to one layer of a framework.

    Attributes:
        path: The layer's name in the file.
        weight: The name of its weight there.
        bias: The name of its bias; empty for none.
        shape: Of the weight.
    """

    path: str
    weight: str
    bias: str
    shape: tuple[int, ...]

    def has(self, words: set[str]) -> bool:
        """Whether one of these words is a part of its name."""
        return any(word.lower() in words for word in _words(self.path))

    @property
    def is_inside(self) -> bool:
        """Whether its name puts it into the right-hand side; layers of which each time step has one are there, too."""
        return "*" in self.path or any(
            word.lower().removesuffix("_state_dict").rstrip("0123456789_") in _ODE for word in _words(self.path)
        )


@final
@dataclass(frozen=True)
class Layout:
    """What is taken for what.

    Attributes:
        taken: The name of a tensor of the model to the name in the file; with a star for the number of a time step,
            "layers.*.weight", where each step has its own, see `named_by`.
        field: The kind of field that its layers make up; empty if the names say nothing of it.
        foreign: Whether the names are those of a framework.
        unused: Tensors that belong to nothing.
        problem: Why no model can be made of it; empty if one can.
    """

    taken: Mapping[str, str]
    field: str = ""
    foreign: bool = False
    unused: tuple[str, ...] = ()
    problem: str = ""


# --- names ----------------------------------------------------------------------------------------------------------


def flattened(tables: Mapping[str, Any]) -> tuple[Arrays, dict[str, str]]:
    """All numbers and texts of nested tables by their dotted names, and what is left out, with the reason."""
    found: Arrays = {}
    left_out: dict[str, str] = {}
    _flatten(tables, "", found, left_out)
    for name in [name for name in found if name in tables and not _documented(name)]:
        if any("." in other and other not in tables for other in found):  # weights are in the tables of this file
            left_out[name] = f"an array of shape {found.pop(name).shape} beside the tables of weights"
    return found, left_out


def _flatten(table: Mapping[str, Any], prefix: str, found: Arrays, left_out: dict[str, str]) -> None:
    for key, value in table.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            if {"state", "param_groups"} <= value.keys():
                left_out[name] = "state of an optimiser"
            else:
                _flatten(value, f"{name}.", found, left_out)
        elif isinstance(value, np.ndarray):
            found[name] = value
        elif isinstance(value, bool | int | float | str):
            if _documented(name) in TEXTS + NUMBERS:
                found[name] = np.asarray(value)
            else:
                left_out[name] = f"a setting, {str(value)[:40]}"
        elif isinstance(value, list | tuple) and value and all(isinstance(entry, int | float) for entry in value):
            found[name] = np.asarray(value)
        elif value is not None:
            kind = type(value).__name__
            left_out[name] = f"an object of {kind}" if isinstance(value, Opaque) else f"a {kind}"


def _words(name: str) -> list[str]:
    return name.split(".")


def _core(name: str) -> str:
    """A name without what wraps the model."""
    words = [word for word in _words(name) if word not in _WRAPPERS]
    while len(words) > 1 and words[0] in _CONTAINERS:
        words = words[1:]
    return ".".join(words)


def _documented(name: str, own: bool = False) -> str:
    """What a name is called in the documented format; empty for other ones, but those of a field of one's own."""
    core = _core(name)
    if core in ENDS or core in TEXTS + NUMBERS:
        return core
    words = _words(core)
    while len(words) > 1 and words[0].lower() in _ODE:
        words = words[1:]
    if len(words) > 1 and words[-1] in ("weight", "bias") and _FIELD.fullmatch(".".join(words[:-1])):
        return _of_layer(".".join(words[:-1]), words[-1])
    core = ".".join(words)
    return core if own or _FIELD.fullmatch(core) or core in TEXTS + NUMBERS else ""


def _of_layer(matrix: str, part: str) -> str:
    """The tensor of a model that weight or bias of the layer of a matrix is: "K1", "bias" is "b1"."""
    if part == "weight":
        return matrix
    part, dot, name = matrix.rpartition(".")
    return f"{part}{dot}{_BIASES.get(name) or f'b{name[1:]}'}"


# --- layouts --------------------------------------------------------------------------------------------------------


def laid_out(tensors: Arrays, mapping: Mapping[str, str], field: str = "") -> Layout:
    """What the tensors of a file are.

    Args:
        tensors: By their names in the file.
        mapping: From names of the model to names in the file, or to their ends, such as "odefunc.l1.weight"; the name
            of a layer stands for its weight and bias, and nothing for a tensor that the model shall not have. A star
            stands for the numbers of time steps.
        field: The kind of field, if somebody has said so; one of the user's own names its tensors as it likes.

    Raises:
        WeightsError: The mapping names what is not there.
    """
    if mapping:
        return _mapped(tensors, mapping)
    named: dict[str, list[str]] = {}
    for name in tensors:
        named.setdefault(_documented(name, own=":" in field), []).append(name)
    others = named.pop("", [])
    weights = {name for name in named if name not in TEXTS + NUMBERS}
    twice = [(name, there) for name, there in named.items() if len(there) > 1]
    taken = {name: there[0] for name, there in named.items()}
    if twice:
        name, there = twice[0]
        return Layout(taken, problem=f"{' and '.join(map(repr, there[:3]))} could both be {name!r}: {_MAP_HINT}")
    if not others or weights - set(ENDS):
        return _with_ends(taken, others, tensors)
    settings = {name: there for name, there in taken.items() if name in TEXTS + NUMBERS}
    guess = _guess([name for name in tensors if name not in settings.values()], tensors, field)
    return Layout({**settings, **guess.taken}, guess.field, True, guess.unused, guess.problem)


_MAP_HINT = "say which tensor is which by a mapping (--map A=NAME), or leave tensors out of the file"


def _is_count(value: NDArray[Any]) -> bool:
    """Whether a number counts something, as that of batches in a normalisation, and is no weight."""
    return value.ndim == 0 and value.dtype.kind in "iub"


def _mapped(tensors: Arrays, mapping: Mapping[str, str]) -> Layout:
    taken: dict[str, str] = {}
    for name, there in mapping.items():
        if not there:
            continue
        found = _ending_with(tensors, there)
        layer = [] if found else _ending_with(tensors, f"{there}.weight")
        if "*" in there and not (found or layer):
            found = [one for one in (there, f"{there}.weight") if named_by(tensors, one)][:1]
        if len(found or layer) != 1:
            what = f"fits {', '.join((found or layer)[:3])}" if found or layer else "is not there"
            raise WeightsError(
                f"mapping {name}={there}: {there!r} {what}; the file has {', '.join(list(tensors)[:40]) or 'nothing'}"
            )
        taken[name] = (found or layer)[0]
    for name, there in list(taken.items()):
        sibling = f"{there.removesuffix('weight')}bias"
        bias = _bias_of(name)
        if (
            there.endswith(".weight")
            and named_by(tensors, sibling)
            and bias not in mapping
            and name not in TEXTS + NUMBERS
        ):
            taken[bias] = sibling
    for name in tensors:  # settings keep their names
        if (said := _documented(name)) in TEXTS + NUMBERS:
            taken.setdefault(said, name)
    return Layout(taken, "", True, tuple(_left(tensors, tensors, taken)))


def _left(names: Iterable[str], tensors: Arrays, taken: Mapping[str, str]) -> list[str]:
    """Those that are taken for nothing."""
    used = {name for there in taken.values() for name in named_by(tensors, there)}
    return [name for name in names if name not in used and not _is_count(tensors[name])]


def named_by(tensors: Iterable[str], there: str) -> list[str]:
    """The tensors that a name stands for: itself, or with a star those of one time step after the other."""
    if "*" not in there:
        return [name for name in tensors if name == there]
    pattern = re.compile(r"(?:.*\.)?" + re.escape(there).replace(r"\*", r"(\d+)"))
    matched = [found for name in tensors if (found := pattern.fullmatch(name))]
    return [found.string for found in sorted(matched, key=lambda found: [int(part) for part in found.groups()])]


def _ending_with(tensors: Iterable[str], name: str) -> list[str]:
    exact = [there for there in tensors if there == name]
    return exact or [there for there in tensors if there.endswith(f".{name}")]


def _with_ends(taken: dict[str, str], others: list[str], tensors: Arrays) -> Layout:
    """A field whose tensors have their own names, with an encoder and a classifier that may have others."""
    layers, loose = _layers(others, tensors)
    states = next((tensors[taken[name]].shape[:1] for name in _BACK_TO_STATES if name in taken), ())
    front = [layer for layer in layers if _is_front(layer, *states, before=False)] if states else []
    back = [layer for layer in layers if layer not in front]
    found = dict(taken)
    if states and len(front) < 2 and len(back) < 2 and not loose:
        found |= _tensors_of([("encoder.weight", front), ("classifier.weight", back)])
    unused = tuple(_left(others, tensors, found))
    problem = f"tensor {unused[0]!r}: expected one of A, B, {', '.join(ENDS)}; {_MAP_HINT}" if unused else ""
    return Layout(found, foreign=len(found) > len(taken), unused=unused, problem=problem)


def _guess(names: list[str], tensors: Arrays, field: str) -> Layout:
    """What the layers of a framework are: one field, and perhaps an encoder and a classifier of one layer each."""
    layers, loose = _layers(names, tensors)
    if loose:
        norm = _words(loose[0])[-1] in ("weight", "bias", "running_mean") and tensors[loose[0]].ndim == 1
        kind = "seems to be of a normalisation, which no field here has" if norm else "belongs to no layer"
        return Layout({}, unused=tuple(loose), problem=f"tensor {loose[0]!r}: {kind}; {_MAP_HINT}")
    front, inside, back = _parts(layers)
    kinds = [kind for kind, matrices in _OF_LAYERS.items() if len(matrices) == len(inside)]
    kind = field or {0: "", 1: "", 2: "activation"}.get(len(inside), "perceptron")
    matrices = _matrices(kind, len(inside))
    taken = _tensors_of(
        [
            *((matrix, [layer]) for matrix, layer in zip(matrices, inside, strict=False)),
            ("encoder.weight", front[:1]),
            ("classifier.weight", back[:1]),
        ]
    )
    said = ", ".join(f"{layer.path} {layer.shape}" for layer in inside) or "none"
    problem = ""
    if not kind and kinds:
        problem = (
            f"one layer, {said}, may be a field of several kinds: say which, field='layer' or another one of "
            f"{', '.join(kinds)} (--set field=layer)"
        )
    elif len(matrices) != len(inside):
        wanted = f"a field {kind!r} has {len(matrices)}" if kind else "a field has one at least"
        problem = f"the right-hand side seems to have {len(inside)} layers ({said}), and {wanted}; {_MAP_HINT}"
    for name, end in (("encoder", front), ("classifier", back)):
        if len(end) > 1 and not problem:
            paths = ", ".join(layer.path for layer in end)
            problem = f"the {name} seems to have several layers ({paths}), and may have one; {_MAP_HINT}"
    return Layout(taken, kind, True, tuple(_left(names, tensors, taken)), problem)


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
                taken[_bias_of(matrix)] = layer.bias
    return taken


def _bias_of(matrix: str) -> str:
    return f"{matrix.removesuffix('weight')}bias" if matrix in ENDS else _of_layer(matrix, "bias")


def _layers(names: list[str], tensors: Arrays) -> tuple[list[Layer], list[str]]:
    """Layers in the order of the file, and the tensors that belong to none."""
    layers, used = [], set[str]()
    for name in names:
        value = tensors[name]
        if _words(name)[-1] == "weight" and value.ndim in (2, 4):
            path = name.removesuffix(".weight").removesuffix("weight")
            bias = f"{path}.bias" if path else "bias"
            bias = bias if bias in tensors and tensors[bias].shape == value.shape[:1] else ""
            layers.append(Layer(path, name, bias, value.shape))
            used |= {name, bias}
    return _by_step(layers), [name for name in names if name not in used and not _is_count(tensors[name])]


def _by_step(layers: list[Layer]) -> list[Layer]:
    """Layers of which there is one for each time step as one, with a star for its number.

    They are of one shape and numbered from 0 on without a gap, as a list of modules is; a right-hand side of several
    layers is no such list, and nor are two layers alone.
    """
    found: dict[str, list[Layer]] = {}
    for layer in layers:
        number = re.search(r"(?<![^.])\d+(?![^.])", layer.path)
        several = number is not None and not layer.is_inside
        key = f"{layer.path[: number.start()]}*{layer.path[number.end() :]}" if number and several else layer.path
        found.setdefault(key, []).append(layer)
    merged: list[Layer] = []
    for key, group in found.items():
        numbers = [_words(layer.path)[_words(key).index("*")] for layer in group] if "*" in key else []
        least = 3 if key.endswith("*") else 2
        alike = len({(layer.shape, bool(layer.bias)) for layer in group}) == 1
        if len(group) < least or not alike or numbers != [str(k) for k in range(len(group))]:
            merged += group
        else:
            bias = f"{key}.bias" if group[0].bias else ""
            merged.append(Layer(key, f"{key}.weight", bias, group[0].shape))
    return merged


def _is_front(layer: Layer, states: int, *, before: bool) -> bool:
    """Whether a layer makes states rather than takes them."""
    makes, takes = layer.shape[0] == states, layer.shape[1] == states
    if layer.has(_FRONT) != layer.has(_BACK):
        return layer.has(_FRONT)
    return before if makes == takes else makes
