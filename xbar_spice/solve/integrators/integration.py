"""Time integration of a field by a named method; what does not converge is reported, never silent."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Literal, TypeVar, final, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xbar_spice.checks import Array, Real, Whole, checked, given
from xbar_spice.errors import ConvergenceError, ConvergenceWarning, DesignWarning, InvalidInputError, StabilityWarning
from xbar_spice.linear.operator import FloatArray
from xbar_spice.parts import METHODS
from xbar_spice.solve.fields.evaluation import BoolArray
from xbar_spice.solve.fields.field import Field
from xbar_spice.solve.integrators.dense import Dense
from xbar_spice.solve.integrators.layers import Layers
from xbar_spice.solve.integrators.method import Carry, ForwardRun, Grid, Method, SolveOptions, SolveReport
from xbar_spice.solve.integrators.step_control import AdaptiveOptions
from xbar_spice.solve.linear_solvers.krylov import SolverLike, get_linear_solver
from xbar_spice.solve.newton.newton import NewtonOptions

__all__ = [
    "Nonconvergence",
    "Trajectory",
    "chained_runs",
    "check_nonconvergence",
    "checked_problem",
    "handle_nonconvergence",
    "integrate",
    "method_text",
    "stretches",
    "warn_of_instability",
]

Nonconvergence = Literal["warn", "raise", "ignore"]

Scalar = TypeVar("Scalar", bound=np.generic)

_EQUAL = 1e-10  # steps whose lengths differ by no more than this part, as those of a grid that was rounded, are equal
_REAL = 1e-3  # imaginary part of a mode that is not worth a word
_LOOK_BACK = 16  # steps whose lengths a step is told: more than any method looks back over
MOST_STEPS = 10**7  # whose states would fill the memory of any machine

_SAMPLES_NAMED = 4  # in a report of what did not converge; the arrays of the result name them all


@final
@dataclass(frozen=True)
class Trajectory:
    """A solution on the time grid, with all that the gradients need.

    Shapes are given for a batch; for a single z0 of shape (n,) the batch axis is absent.

    Attributes:
        method: Text of the method, such as its name.
        scheme: The method itself.
        runs: The forward run of each layer, always with a batch axis; one run for a field that does not change. On a
            grid of unequal steps one run for each stretch of equal steps.
        options: How steps were solved; the adjoint's default.
        batched: Whether z0 had a batch axis.
    """

    method: str
    scheme: Method
    runs: tuple[ForwardRun, ...]
    options: SolveOptions
    batched: bool

    @property
    def h(self) -> float:
        """Distance of the grid's first points; negative back in time."""
        return self.runs[0].grid.h

    @property
    def steps(self) -> int:
        """Number of steps."""
        return len(self.report.converged)

    @property
    def t(self) -> FloatArray:
        """Times of the grid points, (steps + 1,), from 0."""
        if len({run.grid.h for run in self.runs}) == 1:
            return self.h * np.arange(self.steps + 1, dtype=float)
        lengths = np.concatenate([np.full(run.grid.steps, run.grid.h) for run in self.runs])
        return np.concatenate([[0.0], np.cumsum(lengths)])

    @cached_property
    def z(self) -> FloatArray:
        """States, (steps + 1, n, batch)."""
        return self._squeezed(np.concatenate([self.runs[0].z[:1], *(run.z[1:] for run in self.runs)]))

    @cached_property
    def dense(self) -> Dense:
        """Between the points of the grid."""
        return Dense(self.t, self.runs, self.scheme)

    def state(self, time: float) -> FloatArray:
        """The state at any time of the run, (n, batch), of order 4.

        By the method's own quartic of `dopri5`; else by a cubic, which takes a read of f at each end of a step where
        the method has none.

        Raises:
            InvalidInputError: The time is beyond the run.
        """
        return self._squeezed(self.dense.state(time))

    @cached_property
    def report(self) -> SolveReport:
        """How each step went, always with a batch axis."""
        return SolveReport.joined([run.report for run in self.runs])

    @property
    def converged(self) -> BoolArray:
        """Whether each step solved its equation and stayed finite, (steps, batch)."""
        return self._squeezed(self.report.converged)

    @property
    def converged_all(self) -> bool:
        """Whether every step of every sample did."""
        return bool(self.report.converged.all())

    @property
    def newton_iterations(self) -> NDArray[np.int64]:
        """Newton steps, (steps, batch); 0 for explicit steps."""
        return self._squeezed(self.report.newton_iterations)

    @property
    def krylov_iterations(self) -> NDArray[np.int64]:
        """Products with the Jacobian, (steps, batch); 0 for explicit steps."""
        return self._squeezed(self.report.krylov_iterations)

    @property
    def evaluations(self) -> NDArray[np.int64]:
        """Evaluations of f, (steps, batch); also called NFE."""
        return self._squeezed(self.report.evaluations)

    @property
    def rejected(self) -> NDArray[np.int64]:
        """Steps that an adaptive method tried in vain, (steps, batch)."""
        return self._squeezed(self.report.rejected)

    @property
    def residuals(self) -> FloatArray:
        """Residual of each implicit equation relative to the state, (steps, batch); 0 for explicit steps.

        Of an adaptive method the error of the last step before each grid point, 1 being what is allowed.
        """
        return self._squeezed(self.report.residuals)

    def _squeezed(self, array: NDArray[Scalar]) -> NDArray[Scalar]:
        return array if self.batched else array[..., 0]


