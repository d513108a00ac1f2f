#!/usr/bin/env python3
"""How IR drop and variation change a gradient, against array size.

The digits-conv model in tiles of each size, for each wire resistance, with devices as meant and with a programming
error. A chip is a seed, which draws the devices and the images. Printed are, as the median over the chips with the
least and the largest: the relative error of the gradient of kernel a that the arrays return against the digital one,
the angle between the two, and the error of the last state. Writes array_size.png and array_size.svg, with medians as
lines and quartiles as bands.
"""

from __future__ import annotations

from dataclasses import replace

from common import Arguments, digits_model, model_line, publish

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import xbar_spice as xs
from xbar_spice.linear.operator import FloatArray
from xbar_spice.report.spread import spread
from xbar_spice.report.style import MARKERS, colours, new_figure, set_abscissa, set_log_ordinate
from xbar_spice.study.problem import make_problem

DESIGN = xs.Design(r_driver=20.0, mapping="interleaved")
Found = dict[tuple[float, float, int], FloatArray]  # (chips, 3): error, degrees, error of the state


def main() -> None:
    parser = Arguments(__doc__, weights=None, samples=4, chips=8, tiles=[8, 16, 32, 64])
    parser.add_argument("--wires", type=float, nargs="+", default=[0.5, 1.0, 4.0], help="Ohm per segment.")
    parser.add_argument("--programming", type=float, default=0.05, help="Relative standard deviation of the devices.")
    options = parser.parse(samples=1, chips=1, tiles=[64], wires=[1.0])
    model = digits_model(options)
    problems = [make_problem(model, samples=options.samples, seed=chip) for chip in range(options.chips)]
    print(f"{model_line(model, options)}, {options.chips} chips: median (least to largest)")
    print(f"{'programming':>11}{'ohm':>6}{'tile':>6}{'gradient':>28}{'angle, degrees':>24}{'last state':>26}")
    found: Found = {}
    for programming in (0.0, options.programming):
        for ohm in options.wires:
            for tile in options.tiles:
                variation = xs.Variation(programming=programming)
                design = replace(DESIGN, tile=tile, r_word=ohm, r_bit=ohm, variation=variation)
                chips = np.array([one_chip(problem, design, chip) for chip, problem in enumerate(problems)])
                found[programming, ohm, tile] = chips
                error, degrees, state = (spread(chips[:, k], form) for k, form in enumerate((".1%", ".1f", ".1%")))
                print(f"{programming:>11.0%}{ohm:>6g}{tile:>6}{error:>28}{degrees:>24}{state:>26}", flush=True)
    publish(lambda: drawn(found), options.out, "array_size")


def one_chip(problem: xs.Problem, design: xs.Design, seed: int) -> tuple[float, float, float]:
    """Relative error of the gradient of kernel a, its angle to the digital one in degrees, and error of the state."""
    record = xs.cosimulate(problem, design, engine="nodal", seed=seed).record
    gradient = record["gradients"]["a"]
    degrees = float(np.degrees(np.arccos(min(gradient["cosine"], 1.0))))
    return gradient["relative_error"], degrees, record["state"]["relative_error"]


def drawn(found: Found) -> Figure:
    """Errors with devices as meant and with the programming error, and the angles of the latter."""
    tiles, wires = sorted({key[2] for key in found}), sorted({key[1] for key in found})
    without, programming = min(key[0] for key in found), max(key[0] for key in found)
    figure, panels = new_figure(1, 3, width=3.3, height=3.2, share=False)
    titles = ("wires alone", f"wires, and devices off by {programming:.0%}", "the same: angle to the digital one")
    for axes, title, part, column in zip(panels, titles, (without, programming, programming), (0, 0, 1), strict=True):
        curves = {ohm: np.array([found[part, ohm, tile][:, column] for tile in tiles]) for ohm in wires}
        draw_curves(axes, tiles, curves)
        axes.set_title(title)
        axes.set_xlabel("array size T (tiles of T x T weights)")
    errors = np.concatenate([chips[:, 0] for chips in found.values()])
    for axes in panels[:2]:
        set_log_ordinate(axes, errors, percent=True)
    panels[0].set_ylabel("relative error of the gradient")
    panels[2].set_ylabel("degrees")
    panels[2].set_ylim(bottom=0)
    panels[0].legend(title="ohm per segment", loc="upper left")
    return figure


def draw_curves(axes: Axes, tiles: list[int], curves: dict[float, FloatArray]) -> None:
    """A line of medians with a band of quartiles for each wire resistance; each curve is (tiles, chips)."""
    for (ohm, chips), colour, marker in zip(curves.items(), colours(list(curves), ordered=True), MARKERS, strict=False):
        low, middle, high = np.quantile(chips, [0.25, 0.5, 0.75], axis=1)
        axes.fill_between(tiles, low, high, color=colour, alpha=0.2, linewidth=0)
        axes.plot(tiles, middle, marker=marker, color=colour, label=f"{ohm:g}")
    set_abscissa(axes, tiles)


if __name__ == "__main__":
    main()
