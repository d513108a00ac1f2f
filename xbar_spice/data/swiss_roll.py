"""Two spirals, one within the other."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

import numpy as np

from xbar_spice.data.named import DataSet, stacked
from xbar_spice.data.samples import Data

__all__ = ["SwissRoll"]

_POINTS = 513  # of each spiral: 2 n + 1 with n = 256


@final
@dataclass(frozen=True)
class SwissRoll(DataSet):
    """Points (r cos t, r sin t) at 513 angles t in [0, 4 pi], r rising from 0 to 1 (class 0) and 0.2 to 1.2 (class 1).

    Nothing is random. Every other point trains, the others are held back: 513 of each.

    Source: Haber and Ruthotto, Stable architectures for deep neural networks, 2018.
    """

    def data(self) -> Data:
        t = np.linspace(0.0, 4.0 * np.pi, _POINTS)
        parts = []
        for start in (0.0, 0.2):
            r = start + np.linspace(0.0, 1.0, _POINTS)
            parts.append(np.stack([r * np.cos(t), r * np.sin(t)], axis=1))
        return Data(*stacked(parts), source="points of the swiss roll", drawn=True)

    def split(self) -> tuple[Data, Data]:
        data = self.data()
        held_back = replace(data.every(2, 1), source=f"held-back {data.source}")
        return data.every(2), held_back
