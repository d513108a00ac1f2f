"""Crossbars as SPICE decks.

Every connected end of a line is a voltage source behind its resistance: drivers carry the drive voltage and sense
terminals 0 V, so that the current of a sense source is the result of the read. Where the lines are sensed by
amplifiers, the result is the voltage of their outputs. A deck is plain SPICE (elements, models, subcircuits, `.op`,
`.save`, `.end`) and runs by hand with `ngspice -b`; it holds a copy of every library that it needs.

Names count from 0, as the matrices do: word line 3 meets bit line 7 between the nodes w3_7 and b3_7.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

import numpy as np
from numpy.typing import ArrayLike

from xbar_spice.checks import Array, checked
from xbar_spice.errors import InvalidInputError
from xbar_spice.hardware.cells import Device
from xbar_spice.hardware.crossbar import SIDES, Connection, Crossbar, Edge, Hookup, Side
from xbar_spice.linear.operator import FloatArray
from xbar_spice.spice.libraries import behaviour, libraries, opamp_subcircuit
from xbar_spice.spice.render import render
from xbar_spice.spice.tolerances import newton_options

__all__ = [
    "Deck",
    "Terminal",
    "array_deck",
    "array_variables",
    "bank_deck",
    "drive_volts",
    "line_nodes",
    "netlist",
    "one_solution",
]

TRIED_VOLTS = np.linspace(-1.0, 1.0, 81)

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*", re.ASCII)


@final
@dataclass(frozen=True)
class Terminal:
    """One connected end of one line: where it is and what stands there.

    Attributes:
        array: number of the array.
        edge: where the line ends.
        line: number of the line.
        source: name of the voltage source; empty where an amplifier stands.
        volts: of the source.
        output: node of the amplifier's output; empty where a source stands.
        r_feedback: ohm of the amplifier's feedback resistor.
    """

    array: int
    edge: Edge
    line: int
    source: str
    volts: float
    output: str = ""
    r_feedback: float = 0.0

    @property
    def side(self) -> Side:
        """The side that the line belongs to."""
        return Connection(self.edge, 0.0).side

    @property
    def result(self) -> str:
        """What SPICE prints for it: its current, positive into the terminal, or the amplifier's output voltage."""
        return f"v({self.output.lower()})" if self.output else f"i({self.source.lower()})"

    @property
    def amperes_per_result(self) -> float:
        """What turns the result into the current that the read returns."""
        return -1.0 / self.r_feedback if self.output else 1.0


