"""Samples with their classes, and how they are split into those to train with and those held back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, final

import numpy as np
from numpy.typing import NDArray

from xbar_spice.data import Data
from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.operator import FloatArray

__all__ = ["LossName", "Samples", "Split", "as_samples", "split_of"]

LossName = Literal["auto", "likelihood"]
"""What samples are scored by: their labels or targets, or the likelihood that a flow gives them."""


@final
@dataclass(frozen=True, eq=False)
class Samples:
    """Samples with their classes, or with what should come out of them.

    Args:
        x: (n, samples), one sample per column; of an image, its pixels row by row.
        labels: (samples,), classes from 0; None for none.
        targets: (samples, k), what should come out; (samples, times, k) if there are times. None for none.
        times: (times,), when the targets were observed; None for the end of the run.
        loss: "likelihood" of the samples themselves, whose labels and targets are not looked at; "auto" for these.

    Raises:
        InvalidInputError: The shapes do not belong together.
    """

    x: FloatArray
    labels: NDArray[np.int64] | None
    targets: FloatArray | None = None
    times: FloatArray | None = None
    loss: LossName = "auto"

    def __post_init__(self) -> None:
        labels = () if self.labels is None else self.labels.shape
        if self.x.ndim != 2 or (self.labels is not None and labels != self.x.shape[1:]):
            raise InvalidInputError(
                f"x must have shape (n, samples) and labels (samples,), got {self.x.shape} and {labels}"
            )
        if self.targets is not None and len(self.targets) != self.x.shape[1]:
            raise InvalidInputError(
                f"targets must have shape ({self.x.shape[1]}, ..., k), one for each sample, got {self.targets.shape}"
            )

    def __len__(self) -> int:
        return int(self.x.shape[1])

    def take(self, samples: NDArray[np.int64] | slice) -> Samples:
        """Some of the samples, by index or slice."""
        labels = None if self.labels is None else self.labels[samples]
        targets = None if self.targets is None else self.targets[samples]
        return Samples(self.x[:, samples], labels, targets, self.times, self.loss)

    @property
    def classes(self) -> NDArray[np.int64]:
        """The labels, where there have to be some.

        Raises:
            InvalidInputError: There are none.
        """
        if self.labels is None:
            raise InvalidInputError("a classifier is fitted and scored by labels, and these samples have none")
        return self.labels


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
        """Number of classes; 0 of samples without, or whose labels are not looked at."""
        if self.train.loss != "auto":
            return 0
        labels = [part.labels for part in (self.train, self.test) if part.labels is not None]
        return int(max(part.max(initial=-1) for part in labels)) + 1 if labels else 0

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


def as_samples(data: Samples | Data, loss: LossName = "auto") -> Samples:
    """Samples as training takes them, one a column, of data that have one a row.

    Raises:
        InvalidInputError: They have neither labels nor targets, of which all losses but the likelihood are made.
    """
    if isinstance(data, Samples):
        return data
    if data.labels is None and data.targets is None and loss == "auto":
        raise InvalidInputError(f"training needs labels or targets, and there are none: {data}")
    return Samples(np.ascontiguousarray(data.x.T), data.labels, data.targets, data.times, loss)


def split_of(train: Data, test: Data, loss: LossName = "auto") -> Split:
    """Samples as training takes them, one a column.

    Raises:
        InvalidInputError: As for `as_samples`.
    """
    return Split(as_samples(train, loss), as_samples(test, loss))
