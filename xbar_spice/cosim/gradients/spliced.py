"""Operators whose two directions come from different places, and the field of them for straight-through training."""

from __future__ import annotations

from typing import final

from xbar_spice.linear.operator import DenseOperator, FloatArray, LinearOperator
from xbar_spice.mapping.analog_matrix import AnalogMatrix
from xbar_spice.solve.fields.field import ReluField

__all__ = ["Spliced", "hybrid_field"]


@final
class Spliced(LinearOperator):
    """Forward products of one operator, transposed products of another one."""

    def __init__(self, forward: LinearOperator, transposed: LinearOperator) -> None:
        self._by_mv, self._by_transpose = forward, transposed

    @property
    def shape(self) -> tuple[int, int]:
        return self._by_mv.shape

    def _forward(self, x: FloatArray) -> FloatArray:
        return self._by_mv.mv(x)

    def _transposed(self, y: FloatArray) -> FloatArray:
        return self._by_transpose.T.mv(y)


def hybrid_field(A: AnalogMatrix, B: AnalogMatrix) -> ReluField:
    """B relu(A z) read forwards from arrays and backwards from the weights as they were meant: straight-through."""
    return ReluField(*(Spliced(matrix, DenseOperator(matrix.weights)) for matrix in (A, B)))
