"""Reads a SPICE library as ngspice takes it: what it defines, and the text of it that may stand in a deck.

A library reaches the simulator as cards of a deck. What describes a circuit stands in one as it is, or is written as
ngspice understands it where a dialect has another word; analyses, outputs and options are left out, because a deck has
its own; what would read a file, start a program or run a command is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import final

from xbar_spice.errors import DeviceError
from xbar_spice.hardware.subcircuit.dialects import in_plain_words
from xbar_spice.hardware.subcircuit.drafts import Draft, drafts_of
from xbar_spice.hardware.subcircuit.text import split_lines

__all__ = ["Card", "Interface", "Library", "defined_names", "read_library"]

CIRCUIT = (".subckt", ".ends", ".model", ".param", ".func", ".global", ".if", ".elseif", ".else", ".endif")
SYNONYMS = {".macro": ".subckt", ".eom": ".ends", ".params": ".param", ".parameter": ".param", ".parameters": ".param"}
# Within a subcircuit these belong to its nodes; at the top of a library they mean somebody else's circuit.
OF_NODES = (".ic", ".nodeset")
ANALYSES = ".op .dc .tran .ac .tf .noise .pz .sens .disto .four .fourier .meas .measure .step .wcase .mc .net .sp"
OUTPUTS = ".save .print .plot .probe .width .title .noprint .wave .text .notes .graph"
SETTINGS = ".option .options .opt .temp .temperature .tnom .distribution .aliases .endaliases .backanno"
LEFT_OUT = frozenset(f"{ANALYSES} {OUTPUTS} {SETTINGS}".split())
MARKS = (".end", ".lib", ".endl", ".protect", ".unprotect", ".prot", ".unprot")  # of the file, or of parts of it
ADVICE = {
    ".control": "commands do not belong to a circuit; remove everything up to .endc",
    ".include": "text that is given as such includes no files; put the file's text in its place, or read the library "
    "from its file",
}
LEFT_OUT_COMMENT = "* left out: "
# ngspice takes these for its own quantities wherever they stand in an expression, whatever a library calls by the name.
TAKEN_NAMES = {"temper": "the temperature", "time": "the time of the analysis", "hertz": "the frequency"}
PLAIN = re.compile(r"[A-Za-z0-9_]+", re.ASCII)
NAME = re.compile(r"[^\s=(){},'\"]{1,200}", re.ASCII)
LETTER_FOR_POINT = re.compile(r"(\d+)(meg|[kmgtunpr])(\d+)", re.IGNORECASE)
PSPICE_WORDS = re.compile(r"(?<![\w.])if\s*\(|(?<=\s)[vi]switch\b", re.IGNORECASE)
POINT_BEFORE = r"\1.\3\2"
EXPRESSION = re.compile(r"\{[^{}]*\}|'[^']*'")


@final
@dataclass(frozen=True)
class Interface:
    """Pins of a subcircuit, and its parameters in lower case."""

    pins: tuple[str, ...]
    parameters: tuple[str, ...]


@final
@dataclass(frozen=True)
class Card:
    """One card: where it stands, its text with continuation lines joined, and the subcircuits around it."""

    place: str
    text: str
    scope: tuple[str, ...]

    @property
    def word(self) -> str:
        """The first word, in lower case."""
        return self.text.split(maxsplit=1)[0].lower()


@final
@dataclass(frozen=True)
class Library:
    """What a library defines.

    Attributes:
        text: that may stand in a deck.
        cards: of that text.
        interfaces: of the subcircuits at its top, by name in lower case; the names are plain words.
        plain_names: the plain word for each name of a subcircuit, both in lower case.
    """

    text: str
    cards: tuple[Card, ...]
    interfaces: dict[str, Interface]
    plain_names: dict[str, str]

    @property
    def names(self) -> frozenset[str]:
        """Plain names, in lower case, of all its subcircuits, inner ones too."""
        return frozenset(self.plain_names.values())

    @property
    def left_out(self) -> tuple[str, ...]:
        """The cards that were left out."""
        lines = split_lines(self.text)
        return tuple(line[len(LEFT_OUT_COMMENT) :] for line in lines if line.startswith(LEFT_OUT_COMMENT))


def read_library(lines: Iterable[tuple[str, str]], dialect: str = "") -> Library:
    """Read places and lines of a library, in one of ngspice's dialects.

    Raises:
        DeviceError: the library holds something else than circuits; the text says where, what and what to do.
    """
    out, drafts = drafts_of(lines, dialect)
    plain = _plain_names(drafts)
    has_sections = any(draft.text.split()[0].lower() == ".endl" for draft in drafts)
    found: dict[str, Interface] = {}
    cards: list[Card] = []
    scope: list[str] = []
    section, sections = "", {}
    gone: set[int] = set()
    for draft in drafts:
        text = _translated(draft, scope, plain, dialect, has_sections)
        if text != draft.text:
            out[draft.lines[0]] = text
            gone |= set(draft.lines[1:])
        if text.startswith("*"):
            words = draft.text.lower().split()
            section = {".lib": words[-1], ".endl": ""}.get(words[0], section)
            continue
        card = Card(draft.place, text, tuple(scope))
        cards.append(card)
        sections[draft.place] = section
        _require_own_names(card)
        if card.word == ".subckt":
            name, interface = _interface(card)
            if not scope and name in found:
                raise DeviceError(
                    f"{draft.place}: a second subcircuit of the name {name}; remove or rename one of them"
                )
            if not scope:
                found[name] = interface
            scope.append(name)
        elif card.word == ".ends":
            if not scope:
                raise DeviceError(f"{draft.place}: .ends without .subckt; remove it")
            scope.pop()
    if scope:
        raise DeviceError(f"the last .subckt has no .ends: {scope[-1]} does not end")
    _require_one_section(cards, sections)
    _require_dialect(cards, dialect)
    text = "".join(f"{line}\n" for number, line in enumerate(out) if number not in gone)
    return Library(text, tuple(cards), found, plain)


def _plain_names(drafts: Sequence[Draft]) -> dict[str, str]:
    """A plain word for each name of a subcircuit: with parameters, ngspice finds no other names."""
    names = [
        words[1].lower()
        for words in (re.split(r"[\s(,]+", draft.text) for draft in drafts)
        if words[0].lower() in (".subckt", ".macro") and len(words) > 1
    ]
    taken = {name for name in names if PLAIN.fullmatch(name)}
    plain: dict[str, str] = {name: name for name in taken}
    for name in names:
        if name not in plain:
            word = re.sub(r"\W", "_", name, flags=re.ASCII)
            while word in taken:
                word += "_"
            taken.add(word)
            plain[name] = word
    return plain


def _translated(draft: Draft, scope: Sequence[str], plain: dict[str, str], dialect: str, sections: bool) -> str:
    """A card as it may stand in a deck, or a comment that says what was left out."""
    first, *rest = draft.text.split(maxsplit=1)
    word = SYNONYMS.get(first.lower(), first.lower())
    if not word.startswith("."):
        return _element(draft, scope, plain, dialect)
    if word in OF_NODES and scope:
        return draft.text
    if word in MARKS and (word != ".lib" or sections):
        return f"* {draft.text}"
    if word in OF_NODES or word in LEFT_OUT:
        return f"{LEFT_OUT_COMMENT}{draft.text}"
    if word not in CIRCUIT:
        raise DeviceError(
            f"{draft.place}: a library may hold {', '.join(CIRCUIT)} and elements, got {word!r}; "
            f"{ADVICE.get(word, 'remove the card, or say in elements what it does')}"
        )
    text = " ".join((word, *rest)) if word != first.lower() else draft.text
    if word in (".param", ".subckt"):
        _require_points(draft.place, re.findall(r"=\s*(\w+)", EXPRESSION.sub("0", text)), False)
    if word == ".ends" and rest and not PLAIN.fullmatch(rest[0]):
        text = f".ends {plain.get(rest[0].lower(), '')}".rstrip()
    return _subcircuit_card(text, plain) if word == ".subckt" else text


def _element(draft: Draft, scope: Sequence[str], plain: dict[str, str], dialect: str) -> str:
    """An element as it may stand in a deck."""
    text, letter = draft.text, draft.text[0].lower()
    if not scope or not letter.isalpha():
        raise DeviceError(
            f"{draft.place}: an element stands within .subckt and .ends, got {text[:40]!r}; remove it, put an "
            "asterisk before it if it is a comment, or a plus sign if the card above goes on"
        )
    if letter in "rclvi":
        _require_points(draft.place, re.split(r"[\s=]+", text)[3:], letter in "rc" and dialect == "lt")
    if letter == "x":
        words = {word.lower() for word in re.split(r"[\s(),]+", text)}
        for name in words & {name for name, word in plain.items() if name != word}:
            text = re.sub(rf"(?<![^\s(),]){re.escape(name)}(?![^\s(),])", plain[name], text, flags=re.IGNORECASE)
    return in_plain_words(draft.place, text) if dialect == "lt" else text


def _require_points(place: str, words: Sequence[str], understood: bool) -> None:
    """Raise where a value has a letter for its decimal point, which ngspice knows of few elements in one dialect."""
    short = next((word for word in words if LETTER_FOR_POINT.fullmatch(word)), None)
    if short and not understood:
        raise DeviceError(
            f"{place}: {short} has a letter for its decimal point, and ngspice drops what follows it; write "
            f"{LETTER_FOR_POINT.sub(POINT_BEFORE, short)}"
        )


def _subcircuit_card(text: str, plain: dict[str, str]) -> str:
    """A `.subckt` card with a plain name and without what another simulator fills in by itself."""
    bare = re.sub(r"(?i)\boptional:.*?(?=\bparams:|\btext:|$)|\btext:.*?(?=\bparams:|$)", "", text).strip()
    words = bare.split()
    name = re.split(r"[(,]", words[1])[0] if len(words) > 1 else ""
    word = plain.get(name.lower(), name)
    return bare if not name or word == name.lower() else re.sub(re.escape(name), word, bare, count=1)


def _interface(card: Card) -> tuple[str, Interface]:
    """Name, pins and parameters of a `.subckt` card."""
    spaced = EXPRESSION.sub("0", card.text)  # an expression may hold anything
    words = re.sub(r"[\s(),]+", " ", re.sub(r"\s*=\s*", "=", spaced)).split()[1:]
    pins = []
    for word in words[1:]:
        if "=" in word or word.lower() == "params:":
            break
        pins.append(word)
    if (
        not words
        or not PLAIN.fullmatch(words[0])
        or not all(map(NAME.fullmatch, pins))
        or any("$" in pin for pin in pins)
    ):
        raise DeviceError(
            f"{card.place}: .subckt NAME PIN ... [PARAMETER=VALUE ...] with plain names, got {card.text!r}"
        )
    parameters = re.findall(r"(?<!\S)(\w+)=", " ".join(words[1 + len(pins) :]))
    return words[0].lower(), Interface(tuple(pins), tuple(match.lower() for match in parameters))


def _require_own_names(card: Card) -> None:
    """Raise where a card defines a name that ngspice takes for a quantity of its own."""
    if card.word in (".subckt", ".param", ".func"):
        for name in re.findall(r"(\w+)\s*=(?!=)", card.text) + re.findall(r"\(([^()]*)\)\s*[={]", card.text):
            for part in re.split(r"\W+", name.lower()):
                if part in TAKEN_NAMES:
                    raise DeviceError(
                        f"{card.place}: ngspice takes {part} for {TAKEN_NAMES[part]} wherever it stands, "
                        f"got a parameter of this name in {card.text[:60]!r}; call it something else"
                    )


def _require_dialect(cards: Sequence[Card], dialect: str) -> None:
    """Raise where a library has words that ngspice knows in the dialect of PSpice alone."""
    own = {name for card in cards if card.word == ".func" for name in defined_names(card)}
    for card in () if dialect == "psa" else cards:
        found = PSPICE_WORDS.search(card.text)
        if found and card.word not in (".if", ".elseif") and found[0].lower().rstrip("( \t") not in own:
            raise DeviceError(
                f"{card.place}: ngspice knows {found[0]!r} in the dialect of PSpice alone, got {card.text[:60]!r}; say "
                "compat = 'psa', or write a condition as a ? b : c and a switch as .model NAME SW(...)"
            )


def _require_one_section(cards: Sequence[Card], sections: Mapping[str, str]) -> None:
    """Raise where two sections of a library define the same thing."""
    seen: dict[tuple[str, str], str] = {}
    for card in cards:
        if card.scope or card.word not in (".param", ".model", ".func"):
            continue
        for name in defined_names(card):
            first = seen.setdefault((card.word, name), sections.get(card.place, ""))
            if first != sections.get(card.place, ""):
                raise DeviceError(
                    f"{card.place}: the sections {first or '(none)'} and {sections[card.place]} both define {name}; "
                    "keep one of them in the file"
                )


def defined_names(card: Card) -> tuple[str, ...]:
    """Names, in lower case, that a `.param`, `.func` or `.model` card defines."""
    rest = card.text.split(maxsplit=1)[1] if " " in card.text or "\t" in card.text else ""
    if card.word == ".param":
        return tuple(
            re.findall(r"(\w+)\s*=(?!=)", re.sub(r"\([^()]*\)(?=\s*=)", "", EXPRESSION.sub("0", rest.lower())))
        )
    return tuple(re.findall(r"^[^\s(=]+", rest.lower()))
