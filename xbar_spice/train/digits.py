"""The handwritten digits that scikit-learn ships: 1797 images of 8 x 8 pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast, final

import numpy as np
from numpy.typing import NDArray

from xbar_spice.checks import SEED
from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.operator import FloatArray

__all__ = ["CLASSES", "DIGITS", "IMAGE_SHAPE", "Digits", "Samples", "jittered", "load_digits"]

DIGITS = "digits"  # what a model says that was trained on them
IMAGE_SHAPE = (8, 8)
CLASSES = 10

_DARKEST = 16.0  # of a pixel in the data set
_TEST_SHARE = 0.25


@final
@dataclass(frozen=True, eq=False)
class Samples:
    """Images with their classes.

    Args:
        x: (n, samples), one image per column, flattened row by row.
        labels: (samples,), classes from 0.

    Raises:
        InvalidInputError: The shapes do not belong together.
    """

    x: FloatArray
    labels: NDArray[np.int64]

    def __post_init__(self) -> None:
        if self.x.ndim != 2 or self.labels.shape != self.x.shape[1:]:
            raise InvalidInputError(
                f"x must have shape (n, samples) and labels (samples,), got {self.x.shape} and {self.labels.shape}"
            )

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, samples: NDArray[np.int64] | slice) -> Samples:
        """Some of the samples, by index or slice."""
        return Samples(self.x[:, samples], self.labels[samples])


@final
@dataclass(frozen=True)
class Digits:
    """The digits, split for training and test."""

    train: Samples
    test: Samples


def load_digits(seed: int = 0) -> Digits:
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
    return Digits(everything.take(train), everything.take(test))


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
