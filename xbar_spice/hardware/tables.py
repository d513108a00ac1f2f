"""CSV files of measurements: columns by name, every entry a finite number."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from xbar_spice.disk import read_text
from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.operator import FloatArray

__all__ = ["read_table"]


def read_table(path: str | Path, *layouts: tuple[str, ...]) -> dict[str, FloatArray]:
    """The columns of a CSV file whose header names those of one of the layouts.

    Args:
        path: The file; further columns are left alone.
        *layouts: Names of columns; the first layout that the header has is taken.

    Raises:
        InvalidInputError: The file cannot be read, its header fits no layout, or an entry is no finite number.
    """
    text = read_text(path, error=InvalidInputError, role="table")
    rows = [row for row in csv.reader(line for line in text.splitlines() if not line.lstrip().startswith("#")) if row]
    header = [name.strip() for name in rows[0]] if rows else []
    names = next((layout for layout in layouts if set(layout) <= set(header)), None)
    if names is None:
        allowed = " or ".join(", ".join(layout) for layout in layouts)
        raise InvalidInputError(f"{path}: the first line must name the columns {allowed}, got {', '.join(header)}")
    found: dict[str, list[float]] = {name: [] for name in names}
    for number, row in enumerate(rows[1:], start=2):
        for name in names:
            entry = row[header.index(name)].strip() if header.index(name) < len(row) else ""
            try:
                value = float(entry)
            except ValueError:
                value = np.nan
            if not np.isfinite(value):
                raise InvalidInputError(f"{path}: row {number}, column {name}: must be a finite number, got {entry!r}")
            found[name].append(value)
    return {name: np.array(values) for name, values in found.items()}
