"""The results of a study for other programs: a table of pandas, labelled arrays of xarray, CSV and Parquet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np
import pandas as pd

from xbar_spice.checks import checked
from xbar_spice.disk import make_folder, write
from xbar_spice.errors import InvalidInputError, StudyError
from xbar_spice.report.data import Results, read_results
from xbar_spice.report.quantities import quantity
from xbar_spice.study.store import Store

if TYPE_CHECKING:
    import xarray

__all__ = ["FORMATS", "ResultTable", "export_results", "load_results", "load_traces"]

FORMATS = ("csv", "parquet")
_EXTRA = "pip install 'xbar-spice[tables]'"
_SPARSE = 8  # times as many combinations of values as cases: the axes span no grid


@final
class ResultTable(pd.DataFrame):
    """A table of pandas with one row a case, which knows the axes of its study.

    Whatever is computed from it is a table of its own kind, with the same `attrs`: `units` and `text` by column, `axes`
    and `study`.
    """

    @property
    def _constructor(self) -> Any:
        return ResultTable

    def to_xarray(self) -> xarray.Dataset:  # type: ignore[misc] # final for type checkers only
        """The same labelled over the axes and the seeds, each column with its unit and meaning.

        A combination without a case is missing (NaN). Where the axes span no grid, as in a random design, there is one
        dimension `case`, and the axes are coordinates on it.

        Raises:
            InvalidInputError: xarray is not installed, or rows of one case occur twice.

        Returns:
            A dataset with a dimension for each axis, in the order of the study, and `seed`.
        """
        try:
            import xarray  # noqa: PLC0415 - optional
        except ImportError:
            raise InvalidInputError(f"to_xarray needs xarray, which is not installed: {_EXTRA}") from None
        table = pd.DataFrame(self)
        axes = [name for name in (*self.attrs.get("axes", ()), "seed") if name in table]
        if table.duplicated(axes).any():
            raise InvalidInputError(f"to_xarray needs each combination of {axes} once, got one of them twice")
        grid = np.prod([float(table[name].nunique()) for name in axes])
        if grid > _SPARSE * max(len(table), 1):
            found: xarray.Dataset = xarray.Dataset.from_dataframe(table.rename_axis("case")).set_coords(axes)
        else:
            found = xarray.Dataset.from_dataframe(table.set_index(axes))
        for name in map(str, found.variables):
            about = {"units": self.attrs["units"].get(name, ""), "long_name": self.attrs["text"].get(name, "")}
            found[name].attrs = {key: text for key, text in about.items() if text}
        return found


@checked()
def load_results(folder: Path) -> ResultTable:
    """The results of a study as a table of pandas, one row a case.

    A column goes by the name of its axis, or by that of an entry of the records, such as "state.relative_error",
    "gradient.A.relative_error", "accuracy.analog" or "reads"; an entry that shares the name of an axis has "record."
    before it. Cases that failed or were not run are there too, with their `status` and without numbers; those whose
    `status` is "not converged" have numbers that compare no solutions.

    Args:
        folder: Of the study's results, as `xs.run_study` wrote them.

    Returns:
        The table; `.attrs["units"]` has the unit of every column, empty of one without,
        `.attrs["text"]` what it is, and
        `.to_xarray()` labels the numbers over the axes.

    Raises:
        StudyError: The folder is not that of a study.
    """
    return table_of(read_results(Path(folder)))


def table_of(results: Results) -> ResultTable:
    """See `load_results`."""
    axes = {axis.key: axis.name for axis in results.axes}
    taken = set(axes.values())
    names = {
        str(column): axes.get(str(column), f"record.{column}" if column in taken else str(column))
        for column in results.cases
    }
    about = {name: found for column, name in names.items() if (found := quantity(column)) is not None}
    units = {name: found.unit for name, found in about.items()} | {axis.name: axis.unit for axis in results.axes}
    text = {name: found.text for name, found in about.items()}
    table = ResultTable(results.cases.rename(columns=names))
    table.attrs = {
        "study": str(results.study.get("name", "")),
        "axes": list(axes.values()),
        "units": {name: units.get(name, "") for name in names.values()},
        "text": text | {axis.name: f"axis, of {', '.join(axis.fields)}" for axis in results.axes},
    }
    return table


@checked()
def load_traces(folder: Path) -> pd.DataFrame:
    """Every analog read of every case of a study, one row a read.

    Args:
        folder: Of the study's results.

    Returns:
        The columns are `case`, the `id` of the row in `xs.load_results`, then those of a trace: `phase`, `step`,
        `newton`, `krylov`, `matrix`, `direction`, `batch`, `relative_error`, `worst_relative_error`, `seconds`.

    Raises:
        StudyError: The folder is not that of a study, or a trace cannot be read.
    """
    store = Store(Path(folder))
    known = {case["id"] for case in store.study()["cases"]}
    traces = [case.trace().assign(case=case.id) for case in store.cases() if case.id in known]
    if not traces:
        return pd.DataFrame({"case": []}, dtype=object)
    every = pd.concat(traces, ignore_index=True)
    return every[["case", *(name for name in every if name != "case")]]


def export_results(folder: Path, output: Path, *, traces: bool = False) -> Path:
    """Write the table of a study, or every read of its cases, as CSV or Parquet.

    Units and meanings of the columns stand beside it, in a file of the same name that ends in `.columns.csv`.

    Args:
        folder: Of the study's results.
        output: The file; its ending says the format, .csv or .parquet.
        traces: Whether to write the reads in place of the cases.

    Raises:
        StudyError: The folder is not that of a study, or the file cannot be written.
        InvalidInputError: There is no such format, or Parquet needs a package that is not installed.
    """
    output = Path(output)
    if output.suffix.removeprefix(".") not in FORMATS:
        raise InvalidInputError(f"the file must end in .csv or .parquet, got {output.name!r}")
    table = load_traces(folder) if traces else load_results(folder)
    content = pd.DataFrame(table).to_csv(index=False) if output.suffix == ".csv" else _parquet(pd.DataFrame(table))
    make_folder(output.parent, error=StudyError)
    if not traces:
        units, text = table.attrs["units"], table.attrs["text"]
        columns = [(name, units.get(name, ""), text.get(name, "")) for name in table]
        dictionary = pd.DataFrame(columns, columns=["column", "unit", "text"])
        write(output.with_suffix(".columns.csv"), dictionary.to_csv(index=False), error=StudyError)
    return write(output, content, error=StudyError)


def _parquet(table: pd.DataFrame) -> bytes:
    try:
        content: bytes = table.to_parquet(index=False)
    except ImportError:
        raise InvalidInputError(f"Parquet needs pyarrow, which is not installed: {_EXTRA}, or export as csv") from None
    return content
