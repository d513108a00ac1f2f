"""What a co-simulation showed, as one value: made by the run, kept as JSON, and read back by the same code."""

from __future__ import annotations

import dataclasses
import math
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, TypeVar, Union, final, get_args, get_origin, get_type_hints

from xbar_spice.cosim.run.comparison import Comparison
from xbar_spice.cosim.run.made import Conditions, key_of, plain
from xbar_spice.engines.verified import Verdict
from xbar_spice.errors import StudyError
from xbar_spice.hardware.variation import ProgrammingCost

__all__ = [
    "Accuracy",
    "CaseEntry",
    "Circuit",
    "FlowEntry",
    "GrowthEntry",
    "Loss",
    "ParallelEntry",
    "Record",
    "RoundedEntry",
    "RunEntry",
    "Table",
    "WritesEntry",
    "read_record",
    "typed",
]

Kind = TypeVar("Kind", bound="Table")


@final
@dataclass(frozen=True)
class Loss:
    """The loss of both runs; NaN where a sample is not finite."""

    analog: float
    digital: float
    relative_error: float


@final
@dataclass(frozen=True)
class Accuracy:
    """Part of the samples that each run classifies correctly; None where nothing is classified."""

    analog: float | None = None
    digital: float | None = None


@final
@dataclass(frozen=True, kw_only=True)
class RunEntry:
    """Whether one run solved its equations, and what that took.

    Attributes:
        converged: Whether all equations of all samples were solved.
        unstable_samples: Those of which the method amplifies what the equation damps.
        failed_samples: Those that were not solved.
        newton_iterations: Most of any sample, by time step; likewise what follows.
        krylov_iterations: Products of the linear solves of the forward run.
        adjoint_krylov_iterations: Products of those of the adjoint run.
        evaluations: Of f (NFE), residuals of Newton's method among them.
        rejected: Attempts of an adaptive method that were too inaccurate.
        adjoint_evaluations: Of J^T w, those of linear solves among them; most of any sample, of all time steps.
        worst_residual: Largest |F| that was left.
    """

    converged: bool
    unstable_samples: Sequence[int] = ()
    failed_samples: Sequence[int] = ()
    newton_iterations: Sequence[int] = ()
    krylov_iterations: Sequence[int] = ()
    adjoint_krylov_iterations: Sequence[int] = ()
    evaluations: Sequence[int] = ()
    rejected: Sequence[int] = ()
    adjoint_evaluations: int = 0
    worst_residual: float = math.nan


@final
@dataclass(frozen=True)
class GrowthEntry:
    """How small differences of the state grow along a run, of the worst sample; see `xs.growth`.

    Attributes:
        abscissa: Largest real part of an eigenvalue of the Jacobian, 1/s, by step.
        numerical_abscissa: Largest eigenvalue of its symmetric part, 1/s, by step.
        bound: exp(sum of h numerical abscissa), by which a difference grows at most until the end.
        products: With the Jacobian at each step.
    """

    abscissa: Sequence[float]
    numerical_abscissa: Sequence[float]
    bound: float
    products: int


@final
@dataclass(frozen=True)
class ParallelEntry:
    """How a run that is parallel in time converges to the sequential one on the same arrays; see `parallel_in_time`.

    Attributes:
        errors: Largest difference of a state between slices, relative to the largest entry of the last state: of the
            coarse sweep, and after each iteration.
        steps: All fine and coarse steps.
        critical_path: Those of them that have to wait for each other.
        sequential: Steps of the sequential run.
    """

    errors: Sequence[float]
    steps: int
    critical_path: int
    sequential: int


@final
@dataclass(frozen=True)
class RoundedEntry:
    """What the digital part of a chip rounded to its numbers of a fixed point.

    Attributes:
        weights: How many weights and biases of the field.
        weights_saturated: How many of them were out of range.
        activations: How many values that went into matrices or came out of them, in all reads of all samples.
        activations_saturated: How many of these were out of range.
    """

    weights: int
    weights_saturated: int
    activations: int
    activations_saturated: int


@final
@dataclass(frozen=True)
class FlowEntry:
    """What arrays make of a flow.

    Attributes:
        nats_above: Mean negative log-likelihood of the samples on arrays above that on digital matrices.
        least_determinant: Of a step on the way of any sample, on arrays; where it is not > 0 the flow folds there, and
            cannot be run back.
        digital_least_determinant: The same on digital matrices.
    """

    nats_above: float
    least_determinant: float
    digital_least_determinant: float


@final
@dataclass(frozen=True)
class Circuit:
    """What the solves of a feedback circuit were like.

    Attributes:
        solves: Their number by direction.
        worst_error: Relative to the solution with the arrays' own reads.
        worst_digital_error: Relative to the solution with the weights as meant.
        slowest_time_constant: Seconds.
    """

    solves: Mapping[str, int]
    worst_error: float
    worst_digital_error: float
    slowest_time_constant: float


@final
@dataclass(frozen=True)
class WritesEntry:
    """How often one set of arrays was written that the weights of all steps share.

    Attributes:
        forward: On the way forward.
        adjoint: On the way back.
        devices: That got another target, in all writes; at first all.
    """

    forward: int
    adjoint: int
    devices: int


@final
@dataclass(frozen=True, kw_only=True)
class CaseEntry:
    """The case of a study that a record is of; see `xbar_spice.study.cases.Case`."""

    id: str
    label: str = ""
    axes: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None
    weights: str = ""
    data: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, eq=False)
