"""The lines of a library as cards, with comments that are harmless and code that can only describe a circuit."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import final

from xbar_spice.errors import DeviceError
from xbar_spice.hardware.subcircuit.text import clean_comment, split_comment

__all__ = ["Draft", "drafts_of"]

# ngspice takes a comment that starts with *# as a command, and XSPICE models of these types start programs; quotation
# marks enclose names of files.
COMMAND = re.compile(r"\s*\*#\s*[A-Za-z]")
PROGRAMS = re.compile(r"\bd_process\b|\bd_cosim\b", re.IGNORECASE)
NAMED_FILE = re.compile(r'"|\b(?:\w*_)?file\s*=|\b(filesource|table2d|table3d)\b', re.IGNORECASE)
FILES = (".include", ".inc", ".lib")
MICRO = str.maketrans({"\N{MICRO SIGN}": "u", "\N{GREEK SMALL LETTER MU}": "u", "\N{NO-BREAK SPACE}": " "})
BLANKS = re.compile(r"[\x0b\x0c\r\ufeff]")


@final
@dataclass
class Draft:
    """A card while it is read: which lines it came from, so that it can be replaced among them."""

    place: str
    text: str
    lines: list[int] = field(default_factory=list)


def drafts_of(lines: Iterable[tuple[str, str]], dialect: str) -> tuple[list[str], list[Draft]]:
    """The lines with harmless comments, and the cards that they hold."""
    out: list[str] = []
    drafts: list[Draft] = []
    for place, line in _with_plus(lines):
        if COMMAND.match(line):
            raise DeviceError(
                f"{place}: a library holds no commands, and ngspice takes *# for one, got {line.strip()[:40]!r}; write "
                "'* #' if it is a comment"
            )
        code, said = split_comment(line, dialect)
        if not code.strip():
            out.append(_comment_line(line, clean_comment(said)))
            continue
        code = _checked(place, BLANKS.sub(" ", code.translate(MICRO)).rstrip())
        plain = line == clean_comment(line) and line.startswith(code) and line[len(code) :].lstrip()[:1] in ("", ";")
        out.append(line if plain else f"{code} ; {clean_comment(said)}" if said else code)
        body = code.strip()
        if not body.startswith("+"):
            drafts.append(Draft(place, body, [len(out) - 1]))
        elif drafts:
            drafts[-1].text += f" {body[1:].strip()}"
            drafts[-1].lines.append(len(out) - 1)
        else:
            raise DeviceError(f"{place}: a line goes on with + where there is nothing to go on from; remove it")
    return out, drafts


def _with_plus(lines: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Lines that go on in the next one by two backslashes, as the ones that go on by a plus sign."""
    goes_on = False
    for place, line in lines:
        text = f"+ {line}" if goes_on and line.strip() and line.lstrip()[0] not in "*+" else line
        goes_on = text.rstrip().endswith("\\\\") and not text.lstrip().startswith("*")
        yield place, text.rstrip().removesuffix("\\\\") if goes_on else text


def _comment_line(line: str, said: str) -> str:
    """A line that is comment alone, so that it is one for ngspice in every mode."""
    if not line.strip():
        return ""
    clean = line == clean_comment(line) and line.lstrip().startswith("*") and not line.lstrip().startswith("*#")
    return line if clean else f"* {said}".rstrip()


def _checked(place: str, code: str) -> str:
    """A line of code that can only describe a circuit."""
    odd = next((char for char in code if not (" " <= char <= "~" or char == "\t")), None)
    if odd is not None and not odd.isprintable():
        raise DeviceError(
            f"{place}: control characters in a library, U+{ord(odd):04X} in {code.strip()[:40]!r}; remove it"
        )
    if odd is not None:
        raise DeviceError(
            f"{place}: cards are written in ASCII, got {odd!r} in {code.strip()[:40]!r}; write another name"
        )
    if PROGRAMS.search(code):
        raise DeviceError(f"{place}: a library holds no commands and starts no programs, got {code.strip()[:40]!r}")
    if NAMED_FILE.search(code) and not code.lstrip().lower().startswith(FILES):
        raise DeviceError(
            f"{place}: a library holds no names of files, and quotation marks enclose them, got {code.strip()[:40]!r}; "
            "write the values into the library, and expressions in braces"
        )
    return code
