"""The stored results of a study as one table, and which of its axes a figure draws how."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, final

import pandas as pd

from xbar_spice.cosim.run.record import Record
from xbar_spice.study.setups import exact
from xbar_spice.study.store import Store, unconverged

__all__ = ["Axis", "Results", "entry", "load_results"]

OK, UNCONVERGED, FAILED, MISSING = "ok", "not converged", "failed", "not run"

# For each role in a figure, the settings that like to have it.
_SIZE = ("circuit.tile",)
_WIRES = ("circuit.r_word", "circuit.r_bit")
_DEVICES = "circuit.variation."
_CURVE = 3  # values that make a curve


@final
class _Path:
    """A record in which every entry is the name of its column."""

    def __init__(self, name: str = "") -> None:
        self._name = name

    def __getattr__(self, entry: str) -> _Path:
        return self[entry]

    def __getitem__(self, entry: str) -> _Path:
        return _Path(f"{self._name}.{entry}" if self._name else entry)

    def __str__(self) -> str:
        return self._name


def entry(of: Callable[[Record], Any]) -> str:
    """The column of `Results.cases` that holds an entry of the records.

    Example:
        >>> entry(lambda record: record.gradients["A"].cosine)
        'gradients.A.cosine'
    """
    return str(of(cast(Record, _Path())))


STATE_ERROR = entry(lambda record: record.state.relative_error)
LOSS_ERROR = entry(lambda record: record.loss.relative_error)
ACCURACY = entry(lambda record: record.accuracy.analog)
DIGITAL_ACCURACY = entry(lambda record: record.accuracy.digital)
WORST_READ = entry(lambda record: record.worst_read_error)
READS = entry(lambda record: record.reads)
SECONDS = entry(lambda record: record.seconds)
ENGINE = entry(lambda record: record.engine)
CASE_ID = entry(lambda record: record.case and record.case.id)
"""Columns of `Results.cases`; those of gradients go by the name of the parameter."""


def gradient_error(name: str) -> str:
    """The column of the error of a gradient."""
    return entry(lambda record: record.gradients[name].relative_error)


def gradient_cosine(name: str) -> str:
    """The column of the cosine between hardware and digital gradient."""
    return entry(lambda record: record.gradients[name].cosine)


def gradient_signs(name: str) -> str:
    """The column of the share of entries whose signs agree."""
    return entry(lambda record: record.gradients[name].sign_agreement)


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
    def label(self) -> str:
        """For the axis of a plot."""
        if self.fields == _SIZE and not self.unit:
            return "array size T (tiles of T x T weights)"
        return self.heading

    @property
    def heading(self) -> str:
        """Name and unit."""
        return f"{self.name} ({self.unit})" if self.unit else self.name

    @property
    def title(self) -> str:
        """What it is, in words."""
        return "array size" if self.fields == _SIZE else self.name

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
        return value if axis.fields != _SIZE or self.whole is None else min(value, max(self.whole))

    def count(self, status: str) -> int:
        """Number of cases of a status."""
        return int((self.distinct["status"] == status).sum())

    @property
    def usable(self) -> pd.DataFrame:
        """The cases with a converged result."""
        return self.cases[self.cases["status"] == OK]

    def column(self, name: str) -> bool:
        """Whether any case has a value of this entry."""
        return name in self.cases and bool(self.cases[name].notna().any())

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


def load_results(folder: Path) -> Results:
    """Read a store.

    Raises:
        StudyError: the folder is not that of a study.
    """
    store = Store(folder)
    study = store.study()
    axes = tuple(
        Axis(axis["name"], axis.get("unit", ""), tuple(axis["fields"]), tuple(axis["values"]))
        for axis in study.get("axes", [])
    )
    records, problems = store.results()
    failures = store.failures()
    # The study says where a case lies on the axes: its record may be from a time when they had other names.
    listed = pd.DataFrame(
        [
            {"id": case["id"], "label": case["label"], "seed": case["seed"]}
            | {f"axis.{name}": value for name, value in case["axes"].items()}
            for case in study["cases"]
        ],
        columns=["id", "label", "seed", *(axis.key for axis in axes)],
    )
    found = pd.DataFrame({"id": []}, dtype=object)
    if records:
        table = pd.json_normalize([dict(record) for record in records])
        found = table.rename(columns={CASE_ID: "id"}).drop(columns=set(listed.columns) - {"id"}, errors="ignore")
    cases = listed.merge(found, on="id", how="left")
    finished, failed, lost = set(found["id"]), {str(failure["id"]) for failure in failures}, unconverged(records)
    cases["status"] = [
        (UNCONVERGED if case in lost else OK) if case in finished else FAILED if case in failed else MISSING
        for case in cast(list[str], cases["id"].tolist())
    ]
    known = set(listed["id"])
    return Results(
        study=study,
        axes=axes,
        cases=cases,
        failures=[failure for failure in failures if failure["id"] in known - set(found["id"])],
        problems=problems,
        others=len(set(found["id"]) - known),
        store=store,
    )
