"""Names of tensors: those of the documented format, and what frameworks put around them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, final

from numpy.typing import NDArray

from xbar_spice.disk import Arrays
from xbar_spice.weights.formats import is_setting

__all__ = [
    "ENDS", "MAP_HINT", "ODE", "WEIGHTS", "Layout", "as_weight", "bias_of", "documented", "is_count", "is_end",
    "left_over", "named_by", "of_layer", "words_of",
]  # fmt: skip

ENDS = ("encoder.weight", "encoder.bias", "classifier.weight", "classifier.bias")
_END = re.compile(
    r"(?:encoder|classifier)\.(?:\d+\.)?(?:weight|bias|scale|shift|running_mean|running_var)|encoder\.\d+\.field\..+"
)
"""The names of tensors of encoders and classifiers, of one layer or of several."""
_FIELD = re.compile(r"(?:(?:velocity|force)\.)?(?:[AB]|K\d*|[ab]|k\d*|bias|output_bias|(?:b|scale|shift)\d+)")
"""The names of matrices, kernels, biases and normalisations of fields."""
_BIASES = {"A": "bias", "B": "output_bias", "K": "bias", "a": "bias", "b": "output_bias", "k": "bias"}
_WRAPPERS = {"module", "_orig_mod"}
_CONTAINERS = {"state_dict", "model_state_dict", "model_state", "model", "net", "network"}
ODE = {
    "ode", "odes", "odefunc", "ode_func", "odenet", "ode_net", "odeblock", "ode_block", "ode_layer", "node",
    "neuralode", "neural_ode", "func", "f", "vf", "field", "vector_field", "rhs", "defunc", "dynamics", "drift",
    "diffeq",
}  # fmt: skip
WEIGHTS = ("weight", "kernel")
"""What a layer calls its weight: PyTorch's, (outputs, inputs), and that of Flax and Keras, (inputs, outputs)."""
MAP_HINT = "say which tensor is which by a mapping (--map A=NAME), or leave tensors out of the file"


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


def words_of(name: str) -> list[str]:
    """The parts of a dotted name."""
    return name.split(".")


def _core(name: str) -> str:
    """A name without what wraps the model."""
    words = [word for word in words_of(name) if word not in _WRAPPERS]
    while len(words) > 1 and words[0] in _CONTAINERS:
        words = words[1:]
    return ".".join(words)


def documented(name: str, own: bool = False) -> str:
    """What a name is called in the documented format; empty for other ones, but those of a field of one's own."""
    core = _core(name)
    if is_end(core) or is_setting(core):
        return core
    words = words_of(core)
    while len(words) > 1 and words[0].lower() in ODE:
        words = words[1:]
    if len(words) > 1 and words[-1] in ("weight", "bias") and _FIELD.fullmatch(".".join(words[:-1])):
        return of_layer(".".join(words[:-1]), words[-1])
    core = ".".join(words)
    return core if own or _FIELD.fullmatch(core) or is_setting(core) else ""


def is_end(name: str) -> bool:
    """Whether a tensor of this name belongs to an encoder or a classifier."""
    return _END.fullmatch(name) is not None


def of_layer(matrix: str, part: str) -> str:
    """The tensor of a model that weight or bias of the layer of a matrix is: "K1", "bias" is "b1"."""
    if part == "weight":
        return matrix
    part, dot, name = matrix.rpartition(".")
    return f"{part}{dot}{_BIASES.get(name) or f'b{name[1:]}'}"


def bias_of(matrix: str) -> str:
    """What the bias beside a weight or a matrix of the model is called."""
    return f"{matrix.removesuffix('weight')}bias" if is_end(matrix) else of_layer(matrix, "bias")


def named_by(tensors: Iterable[str], there: str) -> list[str]:
    """The tensors that a name stands for: itself, or with a star those of one time step after the other."""
    if "*" not in there:
        return [name for name in tensors if name == there]
    pattern = re.compile(r"(?:.*\.)?" + re.escape(there).replace(r"\*", r"(\d+)"))
    matched = [found for name in tensors if (found := pattern.fullmatch(name))]
    return [found.string for found in sorted(matched, key=lambda found: [int(part) for part in found.groups()])]


def as_weight(name: str, value: NDArray[Any]) -> NDArray[Any]:
    """A weight as PyTorch has it, (outputs, inputs) or (c_out, c_in, q, q), whichever framework has named it.

    A "kernel" of Flax or Keras is (inputs, outputs), or (q, q, c_in, c_out) with the rows of an image first.
    """
    if words_of(name)[-1] != "kernel" or value.ndim not in (2, 4):
        return value
    return value.T if value.ndim == 2 else value.transpose(3, 2, 0, 1)


def is_count(value: NDArray[Any]) -> bool:
    """Whether a number counts something, as that of batches in a normalisation, and is no weight."""
    return value.ndim == 0 and value.dtype.kind in "iub"


def left_over(names: Iterable[str], tensors: Arrays, taken: Mapping[str, str]) -> list[str]:
    """Those that are taken for nothing."""
    used = {name for there in taken.values() for name in named_by(tensors, there)}
    return [name for name in names if name not in used and not is_count(tensors[name])]
