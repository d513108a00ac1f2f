"""Linear multistep methods, forward and implicit Euler among them, and their exact discrete adjoints.

Step k leads from z_k to z_{k+1} with its own coefficients b^{(k)}, which lets a method of several steps start itself:

    z_{k+1} = z_k + h sum_j b^{(k)}_j f(z_{k+1-j}),   j = 0 ... len(b) - 1

With mu_k the multiplier of the step that leads to z_k (0 beyond the last one), Theta' = dL/dz_N and J_k = J(z_k),
differentiating these equations gives for k = N ... 0

    w_k = h sum_{j>=1} b^{(k-1+j)}_j mu_{k+j}                   what later steps hand back to f(z_k)
    rhs_k = (Theta' if k = N else mu_{k+1}) + J_k^T w_k
    (I - h b^{(k-1)}_0 J_k^T) mu_k = rhs_k                      for k >= 1;  dL/dz_0 = rhs_0
    parameters: those of the vjp at z_k with w_k + h b^{(k-1)}_0 mu_k

A run may be cut at any point: the part behind the cut starts from the values f(z_{-1}), f(z_{-2}) ... before it, as
many as the method looks back, and its adjoint hands mu_1, mu_2 ... back to the part before it, which needs them for w.
Where the weights change at a cut, f(z_k) has those of the step that begins at z_k, and keeps them for later steps; the
implicit term of a step has those of that step. So f at a cut belongs to the part behind it.

For implicit Euler, b = (1), this is lam_k = (I - h J_k^T)^{-1} lam_{k+1}, one transposed solve at the *new* point.

Where steps differ in length, a method of Adams' goes on exactly: its step integrates the polynomial through the values
of f that its row uses, at the times at which they are, which also says how the weights depend on each of the lengths:

    h_k b^{(k)}_j = integral of l_j(t) over the step
    dL/dh_i = sum_k mu_{k+1} . sum_j d(h_k b^{(k)}_j)/dh_i f(z_{k+1-j})
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import final

import numpy as np
from numpy.typing import ArrayLike

from xbar_spice.linear.operator import FloatArray
from xbar_spice.read_context import stage
from xbar_spice.solve.fields.contributions import Contributions
from xbar_spice.solve.fields.evaluation import BoolArray, Evaluation, Parameters
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
from xbar_spice.solve.linear_solvers.systems import solve_adjoint, solve_tangent
from xbar_spice.solve.newton.newton import solve_implicit

_GROWTH = 1.01  # of a damped part in one step, from which a method counts as unstable
_VERY_STIFF = 1e6  # h |lambda| that only methods without a limit do not amplify
_EXACT = 1e-12  # to which coefficients are those of a method of Adams
_TINY = 1e-100  # imaginary step of a derivative, relative to a length

__all__ = ["AB3", "AM3", "FORWARD_EULER", "IMPLICIT_EULER", "TRAPEZOID", "LinearMultistep"]


@final
@dataclass(frozen=True)
class LinearMultistep(Method):
    """A linear multistep method.

    Attributes:
        rows: Coefficients b^{(k)} of step k, the first for the new point; the last row serves all later steps.
    """

    rows: tuple[tuple[float, ...], ...]

    def coefficient(self, step: int, j: int) -> float:
        """b^{(step)}_j, zero beyond the row and before the first step."""
        if step < 0:
            return 0.0
        row = self.rows[min(step, len(self.rows) - 1)]
        return row[j] if j < len(row) else 0.0

    def coefficients(self, number: int, lengths: Sequence[float]) -> tuple[float, ...]:
        """b^{(number)}_j by j, for lengths of this step and of those before it, the last one first."""
        if len(set(lengths)) == 1:
            return tuple(self.coefficient(number, j) for j in range(self.width))
        row = self.rows[min(number, len(self.rows) - 1)]
        found = _adams(row, np.array(lengths)) / lengths[0]
        return (*found.tolist(), *(0.0,) * (self.width - len(row)))

    def _coefficients(self, grid: Grid, step: int, earlier: int) -> tuple[float, ...]:
        """Those of a step of a grid, `earlier` steps of the start having been done before it."""
        number = earlier + step
        return self.coefficients(number, [grid.length(step - back) for back in range(self._looks_back(number) + 1)])

    def _looks_back(self, number: int) -> int:
        """The number of earlier steps whose lengths a step's coefficients depend on."""
        return max(min(number, self.width - 2), 0)

    @property
    def one_step(self) -> bool:  # type: ignore[override]
        return all(not any(row[2:]) for row in self.rows)

    @property
    def uneven(self) -> bool:
        return self.one_step or _all_of_adams(self.rows)

    @property
    def implicit(self) -> bool:
        """Whether a step is an equation to be solved."""
        return self.rows[0][0] != 0.0

    def amplifies(self, modes: ArrayLike) -> BoolArray:
        """Whether steps make a part of the state grow by more than 1 % that dz/dt = lambda z damps; modes = h lambda.

        Such a part becomes zeta^k, zeta being the largest root of zeta^q - zeta^(q-1) - h lambda sum_j b_j zeta^(q-j).
        """
        modes = np.asarray(modes, dtype=complex)
        degree = max(self.width - 1, 1)
        b = np.zeros(degree + 1)
        b[: len(self.rows[-1])] = self.rows[-1]
        polynomial = np.array([1.0, -1.0, *np.zeros(degree - 1)]) - modes[..., np.newaxis] * b
        companion = np.zeros((*modes.shape, degree, degree), dtype=complex)
        companion[..., 0, :] = -polynomial[..., 1:] / polynomial[..., :1]
        companion[..., 1:, :-1] += np.eye(degree - 1)
        largest = np.abs(np.linalg.eigvals(companion)).max(axis=-1)
        return np.asarray((modes.real <= 0.0) & (largest > _GROWTH))

    @property
    def hint(self) -> str:  # type: ignore[override]
        if not self.implicit:
            return Method.hint
        return (
            "try a smaller h, or more iterations; if the reads are noisy, NewtonOptions(noise=...) as measured_noise "
            "gives it"
        )

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
        at = dict(enumerate(known))
        extrapolated = self.implicit and options.newton.start == "extrapolated"
        before, last = (carry[:-1], carry[-1]) if extrapolated and carry else (carry, None)  # f, and z one point back
        earlier = len(before)  # as many steps of the start are done as there are values from before
        limited = self.implicit and bool(self.amplifies(-_VERY_STIFF))
        report = SolveReport.blank(grid.steps, z0.shape[1], limited=limited)
        for k in range(grid.steps):
            with stage(step=grid.start + k):
                b = self._coefficients(grid, k, earlier)
                base = z[k] + grid.h * self._explicit_part(field, z, at, k, report, before, b)
                c = grid.h * b[0]
                if c == 0.0:
                    z[k + 1] = base
                    report.converged[k] = np.isfinite(base).all(axis=0)
                    continue
                # f(z_k) is mostly known from the step before, then the residual at the start guess costs no read.
                guess = at.get(k, z[k])
                if extrapolated and last is not None:
                    guess = 2.0 * z[k] - last
                watch = limited and earlier + k >= len(self.rows) - 1  # the steps of the start are others
                result = solve_implicit(field, base, c, guess, options.newton, options.krylov, watch=watch)
            last = z[k]
            z[k + 1], at[k + 1] = result.evaluation.z, result.evaluation
            report.converged[k], report.residuals[k] = result.converged, result.residual
            report.newton_iterations[k], report.krylov_iterations[k] = result.iterations, result.krylov_iterations
            report.evaluations[k] += result.evaluations
            if watch:
                modes = result.stiffest * (grid.h / c)
                report.unstable[k] = np.where(self.amplifies(modes), modes, 0.0)
        z.setflags(write=False)
        evaluations = tuple((at[k],) if k in at else () for k in range(grid.steps + 1))
        behind = (*(at[k].value for k in range(grid.steps - 1, -1, -1) if k in at), *before)
        behind = behind[: max(self.width - 2, 0)]
        if extrapolated and last is not None:
            behind = (*behind, last.copy())
        return ForwardRun(field, grid, z, evaluations, report, (), before, behind)

    def _explicit_part(
        self,
        field: Field,
        z: FloatArray,
        known: dict[int, Evaluation],
        step: int,
        report: SolveReport,
        before: Carry,
        coefficients: tuple[float, ...],
    ) -> FloatArray | float:
        """The sum over j >= 1 of b_j f(z_{step+1-j}); what has not been evaluated yet is evaluated now."""
        total: FloatArray | float = 0.0
        for j, b in enumerate(coefficients[1:], 1):
            point = step + 1 - j
            if b == 0.0:
                continue
            if point < 0:
                total = total + b * before[-point - 1]
                continue
            if point not in known:
                with stage(phase="forward"):
                    known[point] = field.evaluate_finite(z[point])
                report.evaluations[step] += 1
            total = total + b * known[point].value
        return total

    def adjoint(
        self,
        run: ForwardRun,
        cotangent: FloatArray,
        krylov: LinearSolver,
        total: Contributions,
        carry: Carry = (),
    ) -> AdjointRun:
        field, grid = run.field, run.grid
        report = SolveReport.blank(grid.steps, cotangent.shape[1])
        earlier, warm = len(run.before), self.implicit and krylov.warm_start
        ahead, gain = (carry[:-1], carry[-1]) if warm and carry else (carry, np.zeros_like(cotangent))
        mu = {grid.steps + 1 + i: multiplier for i, multiplier in enumerate(ahead)}
        lengths = np.zeros((earlier + grid.steps, cotangent.shape[1]))
        multiplier = cotangent
        for k in range(grid.steps, -1, -1):
            # At the last point f belongs to the run that goes on from there.
            w = self._handed_back(mu, grid, k, earlier) if k < grid.steps else {}
            if w:
                with stage(phase="adjoint", step=grid.start + k):
                    multiplier = multiplier + total.pull(field, run.evaluations[k][0], w)
            c = grid.h * self._coefficients(grid, k - 1, earlier)[0] if k else 0.0
            if c != 0.0:
                (point,) = run.evaluations[k]
                rhs = multiplier
                with stage(phase="adjoint", step=grid.start + k - 1):
                    # What the solve added to its right-hand side one step later is a good guess of what it adds here.
                    solution = solve_adjoint(field, point, c, rhs, krylov, rhs + gain if krylov.warm_start else None)
                    multiplier = solution.x
                    # J^T c mu = mu - rhs is known already: only the hidden half is read.
                    hidden = field.pull_hidden(point, c * multiplier)
                gain = multiplier - rhs
                total.add(field, point, c * multiplier, hidden, step=grid.start + k - 1)
                report.converged[k - 1], report.residuals[k - 1] = solution.converged, solution.residual
                report.krylov_iterations[k - 1] = solution.iterations
            mu[k] = multiplier
            if k:
                self._add_lengths(lengths, run, k - 1, multiplier)
        behind = tuple(mu[k] for k in range(1, self.width - 1) if k in mu)
        return AdjointRun(multiplier, report, (*behind, gain) if warm else behind, lengths)

    def _add_lengths(self, lengths: FloatArray, run: ForwardRun, k: int, multiplier: FloatArray) -> None:
        """Add what step k makes of its length and of those before it, which are the first rows."""
        grid, earlier = run.grid, len(run.before)
        row = self.rows[min(earlier + k, len(self.rows) - 1)]
        if self.one_step or not self.uneven:  # the step is h times a sum that h does not change
            lengths[earlier + k] += (multiplier * (run.z[k + 1] - run.z[k])).sum(axis=0) / grid.h
            return
        slopes = _adams_slopes(row, np.array([grid.length(k - back) for back in range(max(len(row) - 1, 1))]))
        for j, b in enumerate(row):
            if b == 0.0:
                continue
            point = k + 1 - j
            f = run.before[-point - 1] if point < 0 else run.evaluations[point][0].value
            moved = (multiplier * f).sum(axis=0)
            for back, slope in enumerate(slopes[:, j]):
                if slope:
                    lengths[earlier + k - back] += slope * moved

    def tangent(
        self,
        run: ForwardRun,
        change: FloatArray,
        direction: Parameters,
        krylov: LinearSolver,
        carry: Carry = (),
    ) -> TangentRun:
        field, grid, earlier = run.field, run.grid, len(run.before)
        report = SolveReport.blank(grid.steps, change.shape[1])
        slopes = {-1 - i: slope for i, slope in enumerate(carry)}  # changes of f(z_k)
        changes = [change]
        for k in range(grid.steps):
            base = changes[k]
            coefficients = self._coefficients(grid, k, earlier)
            for j, b in enumerate(coefficients[1:], 1):
                point = k + 1 - j
                if b == 0.0:
                    continue
                if point not in slopes:
                    slopes[point] = field.push(run.evaluations[point][0], changes[point], direction)
                base = base + grid.h * b * slopes[point]
            c = grid.h * coefficients[0]
            if c != 0.0:
                (point_after,) = run.evaluations[k + 1]
                base = base + c * field.parameter_jvp(point_after, direction)
                solution = solve_tangent(field, point_after, c, base, krylov)
                base = solution.x
                report.converged[k], report.residuals[k] = solution.converged, solution.residual
                report.krylov_iterations[k] = solution.iterations
            changes.append(base)
        behind = (slopes[k] for k in range(grid.steps - 1, grid.steps + 1 - self.width, -1) if k in slopes)
        return TangentRun(changes[-1], report, tuple(behind))

    def _handed_back(self, mu: Mapping[int, FloatArray], grid: Grid, point: int, earlier: int) -> dict[int, FloatArray]:
        """The terms of w_k, by the step that uses f(z_k)."""
        steps = {j: point - 1 + j for j in range(1, self.width)}
        weights = {j: grid.length(k) * self._coefficients(grid, k, earlier)[j] for j, k in steps.items()}
        return {
            grid.start + point - 1 + j: weight * mu[point + j]
            for j, weight in weights.items()
            if weight != 0.0 and point + j in mu
        }

    @property
    def width(self) -> int:
        """Points of which a step uses f, at most."""
        return max(len(row) for row in self.rows)


