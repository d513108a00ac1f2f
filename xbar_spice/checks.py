"""What a value may be: the rules by which every public constructor and function looks at what it is given.

A rule is called with the name of an argument and its value. It returns the value to go on with, or refuses it with a
text that says what was given, what is allowed and what to try. `settle` applies one rule to each field of a frozen
dataclass, so that a class shows in one place what it takes.

Nothing is guessed: a text is no number, a complex number has no real part to go on with, a class is not one of its
instances, and True is not 1.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from numbers import Real as AnyReal
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Generic, TypeVar, final, get_args

import numpy as np
from numpy.typing import NDArray

from xbar_spice.errors import IdleSettingError, InvalidInputError

__all__ = [
    "DEVIATION",
    "PART",
    "SEED",
    "Array",
    "Flag",
    "Function",
    "Instance",
    "Many",
    "OneOf",
    "Optional",
    "Place",
    "Real",
    "Rule",
    "Text",
    "Whole",
    "given",
    "idle_fields",
    "refuse_idle",
    "settle",
]

Value = TypeVar("Value")
Kind = TypeVar("Kind")

MOST_SHOWN = 80  # characters of a value in an error


class Rule(ABC, Generic[Value]):
    """What a value may be."""

    @property
    @abstractmethod
    def allowed(self) -> str:
        """The end of the sentence "it must be ..."."""

    @abstractmethod
    def checked(self, value: Any) -> Value:
        """The value to go on with; a ValueError refuses it, and its text becomes an advice."""

    def __call__(self, name: str, value: Any, error: type[InvalidInputError] = InvalidInputError) -> Value:
        """The value to go on with.

        Args:
            name: of the argument, as its caller knows it.
            value: what was given for it.
            error: raised if it is not allowed.
        """
        try:
            return self.checked(value)
        except ValueError as reason:
            advice = f"; {reason}" if str(reason) else ""
            raise error(f"{name} must be {self.allowed}, got {given(value)}{advice}") from None


def settle(values: object, error: type[InvalidInputError] = InvalidInputError, /, **rules: Rule[Any]) -> None:
    """Check the fields of a frozen dataclass while it is made, each by its rule."""
    for name, rule in rules.items():
        object.__setattr__(values, name, rule(name, getattr(values, name), error))


def idle_fields(kind: Any, values: Mapping[str, Any]) -> dict[str, str]:
    """Settings that nothing uses, each with the setting that it needs.

    Args:
        kind: a dataclass; its `NEEDS` says by which other field each field comes to have an effect.
        values: its fields by name, or some of them.

    Example:
        >>> from xbar_spice.converters import Converters
        >>> idle_fields(Converters, {"adc_range": 0.5, "dac_bits": 4})
        {'adc_range': 'adc_bits'}
    """
    defaults = {field.name: field.default for field in fields(kind)}
    return {
        name: need
        for name, need in getattr(kind, "NEEDS", {}).items()
        if values.get(name, defaults[name]) != defaults[name] and not values.get(need, defaults[need])
    }


def refuse_idle(values: Any) -> None:
    """Refuse a frozen dataclass with settings that nothing uses."""
    held = {field.name: getattr(values, field.name) for field in fields(values)}
    for name, need in idle_fields(type(values), held).items():
        raise IdleSettingError(
            f"{name} has no effect without {need}, got {name} = {given(held[name])} and {need} = {given(held[need])}; "
            f"give {need}, or leave {name} out"
        )


def given(value: Any) -> str:
    """A value as an error says it, short whatever it is."""
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if isinstance(value, np.ndarray) and value.ndim:
        return f"an array of shape {value.shape} and type {value.dtype}"
    if isinstance(value, np.generic):
        value = value.item()
    try:
        text = repr(value)
    except ValueError:  # Python prints no integer of more than 4300 digits
        return f"a {type(value).__name__} too large to print"
    return text if len(text) <= MOST_SHOWN else f"{text[: MOST_SHOWN - 3]}..."


def _as_float(value: Any) -> float:
    """A real number, be it of Python or of NumPy; infinity for one beyond float64."""
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = np.ma.getdata(value)[()] if not np.ma.getmaskarray(value).any() else None
    if isinstance(value, bool | np.bool_) or not isinstance(value, AnyReal):
        raise ValueError(_number_advice(value))
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _number_advice(value: Any) -> str:
    if isinstance(value, complex | np.complexfloating):
        return "take its real part if that is meant"
    if isinstance(value, str | bytes):
        return "a text is no number"
    if isinstance(value, bool | np.bool_):
        return "True and False are no numbers"
    return ""


@final
@dataclass(frozen=True)
class Real(Rule[float]):
    """A real number within bounds.

    Attributes:
        unit: of the bounds.
        least: smallest number allowed.
        above: number that it must exceed.
        most: largest number allowed.
        below: number that it must stay below.
        infinite: whether infinity is allowed.
        advice: what to try where a number is out of bounds.
    """

    unit: str = ""
    least: float | None = None
    above: float | None = None
    most: float | None = None
    below: float | None = None
    infinite: bool = False
    advice: str | Callable[[float], str] = ""

    @cached_property
    def allowed(self) -> str:
        bounds = {">=": self.least, ">": self.above, "<=": self.most, "<": self.below}
        known = [f"{sign} {bound:g}" for sign, bound in bounds.items() if bound is not None]
        words = known if self.infinite and known else ["a real number" if self.infinite else "finite", *known]
        return f"{' and '.join(words)} {self.unit}".rstrip()

    def checked(self, value: Any) -> float:
        number = _as_float(value)
        inside = (
            (math.isfinite(number) or (self.infinite and not math.isnan(number)))
            and (self.least is None or number >= self.least)
            and (self.above is None or number > self.above)
            and (self.most is None or number <= self.most)
            and (self.below is None or number < self.below)
        )
        if not inside:
            raise ValueError(self.advice(number) if callable(self.advice) else self.advice)
        return value if type(value) in (int, float) else number  # what a record says stays as it was written


def _percent_advice(value: float) -> str:
    return f"were {value:g} % meant? then give {value / 100:g}" if 1 < value <= 100 else ""


PART = Real(least=0, most=1, advice=_percent_advice)
"""A probability, or another part of a whole."""

DEVIATION = Real(least=0, most=2, advice=_percent_advice)
"""A standard deviation relative to what deviates; beyond it per cent were meant."""


@final
@dataclass(frozen=True)
class Whole(Rule[int]):
    """A whole number within bounds; 4.0 is one, 4.5 is none."""

    least: int = 0
    most: int | None = None
    advice: str = ""

    @property
    def allowed(self) -> str:
        upper = f"from {self.least} to {self.most}" if self.most is not None else f">= {self.least}"
        return f"a whole number {upper}"

    def checked(self, value: Any) -> int:
        number = _as_float(value)
        if not (isinstance(value, int) or number.is_integer()):
            raise ValueError(self.advice)
        exact = int(value)
        if exact < self.least or (self.most is not None and exact > self.most):
            raise ValueError(self.advice)
        return exact


SEED = Whole(0)
"""Of a stream of random numbers."""


@final
@dataclass(frozen=True)
class Flag(Rule[bool]):
    """True or False, and nothing that is merely taken for one."""

    allowed: str = "True or False"

    def checked(self, value: Any) -> bool:
        if not isinstance(value, bool | np.bool_):
            raise ValueError
        return bool(value)


@final
class OneOf(Rule[Any]):
    """One of a few texts, listed or as a `Literal`."""

    def __init__(self, *choices: Any, advice: str = "") -> None:
        self.choices: tuple[str, ...] = tuple(text for choice in choices for text in (get_args(choice) or (choice,)))
        self.advice = advice

    @property
    def allowed(self) -> str:
        return f"one of {', '.join(map(repr, self.choices))}"

    def checked(self, value: Any) -> Any:
        if not isinstance(value, str) or value not in self.choices:
            raise ValueError(self.advice)
        return value


@final
class Instance(Rule[Kind]):
    """An instance of a class, or of one of several.

    Args:
        *kinds: the classes.
        example: how to make one, for errors.
        advice: what else to try.
    """

    def __init__(self, *kinds: type[Kind] | Any, example: str = "", advice: str = "") -> None:
        self.kinds, self.example, self.advice = kinds, example, advice

    @property
    def allowed(self) -> str:
        names = " or ".join(f"{_article(kind.__name__)} {kind.__name__}" for kind in self.kinds)
        return f"{names}, such as {self.example}" if self.example else names

    def checked(self, value: Any) -> Kind:
        if isinstance(value, self.kinds):
            return value
        if isinstance(value, type) and issubclass(value, self.kinds):
            raise ValueError(f"make one: {value.__name__}(...)")
        raise ValueError(self.advice)


@final
@dataclass(frozen=True)
class Function(Rule[Callable[..., Any]]):
    """What can be called, such as a function; a class is none."""

    allowed: str = "a function"

    def checked(self, value: Any) -> Callable[..., Any]:
        if not callable(value) or isinstance(value, type):
            raise ValueError
        function: Callable[..., Any] = value
        return function


@final
@dataclass(frozen=True)
class Text(Rule[str]):
    """A text that is not empty."""

    allowed: str = "a text"

    def checked(self, value: Any) -> str:
        if not isinstance(value, str) or not value:
            raise ValueError
        return value


@final
@dataclass(frozen=True)
class Place(Rule[Path]):
    """The path of a file or a folder."""

    allowed: str = "a path"

    def checked(self, value: Any) -> Path:
        if not isinstance(value, str | PathLike) or not isinstance(fspath(value), str) or not fspath(value):
            raise ValueError
        return Path(value)


@final
class Optional(Rule[Any]):
    """What another rule allows, or None."""

    def __init__(self, rule: Rule[Any], none: str = "") -> None:
        self.rule, self.none = rule, none

    @property
    def allowed(self) -> str:
        return f"{self.rule.allowed}, or None{f' {self.none}' if self.none else ''}"

    def checked(self, value: Any) -> Any:
        return None if value is None else self.rule.checked(value)


@final
class Many(Rule[tuple[Any, ...]]):
    """Several values of one kind, in a list or a tuple; as many as `length` if that is given."""

    def __init__(self, rule: Rule[Any], length: int | None = None, *, least: int = 0) -> None:
        self.rule, self.length, self.least = rule, length, least

    @property
    def allowed(self) -> str:
        count = f"{self.length} values" if self.length is not None else "a sequence"
        some = f" with at least {self.least}" if self.length is None and self.least else ""
        return f"{count}{some}, each {self.rule.allowed}"

    def checked(self, value: Any) -> tuple[Any, ...]:
        if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
            raise ValueError("put it into a tuple, (..., )" if not isinstance(value, Mapping) else "")
        try:
            parts = tuple(value)
        except TypeError:  # such as an array without axes
            raise ValueError("put it into a tuple, (..., )") from None
        if (self.length is not None and len(parts) != self.length) or len(parts) < self.least:
            raise ValueError
        return tuple(self.rule.checked(part) for part in parts)


@final
@dataclass(frozen=True)
class Array(Rule[NDArray[np.float64]]):
    """An array of real numbers, or anything that becomes one without loss.

    Attributes:
        finite: whether NaN and infinity are refused, too.
    """

    finite: bool = True

    @property
    def allowed(self) -> str:
        return f"an array of {'finite ' if self.finite else ''}real numbers"

    def checked(self, value: Any) -> NDArray[np.float64]:
        values = value if type(value) is np.ndarray and value.dtype == np.float64 else _real_values(value)
        if self.finite and not np.isfinite(values).all():
            raise ValueError("there is NaN or infinity in it")
        return values


def _real_values(value: Any) -> NDArray[np.float64]:
    if isinstance(value, type | str | bytes) or value is None:
        raise ValueError("" if not isinstance(value, str) else "a text is no array")
    if np.ma.isMaskedArray(value) and np.ma.getmaskarray(value).any():
        raise ValueError("values are masked: fill them, array.filled(...), or leave them out, array.compressed()")
    if hasattr(value, "toarray"):
        raise ValueError("a sparse matrix becomes an array with .toarray()")
    try:
        found = np.asarray(value)
    except (ValueError, TypeError, RuntimeError):
        raise ValueError("its rows have different lengths, or it is no array at all") from None
    if found.dtype.kind == "O":
        entries = [_entry(entry) for entry in found.ravel()]
        found = np.array(entries, dtype=float).reshape(found.shape)
    if found.dtype.kind == "c":
        raise ValueError("take the real part if that is meant, array.real")
    if found.dtype.kind not in "biuf":
        raise ValueError(f"it holds values of type {found.dtype}")
    with np.errstate(over="ignore"):  # a number of a longer type becomes infinite, which is refused where it matters
        return np.asarray(found, dtype=np.float64)


def _entry(value: Any) -> float:
    """A number in an array of Python objects."""
    if isinstance(value, list | tuple | np.ndarray):
        raise ValueError("its rows have different lengths")
    try:
        return _as_float(value)
    except ValueError as error:
        raise ValueError(str(error) or f"it holds {given(value)}") from None


def _article(word: str) -> str:
    return "an" if word[0] in "AEIOU" else "a"
