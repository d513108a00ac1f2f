"""The settings of a case, as a study file has them.

Sections are `model`, `data`, `circuit` (the engine, whether it may `characterise` arrays, and all of `Design`) and
`solver` (`SolverOptions`).
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
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

from xbar_spice.cosim import SolverOptions
from xbar_spice.errors import StudyError
from xbar_spice.mapping.design import Design
from xbar_spice.parts import DATA, ENGINES, TASKS
from xbar_spice.settings import build
from xbar_spice.spice.device_models import Lookup
from xbar_spice.study.axes import Scalar
from xbar_spice.study.messages import explain
from xbar_spice.study.samples import AUTO, RANDOM
from xbar_spice.study.schema import Settings, lookup_of, settings_like

__all__ = ["DataSettings", "ModelSettings", "Parameters", "Seed", "parameters_at", "parse", "set_path"]

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


def parse(kind: type[Checked], content: Mapping[str, Any], source: str, lookup: Lookup) -> Checked:
    """Settings of a kind, from plain values.

    Raises:
        StudyError: a key is unknown, or a value is not allowed; the text begins with the source.
    """
    try:
        return kind.model_validate(content, context=lookup)
    except ValidationError as error:
        raise StudyError(explain(error, kind, source)) from None


def parameters_at(base: Mapping[str, Any], changes: Mapping[str, Scalar], lookup: Lookup, source: str) -> Parameters:
    """The settings of a point.

    Args:
        base: those of the study, of which only what was given is there: a technology may set the rest.
        changes: by dotted path.
        lookup: where texts are looked up.
        source: of the changes, for errors.

    Raises:
        StudyError: they are not allowed.
    """
    settings = {name: deepcopy(dict(table)) for name, table in base.items()}
    for path, value in changes.items():
        set_path(settings, path, value)
    return parse(Parameters, settings, source, lookup)


def set_path(settings: dict[str, Any], path: str, value: Any) -> None:
    """Set what stands at a dotted path of nested tables."""
    *sections, key = path.split(".")
    for section in sections:
        held = settings.get(section)
        settings[section] = settings = held if isinstance(held, dict) else {}
    settings[key] = value
