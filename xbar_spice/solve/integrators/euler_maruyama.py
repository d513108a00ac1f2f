"""Euler-Maruyama for dz = f(z) dt + sigma dW, with the exact adjoint of the path that was drawn.

    z_{k+1} = z_k + h f(z_k) + sigma sqrt(h) xi_k

The noise is no function of z, so that the adjoint is that of forward Euler at the stored evaluations. Noise of reads is
another matter: eta in f from read to read makes h eta of a step, which is sigma = eta sqrt(h) and vanishes with h; it
comes from the arrays by themselves, with forward Euler. `f_covariance` says how large it is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

import numpy as np
from numpy.typing import ArrayLike

from xbar_spice.checks import ANYTHING, DEVIATION, SEED, Array, Real, checked, given, settle
from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.operator import FloatArray
from xbar_spice.read_context import stage
from xbar_spice.solve.fields.contributions import Contributions
from xbar_spice.solve.fields.evaluation import Evaluation, Parameters
from xbar_spice.solve.fields.field import ActivationField, Field
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
from xbar_spice.solve.integrators.runge_kutta import RungeKutta, Tableau
from xbar_spice.solve.linear_solvers.solver import LinearSolver
from xbar_spice.streams import random_stream

__all__ = ["EulerMaruyama", "f_covariance"]

_DRIFT = RungeKutta(Tableau(((),), (1.0,)))  # forward Euler, whose runs hold the same evaluations


@final
@dataclass(frozen=True, eq=False)
class EulerMaruyama(Method):
    """z' = z + h f(z) + sigma sqrt(h) xi, with normal numbers xi of the step and the seed.

    Attributes:
        sigma: Of the diffusion, for every entry of the state; without it the method is forward Euler.
        seed: Of the paths; the same one gives the same path, whatever the run is cut into.
        xi: (steps, n) or (steps, n, batch) normal numbers in place of those of the seed.

    Raises:
        InvalidInputError: A value is out of range.
    """

    hint = "the step may be unstable: try a smaller h"

    sigma: float = 0.0
    seed: int = 0
    xi: ArrayLike | None = None

    def __post_init__(self) -> None:
        settle(self, sigma=Real(least=0), seed=SEED, xi=ANYTHING)
        if self.xi is not None:
            drawn = Array()("xi", self.xi)
            if drawn.ndim not in (2, 3) or not drawn.size:
                raise InvalidInputError(f"xi must have shape (steps, n) or (steps, n, batch), got {given(drawn)}")
            object.__setattr__(self, "xi", drawn.tolist())  # two methods are compared, which arrays are not

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
        size = self.sigma * np.sqrt(abs(grid.h))
        for k, step in enumerate(grid.numbers):
            with stage(phase="forward", step=step):
                evaluations.append((field.evaluate_finite(z[k]),))
            z[k + 1] = z[k] + grid.h * evaluations[k][0].value + size * self._drawn(step, z0)
        z.setflags(write=False)
        return ForwardRun(field, grid, z, (*evaluations, ()), SolveReport.explicit(z, 1))

    def _drawn(self, step: int, z: FloatArray) -> FloatArray:
        if self.sigma == 0.0:
            return np.zeros_like(z)
        if self.xi is None:
            return random_stream(self.seed, "diffusion", f"step {step}").standard_normal(z.shape)
        drawn = np.asarray(self.xi, dtype=float)
        if step >= len(drawn) or drawn.shape[1:] not in (z.shape, z.shape[:1]):
            raise InvalidInputError(
                f"xi must have shape (steps, {len(z)}) or (steps, {len(z)}, {z.shape[1]}) for every step, got "
                f"{drawn.shape} in step {step}"
            )
        return np.asarray(drawn[step] if drawn.ndim == z.ndim + 1 else drawn[step][:, np.newaxis])

    def adjoint(
        self,
        run: ForwardRun,
        cotangent: FloatArray,
        krylov: LinearSolver,
        total: Contributions,
        carry: Carry = (),
    ) -> AdjointRun:
        # The length of a step also stands before the noise, and so has no derivative that f alone tells.
        return replace(_DRIFT.adjoint(run, cotangent, krylov, total), lengths=None)

    def tangent(
        self,
        run: ForwardRun,
        change: FloatArray,
        direction: Parameters,
        krylov: LinearSolver,
        carry: Carry = (),
    ) -> TangentRun:
        return _DRIFT.tangent(run, change, direction, krylov)


@checked(z=ANYTHING, eps=DEVIATION)
def f_covariance(field: Field, z: ArrayLike, eps: float) -> FloatArray:
    """The covariance of f(z) = B sig(A z + b) from read to read, to first order, if cells fluctuate one by one.

    With relative deviations eps of all entries of A and B, anew in every read, D = diag(sig') and r = sig(A z + b),

        Cov f = eps^2 (B D diag(A^2 z^2) D B^T + diag(B^2 r^2)),   squares entry by entry.

    A step of forward Euler with such reads is one of Euler-Maruyama with b b^T = h Cov f.

    Args:
        field: f; on arrays its matrices are read by unit vectors.
        z: (n,).
        eps: Standard deviation of an entry, relative to it.

    Returns:
        (n, n).

    Raises:
        InvalidInputError: The field is of another form, or z does not fit it.
    """
    state = Array()("z", z)
    if not isinstance(field, ActivationField) or field.bias is True:
        raise InvalidInputError(
            "the covariance of reads is known for fields B sig(A z + b) whose bias is digital, such as ReluField or "
            f"ActivationField, got {type(field).__name__}"
        )
    if state.shape != (field.states,):
        raise InvalidInputError(f"z must have shape ({field.states},), got {state.shape}")
    A, B = field.A.to_dense(), field.B.to_dense()
    at = field.evaluate(state[:, np.newaxis])
    through = B * np.asarray(at.slope, dtype=float)[:, 0]
    inside = (through * (A**2 @ state**2)) @ through.T
    return np.asarray(eps * eps * (inside + np.diag(B**2 @ at.hidden[:, 0] ** 2)))
