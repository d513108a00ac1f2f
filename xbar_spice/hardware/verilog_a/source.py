"""The text of a Verilog-A file, with what it includes, before and after the preprocessor."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import final

from xbar_spice.disk import read_text
from xbar_spice.errors import DeviceError

__all__ = ["Module", "gather", "modules", "renamed"]

BUILT_IN = ("disciplines.vams", "constants.vams", "discipline.h", "constants.h")  # the compiler has these
MOST_FILES = 100
LIMIT = 2**20  # bytes of a file; compact models of transistors have half of that

COMMENTS = re.compile(r'"(?:\\.|[^"\\\n])*"|//[^\n]*|/\*.*?\*/', re.DOTALL)
INCLUDE = re.compile(r'`include\b\s*(?:"([^"\n]*)")?')
ASIDE = re.compile(r'"(?:\\.|[^"\\\n])*"|\(\*(?!\)).*?\*\)', re.DOTALL)
MODULE = re.compile(r"\b(?:macromodule|module)\s+([A-Za-z_][\w$]*)\s*(?:\(([^)]*)\))?\s*;.*?\bendmodule\b", re.DOTALL)


@final
@dataclass(frozen=True)
class Module:
    """A module of an expanded source.

    Attributes:
        name: of the module.
        ports: their names.
        text: all of it, from `module` to `endmodule`.
    """

    name: str
    ports: tuple[str, ...]
    text: str


def gather(path: Path) -> dict[str, str]:
    """The files that a source is made of, by their paths relative to its folder; the first is the source.

    Only files of that folder may be included, so that neither a model nor what the compiler says of it shows others.

    Raises:
        DeviceError: a file cannot be read, or lies elsewhere.
    """
    root = path.expanduser().resolve().parent
    found: dict[str, str] = {}
    waiting = [path.expanduser().resolve()]
    while waiting:
        file = waiting.pop(0)
        name = file.relative_to(root).as_posix()
        if name in found:
            continue
        if len(found) == MOST_FILES:
            raise DeviceError(f"{path}: a Verilog-A source has {MOST_FILES} files at most; leave some out")
        found[name] = text = read_text(file, limit=LIMIT, error=DeviceError, role="Verilog-A source")
        for include in INCLUDE.finditer(without_comments(text)):
            waiting += _included(path, root, file.parent, include[1])
    return found


def _included(path: Path, root: Path, folder: Path, name: str | None) -> list[Path]:
    if not name:
        raise DeviceError(f'{path}: an include names its file between quotes, such as `include "disciplines.vams"')
    places = [(place / name.replace("\\", "/")).resolve() for place in (folder, root)]
    if not all(place.is_relative_to(root) for place in places):
        raise DeviceError(
            f"{path}: a Verilog-A source includes files of its own folder alone, got {name!r}; copy the file beside it"
        )
    here = next((place for place in places if place.is_file()), None)
    if here is None and name not in BUILT_IN:
        raise DeviceError(
            f"{path}: there is no file {name!r} to include; put it into the folder of the source (the compiler brings "
            f"{', '.join(BUILT_IN[:2])})"
        )
    return [] if here is None else [here]


def without_comments(text: str) -> str:
    """A source whose comments are blanks; what is between quotes stays."""
    return COMMENTS.sub(lambda found: found[0] if found[0].startswith('"') else " ", text)


def modules(expanded: str) -> list[Module]:
    """The modules of an expanded source, in their order."""
    found, text = [], without_comments(expanded)
    for match in MODULE.finditer(_bare(text)):
        words = re.findall(r"[A-Za-z_][\w$]*", match[2] or "")
        directions = ("inout", "input", "output", "electrical")
        ports = tuple(word for word in words if word not in directions)
        found.append(Module(match[1], ports, text[match.start() : match.end()]))
    return found


def _bare(text: str) -> str:
    """A source of the same length whose texts between quotes and whose attributes are blanks."""
    return ASIDE.sub(lambda found: " " * len(found[0]), text)


def renamed(expanded: str, module: str, name: str) -> str:
    """The source of one module alone, under another name: natures and disciplines, then the module.

    Blanks and comments are the same in all that expand to the same.
    """
    text = without_comments(expanded)
    found, rest = modules(text), text
    (wanted,) = (one for one in found if one.name == module)
    for one in found:
        rest = rest.replace(one.text, " ", 1)
    own = re.sub(rf"^(macromodule|module)\s+{re.escape(module)}(?![\w$])", f"module {name}", wanted.text)
    lines = (" ".join(line.split()) for line in f"{rest}\n{own}".splitlines())
    return "\n".join(line for line in lines if line) + "\n"
