"""Keeps the libraries of one deck apart: what each defines outside of its subcircuits is its own.

SPICE knows one `.param`, `.func` or `.model` of a name at the top of a deck. Where a name of one library occurs in
another one, it is written with the number of the library behind it, so that both mean what they meant alone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from xbar_spice.errors import InvalidInputError
from xbar_spice.hardware.subcircuit.definition import parsed
from xbar_spice.hardware.subcircuit.reader import Card, Library, defined_names
from xbar_spice.hardware.subcircuit.text import split_comment, split_lines

__all__ = ["Placed", "kept_apart"]

WORD = re.compile(r"\w[\w.\-]*", re.ASCII)  # as names of models, which may begin with a digit
IDENTIFIER = re.compile(r"[A-Za-z_]\w*", re.ASCII)
# A function of the library's own in the place of one that other elements of the deck may use.
BUILT_IN = frozenset(
    word
    for words in (
        "abs acos acosh asin asinh atan atanh ceil cos cosh ddt exp floor int limit ln log log10 max min nint pow pwl",
        "pwr pwrs sgn sin sinh sqrt stp tan tanh u uramp ternary_fcn if table",
    )
    for word in words.split()
)


@dataclass(frozen=True)
class Placed:
    """The library of a deck that is to be kept apart from others.

    Attributes:
        text: of the library.
        dialect: that it is written in.
        given: names, in lower case, of the parameters that elements of the deck give to its subcircuits.
    """

    text: str
    dialect: str = ""
    given: frozenset[str] = frozenset()


def kept_apart(placed: Sequence[Placed]) -> list[str]:
    """The libraries of one deck, each with names of its own where another one has them too.

    Args:
        placed: the libraries, none twice.

    Raises:
        InvalidInputError: a name cannot be written anew, because a library also calls something else by it.
    """
    libraries = [parsed(one.text, one.dialect) for one in placed]
    words = [_words(library) for library in libraries]
    result = []
    for number, (one, library) in enumerate(zip(placed, libraries, strict=True)):
        others = set().union(*(found for k, found in enumerate(words) if k != number))
        kinds = _top_names(library)
        clashing = {name for name, word in kinds.items() if name in others or (word == ".func" and name in BUILT_IN)}
        _require_own_nodes(library, others)
        fresh = {name: _fresh(name, number + 1, set().union(*words)) for name in sorted(clashing)}
        result.append(_renamed(one, library, fresh, kinds) if fresh else one.text)
    return result


def _top_names(library: Library) -> dict[str, str]:
    """Names that cards outside of subcircuits define, and the word of the card."""
    top = [card for card in library.cards if not card.scope and card.word in (".param", ".func", ".model")]
    return {name: card.word for card in top for name in defined_names(card)}


def _words(library: Library) -> set[str]:
    """All words of the code of a library, in lower case."""
    code = " ".join(card.text for card in library.cards).lower()
    return set(WORD.findall(code)) | set(IDENTIFIER.findall(code))


def _require_own_nodes(library: Library, others: set[str]) -> None:
    """Raise where a global node of a library may be a node of another one."""
    for card in library.cards:
        for node in card.text.lower().split()[1:] if card.word == ".global" else ():
            if node in others or re.fullmatch(r"([wb]\d+_\d+|(left|right|top|bottom|out)\w*)", node):
                raise InvalidInputError(
                    f"{card.place} of a library makes {node} one node of the whole deck, and something else in the "
                    "deck has a node of this name; rename it in one of the two"
                )


def _fresh(name: str, number: int, taken: set[str]) -> str:
    word = f"{name}_lib{number}"
    while word in taken:
        word += "_"
    return word


def _renamed(one: Placed, library: Library, fresh: dict[str, str], kinds: dict[str, str]) -> str:
    """The text with fresh words for some of the names that its top defines.

    A name is replaced wherever it stands, also where a subcircuit has a parameter or a model of its own by it: so
    nothing changes in how ngspice finds the values of names. Only a parameter that the deck itself gives keeps its
    name, and the subcircuit begins with another one for it.
    """
    for name in fresh.keys() & library.names:
        raise InvalidInputError(
            f"two libraries of a deck have the name {name}, and one of them gives it to a subcircuit as well as to a "
            f"{kinds[name]} card; rename it there"
        )
    cards = iter(library.cards)
    card = None
    lines: list[str] = []
    aliases: list[str] = []
    for line in split_lines(one.text):
        code, said = split_comment(line, one.dialect)
        if not code.strip():
            lines.append(line)
            continue
        first = not code.lstrip().startswith("+")
        if first or card is None:
            card = next(cards)
            lines += aliases
            aliases = []
        for name, word in fresh.items():
            kept = name in one.given and not card.scope and card.word == ".subckt"
            if kept and re.search(rf"(?i)(?<!\w){name}\s*=(?!=)", code):
                aliases.append(f".param {word}={{{name}}}")
            _require_not_given(one, card, name)
            code = _replaced(code, card, first, Name(name, word, kinds[name], kept))
        lines.append(code + (f" ; {said}" if said else ""))
    return "".join(f"{line}\n" for line in lines)


def _require_not_given(one: Placed, card: Card, name: str) -> None:
    """Raise where the library gives a parameter of a name that the deck gives, too."""
    if name in one.given and card.word.startswith("x") and re.search(rf"(?i)(?<!\w){name}\s*=(?!=)", card.text):
        raise InvalidInputError(
            f"two libraries of a deck have the name {name}, and {card.text[:40]!r} of one of them gives a parameter of "
            "this name, as the deck does; rename the .param in one of the two"
        )


@dataclass(frozen=True)
class Name:
    """A name that gets another word; `kept` where it stands for a parameter that the deck gives."""

    old: str
    word: str
    kind: str
    kept: bool


def _replaced(code: str, card: Card, first: bool, name: Name) -> str:
    """One line of a card, with another word for a name."""
    # In the name of a model hyphens and points are letters; in an expression they are not.
    letters = r"\w.\-" if name.kind == ".model" else r"\w"
    skipped = 0
    if first:  # the word of a card or the name of an element, the name of a subcircuit
        head = re.match(r"\s*\S+\s+[^\s(]+" if card.word == ".subckt" else r"\s*\S+", code)
        skipped = head.end() if head else 0

    def new(match: re.Match[str]) -> str:
        before, after = match.string[: match.start()], match.string[match.end() :].lstrip()
        argument = re.match(r"=(?!=)", after)
        if (
            match.start() < skipped
            or re.search(r"(?i)\bi\(\s*$", before)
            or (argument and (name.kept or not card.word.startswith((".param", ".subckt", "x"))))
            or (name.kind == ".func" and not after.startswith("("))
            or (name.kind == ".param" and after.startswith("(") and card.word != ".func")
            # of the words of a .model card the second one is a type
            or (card.word == ".model" and first and re.fullmatch(r"(?i)\s*\.model\s+\S+\s+", before))
        ):
            return match[0]
        return name.word

    return re.sub(rf"(?i)(?<![{letters}]){re.escape(name.old)}(?![{letters}])", new, code)
