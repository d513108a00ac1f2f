#!/usr/bin/env python3
"""How well one cell of a passive array can be read: margins by biasing scheme and array size, and what a read costs.

Square arrays of cells of 10 kohm or 1 Mohm, drawn with equal odds for every chip, with wires of --ohm per segment,
drivers of 50 ohm and sense terminals of 20 ohm. The cell in the middle is read in both states under every scheme of
`xs.half_select`; its margin is the difference of the two currents at its bit line, relative to the larger one. Once
with cells that are resistors, once with a selector in series. Prints medians over the chips with the least and the
largest and draws sneak_paths.png.
"""

from __future__ import annotations

from typing import Literal

from common import Arguments, publish

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

import xbar_spice as xs
from xbar_spice.hardware.device import Device
from xbar_spice.report.spread import spread
from xbar_spice.report.style import colours, new_figure, set_abscissa
from xbar_spice.streams import random_stream

LOW, HIGH = 1e-6, 1e-4  # siemens of the two states
Scheme = Literal["grounded", "V/2", "V/3", "floating"]
SCHEMES: tuple[Scheme, ...] = ("grounded", "V/2", "V/3", "floating")
DEVICES: dict[str, Device] = {"resistors": xs.Ohmic(), "with selectors": xs.OneSelectorOneResistor(i0=1e-9, v0=0.05)}
Found = dict[tuple[str, str, int], tuple[list[float], list[float]]]


def main() -> None:
    parser = Arguments(__doc__, sizes=[4, 8, 16, 32, 64], chips=8)
    parser.add_argument("--ohm", type=float, default=1.0, help="Ohm per segment.")
    parser.add_argument("--volts", type=float, default=1.0, help="Volts of the read.")
    options = parser.parse(sizes=[4], chips=1)
    found: Found = {}
    for name, device in DEVICES.items():
        for size in options.sizes:
            for chip in range(options.chips):
                pattern = random_stream(chip, "sneak paths", str(size)).random((size, size)) < 0.5
                for scheme in SCHEMES:
                    margin, watts = measured(pattern, device, scheme, options.ohm, options.volts)
                    margins, powers = found.setdefault((name, scheme, size), ([], []))
                    margins.append(margin)
                    powers.append(watts)
    for name in DEVICES:
        print(f"\n{name}, {options.ohm:g} ohm, {options.volts:g} V, {options.chips} chips: median (least to largest)")
        print(f"{'scheme':<10}{'size':>5}{'margin':>28}{'power, uW':>36}")
        for scheme in SCHEMES:
            for size in options.sizes:
                margins, powers = found[name, scheme, size]
                power = spread([1e6 * watts for watts in powers], ".3g")
                print(f"{scheme:<10}{size:>5}{spread(margins, '.1%'):>28}{power:>36}")
    publish(lambda: draw(found, options.sizes), options.out, "sneak_paths")


def measured(
    pattern: NDArray[np.bool_], device: Device, scheme: Scheme, ohm: float, volts: float
) -> tuple[float, float]:
    """The margin of the cell in the middle, and the power of reading it in its state of low resistance."""
    middle = (pattern.shape[0] // 2, pattern.shape[1] // 2)
    currents, powers = [], []
    for state in (LOW, HIGH):
        conductance = np.where(pattern, HIGH, LOW)
        conductance[middle] = state
        crossbar = xs.Crossbar(conductance, ohm, ohm, 50.0, 20.0, device)
        solution = xs.solve_array(crossbar, xs.half_select(crossbar, middle, volts, scheme))
        currents.append(float(solution.currents.bottom[middle[1]]))
        powers.append(solution.source_power)
    return (currents[1] - currents[0]) / max(map(abs, currents)), powers[1]


def draw(found: Found, sizes: list[int]) -> Figure:
    figure, panels = new_figure(1, 2, width=4.0, height=3.2)
    for axes, name in zip(panels, DEVICES, strict=True):
        for scheme, colour in zip(SCHEMES, colours(SCHEMES, ordered=False), strict=True):
            margins = np.array([found[name, scheme, size][0] for size in sizes])
            axes.plot(sizes, 100 * np.median(margins, axis=1), "o-", color=colour, label=scheme)
            axes.fill_between(sizes, 100 * margins.min(axis=1), 100 * margins.max(axis=1), color=colour, alpha=0.15)
        set_abscissa(axes, sizes)
        axes.set_title(name)
        axes.set_xlabel("word lines and bit lines")
    panels[0].set_ylabel("read margin, %")
    panels[0].legend()
    return figure


if __name__ == "__main__":
    main()
