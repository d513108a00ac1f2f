"""What the page of a report holds for its script: the numbers behind its figures and tables, compressed."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

import numpy as np

from xbar_spice.linear.operator import FloatArray
from xbar_spice.report.cells import Table
from xbar_spice.report.data import OK, Axis
from xbar_spice.report.grid import Grid
from xbar_spice.report.statistics import NOTHING, medians, quantile
from xbar_spice.study.setups import exact

__all__ = ["asset", "library", "packed", "points_of"]

_DIGITS = 5  # significant ones of a number that is drawn


def asset(name: str) -> bytes:
    """A file that reports carry with them."""
    return files("xbar_spice.report").joinpath("assets", name).read_bytes()


def library() -> str:
    """The plotting library, compressed, as text."""
    return base64.b64encode(asset("plotly-cartesian.min.js.gz")).decode()


def packed(figures: Mapping[str, Any], tables: Sequence[Table], points: Mapping[str, Any]) -> str:
    """The page's numbers, compressed, as text; the same numbers are the same text."""
    content = {"figures": figures, "tables": {table.name: table.plain() for table in tables}, "points": points}
    text = json.dumps(content, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    return base64.b64encode(gzip.compress(text.encode(), compresslevel=6, mtime=0)).decode()


def points_of(grid: Grid, columns: Sequence[str]) -> dict[str, Any]:
    """Medians and quartiles over the chips at each point of the axes.

    Args:
        grid: The cases.
        columns: Which of their entries.
    """
    return {
        "axes": [_axis(grid, axis) for axis in grid.axes],
        "codes": grid.codes.tolist(),
        "chips": np.count_nonzero(grid.status == OK, axis=1).tolist(),
        "nothing": NOTHING,
        "measures": {column: _statistics(grid.values(column)) for column in columns},
    }


def _axis(grid: Grid, axis: Axis) -> dict[str, Any]:
    return {
        "name": axis.name,
        "heading": axis.heading,
        "label": axis.label,
        "numeric": axis.numeric,
        "values": list(axis.values),
        "texts": [exact(value) for value in axis.values],
        "sizes": [float(grid.results.size(axis, value)) for value in axis.values] if axis.numeric else [],
    }


def _statistics(values: FloatArray) -> dict[str, list[float | None]]:
    found = {"median": _plain(medians(values))}
    low, high = quantile(values, 0.25), quantile(values, 0.75)
    if np.array_equal(low, high, equal_nan=True):
        return found
    return found | {"low": _plain(low), "high": _plain(high)}


def _plain(values: FloatArray) -> list[float | None]:
    return [float(f"{value:.{_DIGITS}g}") if np.isfinite(value) else None for value in values.tolist()]
