"""Gradients of a loss of the last state: the exact adjoint of the discrete scheme that was run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xbar_spice.checks import ANYTHING, Array, Real, checked
from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.operator import FloatArray
from xbar_spice.solve.fields.contributions import By, Contributions, Split, split_axes
from xbar_spice.solve.fields.evaluation import BoolArray, Parameters, Tie
from xbar_spice.solve.integrators.integration import (
    Nonconvergence,
    Trajectory,
    check_nonconvergence,
    handle_nonconvergence,
)
from xbar_spice.solve.integrators.method import AdjointRun, Carry, ForwardRun, Method, SolveReport
from xbar_spice.solve.linear_solvers.krylov import SolverLike, get_linear_solver
from xbar_spice.solve.linear_solvers.solver import LinearSolver

__all__ = ["ADJOINT_HINT", "Gradients", "gradients"]

ADJOINT_HINT = (
    "samples that are not finite have no gradient; for the others choose gmres, or allow more Krylov iterations"
)


@final
@dataclass(frozen=True)
class Gradients:
    """Gradients of a loss L(z_N); for a single z0 the batch axis is absent.

    Attributes:
        z0: dL/dz_0, (n[, batch]); NaN for a sample whose trajectory is not finite.
        parameters: dL/d(parameter) by name, of the loss summed over the samples, without those that are not finite.
            Split gradients have leading axes: the steps (of the parameter's layer), then the samples, as asked for.
        converged: Whether the transposed linear solve of each step converged, (steps[, batch]).
        krylov_iterations: Transposed products of each solve, (steps[, batch]).
        residuals: Relative residual that each solve left, (steps[, batch]).
        lengths: dL/d(length of each step), (steps,), with everything else as it is, the weights of the step included;
            of an adaptive method by the distance of two points of the grid, the parts of its steps held fixed. None of
            a method that does not say.
        uneven: Whether steps of the method may differ in length.
        evaluations: Evaluations of J^T w of each sample, those of linear solves among them (NFE of the way back),
            ([batch]); one is a transposed read of every matrix of f. None where nobody counted.
    """

    z0: FloatArray
    parameters: Mapping[str, FloatArray]
    converged: BoolArray
    krylov_iterations: NDArray[np.int64]
    residuals: FloatArray
    lengths: FloatArray | None = None
    uneven: bool = True
    evaluations: NDArray[np.int64] | None = None

    @property
    def h(self) -> float:
        """dL/dh at a fixed number of steps of equal lengths.

        Raises:
            InvalidInputError: The method does not say how its steps depend on their lengths.
        """
        return float(self._lengths().sum())

    @property
    def times(self) -> FloatArray:
        """dL/dt_k by the times of the grid points, (steps + 1,), the first one included.

        Raises:
            InvalidInputError: As for `h`, or the method has steps of one length only.
        """
        lengths = self._lengths()
        if not self.uneven:
            raise InvalidInputError("this method has steps of one length only: take the gradient with respect to h")
        return -np.diff(lengths, prepend=0.0, append=0.0)

    def _lengths(self) -> FloatArray:
        if self.lengths is None:
            raise InvalidInputError(
                "this method does not say how its steps depend on their lengths: its adjoint has no `lengths`"
            )
        return self.lengths

    @property
    def A(self) -> FloatArray:  # noqa: N802 - the matrix of the formula
        """dL/dA, (m, n)."""
        return self._parameter("A")

    @property
    def B(self) -> FloatArray:  # noqa: N802
        """dL/dB, (n, m)."""
        return self._parameter("B")

    @property
    def converged_all(self) -> bool:
        """Whether every solve did."""
        return bool(self.converged.all())

    def _parameter(self, name: str) -> FloatArray:
        if name not in self.parameters:
            raise InvalidInputError(f"the field has the parameters {', '.join(self.parameters)}, not {name}")
        return self.parameters[name]


@checked(by=ANYTHING)
def gradients(
    trajectory: Trajectory,
    cotangent: ArrayLike,
    *,
    by: Split = (),
    at: Mapping[int, ArrayLike] | None = None,
    between: Mapping[float, ArrayLike] | None = None,
    krylov: SolverLike | None = None,
    nonconvergence: Nonconvergence = "warn",
) -> Gradients:
    """Gradients of L(z_N) with respect to the field's parameters and z0, exact for the discrete scheme.

    The transposed products are reads of the operators that made the trajectory; the slopes are those it stored. If the
    transposed reads are the exact transposes, these are the exact gradients of the *effective* model, however far its
    matrices are from the programmed ones. Where a step of the trajectory did not converge, they are only as good as it.

    Args:
        trajectory: What `integrate` returned.
        cotangent: dL/dz_N, of the shape of z0.
        by: "step", "sample" or both: gradients of the parameters as sums over what is not named, with a leading axis
            for what is. Part n of a split by step is the gradient with respect to the weights as step n uses them. An
            evaluation that serves several steps (`am3`, `ab3`, `velocity_verlet`) is then read once for each.
        at: Of a loss that looks at earlier states, too: dL/dz_k by the number k of the grid point, 0 or one of the
            `stops` of the trajectory.
        between: Of a loss that looks between grid points: dL/dz(t) of `Trajectory.state` by the time, one of those of
            `between` of the trajectory. Gradients by step lengths leave each t at its part of the step.
        krylov: How linear systems are solved; as in the forward run by default.
        nonconvergence: As for `integrate`.

    Returns:
        The gradients, with the convergence of each linear solve.

    Raises:
        InvalidInputError: The cotangent's shape is not that of z0, it is not finite, or `by` is unknown.
        ConvergenceError: A solve did not converge and `nonconvergence` is "raise".

    Example:
        >>> from xbar_spice.solve.fields.field import ReluField
        >>> from xbar_spice.solve.integrators.integration import integrate
        >>> decay = integrate(ReluField([[1.0], [-1.0]], [[-1.0, 1.0]]), [8.0], h=1.0, steps=3)
        >>> gradients(decay, [1.0]).z0  # z_3 = z_0 / 2^3
        array([0.125])
        >>> gradients(decay, [1.0], by="step").A[:, 0, 0]  # of the first weight, in each of the three steps
        array([-0.5, -0.5, -0.5])
    """
    axes = split_axes(by, batched=trajectory.batched)
    batch = checked_cotangent(cotangent, trajectory.z.shape[1:])
    check_nonconvergence(nonconvergence)
    lost = lost_samples(trajectory)
    known = {0, *(run.grid.start for run in trajectory.runs)}
    if unknown := [k for k in at or {} if k not in known]:
        raise InvalidInputError(f"at has grid point {unknown[0]}: give it to integrate as one of its stops")
    shape = trajectory.z.shape[1:]
    earlier = {k: np.where(lost, 0.0, checked_cotangent(w, shape)) for k, w in (at or {}).items()}
    inside = {
        Real()("between", time): np.where(lost, 0.0, checked_cotangent(w, shape, f"the cotangent of between at {time}"))
        for time, w in (between or {}).items()
    }
    if not {*trajectory.dense.points(inside)} <= {*known, trajectory.steps}:
        raise InvalidInputError("between has a time that integrate was not told: give it there as one of `between`")

    with np.errstate(over="ignore", invalid="ignore"):
        own = trajectory.scheme.interpolates
        points, lengths, totals = trajectory.dense.pulled({} if own else inside, axes)
        runs = trajectory.dense.asked(inside) if own else trajectory.runs
        batch = batch + points.pop(trajectory.steps, 0.0)
        for k, w in points.items():
            earlier[k] = earlier.get(k, 0.0) + w
        run, parameters = chained_adjoint(
            trajectory.scheme,
            [(run.grid.layer, run) for run in reversed(runs)],
            np.where(lost, 0.0, batch),
            get_linear_solver(krylov, trajectory.options.krylov),
            axes,
            earlier,
            totals,
        )
    give_up(run, lost)
    if run.lengths is not None:
        for k, length in lengths.items():
            run.lengths[k] += length
        run.lengths[:, lost] = 0.0
    handle_nonconvergence(f"the adjoint of {trajectory.method}", run.report, nonconvergence, ADJOINT_HINT)
    return replace(as_gradients(run, parameters, trajectory.batched), uneven=trajectory.scheme.uneven)


def lost_samples(trajectory: Trajectory) -> BoolArray:
    """Which samples have states that are not finite, and so no gradient, (batch,)."""
    lost = [~np.isfinite(run.z).all(axis=(0, 1)) for run in trajectory.runs]
    return np.asarray(np.logical_or.reduce(lost))


def give_up(run: AdjointRun, lost: BoolArray | None = None) -> None:
    """Report samples whose gradient is not finite as not converged; lost ones have none, theirs becomes NaN."""
    if lost is not None:
        run.z0[:, lost] = np.nan
    run.report.converged[:, ~np.isfinite(run.z0).all(axis=0)] = False


def checked_cotangent(cotangent: ArrayLike, expected: tuple[int, ...], name: str = "the cotangent") -> FloatArray:
    """The cotangent with a batch axis, if it is finite and has the shape of z0."""
    given = Array(finite=False)(name, cotangent)
    if given.shape != expected:
        raise InvalidInputError(f"{name} must have the shape of z0, {expected}, got {given.shape}")
    if not np.isfinite(given).all():
        raise InvalidInputError(f"{name} must be finite, got NaN or infinity in it")
    return given if given.ndim == 2 else given[:, np.newaxis]


def chained_adjoint(
    method: Method,
    runs: Iterable[tuple[int, ForwardRun]],
    cotangent: FloatArray,
    krylov: LinearSolver,
    axes: tuple[By, ...] = (),
    earlier: Mapping[int, FloatArray] = MappingProxyType({}),
    totals: dict[int, Contributions] | None = None,
) -> tuple[AdjointRun, Parameters]:
    """The adjoint of runs that follow each other, and the gradients of the parameters of each layer.

    Args:
        method: By which they were made.
        runs: The last run first, each with the number of its layer; made while they are consumed, they need no memory.
        cotangent: dL/dz_N, (n, batch).
        krylov: How linear systems are solved.
        axes: What gradients are split by, of `split_axes`.
        earlier: dL/dz_k of grid points at which runs begin, by their numbers.
        totals: What is known to contribute to the gradients already, by layer.
    """
    totals = {} if totals is None else totals
    ties: dict[int, Tie] = {}

    def noted() -> Iterator[tuple[Contributions, ForwardRun]]:
        for layer, run in runs:
            ties[layer] = run.field.tie
            yield totals.setdefault(layer, Contributions(axes, cotangent.shape[1])), run

    return adjoint_sweep(method, noted(), cotangent, krylov, earlier=earlier), by_layer(totals, ties)


def adjoint_sweep(
    method: Method,
    runs: Iterable[tuple[Contributions, ForwardRun]],
    cotangent: FloatArray,
    krylov: LinearSolver,
    carry: Carry = (),
    earlier: Mapping[int, FloatArray] = MappingProxyType({}),
) -> AdjointRun:
    """The adjoint of runs that follow each other, the last one first, each with what collects its gradients.

    `carry` is that of the adjoint of what went on behind the last run; the result has that of the first one.
    """
    reports: list[SolveReport] = []
    lengths: list[tuple[int, FloatArray | None]] = []  # of each run, with the number of the step behind it
    evaluations = np.zeros(cotangent.shape[1], dtype=np.int64)
    for total, run in runs:
        before = total.evaluations.copy()
        total.cover(run.grid.numbers)
        part = method.adjoint(run, cotangent, krylov, total, carry)
        cotangent, carry = part.z0, part.carry
        if run.grid.start in earlier:
            cotangent = cotangent + earlier[run.grid.start]
        lengths.append((run.grid.numbers.stop, part.lengths))
        reports.insert(0, part.report)
        evaluations += total.evaluations - before + part.report.krylov_iterations.sum(axis=0)
    return AdjointRun(cotangent, SolveReport.joined(reports), carry, _joined_lengths(lengths), evaluations)


def _joined_lengths(parts: Sequence[tuple[int, FloatArray | None]]) -> FloatArray | None:
    """dL/dh_k of all steps, (steps, batch), of runs each of which reaches back as far as it has rows."""
    total: FloatArray | None = None
    for stop, part in parts:  # the last run first
        if part is None:
            return None
        total = np.zeros((stop, part.shape[1])) if total is None else total
        total[stop - len(part) : stop] += part
    return total


def by_layer(totals: Mapping[int, Contributions], ties: Mapping[int, Tie]) -> Parameters:
    """Gradients with respect to the parameters, named by layer if there are several."""
    return {
        name if len(totals) == 1 else f"{name}[{layer}]": gradient
        for layer in sorted(totals)
        for name, gradient in totals[layer].collect(ties[layer]).items()
    }


def as_gradients(run: AdjointRun, parameters: Parameters, batched: bool) -> Gradients:
    """The result of an adjoint run; without a batch axis for a single z0."""
    report = run.report
    lengths = None if run.lengths is None else run.lengths.sum(axis=1)
    spent = run.evaluations
    if batched:
        solves = report.converged, report.krylov_iterations, report.residuals
        return Gradients(run.z0, parameters, *solves, lengths, evaluations=spent)
    return Gradients(
        run.z0[:, 0],
        parameters,
        report.converged[:, 0],
        report.krylov_iterations[:, 0],
        report.residuals[:, 0],
        lengths,
        evaluations=None if spent is None else spent[0],
    )
