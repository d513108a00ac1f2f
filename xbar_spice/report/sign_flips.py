"""The figure of flipped signs: how many entries of a gradient flip, and how large they are, against the array size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from xbar_spice.report.style import INK, MARKERS, colours, new_figure, set_abscissa, set_log_ordinate, styled

__all__ = ["FlipCurves", "draw_sign_flips"]

_LINES = {"digital": "-", "true": "--"}
_PANELS = {"share": "entries that flip", "largest": "largest entry that flips"}


@final
@dataclass(frozen=True)
class FlipCurves:
    """Flipped entries against the array size.

    Attributes:
        sizes: array sizes.
        share: part of the entries that flipped, one for each size, by wire resistance (ohm) and reference ("digital" or
            "true").
        largest: size of the largest of these, relative to the largest entry of all.
        median: their median size.
    """

    sizes: Sequence[int]
    share: Mapping[tuple[float, str], Sequence[float]]
    largest: Mapping[tuple[float, str], Sequence[float]]
    median: Mapping[tuple[float, str], Sequence[float]]


def draw_sign_flips(cases: Mapping[str, FlipCurves]) -> Figure:
    """One column of panels for each case: above how many entries flip, below how large they are.

    Args:
        cases: curves by the title of the case, all of the same wire resistances.
    """
    with styled():
        figure, panels = new_figure(len(_PANELS), len(cases), width=4.4, height=2.9, share=False)
        wires = sorted({ohm for curves in cases.values() for ohm, _ in curves.share})
        shades = dict(zip(wires, colours(wires, ordered=True), strict=True))
        grid = [(panel, title) for panel in _PANELS for title in cases]
        for axes, (panel, title) in zip(panels, grid, strict=True):
            _draw(axes, cases[title].sizes, getattr(cases[title], panel), shades)
            axes.set_title(title if panel == "share" else "")
            if panel == "largest":
                axes.set_xlabel("array size")
        for axes, label in zip(panels[:: len(cases)], _PANELS.values(), strict=True):
            axes.set_ylabel(label if label.startswith("entries") else f"{label} / largest of all")
        handles = [Line2D([], [], color=shade, label=f"{ohm:g} ohm") for ohm, shade in shades.items()]
        handles += [Line2D([], [], color=INK, ls=line, label=f"against {name}") for name, line in _LINES.items()]
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


def _draw(
    axes: Axes,
    sizes: Sequence[int],
    curves: Mapping[tuple[float, str], Sequence[float]],
    shades: Mapping[float, Any],
) -> None:
    for ohm, marker in zip(shades, MARKERS, strict=False):
        for reference, line in _LINES.items():
            values = np.array(curves[ohm, reference])
            shown = np.where(values > 0, values, np.nan)
            axes.plot(sizes, shown, marker=marker, ls=line, lw=1.4, color=shades[ohm])
    positive = np.array([value for values in curves.values() for value in values if value > 0])
    if positive.size:
        set_log_ordinate(axes, positive, percent=True)
    set_abscissa(axes, [float(size) for size in sizes])
