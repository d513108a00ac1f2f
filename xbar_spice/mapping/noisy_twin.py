"""What stands in for an array to see how noisy its products are, without reading it."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import numpy as np

from xbar_spice.hardware.crossbar import Side
from xbar_spice.linear.operator import FloatArray, LinearOperator

if TYPE_CHECKING:
    from xbar_spice.mapping.analog_matrix import AnalogMatrix

__all__ = ["NoisyTwin"]


@final
class NoisyTwin(LinearOperator):
    """The programmed weights of a matrix, with the noise that reads of it are expected to have.

    Args:
        matrix: The matrix on arrays.
        rng: Draws the noise; None for products without.
    """

    def __init__(self, matrix: AnalogMatrix, rng: np.random.Generator | None) -> None:
        self._matrix, self._rng = matrix, rng

    @property
    def shape(self) -> tuple[int, int]:
        return self._matrix.shape

    def _forward(self, x: FloatArray) -> FloatArray:
        return self._read(self._matrix.mapped.programmed, x, "rows")

    def _transposed(self, y: FloatArray) -> FloatArray:
        return self._read(self._matrix.mapped.programmed.T, y, "cols")

    def _read(self, weights: FloatArray, x: FloatArray, side: Side) -> FloatArray:
        product = weights @ x
        if self._rng is None:
            return product
        return product + self._matrix.spread(x, side) * self._rng.standard_normal(product.shape)
