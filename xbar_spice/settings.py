"""Settings: what a field is for, in which unit, and how it is called; said once, beside the field and its default.

The options of the command line, the keys of study files and the table of the guide are made from what stands here.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any, Literal, final, get_args, get_origin, get_type_hints

from xbar_spice.checks import idle_fields
from xbar_spice.errors import IdleSettingError, InvalidInputError
from xbar_spice.registry import Choice, Registry

__all__ = ["KIND", "Entry", "Setting", "build", "entries", "groups", "literals", "seconds", "setting", "table"]

KIND = "kind"
"""The key under which the text of a part stands, where its options may be given as a table."""

_METADATA, _REGISTRY = "setting", "registry"
_SECONDS = MappingProxyType(
    {
        "s": 1.0, "second": 1.0, "min": 60.0, "minute": 60.0, "h": 3600.0, "hour": 3600.0, "d": 86400.0,
        "day": 86400.0, "week": 604800.0, "month": 2592000.0, "year": 31557600.0,
    }
)  # fmt: skip
_DURATION = re.compile(r"\s*(\+?[0-9.]+(?:e[+-]?\d+)?)\s*([a-z]*?)s?\s*", re.IGNORECASE)


@final
@dataclass(frozen=True)
class Setting:
    """What a field is for.

    Attributes:
        help: A sentence for the option's help and for the guide.
        group: The heading that it stands under.
        unit: The unit of a number, as a word: "ohm", "volt", "part" (of one), "second".
        flag: Of the command line; made from the field's name when left out. A flag with its opposite for a switch.
        none: What None means, such as "no limit".
        deviation: Whether it is a relative deviation, of which per cent are easily given by mistake.
        whole: Whether the settings of a part are given in its text alone, and have no options of their own.
    """

    help: str
    group: str
    unit: str = ""
    flag: str = ""
    none: str = "none"
    deviation: bool = False
    whole: bool = False


def setting(
    default: Any,
    text: str,
    group: str,
    *,
    unit: str = "",
    flag: str = "",
    none: str = "none",
    deviation: bool = False,
    registry: Registry[Any] | None = None,
) -> Any:
    """A field of a dataclass that says what it is for.

    Args:
        default: Of the field; a class stands for an instance of its own that is made for each owner.
        text: See `Setting.help`.
        group: See `Setting`, as for all that follows.
        unit: See there.
        flag: See there.
        none: See there.
        deviation: See there.
        registry: Where texts are looked up, if the field holds a part; a `Choice` field says so itself.
    """
    about = {_METADATA: Setting(text, group, unit, flag, none, deviation), _REGISTRY: registry}
    if isinstance(default, type):
        return dataclasses.field(default_factory=default, metadata=about)
    return dataclasses.field(default=default, metadata=about)


@final
@dataclass(frozen=True)
class Entry:
    """One setting of a value, at any depth.

    Attributes:
        path: Names of the fields that lead to it.
        about: What it is for.
        kind: Its type.
        default: What it is when it is left out.
        registry: Where its texts are looked up, if it is a part.
        needs: The field beside it without which it has no effect; empty for none.
    """

    path: tuple[str, ...]
    about: Setting
    kind: Any
    default: Any
    registry: Registry[Any] | None
    needs: str

    @property
    def flag(self) -> str:
        """The option of the command line; with its opposite for a switch."""
        return self.about.flag or f"--{self.path[-1].replace('_', '-')}"

    @property
    def option(self) -> str:
        """The name of that option's value."""
        return self.flag.partition("/")[0].removeprefix("--").replace("-", "_")

    @property
    def choices(self) -> tuple[str, ...]:
        """The words that it may be, or the shorthands of built-in parts; empty for numbers and names."""
        return self.registry.names if self.registry is not None else literals(self.kind)

    @property
    def shown(self) -> str:
        """The default in words."""
        if self.default is None:
            return self.about.none
        if self.registry is not None and not isinstance(self.default, str):
            return self.registry.text(self.default)
        if isinstance(self.default, bool):
            return self.flag.split("/")[1 - self.default].removeprefix("--")
        return f"{self.default:g}" if isinstance(self.default, float) else str(self.default)


