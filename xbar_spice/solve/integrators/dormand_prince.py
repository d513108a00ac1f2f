"""Dormand and Prince's method of order 5 with an error estimate of order 4, and the adjoint of its accepted steps.

Each sample chooses its own step sizes, so that a batch gives what its samples give alone; a round of stages is one
batched read for all samples that are still on their way to the next point of the grid, which every sample hits exactly.
The last stage of an accepted step is the first of the next one (six evaluations per attempt). The adjoint is that of
the steps that were accepted, their sizes held fixed, as parts of the distance between two points of the grid.

Between grid points the state is the quartic z + h sum_i b_i(x) k_i of the accepted step that the time falls into, with
x the part of it that has passed, the six stages, and f behind the step as the seventh k: of order 4, without a read.

Sources: Dormand and Prince, J. Comput. Appl. Math. 6 (1980) 19; Shampine, Math. Comput. 46 (1986) 135 (the quartic).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace
from typing import NamedTuple, final

import numpy as np

from xbar_spice.linear.operator import FloatArray
from xbar_spice.read_context import stage
from xbar_spice.solve.fields.contributions import Contributions
from xbar_spice.solve.fields.evaluation import BoolArray, Evaluation, IndexArray, Parameters
from xbar_spice.solve.fields.field import Field
from xbar_spice.solve.integrators.method import (
    AdjointRun,
    Carry,
    ForwardRun,
    Grid,
    Method,
    SolveOptions,
    SolveReport,
    Substep,
    TangentRun,
)
from xbar_spice.solve.integrators.noisy_steps import said_of_noise
from xbar_spice.solve.integrators.runge_kutta import Tableau
from xbar_spice.solve.integrators.step_control import AdaptiveOptions
from xbar_spice.solve.linear_solvers.solver import LinearSolver

__all__ = ["DormandPrince"]

_TABLEAU = Tableau(
    (
        (),
        (1 / 5,),
        (3 / 40, 9 / 40),
        (44 / 45, -56 / 15, 32 / 9),
        (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
        (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    ),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
# Order 5 minus order 4; the seventh stage is f at the new point.
_ERROR = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)
# Of x, x^2, x^3 and x^4 in b_i(x).
_QUARTIC = np.array(
    [
        [1.0, -8048581381 / 2820520608, 8663915743 / 2820520608, -12715105075 / 11282082432],
        [0.0, 0.0, 0.0, 0.0],
        [0.0, 131558114200 / 32700410799, -68118460800 / 10900136933, 87487479700 / 32700410799],
        [0.0, -1754552775 / 470086768, 14199869525 / 1410260304, -10690763975 / 1880347072],
        [0.0, 127303824393 / 49829197408, -318862633887 / 49829197408, 701980252875 / 199316789632],
        [0.0, -282668133 / 205662961, 2019193451 / 616988883, -1453857185 / 822651844],
        [0.0, 40617522 / 29380423, -110615467 / 29380423, 69997945 / 29380423],
    ]
)
_ORDER = 5
_SHORTEST = 16.0 * float(np.finfo(float).eps)  # of the distance of grid points: no step is shorter


@final
@dataclass(frozen=True)
class DormandPrince(Method):
    """Adaptive steps between the points of the grid.

    An option that is None is that of the run's `AdaptiveOptions`, which also know the noise of the reads.

    Attributes:
        rtol: As for `AdaptiveOptions`.
        atol: As for `AdaptiveOptions`.
        max_attempts: As for `AdaptiveOptions`.
        max_rejections: As for `AdaptiveOptions`.

    Raises:
        InvalidInputError: A value is out of range.
    """

    rtol: float | None = None
    atol: float | None = None
    max_attempts: int | None = None
    max_rejections: int | None = None

    interpolates = True
    hint = (
        "its steps were rejected, or became too many: try looser tolerances; AdaptiveOptions(noise=...) as "
        "measured_noise gives it if the reads are noisy; an implicit method if the field is stiff"
    )

    def __post_init__(self) -> None:
        self.step_control(AdaptiveOptions())  # checks the values

    @property
    def weights(self) -> tuple[float, ...]:
        """With which the stages of an accepted step enter it."""
        return _TABLEAU.b

    def step_control(self, run: AdaptiveOptions) -> AdaptiveOptions:
        """How steps are chosen in a run with these options."""
        own = {option.name: getattr(self, option.name) for option in fields(self)}
        return replace(run, **{name: value for name, value in own.items() if value is not None})

    def run(
        self,
        field: Field,
        z0: FloatArray,
        grid: Grid,
        options: SolveOptions,
        carry: Carry = (),
        known: tuple[Evaluation, ...] = (),
    ) -> ForwardRun:
        z = np.empty((grid.steps + 1, *z0.shape))
        z[0] = z0
        report = SolveReport.blank(grid.steps, z0.shape[1])
        substeps: list[tuple[Substep, ...]] = []
        with stage(phase="forward", step=grid.start):
            start = field.evaluate_finite(z0)
        report.evaluations[0] += 1
        walk = _Walk(field, start, grid.h, self.step_control(options.adaptive), *carry)
        for k in range(grid.steps):
            with stage(phase="forward", step=grid.start + k):
                substeps.append(walk.advance(report, k))
            z[k + 1] = walk.at.z
        report.converged[:] = np.isfinite(z[1:]).all(axis=1)
        z.setflags(write=False)
        evaluations = ((),) * (grid.steps + 1)
        return ForwardRun(field, grid, z, evaluations, report, tuple(substeps), carry, (walk.h,))

    def doubts(self, run: ForwardRun, options: SolveOptions) -> str:
        return said_of_noise(run, self.step_control(options.adaptive), float(np.linalg.norm(_ERROR)))

    def adjoint(
        self,
        run: ForwardRun,
        cotangent: FloatArray,
        krylov: LinearSolver,
        total: Contributions,
        carry: Carry = (),
    ) -> AdjointRun:
        multiplier, lengths = cotangent.copy(), np.zeros((run.grid.steps, cotangent.shape[1]))
        for k in range(run.grid.steps - 1, -1, -1):
            step = run.grid.start + k
            with stage(phase="adjoint", step=step):
                for place in _last_first(run, k):
                    taken = place.taken

                    def pull(
                        at: Evaluation, w: FloatArray, step: int = step, samples: IndexArray = taken.samples
                    ) -> FloatArray:
                        return total.pull(run.field, at, {step: w}, samples=samples)

                    part, looks = multiplier[:, taken.samples], place.looks(run.inside)
                    if not looks:
                        multiplier[:, taken.samples], length = _TABLEAU.pull(pull, taken.stages, taken.h, part)
                    else:
                        *inside, behind = (sum(weights[i] * w for weights, w in looks) for i in range(len(_QUARTIC)))
                        part = part + pull(taken.end, taken.h * behind)
                        part, length = _TABLEAU.pull(pull, taken.stages, taken.h, part, inside)
                        length = length + np.einsum("nb,nb->b", behind, taken.end.value)
                        multiplier[:, taken.samples] = part + sum(w for _, w in looks)
                    lengths[k, taken.samples] += taken.h / run.grid.h * length
        return AdjointRun(multiplier, SolveReport.blank(run.grid.steps, cotangent.shape[1]), lengths=lengths)

    def tangent(
        self,
        run: ForwardRun,
        change: FloatArray,
        direction: Parameters,
        krylov: LinearSolver,
        carry: Carry = (),
    ) -> TangentRun:
        change = change.copy()
        for taken in (taken for step in run.substeps for taken in step):
            part = change[:, taken.samples]
            change[:, taken.samples] = _TABLEAU.push(run.field, taken.stages, taken.h, part, direction)
        return TangentRun(change, SolveReport.blank(run.grid.steps, change.shape[1]))

    def between(self, run: ForwardRun, step: int, part: float) -> FloatArray:
        state: FloatArray = np.full_like(run.z[step], np.nan)  # of samples that did not get there
        for place in _last_first(run, step):
            taken, here = place.taken, place.covers(part)
            slopes = [at.value for at in (*taken.stages, taken.end)]
            moved = sum(weight * slope for weight, slope in zip(place.weights(part), slopes, strict=True))
            found = taken.stages[0].z + taken.h * moved
            state[:, taken.samples[here]] = found[:, here]
        return state


@final
class _Place(NamedTuple):
    """An accepted step, and the parts of the grid's step at which it begins, has gone on, and the next one begins."""

    taken: Substep
    start: FloatArray
    length: FloatArray
    until: FloatArray

    def covers(self, part: float) -> BoolArray:
        """(samples,) whose time falls into it."""
        return np.logical_and(self.start <= part, part < self.until)

    def weights(self, part: float) -> FloatArray:
        """(stages + 1, samples) b_i(x)."""
        x = (part - self.start) / self.length
        return np.asarray(_QUARTIC @ np.stack([x, x**2, x**3, x**4]))

    def looks(self, inside: Iterable[tuple[float, FloatArray]]) -> list[tuple[FloatArray, FloatArray]]:
        """The weights and cotangents, (n, samples), of all looks at it, with zeros for samples elsewhere."""
        found = [(self.weights(part), self.covers(part), w[:, self.taken.samples]) for part, w in inside]
        return [(weights, np.where(here, w, 0.0)) for weights, here, w in found if here.any()]


