#!/usr/bin/env python3
"""The diagrams of the README and the documentation: a crossbar, how it works, floors, data, biases, a loop.

The crossbar is that of examples/crossbar_read.py, with the currents that the nodal engine finds in it; the floors are
those of the contract in pyproject.toml. Each is written as .png and as .svg.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from common import ROOT, Arguments, publish

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Polygon

import xbar_spice as xs
from xbar_spice.report.style import INK, QUIET, new_figure

Point = tuple[float, float]
WORD, BIT, PALE, WARM, COOL = "#0072b2", "#d55e00", "#eef2f7", "#fdf0e6", "#e6f1f8"


def main() -> None:
    parser = Arguments(__doc__)
    parser.add_argument("--only", nargs="+", choices=DIAGRAMS, default=list(DIAGRAMS), help="Which diagrams.")
    options = parser.parse(only=["crossbar"])
    for name in options.only:
        publish(DIAGRAMS[name], options.out, name)


# --- pieces ---------------------------------------------------------------------------------------------------------


def sheet(width: float, height: float, *, inches: float) -> tuple[Figure, Axes]:
    """An empty sheet from (0, 0) to (width, height), with y upwards, of this width in inches."""
    figure, (axes,) = new_figure(1, 1, width=inches - 0.6, height=inches * height / width - 0.4)
    axes.set(xlim=(0, width), ylim=(0, height), aspect="equal")
    axes.set_axis_off()
    return figure, axes


def wire(axes: Axes, *points: Point, colour: str = INK, width: float = 1.6) -> None:
    axes.plot(*zip(*points, strict=True), color=colour, linewidth=width, solid_capstyle="round", zorder=2)


def resistor(axes: Axes, start: Point, end: Point, *, colour: str = INK, length: float = 0.42) -> None:
    """A wire with a zigzag in its middle."""
    a, b = np.array(start), np.array(end)
    along = (b - a) / np.linalg.norm(b - a)
    across = np.array([-along[1], along[0]])
    first = (a + b - along * length) / 2
    zigzag = [first + along * length * s + 0.085 * side * across for s, side in ZIGZAG]
    wire(axes, start, *(tuple(point) for point in zigzag), end, colour=colour, width=1.3)


ZIGZAG = [(0.0, 0), *(((k + 0.5) / 6, 1 if k % 2 else -1) for k in range(6)), (1.0, 0)]


def dot(axes: Axes, at: Point, colour: str) -> None:
    axes.plot(*at, "o", color=colour, markersize=4.5, zorder=4)


def memristor(axes: Axes, start: Point, end: Point, fill: Any) -> None:
    """A cell: a box on a slanting line, filled by its conductance."""
    a, b = np.array(start), np.array(end)
    along = (b - a) / np.linalg.norm(b - a)
    across, middle = np.array([-along[1], along[0]]), (a + b) / 2
    wire(axes, start, end, width=1.2)
    corners = [middle + 0.17 * s * along + 0.1 * t * across for s, t in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
    axes.add_patch(Polygon(corners, closed=True, facecolor=fill, edgecolor=INK, linewidth=1.2, zorder=5))


def triangle(axes: Axes, tip: Point, *, down: bool, fill: str, size: float = 0.5) -> None:
    """An amplifier, whose tip points to the right or down."""
    x, y = tip
    corners = (
        [(x, y), (x - 0.6 * size, y + size), (x + 0.6 * size, y + size)]
        if down
        else [(x, y), (x - size, y - 0.6 * size), (x - size, y + 0.6 * size)]
    )
    axes.add_patch(Polygon(corners, closed=True, facecolor=fill, edgecolor=INK, linewidth=1.3, zorder=4))


def arrow(axes: Axes, start: Point, end: Point, *, colour: str = INK, bend: float = 0.0, dashed: bool = False) -> None:
    axes.add_patch(
        FancyArrowPatch(
            start,
            end,
            arrowstyle="-|>",
            mutation_scale=12,
            color=colour,
            linewidth=1.5,
            linestyle="--" if dashed else "-",
            shrinkA=0,
            shrinkB=0,
            connectionstyle=f"arc3,rad={bend}",
            zorder=3,
        )
    )


def box(axes: Axes, at: Point, size: Point, title: str, text: str = "", *, fill: str = PALE) -> None:
    """A rounded box with its lower left corner `at`: a title, and lines of text below it."""
    (x, y), (width, height) = at, size
    axes.add_patch(
        FancyBboxPatch(at, width, height, boxstyle="round,pad=0,rounding_size=0.12", fc=fill, ec=QUIET, lw=1.0)
    )
    middle = x + width / 2
    lines = 0.26 * len(text.splitlines())
    axes.text(middle, y + (height + lines) / 2, title, ha="center", va="center", weight="bold", zorder=6)
    if text:
        axes.text(middle, y + (height - 0.3) / 2, text, ha="center", va="center", fontsize=9, color=INK, zorder=6)


def label(axes: Axes, at: Point, text: str, **more: Any) -> None:
    said: dict[str, Any] = {"ha": "center", "va": "center", "zorder": 6} | more
    axes.text(*at, text, **said)


# --- the diagrams ---------------------------------------------------------------------------------------------------


def crossbar() -> Figure:
    """The array of the first example, drawn as a circuit, with what the network solver finds in it."""
    example = (ROOT / "examples" / "crossbar_read.py").read_text(encoding="utf-8")
    matrix, drive = (np.array(json.loads(text)) for text in re.findall(r"np\.array\((\[.*?\])\)", example))
    ohm: dict[str, Any] = {name: float(value) for name, value in re.findall(r"(r_\w+)=([\d.]+)", example)}
    array = xs.Crossbar(1e-6 * matrix, **ohm)
    amperes, without = 1e6 * xs.solve_array(array, drive).sense_currents, matrix.T @ drive

    figure, axes = sheet(10.4, 7.7, inches=8.6)
    pitch, slant, micro, omega = 1.95, 0.62, "\N{MICRO SIGN}", "\N{GREEK CAPITAL LETTER OMEGA}"
    across, down = 3.4 + pitch * np.arange(3), 7.0 - 1.55 * np.arange(3)
    levels, foot = down - slant, down[-1] - slant - 1.5
    for volt, y in zip(drive, down, strict=True):
        label(axes, (0.62, y), f"{volt:g} V", color=WORD, weight="bold")
        triangle(axes, (1.62, y), down=False, fill=COOL)
        resistor(axes, (1.62, y), (2.5, y), colour=WORD)
        resistor(axes, (2.5, y), (across[0], y), colour=WORD)
        for x in across[:-1]:
            wire(axes, (x, y), (x + slant, y), colour=WORD, width=1.3)
            resistor(axes, (x + slant, y), (x + pitch, y), colour=WORD)
    for ampere, ideal, x in zip(amperes, without, across + slant, strict=True):
        for y, below in pairwise(levels):
            resistor(axes, (x, y), (x, y - 0.8), colour=BIT)
            wire(axes, (x, y - 0.8), (x, below), colour=BIT, width=1.3)
        resistor(axes, (x, levels[-1]), (x, levels[-1] - 0.8), colour=BIT)
        resistor(axes, (x, levels[-1] - 0.8), (x, foot), colour=BIT)
        triangle(axes, (x, foot - 0.5), down=True, fill=WARM)
        arrow(axes, (x, foot - 0.5), (x, foot - 0.95), colour=BIT)
        label(axes, (x, foot - 1.13), f"{ampere:.2f} {micro}A", color=BIT, weight="bold")
        label(axes, (x, foot - 1.42), f"without wires {ideal:.2f}", color=QUIET, fontsize=8)
    for row, y in enumerate(down):
        for col, x in enumerate(across):
            shade = colormaps["viridis_r"](0.1 + 0.8 * matrix[row, col] / matrix.max())
            memristor(axes, (x, y), (x + slant, y - slant), shade)
            dot(axes, (x, y), WORD)
            dot(axes, (x + slant, y - slant), BIT)
            label(axes, (x + 0.14, y - slant + 0.03), f"{matrix[row, col]} {micro}S", fontsize=8.5, ha="right")
    end, small = across[-1] + slant + 0.25, {"fontsize": 9, "color": QUIET}
    label(axes, (1.35, down[0] + 0.52), "drivers", **small)
    label(axes, (2.06, down[0] + 0.27), f"{ohm['r_driver']:g} {omega}", **small)
    label(axes, (across[0] + 1.28, down[0] + 0.27), f"{ohm['r_word']:g} {omega} a segment", **small)
    label(axes, (across[-1] + 0.1, down[0] + 0.27), "word line", fontsize=9.5, color=WORD, ha="left")
    label(axes, (end, levels[0] + 0.4), "cell: a memristor,\nread as a conductance", **small, ha="left")
    label(axes, (end, levels[1] - 0.4), "bit line", fontsize=9.5, color=BIT, ha="left")
    label(axes, (end, levels[-1] - 0.4), f"{ohm['r_bit']:g} {omega} a segment", **small, ha="left")
    label(axes, (end, levels[-1] - 1.15), f"{ohm['r_sense']:g} {omega}", **small, ha="left")
    label(axes, (end + 0.15, foot - 0.2), "sense amplifiers\nhold the lines at 0 V", **small, ha="left")
    return figure


def how_it_works() -> Figure:
    """Three steps on one sheet: the circuit's equations, the adjoint, and the transposed read."""
    figure, axes = sheet(12.0, 4.5, inches=11.0)
    top, size = 0.25, (3.7, 4.0)
    for x, title in ((0.1, "1  a read"), (4.15, "2  the same array, read backwards"), (8.2, "3  a gradient")):
        box(axes, (x, top), size, "")
        label(axes, (x + 0.2, 3.95), title, ha="left", weight="bold")
    for x, driven in ((0.1, True), (4.15, False)):
        small_array(axes, (x + 1.3, 1.55), driven=driven)
    label(axes, (1.95, 0.82), r"$Y\,u = S\,v$,   $i = P\,u$", fontsize=11)
    label(axes, (1.95, 0.48), r"$i = W_{\mathrm{eff}}\,v$", fontsize=11)
    label(axes, (6.0, 0.82), r"$Y = Y^\top$:  nothing but resistors", fontsize=10)
    label(axes, (6.0, 0.48), r"$j = W_{\mathrm{eff}}^\top\,w$   exactly", fontsize=11)
    label(axes, (10.05, 3.35), r"$z_{k+1} = z_k + h\,f(z_{k+1})$", fontsize=11)
    label(axes, (10.05, 2.95), "every product a read of A, B", fontsize=9, color=QUIET)
    arrow(axes, (8.6, 2.6), (11.5, 2.6), colour=WORD)
    label(axes, (10.05, 2.42), "forward: A, then B", fontsize=9, color=WORD)
    arrow(axes, (11.5, 1.95), (8.6, 1.95), colour=BIT)
    label(axes, (10.05, 1.77), r"backward: B$^\top$, then A$^\top$", fontsize=9, color=BIT)
    label(axes, (10.05, 1.3), r"$(I - h\,J_k)^\top \lambda_k = \lambda_{k+1}$", fontsize=11)
    label(axes, (10.05, 0.8), r"$\partial L/\partial A = h\sum_k p_k\,z_{k+1}^\top$", fontsize=11)
    label(axes, (10.05, 0.45), "of the model that the circuit makes: exact", fontsize=9, color=QUIET)
    return figure


