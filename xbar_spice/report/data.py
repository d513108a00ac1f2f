"""The stored results of a study as one table, and which of its axes a figure draws how."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, final

import numpy as np
import pandas as pd

from xbar_spice.cosim import SolverOptions
from xbar_spice.errors import StudyError
from xbar_spice.mapping.design import Design
from xbar_spice.report.quantities import WORST_READ, columns_of, gradient, place
from xbar_spice.settings import KIND, Entry, entries
from xbar_spice.study.segments import plain
from xbar_spice.study.setups import exact
from xbar_spice.study.store import Store

__all__ = [
    "FAILED",
    "MISSING",
    "OK",
    "UNCONVERGED",
    "Axis",
    "Results",
    "default_settings",
    "field_unit",
    "flat",
    "read_results",
]

OK, UNCONVERGED, FAILED, MISSING = "ok", "not converged", "failed", "not run"

# For each role in a figure, the settings that like to have it.
_SIZE = ("circuit.tile",)
_WIRES = ("circuit.r_word", "circuit.r_bit")
_DEVICES = "circuit.variation."
_CURVE = 3  # values that make a curve
_PLAIN = ("", "part", "times", "count")  # units that say no more than a number does
_NOT_RUN = {"status": MISSING}


_GRADIENT = re.compile(r"gradient\.(.+)\.relative_error")


def field_unit(field: str) -> str:
    """The unit of a setting that a study names, such as "circuit.r_word"; empty where it has none.

    Example:
        >>> field_unit("circuit.r_word"), field_unit("circuit.tile"), field_unit("model.weights")
        ('ohm', '', '')
    """
    known = _settings().get(field)
    return "" if known is None or known.about.unit in _PLAIN else known.about.unit


def default_settings() -> dict[str, Any]:
    """What each setting of the circuit and the solver is when it is left out, as plain values."""
    found: dict[str, Any] = {"circuit.characterise": False}
    for section, default in (("circuit", Design()), ("solver", SolverOptions())):
        found |= {f"{section}.{name}": value for name, value in flat(plain(asdict(default))).items()}
    return found | {
        field: entry.shown if entry.registry is not None else entry.default for field, entry in _settings().items()
    }


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted name; of a part, the text that says all of it."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            text = value.get(KIND)
            found |= flat(value, f"{prefix}{name}.") if text is None else {f"{prefix}{name}": text}
        else:
            found[f"{prefix}{name}"] = value
    return found


@cache
def _settings() -> dict[str, Entry]:
    sections = {"circuit": Design(), "solver": SolverOptions()}
    return {
        ".".join((section, *entry.path)): entry for section, settings in sections.items() for entry in entries(settings)
    }


@final
@dataclass(frozen=True)
class Axis:
    """An axis of the study.

    Attributes:
        name: as the study calls it.
        unit: of the values; may be empty.
        fields: settings that it varies.
        values: all values, as the study lists them.
    """

    name: str
    unit: str
    fields: tuple[str, ...]
    values: tuple[Any, ...]

    @property
    def key(self) -> str:
        """Name of the column that holds its values; cannot be the name of another one."""
        return f"axis.{self.name}"

    @property
    def varies(self) -> bool:
        """Whether it has more than one value."""
        return len(self.values) > 1

    @property
    def numeric(self) -> bool:
        """Whether all values are numbers."""
        return all(isinstance(value, int | float) and not isinstance(value, bool) for value in self.values)

    @property
    def is_size(self) -> bool:
        """Whether it is the size of the arrays."""
        return self.fields == _SIZE

    @property
    def label(self) -> str:
        """For the axis of a plot."""
        if self.is_size and not self.unit:
            return "array size T (tiles of T x T weights)"
        return self.heading

    @property
    def heading(self) -> str:
        """Name and unit."""
        return f"{self.name} ({self.unit})" if self.unit else self.name

    @property
    def title(self) -> str:
        """What it is, in words."""
        return "array size" if self.is_size else self.name

    def text(self, value: Any) -> str:
        """A value with its unit."""
        return f"{exact(value)} {self.unit}".rstrip()


@final
@dataclass(frozen=True)
class Results:
    """What a store holds.

    Attributes:
        study: content of study.json.
        axes: the axes of the study.
        cases: one row per case: `id`, `label`, `seed`, `status`, the axes by key, and the record's entries by dotted
            name.
        failures: what is known of failed cases.
        problems: folders that hold no readable case.
        others: number of results in the store that are no cases of the study as it was last run.
        store: where all of it comes from.
    """

    study: dict[str, Any]
    axes: tuple[Axis, ...]
    cases: pd.DataFrame
    failures: list[dict[str, Any]]
    problems: list[str]
    others: int
    store: Store

    @property
    def distinct(self) -> pd.DataFrame:
        """Every case once, where several points of the axes are the same case."""
        return self.cases.drop_duplicates("id")

    @property
    def whole(self) -> tuple[int, int] | None:
        """Shape of the largest matrix A of the study; None if that is not known."""
        shapes = [(int(model["hidden"]), int(model["states"])) for model in self.study.get("models", [])]
        return max(shapes, key=max, default=None)

    def size(self, axis: Axis, value: Any) -> Any:
        """A value of an axis as a figure has it: a tile that is larger than all matrices is an array of their size."""
        return value if not axis.is_size or self.whole is None else min(value, max(self.whole))

    def count(self, status: str) -> int:
        """Number of cases of a status."""
        return int((self.distinct["status"] == status).sum())

    @property
    def usable(self) -> pd.DataFrame:
        """The cases with a converged result."""
        return self.cases[self.cases["status"] == OK]

    @property
    def gradients(self) -> list[str]:
        """Names of the parameters whose gradients any case has, in the order of the records."""
        names = [found[1] for column in self.cases if (found := _GRADIENT.fullmatch(str(column)))]
        return [name for name in names if self.column(gradient(name, "relative_error"))]

    @property
    def shown_gradients(self) -> list[str]:
        """Those that figures show: a kernel "a" in place of the matrix "A" that it makes."""
        names = self.gradients
        return [name for name in names if name.lower() == name or name.lower() not in names]

    def column(self, name: str) -> bool:
        """Whether any case has a value of this entry."""
        return name in self.cases and bool(self.cases[name].notna().any())

    @cached_property
    def worst_reads(self) -> tuple[str, pd.DataFrame] | None:
        """Label and reads of the case with the largest read error; None if there is none that can be drawn."""
        ranked = self.usable if len(self.usable) else self.cases[self.cases["status"] == UNCONVERGED]
        if not len(ranked) or WORST_READ not in ranked or not ranked[WORST_READ].notna().any():
            return None
        case = ranked.iloc[int(np.nanargmax(ranked[WORST_READ].to_numpy(dtype=float)))]
        try:
            trace = self.store.trace(str(case["id"]))
        except StudyError:
            return None
        usable = len(trace) and {"phase", "matrix", "direction", "relative_error"} <= set(trace.columns)
        return (str(case["label"]), trace) if usable else None

    def roles(self) -> tuple[Axis | None, Axis | None, Axis | None, tuple[Axis, ...]]:
        """Axes for the abscissa, the curves, the panels, and those that are left.

        The abscissa is the array size, unless that has fewer than three values and another axis has more numbers.
        Curves belong to the wire resistance, panels to the devices, if these vary; else to the next axis that does.
        """
        left = [axis for axis in self.axes if axis.varies]

        def take(choices: Sequence[Axis]) -> Axis | None:
            taken = next(iter(choices), None)
            if taken is not None:
                left.remove(taken)
            return taken

        numeric = sorted((axis for axis in left if axis.numeric), key=lambda axis: -len(axis.values))
        x = take([axis for axis in numeric if axis.fields == _SIZE and len(axis.values) >= _CURVE] or numeric)
        curves = take([axis for axis in left if set(axis.fields) & set(_WIRES)] or left)
        panels = take([axis for axis in left if axis.fields[0].startswith(_DEVICES)] or left)
        return x, curves, panels, tuple(left)


def read_results(folder: Path) -> Results:
    """Read a store.

    Raises:
        StudyError: the folder is not that of a study.
    """
    store = Store(folder)
    study = store.study()
    axes = tuple(_axis(axis) for axis in study.get("axes", []))
    problems: list[str] = []
    known = {str(case["id"]) for case in study["cases"]}
    failures: dict[str, dict[str, Any]] = {}
    results, others = _Columns(), 0
    for case in store.cases(problems, failures):
        others += case.id not in known
        if case.id in known:
            results.add(case.id, columns_of(case.content) | {"status": OK if case.converged else UNCONVERGED})
    failures = {name: failure for name, failure in failures.items() if name in known}
    for name in sorted(known - results.places.keys()):
        failure = failures.get(name)
        why = _NOT_RUN if failure is None else {"status": FAILED, "error": str(failure.get("error", "no error text"))}
        results.add(name, why)
    # The study says where a case lies on the axes: its record may be from a time when they had other names.
    listed = {name: [case[name] for case in study["cases"]] for name in ("id", "label", "seed")}
    listed |= {axis.key: [case["axes"][axis.name] for case in study["cases"]] for axis in axes}
    found = results.table([results.places[name] for name in listed["id"]])
    columns = ["status", *sorted({str(name) for name in found} - {"status", *listed}, key=place)]
    return Results(
        study=study,
        axes=axes,
        cases=pd.concat([pd.DataFrame(listed), found[columns]], axis=1),
        failures=list(failures.values()),
        problems=problems,
        others=others,
        store=store,
    )


@final
class _Columns:
    """Rows that come one by one, kept by column: that takes a third of the memory, and lists become arrays at once."""

    def __init__(self) -> None:
        self.places: dict[str, int] = {}
        self._columns: dict[str, list[Any]] = {}

    def add(self, name: str, row: Mapping[str, Any]) -> None:
        """A row by its name; what it does not have is missing."""
        count = len(self.places)
        self.places[name] = count
        for key, value in row.items():
            column = self._columns.setdefault(key, [])
            column += [math.nan] * (count - len(column))
            column.append(value)

    def table(self, order: Sequence[int]) -> pd.DataFrame:
        """The rows in an order."""
        for column in self._columns.values():
            column.extend([math.nan] * (len(self.places) - len(column)))
        return pd.DataFrame(self._columns).take(list(order)).reset_index(drop=True)


def _axis(axis: dict[str, Any]) -> Axis:
    fields = tuple(axis["fields"])
    units = {field_unit(field) for field in fields}
    unit = axis.get("unit") or (units.pop() if len(units) == 1 else "")
    return Axis(axis["name"], unit, fields, tuple(axis["values"]))