def _adams(row: tuple[float, ...], lengths: FloatArray) -> FloatArray:
    """The h b_j of the method of Adams with f where a row has it, for lengths of this step and of those before it."""
    times = np.concatenate([lengths[:1], [0.0], -np.cumsum(lengths[1:])])[: len(row)]  # of f, from the step's start on
    used = [j for j, b in enumerate(row) if b != 0.0]
    found = np.zeros(len(row), dtype=lengths.dtype)
    for j in used:
        others = [times[i] for i in used if i != j]
        polynomial = np.ones(1, dtype=lengths.dtype)
        for other in others:
            polynomial = np.convolve(polynomial, np.array([1.0, -other]) / (times[j] - other))
        found[j] = np.polyval(np.append(polynomial / np.arange(len(polynomial), 0, -1), 0.0), lengths[0])
    return found


@cache
def _all_of_adams(rows: tuple[tuple[float, ...], ...]) -> bool:
    """Whether every row is that of a method of Adams."""
    return all(np.allclose(_adams(row, np.ones(max(len(row) - 1, 1))), row, rtol=_EXACT, atol=0.0) for row in rows)


def _adams_slopes(row: tuple[float, ...], lengths: FloatArray) -> FloatArray:
    """(lengths, len(row)) derivatives of `_adams` by each length, by an imaginary step, which rounds nothing off."""
    return np.stack([_adams(row, lengths + 1j * _TINY * one).imag / _TINY for one in np.eye(len(lengths))])


FORWARD_EULER = LinearMultistep(((0.0, 1.0),))
IMPLICIT_EULER = LinearMultistep(((1.0,),))
TRAPEZOID = LinearMultistep(((1 / 2, 1 / 2),))
AM3 = LinearMultistep(((1 / 2, 1 / 2), (5 / 12, 8 / 12, -1 / 12)))  # Adams-Moulton, started by the trapezoid
AB3 = LinearMultistep(((0.0, 1.0), (0.0, 3 / 2, -1 / 2), (0.0, 23 / 12, -16 / 12, 5 / 12)))  # Adams-Bashforth
