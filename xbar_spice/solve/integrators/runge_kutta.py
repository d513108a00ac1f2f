"""Explicit Runge-Kutta methods, with steps of a fixed size, and their exact discrete adjoints.

One step from z with the stages y_i and the coefficients a, b of the method:

    y_i = z + h sum_{j<i} a_ij f(y_j),   z' = z + h sum_i b_i f(y_i)

Differentiated, with lam' = dL/dz' and from the last stage to the first:

    w_i = h b_i lam' + h sum_{j>i} a_ji p_j,   p_i = J(y_i)^T w_i,   lam = lam' + sum_i p_i
    parameters: those of the vjp at y_i with w_i
    dL/dh = sum_i b_i lam' . f(y_i) + sum_i p_i . sum_{j<i} a_ij f(y_j)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from xbar_spice.linear.operator import FloatArray
from xbar_spice.read_context import stage
from xbar_spice.solve.fields.contributions import Contributions
from xbar_spice.solve.fields.evaluation import Evaluation, Parameters
from xbar_spice.solve.fields.field import Field
from xbar_spice.solve.integrators.method import (
    AdjointRun,
    Carry,
    ForwardRun,
    Grid,
    Method,
    SolveOptions,
    SolveReport,
    TangentRun,
)
from xbar_spice.solve.linear_solvers.solver import LinearSolver

__all__ = ["RK4", "RungeKutta", "Tableau"]


@final
@dataclass(frozen=True)
class Tableau:
    """Coefficients of an explicit method and one step with them; h is a number, or one for each sample, (batch,).

    Attributes:
        a: Row i has the i coefficients of stage i.
        b: One for each stage.
    """

    a: tuple[tuple[float, ...], ...]
    b: tuple[float, ...]

    def stages(
        self, field: Field, z: FloatArray, h: float | FloatArray, first: Evaluation | None = None
    ) -> tuple[Evaluation, ...]:
        """Evaluate every stage; the first one may be known."""
        known = [] if first is None else [first]
        for row in self.a[len(known) :]:
            known.append(field.evaluate_finite(self._combined(z, h, row, [at.value for at in known])))
        return tuple(known)

    def end(self, z: FloatArray, h: float | FloatArray, stages: tuple[Evaluation, ...]) -> FloatArray:
        """Z'."""
        return self._combined(z, h, self.b, [at.value for at in stages])

    def pull(
        self,
        pull: Callable[[Evaluation, FloatArray], FloatArray],
        stages: tuple[Evaluation, ...],
        h: float | FloatArray,
        multiplier: FloatArray,
        inside: Sequence[FloatArray] = (),
    ) -> tuple[FloatArray, FloatArray]:
        """Lam from lam', with `pull` for J^T w at a stage; and dL/dh, (batch,).

        Of a loss that looks at z + h sum_i b_i f(y_i) with other b, too, `inside` is b_i times its cotangent by stage.
        """
        pulled: dict[int, FloatArray] = {}
        for i in range(len(stages) - 1, -1, -1):
            w = self.b[i] * multiplier + sum(self.a[j][i] * p for j, p in pulled.items())
            if inside:
                w = w + inside[i]
            pulled[i] = pull(stages[i], h * w)
        moved = [(self.b, multiplier), *((self.a[i], p) for i, p in pulled.items())]
        length = sum(
            np.einsum("nb,nb->b", weight * w, at.value)
            for row, w in moved
            for weight, at in zip(row, stages, strict=False)
            if weight
        )
        length = length + sum(np.einsum("nb,nb->b", w, at.value) for w, at in zip(inside, stages, strict=False))
        return multiplier + sum(pulled.values()), np.asarray(length)

    def push(
        self,
        field: Field,
        stages: tuple[Evaluation, ...],
        h: float | FloatArray,
        change: FloatArray,
        direction: Parameters,
    ) -> FloatArray:
        """The change of z' for a change of z and of the matrices."""
        slopes: list[FloatArray] = []
        for at, row in zip(stages, self.a, strict=True):
            slopes.append(field.push(at, self._combined(change, h, row, slopes), direction))
        return self._combined(change, h, self.b, slopes)

    @staticmethod
    def _combined(
        z: FloatArray, h: float | FloatArray, weights: tuple[float, ...], slopes: list[FloatArray]
    ) -> FloatArray:
        """Z + h sum_j weights_j slopes_j, coefficients that are zero left out."""
        used = [weight * slope for weight, slope in zip(weights, slopes, strict=True) if weight != 0.0]
        return z + h * sum(used[1:], used[0]) if used else z


@final
@dataclass(frozen=True)
class RungeKutta(Method):
    """An explicit Runge-Kutta method with one step between two points of the grid."""

    tableau: Tableau

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
        evaluations: list[tuple[Evaluation, ...]] = []
        for k in range(grid.steps):
            with stage(phase="forward", step=grid.start + k):
                evaluations.append(self.tableau.stages(field, z[k], grid.h))
            z[k + 1] = self.tableau.end(z[k], grid.h, evaluations[k])
        z.setflags(write=False)
        return ForwardRun(field, grid, z, (*evaluations, ()), SolveReport.explicit(z, len(self.tableau.b)))

    def adjoint(
        self,
        run: ForwardRun,
        cotangent: FloatArray,
        krylov: LinearSolver,
        total: Contributions,
        carry: Carry = (),
    ) -> AdjointRun:
        multiplier, lengths = cotangent, np.zeros((run.grid.steps, cotangent.shape[1]))
        for k in range(run.grid.steps - 1, -1, -1):
            step = run.grid.start + k

            def pull(at: Evaluation, w: FloatArray, step: int = step) -> FloatArray:
                return total.pull(run.field, at, {step: w})

            with stage(phase="adjoint", step=step):
                multiplier, lengths[k] = self.tableau.pull(pull, run.evaluations[k], run.grid.h, multiplier)
        report = SolveReport.blank(run.grid.steps, cotangent.shape[1])
        return AdjointRun(multiplier, report, lengths=lengths)

    def tangent(
        self,
        run: ForwardRun,
        change: FloatArray,
        direction: Parameters,
        krylov: LinearSolver,
        carry: Carry = (),
    ) -> TangentRun:
        for stages in run.evaluations[:-1]:
            change = self.tableau.push(run.field, stages, run.grid.h, change, direction)
        return TangentRun(change, SolveReport.blank(run.grid.steps, change.shape[1]))


RK4 = RungeKutta(Tableau(((), (1 / 2,), (0.0, 1 / 2), (0.0, 0.0, 1.0)), (1 / 6, 1 / 3, 1 / 3, 1 / 6)))
