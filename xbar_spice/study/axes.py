"""The points of a study: its axes, those that go together, random designs, what follows from what, what is left out.

A point is a value for each axis, and the changes that it makes to the settings of the study, by their dotted paths.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, final

import numpy as np

from xbar_spice.checks import ANYTHING, SEED, Whole, checked
from xbar_spice.errors import StudyError

__all__ = [
    "Condition",
    "Group",
    "Point",
    "Rules",
    "Scalar",
    "VariedAxis",
    "conditions",
    "latin_hypercube",
    "log_range",
    "points",
    "steps_of_range",
]

Scalar = bool | int | float | str

_COMPARED: dict[str, Callable[[Any, Any], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
    "==": operator.eq,
    "!=": operator.ne,
}
_COMPARISON = re.compile(r"\s*(<=|>=|==|!=|<|>)\s*(.*\S)\s*")


@final
@dataclass(frozen=True)
class VariedAxis:
    """What is varied.

    Attributes:
        name: of the axis.
        fields: dotted paths of the settings that it sets, all to the same value.
        values: all that it takes, without repetitions.
        unit: of the values; may be empty.
    """

    name: str
    fields: tuple[str, ...]
    values: tuple[Scalar, ...]
    unit: str = ""

    def describe(self) -> dict[str, Any]:
        """All of it as plain values."""
        return {"name": self.name, "unit": self.unit, "fields": list(self.fields), "values": list(self.values)}


@final
@dataclass(frozen=True)
class Group:
    """Axes that are varied together; most groups have one.

    Attributes:
        axes: of the group.
        rows: their values together, one for each axis.
    """

    axes: tuple[VariedAxis, ...]
    rows: tuple[tuple[Scalar, ...], ...]

    @classmethod
    def of(cls, rows: Sequence[Sequence[Scalar]], *axes: tuple[str, Sequence[str], str]) -> Group:
        """The group of these rows; each axis by its name, fields and unit."""
        columns = list(zip(*rows, strict=True))
        found = [
            VariedAxis(name, tuple(fields), tuple(dict.fromkeys(values)), unit)
            for (name, fields, unit), values in zip(axes, columns, strict=True)
        ]
        return cls(tuple(found), tuple(tuple(row) for row in rows))


@final
@dataclass(frozen=True)
class Condition:
    """What one setting must be: a comparison as a text, one of a list, or a value.

    A setting that is left open, such as `tile` for one array whatever its size, is larger than any number.

    Example:
        >>> [Condition("circuit.tile", "<= 32")(tile) for tile in (16, 64, None)]
        [True, False, False]
        >>> Condition("circuit.engine", ["nodal", "ideal"])("nodal")
        True
    """

    path: str
    wanted: Any

    def __call__(self, value: Any) -> bool:
        """Whether it holds for a value of the setting."""
        matched = _COMPARISON.fullmatch(self.wanted) if isinstance(self.wanted, str) else None
        if matched is None:
            wanted = self.wanted if isinstance(self.wanted, list | tuple) else [self.wanted]
            return any(value == one and isinstance(value, bool) == isinstance(one, bool) for one in wanted)
        try:
            limit: Any = float(matched[2])
        except ValueError:
            limit = matched[2].strip("'\"")
        found = math.inf if value is None else value
        try:
            return _COMPARED[matched[1]](found, limit)
        except TypeError:
            raise StudyError(
                f"condition {self.path} {self.wanted!r} cannot be compared with {value!r}; numbers have an order, "
                "texts are == or != to one another"
            ) from None


@final
@dataclass(frozen=True)
class Rules:
    """What follows from what, and what is left out.

    Attributes:
        when: conditions that hold together, and the settings that they bring; later ones go before earlier ones.
        skip: conditions that together leave a point out.
    """

    when: tuple[tuple[tuple[Condition, ...], Mapping[str, Scalar]], ...] = ()
    skip: tuple[tuple[Condition, ...], ...] = ()


@final
@dataclass(frozen=True)
class Point:
    """A value for each axis, and what they are for the settings.

    Attributes:
        axes: values by the name of the axis.
        changes: settings by their dotted path.
    """

    axes: Mapping[str, Scalar]
    changes: Mapping[str, Scalar]


def points(groups: Sequence[Group], rules: Rules, setting: Callable[[str], Any]) -> Iterator[Point]:
    """Every combination of the rows of all groups, the last one varying fastest.

    Args:
        groups: what is varied.
        rules: what follows, and what is left out.
        setting: what a setting is, by its dotted path, where no axis varies it.
    """
    for rows in product(*(group.rows for group in groups)):
        values = [
            (axis, value)
            for group, row in zip(groups, rows, strict=True)
            for axis, value in zip(group.axes, row, strict=True)
        ]
        changes = {field: value for axis, value in values for field in axis.fields}

        def holds(conditions: Sequence[Condition], changes: Mapping[str, Scalar] = changes) -> bool:
            return all(one(changes[one.path] if one.path in changes else setting(one.path)) for one in conditions)

        for wanted, brought in rules.when:
            if holds(wanted):
                changes |= brought
        if not any(holds(wanted) for wanted in rules.skip):
            yield Point({axis.name: value for axis, value in values}, changes)


def conditions(table: Mapping[str, Any]) -> tuple[Condition, ...]:
    """The conditions of a table, by the path of each setting."""
    return tuple(Condition(path, wanted) for path, wanted in table.items())


# --- values of an axis ----------------------------------------------------------------------------------------------


def steps_of_range(start: float, end: float, *, steps: int | None = None, step: float | None = None) -> list[Scalar]:
    """Numbers at equal distances, both ends included where the last step meets the end; whole where all are given so.

    Example:
        >>> steps_of_range(8, 32, step=8), steps_of_range(0.0, 1.0, steps=3)
        ([8, 16, 24, 32], [0.0, 0.5, 1.0])
    """
    whole = all(isinstance(value, int) for value in (start, end) + (() if step is None else (step,)))
    if step is not None:
        count = math.floor((end - start) / step * (1 + 1e-12)) + 1
        return [start + index * step if whole else _short(start + index * step) for index in range(max(0, count))]
    return _numbers(np.linspace(start, end, steps or 0), whole=whole)


def log_range(start: float, end: float, steps: int) -> list[Scalar]:
    """Numbers of equal ratio, both ends included; whole where both are given so, and then rounded.

    Example:
        >>> log_range(8, 64, 4), log_range(0.1, 10.0, 3)
        ([8, 16, 32, 64], [0.1, 1.0, 10.0])
    """
    return _numbers(np.geomspace(start, end, steps), whole=isinstance(start, int) and isinstance(end, int))


@checked(ranges=ANYTHING, count=Whole(1, 100_000), seed=SEED)
def latin_hypercube(
    ranges: Mapping[str, tuple[float, float] | tuple[float, float, str]], count: int, *, seed: int
) -> dict[tuple[str, ...], list[tuple[Scalar, ...]]]:
    """A random design: of each range, every one of `count` equal parts holds one value, and they are paired at random.

    Args:
        ranges: lowest and highest value of each setting, and "log" as a third entry where equal ratios are equal parts.
            Whole numbers give whole numbers, which may then be equal.
        count: number of points.
        seed: from which they are drawn.

    Returns:
        Axes that are varied together, for `Study(axes=...)`.

    Example:
        >>> ((names, rows),) = latin_hypercube({"r_word": (0.1, 10.0, "log"), "tile": (8, 64)}, count=4, seed=0).items()
        >>> names, len(rows), sum(r_word < 1.0 for r_word, _ in rows)
        (('r_word', 'tile'), 4, 2)
    """
    named: Any = ranges  # whatever was given
    if not isinstance(named, Mapping) or not named or not all(isinstance(name, str) for name in named):
        raise StudyError(f"ranges must be (low, high) by the name of a setting, got {ranges!r}")
    rng = np.random.default_rng(seed)
    columns = []
    for name, given in ranges.items():
        low, high, *scale = _ends(name, given)
        parts = (rng.permutation(count) + rng.random(count)) / count
        whole = isinstance(low, int) and isinstance(high, int)
        # Each whole number has its equal part of the range.
        ends = (low - 0.5, high + 0.5) if whole and not scale else (low, high)
        spread = np.exp(np.log(low) + parts * np.log(high / low)) if scale else ends[0] + parts * (ends[1] - ends[0])
        columns.append(_numbers(np.clip(spread, low, high), whole=whole))
    return {tuple(ranges): list(zip(*columns, strict=True))}


def _ends(name: str, given: Any) -> list[Any]:
    """The entries of a range that is one."""
    found = list(given) if isinstance(given, tuple | list) else []
    numbers = all(isinstance(end, int | float) and not isinstance(end, bool) for end in found[:2])
    ordered = len(found) in (2, 3) and numbers and -math.inf < found[0] < found[1] < math.inf
    if ordered and (len(found) == 2 or (found[2] == "log" and found[0] > 0)):
        return found
    raise StudyError(
        f"ranges: that of {name!r} must be (low, high) with low < high, or (low, high, 'log') with 0 < low, "
        f"got {given!r}"
    )


def _numbers(values: Any, *, whole: bool) -> list[Scalar]:
    return [int(value) for value in np.rint(values)] if whole else [_short(float(value)) for value in values]


def _short(value: float) -> float:
    """A number without the last digits, which arithmetic leaves: 0.30000000000000004 is 0.3."""
    return float(f"{value:.12g}")
