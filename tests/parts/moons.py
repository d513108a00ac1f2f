"""A task of a user's own: to tell two half moons apart, in four states of which two begin at zero."""

from dataclasses import dataclass

import numpy as np

from xbar_spice.train.samples import Samples, Split
from xbar_spice.train.tasks import Schedule, Task
from xbar_spice.weights import Model


@dataclass(frozen=True)
class Moons(Task):
    """Points on two half circles, with noise."""

    hidden: int = 8
    noise: float = 0.1
    name = "moons"
    schedule = Schedule(epochs=4, batch=32, jitter=0.0)

    def data(self):
        return Split(self.points(400, seed=0), self.points(100, seed=1))

    def points(self, count, seed):
        rng = np.random.default_rng(seed)
        labels, angle = np.arange(count) % 2, np.pi * rng.random(count)
        x = np.where(labels, 1.0 - np.cos(angle), np.cos(angle))
        y = np.where(labels, 0.5 - np.sin(angle), np.sin(angle))
        plane = np.stack([x, y]) + self.noise * rng.standard_normal((2, count))
        return Samples(np.vstack([plane, np.zeros((2, count))]), labels)

    def initial(self, rng):
        A, B = rng.standard_normal((self.hidden, 4)), rng.standard_normal((4, self.hidden))
        return Model(A / 2, B / self.hidden, h=0.5, steps=4)
