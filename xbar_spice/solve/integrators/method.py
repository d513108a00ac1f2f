"""What every integration method offers: the forward run, and the exact adjoint and tangent of what was run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import final

import numpy as np
from numpy.typing import NDArray

from xbar_spice.checks import settle
from xbar_spice.linear.operator import FloatArray
from xbar_spice.solve.fields.contributions import Contributions
from xbar_spice.solve.fields.evaluation import BoolArray, Evaluation, IndexArray, Parameters
from xbar_spice.solve.fields.field import Field
from xbar_spice.solve.integrators.step_control import AdaptiveOptions
from xbar_spice.solve.linear_solvers.gmres import Gmres
from xbar_spice.solve.linear_solvers.krylov import get_linear_solver
from xbar_spice.solve.linear_solvers.solver import LinearSolver
from xbar_spice.solve.newton.newton import NewtonOptions

__all__ = [
    "AdjointRun",
    "Carry",
    "ForwardRun",
    "Grid",
    "Method",
    "SolveOptions",
    "SolveReport",
    "Substep",
    "TangentRun",
]

Carry = tuple[FloatArray, ...]
"""What goes over a cut of a run besides the state: arrays whose last axis is the batch."""


@final
@dataclass(frozen=True)
class Grid:
    """Points in time at which states are wanted.

    Attributes:
        h: Distance of the points; negative to go back in time.
        steps: Number of steps.
        start: Number of the first step, by which reads are labelled.
        layer: Number of the layer whose steps these are.
        before: Lengths of the steps before these, the last one first, as far as they differ: what is not said is h.
        after: Lengths of the steps after these, the first one first, likewise.
    """

    h: float
    steps: int
    start: int = 0
    layer: int = 0
    before: tuple[float, ...] = ()
    after: tuple[float, ...] = ()

    @property
    def numbers(self) -> range:
        """The numbers of its steps."""
        return range(self.start, self.start + self.steps)

    def length(self, step: int) -> float:
        """Of a step, counted from the first of these; of those before and after, too."""
        beyond, known = (-step - 1, self.before) if step < 0 else (step - self.steps, self.after)
        return known[beyond] if 0 <= beyond < len(known) else self.h


@final
@dataclass(frozen=True)
class SolveOptions:
    """How steps are solved.

    Attributes:
        newton: Implicit equations.
        krylov: Linear systems; a linear solver, or what `get_linear_solver` makes one of.
        adaptive: The choice of step sizes.
    """

    newton: NewtonOptions = field(default_factory=NewtonOptions)
    krylov: LinearSolver = field(default_factory=Gmres)
    adaptive: AdaptiveOptions = field(default_factory=AdaptiveOptions)

    def __post_init__(self) -> None:
        object.__setattr__(self, "krylov", get_linear_solver(self.krylov))
        settle(self)


@final
@dataclass(frozen=True)
class SolveReport:
    """How each step went; every array is (steps, batch), but for `unstable`.

    Attributes:
        converged: False where a step must not be trusted: its equation was not solved, or its state is not finite.
        newton_iterations: 0 for explicit steps and adjoints.
        krylov_iterations: Products with the Jacobian or its transpose.
        evaluations: Evaluations of f, residuals of Newton's method among them; 0 in adjoints.
        rejected: Attempts of an adaptive method that were too inaccurate; 0 for others.
        residuals: Relative residual that is left; 0 for explicit steps.
        unstable: h lambda of a damped part of the state that the method amplifies, as far as its linear solves saw one;
            0 without one. Of methods with a limit of stability that solve equations; (0, batch) for others.
    """

    converged: BoolArray
    newton_iterations: NDArray[np.int64]
    krylov_iterations: NDArray[np.int64]
    evaluations: NDArray[np.int64]
    rejected: NDArray[np.int64]
    residuals: FloatArray
    unstable: NDArray[np.complex128]

    @classmethod
    def blank(cls, steps: int, batch: int, *, limited: bool = False) -> SolveReport:
        """The report of steps that needed no solve, for a method to fill in; `limited` if it may be `unstable`."""
        newton, krylov, evaluations, rejected = np.zeros((4, steps, batch), dtype=np.int64)
        solved, left = np.ones((steps, batch), dtype=bool), np.zeros((steps, batch))
        unstable = np.zeros((steps if limited else 0, batch), dtype=complex)
        return cls(solved, newton, krylov, evaluations, rejected, left, unstable)

    @classmethod
    def explicit(cls, z: FloatArray, evaluations: int) -> SolveReport:
        """The report of steps between the states z, (steps + 1, n, batch), with so many evaluations of f in each."""
        report = cls.blank(len(z) - 1, z.shape[2])
        report.converged[:] = np.isfinite(z[1:]).all(axis=1)
        report.evaluations[:] = evaluations
        return report

    @classmethod
    def joined(cls, reports: Sequence[SolveReport]) -> SolveReport:
        """The report of runs that follow each other."""
        return cls(*(np.concatenate([getattr(report, part.name) for report in reports]) for part in fields(cls)))


@final
@dataclass(frozen=True)
class Substep:
    """A step that some samples of a batch took, each with its own size.

    Attributes:
        samples: Which samples, ascending.
        h: Their step sizes, (samples,).
        stages: The field at each stage, for these samples only.
        end: The field behind the step.
    """

    samples: IndexArray
    h: FloatArray
    stages: tuple[Evaluation, ...]
    end: Evaluation


@final
@dataclass(frozen=True)
class ForwardRun:
    """What the forward run leaves for the adjoint.

    Attributes:
        field: f.
        grid: Its points in time.
        z: States on the grid, (steps + 1, n, batch).
        evaluations: For each grid point the evaluations of f that belong to it, as the method laid them out.
        report: How each step went.
        substeps: For each step those that an adaptive method took on the way.
        before: The `carry` with which the run started.
        carry: What the method needs besides the last state to go on as if the run had not ended.
        inside: Of a run of one step, by a method that `interpolates`: the part of it that has passed, and the cotangent
            of the state there, (n, batch), of each look at it. The adjoint starts from them, too.
    """

    field: Field
    grid: Grid
    z: FloatArray
    evaluations: tuple[tuple[Evaluation, ...], ...]
    report: SolveReport
    substeps: tuple[tuple[Substep, ...], ...] = ()
    before: Carry = ()
    carry: Carry = ()
    inside: tuple[tuple[float, FloatArray], ...] = ()


@final
@dataclass(frozen=True)
class AdjointRun:
    """What an adjoint run found besides the gradients of the parameters.

    Attributes:
        z0: dL/dz_0, (n, batch).
        report: How each linear solve went.
        carry: What the adjoint of the run before needs besides dL/dz_0.
        lengths: (steps, batch) dL/dh_k, by the length of each step, each sample for itself; perhaps with rows in front,
            for what this run makes of the lengths of the last steps before it. None of a method that does not say.
        evaluations: (batch,) of J^T w, those of linear solves among them; None where nobody counted.
    """

    z0: FloatArray
    report: SolveReport
    carry: Carry = ()
    lengths: FloatArray | None = None
    evaluations: NDArray[np.int64] | None = None


@final
@dataclass(frozen=True)
class TangentRun:
    """What a tangent run found.

    Attributes:
        z: Change of z_N, (n, batch).
        report: How each linear solve went.
        carry: What the tangent of the run after this one needs besides the change of its start.
    """

    z: FloatArray
    report: SolveReport
    carry: Carry = ()


class Method(ABC):
    """A time integration scheme together with its discrete adjoint.

    A method of one's own subclasses this, as a frozen dataclass if it has options, and is handed over where the name of
    a built-in one goes. Another explicit Runge-Kutta method is no more than `RungeKutta(Tableau(a, b))`, a multistep
    method `LinearMultistep(rows)`. `RungeKutta` in `xbar_spice/solve/integrators/runge_kutta.py` is a complete example.
    """

    hint: str = "the step may be unstable: try a smaller h or an implicit method"
    """What to try where a run does not stay finite, or does not converge."""

    one_step: bool = True
    """Whether a step depends on the state before it only, so that it can be run back from the state after it."""

    second_order: bool = False
    """Whether f is d^2z/dt^2 and not dz/dt, so that no cubic through its values has the states between grid points."""

    interpolates: bool = False
    """Whether `between` knows states within a step; if not, they are on Hermite's cubic, see `dense`."""

    @property
    def uneven(self) -> bool:
        """Whether steps may differ in length; if not, only the sum of the `lengths` of an adjoint means anything."""
        return self.one_step

    @abstractmethod
    def run(
        self,
        field: Field,
        z0: FloatArray,
        grid: Grid,
        options: SolveOptions,
        carry: Carry = (),
        known: tuple[Evaluation, ...] = (),
    ) -> ForwardRun:
        """Integrate from z0, (n, batch), over a grid.

        With the `carry` of a run that ended at z0 it goes on as if that run had not ended; a step that depends on
        nothing but the state before it needs none. `known` are the evaluations at z0 that such a run of the same field
        has left, which a method may take instead of reading again.
        """

    @abstractmethod
    def adjoint(
        self,
        run: ForwardRun,
        cotangent: FloatArray,
        krylov: LinearSolver,
        total: Contributions,
        carry: Carry = (),
    ) -> AdjointRun:
        """Differentiate the run: cotangent dL/dz_N, (n, batch), to the gradients of L.

        Those of the matrices are added to `total`. The transposed products are reads of the arrays that made the run,
        and the slopes are those it stored. Of a run that has been continued, `carry` is that of the adjoint of the
        continuation.
        """

    @abstractmethod
    def tangent(
        self,
        run: ForwardRun,
        change: FloatArray,
        direction: Parameters,
        krylov: LinearSolver,
        carry: Carry = (),
    ) -> TangentRun:
        """The change of z_N for a change of z_0, (n, batch), and of the matrices, by forward products only.

        Of a run that continues another one, `carry` is that of the tangent of the run before.
        """

    def doubts(self, run: ForwardRun, options: SolveOptions) -> str:
        """What the caller should be warned of beside steps that did not converge; nothing by default."""
        return ""

    def between(self, run: ForwardRun, step: int, part: float) -> FloatArray:
        """The state within a step of a run, (n, batch), by a method that `interpolates`; its adjoint knows `inside`.

        Args:
            run: What the method left.
            step: Counted from the run's first.
            part: Of the step that has passed.
        """
        raise NotImplementedError(f"{type(self).__name__} has no states of its own between grid points")

    def reverse(self, field: Field, z: FloatArray, grid: Grid, options: SolveOptions) -> FloatArray:
        """The state before the grid's only step from the one after it; the same method run back in time by default.

        Only a reversible method finds it exactly.
        """
        before: FloatArray = self.run(field, z, Grid(-grid.h, 1, grid.start), options).z[-1]
        return before
