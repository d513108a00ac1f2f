"""Newton's method for the implicit equation of a time step, for a batch of independent samples.

The equation is F(z) = base + c f(z) - z = 0. With F'(z) = c J(z) - I, Newton's update z <- z - F'(z)^{-1} F(z) reads

    (I - c J(z)) d = F(z),   z <- z + d,

and its linear systems are solved matrix-free. Every residual costs one evaluation of f, every iteration of the linear
solve one product with J; converged samples cost nothing, and the residual at the solution is kept for the adjoint.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

import numpy as np
from numpy.typing import NDArray

from xbar_spice.linear.norms import norms
from xbar_spice.linear.operator import FloatArray
from xbar_spice.read_context import stage
from xbar_spice.solve.fields.evaluation import BoolArray, Evaluation, IndexArray
from xbar_spice.solve.fields.field import Field
from xbar_spice.solve.linear_solvers.krylov import KrylovResult, SolverLike, get_linear_solver
from xbar_spice.solve.linear_solvers.solver import LinearSolver
from xbar_spice.solve.linear_solvers.systems import solve_tangent
from xbar_spice.solve.newton.options import NewtonOptions

__all__ = ["NewtonOptions", "NewtonResult", "solve_implicit"]

_GAIN = 0.1  # part of |F| below which every step on a linear piece should get
_LINEAR_SHARE = 0.1  # part of the allowed residual that the linear solve may leave
_DECREASE = 1e-4  # |F| must fall by this part of what the linear model promises
_SHORT = 1e-7  # part of |z| below which a step of a smooth field is as good as on a line
_BLOWN_UP = 10.0  # times |base| + |c f| at the start: a z larger than that is no measure of its own residual
_MEANINGLESS = 1e-8  # rounding of F relative to its scale from which its value says nothing
_FAR = 1e-2  # |F| left beyond any noise: the iteration has lost its way, not its accuracy
_FORCING = 0.9  # Eisenstat and Walker's second choice: rtol = 0.9 (|F| / |F before|)^2 ...
_LOOSEST = 0.1  # ... and what it starts with


@final
@dataclass(frozen=True)
class NewtonResult:
    """Solution of a batch of implicit equations.

    Attributes:
        evaluation: The field at the solution, as read for the last residual.
        converged: (batch,).
        iterations: Newton steps of each sample, (batch,).
        krylov_iterations: Products with J spent on each sample, (batch,).
        evaluations: Evaluations of f at each sample, that of an unknown start included, (batch,).
        stiffest: c lambda of the stiffest damped part of the state that the linear solves saw, an estimate, (batch,); 0
            where none was seen or none was asked for.
        residual: |F| / max(|base|, |z|), (batch,); a z that has blown up does not count with its size.
    """

    evaluation: Evaluation
    converged: BoolArray
    iterations: NDArray[np.int64]
    krylov_iterations: NDArray[np.int64]
    evaluations: NDArray[np.int64]
    residual: FloatArray
    stiffest: NDArray[np.complex128]


def solve_implicit(
    field: Field,
    base: FloatArray,
    c: float,
    guess: FloatArray | Evaluation,
    newton: NewtonOptions | None = None,
    krylov: SolverLike | None = None,
    *,
    watch: bool = False,
) -> NewtonResult:
    """Solve base + c f(z) = z for each sample.

    Args:
        field: f.
        base: (n, batch).
        c: Step size times the coefficient of the implicit term.
        guess: Where to start, (n, batch), or the field as already evaluated there, which saves a read.
        newton: Defaults of `NewtonOptions`.
        krylov: Who solves linear systems; `Gmres()` by default.
        watch: Whether the `stiffest` part is wanted; GMRES finds it without a read.

    Returns:
        The field at the best point found for each sample, and whether that is a solution.
    """
    options, linear = newton or NewtonOptions(), get_linear_solver(krylov)
    result = _iterate(field, base, c, guess, options, linear, watch=watch)
    lost = np.flatnonzero(~result.converged & (result.residual > _FAR) & np.isfinite(result.residual))
    if lost.size and options.continuation:
        result = _continue(field, base, c, result, lost, options, linear)
    return result


def _iterate(
    field: Field,
    base: FloatArray,
    c: float,
    guess: FloatArray | Evaluation,
    options: NewtonOptions,
    krylov: LinearSolver,
    *,
    watch: bool = False,
) -> NewtonResult:
    """Newton's method for all samples from one guess."""
    known = isinstance(guess, Evaluation)
    if not isinstance(guess, Evaluation):
        with stage(phase="newton", newton=0):
            guess = field.evaluate(guess)
    state = _Iteration(field, base, c, guess, options, krylov)
    state.evaluations += not known
    for iteration in range(1, options.max_iterations + 1):
        active = state.active()
        if not active.size:
            break
        with stage(phase="krylov", newton=iteration):
            step = state.solve_linear(active, watch=watch and iteration == 1)
        with stage(phase="newton", newton=iteration):
            state.advance(active, step)
    return state.result()


