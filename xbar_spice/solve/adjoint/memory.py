"""Gradients in less memory than a stored run takes: from checkpoints, or by running the solution back in time.

A stored run of N steps keeps N (n + E) numbers for each sample, E being what the evaluations of a step leave behind
(2 n + 2 m for each of them). With a checkpoint every k steps it is

    (N / k + 1) n + k (n + E),   least at k = sqrt(N n / (n + E)),

for one forward run more. A method that looks back p points further than the last one (1 for AM3, 2 for AB3) keeps their
values of f in a checkpoint, too, which then has (1 + p) n numbers.

Running back takes n + E whatever N is, but only reversible methods (Verlet's) find the states again; for the others
the error grows as fast as the solution contracts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import ArrayLike

from xbar_spice.checks import ANYTHING, checked
from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.norms import norms
from xbar_spice.linear.operator import FloatArray
from xbar_spice.parts import METHODS
from xbar_spice.solve.adjoint.discrete import (
    ADJOINT_HINT,
    Gradients,
    as_gradients,
    chained_adjoint,
    checked_cotangent,
    give_up,
)
from xbar_spice.solve.fields.contributions import Split, split_axes
from xbar_spice.solve.fields.field import Field
from xbar_spice.solve.integrators.integration import (
    Nonconvergence,
    checked_problem,
    handle_nonconvergence,
    method_text,
    warn_of_instability,
)
from xbar_spice.solve.integrators.layers import Layers
from xbar_spice.solve.integrators.method import Carry, ForwardRun, Grid, Method, SolveOptions, SolveReport

__all__ = ["LeanGradients", "checkpointed_gradients", "reversed_gradients", "stored_numbers"]

Cotangent = Callable[[FloatArray], ArrayLike]


@final
@dataclass(frozen=True)
class LeanGradients:
    """Gradients of a run of which little was stored.

    Attributes:
        z: z_N, (n[, batch]).
        gradients: As from `gradients`.
        drift: Largest |rebuilt z_0 - z_0| relative to |z_0|; 0 with checkpoints, where nothing is rebuilt.
        peak: Numbers that were stored at once, at most.
    """

    z: FloatArray
    gradients: Gradients
    drift: float
    peak: int


def stored_numbers(run: ForwardRun) -> int:
    """Numbers that a run keeps for its adjoint; what two evaluations share counts once."""
    stages = [at for point in run.evaluations for at in point]
    stages += [at for step in run.substeps for taken in step for at in taken.stages]
    arrays = [run.z, *(array for at in stages for array in (at.z, at.value, at.slope, at.hidden))]
    return sum(array.size for array in {id(array): array for array in arrays}.values())


@checked(by=ANYTHING)
def checkpointed_gradients(  # noqa: PLR0913 - the problem, its solution and what is wanted of it
    field: Field | Layers,
    z0: ArrayLike,
    cotangent: Cotangent,
    method: str | Method = "implicit_euler",
    *,
    h: float,
    steps: int,
    every: int,
    by: Split = (),
    options: SolveOptions | None = None,
    nonconvergence: Nonconvergence = "warn",
) -> LeanGradients:
    """Solve and differentiate, keeping states at checkpoints only; between them the solution is run a second time.

    The gradients are those of `gradients` to rounding. With noisy reads the second run differs from the first one by
    the noise.

    Args:
        field: As for `integrate`.
        z0: (n,) or (n, batch).
        cotangent: dL/dz_N as a function of z_N.
        method: As for `integrate`.
        h: As for `integrate`.
        steps: As for `integrate`.
        every: Steps between two checkpoints; every layer begins with one.
        by: What the gradients are split by, as for `gradients`.
        options: How steps are solved; `SolveOptions()` by default.
        nonconvergence: As for `integrate`.

    Raises:
        InvalidInputError: An argument is not allowed.
        ConvergenceError: A step did not converge and `nonconvergence` is "raise".

    Example:
        >>> from xbar_spice.solve.fields.field import ReluField
        >>> decay = ReluField([[1.0], [-1.0]], [[-1.0, 1.0]])  # dz/dt = -z
        >>> checkpointed_gradients(decay, [8.0], lambda z: z, h=1.0, steps=4, every=2).gradients.z0  # z_4 / 2^4
        array([0.0312])
    """
    layers, z, grid = checked_problem(field, z0, h, steps)
    scheme, name = METHODS.get(method), method_text(method)
    if every < 1:
        raise InvalidInputError(f"every must be at least one step, got {every}")
    options, axes = options or SolveOptions(), split_axes(by, batched=np.ndim(z0) == 2)
    segments = list(_segments(layers, grid, every))
    starts: list[tuple[FloatArray, Carry]] = []
    reports: list[SolveReport] = []
    tape = 0

    def solved(number: int) -> ForwardRun:
        nonlocal tape
        _, part_field, part = segments[number]
        state, carry = starts[number]
        run = scheme.run(part_field, state, part, options, carry)
        tape = max(tape, stored_numbers(run))
        return run

    with np.errstate(over="ignore", invalid="ignore"):
        carry: Carry = ()
        for number in range(len(segments)):
            starts.append((z, carry))
            run = solved(number)
            reports.append(run.report)
            z, carry = run.z[-1].copy(), run.carry
            del run
        report = SolveReport.joined(reports)
        handle_nonconvergence(f"{name} with h = {h:g}", report, nonconvergence, scheme.hint)
        warn_of_instability(name, h, report)
        last = z if np.ndim(z0) == 2 else z[:, 0]
        multiplier = checked_cotangent(cotangent(last), last.shape)
        again: list[SolveReport] = []  # of the second run, which noise makes another one

        def backwards() -> Iterator[tuple[int, ForwardRun]]:
            for number in reversed(range(len(segments))):
                run = solved(number)
                again.insert(0, run.report)
                yield segments[number][0], run

        adjoint, found = chained_adjoint(scheme, backwards(), multiplier, options.krylov, axes)
    give_up(adjoint)
    _handle_second_run(scheme, name, SolveReport.joined(again), report, nonconvergence)
    handle_nonconvergence(f"the adjoint of {name}", adjoint.report, nonconvergence, ADJOINT_HINT)
    peak = sum(part.size for state, kept in starts for part in (state, *kept)) + z.size + tape
    return LeanGradients(last, as_gradients(adjoint, found, last.ndim == 2), 0.0, peak)


@checked(by=ANYTHING)
def reversed_gradients(
    field: Field | Layers,
    z0: ArrayLike,
    cotangent: Cotangent,
    method: str | Method = "implicit_euler",
    *,
    h: float,
    steps: int,
    by: Split = (),
    options: SolveOptions | None = None,
    nonconvergence: Nonconvergence = "warn",
) -> LeanGradients:
    """Solve and differentiate with the memory of one step, every state rebuilt from the one after it.

    Exact to rounding for Verlet's methods. For all others it is inexact, on dissipative problems without bound:
    look at `drift`, and take `checkpointed_gradients` instead.

    Args:
        field: As for `integrate`.
        z0: (n,) or (n, batch).
        cotangent: dL/dz_N as a function of z_N.
        method: A method of one step.
        h: As for `integrate`.
        steps: As for `integrate`.
        by: What the gradients are split by, as for `gradients`.
        options: How steps are solved; `SolveOptions()` by default.
        nonconvergence: As for `integrate`; on the way back `drift` says what was lost.

    Raises:
        InvalidInputError: An argument is not allowed, or the method is not one of one step.
        ConvergenceError: A step did not converge and `nonconvergence` is "raise".
    """
    layers, start, grid = checked_problem(field, z0, h, steps)
    scheme, name = METHODS.get(method), method_text(method)
    _check_one_step(scheme, name)
    options, axes = options or SolveOptions(), split_axes(by, batched=np.ndim(z0) == 2)
    segments = list(_segments(layers, grid, 1))
    reports: list[SolveReport] = []
    z, tape = start, 0
    with np.errstate(over="ignore", invalid="ignore"):
        again: list[SolveReport] = []  # of the steps from rebuilt states
        for _, part_field, part in segments:
            run = scheme.run(part_field, z, part, options)
            reports.append(run.report)
            z = run.z[-1].copy()
        report = SolveReport.joined(reports)
        handle_nonconvergence(f"{name} with h = {h:g}", report, nonconvergence, scheme.hint)
        last = z if np.ndim(z0) == 2 else z[:, 0]
        multiplier = checked_cotangent(cotangent(last), last.shape)

        def backwards() -> Iterator[tuple[int, ForwardRun]]:
            nonlocal z, tape
            for layer, part_field, part in reversed(segments):
                z = scheme.reverse(part_field, z, part, options)
                run = scheme.run(part_field, z, part, options)
                tape = max(tape, stored_numbers(run))
                again.insert(0, run.report)
                yield layer, run

        adjoint, found = chained_adjoint(scheme, backwards(), multiplier, options.krylov, axes)
        give_up(adjoint)
        _handle_second_run(scheme, name, SolveReport.joined(again), report, nonconvergence)
        handle_nonconvergence(f"the adjoint of {name}", adjoint.report, nonconvergence, ADJOINT_HINT)
        drift = norms(z - start) / np.maximum(norms(start), np.finfo(float).tiny)
    return LeanGradients(last, as_gradients(adjoint, found, last.ndim == 2), float(drift.max()), z.size + tape)


def _handle_second_run(
    scheme: Method, name: str, again: SolveReport, first: SolveReport, nonconvergence: Nonconvergence
) -> None:
    """Warn or raise, for the caller of the caller, if steps converged in the first run only; `again` is changed."""
    again.converged[:] |= ~first.converged
    handle_nonconvergence(f"the second run of {name}", again, nonconvergence, scheme.hint)


def _segments(layers: Layers, grid: Grid, every: int) -> Iterator[tuple[int, Field, Grid]]:
    """Parts of at most `every` steps, each with the number and the field of its layer."""
    for layer, (field, piece) in enumerate(layers.pieces(grid)):
        for first in range(0, piece.steps, every):
            yield layer, field, Grid(grid.h, min(every, piece.steps - first), piece.start + first)


def _check_one_step(scheme: Method, name: str) -> None:
    if not scheme.one_step:
        allowed = ", ".join(known for known in METHODS if METHODS.get(known).one_step)
        raise InvalidInputError(
            f"{name} steps from several points, which a run back from the last state alone does not have; choose one "
            f"of {allowed}, or checkpointed_gradients, which keeps them"
        )
