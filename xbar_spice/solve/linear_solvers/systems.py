"""The linear systems of implicit steps, (I - c J) x = r and (I - c J^T) x = r, with J read from arrays.

With the method "chord" a digital twin of the field solves them, its Jacobian taken at the slopes that the arrays'
evaluation stored, with "feedback" a circuit does; the arrays' reads only measure what is left.
"""

from __future__ import annotations

import numpy as np

from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.operator import FloatArray
from xbar_spice.solve.fields.evaluation import Evaluation, IndexArray
from xbar_spice.solve.fields.field import Field
from xbar_spice.solve.linear_solvers.cycle import Product
from xbar_spice.solve.linear_solvers.krylov import KrylovOptions, KrylovResult, solve_linear

__all__ = ["dense_jacobian", "solve_adjoint", "solve_tangent"]


def dense_jacobian(field: Field, evaluation: Evaluation) -> FloatArray:
    """J(z) of each sample, (batch, n, n), measured with one batch of n unit vectors for each."""
    n, batch = evaluation.z.shape
    repeated = evaluation.columns(np.repeat(np.arange(batch), n))
    columns = field.jvp(repeated, np.tile(np.eye(n), batch))
    return columns.reshape(n, batch, n).transpose(1, 0, 2)


def solve_tangent(
    field: Field,
    at: Evaluation,
    c: float,
    rhs: FloatArray,
    krylov: KrylovOptions,
    *,
    rtol: FloatArray | None = None,
    refine: bool = True,
    watch: bool = False,
) -> KrylovResult:
    """(I - c J) x = rhs; with "chord" or "feedback" and without `refine` by twin or circuit alone, at no product."""
    inverse = _inverse(field, at, c, krylov, transposed=False)
    if inverse is not None and not refine:
        batch = rhs.shape[1]
        x = inverse(rhs, np.arange(batch))
        return KrylovResult(x, np.zeros(batch, dtype=np.int64), np.ones(batch), np.zeros(batch, dtype=bool))

    def product(x: FloatArray, samples: IndexArray) -> FloatArray:
        return x - c * field.jvp(at.columns(samples), x)

    return solve_linear(product, rhs, krylov, rtol=rtol, refine=refine, inverse=inverse, watch=watch)


def solve_adjoint(
    field: Field, at: Evaluation, c: float, rhs: FloatArray, krylov: KrylovOptions, start: FloatArray | None = None
) -> KrylovResult:
    """(I - c J^T) x = rhs, with the products read from the transposed side of the arrays."""

    def product(x: FloatArray, samples: IndexArray) -> FloatArray:
        return x - c * field.vjp(at.columns(samples), x)

    inverse = _inverse(field, at, c, krylov, transposed=True)
    return solve_linear(product, rhs, krylov, start=start, inverse=inverse)


def _inverse(field: Field, at: Evaluation, c: float, krylov: KrylovOptions, *, transposed: bool) -> Product | None:
    """X to about (I - c J)^{-1} x, for the methods that have such a thing."""
    match krylov.method:
        case "chord":
            return _twin_inverse(field, at, c, transposed=transposed)
        case "feedback":
            return _circuit_inverse(field, at, c, transposed=transposed)
        case _:
            return None


def _circuit_inverse(field: Field, at: Evaluation, c: float, *, transposed: bool) -> Product:
    """X to what the circuit makes of it."""
    circuit = field.circuit
    if circuit is None:
        raise InvalidInputError(
            "the linear solver feedback needs the circuit that solves: set field.circuit to the FeedbackLoop of A and "
            "B, or choose gmres"
        )

    def apply(x: FloatArray, samples: IndexArray) -> FloatArray:
        return circuit.solve(at.slope[:, samples], c, x, transposed=transposed)

    return apply


def _twin_inverse(field: Field, at: Evaluation, c: float, *, transposed: bool) -> Product:
    """X to (I - c J)^{-1} x of the digital twin; the inverse is made once for all iterations."""
    if field.twin is None:
        raise InvalidInputError(
            "the linear solver chord needs a digital twin of the field: set field.twin to a field of the programmed "
            "weights, or choose gmres"
        )
    jacobian = dense_jacobian(field.twin, at)
    inverse = _inverses(np.eye(jacobian.shape[1]) - c * (jacobian.mT if transposed else jacobian))

    def apply(x: FloatArray, samples: IndexArray) -> FloatArray:
        return np.asarray(np.einsum("aij,ja->ia", inverse[samples], x), dtype=float)

    return apply


def _inverses(matrices: FloatArray) -> FloatArray:
    """Inverse of each matrix, (batch, n, n); NaN, which no solve takes for an answer, where there is none."""
    try:
        return np.asarray(np.linalg.inv(matrices), dtype=float)
    except np.linalg.LinAlgError:  # says that one of them is singular, not which
        if len(matrices) == 1:
            return np.full_like(matrices, np.nan)
        return np.concatenate([_inverses(matrix[np.newaxis]) for matrix in matrices])
