"""Rules from annotations: a function takes what its signature says, and a frozen dataclass what its fields say.

Only kinds of values follow from an annotation. Bounds, shapes and what belongs together are rules of their own, or are
looked at by the function itself.
"""

from __future__ import annotations

import os
import types
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cache, wraps
from inspect import Parameter, get_annotations, isclass, signature
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar, Union, final, get_args, get_origin

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xbar_spice.checks.arrays import Array
from xbar_spice.checks.rules import (
    Either,
    Flag,
    Function,
    Instance,
    Many,
    OneOf,
    Optional,
    Place,
    Real,
    Rule,
    Text,
    Whole,
)
from xbar_spice.errors import InvalidInputError

__all__ = ["ANYTHING", "checked", "rule_of", "settle"]

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


@final
class _Anything(Rule[Any]):
    """Leaves a value to those who use it."""

    allowed = "anything"

    def checked(self, value: Any) -> Any:
        return value


ANYTHING = _Anything()
"""For an argument that a function looks at by itself."""

_PLAIN: dict[Any, Rule[Any]] = {
    bool: Flag(),
    int: Whole(None),
    float: Real(infinite=True),
    str: Text(empty=True),
    Path: Place(),
}
_NUMBERS = NDArray[np.float64]


def checked(**rules: Rule[Any]) -> Callable[[Callable[Arguments, Result]], Callable[Arguments, Result]]:
    """Have a function look at its arguments before it starts; what it takes is what its annotations say.

    Args:
        **rules: of arguments of which more is known than their annotation says.

    Example:
        >>> @checked(times=Whole(1))
        ... def repeated(text: str, times: int = 2) -> str:
        ...     return text * times
        >>> repeated(3)
        Traceback (most recent call last):
        xbar_spice.errors.InvalidInputError: text must be a text, got 3
    """

    def decorate(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
        taken = signature(function)

        @cache
        def looks() -> tuple[tuple[str, Parameter, Rule[Any]], ...]:
            known = _rules_of(function) | rules
            return tuple(
                (name, parameter, known[name]) for name, parameter in taken.parameters.items() if name in known
            )

        @wraps(function)
        def looked_at(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
            bound = taken.bind(*args, **kwargs)
            given = bound.arguments
            for name, parameter, rule in looks():
                if name not in given:
                    continue
                value = given[name]
                if parameter.kind is Parameter.VAR_POSITIONAL:
                    given[name] = tuple(rule(name, part) for part in value)
                elif parameter.kind is Parameter.VAR_KEYWORD:
                    given[name] = {word: rule(word, part) for word, part in value.items()}
                elif value is not parameter.default:
                    given[name] = rule(name, value)
            return function(*bound.args, **bound.kwargs)

        return looked_at

    return decorate


def settle(values: Any, error: type[InvalidInputError] = InvalidInputError, /, **rules: Rule[Any]) -> None:
    """Check the fields of a frozen dataclass while it is made, each by its rule or by that of its annotation."""
    kind: Any = type(values)
    for name, rule in (_rules_of(kind) | rules).items():
        given = getattr(values, name)
        settled = rule(name, given, error)
        if settled is not given:
            object.__setattr__(values, name, settled)


@cache
def _rules_of(taker: Any) -> dict[str, Rule[Any]]:
    """Rules of the arguments of a function, or of the fields of a dataclass that its constructor takes."""
    # Which takes a third of the time of `get_type_hints`: a small read would notice.
    hints = get_annotations(taker.__init__ if isclass(taker) else taker, eval_str=True)
    hints.pop("return", None)
    found = {name: rule_of(hint) for name, hint in hints.items()}
    return {name: rule for name, rule in found.items() if rule is not None}


def rule_of(annotation: Any) -> Rule[Any] | None:  # noqa: PLR0911 - one line for each kind of annotation
    """The kind of values that an annotation stands for; None where it says nothing that can be looked at.

    Example:
        >>> rule_of(int | None).allowed
        'a whole number, or None'
    """
    if annotation in _PLAIN:
        return _PLAIN[annotation]
    if annotation is ArrayLike or annotation == _NUMBERS:
        return Array(finite=False)
    origin, parts = get_origin(annotation), get_args(annotation)
    if getattr(origin, "settles_itself", False):  # a descriptor that looks at what it is given, such as `Choice`
        return None
    if origin in (Union, types.UnionType):
        return _union(parts)
    if origin is Literal:
        return OneOf(*parts)
    if origin is tuple and parts:
        return _tuple(parts)
    if origin in (Sequence, Collection, Iterable):
        inner = rule_of(parts[0])
        return None if inner is None else Many(inner)
    if origin is Callable:
        return Function()
    if origin is os.PathLike:
        return Place()
    kind = origin or annotation
    if kind in (list, dict, Mapping):
        return Instance(kind)
    if isclass(kind) and kind.__module__.partition(".")[0] in ("xbar_spice", "numpy") and kind is not np.ndarray:
        return Instance(kind)
    return None


def _union(parts: tuple[Any, ...]) -> Rule[Any] | None:
    like = get_args(ArrayLike)
    if like and set(like) <= set(parts):  # a union within a union is flat
        parts = (ArrayLike, *(part for part in parts if part not in like))
    rules = [rule_of(part) for part in parts if part is not types.NoneType]
    # An operator is looked for before an array, which would take it apart.
    known = sorted((rule for rule in rules if rule is not None), key=lambda rule: isinstance(rule, Array))
    if len(known) < len(rules):
        return None
    rule = known[0] if len(known) == 1 else Either(*known)
    return Optional(rule) if types.NoneType in parts else rule


def _tuple(parts: tuple[Any, ...]) -> Rule[Any] | None:
    inner = rule_of(parts[0])
    if inner is None or (parts[-1] is not Ellipsis and len(set(parts)) > 1):
        return None
    return Many(inner, None if parts[-1] is Ellipsis else len(parts))
