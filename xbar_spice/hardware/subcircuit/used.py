"""What of a library a deck needs: the subcircuits that are used, and what stands outside of subcircuits."""

from __future__ import annotations

import re
from collections.abc import Collection

from xbar_spice.hardware.subcircuit.definition import parsed
from xbar_spice.hardware.subcircuit.reader import Card
from xbar_spice.hardware.subcircuit.text import split_lines

__all__ = ["used_part"]


def used_part(text: str, dialect: str, wanted: Collection[str]) -> str:
    r"""A library without the subcircuits that neither these need nor those that they are made of.

    Comments stay, and so does a library whose parts depend on conditions.

    Args:
        text: of the library.
        dialect: that it is written in.
        wanted: names of subcircuits, in lower case.

    Example:
        >>> used_part(".subckt a p\nX1 p b\n.ends\n.subckt b p\n.ends\n.subckt c p\n.ends\n", "", ["a"])
        '.subckt a p\nX1 p b\n.ends\n.subckt b p\n.ends\n'
    """
    library = parsed(text, dialect)
    if any(card.word == ".if" for card in library.cards):
        return text
    parts: dict[str, list[Card]] = {}
    for card in library.cards:
        if card.scope or card.word == ".subckt":
            parts.setdefault(card.scope[0] if card.scope else _words(card)[1], []).append(card)
    needed, waiting = set[str](), [name.lower() for name in wanted]
    while waiting:
        name = waiting.pop()
        if name in parts and name not in needed:
            needed.add(name)
            waiting += [word for card in parts[name] if card.word.startswith("x") for word in _words(card)]
    gone: set[int] = set()
    for name in parts.keys() - needed:
        first, last = (int(parts[name][place].place.removeprefix("line ")) for place in (0, -1))
        gone |= set(range(first, last + 1))
    return "".join(f"{line}\n" for number, line in enumerate(split_lines(text), start=1) if number not in gone)


def _words(card: Card) -> list[str]:
    """Its words, in lower case."""
    return re.split(r"[\s(),]+", card.text.lower())