@final
@dataclass(frozen=True)
class Deck:
    """A complete SPICE deck and the names in it.

    Attributes:
        text: the deck.
        terminals: the connected ends of the lines.
        unique: whether it has one solution at most, as far as is known.
        behaviour: the mode that ngspice needs for the dialect of its libraries; empty for none.
    """

    text: str
    terminals: tuple[Terminal, ...]
    unique: bool = True
    behaviour: str = ""
    _by_edge: dict[tuple[int, Edge], tuple[Terminal, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        by_edge: dict[tuple[int, Edge], list[Terminal]] = {}
        for terminal in self.terminals:
            by_edge.setdefault((terminal.array, terminal.edge), []).append(terminal)
        object.__setattr__(self, "_by_edge", {key: tuple(found) for key, found in by_edge.items()})

    def at(self, array: int, edge: Edge) -> tuple[Terminal, ...]:
        """Terminals at an edge of an array, in the order of its lines; none if the edge is open."""
        return self._by_edge.get((array, edge), ())

    def sources(self, array: int, edge: Edge) -> tuple[str, ...]:
        """Names of the voltage sources there."""
        return tuple(terminal.source for terminal in self.at(array, edge) if terminal.source)


@checked()
def netlist(
    crossbar: Crossbar,
    drive: ArrayLike | None = None,
    side: Side = "rows",
    *,
    title: str = "memristor crossbar",
    comments: Mapping[str, object] | None = None,
    netlists: Sequence[Path] = (),
) -> str:
    """The SPICE deck of one read of one array.

    Args:
        crossbar: the array.
        drive: (ports,) volts at the driven side; 0 V everywhere when left out.
        side: the driven side.
        title: first line of the deck.
        comments: more to say at the head of the deck, such as where the weights come from.
        netlists: folders of the user's own templates, searched first.

    Returns:
        Text that `ngspice -b` runs as it is; it prints the current of every sense terminal.

    Raises:
        InvalidInputError: a drive of the wrong shape, or a broken template.
    """
    return array_deck(crossbar, drive, side, title=title, comments=comments, netlists=netlists).text


def array_deck(
    crossbar: Crossbar,
    drive: ArrayLike | None = None,
    side: Side = "rows",
    *,
    title: str = "memristor crossbar",
    comments: Mapping[str, object] | None = None,
    netlists: Sequence[Path] = (),
) -> Deck:
    """As `netlist`, with the names of the sources beside the text."""
    return _deck("array.cir.j2", [crossbar], [""], [drive], side, title, comments, netlists)


def bank_deck(
    crossbars: Sequence[Crossbar],
    side: Side = "rows",
    *,
    drives: Sequence[ArrayLike | None] | None = None,
    names: Sequence[str] | None = None,
    title: str = "bank of memristor crossbars",
    comments: Mapping[str, object] | None = None,
    netlists: Sequence[Path] = (),
) -> Deck:
    """One deck for arrays that are read together, each a subcircuit.

    Args:
        crossbars: the arrays.
        side: the driven side of all of them.
        drives: (ports,) volts for each array; 0 V when left out.
        names: a name for each array, letters, digits and underscores; a0, a1, ... when left out.
        title: first line of the deck.
        comments: more to say at the head of the deck.
        netlists: folders of the user's own templates, searched first.

    Raises:
        InvalidInputError: a name of another form, a drive of the wrong shape, or a broken template.
    """
    names = [f"a{index}" for index in range(len(crossbars))] if names is None else names
    for name in names:
        if not _NAME.fullmatch(name):
            raise InvalidInputError(
                f"the name of an array is a letter and then letters, digits or underscores, got {name!r}"
            )
    drives = [None] * len(crossbars) if drives is None else drives
    return _deck("bank.cir.j2", crossbars, names, drives, side, title, comments, netlists)


def one_solution(crossbars: Sequence[Crossbar]) -> bool:
    """Whether a circuit of these arrays has one solution at most: no current falls while its voltage rises.

    Nobody knows that of subcircuits of the user's own. Laws are tried at voltages that reads have.
    """
    return not any(
        (crossbar.amplifier.present and crossbar.amplifier.opamp) or _falls(crossbar.device, crossbar.conductance)
        for crossbar in crossbars
    )


def _falls(device: Device, conductance: FloatArray) -> bool:
    if device.linear or not device.known:
        return not device.linear
    few = np.quantile(conductance, np.linspace(0, 1, 17), method="nearest")
    with np.errstate(all="ignore"):  # a slope beyond all numbers is none below zero
        return any((device.differential_conductance(few, np.full_like(few, volt)) < 0).any() for volt in TRIED_VOLTS)


def line_nodes(crossbar: Crossbar, side: Side = "rows") -> tuple[list[list[str]], list[list[str]]]:
    """Names of the nodes at each cell in the deck of one array: word-line ends and bit-line ends, both (rows, cols)."""
    hookup, (rows, cols) = crossbar.hookup(side), crossbar.shape
    word, bit = (_ideal_line_node(crossbar, hookup, lines) for lines in SIDES)
    return (
        [[f"w{i}_{j}" if crossbar.r_word > 0 else f"{word}{i}" for j in range(cols)] for i in range(rows)],
        [[f"b{i}_{j}" if crossbar.r_bit > 0 else f"{bit}{j}" for j in range(cols)] for i in range(rows)],
    )


def _deck(
    template: str,
    crossbars: Sequence[Crossbar],
    names: Sequence[str],
    drives: Sequence[ArrayLike | None],
    side: Side,
    title: str,
    comments: Mapping[str, object] | None,
    netlists: Sequence[Path],
) -> Deck:
    arrays = [
        array_variables(index, name, crossbar, drive_volts(crossbar, drive, side), side)
        for index, (name, crossbar, drive) in enumerate(zip(names, crossbars, drives, strict=True))
    ]
    variables = {
        "title": title,
        "comments": dict(comments or {}),
        "side": side,
        "arrays": arrays,
        "cell_templates": sorted({crossbar.device.template for crossbar in crossbars}),
        "libraries": libraries(crossbars, names),
        "options": newton_options(crossbars),
        "amplified": any(crossbar.amplifier.present for crossbar in crossbars),
    }
    terminals = tuple(terminal for array in arrays for terminal in array["terminals"])  # type: ignore[attr-defined]
    text = render(template, variables, netlists=netlists)
    return Deck(text, terminals, unique=one_solution(crossbars), behaviour=behaviour(crossbars))


def drive_volts(crossbar: Crossbar, drive: ArrayLike | None, side: Side) -> FloatArray:
    """(ports,) volts of one read; 0 V everywhere when left out.

    Raises:
        InvalidInputError: a drive of another shape, or not finite.
        DeviceError: voltages beyond what the law of the cells knows.
    """
    ports = crossbar.ports(side)
    volts = np.zeros(ports) if drive is None else Array(finite=False)("drive", drive)
    if volts.shape != (ports,) or not np.isfinite(volts).all():
        raise InvalidInputError(
            f"a deck is one read: side={side!r} of this array takes a finite drive of shape ({ports},), "
            f"got shape {volts.shape}"
        )
    crossbar.require_known_voltages(volts, side)
    return volts


def array_variables(index: int, name: str, crossbar: Crossbar, volts: FloatArray, side: Side) -> dict[str, object]:
    """What the templates may use of one array."""
    hookup = crossbar.hookup(side)
    prefix = f"{name}_" if name else ""

    terminals: list[Terminal] = []
    connections = []
    for driven, group in ((True, hookup.driven), (False, hookup.sensed)):
        for connection in group:
            ends = [
                _terminal(index, prefix, connection, line, float(volts[line]) if driven else 0.0)
                for line in crossbar.connected(connection.side)
            ]
            terminals += ends
            connections.append(
                {
                    "edge": connection.edge,
                    "resistance": connection.resistance,
                    "segment": crossbar.segment_resistance(connection.side),
                    "driven": driven,
                    "opamp": opamp_subcircuit(connection.amplifier) if connection.amplifier else None,
                    "terminals": ends,
                }
            )
    return {
        "name": name,
        "prefix": prefix,
        "rows": crossbar.shape[0],
        "cols": crossbar.shape[1],
        "r_word": crossbar.r_word,
        "r_bit": crossbar.r_bit,
        "r_driver": crossbar.r_driver,
        "r_sense": crossbar.r_sense,
        "word_node": _ideal_line_node(crossbar, hookup, "rows"),
        "bit_node": _ideal_line_node(crossbar, hookup, "cols"),
        "conductance": crossbar.conductance.tolist(),
        "bare_rows": [row for row in crossbar.open_rows if not crossbar.conductance[row].any()],
        "device": crossbar.device,
        "connections": connections,
        "terminals": terminals,
    }


def _terminal(index: int, prefix: str, connection: Connection, line: int, volts: float) -> Terminal:
    end = f"{prefix}{connection.edge}{line}"
    if connection.amplifier is None:
        return Terminal(index, connection.edge, line, f"V{end}", volts)
    return Terminal(index, connection.edge, line, "", 0.0, f"out_{end}", connection.amplifier.r_feedback)


def _ideal_line_node(crossbar: Crossbar, hookup: Hookup, side: Side) -> str:
    """Stem of the node name of lines without wire resistance: that of a terminal which they touch directly."""
    for connection in hookup.driven + hookup.sensed:
        if connection.side == side and connection.resistance == 0:
            return connection.edge
    return "w" if side == "rows" else "b"
