"""What is wrong with a study file, in words: the key, what was given, what is allowed."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from xbar_spice.settings import KIND

__all__ = ["explain", "leaves", "nearest"]

_BRANCHES = {"int", "float", "str", "bool", "constrained-int"}  # parts of a location that name a type, not a key

_EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "string_type": "a text",
    "string_too_short": "a text that is not empty",
    "bool_type": "true or false",
    "list_type": "a list",
    "too_short": "a list with at least one entry",
    "model_type": "a table of settings",
    "model_attributes_type": "a table of settings",
    "dict_type": "a table of settings",
}


def explain(error: ValidationError, model: type[BaseModel], source: str) -> str:
    """All errors of a validation, one line each, after the name of the file."""
    lines: dict[str, list[str]] = {}
    for details in error.errors(include_url=False):
        key = _key(details)
        lines.setdefault(key, []).append(_reason(details, model))
    texts = [f"{key}: {_merged(reasons)}" if key else _merged(reasons) for key, reasons in lines.items()]
    return f"{source}: {texts[0]}" if len(texts) == 1 else "\n  ".join([f"{source}:", *texts])


def leaves(model: type[BaseModel], prefix: str = "") -> list[str]:
    """Dotted paths of all settings below a model.

    Example:
        >>> from xbar_spice.study.schema import settings_like
        >>> from xbar_spice.hardware.variation import Variation
        >>> leaves(settings_like(Variation(), "Devices"), "devices.")[0]
        'devices.programming'
    """
    found: list[str] = []
    for name, field in model.model_fields.items():
        kind: Any = field.annotation
        if not _is_model(kind) or KIND in kind.model_fields:  # a part is a text or a table of options
            found.append(f"{prefix}{name}")
        if _is_model(kind):
            found += leaves(kind, f"{prefix}{name}.")
    return [path for path in found if not path.endswith(f".{KIND}")]


def _merged(reasons: list[str]) -> str:
    """One sentence for an entry that may have several types and has none of them."""
    heads, tail = [reason.partition(", got ")[0] for reason in reasons], reasons[-1].partition(", got ")[2]
    if len(reasons) == 1 or not tail:
        return reasons[0]
    return f"{' or '.join([heads[0], *(head.removeprefix('must be ') for head in heads[1:])])}, got {tail}"


def _key(details: ErrorDetails) -> str:
    """The dotted path of the faulty entry, such as `axes[1].values`."""
    key = ""
    for part in details["loc"]:
        if isinstance(part, int):
            key += f"[{part}]"
        elif part not in _BRANCHES:
            key += f".{part}" if key else part
    return key


def _reason(details: ErrorDetails, model: type[BaseModel]) -> str:
    kind, given = details["type"], details["input"]
    if kind == "extra_forbidden":
        allowed = _allowed(details["loc"][:-1], model)
        return f"unknown key; {nearest(str(details['loc'][-1]), allowed)}allowed are {', '.join(allowed)}"
    if kind == "missing":
        return "is missing"
    if kind == "value_error":  # a text of this package, complete in itself
        return str(details["ctx"]["error"])
    if kind in _EXPECTED:
        return f"must be {_EXPECTED[kind]}, got {given!r}"
    if kind == "literal_error":
        return f"must be {details['ctx']['expected']}, got {given!r}"
    text = details["msg"].removeprefix("Input should be ").replace("greater than or equal to", ">=")
    return f"must be {text}, got {given!r}"


def nearest(name: str, allowed: Sequence[str]) -> str:
    """The question whether one of the allowed names was meant, if one is like what was given; else nothing.

    Example:
        >>> nearest("tyle", ["tile", "r_word"]), nearest("size", ["tile", "r_word"])
        ("did you mean 'tile'? ", '')
    """
    close = get_close_matches(name, allowed, n=1)
    return f"did you mean {close[0]!r}? " if close else ""


def _allowed(location: tuple[str | int, ...], model: type[BaseModel]) -> list[str]:
    """Keys of the table at a location."""
    here: Any = model
    for part in location:
        if isinstance(part, int):
            continue
        annotation = here.model_fields[part].annotation
        arguments = [kind for kind in getattr(annotation, "__args__", ()) if _is_model(kind)]
        here = annotation if _is_model(annotation) else arguments[0]
    return list(here.model_fields)


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
