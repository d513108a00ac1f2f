"""The chord iteration: a digital twin of the field solves, and the arrays' reads only measure what is left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.operator import FloatArray
from xbar_spice.solve.fields.evaluation import Evaluation, IndexArray
from xbar_spice.solve.fields.field import Field
from xbar_spice.solve.linear_solvers.cycle import Product
from xbar_spice.solve.linear_solvers.gmres import Gmres
from xbar_spice.solve.linear_solvers.richardson import DampedCorrections

__all__ = ["Chord", "dense_jacobian"]


@final
@dataclass(frozen=True)
class Chord(DampedCorrections):
    """The chord iteration: the fewest reads, if the digital twin `field.twin` is good.

    The twin's Jacobian is taken at the slopes that the arrays' evaluation stored. The solution is that of the arrays;
    an error of the twin costs iterations, no accuracy.
    """

    def inverse(self, field: Field, at: Evaluation, c: float, *, transposed: bool) -> Product:
        """X to (I - c J)^{-1} x of the digital twin; the inverse is made once for all iterations."""
        if field.twin is None:
            raise InvalidInputError(
                "the linear solver chord needs a digital twin of the field: set field.twin to a field of the target "
                "weights, or choose gmres"
            )
        jacobian = dense_jacobian(field.twin, at)
        inverse = _inverses(np.eye(jacobian.shape[1]) - c * (jacobian.mT if transposed else jacobian))

        def apply(x: FloatArray, samples: IndexArray) -> FloatArray:
            return np.asarray(np.einsum("aij,ja->ia", inverse[samples], x), dtype=float)

        return apply

    @contextmanager
    def prepared(self, field: Field, digital: Field, engine: Any, report: dict[str, Any]) -> Iterator[None]:
        """The digital field is the twin."""
        field.twin = digital
        yield

    def without_circuit(self) -> Gmres:
        return Gmres(self.rtol, self.max_iterations, self.warm_start)


def dense_jacobian(field: Field, evaluation: Evaluation) -> FloatArray:
    """J(z) of each sample, (batch, n, n), measured with one batch of n unit vectors for each."""
    n, batch = evaluation.z.shape
    repeated = evaluation.columns(np.repeat(np.arange(batch), n))
    columns = field.jvp(repeated, np.tile(np.eye(n), batch))
    return columns.reshape(n, batch, n).transpose(1, 0, 2)


def _inverses(matrices: FloatArray) -> FloatArray:
    """Inverse of each matrix, (batch, n, n); NaN, which no solve takes for an answer, where there is none."""
    try:
        return np.asarray(np.linalg.inv(matrices), dtype=float)
    except np.linalg.LinAlgError:  # says that one of them is singular, not which
        if len(matrices) == 1:
            return np.full_like(matrices, np.nan)
        return np.concatenate([_inverses(matrix[np.newaxis]) for matrix in matrices])
