"""Subcircuits of the user's own: SPICE text that is checked once and then stands in decks as it is.

A library reaches the simulator as cards of a deck. Only what describes a circuit may stand in one: subcircuits, models,
parameters, functions and comments. Anything that would read a file, start an analysis or run a command is refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, final

from xbar_spice.errors import DeviceError

__all__ = ["Subcircuit"]

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,60}", re.ASCII)
CARDS = (".subckt", ".ends", ".model", ".param", ".func")
# ngspice takes a comment that starts with *# as a command, and XSPICE models of these types start programs; quotation
# marks enclose names of files.
COMMANDS = re.compile(r'^\s*\*#|"|\bd_process\b|\bd_cosim\b', re.IGNORECASE)


@final
@dataclass(frozen=True)
class Subcircuit:
    r"""A subcircuit of a library, and the values of its fixed parameters.

    Attributes:
        name: of the subcircuit.
        library: SPICE text that defines it, whole; decks hold a copy.
        parameters: names and values that every instance gets; what is left out keeps the library's default.
        pins: names of its pins.
        parameter_names: of the parameters that it has, in lower case.

    Raises:
        DeviceError: the library does not define the subcircuit, holds something else than circuits, or the subcircuit
            has no parameter of a name.

    Example:
        >>> Subcircuit("cell", ".subckt cell p n g=1e-6\nR1 p n {1/g}\n.ends\n").pins
        ('p', 'n')
    """

    name: str
    library: str = field(repr=False)
    parameters: tuple[tuple[str, float], ...] = ()
    pins: tuple[str, ...] = field(init=False, repr=False)
    parameter_names: tuple[str, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        found = _interfaces(self.library)
        if not NAME.fullmatch(self.name) or self.name.lower() not in found:
            raise DeviceError(
                f"subcircuit must be one that the library defines ({', '.join(found) or 'it has none'}), "
                f"got {self.name!r}"
            )
        pins, names = found[self.name.lower()]
        object.__setattr__(self, "pins", pins)
        object.__setattr__(self, "parameter_names", names)
        for name, value in self.parameters:
            self.require_parameter(name)
            if not _is_number(value):
                raise DeviceError(f"parameter {name} of subcircuit {self.name} must be a finite number, got {value!r}")

    @classmethod
    def from_file(cls, path: str | Path, name: str, parameters: Mapping[str, Any] | None = None) -> Self:
        """The subcircuit `name` of a library file.

        Raises:
            DeviceError: the file cannot be read, or see the class; the text names the file.
        """
        try:
            text = Path(path).expanduser().read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
            raise DeviceError(f"cannot read the subcircuit library {path}: {reason}") from error
        try:
            return cls(name, text, tuple((parameters or {}).items()))
        except DeviceError as error:
            raise DeviceError(f"{path}: {error}") from error

    @property
    def definitions(self) -> tuple[str, ...]:
        """Names, in lower case, of all subcircuits of the library."""
        return tuple(_interfaces(self.library))

    def require_parameter(self, name: str) -> None:
        """Raise unless the subcircuit has a parameter of this name."""
        if name.lower() not in self.parameter_names:
            raise DeviceError(
                f"subcircuit {self.name} has the parameters {', '.join(self.parameter_names) or '(none)'}, got {name!r}"
            )

    def require_pins(self, count: int, what: str) -> None:
        """Raise unless the subcircuit has so many pins."""
        if len(self.pins) != count:
            raise DeviceError(
                f"{what}; subcircuit {self.name} has {len(self.pins)} ({' '.join(self.pins)}): wrap it in one that does"
            )


def _is_number(value: object) -> bool:
    """Whether it is what TOML calls a number, and finite."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _interfaces(library: str) -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
    """Pins and parameters of the subcircuits that stand at the top of a library, by name in lower case."""
    found: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {}
    depth = 0
    for number, card in _cards(library):
        word = card.split(maxsplit=1)[0].lower()
        if word.startswith(".") and word not in CARDS:
            raise DeviceError(f"line {number}: a library may hold {', '.join(CARDS)} and elements, got {word!r}")
        if not word.startswith(".") and (depth == 0 or not word[0].isalpha()):
            raise DeviceError(f"line {number}: an element stands within .subckt and .ends, got {card[:40]!r}")
        if word == ".subckt":
            name, interface = _interface(number, card)
            if depth == 0 and name in found:
                raise DeviceError(f"line {number}: a second subcircuit of the name {name}")
            if depth == 0:
                found[name] = interface
        depth += (word == ".subckt") - (word == ".ends")
        if depth < 0:
            raise DeviceError(f"line {number}: .ends without .subckt")
    if depth:
        raise DeviceError("the last .subckt has no .ends")
    return found


def _cards(library: str) -> Iterator[tuple[int, str]]:
    """Number of the first line, and text, of every card, comments left out and continuation lines joined."""
    start, parts = 0, [""]
    for number, line in enumerate(library.splitlines(), start=1):
        if not all(char.isprintable() or char == "\t" for char in line):
            raise DeviceError(f"line {number}: control characters in a library")
        if COMMANDS.search(line):
            raise DeviceError(f"line {number}: a library holds no commands and no names of files, got {line[:40]!r}")
        text = re.split(r";|(?:^|\s)\$\s|//", line, maxsplit=1)[0].strip()
        if not text or text.startswith(("*", "#", "$")):
            continue
        if text.startswith("+"):
            parts.append(text[1:])
            continue
        if parts[0]:
            yield start, " ".join(parts)
        start, parts = number, [text]
    if parts[0]:
        yield start, " ".join(parts)


def _interface(number: int, card: str) -> tuple[str, tuple[tuple[str, ...], tuple[str, ...]]]:
    """Name, pins and parameters of a `.subckt` card."""
    spaced = re.sub(r"\{[^}]*\}|'[^']*'", "0", card)  # an expression may hold anything
    words = re.sub(r"\s*=\s*", "=", spaced).split()[1:]
    pins = []
    for word in words[1:]:
        if "=" in word or word.lower() == "params:":
            break
        pins.append(word)
    if not words or not NAME.fullmatch(words[0]) or not all(re.fullmatch(r"\w+", pin, re.ASCII) for pin in pins):
        raise DeviceError(f"line {number}: .subckt NAME PIN ... [PARAMETER=VALUE ...] with plain names, got {card!r}")
    parameters = tuple(match.lower() for match in re.findall(r"(?<!\S)(\w+)=", " ".join(words[1 + len(pins) :])))
    return words[0].lower(), (tuple(pins), parameters)
