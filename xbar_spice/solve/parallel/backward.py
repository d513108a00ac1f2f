"""Gradients of a run that is parallel in time, by the same iteration backwards.

The cotangent obeys lambda_k = F_k'(U_k)^T lambda_{k+1}; the coarse step backwards is the adjoint of the coarse step
from U_k. Each slice keeps what its fine steps left, and drives its own arrays backwards. The gradients of the weights
come from one sweep more over all slices at once, from the cotangents that the iteration has found.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import ArrayLike

from xbar_spice.checks import Whole, checked
from xbar_spice.linear.operator import FloatArray
from xbar_spice.solve.adjoint.discrete import (
    ADJOINT_HINT,
    Gradients,
    adjoint_sweep,
    as_gradients,
    by_layer,
    checked_cotangent,
    give_up,
)
from xbar_spice.solve.fields.contributions import Contributions
from xbar_spice.solve.fields.evaluation import Tie
from xbar_spice.solve.integrators.integration import Nonconvergence, check_nonconvergence, handle_nonconvergence
from xbar_spice.solve.integrators.method import AdjointRun, SolveReport
from xbar_spice.solve.linear_solvers.krylov import SolverLike, get_linear_solver
from xbar_spice.solve.parallel.forward import ParallelTrajectory, checked_cuts
from xbar_spice.solve.parallel.parareal import MOST_ITERATIONS, Cut, Relaxation, Work, iterated, largest

__all__ = ["ParallelGradients", "parallel_gradients"]


@final
@dataclass(frozen=True)
class ParallelGradients:
    """Gradients by slices; for a single z0 the batch axis is absent.

    Attributes:
        gradients: As from `gradients`; of `Layers` each layer has its own.
        cuts: (slices + 1, n[, batch]) cotangents at the ends of slices.
        errors: (iterations + 1,) their largest deviation from those of the sequential adjoint of the same run, of the
            coarse sweep, or of those to begin with, and after every iteration; empty without a comparison.
        work: How many steps it took, backwards.
    """

    gradients: Gradients
    cuts: FloatArray
    errors: FloatArray
    work: Work


@checked()
def parallel_gradients(
    trajectory: ParallelTrajectory,
    cotangent: ArrayLike,
    *,
    relaxation: Relaxation = "F",
    iterations: int,
    start: ArrayLike | None = None,
    compare: bool = True,
    krylov: SolverLike | None = None,
    nonconvergence: Nonconvergence = "warn",
) -> ParallelGradients:
    """Gradients of L(z_N) by slices of steps, all slices at once, in a few iterations.

    With as many iterations as slices they are those of `gradients`. One iteration forwards and one backwards from the
    `cuts` of the step before, as `start`, and a step down the gradient is one-shot training: all three converge
    together, to the optimum of the fine steps.

    Args:
        trajectory: What `parallel_in_time` returned.
        cotangent: dL/dz_N, of the shape of z0.
        relaxation: As for `parallel_in_time`.
        iterations: As for `parallel_in_time`.
        start: (slices + 1, n[, batch]) cotangents to begin with, such as the `cuts` of the gradients before.
        compare: As for `parallel_in_time`.
        krylov: How linear systems are solved; as in the forward run by default.
        nonconvergence: As for `integrate`.

    Returns:
        The gradients, and the cotangents at the ends of slices.

    Raises:
        InvalidInputError: An argument is not allowed.
        ConvergenceError: A solve did not converge and `nonconvergence` is "raise".

    Example:
        >>> from xbar_spice.solve.fields.layer_field import LayerField
        >>> from xbar_spice.solve.parallel.forward import parallel_in_time
        >>> decay = LayerField([[-1.0]], activation="identity")
        >>> found = parallel_in_time(decay, [1.0], h=0.125, steps=8, coarsening=2, iterations=4)
        >>> parallel_gradients(found, [1.0], iterations=4).gradients.z0  # (1 - h)^8
        array([0.34361])
    """
    shape = trajectory.cuts.shape
    last = checked_cotangent(cotangent, shape[1:])
    rounds = Whole(0, MOST_ITERATIONS)("iterations", iterations)
    check_nonconvergence(nonconvergence)
    slices, count = trajectory.slices, len(trajectory.slices)
    solver = get_linear_solver(krylov, trajectory.options.krylov)
    states = trajectory.cuts if trajectory.batched else trajectory.cuts[..., np.newaxis]
    lost = np.asarray(~np.isfinite(np.concatenate([states, *(run.z for runs in slices for run in runs)])).all((0, 1)))
    last = np.where(lost, 0.0, last)
    totals: dict[int, Contributions] = {}
    ties: dict[int, Tie] = {run.grid.layer: run.field.tie for runs in slices for run in runs}

    def collector() -> Contributions:
        return Contributions(batch=lost.size)

    def swept(k: int, cut: Cut, into: dict[int, Contributions]) -> AdjointRun:
        noted = ((into.setdefault(run.grid.layer, collector()), run) for run in reversed(slices[k]))
        return adjoint_sweep(trajectory.scheme, noted, cut.z, solver, cut.carry)

    def fine(j: int, cut: Cut) -> Cut:
        found = swept(count - 1 - j, cut, {})
        return Cut(found.z0, found.carry)

    with np.errstate(over="ignore", invalid="ignore"):
        steps_over = [trajectory.coarse.run(k, states[k]) for k in range(count)]

        def long_step(j: int, w: FloatArray) -> FloatArray:
            return trajectory.coarse.scheme.adjoint(steps_over[count - 1 - j], w, solver, collector()).z0

        wanted = [Cut(last)]
        for j in range(count if compare else 0):
            wanted.append(fine(j, wanted[j]))
        errors: list[float] = []

        def look(cuts: list[Cut]) -> None:
            if compare:
                errors.append(largest(cuts, wanted))

        begun = None if start is None else checked_cuts("start", start, shape)[::-1]
        cuts = iterated(last, begun, count, fine, long_step, relaxation, rounds, look)[::-1]
        ends = [swept(k, cuts[k + 1], totals) for k in range(count)]
    run = AdjointRun(cuts[0].z.copy(), SolveReport.joined([end.report for end in ends]))
    give_up(run, lost)
    handle_nonconvergence(f"the adjoint of {trajectory.method}, by slices,", run.report, nonconvergence, ADJOINT_HINT)
    cotangents = np.stack([cut.z for cut in cuts])
    return ParallelGradients(
        as_gradients(run, by_layer(totals, ties), trajectory.batched),
        cotangents if trajectory.batched else cotangents[..., 0],
        np.array(errors),
        Work.of(count, trajectory.work.sequential // count, relaxation, rounds),
    )
