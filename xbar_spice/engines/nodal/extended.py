"""Numbers of twice the usual precision: unevaluated sums of two floats.

They are for the few places where a small current is what large ones leave, as behind a sense resistance of 1e8 ohm.
Sums and products keep the digits of both parts (T. J. Dekker, Numer. Math. 18, 224, 1971).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self, final

import numpy as np

from xbar_spice.linear.operator import FloatArray

__all__ = ["Extended", "exact"]

SPLIT = 2.0**27 + 1.0  # halves the digits of a float


@final
@dataclass(frozen=True, eq=False)
class Extended:
    """Arrays of numbers, each the sum of two floats.

    Attributes:
        high: the numbers, rounded.
        low: what rounding took away.
    """

    high: FloatArray
    low: FloatArray

    def __add__(self, other: Self) -> Extended:
        total, rest = _sum(self.high, other.high)
        return _normalised(total, rest + (self.low + other.low))

    def __neg__(self) -> Extended:
        return Extended(-self.high, -self.low)

    def __sub__(self, other: Self) -> Extended:
        return self + -other

    def __mul__(self, other: Self) -> Extended:
        product, rest = _product(self.high, other.high)
        return _normalised(product, rest + (self.high * other.low + self.low * other.high))

    def __truediv__(self, other: Self) -> Extended:
        first = self.high / other.high
        rest = self - exact(first) * other
        return exact(first) + exact(rest.high / other.high)

    def rounded(self) -> FloatArray:
        """The nearest floats."""
        return np.asarray(self.high + self.low)

    def running(self, axis: int) -> Extended:
        """Sums over all places up to each one along an axis."""
        high, low = np.moveaxis(self.high, axis, 0).copy(), np.moveaxis(self.low, axis, 0).copy()
        for place in range(1, len(high)):
            total = Extended(high[place - 1], low[place - 1]) + Extended(high[place], low[place])
            high[place], low[place] = total.high, total.low
        return Extended(np.moveaxis(high, 0, axis), np.moveaxis(low, 0, axis))

    def reversed(self, axis: int) -> Extended:
        """The same numbers in the opposite order along an axis."""
        return Extended(np.flip(self.high, axis), np.flip(self.low, axis))

    def last(self, axis: int) -> Extended:
        """The last place along an axis, which stays with the length 1."""
        return Extended(np.take(self.high, [-1], axis), np.take(self.low, [-1], axis))

    def total(self, axis: int) -> Extended:
        """Sums over an axis, which stays with the length 1."""
        return self.running(axis).last(axis)


def exact(values: FloatArray | float) -> Extended:
    """Floats as they are."""
    high = np.asarray(values, dtype=float)
    return Extended(high, np.zeros_like(high))


def _sum(first: FloatArray, second: FloatArray) -> tuple[FloatArray, FloatArray]:
    total = first + second
    other = total - first
    return total, (first - (total - other)) + (second - other)


def _product(first: FloatArray, second: FloatArray) -> tuple[FloatArray, FloatArray]:
    product = first * second
    (a, b), (c, d) = _halves(first), _halves(second)
    return product, ((a * c - product) + a * d + b * c) + b * d


def _halves(values: FloatArray) -> tuple[FloatArray, FloatArray]:
    scaled = SPLIT * values
    high = scaled - (scaled - values)
    return high, values - high


def _normalised(high: FloatArray, low: FloatArray) -> Extended:
    total = high + low
    return Extended(np.asarray(total), np.asarray(low - (total - high)))
