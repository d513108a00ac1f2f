"""The settings of a case, as a study file has them.

Sections are `model`, `data`, `circuit` (the engine, whether it may `characterise` arrays, which part of its reads
another one answers, too, and all of `Design`), `solver` (`SolverOptions`) and `monitors` (`Monitors`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import replace
from functools import partial
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

from xbar_spice.cosim import Monitors, SolverOptions
from xbar_spice.engines.base import Engine
from xbar_spice.engines.registry import get_engine
from xbar_spice.engines.verified import VerifiedEngine
from xbar_spice.errors import StudyError
from xbar_spice.mapping.design import Design
from xbar_spice.parts import DATA, ENGINES, TASKS
from xbar_spice.settings import build
from xbar_spice.spice.device_models import Lookup
from xbar_spice.study.axes import Scalar
from xbar_spice.study.messages import explain
from xbar_spice.study.samples import AUTO, RANDOM
from xbar_spice.study.schema import Settings, lookup_of, settings_like
from xbar_spice.train.samples import LossName
from xbar_spice.train.tasks import Schedule

__all__ = ["DataSettings", "ModelSettings", "Parameters", "Seed", "parameters_at", "parse", "set_path"]

Seed = Annotated[int, Field(ge=0)]
_DESIGN, _SOLVER = Design(), SolverOptions()
Checked = TypeVar("Checked", bound=Settings)
Made = TypeVar("Made")


if TYPE_CHECKING:  # a type checker cannot look into models that are made at run time
    Training = Settings
else:
    Training = settings_like(Schedule(), "Training")


class ModelSettings(Settings):
    """The model: a weight file, or a named training task whose weights are kept beside the results.

    `mapping` says what a file calls the tensors of the model, and `set` what it does not say, such as h and steps;
    `training` is what the `Schedule` of a task has otherwise than the task says.
    """

    weights: str | None = None
    mapping: dict[str, str] | None = None
    set: dict[str, Any] | None = None
    task: str | None = None
    seed: Seed = 0  # of the training
    training: Training | None = None

    @field_validator("task", mode="after")
    @classmethod
    def _known(cls, task: str | None, info: ValidationInfo) -> str | None:
        if task is not None:
            TASKS.get(lookup_of(info).part(task))
        return task

    @field_validator("training", mode="after")
    @classmethod
    def _possible(cls, training: Settings | None, info: ValidationInfo) -> Settings | None:
        task = info.data.get("task")
        if training is not None and task is not None:
            replace(TASKS.get(lookup_of(info).part(task)).schedule, **training.model_dump(exclude_unset=True))
        return training

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.weights is None) == (self.task is None):
            given = "neither" if self.weights is None else "both"
            raise ValueError(f"give either weights (a file) or task (a training task), got {given}")
        if self.weights is None and (self.mapping or self.set):
            raise ValueError("mapping and set tell what a weight file does not: give weights, or leave them out")
        if self.task is None and self.training is not None:
            raise ValueError("training says how a task is trained: give task in place of weights, or leave it out")
        return self

    @property
    def said(self) -> dict[str, Any]:
        """Settings of the model that its file does not say."""
        return self.set or {}

    @property
    def schedule(self) -> dict[str, Any]:
        """What the schedule of the task's training has otherwise than the task says."""
        return {} if self.training is None else self.training.model_dump(exclude_unset=True)


class DataSettings(Settings):
    """The samples: those that the model says it was trained on, or those of a file, of a named set, or random states.

    `file` is a .npz or .csv file, relative to the study file, with its names in `mapping`. `loss` is "likelihood" for a
    flow, whose samples are scored by the likelihood that it gives them; `time_gradients` asks for those by the length
    of the steps.
    """

    task: str = AUTO
    file: str | None = None
    mapping: dict[str, str] | None = None
    samples: Annotated[int, Field(ge=1)] | None = None
    seed: Seed | None = None
    loss: LossName = "auto"
    time_gradients: bool = False

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


def _judge(circuit: Mapping[str, Any]) -> str:
    """The exact solver where nobody else is named, and ngspice where that one answers."""
    if circuit["verify_with"] is not None:
        return str(circuit["verify_with"])
    return "ngspice" if ENGINES.parsed(circuit["engine"])[0] == "nodal" else "nodal"


def _verified(answering: Callable[[], Engine], judge: Callable[[], Engine], share: float) -> Engine:
    return VerifiedEngine(answering(), judge(), share)


if TYPE_CHECKING:
    Circuit = Settings
    Solver = Settings
    Watched = Settings
else:
    Circuit = settings_like(
        Design(),
        "Circuit",
        engine=(Annotated[str, AfterValidator(_known_engine)], "ngspice"),
        characterise=(bool, False),
        verify=(Annotated[float, Field(ge=0, le=1)], 0.0),
        verify_with=(Annotated[str, AfterValidator(_known_engine)] | None, None),
    )
    Solver = settings_like(SolverOptions(), "Solver")
    Watched = settings_like(Monitors(), "Monitors")


