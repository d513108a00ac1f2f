"""The tables of a report: answers, points, effects of the axes, power laws, two studies, and all cases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from xbar_spice.linear.operator import FloatArray
from xbar_spice.report.answers import Bounds, largest, limits, size_text
from xbar_spice.report.cells import Column, Table, shown
from xbar_spice.report.comparison import Change
from xbar_spice.report.data import OK, Axis, Results
from xbar_spice.report.findings import changed
from xbar_spice.report.grid import Grid, Integers
from xbar_spice.report.quantities import (
    ACCURACY,
    ACCURACY_LOSS,
    DIGITAL_ACCURACY,
    ENERGY,
    LOSS_ERROR,
    READS,
    SECONDS,
    STATE_ERROR,
    WORST_READ,
    WRITES,
    gradient,
)
from xbar_spice.report.statistics import Estimate, estimates, medians, slope

__all__ = ["answers_table", "cases_table", "comparison_table", "effects_table", "laws_table", "points_table"]

_FEWEST = 3  # sizes that make a law


def answers_table(grid: Grid, bounds: Bounds) -> Table | None:
    """The largest size that keeps each bound, by combination of the other axes; None without an axis of numbers."""
    x = grid.results.roles()[0]
    if x is None:
        return None
    asked = limits(grid.results, bounds)
    answers = largest(grid, x, asked)
    columns = _axis_columns(grid, np.array([answer.points[0] for answer in answers], dtype=int), without=x)
    for number, limit in enumerate(asked):
        texts = [size_text(answer.found[number], answer, grid.results, x, short=True) for answer in answers]
        columns.append(Column(limit.title, "number", [answer.found[number].value for answer in answers], texts))
    chips = [max((found.chips for found in answer.found), default=0) for answer in answers]
    columns.append(Column("chips", "exact", chips))
    if any(answer.note for answer in answers):
        columns.append(Column("without a result", "text", [answer.note for answer in answers]))
    return Table("answers", columns) if asked and answers else None


def points_table(grid: Grid) -> Table:
    """Every point of the axes: accuracy on the arrays beside the digital one first, then the errors."""
    every = np.arange(len(grid.codes))
    columns = _axis_columns(grid, every)
    columns.append(Column("chips", "exact", np.count_nonzero(grid.status == OK, axis=1).tolist()))
    results = grid.results
    if results.column(ACCURACY):
        columns.append(Column("digital accuracy", "share", medians(grid.values(DIGITAL_ACCURACY)).tolist()))
        columns.append(Column("accuracy on the arrays", "share", medians(grid.values(ACCURACY)).tolist()))
        columns.append(_with_interval("accuracy lost", "share", grid.values(ACCURACY_LOSS)))
    asked = [("error of the state", "percent", STATE_ERROR), ("error of the loss", "percent", LOSS_ERROR)]
    for name in results.shown_gradients:
        asked.append((f"error of the gradient of {name}", "percent", gradient(name, "relative_error")))
        asked.append((f"its angle, {name}", "degree", gradient(name, "angle")))
    asked += [("reads", "number", READS), ("Newton steps", "number", "newton.analog")]
    asked += [("Krylov products", "number", "krylov.analog"), ("seconds", "number", SECONDS)]
    asked += [("energy of a read (J)", "number", ENERGY), ("writes of shared arrays", "number", WRITES)]
    columns += [_with_interval(title, form, grid.values(name)) for title, form, name in asked if results.column(name)]
    return Table("points", columns)


def effects_table(grid: Grid) -> Table | None:
    """What one value of an axis does against its first one, all else equal, on the same chip."""
    rows: list[tuple[str, str, str]] = []
    columns = _error_columns(grid.results)
    found: dict[str, list[Estimate]] = {column: [] for column in columns}
    values = {column: grid.shared(column) for column in columns}
    for axis in grid.axes:
        for code in range(1, len(axis.values)):
            first, then = grid.pairs(axis, 0, code)
            if not len(first):
                continue
            rows.append((axis.name, axis.text(axis.values[0]), axis.text(axis.values[code])))
            for column in columns:
                found[column].append(_ratio(values[column][first], values[column][then]))
    if not rows or not columns:
        return None
    made = [Column(title, "text", [row[place] for row in rows]) for place, title in enumerate(("axis", "from", "to"))]
    made += [_estimates(title, found[column]) for column, title in columns.items()]
    chips = [max(estimate.chips for estimate in each) for each in zip(*found.values(), strict=True)]
    made.append(Column("chips", "exact", chips))
    return Table("effects", made)


def laws_table(grid: Grid) -> Table | None:
    """Exponents p of error ~ size^p along the axis of the figures, by combination of the other axes."""
    x = grid.results.roles()[0]
    if x is None:
        return None
    sizes, columns = grid.sizes(x), _error_columns(grid.results)
    groups = [points for points in grid.groups(x) if len(np.unique(sizes[points])) >= _FEWEST and sizes[points][0] > 0]
    if not groups or not columns:
        return None
    made = _axis_columns(grid, np.array([points[0] for points in groups]), without=x)
    for column, title in columns.items():
        values = grid.values(column)
        found = [slope(sizes[points], values[points]) for points in groups]
        texts = [_interval("", one, "z.2f") for one in found]
        made.append(Column(title, "number", [one.value for one in found], texts))
    return Table("laws", made)


def comparison_table(changes: Sequence[Change]) -> Table:
    """Two studies side by side."""
    titles = ("quantity", "at", "first study", "second study")
    cells: tuple[Sequence[Any], ...] = (
        [change.quantity for change in changes],
        [change.place for change in changes],
        [change.first for change in changes],
        [change.second for change in changes],
    )
    forms = ("text", "text", "number", "number")
    columns = [Column(*each) for each in zip(titles, forms, cells, strict=True)]
    texts = [changed(change.change, difference=change.difference) for change in changes]
    columns.append(Column("second against first", "number", [change.change.value for change in changes], texts))
    columns.append(Column("chips", "exact", [change.change.chips for change in changes]))
    return Table("comparison", columns)


def cases_table(results: Results) -> Table:
    """All cases."""
    asked: list[tuple[str, str, str]] = [
        (axis.key, axis.heading, "exact" if axis.numeric else "text") for axis in results.axes
    ]
    asked += [("seed", "seed", "exact"), ("status", "status", "text")]
    asked += [(STATE_ERROR, "error of z_T", "percent"), (LOSS_ERROR, "error of the loss", "percent")]
    asked += [(ACCURACY, "accuracy", "share"), (DIGITAL_ACCURACY, "digital accuracy", "share")]
    for name in results.shown_gradients:
        asked.append((gradient(name, "relative_error"), f"error of d{name}", "percent"))
        asked.append((gradient(name, "cosine"), f"cosine of d{name}", "cosine"))
        asked.append((gradient(name, "sign_agreement"), f"signs of d{name}", "share"))
    asked += [(WORST_READ, "worst read error", "percent"), (READS, "reads", "exact"), (SECONDS, "seconds", "number")]
    asked += [(ENERGY, "energy of a read (J)", "number"), (WRITES, "writes of shared arrays", "exact")]
    asked.append(("id", "case", "text"))
    columns = [Column(title, form, _listed(results.cases[name])) for name, title, form in asked if results.column(name)]
    return Table("cases", columns, (results.cases["status"] != OK).tolist())


def _listed(column: pd.Series[Any]) -> list[Any]:
    """The values of a column, None where there is none."""
    return [None if missing else value for value, missing in zip(column.tolist(), column.isna().tolist(), strict=True)]


def _axis_columns(grid: Grid, points: Integers, without: Axis | None = None) -> list[Column]:
    """The values of points on the axes that vary."""
    return [
        Column(axis.heading, "exact" if axis.numeric else "text", [axis.values[code] for code in grid.codes[points, k]])
        for k, axis in enumerate(grid.axes)
        if axis.varies and axis is not without
    ]


def _with_interval(title: str, form: str, values: FloatArray) -> Column:
    found = estimates(values)
    texts = [
        shown(form, one.value)
        + (f" ({shown(form, one.low)} to {shown(form, one.high)})" if one.chips > 1 and one.low != one.high else "")
        for one in found
    ]
    return Column(title, form, [one.value for one in found], texts)


def _estimates(title: str, found: Sequence[Estimate]) -> Column:
    return Column(title, "number", [one.value for one in found], [_interval("x ", one, ".3g") for one in found])


def _interval(before: str, found: Estimate, form: str) -> str:
    if not np.isfinite(found.value):
        return "-"
    text = f"{before}{found.value:{form}}"
    return text if found.chips < 2 else f"{text} ({found.low:{form}} to {found.high:{form}})"


def _error_columns(results: Results) -> dict[str, str]:
    columns = {STATE_ERROR: "state"} | {
        gradient(name, "relative_error"): f"gradient of {name}" for name in results.shown_gradients
    }
    return {column: title for column, title in columns.items() if results.column(column)}


def _ratio(first: FloatArray, then: FloatArray) -> Estimate:
    """Median over the chips of the geometric mean over pairs of points of what an error is multiplied by."""
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(then / first)
    known = np.isfinite(logs)
    counts = known.sum(axis=0)
    mean = np.where(known, logs, 0.0).sum(axis=0) / np.maximum(counts, 1)
    return estimates(np.where(counts > 0, np.exp(mean), np.nan)[np.newaxis])[0]
