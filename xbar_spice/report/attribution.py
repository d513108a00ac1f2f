"""The figure of an attribution: how much each source of error counts, on average, alone, and when it is removed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from xbar_spice.linear.operator import FloatArray
from xbar_spice.report.style import INK, QUIET, colours, new_figure, styled

__all__ = ["draw_attribution"]


def draw_attribution(records: Sequence[Mapping[str, Any]], measures: Sequence[str] | None = None) -> Figure:
    """One bar for each source, its Shapley value, with what it does alone and what its removal saves marked beside it.

    Args:
        records: Of the `Attribution` of each chip, all of the same sources. Of several chips everything drawn is a
            median, and the whiskers of the bars go from the least to the largest; of one chip they are the standard
            errors of values that were estimated.
        measures: Names among its measures, one panel for each; the first one sets the order of the sources, the largest
            on top. The gradients and the state when left out.
    """
    if measures is None:
        measures = [*(name for name in records[0]["measures"] if name.startswith("gradient")), "state"]
    found = {measure: [record["measures"][measure] for record in records] for measure in measures}
    order = sorted(
        records[0]["sources"], key=lambda source: float(np.median(_each(found[measures[0]], "shapley", [source])))
    )
    with styled():
        figure, panels = new_figure(1, len(measures), width=3.6, height=0.42 * len(order) + 1.4, share=False)
        for axes, measure in zip(panels, measures, strict=True):
            _draw_panel(axes, found[measure], order)
            total = float(np.median([values["total"] for values in found[measure]]))
            axes.set_title(f"{measure}: {100 * total:.3g} %")
            axes.set_yticks(range(len(order)), order if axes is panels[0] else [""] * len(order))
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def _draw_panel(axes: Axes, chips: Sequence[Mapping[str, Any]], order: Sequence[str]) -> None:
    """The sources of one measure, each at its height."""
    heights = np.arange(len(order))
    share, alone, saved = colours(["share", "alone", "saved"], ordered=False)
    shares = _each(chips, "shapley", order)
    totals = np.array([values["total"] for values in chips])
    bars = np.median(shares, axis=0)
    whiskers = np.array([bars - shares.min(axis=0), shares.max(axis=0) - bars])
    if len(chips) == 1:
        whiskers[:] = _each(chips, "shapley error", order)
    axes.barh(heights, bars, xerr=whiskers if whiskers.any() else None, height=0.6, color=share, label="Shapley share")
    axes.plot(np.median(_each(chips, "alone", order), axis=0), heights, "o", color=alone, label="alone")
    by_removal = np.median(totals[:, np.newaxis] - _each(chips, "all but", order), axis=0)
    axes.plot(by_removal, heights, "D", color=saved, mfc="white", mew=1.4, label="saved by removing it")
    axes.axvline(float(np.median(totals)), color=INK, lw=1.2, ls="--", label="all sources together")
    axes.axvline(0.0, color=QUIET, lw=0.8)
    axes.set_xlabel("relative error")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.grid(visible=False, axis="y")


def _each(chips: Sequence[Mapping[str, Any]], way: str, sources: Sequence[str]) -> FloatArray:
    """(chips, sources) what each source counts in one way."""
    return np.array([[values[way][source] for source in sources] for values in chips])
