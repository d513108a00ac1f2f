"""An integrator of a user's own: several steps of forward Euler between two points of the grid."""

from dataclasses import dataclass

import numpy as np

from xbar_spice.read_context import stage
from xbar_spice.solve.integrators import AdjointRun, ForwardRun, Method, SolveReport, TangentRun


@dataclass(frozen=True)
class SmallSteps(Method):
    """z <- z + h / substeps f(z), substeps times, with the exact adjoint and tangent of these steps."""

    substeps: int = 4

    def run(self, field, z0, grid, options, carry=(), known=()):
        h = grid.h / self.substeps
        report = SolveReport.blank(grid.steps, z0.shape[1])
        states, evaluations = [z0], []
        for k in range(grid.steps):
            z, at = states[-1], []
            with stage(phase="forward", step=grid.start + k):  # so that a trace says what each read was for
                for _ in range(self.substeps):
                    at.append(field.evaluate_finite(z))
                    z = z + h * at[-1].value
            states.append(z)
            evaluations.append(tuple(at))
        z = np.stack(states)
        report.converged[:] = np.isfinite(z[1:]).all(axis=1)
        report.evaluations[:] = self.substeps
        return ForwardRun(field, grid, z, (*evaluations, ()), report)

    def adjoint(self, run, cotangent, krylov, total, carry=()):
        h = run.grid.h / self.substeps
        for k in reversed(range(run.grid.steps)):
            step = run.grid.start + k
            with stage(phase="adjoint", step=step):
                for at in reversed(run.evaluations[k]):  # J^T w, and what w adds to the parameters' gradients
                    cotangent = cotangent + total.pull(run.field, at, {step: h * cotangent})
        return AdjointRun(cotangent, SolveReport.blank(run.grid.steps, cotangent.shape[1]))

    def tangent(self, run, change, direction, krylov, carry=()):
        h = run.grid.h / self.substeps
        for at in (at for step in run.evaluations for at in step):
            change = change + h * run.field.push(at, change, direction)
        return TangentRun(change, SolveReport.blank(run.grid.steps, change.shape[1]))
