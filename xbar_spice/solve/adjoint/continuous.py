"""The continuous adjoint: differentiate the equation, then discretise it, for comparison with the exact adjoint.

Backwards in time lam obeys dlam/dtau = J(z(t))^T lam, tau = T - t, and the parameters' gradients are the integral of
those of the vjp with lam. Solved by some method on the states of a run this is not the gradient of what was computed:
for implicit Euler it has J at the point before a step where the exact adjoint has it at the point after, an O(h) error.
A Runge-Kutta method needs states between those of the run: cubic interpolation from z and f at both ends, of order 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import ArrayLike

from xbar_spice.checks import ANYTHING, checked
from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.operator import FloatArray
from xbar_spice.parts import METHODS
from xbar_spice.read_context import stage
from xbar_spice.solve.adjoint.discrete import (
    ADJOINT_HINT,
    Gradients,
    as_gradients,
    by_layer,
    checked_cotangent,
    give_up,
    lost_samples,
)
from xbar_spice.solve.fields.contributions import Contributions, Split, split_axes
from xbar_spice.solve.fields.evaluation import Evaluation
from xbar_spice.solve.fields.field import Field
from xbar_spice.solve.integrators.integration import (
    Nonconvergence,
    Trajectory,
    check_nonconvergence,
    handle_nonconvergence,
    method_text,
)
from xbar_spice.solve.integrators.method import AdjointRun, ForwardRun, Method, SolveReport
from xbar_spice.solve.integrators.multistep import LinearMultistep
from xbar_spice.solve.integrators.runge_kutta import RungeKutta
from xbar_spice.solve.linear_solvers.krylov import SolverLike, get_linear_solver
from xbar_spice.solve.linear_solvers.solver import LinearSolver
from xbar_spice.solve.linear_solvers.systems import solve_adjoint

__all__ = ["continuous_gradients"]


@checked(by=ANYTHING)
def continuous_gradients(
    trajectory: Trajectory,
    cotangent: ArrayLike,
    method: str | Method | None = None,
    *,
    by: Split = (),
    krylov: SolverLike | None = None,
    nonconvergence: Nonconvergence = "warn",
) -> Gradients:
    """Gradients by solving the adjoint equation on the states of a run; inexact by the error of the method.

    Args:
        trajectory: What `integrate` returned.
        cotangent: dL/dz_N, of the shape of z0.
        method: A multistep method or a Runge-Kutta method of fixed steps; that of the trajectory when left out.
        by: As for `gradients`; a step here is one of the adjoint equation.
        krylov: How linear systems are solved; as in the forward run by default.
        nonconvergence: As for `integrate`.

    Raises:
        ConvergenceError: A solve did not converge and `nonconvergence` is "raise".
        InvalidInputError: The cotangent's shape is not that of z0, `by` is unknown, or the method is none of these: it
            chooses steps of its own, or needs a field in two parts, which the adjoint equation is not.

    Example:
        >>> from xbar_spice.solve.fields.field import ReluField
        >>> from xbar_spice.solve.integrators.integration import integrate
        >>> decay = integrate(ReluField([[1.0], [-1.0]], [[-1.0, 1.0]]), [8.0], h=1.0, steps=3)
        >>> continuous_gradients(decay, [1.0], "trapezoid").z0  # 1 / 3^3; the exact one is 1 / 2^3
        array([0.037])
    """
    scheme = trajectory.scheme if method is None else METHODS.get(method)
    name = method_text(trajectory.method if method is None else method)
    if not isinstance(scheme, LinearMultistep | RungeKutta):
        allowed = ", ".join(known for known in METHODS if isinstance(METHODS.get(known), LinearMultistep | RungeKutta))
        raise InvalidInputError(f"the adjoint equation is solved on the grid, by one of {allowed}; got {name}")
    if isinstance(scheme, LinearMultistep) and not scheme.uneven and len({run.grid.h for run in trajectory.runs}) > 1:
        raise InvalidInputError(f"the run has unequal steps, which {name} cannot look back over; take one of Adams'")
    check_nonconvergence(nonconvergence)
    lost = lost_samples(trajectory)
    multiplier = np.where(lost, 0.0, checked_cotangent(cotangent, trajectory.z.shape[1:]))
    axes = split_axes(by, batched=trajectory.batched)
    solver = get_linear_solver(krylov, trajectory.options.krylov)
    past: list[_Start] = []
    totals: dict[int, Contributions] = {}
    reports: list[SolveReport] = []
    for run in reversed(trajectory.runs):  # several of one layer where its grid was cut
        layer = run.grid.layer
        total = totals.setdefault(layer, Contributions(axes, multiplier.shape[1]))
        total.cover(run.grid.numbers)
        report = SolveReport.blank(run.grid.steps, multiplier.shape[1])
        with np.errstate(over="ignore", invalid="ignore"):  # what diverges is reported below
            if isinstance(scheme, RungeKutta):
                multiplier = _solve_runge_kutta(scheme, run, multiplier, total)
            else:
                multiplier = _solve_multistep(scheme, run, multiplier, solver, total, report, past)
        reports.insert(0, report)
    ties = {run.grid.layer: run.field.tie for run in trajectory.runs}
    report = SolveReport.joined(reports)
    spent = sum(total.evaluations for total in totals.values()) + report.krylov_iterations.sum(axis=0)
    adjoint = AdjointRun(multiplier, report, evaluations=spent)
    give_up(adjoint, lost)
    handle_nonconvergence(f"the adjoint equation by {name}", adjoint.report, nonconvergence, ADJOINT_HINT)
    return as_gradients(adjoint, by_layer(totals, ties), trajectory.batched)


@final
@dataclass(frozen=True)
class _Start:
    """Where a step of the adjoint equation began: its length, field and lam there, and the sums of the layer."""

    h: float
    field: Field
    at: Evaluation
    lam: FloatArray
    total: Contributions


def _solve_multistep(
    scheme: LinearMultistep,
    run: ForwardRun,
    end: FloatArray,
    krylov: LinearSolver,
    total: Contributions,
    report: SolveReport,
    past: list[_Start],
) -> FloatArray:
    """Lam at the first point of a run; what it adds to the parameters' gradients goes to `total`.

    `past` are the starts of the steps before, those of later layers among them, the last one first; it is kept up.
    """
    field, h, steps = run.field, run.grid.h, run.grid.steps
    with stage(phase="adjoint"):
        at = [field.evaluate_finite(z) for z in run.z[::-1]]  # at tau = 0, h, 2h ...
    after = end
    for i in range(steps):
        step = run.grid.start + steps - 1 - i
        past.insert(0, _Start(h, field, at[i], after, total))
        coefficients = scheme.coefficients(len(past) - 1, [start.h for start in past])
        with stage(phase="adjoint", step=step):
            for j, start in enumerate(past[: len(coefficients) - 1], 1):
                weight = h * coefficients[j]
                if weight != 0.0:
                    after = after + start.total.pull(start.field, start.at, {step: weight * start.lam})
            del past[max(scheme.width - 2, 0) :]
            c = h * coefficients[0]
            if c != 0.0:
                solution = solve_adjoint(field, at[i + 1], c, after, krylov)
                after = solution.x
                hidden = field.pull_hidden(at[i + 1], c * after)
                total.add(field, at[i + 1], c * after, hidden, step=step)
                row = steps - 1 - i
                report.converged[row], report.residuals[row] = solution.converged, solution.residual
                report.krylov_iterations[row] = solution.iterations
    return np.asarray(after, dtype=float)


def _solve_runge_kutta(scheme: RungeKutta, run: ForwardRun, end: FloatArray, total: Contributions) -> FloatArray:
    """The same by an explicit method with stages between the points of the run."""
    field, h, tableau = run.field, run.grid.h, scheme.tableau
    multiplier = end
    with stage(phase="adjoint"):
        later = field.evaluate_finite(run.z[-1])
    for k in range(run.grid.steps - 1, -1, -1):
        step = run.grid.start + k
        with stage(phase="adjoint", step=step):
            earlier = field.evaluate_finite(run.z[k])
            between = {1.0: later, 0.0: earlier}  # f by the part of the step that lies before it
            pulled: list[FloatArray] = []
            for row, b in zip(tableau.a, tableau.b, strict=True):
                part = 1.0 - sum(row)
                if part not in between:
                    between[part] = _interpolated(field, earlier, later, part, h)
                # What an earlier stage pulled is h b_j J^T of its multiplier.
                terms = [a / weight * p for a, weight, p in zip(row, tableau.b, pulled, strict=False) if a]
                at_stage = multiplier + sum(terms)
                pulled.append(total.pull(field, between[part], {step: h * b * at_stage}))
            multiplier = multiplier + sum(pulled)
            later = earlier
    return multiplier


def _interpolated(field: Field, start: Evaluation, end: Evaluation, part: float, h: float) -> Evaluation:
    """The field at a part of a step, where Hermite's cubic through z and f at both ends is."""
    left = 1.0 - part
    z = left**2 * ((1.0 + 2.0 * part) * start.z + part * h * start.value)
    z = z + part**2 * ((1.0 + 2.0 * left) * end.z - left * h * end.value)
    return field.evaluate_finite(z)
