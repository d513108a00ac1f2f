"""The figure of an attribution: how much each source of error counts, on average, alone, and when it is removed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from xbar_spice.report.style import INK, QUIET, colours, new_figure, styled

__all__ = ["draw_attribution"]


def draw_attribution(record: Mapping[str, Any], measures: Sequence[str] | None = None) -> Figure:
    """One bar for each source, its Shapley value, with what it does alone and what its removal saves marked beside it.

    Args:
        record: of an `Attribution`.
        measures: names among its measures, one panel for each; the first one sets the order of the sources, the largest
            on top. The gradients and the state when left out.
    """
    found = record["measures"]
    if measures is None:
        measures = [*(name for name in found if name.startswith("gradient")), "state"]
    order = sorted(record["sources"], key=lambda source: float(found[measures[0]]["shapley"][source]))
    with styled():
        figure, panels = new_figure(1, len(measures), width=3.6, height=0.42 * len(order) + 1.4, share=False)
        for axes, measure in zip(panels, measures, strict=True):
            _draw_panel(axes, found[measure], order)
            axes.set_title(f"{measure}: {100 * found[measure]['total']:.3g} %")
            axes.set_yticks(range(len(order)), order if axes is panels[0] else [""] * len(order))
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def _draw_panel(axes: Axes, values: Mapping[str, Any], order: Sequence[str]) -> None:
    """The sources of one measure, each at its height."""
    heights = np.arange(len(order))
    share, alone, saved = colours(["share", "alone", "saved"], ordered=False)
    by_removal = [values["total"] - values["all but"][source] for source in order]
    bars = [values["shapley"][source] for source in order]
    spread = [values["shapley error"][source] for source in order]
    axes.barh(heights, bars, xerr=spread if any(spread) else None, height=0.6, color=share, label="Shapley share")
    axes.plot([values["alone"][source] for source in order], heights, "o", color=alone, label="alone")
    axes.plot(by_removal, heights, "D", color=saved, mfc="white", mew=1.4, label="saved by removing it")
    axes.axvline(values["total"], color=INK, lw=1.2, ls="--", label="all sources together")
    axes.axvline(0.0, color=QUIET, lw=0.8)
    axes.set_xlabel("relative error")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.grid(visible=False, axis="y")
