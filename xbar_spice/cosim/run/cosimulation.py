"""Co-simulation: one model solved and differentiated twice, with digital matrices and with arrays, and compared.

Both runs are the same solver code on the same samples; only the operators differ. The analog gradients are what the
hardware returns: an analog forward run, and transposed reads of the same arrays.
"""

from __future__ import annotations

import time
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, cast, final

import numpy as np

from xbar_spice.checks import SEED, Array, Optional, checked, settle
from xbar_spice.cosim.run.comparison import compare
from xbar_spice.cosim.run.made import Conditions, made_by, plain
from xbar_spice.cosim.run.monitors import Monitors
from xbar_spice.cosim.run.programming import (
    all_fields,
    ends_on,
    expected_noise,
    field_on,
    in_digital_numbers,
    program_model,
)
from xbar_spice.cosim.run.record import Accuracy, Circuit, FlowEntry, Loss, Record, RoundedEntry, RunEntry
from xbar_spice.cosim.run.solver_options import SolverOptions
from xbar_spice.cosim.run.written import programming_costs, writes_of
from xbar_spice.engines.base import Engine
from xbar_spice.engines.verified import VerifiedEngine
from xbar_spice.errors import ConvergenceWarning, InvalidInputError
from xbar_spice.hardware.digital_numbers import Rounded
from xbar_spice.linear.operator import FloatArray, LinearOperator
from xbar_spice.linear.threads import one_thread
from xbar_spice.mapping.design import Design
from xbar_spice.mapping.trace import ReadTrace
from xbar_spice.solve.adjoint.discrete import Gradients
from xbar_spice.solve.fields.contributions import Split, split_axes
from xbar_spice.solve.fields.field import Field
from xbar_spice.solve.integrators.integration import Trajectory, integrate
from xbar_spice.solve.integrators.layers import Layers
from xbar_spice.solve.integrators.method import SolveReport
from xbar_spice.solve.linear_solvers.krylov import get_linear_solver
from xbar_spice.train.likelihood import Likelihood
from xbar_spice.train.losses import Objective
from xbar_spice.train.observed import looks_of
from xbar_spice.weights import Model, named_gradients
from xbar_spice.weights.end import Read, named_below, of_end

__all__ = [
    "Cosimulation",
    "Problem",
    "Run",
    "SolverOptions",
    "conditions",
    "cosimulate",
    "digital_run",
    "solve_model",
]


@final
@dataclass(frozen=True, eq=False)
class Problem:
    """What is co-simulated.

    Attributes:
        model: a trained neural ODE.
        z0: (n, samples) initial states; when it is made of a model with an encoder, (inputs, samples) inputs, of which
            the encoder makes initial states.
        objective: the loss of the final states.
        data: what the states are, in words; every record has them.
        x: (inputs, samples) what goes into the encoder; None without one.
        time_gradients: whether gradients have "h", the one by the step length at a fixed number of steps, and "times",
            (steps + 1,), those by the times of the grid points; the latter of methods whose steps may differ in length.
            They take no reads.
    """

    model: Model
    z0: FloatArray
    objective: Objective
    data: str = "states given by the caller"
    x: FloatArray | None = None
    time_gradients: bool = False

    def __post_init__(self) -> None:
        settle(self, z0=Array(), x=Optional(Array()))
        model = self.model
        if model.encoder is None and self.x is not None:
            raise InvalidInputError("x is what goes into an encoder, and this model has none: leave it out")
        if model.encoder is not None and self.x is None:
            object.__setattr__(self, "x", self.z0)
        if self.inputs.ndim != 2 or self.inputs.shape[0] != model.inputs or not self.inputs.shape[1]:
            raise InvalidInputError(
                f"z0 must have shape ({model.inputs}, samples) for this model, got {self.inputs.shape}"
                + ("" if model.encoder is None else "; a model with an encoder takes what goes into the encoder")
            )
        object.__setattr__(self, "z0", model.initial(self.inputs))
        model.require_runnable(self.z0.shape[1])

    @property
    def inputs(self) -> FloatArray:
        """(inputs, samples) what goes into the model."""
        return self.z0 if self.x is None else self.x


