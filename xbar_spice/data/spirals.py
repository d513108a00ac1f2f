"""Spirals that turn one way or the other, seen at irregular times."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from xbar_spice.checks import SEED, Real, Whole, settle
from xbar_spice.data.named import DataSet, split_evenly
from xbar_spice.data.samples import Data
from xbar_spice.linear.operator import FloatArray

__all__ = ["SpiralPaths", "Spirals", "spiral", "spiral_windows"]

_STOP = 6.0 * np.pi
_POINTS = 500  # of a whole spiral
_WINDOW = 100  # consecutive ones of which a sample is seen
_PITCH = 0.3


def spiral(t: FloatArray, clockwise: bool) -> FloatArray:
    """(times, 2) points of one of the two spirals at times t in [0, 6 pi].

    Example:
        >>> spiral(np.array([0.0]), clockwise=False)
        array([[5., 0.]])
    """
    if clockwise:
        angle = _STOP + 1.0 - t
        r = 50.0 * _PITCH / angle
        return np.stack([r * np.cos(angle) - 5.0, r * np.sin(angle)], axis=-1)
    r = _PITCH * t
    return np.stack([r * np.cos(t) + 5.0, r * np.sin(t)], axis=-1)


@final
@dataclass(frozen=True)
class Spirals(DataSet):
    """Pieces of a clockwise (class 0) and a counter-clockwise (class 1) spiral, seen with noise at irregular times.

    A sample starts at a random point of its spiral, where time is set to 0: `x` is what is seen there, and `targets`
    what is seen at `times`, a random part of the 100 regular times that follow, the same for all samples.

    Source: the spirals of Chen et al., Neural ordinary differential equations, 2018, whose published code samples them
    at regular times.

    Attributes:
        samples: How many, both classes together.
        seed: Draws times, starts and noise.
        times: At how many of 100 times they are seen.
        noise: Standard deviation of what is seen.
    """

    samples: int = 1000
    seed: int = 0
    times: int = 30
    noise: float = 0.3

    def __post_init__(self) -> None:
        settle(self, samples=Whole(1, 10**5), seed=SEED, times=Whole(1, _WINDOW), noise=Real(least=0))

    def data(self) -> Data:
        rng = np.random.default_rng(self.seed)
        seen = np.sort(rng.choice(_WINDOW, self.times, replace=False))
        every = np.linspace(0.0, _STOP, _POINTS)
        labels = np.repeat([0, 1], split_evenly(self.samples, 2))
        starts = rng.integers(0, _POINTS - _WINDOW + 1, self.samples)
        paths = np.stack([spiral(every, clockwise=True), spiral(every, clockwise=False)])
        points = paths[labels[:, np.newaxis], starts[:, np.newaxis] + np.concatenate([[0], seen])]
        points = points + self.noise * rng.standard_normal(points.shape)
        if seen[0] == 0:  # it is seen once at the start
            points[:, 1] = points[:, 0]
        return Data(
            points[:, 0], labels, points[:, 1:], every[seen], source="pieces of spirals at irregular times", drawn=True
        )


@final
@dataclass(frozen=True)
class SpiralPaths(DataSet):
    """The same pieces of spirals to be followed: without classes, and targets are what is seen at all times.

    Attributes:
        samples: How many, both kinds together.
        seed: Draws times, starts and noise.
        times: At how many of 100 times they are seen.
        noise: Standard deviation of what is seen.
        seen: At how many of the first times what is seen is part of the inputs, beside the start; then `x` are
            2 (1 + seen) numbers, for an encoder.
    """

    samples: int = 1000
    seed: int = 0
    times: int = 30
    noise: float = 0.3
    seen: int = 0

    def __post_init__(self) -> None:
        Spirals(self.samples, self.seed, self.times, self.noise)  # says what is not allowed
        settle(self, seen=Whole(0, self.times))

    def data(self) -> Data:
        pieces = Spirals(self.samples, self.seed, self.times, self.noise).data()
        assert pieces.targets is not None
        seen = np.concatenate([pieces.x[:, np.newaxis], pieces.targets[:, : self.seen]], axis=1)
        return Data(seen, targets=pieces.targets, times=pieces.times, source=pieces.source, drawn=True)


def spiral_windows(
    samples: int = 1000, seed: int = 0, times: int = 30, noise: float = 0.3, seen: int = 9
) -> SpiralPaths:
    """Paths whose inputs are what is seen at the start and at the first `seen` times."""
    return SpiralPaths(samples, seed, times, noise, seen)
