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
    values = [0.5, 2.0]

Sections are `model`, `data`, `circuit` (the engine, whether it may `characterise` arrays, and all of `Design`) and
`solver` (`SolverOptions`). An axis may vary any of their fields, or several together. `models` and `netlists` are lists
of folders with device models and templates of one's own. Paths are relative to the study file, and what the files of
devices and op-amps say is read with it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from copy import deepcopy
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self, TypeVar, cast

from pydantic import (
    AfterValidator,
    Field,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from xbar_spice.checks import checked
from xbar_spice.cosim import SolverOptions
from xbar_spice.disk import read_toml
from xbar_spice.errors import InvalidInputError, StudyError
from xbar_spice.mapping.design import Design
from xbar_spice.parts import DATA, ENGINES, TASKS
from xbar_spice.settings import build
from xbar_spice.spice.device_models import Lookup
from xbar_spice.spice.resources import search_path
from xbar_spice.study.messages import explain, leaves
from xbar_spice.study.samples import AUTO, RANDOM
from xbar_spice.study.schema import Settings, lookup_of, settings_like, unused_settings

__all__ = ["Axis", "DataSettings", "ModelSettings", "Parameters", "Study", "load_study", "parse_study"]

MOST_CASES = 100_000
Scalar = bool | int | float | str
Seed = Annotated[int, Field(ge=0)]
Checked = TypeVar("Checked", bound=Settings)


class ModelSettings(Settings):
    """The model: a weight file, or a named training task whose weights are kept beside the results.

    `mapping` says what a file calls the tensors of the model, and `set` what it does not say, such as h and steps.
    """

    weights: str | None = None
    mapping: dict[str, str] | None = None
    set: dict[str, Any] | None = None
    task: str | None = None
    seed: Seed = 0  # of the training

    @field_validator("task", mode="after")
    @classmethod
    def _known(cls, task: str | None, info: ValidationInfo) -> str | None:
        if task is not None:
            TASKS.get(lookup_of(info).part(task))
        return task

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.weights is None) == (self.task is None):
            given = "neither" if self.weights is None else "both"
            raise ValueError(f"give either weights (a file) or task (a training task), got {given}")
        if self.weights is None and (self.mapping or self.set):
            raise ValueError("mapping and set tell what a weight file does not: give weights, or leave them out")
        return self

    @property
    def said(self) -> dict[str, Any]:
        """Settings of the model that its file does not say."""
        return self.set or {}


class DataSettings(Settings):
    """The samples: those that the model says it was trained on, or those of a file, of a named set, or random states.

    `file` is a .npz or .csv file, relative to the study file, with its names in `mapping`.
    """

    task: str = AUTO
    file: str | None = None
    mapping: dict[str, str] | None = None
    samples: Annotated[int, Field(ge=1)] | None = None
    seed: Seed | None = None

    @field_validator("task", mode="after")
    @classmethod
    def _known(cls, task: str, info: ValidationInfo) -> str:
        if task not in (AUTO, RANDOM):
            DATA.get(lookup_of(info).part(task))
        return task

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.file is not None and self.task != AUTO:
            raise ValueError(f"give either file or task, got both, task {self.task!r}")
        if self.mapping is not None and self.file is None:
            raise ValueError("mapping says what is what in a file: give file, too, or leave mapping out")
        return self


def _known_engine(text: str) -> str:
    ENGINES.parsed(text)
    return text


if TYPE_CHECKING:  # a type checker cannot look into models that are made at run time
    Circuit = Settings
    Solver = Settings
else:
    Circuit = settings_like(
        Design(),
        "Circuit",
        engine=(Annotated[str, AfterValidator(_known_engine)], "ngspice"),
        characterise=(bool, False),
    )
    Solver = settings_like(SolverOptions(), "Solver")


class Parameters(Settings):
    """All settings of one case, seed apart."""

    model: ModelSettings
    data: DataSettings = Field(default_factory=DataSettings)
    circuit: Circuit = Field(default_factory=Circuit)
    solver: Solver = Field(default_factory=Solver)
    _lookup: Lookup = PrivateAttr(default_factory=Lookup)

    def model_post_init(self, context: Any, /) -> None:
        if isinstance(context, Lookup):
            self._lookup = context

    @field_validator("circuit", mode="after")
    @classmethod
    def _buildable(cls, circuit: Settings, info: ValidationInfo) -> Settings:
        values = circuit.model_dump()
        # Checks what belongs together, such as g_min < g_max.
        design = build(Design(), circuit.model_dump(exclude_unset=True), lookup_of(info))
        linear = design.device.linear and design.amplifier.linear
        if values["characterise"] and not (values["engine"] == "ngspice" and linear):
            raise ValueError(
                "characterise needs engine 'ngspice', linear cells and linear amplifiers, "
                f"got engine {values['engine']!r}, {design.device!r} and {design.amplifier!r}"
            )
        return circuit

    @field_validator("solver", mode="after")
    @classmethod
    def _solvable(cls, solver: Settings) -> Settings:
        build(SolverOptions(), solver.model_dump())
        return solver

    @property
    def lookup(self) -> Lookup:
        """Where texts are looked up; it keeps what it has found."""
        return self._lookup

    @property
    def engine(self) -> str:
        """Name of the engine, or the text of one of the user's own."""
        return self._lookup.part(str(self.circuit.model_dump()["engine"]))

    @property
    def runs_ngspice(self) -> bool:
        """Whether reads are answered by decks."""
        return ENGINES.parsed(self.engine)[0] == "ngspice"

    @property
    def engine_options(self) -> dict[str, Any]:
        """How the engine is configured."""
        options: dict[str, Any] = {"characterise": True} if self.circuit.model_dump()["characterise"] else {}
        if self.runs_ngspice and self._lookup.netlists:
            options["netlists"] = self._lookup.netlists
        return options

    def design(self) -> Design:
        """How the arrays are built."""
        return cast(Design, build(Design(), self.circuit.model_dump(exclude_unset=True), self._lookup))

    def solver_options(self) -> SolverOptions:
        """How equations are solved."""
        return cast(SolverOptions, build(SolverOptions(), self.solver.model_dump()))