def _last_first(run: ForwardRun, step: int) -> Iterator[_Place]:
    """The accepted steps of a step of the grid, the last one first."""
    passed = np.zeros(run.z.shape[2])
    starts = []
    for taken in run.substeps[step]:
        starts.append(passed[taken.samples].copy())
        passed[taken.samples] += taken.h / run.grid.h
    until = np.full_like(passed, np.inf)
    for taken, start in zip(reversed(run.substeps[step]), reversed(starts), strict=True):
        yield _Place(taken, start, taken.h / run.grid.h, until[taken.samples])
        until[taken.samples] = start


@final
class _Walk:
    """Where each sample is, with f there, and the step size it would try next."""

    def __init__(
        self, field: Field, start: Evaluation, span: float, options: AdaptiveOptions, h: FloatArray | None = None
    ) -> None:
        self.field, self.at, self.options = field, start, options
        self.length, self.direction = abs(span), np.sign(span)
        if h is None:
            h = options.rounded(options.first_step(start.z, start.value, self.length), self.length)
        self.h = h.copy()

    def advance(self, report: SolveReport, step: int) -> tuple[Substep, ...]:
        """Take every sample to the next point of the grid; one that cannot get there is lost, its state becomes NaN."""
        left = np.where(np.isfinite(self.at.z).all(axis=0), self.length, 0.0)
        lost = np.zeros(self.at.batch, dtype=bool)
        rejected = np.zeros(self.at.batch, dtype=np.int64)
        taken: list[Substep] = []
        for _ in range(self.options.max_attempts):
            active = np.flatnonzero((left > 0.0) & ~lost)
            if not active.size:
                break
            tried = np.minimum(self.h[active], left[active])
            accepted, error = self._attempt(active, tried, taken)
            report.evaluations[step, active] += len(_TABLEAU.b)
            rejected[active] += ~accepted
            report.residuals[step, active] = error
            left[active[accepted]] -= tried[accepted]
            left[left < _SHORTEST * self.length] = 0.0
            proposed = self.options.rounded(tried * self.options.factor(error, _ORDER), self.length)
            # A step cut short by the grid does not make the next one shorter.
            self.h[active] = np.where(
                accepted, np.maximum(proposed, self.h[active] * (tried < self.h[active])), proposed
            )
            hopeless = self.h[active] < _SHORTEST * self.length
            lost[active] = ~accepted & (hopeless | (rejected[active] >= self.options.max_rejections))
        report.rejected[step] = rejected
        lost |= left > 0.0
        if lost.any():
            self.at = replace(self.at, z=np.where(lost, np.nan, self.at.z))
        return tuple(taken)

    def _attempt(self, active: IndexArray, tried: FloatArray, taken: list[Substep]) -> tuple[BoolArray, FloatArray]:
        """Try a step, keep it for the samples for which it is accurate enough, and say which those are."""
        here, h = self.at.columns(active), self.direction * tried
        stages = _TABLEAU.stages(self.field, here.z, h, here)
        there = self.field.evaluate_finite(_TABLEAU.end(here.z, h, stages))
        estimate = h * sum(weight * at.value for weight, at in zip(_ERROR, (*stages, there), strict=True))
        error = self.options.error(estimate, here.z, there.z)
        accepted = error <= 1.0
        kept = np.flatnonzero(accepted)
        if kept.size:
            parts = tuple(at.columns(kept) for at in stages)
            taken.append(Substep(active[kept], h[kept], parts, there.columns(kept)))
            self.at = self.at.with_columns(active[kept], there.columns(kept))
        return accepted, error
