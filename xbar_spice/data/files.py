"""Samples from `.npz` and `.csv` files.

A `.npz` file has arrays `x`, (samples, p), and of the same samples `labels`, (samples,), or `targets`, (samples, n), or
(samples, times, n) with `times`, (times,). A `.csv` file has a line of column names and then a line for each sample:
`label` or `labels` is the class, what begins with `target` is a target, and all other columns are inputs, in their
order. Targets at several times are columns such as `target0@0.5`, for the first state at time 0.5. Other names are told
by a mapping. Nothing is guessed, and nothing is left out that no mapping leaves out.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from fnmatch import fnmatchcase
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xbar_spice.checks import checked
from xbar_spice.data.samples import Data
from xbar_spice.disk import ARRAYS, npz_arrays, read_bytes, read_text
from xbar_spice.errors import DataError, InvalidInputError
from xbar_spice.linear.operator import FloatArray

__all__ = ["load_data"]

_NAMES = ("x", "labels", "targets", "times")
_DEFAULT_COLUMNS = {"labels": ("label", "labels"), "targets": ("target*",)}
_DELIMITERS = ",;\t"
_AT_A_TIME = "'target0@0.5', for the first state at time 0.5"


@checked()
def load_data(path: str | os.PathLike[str], mapping: Mapping[str, str] | None = None) -> Data:
    """Read samples from a `.npz` or a `.csv` file.

    Args:
        path: The file.
        mapping: Where a file has other names: from `x`, `labels`, `targets` or `times` to the name of an array, or of
            columns, several of them separated by commas and with `*` for any letters. What it does not name is left
            out, but inputs: without `x` they are all columns of a `.csv` file that are nothing else.

    Raises:
        DataError: The file is missing, damaged, or of another kind; a name is unknown, or a shape or value does not
            fit. The text names the file, what was expected and what came.

    Example:
        >>> load_data("iris.csv", {"labels": "species"})  # doctest: +SKIP
    """
    path = Path(path)
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(
            f"{path}: expected a file ending in {' or '.join(_READERS)}, got {path.suffix or 'no ending'!r}"
        )
    unknown = sorted(set(mapping or {}) - set(_NAMES))
    if unknown:
        raise DataError(f"{path}: a mapping names {', '.join(_NAMES)}, got {unknown[0]!r}")
    try:
        found: dict[str, Any] = reader(path, mapping or {})
        return Data(**found, source=f"samples of {path.name}")
    except InvalidInputError as error:
        text = str(error)
        raise DataError(text if text.startswith(str(path)) else f"{path}: {text}") from error


def _npz(path: Path, mapping: Mapping[str, str]) -> dict[str, Any]:
    content = read_bytes(path, limit=ARRAYS, error=DataError)
    try:
        arrays = npz_arrays(content, DataError)
    except DataError:
        raise
    except Exception as error:  # a damaged file brings readers that are not ours to raise anything
        raise DataError(f"not a readable .npz archive of plain arrays: {str(error) or type(error).__name__}") from error
    has = f"the file has {', '.join(sorted(arrays)) or 'none'}"
    for name in mapping.values():
        if name not in arrays:
            raise DataError(f"array {name!r} is missing; {has}")
    if mapping:
        found = {name: arrays[given] for name, given in mapping.items()}
    else:
        unknown = sorted(arrays.keys() - set(_NAMES))
        if unknown:  # what is not used must not be dropped in silence
            raise DataError(
                f"array {unknown[0]!r}: expected {', '.join(_NAMES)}; {has}. Say which is which by a mapping, such as "
                f"x={unknown[0]}"
            )
        found = arrays
    if "x" not in found:
        raise DataError(f"'x', the inputs, is missing; {has}")
    return found


def _csv(path: Path, mapping: Mapping[str, str]) -> dict[str, Any]:
    if "times" in mapping:
        raise DataError(f"a table has times in the names of its columns, {_AT_A_TIME}: take 'times' out of the mapping")
    header, rows = _table(read_text(path, limit=ARRAYS, error=DataError))
    columns = _columns(header, mapping)
    numbers = _numbers(header, rows, sorted({at for places in columns.values() for at in places}))
    found: dict[str, Any] = {name: numbers[:, places] for name, places in columns.items() if places}
    if any("@" in header[at] for at in columns.get("targets", ())):
        order, found["times"] = _times([header[at] for at in columns["targets"]])
        found["targets"] = found["targets"][:, order]
    return found


def _times(names: list[str]) -> tuple[NDArray[np.int64], FloatArray]:
    """The columns of targets at several times as (times, n), each time in the order of the file, and the times."""
    said = [name.rpartition("@")[2] for name in names]
    if any("@" not in name or not _is_number(time) for name, time in zip(names, said, strict=True)):
        raise DataError(f"targets at several times must all be named {_AT_A_TIME}, got {', '.join(names)[:200]}")
    times = np.array([float(time) for time in said])
    rising, counts = np.unique(times, return_counts=True)
    if len(set(counts)) > 1:
        raise DataError(f"every time needs as many targets, got {counts.tolist()} at {rising.tolist()}")
    return np.argsort(times, kind="stable").reshape(len(rising), -1), rising


def _table(text: str) -> tuple[list[str], list[list[str]]]:
    """The column names and the lines of a table, each as its cells."""
    first = text.partition("\n")[0]
    delimiter = max(_DELIMITERS, key=first.count)
    try:
        lines = [line for line in csv.reader(StringIO(text), delimiter=delimiter, strict=True) if line]
    except csv.Error as error:
        raise DataError(f"not a readable table: {error}") from error
    header, rows = [name.strip(" #") for name in (lines or [[]])[0]], lines[1:]  # NumPy puts "# " before a header
    if any(_is_number(name) for name in header):
        raise DataError(
            f"the first line must name the columns, such as x0,x1,label, got {first[:60]!r}; put such a line on top"
        )
    twice = [name for name in header if header.count(name) > 1]
    if twice or "" in header:
        raise DataError(f"every column needs a name of its own, got {twice[0] if twice else ''!r} in the first line")
    if not rows:
        raise DataError("expected a line of column names and a line for each sample, got no samples")
    return header, rows


def _columns(header: list[str], mapping: Mapping[str, str]) -> dict[str, list[int]]:
    """Which columns are what; refuses a pattern that fits none, and a column that would be two things."""
    patterns = {name: tuple(part.strip() for part in text.split(",")) for name, text in mapping.items()}
    if not mapping:
        patterns = _DEFAULT_COLUMNS
    found = {
        name: [at for at, column in enumerate(header) if _fits(column, wanted)] for name, wanted in patterns.items()
    }
    for name, wanted in patterns.items() if mapping else ():
        for pattern in wanted:
            if not any(_fits(column, (pattern,)) for column in header):
                raise DataError(f"{name}: no column is called {pattern!r}; the file has {', '.join(header)}")
    if len(found.get("labels", ())) > 1:
        raise DataError(f"labels must be one column, got {', '.join(header[at] for at in found['labels'])}")
    used = [at for places in found.values() for at in places]
    both = [header[at] for at in used if used.count(at) > 1]
    if both:
        raise DataError(f"column {both[0]!r} is meant to be two things: change the mapping")
    if "x" not in found:
        found["x"] = [at for at in range(len(header)) if at not in used]
    times = [name for name in header if name in ("time", "times")]
    if times and not mapping:
        raise DataError(
            f"column {times[0]!r}: is it an input? Then say so by a mapping that names x. Targets at several times are "
            f"columns named {_AT_A_TIME}, or arrays x, targets and times of a .npz"
        )
    if not found["x"]:
        raise DataError(f"no column is left for the inputs; the file has {', '.join(header)}")
    return found


def _fits(column: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(column, pattern) for pattern in patterns)


def _numbers(header: list[str], rows: list[list[str]], wanted: list[int]) -> FloatArray:
    """(samples, columns) the numbers of a table; columns that nobody wants are NaN."""
    numbers = np.full((len(rows), len(header)), np.nan)
    for line, row in enumerate(rows):
        if len(row) != len(header):
            raise DataError(f"sample {line + 1}: expected {len(header)} columns as in the first line, got {len(row)}")
        for at in wanted:
            try:
                numbers[line, at] = float(row[at])
            except ValueError:
                raise DataError(
                    f"sample {line + 1}, column {header[at]!r}: expected a number, got {row[at][:40]!r}; classes are "
                    "numbers from 0, in the order of the classifier"
                ) from None
    return numbers


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


_READERS = {".npz": _npz, ".csv": _csv}
