"""Decks in which the read of an array is a pulse: capacitors at the lines and a `.tran` analysis with measurements."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from xbar_spice.errors import InvalidInputError
from xbar_spice.hardware.biases import Biases, require_held
from xbar_spice.hardware.crossbar import Crossbar, Side
from xbar_spice.hardware.pulse import LineCapacitance, Pulse
from xbar_spice.hardware.reads import read_ends
from xbar_spice.spice.libraries import behaviour, cell_templates, compiled_libraries, libraries
from xbar_spice.spice.netlist import Deck, Terminal, array_variables, drive_volts
from xbar_spice.spice.render import render
from xbar_spice.spice.tolerances import transient_options

__all__ = ["pulse_deck", "require_pulsable", "require_simulable"]


def pulse_deck(
    crossbar: Crossbar,
    drive: ArrayLike | Biases,
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
        drive: (ports,) volts of the pulse at the driven side; or one set of biases, which rise and fall together.
        pulse: its shape; a rise above 0 s and a finite width above 0 s.
        capacitance: of the lines.
        side: the driven side.
        accuracy: about the relative error of settling times and energies; sets the steps of the simulator.
        title: first line of the deck.
        comments: more to say at the head of the deck.
        netlists: folders of the user's own templates, searched first.

    Raises:
        InvalidInputError: a drive of the wrong shape, a pulse that a simulator cannot make, amplifiers, or a broken
            template.
    """
    require_simulable(pulse)
    require_pulsable(crossbar)
    if not 0 < accuracy < 1:
        raise InvalidInputError(f"accuracy must be between 0 and 1, got {accuracy}")
    driven: Side | None = None if isinstance(drive, Biases) else side
    if isinstance(drive, Biases):
        ends = drive.ends(crossbar)
        require_held(ends, crossbar.conductance > 0)
    else:
        ends = read_ends(crossbar, side, drive_volts(crossbar, drive, side))
    array: dict[str, Any] = array_variables(0, "", crossbar, ends, driven)
    charged = {
        "word": _capacitors("w", array["word_nodes"], capacitance.c_word, set(array["bare_rows"])),
        "bit": _capacitors("b", [list(line) for line in zip(*array["bit_nodes"], strict=True)], capacitance.c_bit),
    }
    farads = [farad for line in charged.values() for _, _, farad in line] + [capacitance.c_cell]
    most_volts = max(float(np.abs(end.volts).max(initial=0.0)) for end in ends.values())
    least_charge = min((farad for farad in farads if farad > 0), default=1.0) * (most_volts or 1.0)
    variables = {
        "title": title,
        "comments": dict(comments or {}),
        "side": driven,
        "array": array,
        "cell_templates": cell_templates([crossbar.device]),
        "libraries": libraries([crossbar], []),
        "amplified": False,
        "pulse": _pulse_seconds(pulse),
        "capacitors": charged | {"cell": capacitance.c_cell},
        "options": transient_options(crossbar, least_charge, accuracy),
    }
    terminals: tuple[Terminal, ...] = tuple(array["terminals"])
    text, compiled = render("pulse.cir.j2", variables, netlists=netlists), compiled_libraries([crossbar])
    return Deck(text, terminals, behaviour=behaviour([crossbar]), compiled=compiled)


def _capacitors(
    stem: str, lines: Sequence[Sequence[str]], farad: float, without: Collection[int] = ()
) -> list[tuple[str, str, float]]:
    """Name, node and farad of the capacitors at the nodes of the lines; cells that share a node share one."""
    if not farad:
        return []
    found = []
    for line, nodes in enumerate(lines):
        for node in dict.fromkeys(nodes) if line not in without else ():
            cell = nodes.index(node)
            name = f"{stem}{line}_{cell}" if stem == "w" else f"{stem}{cell}_{line}"
            found.append((name, node, farad * nodes.count(node)))
    return found


def require_pulsable(crossbar: Crossbar) -> None:
    """Refuse amplifiers, whose answer in time is not modelled, and cells that have none.

    Raises:
        InvalidInputError: the array is sensed by amplifiers.
        DeviceError: a module in Verilog-A whose state a simulator would lose or freeze.
    """
    crossbar.device.require_in_time()
    if crossbar.amplifier.present:
        raise InvalidInputError(
            f"a read as a pulse is sensed by 0 V, got {crossbar.amplifier!r}; add its input resistance "
            "r_feedback / (1 + gain) to r_sense, and leave the amplifier out"
        )


def require_simulable(pulse: Pulse) -> None:
    """Refuse what a simulator cannot make: a step, or a drive that never ends.

    Raises:
        InvalidInputError: the pulse has no rise, or no width or an infinite one.
    """
    if not (pulse.rise > 0 and 0 < pulse.width < np.inf):
        raise InvalidInputError(
            f"a simulated pulse needs a rise and a finite width above 0 s, got rise={pulse.rise}, width={pulse.width}"
        )


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
