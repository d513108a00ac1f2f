"""Keeps the libraries of one deck apart: what each defines outside of its subcircuits is its own.

SPICE knows one `.param`, `.func` or `.model` of a name at the top of a deck. Where a name of one library occurs in
another one, it is written with the number of the library behind it, so that both mean what they meant alone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from xbar_spice.errors import InvalidInputError
from xbar_spice.subcircuit.definition import parsed
from xbar_spice.subcircuit.reader import Card, Library, defined_names
from xbar_spice.subcircuit.text import split_comment, split_lines

__all__ = ["kept_apart"]

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


def kept_apart(texts: Sequence[tuple[str, str]]) -> list[str]:
    """The libraries of one deck, each with names of its own where another one has them too.

    Args:
        texts: of the libraries, none twice, and the dialect of each.

    Raises:
        InvalidInputError: a name cannot be written anew, because a library also calls something else by it.
    """
    libraries = [parsed(*text) for text in texts]
    words = [_words(library) for library in libraries]
    result = []
    for number, ((text, dialect), library) in enumerate(zip(texts, libraries, strict=True)):
        others = set().union(*(found for k, found in enumerate(words) if k != number))
        kinds = _top_names(library)
        clashing = {name for name, word in kinds.items() if name in others or (word == ".func" and name in BUILT_IN)}
        _require_own_nodes(library, others)
        fresh = {name: _fresh(name, number + 1, set().union(*words)) for name in clashing}
        result.append(_renamed(text, dialect, library, fresh, kinds) if fresh else text)
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


def _renamed(text: str, dialect: str, library: Library, fresh: dict[str, str], kinds: dict[str, str]) -> str:
    """The text with fresh words for some of the names that its top defines, wherever these are meant."""
    subcircuits = fresh.keys() & library.plain_names.keys()
    if subcircuits:
        raise InvalidInputError(
            f"two libraries of a deck have the name {min(subcircuits)}, and one of them gives it to a subcircuit as "
            f"well as to a {kinds[min(subcircuits)]} card; rename it there"
        )
    shadows = _shadows(library)
    cards = iter(library.cards)
    card = None
    lines = []
    for line in split_lines(text):
        code, said = split_comment(line, dialect)
        if not code.strip():
            lines.append(line)
            continue
        first = not code.lstrip().startswith("+")
        card = next(cards) if first or card is None else card
        # A card that opens a subcircuit stands outside of it, and its own parameters are those of the subcircuit.
        scope = (*card.scope, _subcircuit(card)) if card.word == ".subckt" else card.scope
        hidden = {name for depth in range(len(scope)) for name in shadows.get(scope[: depth + 1], ())}
        hidden |= _arguments(card)
        for name in fresh.keys() - hidden:
            code = _replaced(code, card, first, name, fresh[name], kinds[name])
        lines.append(code + (f" ; {said}" if said else ""))
    return "".join(f"{line}\n" for line in lines)


def _subcircuit(card: Card) -> str:
    return re.split(r"[\s(,]+", card.text)[1].lower()


def _shadows(library: Library) -> dict[tuple[str, ...], set[str]]:
    """Names that subcircuits define for themselves."""
    found: dict[tuple[str, ...], set[str]] = {}
    for card in library.cards:
        if card.scope and card.word in (".param", ".func", ".model"):
            found.setdefault(card.scope, set()).update(defined_names(card))
        elif card.word == ".subckt":
            names = re.findall(r"(\w+)\s*=(?!=)", re.sub(r"\{[^}]*\}|'[^']*'", "0", card.text.lower()))
            found.setdefault((*card.scope, _subcircuit(card)), set()).update(names)
    return found


def _arguments(card: Card) -> set[str]:
    """Names, in lower case, that the arguments of a `.func` card hide."""
    found = re.search(r"\(([^)]*)\)", card.text) if card.word == ".func" else None
    return set(re.split(r"[\s,]+", found[1].lower())) if found else set()


def _replaced(code: str, card: Card, first: bool, name: str, word: str, kind: str) -> str:
    """One line of a card, with another word for a name of this kind (`.param`, `.func` or `.model`)."""
    # In the name of a model hyphens and points are letters; in an expression they are not.
    letters = r"\w.\-" if kind == ".model" else r"\w"
    defines = not card.scope and card.word == kind
    skipped = 0
    if first and not (card.word == kind and kind != ".param"):
        # The name of an element, the word of a card, and what is defined or called by a name of another kind.
        count = {".subckt": 2, ".model": 3, ".func": 2}.get(card.word, 1)
        head = re.match(rf"\s*(?:[^\s(]+[\s(]*){{0,{count}}}", code)
        skipped = head.end() if head else 0

    def new(match: re.Match[str]) -> str:
        before, after = match.string[: match.start()], match.string[match.end() :].lstrip()
        if match.start() < skipped or re.search(r"(?i)\bi\(\s*$", before):
            return match[0]
        if re.match(r"=(?!=)", after) and not (defines and kind == ".param"):
            return match[0]  # the name of an argument
        if kind == ".func" and not after.startswith("("):
            return match[0]
        if kind == ".model" and card.word == ".model" and not re.fullmatch(r"(?i)\s*\.model\s+(.*\sako:)?", before):
            return match[0]
        return word

    return re.sub(rf"(?i)(?<![{letters}]){re.escape(name)}(?![{letters}])", new, code)
