"""Decks in which the cells of an array move: one pulse, from a state of each cell on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np

from xbar_spice.errors import DeviceError
from xbar_spice.hardware.biases import Biases, require_held
from xbar_spice.hardware.crossbar import Crossbar
from xbar_spice.hardware.dynamic import DynamicDevice, GatedCell
from xbar_spice.hardware.subcircuit import Subcircuit
from xbar_spice.linear.operator import FloatArray
from xbar_spice.spice.netlist import Deck, Terminal, array_variables
from xbar_spice.spice.render import render
from xbar_spice.spice.resources import search_path

__all__ = ["WriteDeck", "dynamic_subcircuit", "write_deck"]

# Looser ones let states pass their limits and stay there, or end in "timestep too small".
OPTIONS = {"reltol": 1e-6, "abstol": 1e-15, "vntol": 1e-9}
STEPS = 100  # of a pulse, at least
STATE_CAPACITOR = "cstate"


@final
@dataclass(frozen=True)
class WriteDeck:
    """The deck of a pulse, and the names of its states.

    Attributes:
        deck: Text and terminals.
        capacitors: Of each cell that is there, row after row, the element that holds its state.
        nodes: The nodes at which the states stand as volts.
        cells: (rows, cols) which cells are there.
    """

    deck: Deck
    capacitors: tuple[str, ...]
    nodes: tuple[str, ...]
    cells: tuple[tuple[int, int], ...]


@final
@dataclass(frozen=True)
class _Moving:
    """What the template of a cell needs of it."""

    subcircuit: Subcircuit
    law: DynamicDevice

    @property
    def template(self) -> str:
        return self.law.template if isinstance(self.law, GatedCell) else "cells/dynamic.cir.j2"

    def start(self, conductance: float) -> float:
        """The state of a conductance."""
        return float(self.law.state_of(np.array(conductance)))


def dynamic_subcircuit(device: DynamicDevice, models: Sequence[Path] = ()) -> Subcircuit:
    """The subcircuit of a cell that moves, from its library.

    Raises:
        DeviceError: It has none, or one without two pins, or without the parameter x0.
    """
    library = device.library
    if not library:
        raise DeviceError(
            f"{device!r} has no subcircuit, which ngspice needs; give its class `library` and `subcircuit_name`, or "
            "take engine='fast'"
        )
    parameters = device.subcircuit_parameters
    if "\n" in library:
        found = Subcircuit(device.subcircuit_name, library, tuple(parameters.items()))
    else:
        folder = next((folder for folder in search_path("models", models) if (folder / library).is_file()), None)
        path = Path(library).expanduser() if folder is None else folder / library
        found = Subcircuit.from_file(path, device.subcircuit_name, parameters)
    found.require_pins(2, "a cell has two pins, word line and bit line")
    found.require_parameter("x0")
    return found


def write_deck(
    crossbar: Crossbar,
    biases: Biases,
    seconds: float,
    state: FloatArray | None = None,
    *,
    title: str = "memristor crossbar, one pulse that moves its cells",
    netlists: Sequence[Path] = (),
) -> WriteDeck:
    """The deck of one pulse on one array of cells that move.

    Args:
        crossbar: The array; states follow from its conductances.
        biases: While the pulse lasts.
        seconds: How long it lasts.
        state: (rows, cols) states to start from, in the place of those of the conductances.
        title: First line of the deck.
        netlists: Folders of the user's own templates, searched first.

    Raises:
        DeviceError: Cells without a subcircuit that moves.
        SingularCircuitError: Parts that no terminal holds.
        InvalidInputError: A broken template.
    """
    device = crossbar.device
    if not isinstance(device, DynamicDevice):
        raise DeviceError(f"a pulse moves cells with a state, got {device!r}")
    ends = biases.ends(crossbar)
    require_held(ends, crossbar.conductance > 0)
    array = array_variables(0, "", crossbar, ends, None)
    subcircuit = dynamic_subcircuit(device.cell if isinstance(device, GatedCell) else device)
    moving = _Moving(subcircuit, device)
    array["device"] = moving
    cells = [(int(i), int(j)) for i, j in np.argwhere(crossbar.conductance > 0)]
    capacitor, node = _state_of(subcircuit)
    names = [f"x{i}_{j}" for i, j in cells]
    nodes = tuple(f"{name}.{node}" for name in names)
    variables = {
        "title": title,
        "comments": {},
        "side": None,
        "array": array,
        "cell_templates": [moving.template],
        "libraries": [subcircuit.library],
        "options": OPTIONS,
        "amplified": False,
        "states": nodes,
        "seconds": seconds,
        "step": seconds / STEPS,
    }
    text = render("write.cir.j2", variables, netlists=netlists)
    terminals: tuple[Terminal, ...] = tuple(array["terminals"])  # type: ignore[arg-type]
    return WriteDeck(Deck(text, terminals), tuple(f"c.{name}.{capacitor}" for name in names), nodes, tuple(cells))


def _state_of(subcircuit: Subcircuit) -> tuple[str, str]:
    """The capacitor that holds the state, and its node.

    Raises:
        DeviceError: There is none.
    """
    inside = False
    for line in subcircuit.library.splitlines():
        words = line.split()
        if len(words) > 1 and words[0].lower() == ".subckt":
            inside = words[1].lower() == subcircuit.name.lower()
        elif inside and len(words) > 3 and words[0].lower() == STATE_CAPACITOR and words[2] == "0":
            return STATE_CAPACITOR, words[1].lower()
    raise DeviceError(
        f"the subcircuit {subcircuit.name!r} of a cell that moves holds its state in a capacitor Cstate of 1 F to node "
        "0, such as `Cstate x 0 1 ic={x0}`"
    )