def small_array(axes: Axes, at: Point, *, driven: bool) -> None:
    """Two word lines and two bit lines at `at`, with volts at the word lines or at the bit lines."""
    x, y = at
    into, out = (WORD, BIT) if driven else (BIT, WORD)
    for k in range(2):
        wire(axes, (x - 0.1, y + 0.9 - 0.9 * k + 0.75), (x + 1.5, y + 0.9 - 0.9 * k + 0.75), colour=WORD)
        wire(axes, (x + 0.85 + 0.9 * k, y + 1.95), (x + 0.85 + 0.9 * k, y + 0.05), colour=BIT)
        for m in range(2):
            corner = (x + 0.4 + 0.9 * k, y + 0.9 - 0.9 * m + 0.75)
            memristor(axes, corner, (corner[0] + 0.45, corner[1] - 0.45), COOL)
        level, column = y + 0.9 - 0.9 * k + 0.75, x + 0.85 + 0.9 * k
        if driven:
            arrow(axes, (x - 0.55, level), (x - 0.1, level), colour=into)
            arrow(axes, (column, y + 0.05), (column, y - 0.3), colour=out)
        else:
            arrow(axes, (x - 0.1, level), (x - 0.55, level), colour=out)
            arrow(axes, (column, y - 0.3), (column, y + 0.05), colour=into)
    label(axes, (x - 0.75, y + 1.2), "$v$" if driven else "$j$", color=WORD, fontsize=12)
    label(axes, (x + 1.3, y - 0.2), "$i$" if driven else "$w$", color=BIT, fontsize=12)


