"""A run that is parallel in time: its slices advance at once, on arrays of their own if there are such."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np
from numpy.typing import ArrayLike

from xbar_spice.checks import Array, Whole, checked
from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.operator import FloatArray
from xbar_spice.parts import METHODS
from xbar_spice.solve.fields.evaluation import BoolArray
from xbar_spice.solve.fields.field import Field
from xbar_spice.solve.integrators.integration import (
    Nonconvergence,
    chained_runs,
    check_nonconvergence,
    checked_problem,
    handle_nonconvergence,
    method_text,
    stretches,
)
from xbar_spice.solve.integrators.layers import Layers
from xbar_spice.solve.integrators.method import ForwardRun, Grid, Method, SolveOptions, SolveReport
from xbar_spice.solve.parallel.parareal import MOST_ITERATIONS, Cut, Relaxation, Work, iterated, largest

__all__ = ["CoarseSteps", "ParallelTrajectory", "parallel_in_time"]


@final
@dataclass(frozen=True)
class CoarseSteps:
    """The long step over each slice.

    Attributes:
        scheme: By which it is made.
        pieces: The field and the only step of each slice.
        options: How it is solved.
    """

    scheme: Method
    pieces: tuple[tuple[Field, Grid], ...]
    options: SolveOptions

    def run(self, k: int, z: FloatArray) -> ForwardRun:
        """The step over slice k from z, (n, batch)."""
        return self.scheme.run(self.pieces[k][0], z, self.pieces[k][1], self.options)


@final
@dataclass(frozen=True)
class ParallelTrajectory:
    """A solution by slices; for a single z0 the batch axis is absent.

    Attributes:
        method: Text of the method.
        scheme: The method itself.
        cuts: (slices + 1, n[, batch]) states at the ends of slices, U; `z[::coarsening]`.
        errors: (iterations + 1,) largest |U - what the sequential run has there|, of the coarse sweep, or of the states
            to begin with, and after every iteration; empty without a comparison.
        slices: The runs of each slice from its U.
        coarse: The coarse steps.
        work: How many steps it took.
        options: How steps were solved; the adjoint's default.
        batched: Whether z0 had a batch axis.
    """

    method: str
    scheme: Method
    cuts: FloatArray
    errors: FloatArray
    slices: tuple[tuple[ForwardRun, ...], ...]
    coarse: CoarseSteps
    work: Work
    options: SolveOptions
    batched: bool

    @cached_property
    def z(self) -> FloatArray:
        """States, (steps + 1, n[, batch]): at the ends of slices U, within them fine steps from there."""
        inside = [np.concatenate([runs[0].z[:1], *(run.z[1:] for run in runs)])[:-1] for runs in self.slices]
        within = np.concatenate(inside)
        return np.concatenate([within if self.batched else within[..., 0], self.cuts[-1:]])

    @property
    def report(self) -> SolveReport:
        """How each fine step from the last U went, always with a batch axis."""
        return SolveReport.joined([run.report for runs in self.slices for run in runs])

    @property
    def converged(self) -> BoolArray:
        """Whether each of them solved its equation and stayed finite, (steps[, batch])."""
        converged = self.report.converged
        return converged if self.batched else converged[:, 0]


@checked()
def parallel_in_time(  # noqa: PLR0913 - a problem, its grid, the iteration, and how steps are solved
    field: Field | Layers,
    z0: ArrayLike,
    method: str | Method = "forward_euler",
    *,
    h: float,
    steps: int,
    coarsening: int,
    relaxation: Relaxation = "F",
    iterations: int,
    coarse: Field | Layers | None = None,
    coarse_method: str | Method | None = None,
    start: ArrayLike | None = None,
    compare: bool = True,
    options: SolveOptions | None = None,
    nonconvergence: Nonconvergence = "warn",
) -> ParallelTrajectory:
    """Integrate dz/dt = f(z) by slices of steps, all slices at once, in a few iterations.

    The converged solution is that of `integrate`, to rounding; of slices on copies of an array that of the chain of the
    copies, `Layers(copies)`. How fast it gets there depends on the coarse step, which must be stable: explicit steps of
    length `coarsening * h` that amplify make the iterates grow before they are exact.

    Args:
        field: f, or `Layers` of fields that follow each other in time, such as copies of one, one for each slice.
        z0: (n,), or (n, batch) for independent samples that advance together.
        method: Of the fine steps, as for `integrate`; also of several steps.
        h: Step size, > 0.
        steps: Number of steps; a multiple of `coarsening` and of the number of layers.
        coarsening: Steps of a slice, which one coarse step of length `coarsening * h` leads over.
        relaxation: "F", or "FCF", which sweeps over the slices twice in every iteration.
        iterations: Number of iterations; 0 is the coarse sweep.
        coarse: The field of coarse steps, on digital matrices, say; that of each slice's first step when left out.
        coarse_method: Of coarse steps; `method` when left out, which starts afresh in each of them.
        start: (steps / coarsening + 1, n[, batch]) states at the ends of slices to begin with, such as the `cuts` of
            another run, in place of a coarse sweep.
        compare: Whether `errors` are wanted; the sequential run that they need takes reads, too.
        options: How steps are solved; `SolveOptions()` by default.
        nonconvergence: As for `integrate`.

    Returns:
        The solution. `parallel_gradients` differentiates it.

    Raises:
        InvalidInputError: An argument is not allowed.
        ConvergenceError: A step did not converge and `nonconvergence` is "raise".

    Example:
        >>> from xbar_spice.solve.fields.layer_field import LayerField
        >>> decay = LayerField([[-1.0]], activation="identity")
        >>> found = parallel_in_time(decay, [1.0], h=0.125, steps=8, coarsening=2, iterations=2)
        >>> found.cuts[:, 0].round(4), found.errors.round(4)
        (array([1.    , 0.7656, 0.5862, 0.4488, 0.3436]), array([0.0272, 0.0008, 0.    ]))
    """
    scheme, name = METHODS.get(method), method_text(method)
    layers, z, points = checked_problem(field, z0, h, steps)
    length = Whole(1)("coarsening", coarsening)
    if points.steps % length:
        raise InvalidInputError(
            f"coarsening must divide the number of steps, {points.steps}, so that all slices are of equal length, "
            f"got {length}"
        )
    count = points.steps // length
    rounds = Whole(0, MOST_ITERATIONS)("iterations", iterations)
    check_nonconvergence(nonconvergence)
    how = options or SolveOptions()
    pieces: list[list[tuple[Field, Grid]]] = [[] for _ in range(count)]
    for layer, piece in stretches(layers.pieces(points), None, range(length, points.steps, length)):
        pieces[piece.start // length].append((layer, piece))
    steps_over = CoarseSteps(
        scheme if coarse_method is None else METHODS.get(coarse_method),
        tuple(_long_steps(layers if coarse is None else coarse, layers.states, points, length)),
        how,
    )

    def runs_over(k: int, cut: Cut) -> tuple[ForwardRun, ...]:
        return chained_runs(scheme, pieces[k], cut.z, how, cut.carry)

    def fine(k: int, cut: Cut) -> Cut:
        last = runs_over(k, cut)[-1]
        return Cut(last.z[-1], last.carry)

    def long_step(k: int, z: FloatArray) -> FloatArray:
        return np.asarray(steps_over.run(k, z).z[-1])

    errors: list[float] = []
    with np.errstate(over="ignore", invalid="ignore"):  # a diverging sample is reported below
        wanted = [Cut(z)]
        for k in range(count if compare else 0):
            wanted.append(fine(k, wanted[k]))

        def look(cuts: list[Cut]) -> None:
            if compare:
                errors.append(largest(cuts, wanted))

        begun = None if start is None else checked_cuts("start", start, (count + 1, *np.shape(z0)))
        cuts = iterated(z, begun, count, fine, long_step, relaxation, rounds, look)
        slices = tuple(runs_over(k, cuts[k]) for k in range(count))
    batched = np.ndim(z0) == 2
    states = np.stack([cut.z for cut in cuts])
    found = ParallelTrajectory(
        method=name,
        scheme=scheme,
        cuts=states if batched else states[..., 0],
        errors=np.array(errors),
        slices=slices,
        coarse=steps_over,
        work=Work.of(count, length, relaxation, rounds),
        options=how,
        batched=batched,
    )
    handle_nonconvergence(f"{name} with h = {points.h:g}, by slices,", found.report, nonconvergence, scheme.hint)
    return found


def checked_cuts(name: str, values: ArrayLike, shape: tuple[int, ...]) -> FloatArray:
    """(slices + 1, n, batch) states or cotangents at the ends of slices.

    Raises:
        InvalidInputError: They have another shape, or are not finite.
    """
    cuts: FloatArray = Array()(name, values)
    if cuts.shape != shape:
        raise InvalidInputError(
            f"{name} must have shape {shape}, that of `cuts`: one state for each end of a slice, got {cuts.shape}"
        )
    return cuts if cuts.ndim == 3 else cuts[..., np.newaxis]


def _long_steps(field: Field | Layers, states: int, points: Grid, length: int) -> list[tuple[Field, Grid]]:
    """For each slice the field of its first step, and the step that leads over it."""
    layers = field if isinstance(field, Layers) else Layers([field])
    if layers.states != states:
        raise InvalidInputError(f"coarse must have states of length {states}, as the field has, got {layers.states}")
    found = []
    for layer, piece in layers.pieces(points):
        for start in piece.numbers:
            if start % length == 0:
                found.append((layer, Grid(length * points.h, 1, start, piece.layer)))
    return found