@final
@dataclass(frozen=True)
class Cosimulation:
    """Result of one co-simulation.

    Attributes:
        record: what it showed; also a table of plain values that JSON can hold.
        trace: every analog read of this run.
        z: (steps + 1, n, samples) analog states.
        gradients: the gradients that the hardware returned, by parameter.
    """

    record: Record
    trace: ReadTrace
    z: FloatArray
    gradients: Mapping[str, FloatArray]


def conditions(problem: Problem, design: Design, engine: str | Engine, seed: int) -> dict[str, Any]:
    """What a record says about its circumstances, as plain values that JSON can hold."""
    found: dict[str, Any] = plain(_made(problem, design, engine, seed))
    return found


def _made(problem: Problem, design: Design, engine: str | Engine, seed: int) -> Conditions:
    return made_by(problem.model, design, engine, seed, samples=problem.z0.shape[1], data=problem.data)


@checked(seed=SEED)
def cosimulate(
    problem: Problem,
    design: Design,
    *,
    engine: str | Engine = "ngspice",
    seed: int = 0,
    solver: SolverOptions | None = None,
    trace: ReadTrace | None = None,
    digital: Run | None = None,
    monitors: Monitors | None = None,
) -> Cosimulation:
    """Solve and differentiate a model on arrays, and compare with the same run on digital matrices.

    Args:
        problem: model, samples and loss.
        design: how the arrays are built.
        engine: who answers the reads; a `VerifiedEngine` has a sample of them judged by another one.
        seed: from which the devices are drawn.
        solver: tolerances of both runs.
        trace: gets every read of this run, too, after whatever it holds from other runs.
        digital: the digital run of this problem with this solver, `digital_run`, where several chips share it.
        monitors: what is measured beside, by further reads; nothing when left out.

    Raises:
        SimulationError: the simulator behind the engine failed for good.
        EngineUnavailableError: the engine needs something that this machine lacks.
    """
    start = time.perf_counter()
    engine = replace(engine) if isinstance(engine, VerifiedEngine) else engine  # which counts from 0 on
    answering = engine.answering if isinstance(engine, VerifiedEngine) else engine
    options = solver or SolverOptions()
    reads = ReadTrace(None if trace is None else trace.append)
    solved: dict[str, Any] = {}
    # Products this small wait longer for a second thread than it saves; several cases may run side by side, too.
    with one_thread():
        if digital is None:
            digital = digital_run(problem, options)
        with ExitStack() as opened:
            model = in_digital_numbers(problem.model, design, seed)
            matrices = program_model(model, design, engine, seed=seed, trace=reads)
            for matrix in matrices:
                opened.enter_context(matrix)
            on_arrays = field_on(model, matrices)
            meant = field_on(model, matrices, lambda matrix: matrix.digital)
            ends, ends_meant = ends_on(model, matrices), ends_on(model, matrices, lambda matrix: matrix.digital)
            for one, twin in zip(all_fields(on_arrays, ends), all_fields(meant, ends_meant), strict=True):
                opened.enter_context(get_linear_solver(options.krylov).prepared(one, twin, answering, solved))
            noise = expected_noise(model, matrices, digital.trajectory.z)
            analog = solve_model(problem, on_arrays, options.allowing(noise), ends=ends)
            watched = monitors or Monitors()
            growths = watched.growths({"analog": analog.trajectory, "digital": digital.trajectory})
            parallel = watched.parallel(model, on_arrays, analog.started, options.allowing(noise).of_steps)
            rounded = _rounded(problem.model, design, [matrix.rounded for matrix in matrices])
    feedback = solved.pop("feedback", None)
    times = {matrix.name: matrix.mapped.activations for matrix in matrices}
    record = Record(
        **vars(_made(problem, design, answering, seed)),
        solver=plain(options.describe()),
        noise=noise,
        **_compared(analog, digital),
        reads=dict(Counter(f"{read.matrix} {read.direction}" for read in reads)),
        read_seconds=sum(read.seconds for read in reads),
        worst_read_error=max((read.relative_error for read in reads), default=0.0),
        read_power={f"{matrix.name} {way}": watts for matrix in matrices for way, watts in matrix.power.items()},
        seconds=time.perf_counter() - start,
        programming=programming_costs(matrices, design) or None,
        writes=writes_of(matrices, design) or None,
        activations=sum(times[read.matrix] for read in reads) if design.active_rows is not None else None,
        feedback=None if feedback is None else Circuit(**feedback),
        solved=solved or None,
        verified=engine.verdict() if isinstance(engine, VerifiedEngine) else None,
        fixed_point=rounded,
        growth=growths,
        parallel=parallel,
        flow=_flow_entry(analog, digital) if isinstance(problem.objective, Likelihood) else None,
    )
    return Cosimulation(record, reads, model.ended(analog.trajectory.z), analog.parameters)


def digital_run(problem: Problem, solver: SolverOptions) -> Run:
    """The run on digital matrices, which is the same whatever the arrays are."""
    with one_thread():
        return solve_model(problem, problem.model.field, solver.iterative)


@final
@dataclass(frozen=True)
class Run:
    """Forward and adjoint run of one field.

    Attributes:
        trajectory: the forward run.
        gradients: what the adjoint returned.
        parameters: its gradients by name, those of kernels included; with leading axes if they are split.
        loss: NaN if a sample is not finite.
        accuracy: None where nothing is classified.
        final: (n, samples) states at the end.
        sums: the cotangents of what the weights of encoder and classifier make, by their names, as far as known.
        before: the runs of stages in front and their adjoints, the first one in front.
        facts: what the loss says of the run beside its value, such as "least_determinant" of a flow.
    """

    trajectory: Trajectory
    gradients: Gradients
    parameters: dict[str, FloatArray]
    loss: float
    accuracy: float | None
    sums: Mapping[str, FloatArray] = field(default_factory=dict)
    final: FloatArray = field(default_factory=lambda: np.zeros((0, 0)))
    before: tuple[tuple[Trajectory, Gradients], ...] = ()
    facts: Mapping[str, float] = field(default_factory=dict)

    @property
    def started(self) -> FloatArray:
        """(n, samples) initial states."""
        states: FloatArray = self.trajectory.z[0]
        return states

    @property
    def convergence(self) -> dict[str, Any]:
        """Whether all equations were solved, for which samples not, and what it took; as plain values for JSON.

        Steps of stages stand in front of those of the field.
        """
        runs = [*self.before, (self.trajectory, self.gradients)]
        forward = SolveReport.joined([run.report for run, _ in runs])
        converged = np.concatenate([forward.converged, *(back.converged for _, back in runs)])
        adjoint = np.concatenate([back.krylov_iterations for _, back in runs])
        return {
            "converged": bool(converged.all()),
            "unstable_samples": np.flatnonzero(forward.unstable.any(axis=0)).tolist(),
            "failed_samples": np.flatnonzero(~converged.all(axis=0)).tolist(),
            "newton_iterations": forward.newton_iterations.max(axis=1).tolist(),
            "krylov_iterations": forward.krylov_iterations.max(axis=1).tolist(),
            "adjoint_krylov_iterations": adjoint.max(axis=1).tolist(),
            "evaluations": forward.evaluations.max(axis=1).tolist(),
            "rejected": forward.rejected.max(axis=1).tolist(),
            "adjoint_evaluations": int(sum(back.evaluations.max() for _, back in runs if back.evaluations is not None)),
            "worst_residual": float(forward.residuals.max()),
        }