@checked()
def integrate(  # noqa: PLR0913 - a problem, its grid, and how it is solved
    field: Field | Layers,
    z0: ArrayLike,
    method: str | Method = "implicit_euler",
    *,
    h: float | None = None,
    steps: int | None = None,
    grid: ArrayLike | None = None,
    newton: NewtonOptions | None = None,
    krylov: SolverLike | None = None,
    adaptive: AdaptiveOptions | None = None,
    stops: Sequence[int] = (),
    between: Sequence[float] = (),
    nonconvergence: Nonconvergence = "warn",
) -> Trajectory:
    """Integrate dz/dt = f(z) from z0.

    Args:
        field: f, or `Layers` of fields that follow each other in time.
        z0: (n,), or (n, batch) for independent samples that advance together.
        method: A name of `METHODS`, a `Method`, or a text such as "file.py:Class(option=1)".
        h: Step size, not 0, negative to go back in time; of an adaptive method the distance of the points at which
            states are returned.
        steps: Number of steps, >= 1; a multiple of the number of layers.
        grid: (steps + 1,) growing times, or falling ones to go back, in place of h and steps. A method of Adams', such
            as ab3 and am3, goes on over unequal steps with the coefficients that belong to them.
        newton: How implicit equations are solved; `NewtonOptions()` by default.
        krylov: Who solves linear systems, here and by default in the adjoint: a `LinearSolver`, its text, or
            `KrylovOptions`; `Gmres()` by default.
        adaptive: How an adaptive method chooses its steps; `AdaptiveOptions()` by default.
        stops: Numbers of grid points at which a loss looks at the state, beside the last one: `gradients` takes its
            cotangents there, too.
        between: Times, of no grid point, at which a loss looks at `Trajectory.state`: `gradients` takes cotangents
            there, too.
        nonconvergence: What to do when a step is not solved or not finite: "warn" with a `ConvergenceWarning`, "raise"
            a `ConvergenceError`, or "ignore", which leaves it to the caller to look at `converged`.

    Returns:
        The trajectory; its `converged`, (steps[, batch]), says which steps to trust. A `StabilityWarning` says that
        the linear solves saw a damped part of the state that the method amplifies (`am3` beyond h |lambda| = 6), a
        `DesignWarning` that an adaptive method made its steps as short as the noise of reads would have it.

    Raises:
        InvalidInputError: An argument is not allowed.
        ConvergenceError: A step did not converge and `nonconvergence` is "raise".

    Example:
        >>> from xbar_spice.solve.fields.field import ReluField
        >>> decay = ReluField([[1.0], [-1.0]], [[-1.0, 1.0]])  # dz/dt = -z
        >>> integrate(decay, [8.0], h=1.0, steps=3).z[:, 0]
        array([8., 4., 2., 1.])
    """
    scheme, name = METHODS.get(method), method_text(method)
    lengths = None if grid is None else _lengths(grid, h, steps, scheme, name)
    if lengths is not None:
        h, steps = float(lengths.mean()), lengths.size
    if h is None or steps is None:
        raise InvalidInputError(f"{'h' if h is None else 'steps'} is missing: integrate takes h and steps, or a grid")
    layers, z, points = checked_problem(field, z0, h, steps)
    check_nonconvergence(nonconvergence)
    if len(between):
        times = h * np.arange(steps + 1) if lengths is None else np.concatenate([[0.0], np.cumsum(lengths)])
        stops = [*stops, *Dense(times.astype(float), (), scheme).points(between)]
    options = SolveOptions(newton or NewtonOptions(), get_linear_solver(krylov), adaptive or AdaptiveOptions())
    with np.errstate(over="ignore", invalid="ignore"):  # a diverging sample is reported below
        runs = chained_runs(scheme, stretches(layers.pieces(points), lengths, stops), z, options)
    trajectory = Trajectory(name, scheme, runs, options, batched=np.ndim(z0) == 2)
    handle_nonconvergence(f"{name} with h = {h:g}", trajectory.report, nonconvergence, scheme.hint)
    warn_of_instability(name, h, trajectory.report)
    if doubt := scheme.doubts(runs[-1], options):
        warnings.warn(f"{name} with h = {h:g}: {doubt}", DesignWarning, stacklevel=3)  # over the look at the arguments
    return trajectory


