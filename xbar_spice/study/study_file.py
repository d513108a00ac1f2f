"""A study file: what is simulated, which settings are varied, and with which seeds.

    name = "error against array size"
    seeds = [0, 1, 2]

    [model]
    weights = "weights.npz"            # relative to the study file; or task = "digits-conv", which is trained once

    [circuit]
    engine = "ngspice"
    r_driver = 50.0

    [[axes]]
    name = "wire resistance"
    unit = "ohm"
    fields = ["circuit.r_word", "circuit.r_bit"]
    values = [0.5, 2.0]                # or range, log or random, each with from and to

    [[when]]                           # what follows from what
    if = { "circuit.tile" = "> 32" }
    set = { "circuit.engine" = "nodal" }

    [[skip]]                           # what is left out
    "circuit.tile" = ">= 64"
    "circuit.r_word" = "> 1"

Sections are `model`, `data`, `circuit` and `solver`, see `Parameters`. An axis may vary any of their fields, or several
together; axes with the same `zip` are varied together. `models` and `netlists` are lists of folders with device models
and templates of one's own. Paths are relative to the study file, and what the files of devices and op-amps say is read
with it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, field_validator, model_validator

from xbar_spice.checks import checked
from xbar_spice.disk import read_toml
from xbar_spice.errors import InvalidInputError, StudyError
from xbar_spice.mapping.design import Design
from xbar_spice.spice.device_models import Lookup
from xbar_spice.spice.resources import search_path
from xbar_spice.study.axes import (
    Group,
    Point,
    Rules,
    Scalar,
    conditions,
    latin_hypercube,
    points,
)
from xbar_spice.study.axis_tables import Axis, RandomDesign, When
from xbar_spice.study.config import Parameters, Seed, parameters_at, parse, set_path
from xbar_spice.study.file_source import FileSource
from xbar_spice.study.messages import leaves, nearest
from xbar_spice.study.schema import unused_settings

__all__ = ["StudyFile", "load_study", "parse_study"]

MOST_CASES = 100_000


class StudyFile(Parameters):
    """A whole study file."""

    name: Annotated[str, Field(min_length=1)]
    tags: list[str] = Field(default_factory=list)
    notes: str = ""
    seeds: Annotated[list[Seed], Field(min_length=1)] = Field(default_factory=lambda: [0])
    axes: list[Axis] = Field(default_factory=list)
    random: RandomDesign | None = None
    when: list[When] = Field(default_factory=list)
    skip: list[dict[str, Scalar | list[Scalar]]] = Field(default_factory=list)
    models: list[str] = Field(default_factory=list)
    netlists: list[str] = Field(default_factory=list)

    @field_validator("seeds", mode="after")
    @classmethod
    def _distinct_seeds(cls, seeds: list[int]) -> list[int]:
        if len(set(seeds)) < len(seeds):
            raise ValueError(f"seeds must differ, got {seeds}")
        return seeds

    @field_validator("axes", mode="after")
    @classmethod
    def _separate(cls, axes: list[Axis]) -> list[Axis]:
        for what, found in (
            ("name", [axis.name for axis in axes]),
            ("field", [field for axis in axes for field in axis.fields]),
        ):
            twice = sorted({item for item in found if found.count(item) > 1})
            if twice:
                raise ValueError(f"every {what} may occur in one axis only, got {twice[0]!r} more than once")
        return axes

    @model_validator(mode="after")
    def _whole_groups(self) -> Self:
        if any(axis.random for axis in self.axes) != (self.random is not None):
            raise ValueError(
                "random axes and the table [random], which says how many points are drawn, need each other: "
                "[random] with count = 32 and seed = 0"
            )
        for name in {axis.zip for axis in self.axes if axis.zip is not None}:
            lengths = {axis.name: len(axis.listed) for axis in self.axes if axis.zip == name}
            if len(set(lengths.values())) > 1:
                raise ValueError(f"axes with zip = {name!r} need equally many values, got {lengths}")
        return self

    @cached_property
    def groups(self) -> list[Group]:
        """The axes, those together that are varied together, in the order of the first of each."""
        found: list[Group] = []
        for key, axes in _by_group(self.axes).items():
            if key == _RANDOM and self.random is not None:
                spans = {axis.name: axis.random for axis in axes if axis.random is not None}
                ranges: dict[str, Any] = {
                    name: (span.start, span.end, *(["log"] * (span.scale == "log"))) for name, span in spans.items()
                }
                try:
                    (rows,) = latin_hypercube(ranges, self.random.count, seed=self.random.seed).values()
                except StudyError as error:
                    raise StudyError(f"axes: {error}") from None
            else:
                rows = list(zip(*(axis.listed for axis in axes), strict=True))
            found.append(Group.of(rows, *((axis.name, axis.fields, axis.unit) for axis in axes)))
        return found

    @cached_property
    def given(self) -> dict[str, Any]:
        """The settings that no axis varies, of which only what was given is there: a technology may set the rest."""
        return self.model_dump(include=set(Parameters.model_fields), exclude_unset=True)

    @cached_property
    def combinations(self) -> list[Point]:
        """Every combination of the axes that is not left out."""
        defaults = self.model_dump(include=set(Parameters.model_fields))

        def setting(path: str) -> Any:
            found: Any = defaults
            for key in path.split("."):
                found = found.get(key) if isinstance(found, Mapping) else None
            return found

        when = tuple((conditions(one.conditions), one.brings) for one in self.when)
        return list(points(self.groups, Rules(when, tuple(map(conditions, self.skip))), setting))

    def points(self) -> list[tuple[dict[str, Scalar], Parameters]]:
        """The same by axis name, with the settings that each stands for.

        Raises:
            StudyError: a combination is not allowed.
        """
        return [(dict(point.axes), self.at(point)) for point in self.combinations]

    def at(self, point: Point) -> Parameters:
        """The settings of a point.

        Raises:
            StudyError: they are not allowed.
        """
        where = ", ".join(f"{axis} = {value!r}" for axis, value in point.axes.items())
        source = f"axis value {where}" if where else "study"
        return parameters_at(self.given, point.changes, self.lookup, source)

    def source(
        self,
        study_file: Path | None,
        kept: Path,
        on_training: Callable[..., None] | None = None,
        *,
        dry: bool = False,
    ) -> FileSource:
        """Where its cases come from, see `FileSource.of`."""
        return FileSource.of(self, study_file, kept, on_training, dry=dry)

    def describe(self) -> dict[str, Any]:
        """What stands in the description of the study besides axes, seeds and cases."""
        return {
            "tags": self.tags,
            "notes": self.notes,
            "parameters": self.model_dump(include=set(Parameters.model_fields)),
            "models_folders": self.models,
            "netlists": self.netlists,
        }


_RANDOM = "random axes"


def _by_group(axes: list[Axis]) -> dict[tuple[str, str] | str, list[Axis]]:
    found: dict[tuple[str, str] | str, list[Axis]] = {}
    for axis in axes:
        key = _RANDOM if axis.random else ("zip", axis.zip) if axis.zip is not None else ("axis", axis.name)
        found.setdefault(key, []).append(axis)
    return found


@checked()
def load_study(path: Path, settings: Mapping[str, Any] | None = None) -> StudyFile:
    """Read a study file; every combination of its axes is checked.

    Args:
        path: Of the file.
        settings: Changes of what it says by dotted path, such as `{"circuit.tile": 32}`. An axis that varies such a
            setting takes this value alone, or the values of a list.

    Raises:
        StudyError: the file cannot be read, a key is unknown, or a value is not allowed; the text names file, key,
            what was given and what is allowed.
    """
    content = read_toml(path, error=StudyError)
    for name, value in (settings or {}).items():
        _change(content, name, value)
    return parse_study(content, str(path), Path(path).parent)


def parse_study(content: Mapping[str, Any], source: str = "study", folder: Path = Path()) -> StudyFile:
    """The study that the content of a study file describes.

    Args:
        content: tables and values as `tomllib` gives them.
        source: where they come from, for error texts.
        folder: to which relative paths refer.

    Raises:
        StudyError: see `load_study`.

    Example:
        >>> study = parse_study({"name": "one case", "model": {"weights": "weights.npz"}})
        >>> len(study.combinations)
        1
    """
    study = parse(StudyFile, content, source, _lookup(content, source, folder))
    allowed = leaves(Parameters)
    named = {f"axis {axis.name!r} varies": axis.fields for axis in study.axes}
    named |= {f"when[{i}] asks for": list(one.conditions) for i, one in enumerate(study.when)}
    named |= {f"when[{i}] sets": list(one.brings) for i, one in enumerate(study.when)}
    named |= {f"skip[{i}] asks for": list(one) for i, one in enumerate(study.skip)}
    for who, fields in named.items():
        for field in fields:
            if field not in allowed:
                meant = nearest(field, allowed)
                raise StudyError(
                    f"{source}: {who} {field!r}, which is not a setting; {meant}allowed are {', '.join(allowed)}"
                )
    try:
        count = math.prod([len(study.seeds), *(len(group.rows) for group in study.groups)])
        if count > MOST_CASES:
            raise StudyError(
                f"axes and seeds make {count} cases, and a study has at most {MOST_CASES}: "
                "leave values out, or make several studies"
            )
        _check_points(study)
    except StudyError as error:
        raise StudyError(f"{source}: {error}") from error
    return study


def _check_points(study: StudyFile) -> None:
    """Raise if a combination is not allowed, or a setting has no effect in any of them."""
    if not study.combinations:
        raise StudyError("every combination of the axes is left out by skip")
    design, netlists = Design(), False
    needy = {name for name, part in vars(design).items() if hasattr(type(part), "NEEDS")}
    tables: dict[str, Any] = {}  # each only once: a long study has a few of them
    for point in study.combinations:
        parameters = study.at(point)
        netlists = netlists or parameters.runs_ngspice
        parts = parameters.circuit.model_dump(include=needy)
        tables[json.dumps(parts, sort_keys=True)] = parts
    if study.netlists and not netlists:
        raise StudyError("netlists has no effect without engine 'ngspice', which no case has; leave it out")
    for setting, need in unused_settings(design, list(tables.values())):
        raise StudyError(
            f"circuit.{setting} has no effect without circuit.{need}, which no case has; "
            f"give circuit.{need}, or leave circuit.{setting} out"
        )


def _change(content: dict[str, Any], name: str, value: Any) -> None:
    """Change what a study file says at a dotted path, or the values of the axis that varies it."""
    for axis in content.get("axes", []):
        if isinstance(axis, dict) and name in (axis.get("fields") or []):
            for kind in ("range", "log", "random", "zip"):
                axis.pop(kind, None)
            axis["values"] = value if isinstance(value, list) else [value]
            return
    set_path(content, name, value)


def _lookup(content: Mapping[str, Any], source: str, folder: Path) -> Lookup:
    """Where texts are looked up, with the folders that the study names; what is no list of texts is refused later."""
    found = {}
    for kind in ("models", "netlists"):
        names = content.get(kind, [])
        texts = names if isinstance(names, list) and all(isinstance(name, str) for name in names) else []
        try:
            found[kind] = search_path(kind, [folder / Path(name).expanduser() for name in texts])[:-1]
        except InvalidInputError as error:
            raise StudyError(f"{source}: {error}") from error
    return Lookup(folder, **found)
