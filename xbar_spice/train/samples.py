"""Samples with their classes, and how they are split into those to train with and those held back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from xbar_spice.data import Data
from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.operator import FloatArray

__all__ = ["Samples", "Split", "split_of"]


@final
@dataclass(frozen=True, eq=False)
class Samples:
    """Samples with their classes.

    Args:
        x: (n, samples), one sample per column; of an image, its pixels row by row.
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
class Split:
    """Samples to train with, and samples that are held back.

    Attributes:
        train: To train with.
        test: Held back.
        augment: Slightly changed copies of samples, (samples, size of the change, generator) to samples, by which
            training is kept from knowing them by heart; None where a change would make another sample of them.
    """

    train: Samples
    test: Samples
    augment: Callable[[Samples, float, np.random.Generator], Samples] | None = None

    @property
    def classes(self) -> int:
        """Number of classes."""
        return int(max(self.train.labels.max(), self.test.labels.max())) + 1

    def augmented(self, samples: Samples, size: float, rng: np.random.Generator) -> Samples:
        """The samples with random changes of a size; as they are if it is 0.

        Raises:
            InvalidInputError: There is a size, and these samples cannot be changed.
        """
        if not size:
            return samples
        if self.augment is None:
            raise InvalidInputError(f"these samples cannot be augmented: set jitter = 0, got {size}")
        return self.augment(samples, size, rng)


def split_of(train: Data, test: Data) -> Split:
    """Samples with labels, as training takes them, one a column.

    Raises:
        InvalidInputError: They have no labels.
    """
    return Split(_labelled(train), _labelled(test))


def _labelled(data: Data) -> Samples:
    if data.labels is None:
        raise InvalidInputError(f"training needs labels, and there are none: {data}")
    return Samples(np.ascontiguousarray(data.x.T), data.labels)
