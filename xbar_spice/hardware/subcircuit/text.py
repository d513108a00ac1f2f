"""SPICE text as ngspice takes it: what a file says, where a line ends, and what of a line is comment.

There is one rule for each, for the libraries of users, for the decks that the engine drives, and for those that a
person runs by hand. Python's own `str.splitlines` ends lines at eight more characters than ngspice does, so that a
comment that holds one of them would become a card.
"""

from __future__ import annotations

import codecs
import re
from pathlib import Path

from xbar_spice.disk import read_bytes
from xbar_spice.errors import DeviceError

__all__ = ["PSPICE", "clean_comment", "read_text", "split_comment", "split_lines"]

PSPICE = "psa"  # the one dialect in which $ begins names of nodes and no comments
END_OF_FILE = "\x1a"  # Ctrl-Z, which old systems wrote
LARGEST = 64 * 2**20  # bytes; a library of a million lines has half of that
MARKS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
COMMENT = re.compile(r";|//|(?:(?<=[\s,])|^)\$(?!G_)", re.IGNORECASE)
PSPICE_COMMENT = re.compile(r";|//")


def split_lines(text: str) -> list[str]:
    r"""The lines of SPICE text: they end at a line feed, with or without a carriage return before it, and nowhere else.

    Example:
        >>> split_lines("* a comment\x0bgoes on\r\nR1 a 0 1\n")
        ['* a comment\x0bgoes on', 'R1 a 0 1']
    """
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    return lines if lines[-1] else lines[:-1]


def split_comment(line: str, dialect: str = "") -> tuple[str, str]:
    """What a line says to the simulator, and what it says to a reader.

    Example:
        >>> split_comment("R1 a 0 1k $ a load"), split_comment("  * all of it")
        (('R1 a 0 1k', 'a load'), ('', 'all of it'))
    """
    stripped = line.strip()
    if stripped.startswith(("*", "#")):
        return "", stripped[1:].strip()
    found = (PSPICE_COMMENT if dialect == PSPICE else COMMENT).search(line)
    if found is None:
        return line.rstrip(), ""
    return line[: found.start()].rstrip(), line[found.end() :].strip()


def clean_comment(text: str) -> str:
    """A comment without what could end its line somewhere else; control characters become spaces."""
    return "".join(char if char.isprintable() or char == "\t" else " " for char in text)


def read_text(path: Path) -> str:
    """The text of a SPICE file in any of the encodings that such files are found in.

    UTF-8 and UTF-16 with or without a mark at their beginning, otherwise Latin-1; the text ends at a Ctrl-Z, and where
    an old system ended its lines with carriage returns alone, these end them.

    Raises:
        DeviceError: there is no such file, it is not a plain one, or it is too large.
    """
    content = read_bytes(path, limit=LARGEST, error=DeviceError, role="subcircuit library")
    text = _decode(content).partition(END_OF_FILE)[0]
    return text if "\n" in text else text.replace("\r", "\n")


def _decode(content: bytes) -> str:
    for mark, encoding in MARKS.items():
        if content.startswith(mark):
            return content[len(mark) :].decode(encoding, "replace")
    head = content[:4096]
    if head.count(0) * 3 > len(head):  # every other byte of what is written with few letters beyond ASCII
        return content.decode("utf-16-le" if head[1::2].count(0) > head[::2].count(0) else "utf-16-be", "replace")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1")
