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
from xbar_spice.hardware.biases import Biases, End, require_held, require_resistance
from xbar_spice.hardware.crossbar import EDGE_SIDE, SIDES, Crossbar, Edge, Side
from xbar_spice.hardware.device import Device
from xbar_spice.hardware.gate_lines import GateLines
from xbar_spice.hardware.reads import read_ends, require_known_voltages
from xbar_spice.linear.operator import FloatArray
from xbar_spice.spice.libraries import behaviour, cell_templates, compiled_libraries, libraries, opamp_subcircuit
from xbar_spice.spice.nodes import line_nodes, nodes_of
from xbar_spice.spice.render import number, render
from xbar_spice.spice.tolerances import newton_options

__all__ = [
    "Deck",
    "Terminal",
    "array_deck",
    "array_variables",
    "bank_deck",
    "biased_deck",
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
        resistance: ohm between it and the line.
        segment: ohm of the wire between that and the first cell.
        level: volts at which an amplifier holds the line.
    """

    array: int
    edge: Edge
    line: int
    source: str
    volts: float
    output: str = ""
    r_feedback: float = 0.0
    resistance: float = 0.0
    segment: float = 0.0
    level: float = 0.0

    @property
    def side(self) -> Side:
        """The side that the line belongs to."""
        return EDGE_SIDE[self.edge]

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
        compiled: libraries of Verilog-A modules that ngspice loads before it.
    """

    text: str
    terminals: tuple[Terminal, ...]
    unique: bool = True
    behaviour: str = ""
    compiled: tuple[Path, ...] = ()
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
    drive: ArrayLike | Biases | None = None,
    side: Side = "rows",
    *,
    title: str = "memristor crossbar",
    comments: Mapping[str, object] | None = None,
    netlists: Sequence[Path] = (),
) -> str:
    """The SPICE deck of one array, under a read or under biases.

    Args:
        crossbar: the array.
        drive: (ports,) volts at the driven side of a read, 0 V everywhere when left out; or one set of biases.
        side: the driven side of a read.
        title: first line of the deck.
        comments: more to say at the head of the deck, such as where the weights come from.
        netlists: folders of the user's own templates, searched first.

    Returns:
        Text that `ngspice -b` runs as it is; it prints the current of every terminal.

    Raises:
        InvalidInputError: a drive of the wrong shape, or a broken template.
        SingularCircuitError: biases that leave parts of the array without a terminal.
    """
    return array_deck(crossbar, drive, side, title=title, comments=comments, netlists=netlists).text


def array_deck(
    crossbar: Crossbar,
    drive: ArrayLike | Biases | None = None,
    side: Side = "rows",
    *,
    title: str = "memristor crossbar",
    comments: Mapping[str, object] | None = None,
    netlists: Sequence[Path] = (),
) -> Deck:
    """As `netlist`, with the names of the sources beside the text."""
    if isinstance(drive, Biases):
        if drive.batch is not None:
            raise InvalidInputError(f"a deck has one set of voltages, got a batch of {drive.batch}; take one column")
        return biased_deck(crossbar, drive.ends(crossbar), title=title, comments=comments, netlists=netlists)
    ends = read_ends(crossbar, side, drive_volts(crossbar, drive, side))
    return _deck("array.cir.j2", [crossbar], [""], [ends], side, title, comments, netlists)


def biased_deck(
    crossbar: Crossbar,
    ends: Mapping[Edge, End],
    *,
    title: str = "memristor crossbar under biases",
    comments: Mapping[str, object] | None = None,
    netlists: Sequence[Path] = (),
) -> Deck:
    """The deck of one array with what stands at its ends, at the first of their sets of voltages.

    Raises:
        SingularCircuitError: parts that no terminal holds, or two terminals without resistance between them.
        InvalidInputError: a broken template.
    """
    require_held(ends, crossbar.conductance > 0)
    require_known_voltages(crossbar, ends)
    return _deck("array.cir.j2", [crossbar], [""], [ends], None, title, comments, netlists)


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
    reads = [
        read_ends(crossbar, side, drive_volts(crossbar, drive, side))
        for crossbar, drive in zip(crossbars, drives, strict=True)
    ]
    return _deck("bank.cir.j2", crossbars, names, reads, side, title, comments, netlists)


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


