"""A subcircuit of the user's own: SPICE text that is checked once and then stands in decks."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Self, final

from xbar_spice.checks import ANYTHING, Many, Text, settle
from xbar_spice.errors import DeviceError
from xbar_spice.hardware.subcircuit.includes import expand
from xbar_spice.hardware.subcircuit.reader import Library, read_library
from xbar_spice.hardware.subcircuit.text import split_lines

__all__ = ["COMPAT", "Subcircuit"]

# Dialects, as the mode that ngspice has for the whole of a deck in each of them.
COMPAT = {"psa": "psa", "lt": "lta", "hs": "hsa"}

logger = logging.getLogger(__name__)


@final
@dataclass(frozen=True)
class Subcircuit:
    r"""A subcircuit of a library, and the values of its fixed parameters.

    Attributes:
        name: of the subcircuit. ngspice finds plain words alone: other characters become underscores, here and in the
            library.
        library: SPICE text that defines it, whole, as it stands in decks: comments are cleaned, and cards that belong
            to an analysis are comments (`left_out`).
        parameters: names and values that every instance gets; what is left out keeps the library's default.
        compat: the dialect of the library, as ngspice's modes: "psa" (PSpice), "lt" (LTspice), "hs" (HSPICE); empty for
            ngspice's own.
        wrapper: text of a subcircuit around one of the library's, which is the one that is meant then; empty for none.
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
    compat: str = ""
    wrapper: str = field(default="", repr=False)
    pins: tuple[str, ...] = field(init=False, repr=False)
    parameter_names: tuple[str, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        settle(self, DeviceError, name=Text(), library=Text(), parameters=Many(Many(ANYTHING, 2)))
        if self.compat and self.compat not in COMPAT:
            raise DeviceError(f"compat must be one of {', '.join(COMPAT)}, or left out, got {self.compat!r}")
        library = parsed(self.library, self.compat)
        found = parsed(self.wrapper) if self.wrapper else library
        name = found.plain_names.get(str(self.name).lower(), "")
        if name not in found.interfaces:
            raise DeviceError(
                f"subcircuit must be one that the library defines ({', '.join(found.interfaces) or 'it has none'}), "
                f"got {self.name!r}"
            )
        interface = found.interfaces[name]
        object.__setattr__(self, "name", self.name if name == self.name.lower() else name)
        object.__setattr__(self, "library", self.library if _same(self.library, library.text) else library.text)
        object.__setattr__(self, "pins", interface.pins)
        object.__setattr__(self, "parameter_names", interface.parameters)
        for parameter, value in self.parameters:
            Text()("a name among parameters", parameter, DeviceError)
            self.require_parameter(parameter)
            if not _is_number(value):
                raise DeviceError(
                    f"parameter {parameter} of subcircuit {self.name} must be a finite number, got {value!r}"
                )

    @classmethod
    def from_file(
        cls, path: str | Path, name: str, parameters: Mapping[str, Any] | None = None, compat: str = ""
    ) -> Self:
        """The subcircuit `name` of a library file, with the files of its folder that it includes.

        What was left out of the library is logged.

        Raises:
            DeviceError: the file cannot be read, or see the class; the text names the file.
        """
        path = Path(path).expanduser()
        library = cls.library_of(path, compat)
        try:
            word = library.plain_names.get(name.lower(), "")
            plain = name if word == name.lower() else word or name
            made = cls(plain, library.text, tuple((parameters or {}).items()), compat)
        except DeviceError as error:
            raise error if str(path) in str(error) else DeviceError(f"{path}: {error}") from error
        if made.left_out:
            logger.warning("%s: left out, because a deck has its own: %s", path, "; ".join(made.left_out))
        return made

    @staticmethod
    def library_of(path: Path, compat: str = "") -> Library:
        """What a library file defines.

        Raises:
            DeviceError: the file cannot be read, or holds something else than circuits; the text names it.
        """
        try:
            return read_library(expand(path), compat)
        except DeviceError as error:
            raise error if str(path) in str(error) else DeviceError(f"{path}: {error}") from error

    @property
    def definitions(self) -> tuple[str, ...]:
        """Names, in lower case, of all subcircuits of the library."""
        return tuple(parsed(self.library, self.compat).interfaces)

    @property
    def defined(self) -> tuple[str, ...]:
        """Those, and the subcircuits within subcircuits: ngspice mixes up two of one name wherever they stand."""
        return tuple(sorted(parsed(self.library, self.compat).names))

    @property
    def wrapped(self) -> tuple[str, ...]:
        """Names, in lower case, of the subcircuits of the wrapper."""
        return tuple(parsed(self.wrapper).interfaces)

    @property
    def left_out(self) -> tuple[str, ...]:
        """The cards of the library that no deck holds: analyses, outputs, options, conditions of other circuits."""
        return parsed(self.library, self.compat).left_out

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


@lru_cache(64)
def parsed(library: str, compat: str = "") -> Library:
    """What the text of a library says."""
    places = ((f"line {number}", line) for number, line in enumerate(split_lines(library), start=1))
    return read_library(places, compat)


def _same(text: str, cleaned: str) -> bool:
    """Whether cleaning changed nothing but the end of the last line."""
    return text.rstrip("\n") == cleaned.rstrip("\n")


def _is_number(value: object) -> bool:
    """Whether it is what TOML calls a number, and finite."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