def _lengths(grid: ArrayLike, h: float | None, steps: int | None, scheme: Method, name: str) -> FloatArray:
    """(steps,) lengths of the steps of a grid."""
    times = Array()("grid", grid)
    ordered = times.ndim == 1 and times.size > 1 and np.diff(times) * np.sign(times[-1] - times[0]) > 0
    if not np.all(ordered):
        raise InvalidInputError(f"grid must be growing or falling times of shape (steps + 1,), got {given(times)}")
    if h is not None or steps is not None:
        raise InvalidInputError("a grid says steps and their lengths: leave h and steps out, or grid")
    lengths = np.diff(times)
    if np.allclose(lengths, lengths.mean(), rtol=_EQUAL, atol=0.0):
        lengths = np.full(lengths.size, (times[-1] - times[0]) / lengths.size)
    if not scheme.uneven and (lengths != lengths[0]).any():
        raise InvalidInputError(
            f"grid has unequal steps, which {name} cannot look back over: take a method of one step, such as "
            "rk4 or implicit_euler, one of Adams', such as ab3 or am3, or give h and steps"
        )
    return lengths


def chained_runs(
    scheme: Method, pieces: Iterable[tuple[Field, Grid]], z: FloatArray, options: SolveOptions, carry: Carry = ()
) -> tuple[ForwardRun, ...]:
    """Runs over pieces of a grid, each of which goes on where the one before has ended, from z, (n, batch)."""
    runs: list[ForwardRun] = []
    for field, piece in pieces:
        known = runs[-1].evaluations[-1] if runs and runs[-1].field is field else ()
        runs.append(scheme.run(field, z, piece, options, carry, known))
        z, carry = runs[-1].z[-1], runs[-1].carry
    return tuple(runs)


def stretches(
    pieces: Iterable[tuple[Field, Grid]], lengths: FloatArray | None, stops: Sequence[int]
) -> Iterator[tuple[Field, Grid]]:
    """The pieces, cut at the stops and where the length of steps changes."""
    for field, piece in pieces:
        cuts = {0, piece.steps} | {stop - piece.start for stop in stops if 0 < stop - piece.start < piece.steps}
        if lengths is not None:
            ours = lengths[piece.start : piece.start + piece.steps]
            cuts |= set((np.flatnonzero(np.diff(ours)) + 1).tolist())
        for first, end in pairwise(sorted(cuts)):
            part = replace(piece, steps=end - first, start=piece.start + first)
            if lengths is not None:
                before, after = lengths[: part.start], lengths[part.numbers.stop :]
                part = replace(
                    part,
                    h=float(lengths[part.start]),
                    before=tuple(before[-1 : -_LOOK_BACK - 1 : -1].tolist()),
                    after=tuple(after[:_LOOK_BACK].tolist()),
                )
            yield field, part


