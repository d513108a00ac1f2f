"""What a file's tensors are in a model: found by their names and shapes, or told by a mapping.

A file in the documented format names its tensors as the model does. Others have the names that their framework gave
them: the matrix of a layer `odefunc.l1` is `odefunc.l1.weight`, its bias `odefunc.l1.bias`, in front of that may stand
what wrapped it (`module.`, `_orig_mod.`), and beside it the state of an optimiser.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from xbar_spice.disk import Arrays
from xbar_spice.errors import WeightsError
from xbar_spice.weights.formats import is_setting
from xbar_spice.weights.frameworks import guessed, with_ends
from xbar_spice.weights.layout_names import MAP_HINT, WEIGHTS, Layout, bias_of, documented, is_end, left_over, named_by
from xbar_spice.weights.torch_files import Opaque

__all__ = ["flattened", "laid_out", "part_of"]


# --- names ----------------------------------------------------------------------------------------------------------


def flattened(tables: Mapping[str, Any]) -> tuple[Arrays, dict[str, str]]:
    """All numbers and texts of nested tables by their dotted names, and what is left out, with the reason."""
    found: Arrays = {}
    left_out: dict[str, str] = {}
    _flatten(tables, "", found, left_out)
    for name in [name for name in found if name in tables and not documented(name)]:
        if any("." in other and other not in tables for other in found):  # weights are in the tables of this file
            left_out[name] = f"an array of shape {found.pop(name).shape} beside the tables of weights"
    return found, left_out


def _dotted(name: str) -> str:
    """A name with dots between its parts: "params/Dense_0/kernel:0" is "params.Dense_0.kernel"."""
    return name.replace("/", ".").removesuffix(":0")


def _flatten(table: Mapping[str, Any], prefix: str, found: Arrays, left_out: dict[str, str]) -> None:
    for key, value in table.items():
        name = f"{prefix}{_dotted(key)}"
        if isinstance(value, Mapping):
            if {"state", "param_groups"} <= value.keys():
                left_out[name] = "state of an optimiser"
            else:
                _flatten(value, f"{name}.", found, left_out)
        elif isinstance(value, np.ndarray):
            found[name] = value
        elif isinstance(value, bool | int | float | str):
            if is_setting(documented(name)):
                found[name] = np.asarray(value)
            else:
                left_out[name] = f"a setting, {str(value)[:40]}"
        elif isinstance(value, list | tuple) and value and all(isinstance(entry, int | float) for entry in value):
            found[name] = np.asarray(value)
        elif value is not None:
            kind = type(value).__name__
            left_out[name] = f"an object of {kind}" if isinstance(value, Opaque) else f"a {kind}"


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
    if twins := _twins(tensors):
        return Layout({}, problem=_TWICE.format(*twins))
    named: dict[str, list[str]] = {}
    for name in tensors:
        named.setdefault(documented(name, own=":" in field), []).append(name)
    others = named.pop("", [])
    for name in _numbered_otherwise(named, tensors):
        others += named.pop(name)
    weights = {name for name in named if not is_setting(name)}
    twice = [(name, there) for name, there in named.items() if len(there) > 1]
    taken = {name: there[0] for name, there in named.items()}
    if twice:
        name, there = twice[0]
        return Layout(taken, problem=f"{' and '.join(map(repr, there[:3]))} could both be {name!r}: {MAP_HINT}")
    if not others or not all(map(is_end, weights)):
        return with_ends(taken, others, tensors)
    settings = {name: there for name, there in taken.items() if is_setting(name)}
    guess = guessed([name for name in tensors if name not in settings.values()], tensors, field)
    return Layout({**settings, **guess.taken}, guess.field, True, guess.unused, guess.problem)


_TWICE = (
    "the model stands in the file twice, under {0!r} and under {1!r}, such as its weights and their moving average: "
    "say which of them you mean by part (--set part={0})"
)


def _twins(tensors: Arrays) -> tuple[str, ...]:
    """Two parts of a file whose tensors have the same names and shapes, several layers in each; nothing if none."""
    names = list(tensors)
    while len({name.partition(".")[0] for name in names}) == 1 and all("." in name for name in names):
        names = [name.partition(".")[2] for name in names]
    lead = len(next(iter(tensors), "")) - len(names[0]) if names else 0
    parts: dict[str, dict[str, tuple[int, ...]]] = {}
    for name, whole in zip(names, tensors, strict=True):
        top, _, rest = name.partition(".")
        if "." in rest and not top.isdecimal() and not is_end(name):
            parts.setdefault(whole[:lead] + top, {})[rest] = tensors[whole].shape
    layered = {top: held for top, held in parts.items() if sum(len(shape) > 1 for shape in held.values()) > 1}
    for top, held in layered.items():
        for other, same in layered.items():
            if other > top and held == same:
                return tuple(part for part in parts if part in (top, other))
    return ()


def part_of(tensors: Arrays, part: str) -> Arrays:
    """The tensors of one part of a file, by the names that they have there.

    Raises:
        WeightsError: There is no such part.
    """
    found = {name.removeprefix(f"{part}."): one for name, one in tensors.items() if name.startswith(f"{part}.")}
    if not found:
        tops = dict.fromkeys(name.rpartition(".")[0].partition(".")[0] or name for name in tensors)
        raise WeightsError(f"part {part!r} is not there; the file has {', '.join(list(tops)[:20])}")
    return found


def _numbered_otherwise(named: Mapping[str, Any], tensors: Arrays) -> list[str]:
    """Names as those of the layers of an encoder or a classifier that are numbered in another way, as modules are."""
    found = []
    for end in ("encoder", "classifier"):
        if any(re.fullmatch(rf"{end}\.\d+\.form", name) for name in named):
            continue  # these are ours
        numbered = [name for name in named if is_end(name) and re.match(rf"{end}\.\d", name)]
        weights = [name for name in numbered if name.endswith(".weight") and tensors[named[name][0]].ndim > 1]
        count = len({name.split(".")[1] for name in numbered})
        if count == 1 or {f"{end}.{k}.weight" for k in range(count)} != set(weights):
            found += numbered
    return found


def _mapped(tensors: Arrays, mapping: Mapping[str, str]) -> Layout:
    taken: dict[str, str] = {}
    for name, said in mapping.items():
        if not said:
            continue
        there = _dotted(said)
        found = _ending_with(tensors, there)
        layer = [] if found else [one for of in WEIGHTS for one in _ending_with(tensors, f"{there}.{of}")]
        if "*" in there and not (found or layer):
            found = [one for one in (there, f"{there}.weight") if named_by(tensors, one)][:1]
        if len(found or layer) != 1:
            what = f"fits {', '.join((found or layer)[:3])}" if found or layer else "is not there"
            raise WeightsError(
                f"mapping {name}={there}: {there!r} {what}; the file has {', '.join(list(tensors)[:40]) or 'nothing'}"
            )
        taken[name] = (found or layer)[0]
    for name, there in list(taken.items()):
        path, _, last = there.rpartition(".")
        sibling = f"{path}.bias"
        bias = bias_of(name)
        if last in WEIGHTS and named_by(tensors, sibling) and bias not in mapping and not is_setting(name):
            taken[bias] = sibling
    for name in tensors:  # settings keep their names
        if is_setting(said := documented(name)):
            taken.setdefault(said, name)
    return Layout(taken, "", True, tuple(left_over(tensors, tensors, taken)))


def _ending_with(tensors: Iterable[str], name: str) -> list[str]:
    exact = [there for there in tensors if there == name]
    return exact or [there for there in tensors if there.endswith(f".{name}")]
