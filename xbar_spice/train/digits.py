"""The handwritten digits that scikit-learn ships, 1797 images of 8 x 8 pixels, and the tasks to classify them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal, cast, final, get_args

import numpy as np

from xbar_spice.checks import SEED
from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.operator import FloatArray
from xbar_spice.train.samples import Samples, Split
from xbar_spice.train.tasks import Schedule, Task, check_at_least_one, check_choice, check_positive
from xbar_spice.weights import Kernels, Model

__all__ = ["DIGITS", "IMAGE_SHAPE", "DigitsTask", "digits_conv", "digits_dense", "jittered", "load_digits"]

Structure = Literal["convolution", "dense"]

DIGITS = "digits"  # what a model says that was trained on them
IMAGE_SHAPE = (8, 8)

_DARKEST = 16.0  # of a pixel in the data set
_TEST_SHARE = 0.25


def load_digits(seed: int = 0) -> Split:
    """Load the digits with pixels in [0, 1] and hold a quarter of them back, every class in its share.

    Args:
        seed: Which of the possible splits; the same seed always gives the same one.

    Returns:
        1347 samples to train with and 450 to test with; n = 64.

    Raises:
        InvalidInputError: The seed is negative.
    """
    SEED("seed", seed)
    # scikit-learn takes over a second to import, which every worker of a study would pay.
    from sklearn import datasets  # noqa: PLC0415
    from sklearn.model_selection import train_test_split  # noqa: PLC0415

    pixels, labels = datasets.load_digits(return_X_y=True)
    train, test = train_test_split(np.arange(len(labels)), test_size=_TEST_SHARE, stratify=labels, random_state=seed)
    everything = Samples(cast(FloatArray, pixels.T / _DARKEST), labels.astype(np.int64))
    return Split(everything.take(train), everything.take(test), jittered)


def jittered(samples: Samples, pixels: float, rng: np.random.Generator) -> Samples:
    """The images, each moved by a random part of a pixel along both axes; what comes in at the edges is empty.

    Args:
        samples: Images of `IMAGE_SHAPE`.
        pixels: The largest move, in [0, 1].
        rng: Where the moves are drawn from.

    Raises:
        InvalidInputError: The largest move is none or more than a pixel.
    """
    if not 0.0 <= pixels <= 1.0:
        raise InvalidInputError(f"the largest move must be in [0, 1] pixels, got {pixels}")
    images = samples.x.reshape(*IMAGE_SHAPE, -1)
    for axis, move in enumerate(rng.uniform(-pixels, pixels, size=(2, len(samples)))):
        images = _moved(images, move, axis)
    return Samples(images.reshape(samples.x.shape), samples.labels)


def _moved(images: FloatArray, move: FloatArray, axis: int) -> FloatArray:
    """Each image moved by its own part of a pixel along an axis, interpolated linearly."""
    along = np.moveaxis(images, axis, 0)
    empty = np.zeros_like(along[:1])
    forward, backward = np.concatenate([empty, along[:-1]]), np.concatenate([along[1:], empty])
    moved = (1.0 - np.abs(move)) * along + np.maximum(move, 0.0) * forward + np.maximum(-move, 0.0) * backward
    return np.moveaxis(moved, 0, axis)


@final
@dataclass(frozen=True)
class DigitsTask(Task):
    """A neural ODE on the digits' pixels, between them and a linear classifier.

    Attributes:
        name: By which `train` knows it.
        structure: "convolution" for circular 3 x 3 kernels a and b, "dense" for full matrices A and B.
        h: Step length.
        steps: Number of implicit Euler steps.
        stiffness: h |A| |B| in spectral norms at the start; from about 2 on Newton's method needs care.
        schedule: How it is trained.

    Raises:
        InvalidInputError: A value is out of range.
    """

    name: str
    structure: Structure
    h: float = 0.25
    steps: int = 4
    stiffness: float = 0.5
    schedule: Schedule = field(default_factory=Schedule)

    def __post_init__(self) -> None:
        check_choice("structure", self.structure, get_args(Structure))
        check_at_least_one(self, "steps")
        check_positive(self, "h", "stiffness")

    trained_on = DIGITS

    def data(self) -> Split:
        return load_digits()

    def initial(self, rng: np.random.Generator) -> Model:
        norm = math.sqrt(self.stiffness / self.h)
        if self.structure == "dense":
            size = math.prod(IMAGE_SHAPE)
            A, B = rng.normal(size=(2, size, size))
            return Model(A * norm / _spectral(A), B * norm / _spectral(B), self.h, self.steps)
        a, b = rng.normal(size=(2, 9))
        A, B = Kernels(a, b, IMAGE_SHAPE).matrices()
        kernels = Kernels(a * norm / _spectral(A), b * norm / _spectral(B), IMAGE_SHAPE)
        return Model.from_kernels(kernels, h=self.h, steps=self.steps)


def digits_conv() -> DigitsTask:
    """The task "digits-conv": circular 3 x 3 convolutions."""
    return DigitsTask("digits-conv", "convolution")


def digits_dense() -> DigitsTask:
    """The task "digits-dense": full matrices."""
    schedule = Schedule(25, jitter=0.4, learning_rate=0.01, weight_decay=1e-3)
    return DigitsTask("digits-dense", "dense", schedule=schedule)


def _spectral(matrix: FloatArray) -> float:
    """The spectral norm."""
    return float(np.linalg.norm(matrix, 2))
