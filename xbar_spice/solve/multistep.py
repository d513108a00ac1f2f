"""Linear multistep methods, forward and implicit Euler among them, and their exact discrete adjoints.

Step k leads from z_k to z_{k+1} with its own coefficients b^{(k)}, which lets a method of several steps start itself:

    z_{k+1} = z_k + h sum_j b^{(k)}_j f(z_{k+1-j}),   j = 0 ... len(b) - 1

With mu_k the multiplier of the step that leads to z_k (0 beyond the last one), Theta' = dL/dz_N and J_k = J(z_k),
differentiating these equations gives for k = N ... 0

    w_k = h sum_{j>=1} b^{(k-1+j)}_j mu_{k+j}                   what later steps hand back to f(z_k)
    rhs_k = (Theta' if k = N else mu_{k+1}) + J_k^T w_k
    (I - h b^{(k-1)}_0 J_k^T) mu_k = rhs_k                      for k >= 1;  dL/dz_0 = rhs_0
    parameters: those of the vjp at z_k with w_k + h b^{(k-1)}_0 mu_k

For implicit Euler, b = (1), this is lam_k = (I - h J_k^T)^{-1} lam_{k+1}, one transposed solve at the *new* point.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import numpy as np

from xbar_spice.linear import FloatArray
from xbar_spice.solve.field import Evaluation, Field, IndexArray
from xbar_spice.solve.krylov import KrylovOptions, KrylovResult, gmres
from xbar_spice.solve.method import AdjointRun, ForwardRun, Method, SolveReport
from xbar_spice.solve.newton import NewtonOptions, solve_implicit
from xbar_spice.stage import stage

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

    def run(
        self, field: Field, z0: FloatArray, h: float, steps: int, newton: NewtonOptions, krylov: KrylovOptions
    ) -> ForwardRun:
        z = np.empty((steps + 1, *z0.shape))
        z[0] = z0
        known: dict[int, Evaluation] = {}
        report = SolveReport.blank(steps, z0.shape[1])
        for k in range(steps):
            with stage(step=k):
                base = z[k] + h * self._explicit_part(field, z, known, k)
                c = h * self.coefficient(k, 0)
                if c == 0.0:
                    z[k + 1] = base
                    report.converged[k] = np.isfinite(base).all(axis=0)
                    continue
                # f(z_k) is mostly known from the step before, then the residual at the start guess costs no read.
                result = solve_implicit(field, base, c, known.get(k, z[k]), newton, krylov)
            z[k + 1], known[k + 1] = result.evaluation.z, result.evaluation
            report.converged[k], report.residuals[k] = result.converged, result.residual
            report.newton_iterations[k], report.krylov_iterations[k] = result.iterations, result.krylov_iterations
        z.setflags(write=False)
        evaluations = tuple((known[k],) if k in known else () for k in range(steps + 1))
        return ForwardRun(field, h, z, evaluations, report)

    def _explicit_part(
        self, field: Field, z: FloatArray, known: dict[int, Evaluation], step: int
    ) -> FloatArray | float:
        """The sum over j >= 1 of b_j f(z_{step+1-j}); what has not been evaluated yet is evaluated now."""
        total: FloatArray | float = 0.0
        for j in range(1, self._width):
            point, b = step + 1 - j, self.coefficient(step, j)
            if b == 0.0:
                continue
            if point not in known:
                with stage(phase="forward"):
                    known[point] = field.evaluate_finite(z[point])
            total = total + b * known[point].value
        return total

    def adjoint(self, run: ForwardRun, cotangent: FloatArray, krylov: KrylovOptions) -> AdjointRun:
        field, steps = run.field, len(run.z) - 1
        report = SolveReport.blank(steps, cotangent.shape[1])
        parameters: dict[str, FloatArray] = {}
        mu: dict[int, FloatArray] = {}
        multiplier = cotangent
        for k in range(steps, -1, -1):
            w = self._handed_back(mu, run.h, k)
            if w is not None:
                (point,) = run.evaluations[k]
                with stage(phase="adjoint", step=k):
                    hidden = field.pull_hidden(point, w)
                    multiplier = multiplier + field.pull_state(point, hidden)
                _add(parameters, field.parameter_gradients(point, w, hidden))
            c = run.h * self.coefficient(k - 1, 0)
            if c != 0.0:
                (point,) = run.evaluations[k]
                with stage(phase="adjoint", step=k - 1):
                    solution = _solve_transposed(field, point, c, multiplier, krylov)
                    multiplier = solution.x
                    # J^T c mu = mu - rhs is known already: only the hidden half is read.
                    hidden = field.pull_hidden(point, c * multiplier)
                _add(parameters, field.parameter_gradients(point, c * multiplier, hidden))
                report.converged[k - 1], report.residuals[k - 1] = solution.converged, solution.residual
                report.krylov_iterations[k - 1] = solution.iterations
            mu[k] = multiplier
        return AdjointRun(multiplier, parameters, report)

    def _handed_back(self, mu: Mapping[int, FloatArray], h: float, point: int) -> FloatArray | None:
        """w_k, or None where no later step uses f(z_k)."""
        total: FloatArray | None = None
        for j in range(1, self._width):
            b = self.coefficient(point - 1 + j, j)
            if b != 0.0 and point + j in mu:
                term = h * b * mu[point + j]
                total = term if total is None else total + term
        return total

    @property
    def _width(self) -> int:
        return max(len(row) for row in self.rows)


def _solve_transposed(
    field: Field, point: Evaluation, c: float, rhs: FloatArray, krylov: KrylovOptions
) -> KrylovResult:
    """(I - c J^T) mu = rhs, with the products read from the transposed side of the arrays."""

    def product(x: FloatArray, samples: IndexArray) -> FloatArray:
        return x - c * field.vjp(point.columns(samples), x)

    return gmres(product, rhs, krylov)


def _add(total: dict[str, FloatArray], gradients: Mapping[str, FloatArray]) -> None:
    for name, gradient in gradients.items():
        total[name] = total[name] + gradient if name in total else gradient


FORWARD_EULER = LinearMultistep(((0.0, 1.0),))
IMPLICIT_EULER = LinearMultistep(((1.0,),))
TRAPEZOID = LinearMultistep(((1 / 2, 1 / 2),))
AM3 = LinearMultistep(((1 / 2, 1 / 2), (5 / 12, 8 / 12, -1 / 12)))  # Adams-Moulton, started by the trapezoid
AB3 = LinearMultistep(((0.0, 1.0), (0.0, 3 / 2, -1 / 2), (0.0, 23 / 12, -16 / 12, 5 / 12)))  # Adams-Bashforth