class Parameters(Settings):
    """All settings of one case, seed apart."""

    model: ModelSettings
    data: DataSettings = Field(default_factory=DataSettings)
    circuit: Circuit = Field(default_factory=Circuit)
    solver: Solver = Field(default_factory=Solver)
    monitors: Watched = Field(default_factory=Watched)
    _lookup: Lookup = PrivateAttr(default_factory=Lookup)
    _made: dict[type, Any] = PrivateAttr(default_factory=dict)

    def model_post_init(self, context: Any, /) -> None:
        if isinstance(context, Lookup):
            self._lookup = context

    @field_validator("circuit", mode="after")
    @classmethod
    def _buildable(cls, circuit: Settings, info: ValidationInfo) -> Settings:
        values = circuit.model_dump()
        # Checks what belongs together, such as g_min < g_max.
        design = build(_DESIGN, circuit.model_dump(exclude_unset=True), lookup_of(info))
        linear = design.device.linear and design.amplifier.linear
        if values["characterise"] and not (values["engine"] == "ngspice" and linear):
            raise ValueError(
                "characterise needs engine 'ngspice', linear cells and linear amplifiers, "
                f"got engine {values['engine']!r}, {design.device!r} and {design.amplifier!r}"
            )
        if values["verify_with"] is not None and not values["verify"]:
            raise ValueError(
                f"verify_with = {values['verify_with']!r} names who answers a part of the reads, too, and verify is 0: "
                "give the part, such as verify = 0.02"
            )
        if values["verify"] and ENGINES.parsed(_judge(values))[0] == ENGINES.parsed(values["engine"])[0]:
            raise ValueError(f"{values['engine']} cannot judge itself; give another engine as verify_with")
        return circuit

    @field_validator("solver", mode="after")
    @classmethod
    def _solvable(cls, solver: Settings) -> Settings:
        build(_SOLVER, solver.model_dump())
        return solver

    @field_validator("monitors", mode="after")
    @classmethod
    def _measurable(cls, monitors: Settings) -> Settings:
        build(Monitors(), monitors.model_dump(exclude_unset=True))
        return monitors

    def watched(self) -> Monitors:
        """What is measured beside the run."""
        return cast(Monitors, build(Monitors(), self.monitors.model_dump(exclude_unset=True)))

    @property
    def lookup(self) -> Lookup:
        """Where texts are looked up; it keeps what it has found."""
        return self._lookup

    @property
    def engine(self) -> str:
        """Name of the engine, or the text of one of the user's own."""
        return self._lookup.part(str(self.circuit.model_dump()["engine"]))

    @property
    def judge(self) -> str | None:
        """Who answers a part of the reads, too; None if nobody does."""
        circuit = self.circuit.model_dump()
        return self._lookup.part(_judge(circuit)) if circuit["verify"] else None

    @property
    def runs_ngspice(self) -> bool:
        """Whether reads are answered by decks."""
        return any(ENGINES.parsed(name)[0] == "ngspice" for name in (self.engine, self.judge) if name)

    @property
    def engine_options(self) -> dict[str, Any]:
        """How the engine is configured."""
        options: dict[str, Any] = {"characterise": True} if self.circuit.model_dump()["characterise"] else {}
        return options | self._netlists(self.engine)

    def _netlists(self, engine: str) -> dict[str, Any]:
        decks = ENGINES.parsed(engine)[0] == "ngspice" and self._lookup.netlists
        return {"netlists": self._lookup.netlists} if decks else {}

    def make_engine(self) -> Callable[[], Engine]:
        """What makes the engine anew for each case, with its judge if there is one."""
        answering = partial(get_engine, self.engine, **self.engine_options)
        if self.judge is None:
            return answering
        judge = partial(get_engine, self.judge, **self._netlists(self.judge))
        return partial(_verified, answering, judge, self.circuit.model_dump()["verify"])

    def plain(self) -> dict[str, Any]:
        """All settings as plain values; those of a judge are there where there is one."""
        found = self.model_dump()
        if self.judge is None:  # so that cases from before there were judges keep their ids
            found["circuit"] = {key: value for key, value in found["circuit"].items() if not key.startswith("verify")}
        return found

    def design(self) -> Design:
        """How the arrays are built."""
        return self._kept(
            Design, lambda: cast(Design, build(_DESIGN, self.circuit.model_dump(exclude_unset=True), self._lookup))
        )

    def solver_options(self) -> SolverOptions:
        """How equations are solved."""
        return self._kept(SolverOptions, lambda: cast(SolverOptions, build(_SOLVER, self.solver.model_dump())))

    def _kept(self, kind: type[Made], make: Callable[[], Made]) -> Made:
        """What is made of these settings, which never change, once."""
        if kind not in self._made:
            self._made[kind] = make()
        return cast(Made, self._made[kind])


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
