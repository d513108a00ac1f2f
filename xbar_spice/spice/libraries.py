"""The libraries that a deck needs: those of its cells and of its op-amps, the user's own among them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

from xbar_spice.errors import InvalidInputError
from xbar_spice.hardware.amplifier import Amplifier
from xbar_spice.hardware.behind_via import BehindVia
from xbar_spice.hardware.cells import Device, SubcircuitCell
from xbar_spice.hardware.crossbar import Crossbar
from xbar_spice.hardware.subcircuit import Subcircuit
from xbar_spice.hardware.subcircuit.apart import Placed, kept_apart
from xbar_spice.hardware.subcircuit.definition import COMPAT, parsed
from xbar_spice.hardware.subcircuit.used import used_part
from xbar_spice.hardware.verilog_a import VerilogACell
from xbar_spice.spice.resources import search_path

__all__ = [
    "LOADER",
    "behaviour",
    "by_hand",
    "cell_templates",
    "compiled_libraries",
    "libraries",
    "loader",
    "opamp_subcircuit",
    "verilog_a_cells",
]

LOADER = "load.sp"
"""The file that has ngspice load compiled libraries before a deck."""

# What means something else in a mode of ngspice than without one: powers of negative numbers, and the node gnd.
CHANGES_MEANING = re.compile(r"\^|\*\*|\bpow\s*\(|\bpwrs?\s*\(|\bgnd\b", re.IGNORECASE)


def cell_templates(devices: Iterable[Device]) -> list[str]:
    """The templates that write these cells, and those of cells behind vias, each once."""
    found: set[str] = set()
    for device in devices:
        found.add(device.template)
        if isinstance(device, BehindVia):
            found.update(cell_templates([device.cell]))
    return sorted(found)


def libraries(crossbars: Sequence[Crossbar], names: Sequence[str]) -> list[str]:
    """The text of every library that the arrays need, each once and with names of its own.

    Raises:
        InvalidInputError: one deck would have two subcircuits of one name, or libraries of two dialects.
    """
    found, own = _subcircuits(crossbars), _of_users(crossbars)
    mode = behaviour(crossbars)
    by_text = {subcircuit.library: subcircuit for subcircuit in found}
    wrappers = {subcircuit.wrapper: subcircuit for subcircuit in found if subcircuit.wrapper}
    taken = [name.lower() for name in names] + [name for one in by_text.values() for name in one.defined]
    taken += [name for one in wrappers.values() for name in one.wrapped]
    twice = sorted({name for name in taken if taken.count(name) > 1} - {""})
    if twice:
        raise InvalidInputError(
            f"a deck can hold one subcircuit of a name, and its libraries and arrays have two {twice[0]!r}; rename one"
        )
    given = _given(crossbars)
    texts = kept_apart([Placed(text, one.compat, given.get(text, frozenset())) for text, one in by_text.items()])
    texts = [_used(text, one, found) if one in own else text for text, one in zip(texts, by_text.values(), strict=True)]
    texts += wrappers
    texts += _model_cards(crossbars)
    said = f"* for a dialect of SPICE: run this deck by hand with {by_hand(mode)} DECK\n"
    return [said + text if mode and not number else text for number, text in enumerate(texts)]


def behaviour(crossbars: Sequence[Crossbar]) -> str:
    """The mode that ngspice needs for the libraries of the arrays (its variable `ngbehavior`); empty for none.

    A mode is one for a whole deck. Libraries without a dialect mean the same in all of them, as long as they hold no
    powers.

    Raises:
        InvalidInputError: two libraries need two modes.
    """
    found = _subcircuits(crossbars)
    dialects = {subcircuit.compat: subcircuit.name for subcircuit in found if subcircuit.compat}
    if len(dialects) > 1:
        (one, first), (other, second) = list(dialects.items())[:2]
        raise InvalidInputError(
            f"ngspice reads a deck in one dialect, and the library of {first} has compat={one!r}, that of {second} "
            f"compat={other!r}; write one of them in the dialect of the other, or in ngspice's own"
        )
    if not dialects:
        return ""
    ((dialect, name),) = dialects.items()
    for subcircuit in found:
        code = "" if subcircuit.compat else " ".join(card.text for card in parsed(subcircuit.library).cards)
        if changed := CHANGES_MEANING.search(code):
            raise InvalidInputError(
                f"the library of {name} has compat={dialect!r}, in which ngspice takes {changed[0]!r} for something "
                f"else than without it, and the library of {subcircuit.name} holds it and says no compat; write "
                f"powers as products and gnd as 0, or say compat={dialect!r} there if it is meant so"
            )
    return COMPAT[dialect]


def by_hand(mode: str, loads: str = "") -> str:
    """The command that runs decks of this mode of ngspice.

    Args:
        mode: as `behaviour` says it.
        loads: path of the file that loads the deck's compiled libraries; empty for none.

    Example:
        >>> by_hand(""), by_hand("psa"), by_hand("", "load.sp")
        ('ngspice -b', 'ngspice -D ngbehavior=psa -b', 'ngspice -b load.sp')
    """
    command = f"ngspice -D ngbehavior={mode} -b" if mode else "ngspice -b"
    return f"{command} {loads}" if loads else command


def compiled_libraries(crossbars: Sequence[Crossbar]) -> tuple[Path, ...]:
    """The compiled libraries of Verilog-A cells that ngspice has to load before the deck of some arrays, each once."""
    return tuple(dict.fromkeys(cell.library for cell in verilog_a_cells(crossbars)))


def verilog_a_cells(crossbars: Sequence[Crossbar]) -> list[VerilogACell]:
    """The Verilog-A cells of some arrays, those behind vias too, each once."""
    devices = (x.device.cell if isinstance(x.device, BehindVia) else x.device for x in crossbars)
    return list(dict.fromkeys(device for device in devices if isinstance(device, VerilogACell)))


def loader(paths: Sequence[Path]) -> str:
    """Text of a file that goes before a deck, so that ngspice loads compiled libraries first."""
    commands = "".join(f"pre_osdi {path}\n" for path in paths)
    return f"* loads the compiled Verilog-A modules of a deck: {by_hand('', LOADER)} DECK\n.control\n{commands}.endc\n"


def _model_cards(crossbars: Sequence[Crossbar]) -> list[str]:
    """The model card of each kind of Verilog-A cell."""
    return [
        f"* {cell.module} in Verilog-A: run this deck by hand with {by_hand('', LOADER)} DECK, where {LOADER} says\n"
        f"* pre_osdi and the path of the compiled module; xbar-spice netlist writes both\n"
        f".model {cell.model} {cell.card()}\n"
        for cell in verilog_a_cells(crossbars)
    ]


def _given(crossbars: Sequence[Crossbar]) -> dict[str, frozenset[str]]:
    """Names, in lower case, of the parameters that elements of the deck give to subcircuits, for each library."""
    given: dict[str, frozenset[str]] = {}
    for subcircuit in _subcircuits(crossbars):
        names = {name.lower() for name, _ in subcircuit.parameters} | set(
            re.findall(r"(\w+)=", subcircuit.wrapper.lower())
        )
        given[subcircuit.library] = given.get(subcircuit.library, frozenset()) | names
    for crossbar in crossbars:
        if isinstance(crossbar.device, SubcircuitCell):
            library = crossbar.device.subcircuit.library
            given[library] |= {crossbar.device.setting(1.0)[0].lower()}
    return given


def _used(text: str, library: Subcircuit, found: Sequence[Subcircuit]) -> str:
    """The part of a library that the subcircuits of a deck need."""
    wanted = [one.name.lower() for one in found if one.library == library.library]
    wrapped = [word for one in found if one.library == library.library for word in one.wrapper.lower().split()]
    return used_part(text, library.compat, {*wanted, *wrapped})


def _of_users(crossbars: Sequence[Crossbar]) -> list[Subcircuit]:
    """The subcircuits from libraries of users; the shipped library of op-amps explains itself as a whole."""
    cells = [subcircuit for crossbar in crossbars for subcircuit in crossbar.device.subcircuits]
    return cells + [opamp for crossbar in crossbars if (opamp := crossbar.amplifier.opamp) is not None]


def _subcircuits(crossbars: Sequence[Crossbar]) -> list[Subcircuit]:
    """All subcircuits that elements of the arrays are instances of."""
    found = [subcircuit for crossbar in crossbars for subcircuit in crossbar.device.subcircuits]
    return found + [opamp_subcircuit(crossbar.amplifier) for crossbar in crossbars if crossbar.amplifier.present]


@lru_cache
def opamp_subcircuit(amplifier: Amplifier) -> Subcircuit:
    """The user's own op-amp, or the one of the shipped library that has the gain and the limits of this one."""
    if amplifier.opamp is not None:
        return amplifier.opamp
    library = search_path("models")[0] / "opamp.lib"
    if amplifier.saturation is None:
        return Subcircuit.from_file(library, "opamp_linear", {"gain": amplifier.gain})
    return Subcircuit.from_file(library, "opamp", {"gain": amplifier.gain, "vsat": amplifier.saturation})
