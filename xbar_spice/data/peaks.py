"""Level sets of the function peaks: five classes in a square."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import ArrayLike

from xbar_spice.checks import SEED, Whole, settle
from xbar_spice.data.named import DataSet, split_evenly, stacked
from xbar_spice.data.samples import Data
from xbar_spice.linear.operator import FloatArray

__all__ = ["Peaks", "peaks"]

_GRID = 256  # points along each side
_CLASSES = 5


def peaks(x: ArrayLike, y: ArrayLike) -> FloatArray:
    """The function peaks of MATLAB, at points of a plane.

    Example:
        >>> float(peaks(0.0, 0.0))
        0.9810118
    """
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    return np.asarray(
        3.0 * (1.0 - x) ** 2 * np.exp(-(x**2) - (y + 1.0) ** 2)
        - 10.0 * (x / 5.0 - x**3 - y**5) * np.exp(-(x**2) - y**2)
        - np.exp(-((x + 1.0) ** 2) - y**2) / 3.0
    )


@final
@dataclass(frozen=True)
class Peaks(DataSet):
    """Points of a grid on [-3, 3]^2, as many of each of five equal ranges of the function's values.

    A class is drawn as often as any other one, although class 2 is 73 % of the area: of points that are spread evenly,
    whoever always says 2 has 73 % right.

    Source: Haber and Ruthotto, Stable architectures for deep neural networks, 2018.

    Attributes:
        samples: How many, all classes together.
        seed: Draws them, with replacement.
    """

    samples: int = 2000
    seed: int = 0

    def __post_init__(self) -> None:
        settle(self, samples=Whole(1, 10**6), seed=SEED)

    def data(self) -> Data:
        axis = np.linspace(-3.0, 3.0, _GRID)
        x, y = (part.ravel() for part in np.meshgrid(axis, axis, indexing="ij"))  # y fastest
        values = peaks(x, y)
        lowest, range_of_values = values.min(), np.ptp(values)
        # Class k holds lowest + k q < value <= lowest + (k + 1) q, and the lowest point is of class 0.
        edges = lowest + range_of_values / _CLASSES * np.arange(1, _CLASSES)
        label = np.searchsorted(edges, values, side="left")
        rng = np.random.default_rng(self.seed)
        chosen = []
        for k, count in enumerate(split_evenly(self.samples, _CLASSES)):
            members = np.flatnonzero(label == k)
            at = members[rng.integers(0, len(members), count)]
            chosen.append(np.stack([x[at], y[at]], axis=1))
        return Data(*stacked(chosen), source="points of the level sets of peaks", drawn=True)