def _deck(
    template: str,
    crossbars: Sequence[Crossbar],
    names: Sequence[str],
    ends: Sequence[Mapping[Edge, End]],
    side: Side | None,
    title: str,
    comments: Mapping[str, object] | None,
    netlists: Sequence[Path],
) -> Deck:
    arrays = [
        array_variables(index, name, crossbar, at_ends, side)
        for index, (name, crossbar, at_ends) in enumerate(zip(names, crossbars, ends, strict=True))
    ]
    variables = {
        "title": title,
        "comments": dict(comments or {}),
        "side": side,
        "arrays": arrays,
        "cell_templates": cell_templates(crossbar.device for crossbar in crossbars),
        "libraries": libraries(crossbars, names),
        "options": newton_options(crossbars),
        "amplified": any(crossbar.amplifier.present for crossbar in crossbars),
    }
    terminals = tuple(terminal for array in arrays for terminal in array["terminals"])  # type: ignore[attr-defined]
    text = render(template, variables, netlists=netlists)
    return Deck(
        text,
        terminals,
        unique=one_solution(crossbars),
        behaviour=behaviour(crossbars),
        compiled=compiled_libraries(crossbars),
    )


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
    require_known_voltages(crossbar, read_ends(crossbar, side, volts))
    return volts


def array_variables(
    index: int, name: str, crossbar: Crossbar, ends: Mapping[Edge, End], side: Side | None
) -> dict[str, object]:
    """What the templates may use of one array.

    Args:
        index: its number.
        name: its name; empty in a flat deck.
        crossbar: the array.
        ends: what stands at every edge; of a batch the first set of voltages.
        side: the driven side of a read; None for other biases.

    Raises:
        SingularCircuitError: two terminals without any resistance between them.
    """
    require_resistance(crossbar, ends)
    if side is None:
        roles: dict[Edge, str] = {edge: "terminals" for edge, end in ends.items() if end.connected.any()}
    else:
        hookup = crossbar.hookup(side)
        roles = dict.fromkeys(hookup.driven, "drivers") | dict.fromkeys(hookup.sensed, "sense terminals")
    prefix = f"{name}_" if name else ""
    segments: dict[Side, list[list[float]]] = {lines: crossbar.segments(lines).tolist() for lines in SIDES}
    terminals: list[Terminal] = []
    connections = []
    for edge, role in roles.items():
        end = ends[edge]
        at_end = 0 if edge in ("left", "top") else -1
        here = [
            _terminal(index, prefix, end, line, segments[end.side][line][at_end])
            for line in np.flatnonzero(end.connected).tolist()
        ]
        terminals += here
        connections.append(
            {
                "edge": edge,
                "role": role,
                "driven": role != "sense terminals",
                "resistive": any(terminal.resistance + terminal.segment > 0 for terminal in here),
                "opamp": opamp_subcircuit(end.amplifier) if end.amplifier else None,
                "terminals": here,
            }
        )
    word, bit = nodes_of(crossbar, ends)
    gates = ends["left"].gates
    lines = None if gates is None else GateLines.beside(crossbar.device, gates)
    bare = ~(ends["left"].connected | ends["right"].connected | crossbar.conductance.any(axis=1))
    return {
        "name": name,
        "prefix": prefix,
        "rows": crossbar.shape[0],
        "cols": crossbar.shape[1],
        "r_word": crossbar.r_word,
        "r_bit": crossbar.r_bit,
        "r_driver": crossbar.r_driver,
        "r_sense": crossbar.r_sense,
        "resistances": _said(crossbar, None if side else ends),
        "word_nodes": word,
        "bit_nodes": bit,
        "word_segments": segments["rows"],
        "bit_segments": segments["cols"],
        "conductance": crossbar.conductance.tolist(),
        "bare_rows": np.flatnonzero(bare).tolist(),
        "device": crossbar.device.read_law,
        "gates": lines.above_threshold[:, 0].tolist() if lines else [],
        "connections": connections,
        "terminals": terminals,
    }


def _said(crossbar: Crossbar, ends: Mapping[Edge, End] | None) -> str:
    """The resistances in words."""
    word, bit = (_span(crossbar.segments(side)) for side in SIDES)
    wires = f"r_word {word} ohm and r_bit {bit} ohm per segment"
    if ends is None:
        return f"{wires}, r_driver {number(crossbar.r_driver)} ohm, r_sense {number(crossbar.r_sense)} ohm"
    ohms = np.concatenate([end.ohms[end.connected] for end in ends.values()])
    return f"{wires}, terminals behind {_span(ohms)} ohm"


def _span(ohms: FloatArray) -> str:
    least, most = float(ohms.min()), float(ohms.max())
    return number(least) if least == most else f"{least:g} .. {most:g}"


def _terminal(index: int, prefix: str, end: End, line: int, segment: float) -> Terminal:
    name, ohm = f"{prefix}{end.edge}{line}", float(end.ohms[line])
    if end.amplifier is None:
        return Terminal(index, end.edge, line, f"V{name}", float(end.volts[line, 0]), resistance=ohm, segment=segment)
    r_feedback, level = end.amplifier.r_feedback, float(end.volts[line, 0])
    return Terminal(index, end.edge, line, "", 0.0, f"out_{name}", r_feedback, ohm, segment, level)
