"""Random numbers: every use of them has a stream of its own, found by seed and name.

One source of randomness can so be switched off or changed without moving the others, and the same seed is the same
chip, the same data and the same training everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

import numpy as np

from xbar_spice.checks import SEED, Text, checked, settle

__all__ = ["Streams", "random_stream"]

_TRAINING = ("initial weights", "minibatches", "copies")


@checked()
def random_stream(seed: int, *names: str) -> np.random.Generator:
    """An independent generator for each use of randomness, found by seed and name.

    Args:
        seed: the seed of a study or case, >= 0.
        *names: what the numbers are for, such as "devices", "A".

    Example:
        >>> bool(random_stream(1, "devices").random() == random_stream(1, "data").random())
        False
    """
    key = "/".join(Text()("names", name) for name in names).encode()
    return np.random.default_rng(np.random.SeedSequence(SEED("seed", seed), spawn_key=tuple(key)))


@final
@dataclass(frozen=True)
class Streams:
    """All random streams of a seed.

    Attributes:
        seed: of the case or the training, >= 0.

    Example:
        >>> bool(Streams(3).devices("A").random() == random_stream(3, "devices", "A").random())
        True
    """

    seed: int

    def __post_init__(self) -> None:
        settle(self, seed=SEED)

    def devices(self, matrix: str) -> np.random.Generator:
        """What programming draws for the devices of a matrix."""
        return random_stream(self.seed, "devices", matrix)

    def read_noise(self, matrix: str, occasion: str = "") -> np.random.Generator:
        """The noise of the reads of a matrix; another one on each occasion on which the same chip is written."""
        return random_stream(self.seed, "read noise", *([occasion] if occasion else []), matrix)

    def cycle(self, matrix: str, occasion: str = "") -> np.random.Generator:
        """What one programming of a matrix adds to its devices; another one on each occasion."""
        return random_stream(self.seed, "cycle", *([occasion] if occasion else []), matrix)

    def rounding(self, what: str, occasion: str = "") -> np.random.Generator:
        """Stochastic rounding of what a matrix is given and gives, or of "weights"; another one on each occasion."""
        return random_stream(self.seed, "rounding", *([occasion] if occasion else []), what)

    def data(self) -> np.random.Generator:
        """Which samples are taken, and random states."""
        return random_stream(self.seed, "data")

    def mismatch(self) -> np.random.Generator:
        """Vectors by which forward and transposed reads are compared."""
        return random_stream(self.seed, "mismatch")

    def orders(self) -> np.random.Generator:
        """Random orders of the sources of an attribution."""
        return random_stream(self.seed, "orders")

    def training(self, what: Literal["initial weights", "minibatches", "copies"]) -> np.random.Generator:
        """What a training draws: its first weights, its minibatches and their jitter, the copies of its last fit."""
        return np.random.default_rng([self.seed, _TRAINING.index(what)])
