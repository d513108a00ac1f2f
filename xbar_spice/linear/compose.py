"""Operators made of operators: what reading several arrays, or one array in both directions, amounts to."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from itertools import accumulate, pairwise
from typing import final

import numpy as np

from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.operator import FloatArray, LinearOperator

__all__ = ["BlockDiagonalOperator", "FirstRows", "MeanOperator", "ProductOperator", "ScaledOperator", "SumOperator"]


@final
class ScaledOperator(LinearOperator):
    """factor W."""

    def __init__(self, factor: float, operator: LinearOperator) -> None:
        self._factor, self._operator = factor, operator

    @property
    def shape(self) -> tuple[int, int]:
        return self._operator.shape

    @property
    def channels(self) -> int | None:
        return self._operator.channels

    @property
    def channels_in(self) -> int | None:
        return self._operator.channels_in

    def _forward(self, x: FloatArray) -> FloatArray:
        return self._operator.scaled_mv(self._factor, x)

    def _transposed(self, y: FloatArray) -> FloatArray:
        return self._operator.T.scaled_mv(self._factor, y)


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

    @property
    def channels(self) -> int | None:
        return self._first.channels

    def _forward(self, x: FloatArray) -> FloatArray:
        return self._first.mv(x) + self._second.mv(x)

    def _transposed(self, y: FloatArray) -> FloatArray:
        return self._first.T.mv(y) + self._second.T.mv(y)


@final
class MeanOperator(LinearOperator):
    """(V + ... + W) / k, each read once: k copies of an array, whose independent errors average out.

    Raises:
        InvalidInputError: There is no operator, or the shapes differ.
    """

    def __init__(self, operators: Sequence[LinearOperator]) -> None:
        self._operators = tuple(operators)
        if len({operator.shape for operator in self._operators}) != 1:
            raise InvalidInputError(
                f"a mean needs operators of one shape, got {[operator.shape for operator in self._operators]}"
            )

    @property
    def shape(self) -> tuple[int, int]:
        return self._operators[0].shape

    def _forward(self, x: FloatArray) -> FloatArray:
        return np.asarray(np.mean([operator.mv(x) for operator in self._operators], axis=0), dtype=float)

    def _transposed(self, y: FloatArray) -> FloatArray:
        return np.asarray(np.mean([operator.T.mv(y) for operator in self._operators], axis=0), dtype=float)


@final
class BlockDiagonalOperator(LinearOperator):
    """Operators along a diagonal, each on its own part of the vector; what lies off the diagonal needs no array.

    Raises:
        InvalidInputError: There is no operator.
    """

    def __init__(self, blocks: Sequence[LinearOperator]) -> None:
        self._blocks = tuple(blocks)
        if not self._blocks:
            raise InvalidInputError("a block-diagonal operator needs at least one block, got none")

    @property
    def shape(self) -> tuple[int, int]:
        rows, cols = zip(*(block.shape for block in self._blocks), strict=True)
        return sum(rows), sum(cols)

    def _forward(self, x: FloatArray) -> FloatArray:
        return _along_the_diagonal(self._blocks, x)

    def _transposed(self, y: FloatArray) -> FloatArray:
        return _along_the_diagonal([block.T for block in self._blocks], y)


def _along_the_diagonal(blocks: Sequence[LinearOperator], x: FloatArray) -> FloatArray:
    """Each block times its part of the vectors, one below the other."""
    ends = list(accumulate(block.shape[1] for block in blocks))
    parts = np.split(x, ends[:-1])
    return np.vstack([block.mv(part) for block, part in zip(blocks, parts, strict=True)])


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
