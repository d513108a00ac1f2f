"""Two studies side by side: the same points of their axes, chip by chip."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

import numpy as np

from xbar_spice.errors import StudyError
from xbar_spice.linear.operator import FloatArray
from xbar_spice.report.data import OK, Axis, Results
from xbar_spice.report.grid import Grid
from xbar_spice.report.quantities import ACCURACY, LOSS_ERROR, READS, SECONDS, STATE_ERROR, gradient
from xbar_spice.report.statistics import Estimate, estimates, medians

__all__ = ["Change", "compare"]

_OF = {"A": "first study: ", "B": "second study: "}


@final
@dataclass(frozen=True)
class Change:
    """What became of one quantity from the first study to the second, at one point or over all of them.

    Attributes:
        place: The point in words; "all points" over all.
        quantity: The column, such as "gradient.A.relative_error".
        first: Median over the chips in the first study.
        second: In the second one.
        change: Median over the chips of second / first; of accuracies, of second - first.
        points: How many points it is from.
    """

    place: str
    quantity: str
    first: float
    second: float
    change: Estimate
    points: int

    @property
    def difference(self) -> bool:
        """Whether `change` is a difference, not a ratio."""
        return self.quantity == ACCURACY


def compare(first: Results, second: Results) -> list[Change]:
    """Compare the cases that two studies have in common: equal values on the axes that both have, and equal seeds.

    An axis that only one of them has leaves its points apart, each beside the same case of the other study.

    Args:
        first: The results to start from.
        second: Those that are held against them.

    Returns:
        Of each quantity that both have, the change over all points, then that of each point.

    Raises:
        StudyError: No case of one is comparable with one of the other.
    """
    grid = _paired(first, second)
    names = [name for name in first.shown_gradients if name in second.gradients]
    columns = [ACCURACY, STATE_ERROR, LOSS_ERROR]
    columns += [gradient(name, entry) for name in names for entry in ("relative_error", "angle")]
    found = [
        _changes(grid, column)
        for column in (*columns, READS, SECONDS)
        if first.column(column) and second.column(column)
    ]
    return [of[0] for of in found] + [
        change for changes in zip(*(of[1:] for of in found), strict=True) for change in changes
    ]


def _paired(first: Results, second: Results) -> Grid:
    """Both studies' cases in one table of points and chips, with the columns of each under its name."""
    theirs = {axis.name: axis for axis in second.axes}
    common = [axis for axis in first.axes if axis.name in theirs]
    keys = [axis.key for axis in common] + ["seed"]
    tables = []
    for results, of in ((first, _OF["A"]), (second, _OF["B"])):
        kept = {axis.key for axis in results.axes} | {"seed"}
        usable = results.cases[results.cases["status"] == OK]
        tables.append(usable.rename(columns={name: f"{of}{name}" for name in usable if name not in kept}))
    merged = tables[0].merge(tables[1], on=keys, how="inner").assign(status=OK)
    if merged.empty:
        raise StudyError(
            f"no case of {first.store.folder} has the values and the seed of one of {second.store.folder}: give two "
            f"studies with equal values on their axes (in common are {[axis.name for axis in common] or 'none'})"
        )
    ours = {axis.name for axis in first.axes}
    axes = (*first.axes, *(axis for axis in second.axes if axis.name not in ours))
    seen: tuple[Axis, ...] = tuple(
        replace(axis, values=tuple(value for value in axis.values if (merged[axis.key] == value).any()))
        for axis in axes
    )
    return Grid.of(replace(first, axes=seen, cases=merged))


def _changes(grid: Grid, column: str) -> list[Change]:
    """Over all points, then at each point."""
    one, two = (grid.values(f"{of}{column}") for of in _OF.values())
    if column == ACCURACY:
        change = two - one
        every = _mean(change)
    else:
        with np.errstate(divide="ignore", invalid="ignore"):
            change = two / one
            logs = np.where(np.isfinite(change) & (change > 0), np.log(change), np.nan)
        every = np.exp(_mean(logs))
    return [
        Change("all points", column, _middle(one), _middle(two), estimates(every)[0], len(one)),
        *(
            Change(grid.place(index), column, float(a), float(b), estimate, 1)
            for index, (a, b, estimate) in enumerate(zip(medians(one), medians(two), estimates(change), strict=True))
        ),
    ]


def _mean(values: FloatArray) -> FloatArray:
    """(1, chips) means over the points that a chip has; NaN of none."""
    known = ~np.isnan(values)
    counts = known.sum(axis=0, keepdims=True)
    return np.where(counts > 0, np.where(known, values, 0.0).sum(axis=0, keepdims=True) / np.maximum(counts, 1), np.nan)


def _middle(values: FloatArray) -> float:
    return float(medians(values.reshape(1, -1))[0])