def _continue(
    field: Field,
    base: FloatArray,
    c: float,
    result: NewtonResult,
    lost: IndexArray,
    options: NewtonOptions,
    krylov: LinearSolver,
) -> NewtonResult:
    """Follow the solution of the lost samples from a small c to c; one that gets lost again keeps what it had."""
    guess: FloatArray | Evaluation = base[:, lost]
    for halvings in range(options.continuation, -1, -1):
        part = _iterate(field, base[:, lost], c / 2**halvings, guess, options, krylov)
        for counts in ("iterations", "krylov_iterations", "evaluations"):
            getattr(result, counts)[lost] += getattr(part, counts)
        found = np.flatnonzero(part.converged)
        lost, guess = lost[found], part.evaluation.columns(found)
        if not lost.size:
            return result
    result.converged[lost], result.residual[lost] = True, part.residual[found]
    return replace(result, evaluation=result.evaluation.with_columns(lost, part.evaluation.columns(found)))


@final
class _Iteration:
    """Where each sample is, the best point it has left uphill, and which samples are still under way."""

    def __init__(
        self,
        field: Field,
        base: FloatArray,
        c: float,
        start: Evaluation,
        options: NewtonOptions,
        krylov: LinearSolver,
    ) -> None:
        self.field, self.base, self.c, self.options, self.krylov = field, base, c, options, krylov
        self.at = start
        self.residual = base + c * start.value - start.z  # F(z)
        self._base_size, self._reach = norms(base), norms(c * start.value)
        self.scale = self._scale(np.arange(start.batch), start.z)
        self.size = _size(self.residual, start.z, self.scale)
        self.iterations = np.zeros(start.batch, dtype=np.int64)
        self.krylov_iterations = np.zeros(start.batch, dtype=np.int64)
        self.stiffest = np.zeros(start.batch, dtype=complex)
        self.evaluations = np.zeros(start.batch, dtype=np.int64)
        self._before = np.full(start.batch, np.inf)  # |F| before the last Newton step
        self._stuck = ~np.isfinite(self.size)
        self.converged = ~self._stuck & (self.size <= options.tolerance * self.scale)
        self._linear = np.zeros(start.batch, dtype=bool)  # whether F is so between the last trial and its start
        self._uphill = np.full(start.batch, options.max_uphill)
        self._best, self._best_relative = start, np.full(start.batch, np.inf)

    def active(self) -> IndexArray:
        return np.flatnonzero(~self.converged & ~self._stuck)

    def solve_linear(self, active: IndexArray, *, watch: bool) -> KrylovResult:
        """(I - c J) d = F for the active samples, as exactly as the residual aimed at deserves."""
        aim = _LINEAR_SHARE * self.options.tolerance * self.scale[active] / self.size[active]
        loosest = np.full(active.size, _LINEAR_SHARE)
        if self.options.forcing == "eisenstat-walker":
            gain = np.minimum(self.size[active] / self._before[active], 1.0)
            loosest = np.where(np.isfinite(self._before[active]), np.minimum(_FORCING * gain**2, _LOOSEST), _LOOSEST)
            aim = np.maximum(aim, loosest)
        rtol = np.clip(aim, self.krylov.rtol, np.maximum(self.krylov.rtol, loosest))
        here = self.at.columns(active)
        rhs = self.residual[:, active]
        solution = solve_tangent(self.field, here, self.c, rhs, self.krylov, rtol=rtol, refine=False, watch=watch)
        if solution.stiffest is not None:
            larger = np.abs(solution.stiffest) > np.abs(self.stiffest[active])
            self.stiffest[active[larger]] = solution.stiffest[larger]
        self._before[active] = self.size[active]
        self.krylov_iterations[active] += solution.iterations
        return solution

    def advance(self, active: IndexArray, step: KrylovResult) -> None:
        """Take the full step where it reduces |F|, else the first half, quarter, ... that does, else the full one."""
        self.iterations[active] += 1
        before = self.size[active]
        improved = self._try(active, step.x, 1.0)
        # Where F was linear along the step, the step should have solved it. If the solution of the linear system gains
        # little nevertheless, what is left of F is the error of the reads, and neither shorter nor more steps help.
        gained = improved & (self.size[active] <= np.maximum(_GAIN, 2.0 * step.residual) * before)
        ended = step.converged & self._linear[active] & ~gained
        tiny = self.size[active] <= self.options.floor * self.scale[active]
        ended |= ~improved & tiny
        self._stuck[active[ended]] = True

        failing = np.flatnonzero(~improved & ~ended)
        for halvings in range(1, self.options.max_backtracks + 1):
            if not failing.size:
                break
            length = 0.5**halvings
            failing = failing[~self._try(active[failing], length * step.x[:, failing], length)]
        self._go_uphill(active[failing], step.x[:, failing])
        self.converged[active] = (ended & tiny) | (self.size[active] <= self.options.tolerance * self.scale[active])

    def _go_uphill(self, samples: IndexArray, change: FloatArray) -> None:
        """Remember where the samples are and take the full step regardless, unless they have done so too often."""
        allowed = self._uphill[samples] > 0
        self._stuck[samples[~allowed]] = True
        samples = samples[allowed]
        if not samples.size:
            return
        self._uphill[samples] -= 1
        relative = self.size[samples] / self.scale[samples]
        record = samples[relative < self._best_relative[samples]]
        self._best = self._best.with_columns(record, self.at.columns(record))
        self._best_relative[record] = self.size[record] / self.scale[record]
        moved = self._try(samples, change[:, allowed], -np.inf)
        self._stuck[samples[~moved]] = True

    def result(self) -> NewtonResult:
        """Solutions, and the best points of the samples without one."""
        relative = np.divide(self.size, self.scale, out=np.full_like(self.size, np.inf), where=np.isfinite(self.size))
        back = np.flatnonzero(~self.converged & (self._best_relative < relative))
        at = self.at.with_columns(back, self._best.columns(back)) if back.size else self.at
        relative[back] = self._best_relative[back]
        counts = self.iterations, self.krylov_iterations, self.evaluations
        return NewtonResult(at, self.converged, *counts, relative, self.stiffest)

    def _try(self, samples: IndexArray, change: FloatArray, length: float) -> BoolArray:
        """Evaluate z + change, keep it for the samples whose |F| falls enough, and say which those are.

        A step of length t must reduce |F| by a small part of t; -inf takes whatever is finite.
        """
        z = self.at.z[:, samples] + change
        better: BoolArray = np.asarray(np.isfinite(z).all(axis=0))
        candidates = samples[better]
        if not candidates.size:
            return better
        trial = self.field.evaluate(z[:, better])
        self.evaluations[candidates] += 1
        residual = self.base[:, candidates] + self.c * trial.value - trial.z
        scale = self._scale(candidates, trial.z)
        size = _size(residual, trial.z, scale)
        self._linear[candidates] = _linear_between(self.at.columns(candidates), trial)
        kept = np.flatnonzero(size <= (1.0 - _DECREASE * length) * self.size[candidates])
        better[better] = np.isin(np.arange(candidates.size), kept)
        if kept.size:
            taken = candidates[kept]
            self.at = self.at.with_columns(taken, trial.columns(kept))
            self.residual[:, taken], self.size[taken] = residual[:, kept], size[kept]
            self.scale[taken] = scale[kept]
        return better

    def _scale(self, samples: IndexArray, z: FloatArray) -> FloatArray:
        """What |F| is measured against: max(|base|, |z|), as long as z is where the step may lead.

        A z far beyond base and c f at the start has blown up, and must not lend its size to the residual. Where base
        and z vanish it is |c f|.
        """
        base, reach = self._base_size[samples], self._reach[samples]
        larger = np.maximum(base, np.minimum(norms(z), _BLOWN_UP * (base + reach)))
        larger = np.where(larger > 0.0, larger, reach)
        return np.where(larger > 0.0, larger, 1.0)


def _size(residual: FloatArray, z: FloatArray, scale: FloatArray) -> FloatArray:
    """|F|; of a z so large that base is lost in it, what rounding may hide of F, whose value then says nothing."""
    size, rounding = norms(residual), np.finfo(float).eps * norms(z)
    return np.where(rounding > _MEANINGLESS * scale, np.maximum(size, rounding), size)


def _linear_between(start: Evaluation, end: Evaluation) -> BoolArray:
    """Whether f is linear between two points, (batch,): with slopes that are bits, if none of them has changed.

    Other slopes may be the same at both ends and not in between, so that only a short step tells.
    """
    if start.slope.dtype == np.bool_:
        return np.asarray((start.slope == end.slope).all(axis=0))
    return np.asarray(norms(end.z - start.z) <= _SHORT * norms(start.z))
