"""Arrays in the language of VACASK, a second simulator: resistors, and cells as compiled Verilog-A modules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import final

import numpy as np

from xbar_spice.errors import InvalidInputError
from xbar_spice.hardware.biases import End
from xbar_spice.hardware.cells import (
    Device,
    Ohmic,
    OneSelectorOneResistor,
    OneTransistorOneResistor,
    Polynomial,
    Sinh,
)
from xbar_spice.hardware.crossbar import SIDES, Crossbar, Edge, Side
from xbar_spice.hardware.verilog_a import VerilogACell
from xbar_spice.linear.operator import FloatArray
from xbar_spice.spice.netlist import Terminal, array_variables
from xbar_spice.spice.render import number, render
from xbar_spice.spice.resources import search_path

__all__ = ["VacaskDeck", "module_of", "vacask_deck"]

OPTIONS = {"reltol": 1e-10, "abstol": 1e-16, "vntol": 1e-13}
"""What Newton's method stops by; it may not settle to much less."""
ROUNDING = 1e-15  # of what a wire could carry at the largest voltage: no sum of currents at its end is more exact


@final
@dataclass(frozen=True)
class VacaskDeck:
    """A deck and the names in it.

    Attributes:
        text: the deck.
        terminals: the connected ends of the lines of every array.
        modules: the cells whose libraries it loads.
    """

    text: str
    terminals: tuple[Terminal, ...]
    modules: tuple[VerilogACell, ...]


def vacask_deck(
    crossbars: Sequence[Crossbar],
    ends: Sequence[Mapping[Edge, End]],
    side: Side | None,
    *,
    names: Sequence[str] | None = None,
    title: str = "memristor crossbars",
    comments: Mapping[str, object] | None = None,
    netlists: Sequence[Path] = (),
    beside: bool = False,
) -> VacaskDeck:
    """A deck of arrays, with an operating point `read0`, `read1`, ... for each set of voltages.

    Args:
        crossbars: the arrays.
        ends: what stands at every edge of each; all with one batch of voltages.
        side: the driven side of a read; None under other biases.
        names: of the arrays; a0, a1, ... when left out.
        title: first line of the deck.
        comments: more to say at its head.
        netlists: folders of the user's own templates, searched first.
        beside: whether libraries are named as files beside the deck, and not where they are on this machine.

    Raises:
        InvalidInputError: an array that cannot be written for this simulator.
        EngineUnavailableError: no compiler for the laws of its cells.
    """
    for crossbar in crossbars:
        if crossbar.amplifier.present:
            raise InvalidInputError(
                "a deck for VACASK senses lines by voltage sources, and these arrays have amplifiers; leave them out, "
                "or take 'ngspice'"
            )
    names = [f"a{index}" for index in range(len(crossbars))] if names is None else names
    arrays = [
        array_variables(index, name, crossbar, at_ends, side)
        for index, (name, crossbar, at_ends) in enumerate(zip(names, crossbars, ends, strict=True))
    ]
    terminals = tuple(terminal for array in arrays for terminal in array["terminals"])  # type: ignore[attr-defined]
    volts = np.array([ends[one.array][one.edge].volts[one.line] for one in terminals])
    modules = dict.fromkeys(module for crossbar in crossbars if (module := module_of(crossbar.device)))
    models = [{"name": one.model, "module": one.unique_name, "parameters": one.parameters} for one in modules]
    variables = {
        "title": title,
        "comments": dict(comments or {}),
        "arrays": arrays,
        "loads": [f"{one.unique_name}.osdi" if beside else str(one.library) for one in modules],
        "models": models,
        "options": _options(crossbars, terminals, float(np.abs(volts).max(initial=0.0))),
        "element": _element,
        "reads": [_changes(terminals, volts, vector) for vector in range(volts.shape[1])],
    }
    return VacaskDeck(render("vacask/bank.sim.j2", variables, netlists=netlists), terminals, tuple(modules))


def _options(crossbars: Sequence[Crossbar], terminals: Sequence[Terminal], volts: float) -> dict[str, float]:
    """What Newton's method stops by; a `reltol` of the arrays takes the others with it."""
    given = [crossbar.reltol for crossbar in crossbars if crossbar.reltol is not None]
    factor = min(given, default=OPTIONS["reltol"]) / OPTIONS["reltol"]
    options = {name: float(f"{factor * value:.12g}") for name, value in OPTIONS.items()}
    ohms = np.concatenate(
        [crossbar.segments(side).ravel() for crossbar in crossbars for side in SIDES]
        + [np.array([terminal.resistance + terminal.segment for terminal in terminals])]
    )
    least = float(ohms[ohms > 0].min(initial=np.inf))
    return options | {"abstol": float(f"{max(options['abstol'], ROUNDING * volts / least):.3g}")}


def _changes(terminals: Sequence[Terminal], volts: FloatArray, vector: int) -> list[tuple[str, float]]:
    """The sources that change before a vector is read, with their volts; the deck itself holds those of the first."""
    changed = volts[:, vector] != volts[:, vector - 1] if vector else np.zeros(len(terminals), dtype=bool)
    return [(terminals[row].source, float(volts[row, vector])) for row in np.flatnonzero(changed).tolist()]


def module_of(device: Device) -> VerilogACell | None:
    """The law of a cell as a Verilog-A module; None for a resistor.

    Raises:
        InvalidInputError: a law that has none.
    """
    match device:
        case Ohmic():
            return None
        case VerilogACell():
            return device
        case Sinh(v0):
            return _shipped("sinh", (("v0", v0),))
        case Polynomial():
            return _shipped("polynomial", ())
        case OneSelectorOneResistor(i0, v0):
            return _shipped("one_selector_one_resistor", (("i0", i0), ("v0", v0)))
        case OneTransistorOneResistor(beta):
            return _shipped("one_transistor_one_resistor", (("beta", beta), ("v_on", device.v_on)))
    raise InvalidInputError(
        f"VACASK has no {type(device).__name__} cells; it has ohmic, sinh, polynomial, 1T1R and 1S1R cells and "
        "Verilog-A modules: write the law as one, or take 'ngspice' or 'nodal'"
    )


@lru_cache(64)
def _shipped(name: str, parameters: tuple[tuple[str, float], ...]) -> VerilogACell:
    folder = search_path("netlists")[-1] / "verilog_a"
    return VerilogACell.from_file(folder / f"{name}.va", parameters=dict(parameters))


def _element(name: str, word: str, bit: str, conductance: float, device: Device) -> str:
    """The line of one cell."""
    module = module_of(device)
    if module is None:
        return f"{name} ({word} {bit}) resistor r={number(1.0 / conductance)}"
    values = [module.setting(conductance)]
    if isinstance(device, Polynomial):
        values += zip(("a2", "a3"), map(float, device.coefficients(conductance)), strict=True)  # type: ignore[arg-type]
    if module.of_instance:
        said = " ".join(f"{key}={number(value)}" for key, value in values)
        return f"{name} ({word} {bit}) {module.model} {said}"
    fixed = " ".join(f"{key}={number(value)}" for key, value in (*module.parameters, *values))
    return f"model {module.model}_{name} {module.unique_name} {fixed}\n{name} ({word} {bit}) {module.model}_{name}"
