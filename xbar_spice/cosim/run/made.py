"""What made a result: weights, data, code, and the full description of every part of the chip."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, final

import numpy as np

from xbar_spice.engines.base import Engine
from xbar_spice.linear.convolution import Convolution
from xbar_spice.linear.operator import LinearOperator
from xbar_spice.mapping.design import Design
from xbar_spice.parts import ENGINES, MAPPINGS
from xbar_spice.registry import Registry, source_hash
from xbar_spice.settings import entries
from xbar_spice.solve.fields.field import Field, ReluField
from xbar_spice.solve.fields.normalised import NormalisedField
from xbar_spice.solve.integrators.layers import Layers
from xbar_spice.spice.libraries import opamp_subcircuit
from xbar_spice.version import commit, versions
from xbar_spice.weights import Chain, Model, Stage
from xbar_spice.weights.end import End

__all__ = ["Conditions", "PartEntry", "WeightsEntry", "fingerprint", "key_of", "made_by", "plain"]

_MOST_ENTRIES = 2**24  # of a matrix whose numbers are all looked at, beside those of its kernel
_FROM_FILE = re.compile(r"^_xbar_spice_part_[0-9a-f]+_(\w+):")


@final
@dataclass(frozen=True)
class WeightsEntry:
    """Which weights a result is of.

    Attributes:
        fingerprint: Hash of all numbers of the model, whatever file they came in.
        file: Where they were read from, or in words; empty if nobody said.
        sha256: Of that file, if it was there.
    """

    fingerprint: str
    file: str = ""
    sha256: str | None = None


@final
@dataclass(frozen=True)
class PartEntry:
    """One part of the chip or of what answered for it.

    Attributes:
        text: That names it, with the options that are no defaults; of a file only its name.
        options: All that it holds, libraries of subcircuits included.
        sha256: Of the file that defines its class, if that is the user's own.
    """

    text: str
    options: Mapping[str, Any]
    sha256: str | None = None


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """What every record says about its circumstances; records of old may lack some of it.

    Attributes:
        engine: Name of who answered the reads.
        seed: From which everything random was drawn.
        design: The settings of the arrays.
        samples: How many there were.
        data: What they are, in words.
        weights: Which model it is.
        parts: Everything of the design that comes in kinds, and the engine, by the name of the setting.
        versions: Of the package and of what it computes with.
        commit: Of the checkout that the package was run from.
    """

    engine: str
    seed: int | None = None
    design: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    samples: int | None = None
    data: str = ""
    weights: WeightsEntry | None = None
    parts: Mapping[str, PartEntry] = dataclasses.field(default_factory=dict)
    versions: Mapping[str, str] = dataclasses.field(default_factory=dict)
    commit: str | None = None


def made_by(model: Model, design: Design, engine: str | Engine, seed: int, *, samples: int, data: str) -> Conditions:
    """The circumstances of a result that is about to be made.

    Args:
        model: The weights.
        design: How the arrays are built.
        engine: Who answers the reads.
        seed: From which everything random is drawn.
        samples: How many there are.
        data: What they are, in words.
    """
    return Conditions(
        engine=engine.name if isinstance(engine, Engine) else engine,
        seed=seed,
        design=plain(design) | {"device": repr(design.device), "mapping": MAPPINGS.text(design.mapping)},
        samples=samples,
        data=data,
        weights=_weights(model),
        parts=_parts(design, engine),
        versions=versions(),
        commit=commit(),
    )


def fingerprint(model: Model) -> str:
    """Hash of all numbers of a model, whatever file they came in."""
    digest = hashlib.sha256()
    classic = isinstance(model.field, ReluField) and all(
        operator.shape[0] * operator.shape[1] <= _MOST_ENTRIES for operator in model.operators.values()
    )
    parts: dict[str, Any] = dict(model.operators) if classic else dict(model.tensors)
    parts |= {"h": model.h, "steps": model.steps}
    if classic and model.kernels is not None:
        parts |= {"a": model.kernels.a, "b": model.kernels.b, "image_shape": model.kernels.image_shape}
    if model.classifier is not None:
        parts |= {f"classifier.{name}": value for name, value in model.classifier.tensors.items()}
    if model.weight_range is not None:
        parts["weight_range"] = model.weight_range
    if model.encoder is not None:
        parts |= {f"encoder.{name}": value for name, value in model.encoder.tensors.items()}
    if model.grid is not None:
        parts["grid"] = model.grid
    for name, value in parts.items():
        if isinstance(value, Convolution) and value.large:  # the bytes of the whole matrix, but not all at once
            digest.update(f"{name} {value.shape} ".encode())
            for rows in value.rows_in_turn():
                digest.update(rows.tobytes())
            continue
        array = np.asarray(model.matrix(name) if isinstance(value, LinearOperator) else value, dtype="<f8")
        digest.update(f"{name} {array.shape} ".encode() + array.tobytes())
    digest.update(model.method.encode() + (b"" if model.kernels is None else model.kernels.padding.encode()))
    for said in () if classic else (_said_of(model.field),):
        digest.update(said.encode())
    if model.encoder is not None:
        digest.update(repr(_said_of_end(model.encoder)).encode())
    if model.classifier is not None and not model.classifier.plain:
        digest.update(repr(_said_of_end(model.classifier)).encode())
    if model.on_arrays:
        digest.update(repr(model.on_arrays).encode())
    return digest.hexdigest()


def _said_of_end(end: End) -> Any:
    """An encoder or a classifier as plain values; a normalisation that is none is not said, as in records of old."""
    if isinstance(end, Chain):
        return [(type(layer).__name__, _said_of_end(layer)) for layer in end.layers]
    if isinstance(end, Stage):
        return fingerprint(end.model)
    said = plain(end)
    return said if said.get("normalisation") is not None else {k: v for k, v in said.items() if k != "normalisation"}


def _said_of(field: Field | Layers) -> str:
    """What a field is beside its tensors: its class, and all it holds that is a text, a number or a convolution."""
    if isinstance(field, Layers):
        return "; ".join(map(_said_of, field.fields))
    held: dict[str, Any] = {name: value for name, value in vars(field).items() if isinstance(value, str | int | float)}
    held |= {
        name: (operator.image_shape, operator.padding, operator.stride)
        for name, operator in field.operators.items()
        if isinstance(operator, Convolution)
    }
    within = getattr(field, "field", None)  # of a field in time
    if isinstance(within, NormalisedField):
        held |= {"groups": within.groups, "epsilon": within.epsilon}
    activation = getattr(getattr(field, "activation", None), "name", "")
    return f"{type(field).__qualname__} {activation} {sorted(held.items())} {source_hash(field)}"


def plain(value: Any) -> Any:
    """A value as JSON can hold it: dataclasses become tables, and what is nothing of the kind its text."""
    if value is None or (isinstance(value, str | int | float) and not isinstance(value, np.generic)):
        return value
    kind: Any = type(value)
    keys = _keys(kind)
    if keys is not None:
        return {key: plain(getattr(value, name)) for name, key in keys}
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return repr(value)


@cache
def _keys(kind: type) -> tuple[tuple[str, str], ...] | None:
    """Names of the fields of a dataclass, each with its key in JSON; None of other classes."""
    if not dataclasses.is_dataclass(kind):
        return None
    return tuple((field.name, key_of(field)) for field in dataclasses.fields(kind))


def key_of(field: dataclasses.Field[Any]) -> str:
    """What an entry is called in JSON: as its field, unless that says otherwise."""
    return str(field.metadata.get("key", field.name))


def _weights(model: Model) -> WeightsEntry:
    file = Path(model.source)
    found = hashlib.sha256(file.read_bytes()).hexdigest() if model.source and file.is_file() else None
    return WeightsEntry(fingerprint(model), model.source, found)


def _parts(design: Design, engine: str | Engine) -> dict[str, PartEntry]:
    found = {
        entry.path[-1]: _part(entry.registry, entry.default) for entry in entries(design) if entry.registry is not None
    }
    if design.amplifier.present:
        opamp = opamp_subcircuit(design.amplifier)
        found["opamp"] = PartEntry(opamp.name, plain(opamp))
    if isinstance(engine, Engine):
        found["engine"] = _part(ENGINES, engine)
    else:
        found["engine"] = PartEntry(engine, {}, ENGINES.source_hash(engine))
    return found


def _part(registry: Registry[Any], part: Any) -> PartEntry:
    try:
        text = registry.text(part)
    except Exception:  # whatever the class of a user's own holds
        text = type(part).__qualname__
    held = plain(part) if dataclasses.is_dataclass(part) else plain(getattr(part, "__dict__", {}))
    return PartEntry(_FROM_FILE.sub(r"\1.py:", text), held, source_hash(part))