def method_text(method: str | Method) -> str:
    """The text by which results and messages call a method: the one it was given by, or what names the object."""
    return method if isinstance(method, str) else METHODS.text(method)


def checked_problem(field: Field | Layers, z0: ArrayLike, h: float, steps: int) -> tuple[Layers, FloatArray, Grid]:
    """What is to be solved: the layers, z0 with a batch axis, and the grid.

    Raises:
        InvalidInputError: As for `integrate`.
    """
    layers = field if isinstance(field, Layers) else Layers([field])
    start = np.array(Array(finite=False)("z0", z0))
    if start.ndim not in (1, 2) or start.shape[0] != layers.states or not start.size:
        raise InvalidInputError(f"z0 must have shape ({layers.states},) or ({layers.states}, batch), got {start.shape}")
    if not np.isfinite(start).all():
        raise InvalidInputError("z0 must be finite, got NaN or infinity in it")
    step = Real()("h", h)
    if step == 0:
        raise InvalidInputError("h must be finite and not 0 (negative to go back in time), got 0")
    count = Whole(1, MOST_STEPS)("steps", steps)
    return layers, start if start.ndim == 2 else start[:, np.newaxis], Grid(step, count)


def check_nonconvergence(choice: str) -> None:
    """Refuse anything but the known ways to treat what did not converge."""
    if choice not in get_args(Nonconvergence):
        raise InvalidInputError(f"nonconvergence must be one of {get_args(Nonconvergence)}, got {choice!r}")


def handle_nonconvergence(what: str, report: SolveReport, choice: Nonconvergence, hint: str) -> None:
    """Warn or raise with the samples and steps that did not converge, if any, for the caller of the caller."""
    if report.converged.all():
        return
    failed = ~report.converged
    samples = np.flatnonzero(failed.any(axis=0))
    named = "; ".join(
        f"sample {sample} at {_steps_text(np.flatnonzero(failed[:, sample]))} "
        f"(relative residual up to {report.residuals[failed[:, sample], sample].max():.1e})"
        for sample in samples[:_SAMPLES_NAMED]
    )
    more = f"; and {samples.size - _SAMPLES_NAMED} more" if samples.size > _SAMPLES_NAMED else ""
    text = f"{what} did not converge for {samples.size} of {failed.shape[1]} samples: {named}{more}; {hint}"
    if choice == "raise":
        raise ConvergenceError(text)
    if choice == "warn":
        warnings.warn(text, ConvergenceWarning, stacklevel=4)  # over the look at the arguments, see `checked`


def warn_of_instability(method: str, h: float, report: SolveReport) -> None:
    """Warn, once for a run, if its linear solves saw a part of the state that the method amplifies.

    The estimate takes no read and sees only what the right-hand sides of the solves hold; no warning is no proof.
    """
    if not report.unstable.any():
        return
    mode = report.unstable.flat[np.abs(report.unstable).argmax()]
    samples = np.count_nonzero(report.unstable.any(axis=0))
    value = f"{mode.real:.2g}" if abs(mode.imag) < _REAL * abs(mode) else f"{mode:.2g}"
    warnings.warn(
        f"{method} with h = {h:g} is unstable for {samples} of {report.unstable.shape[1]} samples: "
        f"it amplifies a part of the state with h lambda of about {value}, which the equation damps; on the real axis "
        "the limit of am3 is -6; try a smaller h, or implicit_euler, which damps stiff parts whatever h is",
        StabilityWarning,
        stacklevel=4,
    )


def _steps_text(steps: NDArray[np.intp]) -> str:
    return f"step {steps[0]}" if steps.size == 1 else f"{steps.size} steps from {steps[0]} on"
