"""Two half circles that reach into each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from xbar_spice.checks import SEED, Real, Whole, settle
from xbar_spice.data.named import DataSet, stacked
from xbar_spice.data.samples import Data

__all__ = ["TwoMoons"]


@final
@dataclass(frozen=True)
class TwoMoons(DataSet):
    """Points (cos t, sin t), class 0, and (1 - cos t, 0.5 - sin t), class 1, at even t in [0, pi], with noise.

    Attributes:
        samples: How many, both classes together; of an odd number class 1 has one more.
        seed: Of the noise.
        noise: Its standard deviation.
        scaled: Whether they are moved to 2 x + (-1, -0.2), as flows have them (Grathwohl et al., FFJORD, 2019).
    """

    samples: int = 2000
    seed: int = 0
    noise: float = 0.1
    scaled: bool = False

    def __post_init__(self) -> None:
        settle(self, samples=Whole(2, 10**6), seed=SEED, noise=Real(least=0))

    def data(self) -> Data:
        outer = np.linspace(0.0, np.pi, self.samples // 2)
        inner = np.linspace(0.0, np.pi, self.samples - len(outer))
        x, labels = stacked(
            [
                np.stack([np.cos(outer), np.sin(outer)], axis=1),
                np.stack([1.0 - np.cos(inner), 0.5 - np.sin(inner)], axis=1),
            ]
        )
        if self.noise:
            x += self.noise * np.random.default_rng(self.seed).standard_normal(x.shape)
        if self.scaled:
            x = 2.0 * x + np.array([-1.0, -0.2])
        return Data(x, labels, source="points of the two moons", drawn=True)
