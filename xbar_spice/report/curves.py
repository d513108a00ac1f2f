"""Curves of an error over the array size: median and quartiles over seeds, fitted slopes, and what lies off them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from xbar_spice.linear.operator import FloatArray
from xbar_spice.report.data import OK, UNCONVERGED, Axis, Results
from xbar_spice.report.statistics import NOTHING
from xbar_spice.report.style import INK, MARKERS, QUIET, colours, new_figure, set_abscissa, set_log_ordinate
from xbar_spice.study.setups import exact

__all__ = [
    "MOST_CURVES",
    "MOST_PANELS",
    "Curve",
    "Ordinate",
    "curve_of",
    "draw_curves",
    "drawable",
    "fitted_slope",
    "some",
]

_FIT_POINTS = 3
_MOST_BESIDE = 4  # panels that can be read on a page
MOST_CURVES, MOST_PANELS = 7, 3  # that an image has room for


@final
@dataclass(frozen=True)
class Curve:
    """Statistics over the seeds at each abscissa.

    Attributes:
        x: (points,) abscissas with at least one value.
        median: (points,).
        low: (points,) lower quartile.
        high: (points,) upper quartile.
        seeds: (points,) number of values.
    """

    x: FloatArray
    median: FloatArray
    low: FloatArray
    high: FloatArray
    seeds: FloatArray


def curve_of(cases: pd.DataFrame, x: str, y: str) -> Curve:
    """Median and quartiles of a column at each value of another one; missing values are left out."""
    known = cases[[x, y]].dropna().to_numpy(dtype=float)
    abscissas = np.unique(known[:, 0])
    groups = [known[known[:, 0] == value, 1] for value in abscissas]
    low, median, high = np.array([np.quantile(group, [0.25, 0.5, 0.75]) for group in groups]).reshape(-1, 3).T
    return Curve(abscissas, median, low, high, np.array([float(group.size) for group in groups]))


def fitted_slope(curve: Curve) -> float | None:
    """Exponent p of error ~ size^p by least squares; None if fewer than three points are above rounding.

    Example:
        >>> size = np.array([8.0, 16.0, 32.0])
        >>> round(fitted_slope(Curve(size, size**2, size**2, size**2, size)), 6)
        2.0
    """
    usable = (curve.x > 0) & (curve.median > NOTHING)
    if np.count_nonzero(usable) < _FIT_POINTS:
        return None
    return float(np.polyfit(np.log(curve.x[usable]), np.log(curve.median[usable]), 1)[0])


def drawable(results: Results, columns: Sequence[str]) -> bool:
    """Whether `draw_curves` has anything to draw."""
    drawn = _at_first_values(results.cases, results.roles()[3])
    return any(column in drawn and bool(drawn[column].notna().any()) for column in columns)


@final
@dataclass(frozen=True)
class Ordinate:
    """What curves measure, and how that is drawn.

    Attributes:
        label: What it is.
        form: How a value is written, see `xbar_spice.report.cells`.
        log: Whether its axis is logarithmic, and curves have slopes.
        reference: A column that is drawn as a broken line; none if empty.
        title: What that is.
        slopes: Whether the legend has the slope of each curve.
    """

    label: str
    form: str = "percent"
    log: bool = True
    reference: str = ""
    title: str = ""
    slopes: bool = True

    @property
    def percent(self) -> bool:
        """Whether values are parts of one."""
        return self.form in ("percent", "share")


def _floor(cases: pd.DataFrame, columns: Sequence[str]) -> float:
    """What is as good as zero: rounding, unless there is nothing else."""
    found = np.concatenate([cases[column].to_numpy(dtype=float) for column in columns if column in cases])
    return NOTHING if (found > NOTHING).any() else 0.0


def draw_curves(results: Results, columns: Sequence[str], titles: Sequence[str], look: Ordinate) -> Figure:
    """One panel for each column and each value of the panel axis; `drawable` says whether there is anything to draw.

    Args:
        results: the cases.
        columns: entries of the record, none of them negative.
        titles: of the columns; an empty one stands for none.
        look: what all of them measure, and how it is drawn.
    """
    x, curves, panels, rest = results.roles()
    drawn = _at_first_values(results.cases, rest)
    curves, panels = some(curves, MOST_CURVES), some(panels, MOST_PANELS)
    for axis in filter(None, (curves, panels)):
        drawn = drawn[drawn[axis.key].isin(axis.values)]
    if x is not None:
        drawn = drawn.assign(**{x.key: [results.size(x, value) for value in drawn[x.key]]})
    floor = _floor(drawn, columns)
    parts: Sequence[Any] = panels.values if panels else (None,)
    grid = [(column, title, part) for part in parts for column, title in zip(columns, titles, strict=True)]
    along = len(columns) if len(columns) > 1 else len(parts)  # side by side, if there is room
    cols = -(-along // -(-along // _MOST_BESIDE))
    rows = -(-len(grid) // cols)
    look = replace(look, slopes=len(grid) == 1)
    figure, axes = new_figure(
        rows, cols, width=3.4 if cols > 1 else 5.6, height=3.1 if cols > 1 else 3.7, share=look.log
    )
    for panel, (column, title, part) in zip(axes, grid, strict=False):
        chosen = drawn if panels is None else drawn[drawn[panels.key] == part]
        _draw_panel(panel, chosen, column, (x, curves), floor, look)
        heading = [title] if title else []
        heading += [f"{panels.name} {panels.text(part)}"] if panels else []
        panel.set_title(", ".join(heading))
    for panel in axes[len(grid) :]:
        panel.set_visible(False)
    _set_ordinate(axes[: len(grid)], drawn, columns, floor, look)
    abscissas = sorted({float(results.size(x, value)) for value in x.values}) if x else []
    for index, panel in enumerate(axes[: len(grid)]):
        if abscissas:
            set_abscissa(panel, abscissas)
        if x and index + cols >= len(grid):
            panel.set_xlabel(x.label)
            panel.tick_params(labelbottom=True)
        if index % cols == 0:
            panel.set_ylabel(look.label)
    handles, names = axes[0].get_legend_handles_labels()
    heading_of_curves = curves.heading if curves else None
    if len(grid) > 1 and names:  # one for all panels
        figure.legend(handles, names, title=heading_of_curves, title_fontsize=9, ncols=4, loc="outside lower center")
    elif names or curves:
        axes[0].legend(title=heading_of_curves, title_fontsize=9, alignment="left")
    return figure


def some(axis: Axis | None, most: int) -> Axis | None:
    """An axis with no more values than an image has room for, the first and the last among them."""
    if axis is None or len(axis.values) <= most:
        return axis
    chosen = np.linspace(0, len(axis.values) - 1, most).round().astype(int)
    return replace(axis, values=tuple(axis.values[place] for place in chosen))


def _at_first_values(cases: pd.DataFrame, rest: Sequence[Axis]) -> pd.DataFrame:
    """The cases at the first value of each axis that the figure has no room for."""
    for axis in rest:
        cases = cases[cases[axis.key] == axis.values[0]]
    return cases


def _draw_panel(
    axes: Axes,
    cases: pd.DataFrame,
    column: str,
    roles: tuple[Axis | None, Axis | None],
    floor: float,
    look: Ordinate,
) -> None:
    x, curves = roles
    values: Sequence[Any] = curves.values if curves else (None,)
    shades = colours(values, ordered=bool(curves and curves.numeric))
    place = x.key if x else _POSITION
    if place == _POSITION:
        cases = cases.assign(**{_POSITION: 0.0})
    for value, shade, marker in zip(values, shades, MARKERS * len(values), strict=False):
        chosen = cases if curves is None else cases[cases[curves.key] == value]
        _draw_curve(axes, chosen, place, column, (shade, marker, exact(value) if curves else ""), floor, look)
    if look.reference in cases:
        line = curve_of(cases[cases["status"] == OK], place, look.reference)
        axes.plot(line.x, line.median, ls="--", color=INK, lw=1.2, label=look.title)
    if x is None:
        axes.set_xticks([])


_POSITION = " position"  # of the only point of a study without an abscissa


def _draw_curve(
    axes: Axes,
    cases: pd.DataFrame,
    x: str,
    column: str,
    style: tuple[Any, str, str],
    floor: float,
    look: Ordinate,
) -> None:
    """One curve; zeros lie on the lower edge as hollow triangles, cases that did not converge are crosses."""
    shade, marker, name = style
    if column not in cases:
        return
    curve = curve_of(cases[cases["status"] == OK], x, column)
    slope = fitted_slope(curve) if look.log and look.slopes else None
    label = name if slope is None else f"{name}  (slope {slope:.2f})".strip()
    positive = curve.median > floor if look.log else np.ones(len(curve.x), dtype=bool)
    shown = np.where(positive, curve.median, np.nan)
    axes.plot(curve.x, shown, marker=marker, color=shade, label=label or None)
    if (curve.seeds > 1).any():
        low = np.where((curve.low > floor) | (not look.log), curve.low, np.where(positive, curve.median, np.nan))
        axes.fill_between(curve.x, low, np.where(positive, curve.high, np.nan), color=shade, alpha=0.18, linewidth=0)
    if (~positive).any():
        edge = axes.get_xaxis_transform()
        zeros = curve.x[~positive]
        axes.plot(zeros, np.full(zeros.size, 0.03), "v", mfc="none", mec=shade, ms=8, transform=edge, clip_on=False)
    lost = cases[(cases["status"] == UNCONVERGED) & (cases[column] > floor)]
    if len(lost):
        axes.plot(lost[x].astype(float), lost[column].astype(float), "x", color=shade, ms=7, mew=1.6)


def _set_ordinate(
    panels: Sequence[Axes], cases: pd.DataFrame, columns: Sequence[str], floor: float, look: Ordinate
) -> None:
    """A logarithmic scale, if that is asked for; a note in its place if nothing is above zero."""
    if not look.log:
        for panel in panels:
            panel.yaxis.set_major_formatter(
                FuncFormatter(lambda value, _: f"{100 * value:g} %" if look.percent else f"{value:g}")
            )
            panel.margins(y=0.12)
        return
    found = np.concatenate([cases[column].to_numpy(dtype=float) for column in columns if column in cases])
    positive = found[np.isfinite(found) & (found > floor)]
    for panel in panels:
        if positive.size:
            set_log_ordinate(panel, positive, percent=look.percent)
            continue
        panel.set_yticks([])
        panel.text(0.5, 0.5, "exactly zero in every case", transform=panel.transAxes, ha="center", color=QUIET)