class Axis(Settings):
    """A setting that is varied, or several that are varied together."""

    name: Annotated[str, Field(min_length=1)]
    unit: str = ""
    fields: Annotated[list[str], Field(min_length=1)]
    values: Annotated[list[Scalar], Field(min_length=1)]

    @field_validator("values", mode="after")
    @classmethod
    def _distinct(cls, values: list[Scalar]) -> list[Scalar]:
        if len(set(values)) < len(values):
            raise ValueError(f"values of an axis must differ, got {values}")
        return values


class Study(Parameters):
    """A whole study file."""

    name: Annotated[str, Field(min_length=1)]
    seeds: Annotated[list[Seed], Field(min_length=1)] = Field(default_factory=lambda: [0])
    axes: list[Axis] = Field(default_factory=list)
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

    def points(self) -> list[tuple[dict[str, Scalar], Parameters]]:
        """Every combination of axis values by axis name, with the settings that it stands for.

        Raises:
            StudyError: a combination is not allowed.
        """
        # What was not given stays so: a technology may set it, see `Design.technology`.
        base = self.model_dump(include=set(Parameters.model_fields), exclude_unset=True)
        found = []
        for values in product(*(axis.values for axis in self.axes)):
            settings = deepcopy(base)
            for axis, value in zip(self.axes, values, strict=True):
                for field in axis.fields:
                    _set(settings, field, value)
            point = {axis.name: value for axis, value in zip(self.axes, values, strict=True)}
            where = ", ".join(f"{axis} = {value!r}" for axis, value in point.items())
            source = f"axis value {where}" if where else "study"
            found.append((point, _checked(Parameters, settings, source, self.lookup)))
        return found


@checked()
def load_study(path: Path) -> Study:
    """Read a study file; every combination of its axes is checked.

    Raises:
        StudyError: the file cannot be read, a key is unknown, or a value is not allowed; the text names file, key,
            what was given and what is allowed.
    """
    content = read_toml(path, error=StudyError)
    return parse_study(content, str(path), Path(path).parent)


def parse_study(content: Mapping[str, Any], source: str = "study", folder: Path = Path()) -> Study:
    """The study that the content of a study file describes.

    Args:
        content: tables and values as `tomllib` gives them.
        source: where they come from, for error texts.
        folder: to which relative paths refer.

    Raises:
        StudyError: see `load_study`.

    Example:
        >>> study = parse_study({"name": "one case", "model": {"weights": "weights.npz"}})
        >>> len(study.points())
        1
    """
    study = _checked(Study, content, source, _lookup(content, source, folder))
    allowed = leaves(Parameters)
    for axis in study.axes:
        for field in axis.fields:
            if field not in allowed:
                raise StudyError(
                    f"{source}: axis {axis.name!r} varies {field!r}, which is not a setting; "
                    f"allowed are {', '.join(allowed)}"
                )
    count = math.prod([len(study.seeds), *(len(axis.values) for axis in study.axes)])
    if count > MOST_CASES:
        raise StudyError(
            f"{source}: axes and seeds make {count} cases, and a study has at most {MOST_CASES}: "
            "leave values out, or make several studies"
        )
    try:
        points = study.points()
    except StudyError as error:
        raise StudyError(f"{source}: {error}") from error
    if study.netlists and not any(parameters.runs_ngspice for _, parameters in points):
        raise StudyError(f"{source}: netlists has no effect without engine 'ngspice', which no case has; leave it out")
    circuits = [parameters.circuit.model_dump() for _, parameters in points]
    for setting, need in unused_settings(Design(), circuits):
        raise StudyError(
            f"{source}: circuit.{setting} has no effect without circuit.{need}, which no case has; "
            f"give circuit.{need}, or leave circuit.{setting} out"
        )
    return study


def _set(settings: dict[str, Any], path: str, value: Scalar) -> None:
    *sections, key = path.split(".")
    for section in sections:
        settings = settings.setdefault(section, {})
    settings[key] = value


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


def _checked(kind: type[Checked], content: Mapping[str, Any], source: str, lookup: Lookup) -> Checked:
    try:
        return kind.model_validate(content, context=lookup)
    except ValidationError as error:
        raise StudyError(explain(error, kind, source)) from None