def entries(value: Any, path: tuple[str, ...] = ()) -> Iterator[Entry]:
    """All settings of a value and of the values in it, with what it holds as defaults.

    Example:
        >>> from xbar_spice.hardware.variation import Variation
        >>> [entry.flag for entry in entries(Variation())]
        ['--programming', '--distribution', '--stuck-on', '--stuck-off']
    """
    hints, needs = _hints(value), getattr(type(value), "NEEDS", {})
    for field in dataclasses.fields(value):
        held, choice = getattr(value, field.name), vars(type(value)).get(field.name)
        part = choice if isinstance(choice, Choice) else None
        about = field.metadata.get(_METADATA) if part is None else part.about
        here = (*path, field.name)
        if about is not None:
            registry = field.metadata.get(_REGISTRY) if part is None else part.registry
            yield Entry(here, about, hints[field.name], held, registry, needs.get(field.name, ""))
        if dataclasses.is_dataclass(held) and (about is None or (part is not None and not about.whole)):
            yield from entries(held, here)


def groups(value: Any) -> tuple[str, ...]:
    """The headings of the settings of a value, as they come."""
    return tuple(dict.fromkeys(entry.about.group for entry in entries(value)))


def table(value: Any, headings: tuple[str, ...] = ()) -> str:
    """The settings of a value as the rows of a table in Markdown, heading by heading; as they come if none is given."""
    rows = ["| field | option | unit | default | is |", "|---|---|---|---|---|"]
    order = headings or groups(value)
    found = sorted(entries(value), key=lambda entry: order.index(entry.about.group))
    for entry in found:
        flag = entry.flag.partition("/")[0]
        default = str(entry.default).lower() if isinstance(entry.default, bool) else entry.shown
        text = entry.about.help
        if entry.choices:
            own = ", or a class of your own" if entry.registry is not None else ""
            text += f" {', '.join(f'`{choice}`' for choice in entry.choices)}{own}."
        rows.append(f"| `{'.'.join(entry.path)}` | `{flag}` | {entry.about.unit} | {default} | {text} |")
    return "\n".join(rows)


def _hints(value: Any) -> dict[str, Any]:
    kind: Any = type(value)
    return _hints_of(kind)


@cache
def _hints_of(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def literals(kind: Any) -> tuple[str, ...]:
    """The words of a Literal type; empty for any other."""
    return get_args(kind) if get_origin(kind) is Literal else ()


def build(default: Any, values: Mapping[str, Any], found: Callable[[Any, str], Any] = lambda _, text: text) -> Any:
    """The dataclass that settings describe: `default` with the values of a nested table; unknown names are ignored.

    Args:
        default: The instance whose values stand where none is given.
        values: By field; a table for a nested dataclass, or for the options of a part.
        found: Called with the type of a field and a text in it, for what the text names.

    Example:
        >>> from xbar_spice.mapping.design import Design
        >>> build(Design(), {"tile": 8, "variation": {"programming": 0.1}, "engine": "nodal"}).variation.programming
        0.1
    """
    hints = _hints(default)
    changes: dict[str, Any] = {}
    for field in dataclasses.fields(default):
        if field.name not in values:
            continue
        old, value = getattr(default, field.name), values[field.name]
        if isinstance(value, Mapping) and value.get(KIND) is not None:
            value = value[KIND]
        if isinstance(value, str):
            value = found(hints[field.name], value)
        elif isinstance(value, Mapping) and dataclasses.is_dataclass(old):
            value = build(old, value, found)
        changes[field.name] = value
    try:
        return dataclasses.replace(default, **changes)
    except IdleSettingError:  # another case of the study uses it, see `xbar_spice.study.schema.unused_settings`
        idle = idle_fields(type(default), changes)
        return dataclasses.replace(default, **{name: changes[name] for name in changes.keys() - idle.keys()})


def seconds(value: str | float) -> float:
    """A time in seconds, from a number or from a text with a unit, from "s" to "year"; a month has 30 days.

    Raises:
        InvalidInputError: It is no time.

    Example:
        >>> seconds("1 day"), seconds("90 min"), seconds("2.5"), seconds(3)
        (86400.0, 5400.0, 2.5, 3.0)
    """
    if not isinstance(value, str):
        return float(value)
    matched = _DURATION.fullmatch(value)
    unit = (matched[2].lower() or "s") if matched else ""
    try:
        number = float(matched[1]) if matched else math.nan
    except ValueError:
        number = math.nan
    if unit not in _SECONDS or not math.isfinite(number):
        raise InvalidInputError(
            f"a time must be a number of seconds, or have a unit of {', '.join(_SECONDS)}, such as '1 day', "
            f"got {value!r}"
        )
    return number * _SECONDS[unit]
