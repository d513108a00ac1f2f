"""An ellipse within another one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from xbar_spice.checks import SEED, Whole, settle
from xbar_spice.data.named import DataSet, split_evenly, stacked
from xbar_spice.data.samples import Data

__all__ = ["Ellipses"]


@final
@dataclass(frozen=True)
class Ellipses(DataSet):
    """Points (r cos t, 0.4 r sin t) with r in [0, 1] (class 0) and in [1, 2] (class 1), without a gap between them.

    Source: Haber and Ruthotto, Stable architectures for deep neural networks, 2018.

    Attributes:
        samples: How many, both classes together.
        seed: Draws them.
    """

    samples: int = 2000
    seed: int = 0

    def __post_init__(self) -> None:
        settle(self, samples=Whole(1, 10**6), seed=SEED)

    def data(self) -> Data:
        rng = np.random.default_rng(self.seed)
        parts = []
        for k, count in enumerate(split_evenly(self.samples, 2)):
            r, t = k + rng.random(count), 2.0 * np.pi * rng.random(count)
            parts.append(np.stack([r * np.cos(t), 0.4 * r * np.sin(t)], axis=1))
        return Data(*stacked(parts), source="points of two ellipses", drawn=True)
