"""An operator whose two directions come from different places."""

from __future__ import annotations

from typing import final

from xbar_spice.linear import FloatArray, LinearOperator

__all__ = ["Spliced"]


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
