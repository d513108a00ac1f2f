"""Arrays in the language of VACASK, a second simulator: resistors, sources, and compiled Verilog-A modules."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import final

import numpy as np

from xbar_spice.errors import EngineUnavailableError, InvalidInputError
from xbar_spice.hardware.amplifier import Amplifier
from xbar_spice.hardware.behind_via import BehindVia
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
from xbar_spice.hardware.dynamic.yakopcic import TwoSidedSinh
from xbar_spice.hardware.verilog_a import VerilogACell
from xbar_spice.hardware.verilog_a.compiler import tools
from xbar_spice.linear.operator import FloatArray
from xbar_spice.spice.dialect import Dialect, ReadDeck, results_of, run_batch
from xbar_spice.spice.netlist import Deck, Terminal, array_variables
from xbar_spice.spice.render import number, render
from xbar_spice.spice.resources import search_path
from xbar_spice.spice.travel import write_compiled

__all__ = [
    "SIMULATOR_VARIABLE",
    "VacaskDeck",
    "VacaskDialect",
    "find_simulator",
    "modules_of",
    "require_simulator",
    "vacask_deck",
]

SIMULATOR_VARIABLE = "XBAR_VACASK"

OPTIONS = {"reltol": 1e-10, "abstol": 1e-16, "vntol": 1e-13}
"""What Newton's method stops by; it may not settle to much less."""
ROUNDING = 1e-15  # of what a wire could carry at the largest voltage: no sum of currents at its end is more exact

