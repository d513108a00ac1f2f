"""Leapfrog for second-order layers, d^2 y / dt^2 = f(y), such as f(y) = -K^T sig(K y + b): wave equations.

    y_{j+1} = 2 y_j - y_{j-1} + h^2 f(y_j)

is followed as a move, d_{j+1} = d_j + h^2 f(y_j), and where it leads to, y_{j+1} = y_j + d_{j+1}; it starts at rest.
With (lam', nu') = dL/d(y_{j+1}, d_{j+1}) the adjoint is, e = lam' + nu',

    nu = e,   lam = lam' + J_j^T h^2 e,   parameters: those of the vjp at y_j with h^2 e

One evaluation a step each way. Source: Ruthotto and Haber, Deep neural networks motivated by partial differential
equations, J. Math. Imaging Vis. 62 (2020) 352.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from xbar_spice.checks import Real, settle
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

__all__ = ["Leapfrog"]


@final
@dataclass(frozen=True)
class Leapfrog(Method):
    """y_{j+1} = 2 y_j - y_{j-1} + h^2 f(y_j), at rest before the first step.

    Attributes:
        first: Part of h^2 f(y_0) that the first step takes: 1 is y_{-1} = y_0, of order 1; 1/2 is of order 2.
    """

    hint = "the step may be unstable: h^2 times an eigenvalue of f must not go beyond -4; try a smaller h"
    one_step = False
    second_order = True

    first: float = 1.0

    def __post_init__(self) -> None:
        settle(self, first=Real(least=0, most=1))

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
        moved = carry[0] if carry else np.zeros_like(z0)
        evaluations: list[tuple[Evaluation, ...]] = []
        for k in range(grid.steps):
            with stage(phase="forward", step=grid.start + k):
                evaluations.append((field.evaluate_finite(z[k]),))
            moved = moved + self._weight(grid, k, carry) * evaluations[k][0].value
            z[k + 1] = z[k] + moved
        z.setflags(write=False)
        return ForwardRun(field, grid, z, (*evaluations, ()), SolveReport.explicit(z, 1), (), carry, (moved,))

    def adjoint(
        self,
        run: ForwardRun,
        cotangent: FloatArray,
        krylov: LinearSolver,
        total: Contributions,
        carry: Carry = (),
    ) -> AdjointRun:
        back = carry[0] if carry else np.zeros_like(cotangent)
        lengths = np.zeros((run.grid.steps, cotangent.shape[1]))  # of which only the sum counts: all steps share one h
        for k in range(run.grid.steps - 1, -1, -1):
            step, (at,) = run.grid.start + k, run.evaluations[k]
            back = back + cotangent
            w = self._weight(run.grid, k, run.before) * back
            with stage(phase="adjoint", step=step):
                pulled = total.pull(run.field, at, {step: w})
            lengths[k] = 2.0 / run.grid.h * (w * at.value).sum(axis=0)
            cotangent = cotangent + pulled
        return AdjointRun(cotangent, SolveReport.blank(run.grid.steps, cotangent.shape[1]), (back,), lengths)

    def tangent(
        self,
        run: ForwardRun,
        change: FloatArray,
        direction: Parameters,
        krylov: LinearSolver,
        carry: Carry = (),
    ) -> TangentRun:
        moved = carry[0] if carry else np.zeros_like(change)
        for k in range(run.grid.steps):
            pushed = run.field.push(run.evaluations[k][0], change, direction)
            moved = moved + self._weight(run.grid, k, run.before) * pushed
            change = change + moved
        return TangentRun(change, SolveReport.blank(run.grid.steps, change.shape[1]), (moved,))

    def _weight(self, grid: Grid, k: int, before: Carry) -> float:
        """Of f in step k; a run that continues another one has no first step."""
        return grid.h**2 * (1.0 if k or before else self.first)
