"""The figure of an attribution: how much each source of error counts, alone, on average, and when it is removed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from xbar_spice.report.style import INK, QUIET, colours, new_figure, styled

__all__ = ["draw_attribution"]

_WAYS = ("alone", "Shapley share", "saved by removing it")
_HEIGHT = 0.26  # of a bar, in units of the distance between sources


def draw_attribution(record: Mapping[str, Any], measures: Sequence[str]) -> Figure:
    """Horizontal bars for each source, one panel for each measure, the largest share on top.

    Args:
        record: of an `Attribution`.
        measures: names among its measures; the first one sets the order of the sources.
    """
    found = record["measures"]
    order = sorted(record["sources"], key=lambda source: float(found[measures[0]]["shapley"][source]))
    with styled():
        figure, panels = new_figure(1, len(measures), width=3.6, height=0.75 * len(order) + 1.0, share=False)
        for axes, measure in zip(panels, measures, strict=True):
            values = found[measure]
            saved = {source: values["total"] - values["all but"][source] for source in order}
            bars = zip(_WAYS, (values["alone"], values["shapley"], saved), colours(_WAYS, ordered=False), strict=True)
            for place, (way, counted, colour) in enumerate(bars):
                heights = np.arange(len(order)) + (1 - place) * _HEIGHT
                axes.barh(heights, [counted[source] for source in order], height=_HEIGHT, color=colour, label=way)
            axes.axvline(values["total"], color=INK, lw=1.2, ls="--", label="all sources together")
            axes.axvline(0.0, color=QUIET, lw=0.8)
            axes.set_title(f"{measure}: {100 * values['total']:.3g} %")
            axes.set_xlabel("relative error")
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
            axes.xaxis.set_major_locator(MaxNLocator(5))
            axes.set_yticks(range(len(order)), order if axes is panels[0] else [""] * len(order))
            axes.grid(visible=False, axis="y")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure
