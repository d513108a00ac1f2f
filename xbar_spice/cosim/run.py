"""Co-simulation: one model solved and differentiated twice, with digital matrices and with arrays, and compared.

Both runs are the same solver code on the same samples; only the operators differ. The analog gradients are what the
hardware returns: an analog forward run, and transposed reads of the same arrays.
"""

from __future__ import annotations

import time
import warnings
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from typing import Any, final

import numpy as np
from threadpoolctl import threadpool_limits

from xbar_spice.cosim.linear_solvers import analog_field, digital_options, solves_record
from xbar_spice.engines.base import Engine
from xbar_spice.engines.registry import get_engine
from xbar_spice.errors import ConvergenceWarning, InvalidInputError
from xbar_spice.feedback import SolveRecord
from xbar_spice.linear import FloatArray
from xbar_spice.mapping import Design
from xbar_spice.operators import AnalogMatrix, ReadTrace, program
from xbar_spice.solve.adjoint import Gradients, gradients
from xbar_spice.solve.contributions import Split
from xbar_spice.solve.field import Field, ReluField
from xbar_spice.solve.integrators import Trajectory, integrate
from xbar_spice.solve.krylov import KrylovOptions
from xbar_spice.solve.newton import NewtonOptions
from xbar_spice.solve.noise import allowing_noise
from xbar_spice.train.losses import Objective
from xbar_spice.variation import random_stream
from xbar_spice.weights import Model

__all__ = [
    "Comparison",
    "Cosimulation",
    "Problem",
    "Run",
    "SolverOptions",
    "compare",
    "cosimulate",
    "expected_noise",
    "named_gradients",
    "program_model",
    "solve_model",
    "weight_scales",
]


@final
@dataclass(frozen=True, eq=False)
class Problem:
    """What is co-simulated.

    Attributes:
        model: a trained neural ODE.
        z0: (n, samples) initial states.
        objective: the loss of the final states.
    """

    model: Model
    z0: FloatArray
    objective: Objective

    def __post_init__(self) -> None:
        if self.z0.ndim != 2 or self.z0.shape[0] != self.model.states or not self.z0.shape[1]:
            raise InvalidInputError(
                f"z0 must have shape ({self.model.states}, samples) for this model, got {self.z0.shape}"
            )


@final
@dataclass(frozen=True)
class SolverOptions:
    """How both runs solve their implicit equations; tighter costs more reads.

    What read noise and converters leave of an equation is known before it is solved, so that the analog run does not
    spend reads on more: see `allowing`.
    """

    newton: NewtonOptions = field(default_factory=lambda: NewtonOptions(rtol=1e-8))
    krylov: KrylovOptions = field(default_factory=lambda: KrylovOptions(rtol=1e-8))

    def allowing(self, noise: float) -> SolverOptions:
        """The same, but no more exact than noisy reads allow, see `allowing_noise`.

        Args:
            noise: of the residual of an implicit step, relative to the state, as `expected_noise` gives it.
        """
        return SolverOptions(*allowing_noise(self.newton, self.krylov, noise))


@final
@dataclass(frozen=True)
class Comparison:
    """An analog array of numbers against the digital one.

    Attributes:
        relative_error: |analog - digital| / |digital|.
        cosine: of the angle between the two.
        sign_agreement: part of the entries, digital zeros left out, whose signs agree.
    """

    relative_error: float
    cosine: float
    sign_agreement: float


@final
@dataclass(frozen=True)
class Cosimulation:
    """Result of one co-simulation.

    Attributes:
        record: what it showed, as plain values that JSON can hold.
        trace: every analog read.
        z: (steps + 1, n, samples) analog states.
        gradients: the gradients that the hardware returned, by parameter.
    """

    record: dict[str, Any]
    trace: ReadTrace
    z: FloatArray
    gradients: Mapping[str, FloatArray]


def expected_noise(model: Model, A: AnalogMatrix, B: AnalogMatrix, states: FloatArray) -> float:
    """What read noise and converters leave of the equation base + c f(z) - z = 0 of an implicit step.

    Args:
        model: the digital model, whose step length is taken for c.
        A: its programmed A.
        B: its programmed B.
        states: (steps + 1, n, samples) through which it goes.

    Returns:
        The largest root mean square of c f(z) over all states and samples, relative to |z|; 0 for exact reads.
    """
    if A.mapped.design.exact_reads and B.mapped.design.exact_reads:
        return 0.0
    z = np.concatenate(list(states), axis=1)
    z = z[:, np.isfinite(z).all(axis=0) & z.any(axis=0)]
    z = z / np.abs(z).max(axis=0)  # reads are scaled to `v_read`, so that the size of a state does not matter
    s = A.mapped.programmed @ z  # stuck devices make large products, and these large noise
    variance = B.spread(np.maximum(s, 0.0)) ** 2 + B.mapped.programmed**2 @ (A.spread(z) ** 2 * (s > 0))
    return float((model.h * np.sqrt(variance.sum(axis=0)) / np.linalg.norm(z, axis=0)).max(initial=0.0))


def compare(analog: FloatArray, digital: FloatArray) -> Comparison:
    """Compare two arrays of one shape; all is NaN if the digital one is zero or one of them is not finite."""
    size, found = float(np.linalg.norm(digital)), float(np.linalg.norm(analog))
    if not (0 < size < np.inf and np.isfinite(found)):
        return Comparison(float("nan"), float("nan"), float("nan"))
    counted = digital != 0
    return Comparison(
        relative_error=float(np.linalg.norm(analog - digital)) / size,
        cosine=float(np.vdot(analog, digital)) / (found * size) if found > 0 else 0.0,
        sign_agreement=float((np.sign(analog[counted]) == np.sign(digital[counted])).mean()),
    )


def program_model(
    model: Model,
    design: Design,
    engine: str | Engine,
    *,
    seed: int = 0,
    trace: ReadTrace | None = None,
    occasion: str = "",
) -> tuple[AnalogMatrix, AnalogMatrix]:
    """Program A and B; each draws its devices, and its read noise, from streams of its own, found by seed and name.

    Args:
        model: the weights; one with a `weight_range` is written to the chip that holds this range.
        design: how the arrays are built.
        engine: who answers the reads.
        seed: from which the devices are drawn.
        trace: collects a record of every read.
        occasion: one of several on which the same chip is written: its devices are the same on all of them, its read
            noise is another one on each.
    """
    answering = get_engine(engine)
    scales, noise = weight_scales(model, design), ("read noise",) if not occasion else ("read noise", occasion)
    with ExitStack() as opened:
        programmed = [
            opened.enter_context(
                program(
                    W,
                    design,
                    engine=answering,
                    rng=random_stream(seed, "devices", name),
                    noise_rng=random_stream(seed, *noise, name),
                    name=name,
                    trace=trace,
                    siemens_per_weight=scales.get(name),
                )
            )
            for name, W in (("A", model.A), ("B", model.B))
        ]
        opened.pop_all()
    return programmed[0], programmed[1]


def weight_scales(model: Model, design: Design) -> dict[str, float]:
    """Siemens per weight of "A" and "B" where the model says which weights its chip holds; empty where it does not."""
    if model.weight_range is None:
        return {}
    window = design.g_max - design.g_min
    return {name: window / largest for name, largest in zip("AB", model.weight_range, strict=True)}


