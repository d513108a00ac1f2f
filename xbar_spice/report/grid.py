"""The cases of a study by the points of its axes and by chip, so that whatever is compared is compared chip by chip."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self, final

import numpy as np
import numpy.typing as npt
import pandas as pd

from xbar_spice.linear.operator import FloatArray
from xbar_spice.report.data import OK, UNCONVERGED, Axis, Results
from xbar_spice.report.statistics import medians

__all__ = ["Grid"]

Integers = npt.NDArray[np.int64]


@final
@dataclass(frozen=True, eq=False)
class Grid:
    """Cases in a table of points and chips.

    Attributes:
        results: Where they come from.
        axes: The axes of the study.
        codes: (points, axes) positions of the points' values in `values` of their axis.
        seeds: (chips,) the seed of each chip.
        rows: (points, chips) row of each case in `results.cases`, -1 where there is none.
    """

    results: Results
    axes: tuple[Axis, ...]
    codes: Integers
    seeds: Integers
    rows: Integers

    @classmethod
    def of(cls, results: Results) -> Self:
        """The grid of the cases of a study, points in the order of the axes' values."""
        cases, axes = results.cases, results.axes
        columns = [
            pd.Index(list(axis.values), dtype=object).get_indexer(cases[axis.key].astype(object)) for axis in axes
        ]
        every = np.stack([*columns, np.zeros(len(cases), dtype=int)], axis=1)
        codes, point = np.unique(every, axis=0, return_inverse=True)
        seeds, chip = np.unique(cases["seed"].to_numpy(dtype=int), return_inverse=True)
        rows = np.full((len(codes), len(seeds)), -1)
        rows[point.ravel(), chip] = np.arange(len(cases))
        return cls(results, axes, codes[:, :-1], seeds, rows)

    @cached_property
    def status(self) -> npt.NDArray[Any]:
        """(points, chips) of each case; empty where there is none."""
        every = np.append(self.results.cases["status"].to_numpy(dtype=object), "")
        return every[self.rows]

    def values(self, column: str, *, unconverged: float = np.nan) -> FloatArray:
        """(points, chips) of a column; NaN where there is no converged case.

        Args:
            column: Of numbers.
            unconverged: What stands for cases that did not converge.
        """
        if column not in self.results.cases:
            return np.full(self.rows.shape, np.nan)
        every = np.append(pd.to_numeric(self.results.cases[column]).to_numpy(dtype=float, na_value=np.nan), np.nan)
        values = np.where(self.status == OK, every[self.rows], np.nan)
        return np.where(self.status == UNCONVERGED, unconverged, values)

    def shared(self, column: str) -> FloatArray:
        """The same for comparing points: where nothing is drawn, the one case of a point stands for all chips."""
        values = self.values(column)
        alone = np.count_nonzero(self.rows >= 0, axis=1) == 1
        return np.where(alone[:, np.newaxis], medians(values)[:, np.newaxis], values)

    def code(self, index: int, axis: Axis) -> int:
        """The position of a point's value on an axis."""
        return int(self.codes[index, self.axes.index(axis)])

    def place(self, index: int, without: Axis | None = None) -> str:
        """A point in words, axes with one value left out."""
        pairs = zip(self.axes, self.codes[index], strict=True)
        words = [f"{axis.name} {axis.text(axis.values[k])}" for axis, k in pairs if axis.varies and axis is not without]
        return ", ".join(words)

    def groups(self, axis: Axis) -> list[Integers]:
        """The points that differ in one axis alone, in ascending order of its values, by combination of the others."""
        group = self._alike[axis]
        order = np.lexsort((self.sizes(axis), group))
        return np.split(order, np.flatnonzero(np.diff(group[order])) + 1) if len(order) else []

    def pairs(self, axis: Axis, first: int, second: int) -> tuple[Integers, Integers]:
        """Points at two values of an axis, given by position, that are alike on all other axes."""
        codes, alike = self.codes[:, self.axes.index(axis)], self._alike[axis]
        one, two = np.flatnonzero(codes == first), np.flatnonzero(codes == second)
        _, at_one, at_two = np.intersect1d(alike[one], alike[two], assume_unique=True, return_indices=True)
        return one[at_one], two[at_two]

    @cached_property
    def _alike(self) -> dict[Axis, Integers]:
        """For each axis (points,) numbers, equal where points are alike on all others."""
        every = [np.delete(self.codes, k, axis=1) for k in range(len(self.axes))]
        alike = [
            np.unique(others, axis=0, return_inverse=True)[1].ravel() if others.size else np.zeros(len(others), int)
            for others in every
        ]
        return dict(zip(self.axes, alike, strict=True))

    def sizes(self, axis: Axis) -> FloatArray:
        """(points,) value of each point on a numeric axis; of tiles beyond the matrices, the size of these."""
        k = self.axes.index(axis)
        values = np.array([float(self.results.size(axis, value)) for value in axis.values])
        return np.asarray(values[self.codes[:, k]])