def solve_model(
    problem: Problem,
    model_field: Field | Layers,
    options: SolverOptions,
    by: Split = (),
    ends: Mapping[str, Read] = MappingProxyType({}),
) -> Run:
    """Solve and differentiate a model whose field is given, whatever its operators are; `by` as for `gradients`.

    Nothing is said here about samples that did not converge: whoever asks for a run makes its `convergence` part of the
    result, or raises an error.

    Args:
        problem: model, samples and loss.
        model_field: the model's field on any operators.
        options: tolerances.
        by: what the field's gradients are split by.
        ends: what stands in for "encoder.weight", "classifier.weight" or the weights of their layers, such as
            "encoder.0.weight", by name, and for the field of a stage, "encoder.1.field"; digital where left out.
    """
    model, objective = problem.model, problem.objective
    if isinstance(model_field, Layers) and "step" in split_axes(by):
        raise InvalidInputError(
            "by='step' parts the gradients of weights that serve several steps; those of weights that belong to one "
            "step each are parted already, along the first axis: leave 'step' out"
        )
    if objective.whole_run and (split_axes(by) or problem.time_gradients):
        raise InvalidInputError(
            f"the gradient of {type(objective).__name__} is known as a whole: leave by and time_gradients out"
        )
    if by_classifier := named_below(ends, "classifier"):
        objective = objective.read_by(cast("dict[str, LinearOperator]", by_classifier))
    looks = looks_of(model, objective.times, every=objective.whole_run)
    encoded = back = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # `Run.convergence` says which samples failed
        if model.encoder is not None:
            encoder = model.encoder.reading(named_below(ends, "encoder"))
            encoded = encoder.passed(problem.inputs, "encoder.", options.of_steps)
        z0 = problem.z0 if encoded is None else encoded.value
        trajectory = integrate(
            objective.followed(model_field),
            model.started(z0),
            method=model.method,
            **model.times,
            newton=options.newton,
            krylov=options.krylov,
            adaptive=options.adaptive,
            stops=looks.stops,
            between=looks.between,
        )
        beside = objective.beside(trajectory)
        final = model.ended(trajectory.z)[-1]
        finite = np.isfinite(final).all(axis=0)
        seen = looks.states(trajectory)
        scored = objective.evaluate_path(np.where(finite, seen, 0.0))
        cotangents = np.where(finite, scored.cotangent, 0.0)
        pulled = looks.pulled(trajectory, cotangents, by, beside)
        pulled = replace(pulled, z0=model.ended(pulled.z0))
        if encoded is not None:
            back = encoded.pull(np.where(np.isfinite(pulled.z0), pulled.z0, 0.0), to_inputs=False)
    parameters = named_gradients(model, pulled.parameters, lead=len(split_axes(by))) | {"z0": pulled.z0}
    if problem.time_gradients:
        parameters |= {"h": np.array(pulled.h)} | ({"times": pulled.times} if pulled.uneven else {})
    sums: dict[str, FloatArray] = {}
    before: tuple[tuple[Trajectory, Gradients], ...] = ()
    if encoded is not None and back is not None:
        parameters |= back.gradients
        sums |= back.sums
        before = tuple(zip(encoded.runs, back.runs, strict=True))
    parameters |= scored.tensors
    sums |= scored.sums
    # A sample that ran away has no loss, nor has their mean.
    loss = scored.loss + (beside.loss if beside else 0.0) if finite.all() else float("nan")
    # Zeros stood in for it so that the others have their gradients; it is not classified correctly by being zero.
    accuracy = objective.evaluate_path(np.where(finite, seen, np.nan)).accuracy if not finite.all() else scored.accuracy
    return Run(trajectory, pulled, parameters, loss, accuracy, sums, final, before, beside.facts if beside else {})


def _rounded(model: Model, design: Design, counts: Sequence[Rounded | None]) -> RoundedEntry | None:
    """How many numbers the digital part rounded; None where it computes with float64."""
    numbers = design.numbers
    if numbers.integer_bits is None:
        return None
    weights = Rounded(numbers, np.random.default_rng(0))  # which are counted whatever was drawn
    for name, value in model.tensors.items() if numbers.of_weights else ():
        if not of_end(name):
            weights(value)
    found = [one for one in counts if one is not None]
    return RoundedEntry(
        weights.values, weights.saturated, sum(one.values for one in found), sum(one.saturated for one in found)
    )


def _flow_entry(analog: Run, digital: Run) -> FlowEntry:
    least = (run.facts.get("least_determinant", 1.0) for run in (analog, digital))
    return FlowEntry(analog.loss - digital.loss, *least)


def _compared(analog: Run, digital: Run) -> dict[str, Any]:
    return {
        "state": compare(analog.final, digital.final),
        "loss": Loss(
            analog.loss,
            digital.loss,
            abs(analog.loss - digital.loss) / abs(digital.loss) if digital.loss else float("nan"),
        ),
        "accuracy": Accuracy(analog.accuracy, digital.accuracy),
        "gradients": {name: compare(values, digital.parameters[name]) for name, values in analog.parameters.items()},
        "convergence": {"analog": RunEntry(**analog.convergence), "digital": RunEntry(**digital.convergence)},
    }