# The modules of netlists/verilog_a and the fields of a law that are their parameters.
SHIPPED: dict[type[Device], tuple[str, tuple[str, ...]]] = {
    Sinh: ("sinh", ("v0",)),
    Polynomial: ("polynomial", ()),
    TwoSidedSinh: ("two_sided_sinh", ("v0", "ratio")),
    OneSelectorOneResistor: ("one_selector_one_resistor", ("i0", "v0")),
    OneTransistorOneResistor: ("one_transistor_one_resistor", ("beta", "v_on")),
}
GATED = "gated", ("beta",)  # a transistor at a gate line


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
    libraries: str | None = None,
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
        libraries: their folder as seen from that of the deck; they are where they were compiled when left out.

    Raises:
        InvalidInputError: an array that cannot be written for this simulator.
        EngineUnavailableError: no compiler for the laws of its cells.
    """
    names = [f"a{index}" for index in range(len(crossbars))] if names is None else names
    arrays = [
        array_variables(index, name, crossbar, at_ends, side)
        for index, (name, crossbar, at_ends) in enumerate(zip(names, crossbars, ends, strict=True))
    ]
    terminals = tuple(terminal for array in arrays for terminal in array["terminals"])  # type: ignore[attr-defined]
    volts = np.array([ends[one.array][one.edge].volts[one.line] for one in terminals])
    modules = dict.fromkeys(
        module
        for crossbar, one in zip(crossbars, ends, strict=True)
        for module in modules_of(crossbar, one["left"].gates is not None)
    )
    models = [{"name": one.model, "module": one.unique_name, "parameters": one.parameters} for one in modules]
    variables = {
        "title": title,
        "comments": dict(comments or {}),
        "arrays": arrays,
        "loads": [str(one.library) if libraries is None else f"{libraries}{one.unique_name}.osdi" for one in modules],
        "models": models,
        "options": _options(crossbars, terminals, float(np.abs(volts).max(initial=0.0))),
        "element": _element,
        "amplifier": lambda terminal, node: _amplifier(terminal, node, ends[terminal.array][terminal.edge].amplifier),
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
    held = [(row, terminals[row]) for row in np.flatnonzero(changed).tolist()]
    return [(one.source or f"vlevel_{one.output.removeprefix('out_')}", float(volts[row, vector])) for row, one in held]


def modules_of(crossbar: Crossbar, gated: bool = False) -> list[VerilogACell]:
    """The modules that an array needs.

    Raises:
        InvalidInputError: cells or op-amps that have none.
    """
    amplifier = crossbar.amplifier
    if amplifier.present and amplifier.opamp is not None:
        raise InvalidInputError(
            f"VACASK has the toolkit's own op-amps alone, got the subcircuit {amplifier.opamp.name!r}; take 'ngspice', "
            "or give gain and saturation"
        )
    found = [module_of(crossbar.device.read_law, gated)]
    if amplifier.present and amplifier.saturation is not None:
        found.append(_opamp(amplifier))
    return [module for module in found if module is not None]


def module_of(device: Device, gated: bool = False) -> VerilogACell | None:
    """The law of a cell as a Verilog-A module; None for a resistor.

    Args:
        device: the law.
        gated: whether the gates of its transistors are at gate lines.

    Raises:
        InvalidInputError: a law that has none.
    """
    if isinstance(device, BehindVia):
        return module_of(device.cell)
    if isinstance(device, Ohmic | VerilogACell):
        return device if isinstance(device, VerilogACell) else None
    if gated or type(device) in SHIPPED:
        name, fields = GATED if gated else SHIPPED[type(device)]
        return _shipped(name, tuple((field, float(getattr(device, field))) for field in fields))
    raise InvalidInputError(
        f"VACASK has no {type(device).__name__} cells; it has ohmic, sinh, polynomial, 1T1R and 1S1R cells, those "
        "behind vias, and Verilog-A modules: write the law as one, or take 'ngspice' or 'nodal'"
    )


def _opamp(amplifier: Amplifier) -> VerilogACell:
    assert amplifier.saturation is not None
    return _shipped("opamp", (("vsat", amplifier.saturation),), "gain")


@lru_cache(64)
def _shipped(name: str, parameters: tuple[tuple[str, float], ...], programmed: str = "g") -> VerilogACell:
    folder = search_path("netlists")[-1] / "verilog_a"
    return VerilogACell.from_file(folder / f"{name}.va", "", programmed, dict(parameters))


def _element(name: str, word: str, bit: str, conductance: float, device: Device, gate: float | None) -> str:
    """The lines of one cell."""
    if isinstance(device, BehindVia):
        if device.ohm == 0.0:
            return _element(name, word, bit, conductance, device.cell, gate)
        via = f"via_{name}"
        inner = _element(name, via, bit, conductance, device.cell, gate)
        return f"r{via} ({word} {via}) resistor r={number(device.ohm)}\n{inner}"
    module = module_of(device, gate is not None)
    if module is None:
        return f"{name} ({word} {bit}) resistor r={number(1.0 / conductance)}"
    values = [module.setting(conductance)]
    if isinstance(device, Polynomial):
        values += zip(("a2", "a3"), map(float, device.coefficients(conductance)), strict=True)  # type: ignore[arg-type]
    if gate is not None:
        values.append(("v_on", gate))
    return _instance(name, word, bit, module, values)


def _amplifier(terminal: Terminal, node: str, amplifier: Amplifier | None) -> str:
    """The line of the op-amp between a node and the output of its amplifier."""
    assert amplifier is not None
    name = f"amp_{node}"
    if amplifier.saturation is None:
        return f"{name} ({terminal.output} 0 0 {node}) gain gain={number(amplifier.gain)}"
    module = _opamp(amplifier)
    return _instance(name, node, terminal.output, module, [("gain", amplifier.gain)])


def _instance(name: str, first: str, second: str, module: VerilogACell, values: Sequence[tuple[str, float]]) -> str:
    """An instance of a module, with a model of its own where its parameters belong to the model."""
    if module.of_instance:
        said = " ".join(f"{key}={number(value)}" for key, value in values)
        return f"{name} ({first} {second}) {module.model} {said}"
    fixed = " ".join(f"{key}={number(value)}" for key, value in (*module.parameters, *values))
    own = f"{module.model}_{name}"
    return f"model {own} {module.unique_name} {fixed}\n{name} ({first} {second}) {own}"


def find_simulator() -> Path | None:
    """The simulator: the one that the environment names, that of the extra `verilog-a`, or one on the path."""
    asked = os.environ.get(SIMULATOR_VARIABLE)
    if asked:
        return Path(asked) if os.access(asked, os.X_OK) else None
    folder = tools()
    if folder and (folder / "vacask").is_file():
        return folder / "vacask"
    found = shutil.which("vacask")
    return Path(found) if found else None


def require_simulator() -> Path:
    """As `find_simulator`.

    Raises:
        EngineUnavailableError: there is none; the text says how to get one.
    """
    found = find_simulator()
    if found is None:
        raise EngineUnavailableError(
            "this needs the simulator VACASK, and there is none: pip install 'xbar-spice[verilog-a]' (Linux on "
            f"x86-64), or set {SIMULATOR_VARIABLE} to the path of one"
        )
    return found


@final
@dataclass(frozen=True)
class VacaskDialect(Dialect):
    """That of VACASK."""

    suffix = ".sim"
    by_hand = "vacask {}; read0.raw then holds the results with all digits"

    def write(self, read: ReadDeck) -> Deck:
        deck = vacask_deck(
            read.crossbars,
            read.ends,
            read.side,
            names=read.names,
            title=read.title,
            comments=read.comments,
            netlists=read.netlists,
            libraries=read.root,
        )
        return Deck(deck.text, deck.terminals)

    def companions(self, crossbars: Sequence[Crossbar], folder: Path) -> list[Path]:
        """The libraries of cells and op-amps, and their sources."""
        return write_compiled([module for crossbar in crossbars for module in modules_of(crossbar)], folder)

    def run(self, deck: Path, folder: Path, behaviour: str, seconds: float) -> Mapping[str, float]:
        with TemporaryDirectory(prefix="xbar-readback-") as place:  # it writes where it is run
            command = [str(require_simulator()), "-sp", "-se", "-qp", str(deck.absolute())]
            said = run_batch(command, Path(place), deck, seconds)
            return results_of(Path(place) / "read0.raw", deck, said)
