"""The verb `check-model` for cells in Verilog-A: what a module is, before anything is read with it."""

from __future__ import annotations

import sys

import numpy as np

from xbar_spice.cli.check_model import print_end, print_row
from xbar_spice.errors import DeviceError
from xbar_spice.hardware.verilog_a import VerilogACell
from xbar_spice.hardware.verilog_a.examine import AT_READS, DIFFERENT, Findings

__all__ = ["print_module"]

ODD = 1e-4  # share of the current by which both signs may differ


def print_module(cell: VerilogACell, low: float, high: float) -> None:
    """Measure a module and print what it is; the exit status is 1 if it is refused."""
    structure = cell.structure
    terminals, inside = structure.nodes[: structure.terminals], structure.nodes[structure.terminals :]
    print_row("module", f"{cell.module}, word line {terminals[0]}, bit line {terminals[1]}")
    print_row("programmed by", f"{cell.programmed}, {'ohm' if cell.resistance_parameter else 'siemens'}")
    print_row("inside", ", ".join(inside) or "nothing")
    try:
        found = cell.findings(low, high)
    except DeviceError as error:
        print_end([str(error)])
        sys.exit(1)
    print_row("state", _state(cell, found))
    if structure.states:
        print_row("drift", _drift(found))
    strays = "its memory stands still" if found.frozen else found.strays
    print_row("in time", f"no: {strays}" if strays else "yes")
    currents, volts = np.array(found.currents), np.array(found.volts)
    mirrored = currents[:, ::-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = np.abs(currents + mirrored) / np.maximum(np.abs(currents), np.abs(mirrored))
    differ = float(np.nanmax(shares[:, np.abs(volts) > 0.05]))
    print_row("odd", "yes" if differ <= ODD else f"no: both signs differ by {differ:.2%}")
    print_row("passive", "no" if any("source of energy" in text for text in found.refusals) else "yes")
    middle = np.flatnonzero(np.abs(volts) == np.abs(volts).min())
    small = np.array(found.slopes)[:, middle].mean(axis=1)
    print_row("conductance", f"{low:.3g} to {high:.3g} S; around 0 V it has {small.min():.3g} to {small.max():.3g} S")
    print_row("slopes", _slopes(found))
    print_end(found.refusals)


def _state(cell: VerilogACell, found: Findings) -> str:
    if cell.structure.states:
        return f"stateful: {', '.join(cell.structure.states)}; a read takes it at rest"
    if found.frozen:
        return f"hidden memory: {found.frozen}"
    said = "static, and stores charge at its terminals" if cell.structure.dynamic else "static"
    return f"{said}; its source has {', '.join(cell.signs)}: see that it keeps no state" if cell.signs else said


def _drift(found: Findings) -> str:
    volts, drift = np.array(found.volts), np.abs(np.array(found.drift)).max(axis=0)
    at_reads = float(np.nanmax(drift[np.abs(volts) <= AT_READS]))
    moves = [f"{size:.3g}/s at {volt:g} V" for volt, size in zip(volts, drift, strict=True) if size > DIFFERENT]
    said = f"{at_reads:.3g} of the current a second up to {AT_READS:g} V"
    return f"{said}; {', '.join(moves)}" if moves else f"none up to {volts.max():g} V"


def _slopes(found: Findings) -> str:
    volts, slopes = np.array(found.volts), np.array(found.slopes)
    inside = np.abs(volts) <= AT_READS
    least = np.unravel_index(int(np.nanargmin(np.where(inside, slopes, np.inf))), slopes.shape)
    if slopes[least] < 0:
        return f"fall: {slopes[least]:.3g} S at {volts[least[1]]:g} V, so that an array may have several states"
    return f"rise with the voltage, up to {AT_READS:g} V"
