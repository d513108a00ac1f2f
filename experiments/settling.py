#!/usr/bin/env python3
"""How long a read takes to settle and what it costs, over array size and wire.

Square crossbars of pitch 2F with devices of 10 to 100 kohm (log-uniform), inputs up to 0.2 V (uniform), drivers of 200
ohm and sense terminals of 100 ohm. Wires have the resistance per cell of NeuroSim's rule and 0.2 fF/um. The drive is
switched on at once and stays on until all outputs are within 0.1 % of the largest one; then it is switched off. The
last wire is the one that MNSIM assumes. Prints the table and draws settling.png and settling.svg. With --check, ngspice
simulates reads of the 32 nm wire, and a second table compares it with the modes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from common import Arguments, publish

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from xbar_spice.hardware.crossbar import Crossbar
from xbar_spice.hardware.pulse import LineCapacitance, Pulse
from xbar_spice.linear.operator import FloatArray
from xbar_spice.report.style import QUIET, colours, new_figure, set_abscissa
from xbar_spice.streams import random_stream
from xbar_spice.transient import ModalRead, read_pulse

FARAD_PER_METRE = 0.2e-15 / 1e-6
OHM = {65: 0.24, 45: 0.67, 32: 1.06, 22: 1.48, 14: 2.46, 7: 5.05}  # a segment, by technology node in nm
WIRES = {f"{node} nm": (ohm, FARAD_PER_METRE * 2e-9 * node) for node, ohm in OHM.items()} | {"MNSIM": (2.82, 1e-15)}
R_DRIVER, R_SENSE = 200.0, 100.0


@dataclass(frozen=True)
class Row:
    """One array: seconds and joule."""

    wire: str
    size: int
    elmore: float
    coarse: float
    fine: float
    energy: float
    static: float
    modes: int


def example(wire: str, size: int, c_cell: float) -> tuple[Crossbar, FloatArray, LineCapacitance]:
    """The array, its inputs, and what its lines hold; the same devices and inputs for every wire."""
    rng = random_stream(0, "settling", str(size))
    ohm, farad = WIRES[wire]
    crossbar = Crossbar(10 ** rng.uniform(-5, -4, (size, size)), ohm, ohm, R_DRIVER, R_SENSE)
    return crossbar, rng.uniform(0.0, 0.2, size), LineCapacitance(farad, farad, c_cell)


def measured(wire: str, size: int, c_cell: float) -> Row:
    crossbar, drive, held = example(wire, size, c_cell)
    switched_on = ModalRead(crossbar, "rows", drive, Pulse(width=math.inf), held)
    fine = switched_on.settling_time(1e-3, "largest")
    # Twenty times as long: the lines are empty again.
    read = read_pulse(crossbar, drive, Pulse(width=fine, rest=20 * fine), held)
    static = float(drive @ switched_on.source_currents(switched_on.times[-1:])[:, 0]) * fine
    return Row(
        wire=wire,
        size=size,
        elmore=WIRES[wire][0] * held.c_word * size * (size + 1) / 2,
        coarse=switched_on.settling_time(1e-2, "largest"),
        fine=fine,
        energy=read.energy().total,
        static=static,
        modes=switched_on.time_constants.size,
    )


def line(row: Row) -> str:
    macs = row.size**2
    return (
        f"{row.wire:>7} {row.size:5d} {1e12 * row.elmore:11.4f} {1e12 * row.coarse:10.3f} {1e12 * row.fine:10.3f} "
        f"{1e15 * row.energy:12.3f} {100 * row.static / row.energy:9.1f} % {1e18 * row.energy / macs:10.2f} "
        f"{row.modes:6d}"
    )


def compared(size: int, c_cell: float) -> str:
    """The same pulse by ngspice, beside the modes."""
    crossbar, drive, held = example("32 nm", size, c_cell)
    width = read_pulse(crossbar, drive, Pulse(width=math.inf), held).settling_time(1e-3)
    pulse = Pulse(width=2 * width, rise=0.1 * width)
    exact, found = (read_pulse(crossbar, drive, pulse, held, engine=engine) for engine in ("modal", "ngspice"))

    spent = [read.energy() for read in (found, exact)]
    pairs = [[read.settling_time(accuracy) for read in (found, exact)] for accuracy in (1e-2, 1e-3)]
    pairs += [[getattr(energy, part) for energy in spent] for part in ("total", "cells", "wires", "periphery")]
    return " ".join(
        [
            f"{size:5d} {found.times.size:6d}",
            *(f"{abs(one / other - 1):9.1e}" for one, other in pairs),
            *(f"{abs(energy.balance_error):9.1e}" for energy in spent),
        ]
    )


def draw(rows: list[Row]) -> Figure:
    palette = [*colours(list(OHM), ordered=True), colours(list(WIRES), ordered=False)[1]]
    figure, (left, right) = new_figure(1, 2, width=4.6, height=3.4, share=False)
    for wire, colour in zip(WIRES, palette, strict=True):
        own = [row for row in rows if row.wire == wire]
        sizes = [row.size for row in own]
        left.plot(sizes, [1e12 * row.fine for row in own], "o-", color=colour, label=wire)
        left.plot(sizes, [1e12 * row.elmore for row in own], ":", color=colour, linewidth=1.2)
        right.plot(sizes, [1e18 * row.energy / row.size**2 for row in own], "o-", color=colour)
    left.plot([], [], ":", color=QUIET, label="Elmore delay\nof the wire")
    left.set(ylabel="ps until all outputs stay within 0.1 %", title="How long a read takes")
    right.set(ylabel="aJ per multiplication and addition", title="What it costs")
    for axes in (left, right):
        axes.set(xlabel="array size N", yscale="log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        set_abscissa(axes, sorted({row.size for row in rows}))
    figure.legend(loc="outside right center", title="wire")
    return figure


def main() -> None:
    parser = Arguments(__doc__, sizes=[8, 16, 32, 64, 128])
    parser.add_argument("--c-cell", type=float, default=0.0, help="Farad across each cell.")
    parser.add_argument("--check", action="store_true", help="Compare with ngspice.")
    options = parser.parse(sizes=[4, 8])
    print("   wire     N   Elmore, ps   1 %, ps  0.1 %, ps  mat-vec, fJ  its static part  per MAC, aJ  modes")
    rows = []
    for wire in WIRES:
        for size in options.sizes:
            rows.append(measured(wire, size, options.c_cell))
            print(line(rows[-1]), flush=True)
    if options.check:
        print("\nngspice off the modes, relative; then both balances")
        print("    N  steps       1 %     0.1 % delivered     cells     wires periphery   ngspice     modes")
        for size in [size for size in options.sizes if size <= 32]:
            print(compared(size, options.c_cell), flush=True)
    publish(lambda: draw(rows), options.out, "settling")


if __name__ == "__main__":
    main()