def floors() -> Figure:
    """The packages as floors: each imports from those below it."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    layers: Sequence[str] = next(each["layers"] for each in contracts if each["name"] == "Floors")
    figure, axes = sheet(9.0, 0.5 * len(layers) + 0.3, inches=7.0)
    for level, layer in enumerate(reversed(layers)):
        rooms = re.findall(r"\w+", layer)
        width = (8.0 - 0.15 * (len(rooms) - 1)) / len(rooms)
        for k, room in enumerate(rooms):
            fill = COOL if room in ("hardware", "mapping", "solve") else PALE
            box(axes, (0.1 + k * (width + 0.15), 0.15 + 0.5 * level), (width, 0.4), room, fill=fill)
    arrow(axes, (8.55, 0.5 * len(layers)), (8.55, 0.2), colour=QUIET)
    label(axes, (8.78, 0.25 * len(layers)), "imports", rotation=270, color=QUIET, fontsize=9)
    return figure


def data_flow() -> Figure:
    """How a weight becomes a current and a case becomes a figure, by the central values."""
    figure, axes = sheet(13.0, 5.6, inches=11.0)
    top, middle, low, size = 4.3, 2.35, 0.35, (2.5, 1.0)
    box(axes, (0.2, top), size, "weights", "A, B: numbers")
    box(axes, (3.6, top), size, "MappedMatrix", "devices, lines, signs", fill=COOL)
    box(axes, (7.0, top), size, "Crossbar", "one circuit a tile", fill=COOL)
    box(axes, (10.3, top), size, "Bank", "programmed, ready to read")
    for x, text in ((2.7, "Mapping"), (6.1, "tiles"), (9.5, "Engine")):
        arrow(axes, (x, top + 0.5), (x + (0.9 if x < 9 else 0.8), top + 0.5))
        label(axes, (x + 0.42, top + 0.74), text, fontsize=8.5, color=QUIET)
    box(axes, (10.3, middle), size, "AnalogMatrix", ".mv  and  .T.mv")
    arrow(axes, (11.3, top), (11.3, middle + 1.0), colour=BIT)
    arrow(axes, (11.8, middle + 1.0), (11.8, top), colour=WORD)
    label(axes, (11.2, 3.82), "amperes", fontsize=8.5, color=BIT, ha="right")
    label(axes, (11.9, 3.82), "volts", fontsize=8.5, color=WORD, ha="left")
    box(axes, (7.0, middle), size, "Field", "f(z) = B relu(A z), ...", fill=COOL)
    arrow(axes, (10.3, middle + 0.5), (9.5, middle + 0.5))
    box(axes, (3.6, middle), size, "solve", "steps, Newton, adjoint")
    arrow(axes, (7.0, middle + 0.5), (6.1, middle + 0.5))
    box(axes, (0.2, middle), size, "Problem", "model, samples, loss")
    arrow(axes, (2.7, middle + 0.5), (3.6, middle + 0.5))
    arrow(axes, (1.45, top), (1.45, middle + 1.0), dashed=True)
    label(axes, (1.6, 3.82), "the same weights, digital", fontsize=8.5, color=QUIET, ha="left")
    box(axes, (0.2, low), size, "Study", "axes and seeds: cases")
    arrow(axes, (1.45, low + 1.0), (1.45, middle))
    box(axes, (3.6, low), size, "record", "errors, effort, reads")
    arrow(axes, (4.85, middle), (4.85, low + 1.0))
    box(axes, (7.0, low), size, "store", "a line for each case")
    box(axes, (10.3, low), size, "report", "figures, tables, a page")
    arrow(axes, (6.1, low + 0.5), (7.0, low + 0.5))
    arrow(axes, (9.5, low + 0.5), (10.3, low + 0.5))
    return figure


def biases() -> Figure:
    """An array of two word lines and two bit lines with what may stand at each of its eight ends."""
    figure, axes = sheet(11.0, 6.6, inches=8.6)
    across, down, slant = (3.9, 6.1), (4.3, 2.9), 0.55
    for k, y in enumerate(down):
        wire(axes, (across[0] - 0.7, y), (across[1] + slant + 0.9, y), colour=WORD)
        resistor(axes, (1.9, y), (across[0] - 0.7, y), colour=WORD)
        resistor(axes, (across[1] + slant + 0.9, y), (8.8, y), colour=WORD)
        label(axes, (1.05, y), f"left[{k}]", color=WORD, weight="bold")
        label(axes, (9.65, y), f"right[{k}]", color=WORD, weight="bold")
        label(axes, (2.5, y + 0.28), f"r_left[{k}]", fontsize=8.5, color=QUIET)
        label(axes, (8.15, y + 0.28), f"r_right[{k}]", fontsize=8.5, color=QUIET)
    for k, x in enumerate(across):
        wire(axes, (x + slant, 5.0), (x + slant, 1.7), colour=BIT)
        resistor(axes, (x + slant, 5.7), (x + slant, 5.0), colour=BIT)
        resistor(axes, (x + slant, 1.7), (x + slant, 1.0), colour=BIT)
        label(axes, (x + slant, 5.95), f"top[{k}]", color=BIT, weight="bold")
        label(axes, (x + slant, 0.75), f"bottom[{k}]", color=BIT, weight="bold")
        label(axes, (x + slant + 0.2, 5.35), f"r_top[{k}]", fontsize=8.5, color=QUIET, ha="left")
        label(axes, (x + slant + 0.2, 1.35), f"r_bottom[{k}]", fontsize=8.5, color=QUIET, ha="left")
        for y in down:
            memristor(axes, (x, y), (x + slant, y - slant), COOL)
            dot(axes, (x, y), WORD)
            dot(axes, (x + slant, y - slant), BIT)
    return figure


def feedback_loop() -> Figure:
    """The loop of op-amps through both arrays that settles at the solution of Newton's system."""
    figure, axes = sheet(13.0, 3.9, inches=11.0)
    top, size = 2.35, (2.1, 1.0)
    for x, title, text in (
        (0.9, "array A", "read by d"),
        (4.0, "amplifiers", "currents to volts"),
        (7.1, "gates D", "one a hidden unit"),
        (10.2, "array B", "currents out"),
    ):
        box(axes, (x, top), size, title, text, fill=COOL if "array" in title else PALE)
    for x, text in ((3.0, ""), (6.1, "s = -A d / |A|"), (9.2, "D s")):
        arrow(axes, (x, top + 0.5), (x + 1.0, top + 0.5))
        label(axes, (x + 0.5, top + 0.72), text, fontsize=8.5, color=QUIET)
    box(axes, (4.0, 0.25), (5.2, 1.0), "op-amps", "summing nodes at 0 V, feedback G0 = k_B / (h |A|)", fill=WARM)
    wire(axes, (11.25, top), (11.25, 0.6), colour=BIT)
    arrow(axes, (11.25, 0.6), (9.2, 0.6), colour=BIT)
    label(axes, (11.4, 1.5), "currents\nof B D A d", fontsize=8.5, color=BIT, ha="left")
    arrow(axes, (12.8, 0.95), (9.2, 0.95))
    label(axes, (12.3, 1.15), "-G0 F", fontsize=9)
    wire(axes, (4.0, 0.75), (0.4, 0.75), (0.4, top + 0.5), colour=WORD)
    arrow(axes, (0.4, top + 0.5), (0.9, top + 0.5), colour=WORD)
    label(axes, (2.2, 0.97), "d, the solution", fontsize=9, color=WORD)
    return figure


DIAGRAMS = {each.__name__: each for each in (crossbar, how_it_works, floors, data_flow, biases, feedback_loop)}

if __name__ == "__main__":
    main()
