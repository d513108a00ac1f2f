"""The verb `check-model`: what a subcircuit of the user's own is, before anything is read with it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np

from xbar_spice.engines.ngspice.locate import require_library
from xbar_spice.engines.ngspice.model_check import ODD, Characteristics, characterise
from xbar_spice.errors import DeviceError
from xbar_spice.hardware.cells import SubcircuitCell
from xbar_spice.hardware.subcircuit import Subcircuit
from xbar_spice.hardware.verilog_a import VerilogACell
from xbar_spice.spice.device_models import load_device

__all__ = ["cell_of", "print_check", "print_end", "print_row"]


def cell_of(file: Path, name: str | None, parameter: str | None, compat: str | None) -> SubcircuitCell | VerilogACell:
    """The cell of a parameter set, or of a library or a Verilog-A source with one cell of two pins or one of this name.

    Raises:
        DeviceError: there is none, or it is not a subcircuit.
    """
    if file.suffix.lower() == ".toml":
        if name or parameter or compat:
            raise click.UsageError(
                "--name, --parameter and --compat choose within a library; a .toml file says all three"
            )
        device = load_device(file)
        if not isinstance(device, SubcircuitCell | VerilogACell):
            raise DeviceError(f"{file}: {device!r} is a law of this package, there is nothing to check")
        return device
    if file.suffix.lower() in (".va", ".vams"):
        if compat:
            raise click.UsageError("--compat is the dialect of a SPICE library; a Verilog-A source has none")
        return VerilogACell.from_file(file, name or "", parameter or "g")
    name = name or _only_cell(file, compat or "")
    return SubcircuitCell(Subcircuit.from_file(file, name, compat=compat or ""), parameter or "g")


def print_check(cell: SubcircuitCell, low: float, high: float) -> None:
    """Measure a cell and print what it is; the exit status is 1 if it is refused."""
    require_library()
    subcircuit = cell.subcircuit
    parameter, _ = cell.setting(1.0)
    print_row("subcircuit", f"{subcircuit.name}, word line {subcircuit.pins[0]}, bit line {subcircuit.pins[1]}")
    print_row("programmed by", f"{parameter}, {'ohm' if cell.resistance_parameter else 'siemens'}")
    print_row("left out", "; ".join(subcircuit.left_out) or "nothing")
    try:
        found = characterise(cell, low, high)
    except DeviceError as error:
        print_row("state", "stateful")
        print_end([str(error)])
    print_row("state", f"stateful: {'; '.join(found.held)}" if found.held else "static")
    print_row("odd", "yes" if found.asymmetry <= ODD else f"no: both signs differ by {found.asymmetry:.2%}")
    print_row("passive", "no" if any("source of energy" in text for text in found.refusals) else "yes")
    small = np.sort(found.small_signal)
    print_row("conductance", f"{low:.3g} to {high:.3g} S; around 0 V it has {small[0]:.3g} to {small[-1]:.3g} S")
    print_row("small signal", _worst(found, found.small_signal / found.conductances, "around 0 V"))
    ratios = found.ratios
    column = int(np.argmax(np.where(found.inside, np.abs(ratios - 1).max(axis=0), -1.0)))
    print_row("worst mismatch", _worst(found, ratios[:, column], f"at {found.volts[column]:g} V"))
    for remark in found.remarks:
        print_row("note", remark)
    print_end(found.refusals)


def _only_cell(file: Path, compat: str) -> str:
    library = Subcircuit.library_of(file, compat)
    names = [name for name, interface in library.interfaces.items() if len(interface.pins) == 2]
    if len(names) != 1:
        raise DeviceError(
            f"{file} has {len(names)} subcircuits of two pins ({', '.join(names) or 'none'}); choose one by --name"
        )
    return names[0]


def _worst(found: Characteristics, ratios: np.ndarray, where: str) -> str:
    row = int(np.argmax(np.abs(ratios - 1)))
    programmed = found.conductances[row]
    return f"{ratios[row] * programmed:.4g} S for {programmed:.4g} S {where}, {ratios[row] - 1:+.2%}"


def print_row(name: str, value: str) -> None:
    """A line of the findings."""
    click.echo(f"{name:<16} {value}")


def print_end(refusals: Sequence[str]) -> None:
    """Say whether a cell is usable; the exit status is 1 if it is not."""
    for refusal in refusals:
        print_row("refused", refusal)
    if refusals:
        sys.exit(1)
    print_row("usable", "yes")
