"""The deck of a user as the resident simulator needs it, and as a person can run it: two rewritings of the same text.

This is also where names are checked: whatever comes from outside reaches the simulator as cards of a deck, never as
part of a command, and the names that stand in vector names are plain words.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence

from xbar_spice.errors import InvalidInputError
from xbar_spice.hardware.subcircuit.text import split_lines

__all__ = [
    "IMAGINARY_GAIN",
    "REAL_GAIN",
    "SWEPT_SOURCE",
    "checked_nodes",
    "checked_sources",
    "paired_cards",
    "resident_cards",
    "resistive",
    "single_cards",
    "with_volts",
]

SWEPT_SOURCE = "vxbar_point"
REAL_GAIN, IMAGINARY_GAIN = "exbar_real", "exbar_imaginary"  # and the number of the source that they stand for

SOURCE_NAME = re.compile(r"[Vv][A-Za-z0-9_]{1,100}", re.ASCII)
NODE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,100}", re.ASCII)

# What a deck asks to be saved gives way to what the engine wants, and what it asks to be analysed to its own sweep.
SAVE_CARDS = frozenset((".save", ".print", ".plot", ".probe", ".four", ".meas", ".measure", ".end"))
ANALYSIS_CARDS = SAVE_CARDS | {".op", ".dc", ".tran", ".ac", ".tf", ".noise", ".pz", ".sens", ".disto"}
COMMAND_CARDS = frozenset((".control", ".endc"))
PLAIN_CARDS = ANALYSIS_CARDS | {".subckt", ".ends", ".option", ".options"}
PLAIN_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?[a-z]*", re.IGNORECASE | re.ASCII)


def checked_sources(names: Sequence[str]) -> tuple[str, ...]:
    """Names of voltage sources, each a plain word and none twice (SPICE ignores case).

    Raises:
        InvalidInputError: a name is anything else.
    """
    for name in names:
        if not SOURCE_NAME.fullmatch(name):
            raise InvalidInputError(
                f"the name of a voltage source is V and then letters, digits or underscores, got {name!r}"
            )
    if len({name.lower() for name in names}) < len(names):
        raise InvalidInputError("two voltage sources of a deck have the same name")
    return tuple(names)


def checked_nodes(names: Sequence[str]) -> tuple[str, ...]:
    """Names of nodes, each a plain word.

    Raises:
        InvalidInputError: a name is anything else.
    """
    for name in names:
        if not NODE_NAME.fullmatch(name):
            raise InvalidInputError(
                f"the name of a node is a letter and then letters, digits or underscores, got {name!r}"
            )
    return tuple(names)


def resident_cards(deck: str, sources: Sequence[str], points: int, nodes: Sequence[str] = ()) -> list[str]:
    """The deck with its sources driven from outside and one sweep of `points` solutions as its analysis.

    Elements, models and options stay as they are. Currents of the sources and voltages of the nodes are kept. The
    swept source is connected to nothing that matters.

    Raises:
        InvalidInputError: a source is not in the deck, or the deck holds commands.
    """
    names = checked_sources(sources)
    # `external` is known to the shared library alone; ngspice asks for such a voltage at every iteration.
    lines = [*_rewritten(deck, dict.fromkeys(names, "external"), without=ANALYSIS_CARDS)]
    lines += [f"{SWEPT_SOURCE} xbar_point 0 0", "rxbar_point xbar_point 0 1", *_saved(names, nodes)]
    return [*lines, f".dc {SWEPT_SOURCE} 0 {points - 1} 1", ".end"]


def single_cards(deck: str, sources: Sequence[str], nodes: Sequence[str] = ()) -> list[str]:
    """The deck as it is, with sources of 0 V; of what it asks for nothing is saved but currents and voltages.

    Raises:
        InvalidInputError: as for `resident_cards`.
    """
    names = checked_sources(sources)
    lines = _rewritten(deck, dict.fromkeys(names, "DC 0"), without=SAVE_CARDS)
    return [*lines, *_saved(names, nodes), ".end"]


def _saved(names: Sequence[str], nodes: Sequence[str]) -> list[str]:
    # One vector a card: a list that is too long for a line is cut silently, and then everything is saved.
    return [f".save i({name})" for name in names] + [f".save v({node})" for node in checked_nodes(nodes)]


def resistive(deck: str, sources: Sequence[str]) -> bool:
    """Whether a deck holds nothing but resistors of plain values, these sources, and subcircuits of such.

    Then it is linear whatever is done to it, and its currents depend on these sources alone. Anything that would need
    a closer look counts as something else.
    """
    driven, depth = {name.lower() for name in sources}, 0
    for line in split_lines(deck)[1:]:
        words = line.lower().split()
        word = words[0] if words else "*"
        if word[0] in "*+x":  # a resistor or a source that goes on in a second line fails by its first one
            continue
        depth += (word == ".subckt") - (word == ".ends")
        if word[0] == "r" and len(words) == 4 and PLAIN_NUMBER.fullmatch(words[3]):
            continue
        if not (word in PLAIN_CARDS or (depth == 0 and word in driven)):
            return False
    return True


def paired_cards(deck: str, sources: Sequence[str], points: int, nodes: Sequence[str] = ()) -> list[str]:
    """A resistive deck as `.ac` analysis, in which a point carries one vector as real part and one as imaginary part.

    In the place of source k stand two in series, `exbar_real<k>` and `exbar_imaginary<k>`, whose gains are its two
    voltages. The current of the first one is that of the source.

    Raises:
        InvalidInputError: as for `resident_cards`.
    """
    numbers = {name.lower(): k for k, name in enumerate(checked_sources(sources))}
    title, *body = _rewritten(deck, dict.fromkeys(sources, ""), without=ANALYSIS_CARDS)
    lines = [title]
    for line in body:
        name, *nodes_of_it = line.split()[:3] or ("",)
        k = numbers.pop(name.lower(), None)
        if k is None or len(nodes_of_it) < 2:
            lines.append(line)
            continue
        first, second = nodes_of_it
        lines.append(f"{REAL_GAIN}{k} {first} xbar_between{k} xbar_one 0 0")
        lines.append(f"{IMAGINARY_GAIN}{k} xbar_between{k} {second} xbar_i 0 0")
    # cos(90 degrees) is not quite 0 in floating point; a source in series takes off what is left, so that the two
    # vectors of a point do not see each other at all.
    rest = math.cos(math.pi * 90 / 180)
    lines += ["vxbar_one xbar_one 0 DC 0 AC 1 0"]
    lines += ["vxbar_90 xbar_90 0 DC 0 AC 1 90", f"vxbar_rest xbar_i xbar_90 DC 0 AC {-rest:.17g} 0"]
    # Conductance at these nodes lets KLU match each of them with its own equation. Otherwise its maximum matching may
    # reach through the array and leave the diagonal: then solutions are slower, and wrong by 1e-8 in place of 1e-13.
    lines += [f"rxbar_{node} xbar_{node} 0 1" for node in ("one", "90", "i")]
    lines += _saved([f"{REAL_GAIN}{k}" for k in range(len(sources))], nodes)
    return [*lines, f".ac lin {points} 1 {points}", ".end"]


def with_volts(deck: str, sources: Sequence[str], volts: Sequence[float]) -> str:
    """The deck with these voltages at its sources: plain SPICE for a reader who wants to see a read fail."""
    tails = {name: f"DC {value:.17g}" for name, value in zip(checked_sources(sources), volts, strict=True)}
    return "\n".join(_rewritten(deck, tails)) + "\n"


def _rewritten(deck: str, tails: Mapping[str, str], without: frozenset[str] = frozenset()) -> Iterator[str]:
    """The lines of a deck with another tail behind name and nodes of some sources, and without some cards."""
    title, *lines = split_lines(deck) or [""]
    yield title
    missing = {name.lower(): tail for name, tail in tails.items()}
    depth, dropped = 0, False  # subcircuits entered; whether continuation lines go the way of their card
    for line in lines:
        word = line.split(maxsplit=1)[0].lower() if line.strip() else ""
        if word.startswith("+"):
            if not dropped:
                yield line
            continue
        depth += (word == ".subckt") - (word == ".ends")
        if word in COMMAND_CARDS:
            raise InvalidInputError(f"the ngspice engine takes decks without commands, got {line.strip()!r}")
        dropped = depth == 0 and (word in without or word in missing)
        if depth == 0 and word in missing:
            yield " ".join((*line.split()[:3], missing.pop(word)))
        elif not dropped:
            yield line
    if missing:
        raise InvalidInputError(f"the deck has no voltage source {', '.join(sorted(missing)[:3])} outside subcircuits")