class Table(Conditions, dict[str, Any]):
    """A record whose fields are also a table of plain values that JSON can hold, without those that are None."""

    def __post_init__(self) -> None:
        found = {key: plain(getattr(self, name)) for name, key in _order(type(self))}
        dict.update(self, {key: value for key, value in found.items() if value is not None})


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Record(Table):
    """What one co-simulation showed; also a table of plain values that JSON can hold, `record["state"]["cosine"]`.

    What it does not have is left out of that table.

    Attributes:
        solver: `SolverOptions` of both runs.
        noise: What read noise and converters leave of an implicit equation, relative to the state.
        state: The final states compared.
        loss: The losses.
        accuracy: Of both runs.
        gradients: By parameter, what the hardware returned compared with the digital one.
        convergence: Of the "analog" and the "digital" run.
        reads: Their number by matrix and direction.
        read_seconds: That they took.
        worst_read_error: Largest relative error of a read against the digital product.
        read_power: Watts of the first read by matrix and direction, see `xbar_spice.mapping.power.read_power`.
        seconds: That all of it took.
        programming: By matrix, what programming by pulses took, where the design does that.
        writes: By matrix, how often its arrays were written, where all steps share them (`Design.rewritten`).
        activations: Selections of rows that the reads took, where a design reads some rows at a time.
        feedback: What the solves by a circuit were like, if there was one.
        solved: What a linear solver of the user's own reports.
        verified: How far another engine's answers to a sample of the reads are from these, where one was asked.
        flow: What the likelihood of a flow became, where that is the loss.
        fixed_point: What was rounded, where the digital part computes with numbers of a fixed point.
        growth: Of the "analog" and the "digital" run, where that is monitored.
        parallel: Of the run that is parallel in time, where that is monitored.
        case: Of a study.
        written: When it was kept.
    """

    state: Comparison
    loss: Loss
    gradients: Mapping[str, Comparison]
    convergence: Mapping[str, RunEntry]
    reads: Mapping[str, int]
    seconds: float
    solver: Mapping[str, Any] = field(default_factory=dict)
    noise: float = math.nan
    accuracy: Accuracy = field(default_factory=Accuracy)
    read_seconds: float = math.nan
    worst_read_error: float = math.nan
    programming: Mapping[str, ProgrammingCost] | None = None
    writes: Mapping[str, WritesEntry] | None = None
    read_power: Mapping[str, float] | None = None
    activations: int | None = None
    feedback: Circuit | None = None
    solved: Mapping[str, Any] | None = None
    verified: Verdict | None = None
    flow: FlowEntry | None = None
    fixed_point: RoundedEntry | None = None
    growth: Mapping[str, GrowthEntry] | None = None
    parallel: ParallelEntry | None = None
    case: CaseEntry | None = None
    written: str | None = None

    @property
    def converged(self) -> bool:
        """Whether both runs are solutions that can be compared."""
        return all(run in self.convergence and self.convergence[run].converged for run in ("analog", "digital"))


@cache
def _order(kind: type[Table]) -> tuple[tuple[str, str], ...]:
    return tuple((field.name, key_of(field)) for field in dataclasses.fields(kind))


def read_record(content: Mapping[str, Any]) -> Record:
    """The record that JSON kept; entries that it does not know are left out.

    Raises:
        StudyError: An entry that every record has is missing, or one is of another type.
    """
    record = typed(Record, content)
    for run in ("analog", "digital"):
        if run not in record.convergence:
            raise StudyError(f"its record has no convergence.{run}")
    return record


def typed(kind: type[Kind], content: Mapping[str, Any]) -> Kind:
    """The record of a kind from plain values; entries that it does not know are left out.

    Raises:
        StudyError: An entry that every such record has is missing, or one is of another type.
    """
    found: Kind = _read(kind, content, "")
    return found


def _read(kind: Any, value: Any, place: str) -> Any:  # noqa: PLR0911 - one line for each kind of type
    """A value of a type from what JSON holds; `place` is its dotted name, for errors."""
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if origin in (Union, types.UnionType):
        return None if value is None else _read(arguments[0], value, place)
    if kind is float and value is None:
        return math.nan
    if dataclasses.is_dataclass(kind):
        return _read_fields(kind, value, place)
    if origin is Mapping and isinstance(value, Mapping):
        return {name: _read(arguments[1], entry, f"{place}.{name}") for name, entry in value.items()}
    if origin is Sequence and isinstance(value, list):
        return [_read(arguments[0], entry, place) for entry in value]
    plain_kind = {float: int | float, int: int, str: str, bool: bool}.get(kind, ())
    if not isinstance(value, plain_kind) or (kind is not bool and isinstance(value, bool)):
        raise StudyError(f"its record has no {place}")
    return float(value) if kind is float else value


def _read_fields(kind: Any, value: Any, place: str) -> Any:
    if not isinstance(value, Mapping):
        raise StudyError(f"its record has no {place or 'entries'}")
    hints, found = _hints(kind), {}
    for one in dataclasses.fields(kind):
        key = key_of(one)
        here = f"{place}.{key}" if place else key
        optional = one.default is not dataclasses.MISSING or one.default_factory is not dataclasses.MISSING
        if key in value:
            found[one.name] = _read(hints[one.name], value[key], here)
        elif not optional:
            found[one.name] = _read(hints[one.name], None, here)  # a number that is not there is NaN
    return kind(**found)


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)
