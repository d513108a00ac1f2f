"""What the text of a subcircuit says about its law: elements that hold a state, powers that ngspice takes otherwise."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

from xbar_spice.hardware.subcircuit.definition import Subcircuit, parsed
from xbar_spice.hardware.subcircuit.reader import Card

__all__ = ["State", "odd_power", "states"]

SETS = re.compile(r"\bic\s*=", re.IGNORECASE)
INTEGRAL = re.compile(r"\b(ddt|idt|sdt)\s*\(", re.IGNORECASE)
ODD_POWER = re.compile(r"([\w)]+)\s*(?:\^|\*\*)\s*\(?\s*[3579](?![\d.])")
ODD_FUNCTION = re.compile(r"\bpow\s*\(.*,\s*[3579]\s*\)", re.IGNORECASE)
# Functions that are not negative, so that their powers are what they seem.
POSITIVE = ("abs", "exp", "sqrt", "cosh")


@final
@dataclass(frozen=True)
class State:
    """An element that may hold a state.

    Attributes:
        text: of its card.
        set: whether the card says where it begins.
    """

    text: str
    set: bool


def states(subcircuit: Subcircuit) -> tuple[State, ...]:
    """The capacitors, inductors and integrals of a subcircuit and of those that it calls.

    A capacitor from pin to pin, or to ground, has its voltage from outside and holds nothing.
    """
    found = []
    for card in _cards(subcircuit):
        letter = card.word[0]
        inner = (
            set(re.split(r"[\s(),]+", card.text.lower())[1:3]) - {pin.lower() for pin in subcircuit.pins} - {"0", "gnd"}
        )
        stored = letter == "l" or (letter == "c" and (inner or len(card.scope) != 1))
        if stored or card.word == ".ic" or INTEGRAL.search(card.text):
            found.append(State(card.text, card.word == ".ic" or (letter in "cl" and bool(SETS.search(card.text)))))
    return tuple(found)


def odd_power(subcircuit: Subcircuit) -> str:
    """An odd power of something that may be negative, as the library has it; empty if there is none."""
    for card in _cards(subcircuit, functions=True):
        for match in ODD_POWER.finditer(card.text):
            base = _base(card.text, match.end(1))
            if not base.lower().startswith(POSITIVE) and re.search(r"[A-Za-z]", base):
                return card.text[match.end(1) - len(base) : match.end()]
        function = ODD_FUNCTION.search(card.text)
        if function:
            return function[0]
    return ""


def _cards(subcircuit: Subcircuit, functions: bool = False) -> Iterator[Card]:
    """The cards of a subcircuit and of those that it calls, and with them the functions of its library."""
    library = parsed(subcircuit.library, subcircuit.compat)
    reached, waiting = set(), [subcircuit.name.lower()]
    while waiting:
        name = waiting.pop()
        if name in reached:
            continue
        reached.add(name)
        for card in library.cards:
            if name in card.scope:
                if card.word.startswith("x"):
                    waiting += [word for word in re.split(r"[\s(),]+", card.text.lower())[1:] if word in library.names]
                yield card
    if functions:
        yield from (card for card in library.cards if card.word == ".func" and not card.scope)


def _base(text: str, end: int) -> str:
    """What stands before a power: a word, or a pair of parentheses with the function before them."""
    start = end
    if text[end - 1] == ")":
        depth = 0
        while start > 0:
            start -= 1
            depth += (text[start] == ")") - (text[start] == "(")
            if not depth:
                break
    while start > 0 and (text[start - 1].isalnum() or text[start - 1] == "_"):
        start -= 1
    return text[start:end]
