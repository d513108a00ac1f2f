"""Operators made of operators: what reading several arrays, or one array in both directions, amounts to."""

from __future__ import annotations

from functools import reduce
from itertools import pairwise
from typing import final

import numpy as np

from xbar_spice.errors import InvalidInputError
from xbar_spice.linear import FloatArray, LinearOperator

__all__ = ["FirstRows", "ProductOperator", "ScaledOperator", "SumOperator"]


@final
class ScaledOperator(LinearOperator):
    """factor W."""

    def __init__(self, factor: float, operator: LinearOperator) -> None:
        self._factor, self._operator = factor, operator

    @property
    def shape(self) -> tuple[int, int]:
        return self._operator.shape

    def _forward(self, x: FloatArray) -> FloatArray:
        return self._factor * self._operator.mv(x)

    def _transposed(self, y: FloatArray) -> FloatArray:
        return self._factor * self._operator.T.mv(y)


@final
class SumOperator(LinearOperator):
    """V + W, each read once.

    Raises:
        InvalidInputError: The shapes differ.
    """

    def __init__(self, first: LinearOperator, second: LinearOperator) -> None:
        if first.shape != second.shape:
            raise InvalidInputError(
                f"operators that are added must have one shape, got {first.shape} and {second.shape}"
            )
        self._first, self._second = first, second

    @property
    def shape(self) -> tuple[int, int]:
        return self._first.shape

    def _forward(self, x: FloatArray) -> FloatArray:
        return self._first.mv(x) + self._second.mv(x)

    def _transposed(self, y: FloatArray) -> FloatArray:
        return self._first.T.mv(y) + self._second.T.mv(y)


@final
class ProductOperator(LinearOperator):
    """U V ... W, read from right to left, and transposed from left to right.

    Raises:
        InvalidInputError: The shapes of neighbours do not belong together.
    """

    def __init__(self, *factors: LinearOperator) -> None:
        shapes = [factor.shape for factor in factors]
        if any(left[1] != right[0] for left, right in pairwise(shapes)):
            raise InvalidInputError(f"operators that are multiplied must fit each other, got shapes {shapes}")
        self._factors = factors

    @property
    def shape(self) -> tuple[int, int]:
        return self._factors[0].shape[0], self._factors[-1].shape[1]

    def _forward(self, x: FloatArray) -> FloatArray:
        return reduce(lambda vectors, factor: factor.mv(vectors), reversed(self._factors), x)

    def _transposed(self, y: FloatArray) -> FloatArray:
        return reduce(lambda vectors, factor: factor.T.mv(vectors), self._factors, y)


@final
class FirstRows(LinearOperator):
    """The first `kept` entries of a vector; transposed, zeros below it. No read, only lines left unconnected."""

    def __init__(self, kept: int, length: int) -> None:
        self._shape = (kept, length)

    @property
    def shape(self) -> tuple[int, int]:
        return self._shape

    def _forward(self, x: FloatArray) -> FloatArray:
        return x[: self.shape[0]]

    def _transposed(self, y: FloatArray) -> FloatArray:
        kept, length = self.shape
        return np.vstack([y, np.zeros((length - kept, y.shape[1]))])
