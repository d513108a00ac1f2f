"""The linear systems of implicit steps, (I - c J) x = r and (I - c J^T) x = r, with J read from arrays.

A solver that has something that nearly solves them, such as a digital twin or a circuit, lets that do the work; the
arrays' reads then only measure what is left.
"""

from __future__ import annotations

import numpy as np

from xbar_spice.linear.operator import FloatArray
from xbar_spice.solve.fields.evaluation import Evaluation, IndexArray
from xbar_spice.solve.fields.field import Field
from xbar_spice.solve.linear_solvers.krylov import KrylovResult, solve_linear
from xbar_spice.solve.linear_solvers.solver import LinearSolver

__all__ = ["solve_adjoint", "solve_tangent"]


def solve_tangent(
    field: Field,
    at: Evaluation,
    c: float,
    rhs: FloatArray,
    krylov: LinearSolver,
    *,
    rtol: FloatArray | None = None,
    refine: bool = True,
    watch: bool = False,
) -> KrylovResult:
    """(I - c J) x = rhs; without `refine` by the `inverse` of the solver alone, at no product, if it has one."""
    inverse = krylov.inverse(field, at, c, transposed=False)
    if inverse is not None and not refine:
        batch = rhs.shape[1]
        x = inverse(rhs, np.arange(batch))
        return KrylovResult(x, np.zeros(batch, dtype=np.int64), np.ones(batch), np.zeros(batch, dtype=bool))

    def product(x: FloatArray, samples: IndexArray) -> FloatArray:
        return x - c * field.jvp(at.columns(samples), x)

    return solve_linear(product, rhs, krylov, rtol=rtol, refine=refine, inverse=inverse, watch=watch)


def solve_adjoint(
    field: Field, at: Evaluation, c: float, rhs: FloatArray, krylov: LinearSolver, start: FloatArray | None = None
) -> KrylovResult:
    """(I - c J^T) x = rhs, with the products read from the transposed side of the arrays."""

    def product(x: FloatArray, samples: IndexArray) -> FloatArray:
        return x - c * field.vjp(at.columns(samples), x)

    inverse = krylov.inverse(field, at, c, transposed=True)
    return solve_linear(product, rhs, krylov, start=start, inverse=inverse)
