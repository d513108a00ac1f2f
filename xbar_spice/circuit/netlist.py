"""Crossbars as SPICE decks.

Every connected end of a line is a voltage source behind its resistance: drivers carry the drive voltage and sense
terminals 0 V, so that the current of a sense source is the result of the read. A deck is plain SPICE (elements,
models, `.op`, `.save`, `.end`) and runs by hand with `ngspice -b`.

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

from xbar_spice.array import SIDES, Connection, Crossbar, Edge, Hookup, Side
from xbar_spice.circuit.render import render
from xbar_spice.errors import InvalidInputError
from xbar_spice.linear import FloatArray
from xbar_spice.pulse import LineCapacitance, Pulse

__all__ = ["Deck", "Terminal", "array_deck", "array_variables", "bank_deck", "line_nodes", "netlist", "pulse_deck"]

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*", re.ASCII)


@final
@dataclass(frozen=True)
class Terminal:
    """One connected end of one line: where it is and which voltage source stands there."""

    array: int
    edge: Edge
    line: int
    source: str
    volts: float

    @property
    def side(self) -> Side:
        """The side that the line belongs to."""
        return Connection(self.edge, 0.0).side

    @property
    def current(self) -> str:
        """The name of its current as SPICE prints it, positive into the terminal."""
        return f"i({self.source.lower()})"


@final
@dataclass(frozen=True)
class Deck:
    """A complete SPICE deck and the names in it."""

    text: str
    terminals: tuple[Terminal, ...]
    _by_edge: dict[tuple[int, Edge], tuple[str, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        by_edge: dict[tuple[int, Edge], list[str]] = {}
        for terminal in self.terminals:
            by_edge.setdefault((terminal.array, terminal.edge), []).append(terminal.source)
        object.__setattr__(self, "_by_edge", {key: tuple(names) for key, names in by_edge.items()})

    def sources(self, array: int, edge: Edge) -> tuple[str, ...]:
        """Voltage sources at an edge of an array, in the order of its lines; none if the edge is open."""
        return self._by_edge.get((array, edge), ())


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


def pulse_deck(
    crossbar: Crossbar,
    drive: ArrayLike,
    pulse: Pulse,
    capacitance: LineCapacitance,
    side: Side = "rows",
    *,
    accuracy: float = 1e-3,
    title: str = "memristor crossbar, a read as a pulse",
    comments: Mapping[str, object] | None = None,
    netlists: Sequence[Path] = (),
) -> Deck:
    """The deck of one read of one array as a pulse, a `.tran` analysis over the cycle of the pulse.

    Args:
        crossbar: the array.
        drive: (ports,) volts of the pulse at the driven side.
        pulse: its shape; a rise above 0 s and a finite width above 0 s.
        capacitance: of the lines.
        side: the driven side.
        accuracy: about the relative error of settling times and energies; sets the steps of the simulator.
        title: first line of the deck.
        comments: more to say at the head of the deck.
        netlists: folders of the user's own templates, searched first.

    Raises:
        InvalidInputError: a drive of the wrong shape, a pulse that a simulator cannot make, or a broken template.
    """
    if not (pulse.rise > 0 and 0 < pulse.width < np.inf):
        raise InvalidInputError(
            f"a simulated pulse needs a rise and a finite width above 0 s, got rise={pulse.rise}, width={pulse.width}"
        )
    if not 0 < accuracy < 1:
        raise InvalidInputError(f"accuracy must be between 0 and 1, got {accuracy}")
    volts = _drive_volts(crossbar, drive, side)
    array = array_variables(0, "", crossbar, volts, side)
    farads = {
        "word": capacitance.c_word * (1 if crossbar.r_word > 0 else crossbar.shape[1]),
        "bit": capacitance.c_bit * (1 if crossbar.r_bit > 0 else crossbar.shape[0]),
        "cell": capacitance.c_cell,
    }
    least_charge = min((farad for farad in farads.values() if farad > 0), default=1.0) * (np.abs(volts).max() or 1.0)
    variables = {
        "title": title,
        "comments": dict(comments or {}),
        "side": side,
        "array": array,
        "pulse": _pulse_seconds(pulse),
        "capacitance": farads,
        # Newton's method stops by reltol; trtol relates the error of a time step to it, found by comparison with modes.
        "options": {"reltol": 1e-6, "trtol": 1e5 * accuracy**1.5, "chgtol": 1e-6 * least_charge},
    }
    return Deck(render("pulse.cir.j2", variables, netlists=netlists), tuple(array["terminals"]))  # type: ignore[arg-type]


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
        array_variables(index, name, crossbar, _drive_volts(crossbar, drive, side), side)
        for index, (name, crossbar, drive) in enumerate(zip(names, crossbars, drives, strict=True))
    ]
    variables = {
        "title": title,
        "comments": dict(comments or {}),
        "side": side,
        "arrays": arrays,
        "cell_templates": sorted({crossbar.device.template for crossbar in crossbars}),
    }
    terminals = tuple(terminal for array in arrays for terminal in array["terminals"])  # type: ignore[attr-defined]
    return Deck(render(template, variables, netlists=netlists), terminals)


def _drive_volts(crossbar: Crossbar, drive: ArrayLike | None, side: Side) -> FloatArray:
    ports = crossbar.ports(side)
    volts = np.zeros(ports) if drive is None else np.asarray(drive, dtype=float)
    if volts.shape != (ports,) or not np.isfinite(volts).all():
        raise InvalidInputError(
            f"a deck is one read: side={side!r} of this array takes a finite drive of shape ({ports},), "
            f"got shape {volts.shape}"
        )
    return volts


def array_variables(index: int, name: str, crossbar: Crossbar, volts: FloatArray, side: Side) -> dict[str, object]:
    """What the templates may use of one array."""
    hookup = crossbar.hookup(side)
    prefix = f"{name}_" if name else ""

    terminals: list[Terminal] = []
    connections = []
    for driven, group in ((True, hookup.driven), (False, hookup.sensed)):
        for connection in group:
            edge = connection.edge
            ends = [
                Terminal(index, edge, line, f"V{prefix}{edge}{line}", float(volts[line]) if driven else 0.0)
                for line in crossbar.connected(connection.side)
            ]
            terminals += ends
            connections.append(
                {
                    "edge": edge,
                    "resistance": connection.resistance,
                    "segment": crossbar.segment_resistance(connection.side),
                    "driven": driven,
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


def _pulse_seconds(pulse: Pulse) -> dict[str, float]:
    """The times of a pulse and the largest step of its analysis, without the rounding errors of sums."""
    seconds = {
        "rise": pulse.rise,
        "width": pulse.width,
        "top_end": pulse.top_end,
        "cycle": pulse.cycle,
        "step": min(pulse.top_end, pulse.cycle - pulse.top_end) / 50,
    }
    return {name: float(f"{value:.12g}") for name, value in seconds.items()}


def _ideal_line_node(crossbar: Crossbar, hookup: Hookup, side: Side) -> str:
    """Stem of the node name of lines without wire resistance: that of a terminal which they touch directly."""
    for connection in hookup.driven + hookup.sensed:
        if connection.side == side and connection.resistance == 0:
            return connection.edge
    return "w" if side == "rows" else "b"
