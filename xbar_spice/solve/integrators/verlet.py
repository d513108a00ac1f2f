"""Verlet's methods for a state in two parts, dy/dt = velocity(z), dz/dt = force(y), which can be run back exactly.

Staggered, the z of a state [y; z] belonging half a step before its y:

    z' = z + h force(y),   y' = y + h velocity(z')

Read so, it is of order 2; a z_0 that belongs to time 0 makes it of order 1. Synchronous (velocity Verlet), of order 2
with both parts at the same time, the second half kick of a step sharing its read with the first one of the next:

    z* = z + h/2 force(y),   y' = y + h velocity(z*),   z' = z* + h/2 force(y')

For force(y) = -sig(K y + b), velocity(z) = sig(K^T z + b) both read one array K in both directions, even forwards. With
(p, q) = dL/d(y', z') the adjoint of a drift y' = y + h velocity(z) is q += J_velocity^T h p, that of a kick
z' = z + h force(y) is p += J_force^T h q, each at its stored evaluation, in the reverse order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.operator import FloatArray
from xbar_spice.read_context import stage
from xbar_spice.solve.fields.contributions import Contributions
from xbar_spice.solve.fields.evaluation import Evaluation, Parameters
from xbar_spice.solve.fields.field import Field
from xbar_spice.solve.fields.split import SplitField, unprefixed
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

__all__ = ["VELOCITY_VERLET", "VERLET", "Verlet"]


@final
@dataclass(frozen=True)
class Verlet(Method):
    """Verlet's method, staggered or synchronous.

    Attributes:
        kicks: Parts of h by which force acts before and after the drift of a step.
    """

    kicks: tuple[float, float]

    def run(
        self,
        field: Field,
        z0: FloatArray,
        grid: Grid,
        options: SolveOptions,
        carry: Carry = (),
        known: tuple[Evaluation, ...] = (),
    ) -> ForwardRun:
        split = _split(field)
        states = np.empty((grid.steps + 1, *z0.shape))
        states[0] = z0
        report = SolveReport.blank(grid.steps, z0.shape[1])
        evaluations: list[tuple[Evaluation, ...]] = []
        forces: Evaluation | None = None
        for k in range(grid.steps):
            with stage(phase="forward", step=grid.start + k):
                states[k + 1], known = self._step(split, states[k], grid.h, forces)
            report.evaluations[k] = len(known) - (forces is not None)
            forces = known[2] if self.kicks[1] else None
            evaluations.append(known)
        report.converged[:] = np.isfinite(states[1:]).all(axis=1)
        states.setflags(write=False)
        return ForwardRun(field, grid, states, (*evaluations, ()), report)

    def _step(
        self, field: SplitField, state: FloatArray, h: float, forces: Evaluation | None
    ) -> tuple[FloatArray, tuple[Evaluation, ...]]:
        """One step, and the evaluations of force, velocity and, if there is a second kick, force again."""
        first, second = self.kicks
        y, z = state[: field.y_size], state[field.y_size :]
        before = forces or field.force.evaluate_finite(y)
        z = z + first * h * before.value
        drift = field.velocity.evaluate_finite(z)
        y = y + h * drift.value
        if not second:
            return np.vstack([y, z]), (before, drift)
        after = field.force.evaluate_finite(y)
        return np.vstack([y, z + second * h * after.value]), (before, drift, after)

    def adjoint(
        self,
        run: ForwardRun,
        cotangent: FloatArray,
        krylov: LinearSolver,
        total: Contributions,
        carry: Carry = (),
    ) -> AdjointRun:
        field, h = _split(run.field), run.grid.h
        p, q = cotangent[: field.y_size], cotangent[field.y_size :]
        lengths = np.zeros((run.grid.steps, cotangent.shape[1]))
        pending: dict[int, FloatArray] = {}  # what the next step's first kick hands back to the force at its start
        for k in range(run.grid.steps - 1, -1, -1):
            before, drift, *after = run.evaluations[k]
            step = run.grid.start + k
            with stage(phase="adjoint", step=step):
                if after:
                    kicked = {**pending, step: self.kicks[1] * h * q}
                    lengths[k] = self.kicks[1] * (q * after[0].value).sum(axis=0)
                    p = p + total.pull(field.force, after[0], kicked, part="force")
                lengths[k] += (p * drift.value).sum(axis=0)
                q = q + total.pull(field.velocity, drift, {step: h * p}, part="velocity")
                lengths[k] += self.kicks[0] * (q * before.value).sum(axis=0)
                pending = {step: self.kicks[0] * h * q}
                if not after or k == 0:
                    p = p + total.pull(field.force, before, pending, part="force")
        report = SolveReport.blank(run.grid.steps, cotangent.shape[1])
        return AdjointRun(np.vstack([p, q]), report, lengths=lengths)

    def tangent(
        self,
        run: ForwardRun,
        change: FloatArray,
        direction: Parameters,
        krylov: LinearSolver,
        carry: Carry = (),
    ) -> TangentRun:
        field, h = _split(run.field), run.grid.h
        velocity, force = unprefixed("velocity", direction), unprefixed("force", direction)
        dy, dz = change[: field.y_size], change[field.y_size :]
        for before, drift, *after in run.evaluations[:-1]:
            dz = dz + self.kicks[0] * h * field.force.push(before, dy, force)
            dy = dy + h * field.velocity.push(drift, dz, velocity)
            if after:
                dz = dz + self.kicks[1] * h * field.force.push(after[0], dy, force)
        return TangentRun(np.vstack([dy, dz]), SolveReport.blank(run.grid.steps, change.shape[1]))

    def reverse(self, field: Field, z: FloatArray, grid: Grid, options: SolveOptions) -> FloatArray:
        """Kicks and drift taken back in the reverse order, which is exact up to rounding and noise of the reads."""
        split, (first, second) = _split(field), self.kicks
        y, momentum = z[: split.y_size], z[split.y_size :]
        with stage(phase="forward", step=grid.start):
            if second:
                momentum = momentum - second * grid.h * split.force.evaluate_finite(y).value
            y = y - grid.h * split.velocity.evaluate_finite(momentum).value
            momentum = momentum - first * grid.h * split.force.evaluate_finite(y).value
        return np.vstack([y, momentum])


def _split(field: Field) -> SplitField:
    if not isinstance(field, SplitField):
        raise InvalidInputError(
            f"Verlet's methods need a SplitField, such as hamiltonian_field(K, b), got {type(field).__name__}; "
            "for this field use rk4 or dopri5"
        )
    return field


VERLET = Verlet((1.0, 0.0))
VELOCITY_VERLET = Verlet((1 / 2, 1 / 2))
