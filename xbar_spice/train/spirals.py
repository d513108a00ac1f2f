"""Tasks to follow spirals that were seen at irregular times."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

import numpy as np

from xbar_spice.data.spirals import SpiralPaths
from xbar_spice.solve.fields.field import ActivationField
from xbar_spice.train.observed import grid_through
from xbar_spice.train.samples import Split, split_of
from xbar_spice.train.tasks import Schedule, Task, check_at_least_one, check_positive
from xbar_spice.weights import Chain, Classifier, Encoder, Model

__all__ = ["SPIRALS", "SPIRALS_LATENT", "SpiralTask"]


@final
@dataclass(frozen=True)
class SpiralTask(Task):
    """A neural ODE B tanh(A z + bias) + output_bias that goes through what is seen of spirals, by squared distances.

    Directly: its states are the points of the plane, and it starts at the first of them. Latent: its states are others;
    an encoder of two layers makes the first one of all that is seen in the beginning, and a linear decoder makes points
    of states.

    Attributes:
        name: By which `train` knows it.
        trained_on: The name of its data in `DATA`.
        paths: Its data.
        states: Length of a latent state; 0 for the points themselves.
        hidden: Number of hidden units, of the encoder, too.
        h: The longest step; the grid has all times of the data.
        method: Of integration.
        schedule: How it is trained.

    Raises:
        InvalidInputError: A value is out of range.
    """

    name: str
    trained_on: str
    paths: SpiralPaths = field(default_factory=SpiralPaths)
    states: int = 0
    hidden: int = 32
    h: float = 0.2
    method: str = "rk4"
    schedule: Schedule = field(default_factory=lambda: Schedule(60, batch=64, jitter=0.0, learning_rate=0.02))

    def __post_init__(self) -> None:
        check_at_least_one(self, "hidden")
        check_positive(self, "h")

    def data(self) -> Split:
        return split_of(*self.paths.split())

    def initial(self, rng: np.random.Generator) -> Model:
        train = self.data().train
        mean, deviation = train.x.mean(axis=1), np.maximum(train.x.std(axis=1), 1e-12)
        n, m = self.states or len(mean), self.hidden
        A = rng.standard_normal((m, n)) / np.sqrt(n)
        B = rng.standard_normal((n, m)) / m
        encoder = decoder = None
        if self.states:
            lift = rng.standard_normal((m, len(mean))) / np.sqrt(len(mean)) / deviation
            narrow = rng.standard_normal((n, m)) / np.sqrt(m)
            encoder = Chain([Encoder(lift, -lift @ mean, activation="tanh"), Encoder(narrow)])
            decoder = Classifier(rng.standard_normal((2, n)))
        else:  # the field is made for states of size 1
            A, B = A / deviation, B * deviation[:, np.newaxis]
        made = ActivationField(A, B, "tanh", bias=np.zeros(m), output_bias=np.zeros(n))
        times = np.zeros(1) if train.times is None else train.times
        return Model(
            field=made, grid=grid_through(times, self.h), method=self.method, encoder=encoder, classifier=decoder
        )


SPIRALS = SpiralTask("spirals", "spiral_paths", schedule=Schedule(60, batch=64, jitter=0.0, learning_rate=0.05))
SPIRALS_LATENT = SpiralTask("spirals-latent", "spiral_windows", SpiralPaths(seen=9), states=4)