def cosimulate(
    problem: Problem,
    design: Design,
    *,
    engine: str | Engine = "ngspice",
    seed: int = 0,
    solver: SolverOptions | None = None,
    trace: ReadTrace | None = None,
) -> Cosimulation:
    """Solve and differentiate a model on arrays, and compare with the same run on digital matrices.

    Args:
        problem: model, samples and loss.
        design: how A and B are built.
        engine: who answers the reads.
        seed: from which the devices are drawn.
        solver: tolerances of both runs.
        trace: where to record every read; a new one when left out.

    Raises:
        SimulationError: the simulator behind the engine failed for good.
        EngineUnavailableError: the engine needs something that this machine lacks.
    """
    start = time.perf_counter()
    options = solver or SolverOptions()
    reads = ReadTrace() if trace is None else trace
    solves: list[SolveRecord] = []
    model = problem.model
    # Products this small wait longer for a second thread than it saves; several cases may run side by side, too.
    with threadpool_limits(limits=1, user_api="blas"):
        exact = replace(options, krylov=digital_options(options.krylov))
        digital = solve_model(problem, ReluField(model.A, model.B), exact)
        A, B = program_model(model, design, engine, seed=seed, trace=reads)
        with A, B, analog_field(A, B, options.krylov, engine, solves) as on_arrays:
            noise = expected_noise(model, A, B, digital.trajectory.z)
            analog = solve_model(problem, on_arrays, options.allowing(noise))
    record = {
        "engine": engine.name if isinstance(engine, Engine) else engine,
        "seed": seed,
        "design": asdict(design) | {"device": repr(design.device)},
        "samples": problem.z0.shape[1],
        "solver": asdict(options),
        "noise": noise,
        **_compared(analog, digital),
        "reads": dict(Counter(f"{read.matrix} {read.direction}" for read in reads)),
        "read_seconds": sum(read.seconds for read in reads),
        "worst_read_error": max((read.relative_error for read in reads), default=0.0),
        "seconds": time.perf_counter() - start,
    }
    if solves:
        record["feedback"] = solves_record(solves)
    return Cosimulation(record, reads, analog.trajectory.z, analog.parameters)


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
    """

    trajectory: Trajectory
    gradients: Gradients
    parameters: dict[str, FloatArray]
    loss: float
    accuracy: float | None


def solve_model(problem: Problem, model_field: Field, options: SolverOptions, by: Split = ()) -> Run:
    """Solve and differentiate a model whose field is given, whatever its operators are; `by` as for `gradients`."""
    model = problem.model
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the record says which samples and steps failed
        trajectory = integrate(
            model_field,
            problem.z0,
            method=model.method,
            h=model.h,
            steps=model.steps,
            newton=options.newton,
            krylov=options.krylov,
        )
        final = trajectory.z[-1]
        finite = np.isfinite(final).all(axis=0)
        scored = problem.objective.evaluate(np.where(finite, final, 0.0))
        pulled = gradients(trajectory, np.where(finite, scored.cotangent, 0.0), by=by)
    parameters = named_gradients(model, pulled.A, pulled.B, pulled.z0)
    loss = scored.loss if finite.all() else float("nan")  # a sample that ran away has no loss, nor has their mean
    return Run(trajectory, pulled, parameters, loss, scored.accuracy)


def named_gradients(model: Model, A: FloatArray, B: FloatArray, z0: FloatArray | None = None) -> dict[str, FloatArray]:
    """Gradients by the name of their parameter, with those of the kernels if the model has some.

    A and B may have leading axes, as split gradients do.
    """
    parameters = {"A": A, "B": B} | ({} if z0 is None else {"z0": z0})
    if model.kernels is not None:
        parameters |= {"a": model.kernels.gradient_a(A), "b": model.kernels.gradient_b(B)}
    return parameters


def _compared(analog: Run, digital: Run) -> dict[str, Any]:
    return {
        "state": asdict(compare(analog.trajectory.z[-1], digital.trajectory.z[-1])),
        "loss": {
            "analog": analog.loss,
            "digital": digital.loss,
            "relative_error": abs(analog.loss - digital.loss) / abs(digital.loss) if digital.loss else float("nan"),
        },
        "accuracy": {"analog": analog.accuracy, "digital": digital.accuracy},
        "gradients": {
            name: asdict(compare(values, digital.parameters[name])) for name, values in analog.parameters.items()
        },
        "convergence": {"analog": _convergence(analog), "digital": _convergence(digital)},
    }


def _convergence(run: Run) -> dict[str, Any]:
    forward, adjoint = run.trajectory, run.gradients
    return {
        "converged": bool(forward.converged_all and adjoint.converged_all),
        "failed_samples": np.flatnonzero(~(forward.converged & adjoint.converged).all(axis=0)).tolist(),
        "newton_iterations": forward.newton_iterations.max(axis=1).tolist(),
        "krylov_iterations": forward.krylov_iterations.max(axis=1).tolist(),
        "adjoint_krylov_iterations": adjoint.krylov_iterations.max(axis=1).tolist(),
        "worst_residual": float(forward.residuals.max()),
    }
