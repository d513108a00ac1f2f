"""What a value may be.

A rule is called with the name of an argument and its value. It returns the value to go on with, or refuses it with a
text that says what was given, what is allowed and what to try.

Nothing is guessed: a text is no number, a complex number has no real part to go on with, a class is not one of its
instances, and True is not 1.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from numbers import Real as AnyReal
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Generic, TypeVar, final, get_args

import numpy as np

from xbar_spice.errors import InvalidInputError

__all__ = [
    "DEVIATION",
    "PART",
    "SEED",
    "Either",
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
    "as_float",
    "given",
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


def as_float(value: Any) -> float:
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
        infinite: whether infinity is allowed, and without bounds NaN, which are left to a later look.
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
        number = as_float(value)
        inside = (
            (math.isfinite(number) or self.infinite)
            and (self.least is None or number >= self.least)
            and (self.above is None or number > self.above)
            and (self.most is None or number <= self.most)
            and (self.below is None or number < self.below)
        )
        if not inside:
            raise ValueError(self.advice(number) if callable(self.advice) else self.advice)
        plain = type(value) in (int, float) and math.isfinite(number)
        return value if plain else number  # what a record says stays as it was written


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

    least: int | None = 0
    most: int | None = None
    advice: str = ""

    @property
    def allowed(self) -> str:
        if self.least is None:
            return "a whole number" if self.most is None else f"a whole number <= {self.most}"
        return f"a whole number {f'from {self.least} to {self.most}' if self.most is not None else f'>= {self.least}'}"

    def checked(self, value: Any) -> int:
        number = as_float(value)
        if not (isinstance(value, int) or number.is_integer()):
            raise ValueError(self.advice)
        exact = int(value)
        if (self.least is not None and exact < self.least) or (self.most is not None and exact > self.most):
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
    """A text; `empty` says whether it may be one of no characters."""

    empty: bool = False
    allowed: str = "a text"

    def checked(self, value: Any) -> str:
        if not isinstance(value, str) or not (value or self.empty):
            raise ValueError
        return str(value)


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
class Either(Rule[Any]):
    """What one of several rules allows, the first one first."""

    def __init__(self, *rules: Rule[Any]) -> None:
        self.rules = rules

    @property
    def allowed(self) -> str:
        return " or ".join(rule.allowed for rule in self.rules)

    def checked(self, value: Any) -> Any:
        reasons = []
        for rule in self.rules:
            try:
                return rule.checked(value)
            except ValueError as reason:
                reasons.append(str(reason))
        raise ValueError(next(filter(None, reasons), ""))


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


def _article(word: str) -> str:
    return "an" if word[0] in "AEIOU" else "a"
