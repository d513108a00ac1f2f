"""What a case is made of, seed apart, and how it is known again: the id covers all that determines a result."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, final

import numpy as np

from xbar_spice.cosim import Cosimulation, Monitors, Problem, SolverOptions, cosimulate
from xbar_spice.cosim.run.cosimulation import Run
from xbar_spice.engines.base import Engine
from xbar_spice.mapping.design import Design
from xbar_spice.study.axes import Group, Point, Scalar
from xbar_spice.weights import Model

__all__ = ["NUMERICS", "Plan", "Setup", "Source", "canonical", "exact", "without_folders"]

NUMERICS = 1
"""Version of the numbers: raised when equal settings give others than before, so that old results are not reused."""

_ID_LENGTH = 16  # hexadecimal digits: two of a million cases collide with a probability of 1e-8
_SEED = '"seed":0,"templates":'


@final
@dataclass(frozen=True, eq=False)
class Setup:
    """Everything about a case but its seed.

    Attributes:
        design: how the arrays are built.
        engine: who answers the reads, made anew for each case.
        engine_name: its name, or the text of one of the user's own.
        solver: how equations are solved.
        problem: makes what is co-simulated.
        model: of that problem.
        samples: of that problem.
        shared: whose digital run is the same has the same text here.
        content: all that determines a result, `seed` and `templates` among it, as `canonical` takes it.
        described: what records say of the case: `weights`, `data` and `parameters`.
        monitors: what is measured beside.
    """

    design: Design
    engine: Callable[[], str | Engine]
    engine_name: str
    solver: SolverOptions
    problem: Callable[[], Problem]
    model: Model
    samples: int
    shared: str
    content: Mapping[str, Any]
    described: Mapping[str, Any]
    monitors: Monitors = field(default_factory=Monitors)

    @cached_property
    def _halves(self) -> tuple[str, str]:
        """What stands before and behind the seed in the text that the id is a hash of."""
        before, _, behind = canonical({**self.content, "seed": 0}).rpartition(_SEED)
        return before, behind

    def case_id(self, seed: int) -> str:
        """Hash of all that determines the result of a seed."""
        before, behind = self._halves
        text = f"{before}{_SEED.replace('0', str(seed))}{behind}"
        return hashlib.sha256(text.encode()).hexdigest()[:_ID_LENGTH]

    def run(self, seed: int, problem: Problem | None = None, digital: Run | None = None) -> Cosimulation:
        """Co-simulate one chip.

        Args:
            seed: from which all that is random is drawn.
            problem: what `problem` makes, if it is there already.
            digital: its digital run, likewise.

        Raises:
            XbarError: the settings do not fit the model, or the simulation failed.
        """
        found = self.problem() if problem is None else problem
        return cosimulate(
            found,
            self.design,
            engine=self.engine(),
            seed=seed,
            solver=self.solver,
            digital=digital,
            monitors=self.monitors,
        )


class Source(ABC):
    """Where the cases of a study come from; it goes to every worker."""

    @property
    @abstractmethod
    def models(self) -> Sequence[tuple[str, Model]]:
        """The models of the study, each with where it comes from."""

    @abstractmethod
    def setup(self, changes: Mapping[str, Scalar]) -> Setup:
        """What cases are made of at a point.

        Args:
            changes: of the settings, by dotted path.

        Raises:
            XbarError: they are not allowed.
        """


class Plan(Protocol):
    """What can be run as a study: a `StudyFile`, or a `Study` of Python objects."""

    @property
    def name(self) -> str:
        """Of the study."""
        ...

    @property
    def seeds(self) -> Sequence[int]:
        """Of each point."""
        ...

    @property
    def groups(self) -> Sequence[Group]:
        """The axes, those together that are varied together."""
        ...

    @property
    def combinations(self) -> Sequence[Point]:
        """The points that are run."""
        ...

    def source(
        self, study_file: Path | None, kept: Path, on_training: Callable[..., None] | None, *, dry: bool = False
    ) -> Source:
        """Where its cases come from; see `FileSource.of`."""
        ...

    def describe(self) -> dict[str, Any]:
        """What stands in the description of the study besides axes, seeds and cases: `parameters`, tags, notes."""
        ...


def canonical(content: Mapping[str, Any]) -> str:
    """The one text of plain values, and of what parts of the user's own hold."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), default=_plain)


def _plain(part: Any) -> Any:
    """What a part of the user's own holds, if it is no dataclass."""
    return part.tolist() if isinstance(part, np.ndarray | np.generic) else {"class": type(part).__name__} | vars(part)


def without_folders(value: Any) -> Any:
    """Settings in which of every file only its name is left."""
    if isinstance(value, dict):
        return {key: without_folders(entry) for key, entry in value.items()}
    if isinstance(value, str) and (".py:" in value or value.endswith(".toml")):
        path, dot, rest = value.partition(".py:")
        return f"{Path(path).name}{dot}{rest}"
    return value


def exact(value: Scalar) -> str:
    """A value in words from which it can be read back, so that two values never look the same.

    Example:
        >>> exact(0.05), exact(0.123456789), exact(2.0)
        ('0.05', '0.123456789', '2')
    """
    short = f"{value:g}" if isinstance(value, float) else str(value)
    return short if not isinstance(value, float) or float(short) == value else repr(float(value))
