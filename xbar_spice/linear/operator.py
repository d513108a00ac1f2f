"""Linear operators: the only thing that solvers see of a matrix, whether digital or read from an array."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse.linalg import LinearOperator as ScipyLinearOperator

from xbar_spice.checks import Array
from xbar_spice.errors import InvalidInputError

__all__ = ["DenseOperator", "FloatArray", "LinearOperator", "TransposedOperator", "as_operator"]

FloatArray = NDArray[np.float64]

VECTORS = Array(finite=False)  # a sample that ran away stays NaN where the operator is digital


class LinearOperator(ABC):
    """A real m x n matrix known by its products.

    The transpose is an operator of its own because on an array it is a read of its own:
    `op.T.mv` drives the other side, and need not be the exact transpose of `op.mv`.
    """

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int]:
        """(m, n)."""

    @abstractmethod
    def _forward(self, x: FloatArray) -> FloatArray:
        """W x for x of shape (n, batch)."""

    @abstractmethod
    def _transposed(self, y: FloatArray) -> FloatArray:
        """W^T y for y of shape (m, batch)."""

    def noisy_twin(self, rng: np.random.Generator | None) -> LinearOperator | None:
        """What shows how noisy products are without making one; None of an operator whose products cost no read.

        Args:
            rng: Draws the noise that products are expected to have; None for products without.
        """
        return None

    def mv(self, x: ArrayLike) -> FloatArray:
        """Product with a vector or with each column of a batch.

        Args:
            x: (n,) or (n, batch).

        Returns:
            (m,) or (m, batch).

        Raises:
            InvalidInputError: x has another length than the operator has columns.
        """
        vectors = VECTORS("x", x)
        if vectors.ndim not in (1, 2) or vectors.shape[0] != self.shape[1]:
            raise InvalidInputError(
                f"an operator of shape {self.shape} multiplies vectors of shape ({self.shape[1]},) "
                f"or ({self.shape[1]}, batch), got {vectors.shape}"
            )
        if vectors.ndim == 1:
            return self._forward(vectors[:, np.newaxis])[:, 0]
        return self._forward(vectors)

    def outer(self, cotangent: FloatArray, x: FloatArray) -> FloatArray:
        """The gradient of sum(cotangent * (W x)) with respect to W, (m, n); of a large convolution, to its kernel."""
        return cotangent @ x.T

    @property
    def keeps_kernel(self) -> bool:
        """Whether gradients are those of a kernel, because the matrix of a large convolution would be nearly empty."""
        return False

    def scaled_mv(self, factor: float, x: FloatArray) -> FloatArray:
        """Factor W x, scaled behind the product."""
        return factor * self.mv(x)

    @property
    def channels(self) -> int | None:
        """Number of channels of a convolution's outputs, which lie one after the other; None of any other operator."""
        return None

    @property
    def channels_in(self) -> int | None:
        """Number of channels of a convolution's inputs; None of any other operator."""
        return None

    @property
    def T(self) -> LinearOperator:  # noqa: N802 - the field's name for a transpose
        """The transposed operator, read in the other direction."""
        return TransposedOperator(self)

    def to_dense(self) -> FloatArray:
        """The (m, n) matrix that `mv` applies, measured with one batch of unit vectors."""
        return self._forward(np.eye(self.shape[1]))

    def as_scipy(self) -> ScipyLinearOperator:
        """The same operator for `scipy.sparse.linalg`."""
        return ScipyLinearOperator(
            shape=self.shape, dtype=float, matvec=self.mv, rmatvec=self.T.mv, matmat=self.mv, rmatmat=self.T.mv
        )


@final
class TransposedOperator(LinearOperator):
    """The view of an operator from its other side."""

    def __init__(self, operator: LinearOperator) -> None:
        self._operator = operator

    @property
    def shape(self) -> tuple[int, int]:
        rows, cols = self._operator.shape
        return cols, rows

    @property
    def channels(self) -> int | None:
        return self._operator.channels_in

    @property
    def channels_in(self) -> int | None:
        return self._operator.channels

    @property
    def keeps_kernel(self) -> bool:
        return self._operator.keeps_kernel

    def outer(self, cotangent: FloatArray, x: FloatArray) -> FloatArray:
        return self._operator.outer(x, cotangent) if self.keeps_kernel else cotangent @ x.T

    def _forward(self, x: FloatArray) -> FloatArray:
        return self._operator._transposed(x)

    def _transposed(self, y: FloatArray) -> FloatArray:
        return self._operator._forward(y)

    @property
    def T(self) -> LinearOperator:  # noqa: N802
        return self._operator


@final
class DenseOperator(LinearOperator):
    """The digital twin: a matrix held in memory."""

    def __init__(self, matrix: ArrayLike, name: str = "a matrix") -> None:
        given = Array()(name, matrix)
        dense = given if _constant(given) else np.array(given)
        if dense.ndim != 2 or not dense.size:
            raise InvalidInputError(f"{name} must have shape (m, n) with m, n >= 1, got shape {dense.shape}")
        dense.setflags(write=False)
        self._matrix: FloatArray = dense

    @property
    def shape(self) -> tuple[int, int]:
        rows, cols = self._matrix.shape
        return rows, cols

    def _forward(self, x: FloatArray) -> FloatArray:
        return self._matrix @ x

    def _transposed(self, y: FloatArray) -> FloatArray:
        return self._matrix.T @ y

    @property
    def matrix(self) -> FloatArray:
        """The matrix itself, which nobody can write to."""
        return self._matrix

    def to_dense(self) -> FloatArray:
        return self._matrix.copy()


def _constant(array: FloatArray) -> bool:
    """Whether nobody can write to an array, nor to the one that it is a view of."""
    owner: object = array.base
    if owner is not None and (not isinstance(owner, np.ndarray) or owner.flags.writeable):
        return False
    return not array.flags.writeable


def as_operator(matrix: ArrayLike | LinearOperator, name: str = "a matrix") -> LinearOperator:
    """An operator as it is; anything array-like as a `DenseOperator`, by this name in errors."""
    return matrix if isinstance(matrix, LinearOperator) else DenseOperator(matrix, name)
