"""Samples as a value: what goes into a model, and what should come out of it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any, Self, final

import numpy as np
from numpy.typing import NDArray

from xbar_spice.checks import ANYTHING, SEED, Array, Optional, Whole, checked, given, settle, warn
from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.operator import FloatArray
from xbar_spice.streams import Streams

__all__ = ["Data"]


@final
@dataclass(frozen=True, eq=False)
class Data:
    """Samples for a model: inputs, and labels or targets of the same samples.

    Args:
        x: (samples, p), states of a model, or inputs of its encoder; of more axes, such as images of
            (samples, channels, height, width), all but the first become one, row by row.
        labels: (samples,), classes from 0; None for samples without.
        targets: (samples, n), the states that should come out; (samples, times, n) if there are times. None for
            samples without.
        times: (times,), when the targets were observed, counted from the initial state on and rising; None for the
            end of the run.
        source: Where they come from, in words.
        drawn: Whether a part of them is drawn at random even if no seed was asked for, because they are listed class
            by class.

    Raises:
        InvalidInputError: The shapes do not belong together, or a value is not allowed.

    Example:
        >>> data = Data([[0.0, 1.0], [1.0, 0.0]], labels=[0, 1])
        >>> len(data), data.features, data.classes
        (2, 2, 2)
    """

    x: FloatArray
    labels: NDArray[np.int64] | None = None
    targets: FloatArray | None = None
    times: FloatArray | None = None
    source: str = "samples given by the caller"
    drawn: bool = False

    def __post_init__(self) -> None:
        some = Optional(Array())
        settle(self, x=Array(), labels=ANYTHING, targets=some, times=some)
        x = self.x
        if x.ndim < 2 or not x.size:
            raise InvalidInputError(f"x must have shape (samples, p) with at least one of both, got {x.shape}")
        held: dict[str, Any] = {"x": x.reshape(len(x), -1)}
        if self.labels is not None:
            held["labels"] = _labels(self.labels, len(x))
        if self.times is not None:
            held["times"] = self._rising(self.times)
        if self.targets is not None:
            held["targets"] = self.targets
            axes = (len(x),) if self.times is None else (len(x), self.times.size)
            if self.targets.ndim != len(axes) + 1 or self.targets.shape[:-1] != axes or not self.targets.size:
                raise InvalidInputError(
                    f"targets must have shape {_shape(*axes, 'n')} for these {'samples' if len(axes) == 1 else 'times'}"
                    f", got {self.targets.shape}"
                )
        for name, value in held.items():
            kept = np.array(value)
            kept.setflags(write=False)
            object.__setattr__(self, name, kept)

    def _rising(self, times: FloatArray) -> FloatArray:
        if self.targets is None:
            raise InvalidInputError("times say when targets were observed, and there are none: give targets, too")
        if times.ndim != 1 or not times.size or times[0] < 0 or (np.diff(times) <= 0).any():
            raise InvalidInputError(
                f"times must have shape (times,), start at 0 or later and rise, got {given(self.times)}"
            )
        return times

    def __len__(self) -> int:
        return len(self.x)

    @property
    def features(self) -> int:
        """Length p of a sample."""
        return int(self.x.shape[1])

    @property
    def classes(self) -> int:
        """Number of classes, the largest label and one; 0 without labels."""
        return 0 if self.labels is None else int(self.labels.max()) + 1

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all numbers, whatever file they came in."""
        digest = hashlib.sha256()
        for name in ("x", "labels", "targets", "times"):
            value = getattr(self, name)
            if value is not None:
                array = np.ascontiguousarray(value, dtype="<f8")
                digest.update(f"{name} {array.shape} ".encode() + array.tobytes())
        return digest.hexdigest()

    @checked(samples=Optional(Whole(1)), seed=Optional(SEED))
    def take(self, samples: int | None = None, seed: int | None = None) -> Self:
        """Some of the samples, whose `source` says which.

        Args:
            samples: How many; None for all.
            seed: Draws them at random; None takes the first ones, or of data that are listed class by class those
                that seed 0 draws. All of them stay in their order.

        Raises:
            InvalidInputError: There are not that many.

        Example:
            >>> Data(np.eye(5)).take(2).source
            '2 of 5 samples given by the caller, the first ones'
        """
        count = len(self) if samples is None else samples
        if count > len(self):
            raise InvalidInputError(f"samples must be <= {len(self)}, the number of {self.source}, got {count}")
        if count == len(self):
            return replace(self, source=f"all {count} {self.source}")
        if seed is None and not self.drawn:
            part, how = self._part(slice(count)), "the first ones"
            part._warn_of_one_class(self.classes)
        else:
            part = self._part(Streams(seed or 0).data().permutation(len(self))[:count])
            how = f"drawn with seed {seed or 0}"
        return replace(part, source=f"{count} of {len(self)} {self.source}, {how}")

    def every(self, step: int, start: int = 0) -> Self:
        """Every `step`-th sample, from `start` on."""
        return self._part(slice(start, None, step))

    def split(self, share: float = 0.25) -> tuple[Self, Self]:
        """Samples to train with and samples held back, every class in its share; always the same ones.

        Args:
            share: Part of the samples of a class that is held back, rounded down, but one of two at least.

        Example:
            >>> train, test = Data(np.eye(8), labels=[0, 0, 0, 0, 1, 1, 1, 1]).split()
            >>> len(train), test.labels.tolist()
            (6, [0, 1])
        """
        labels = np.zeros(len(self), dtype=int) if self.labels is None else self.labels
        rng, held_back = Streams(0).data(), np.zeros(len(self), dtype=bool)
        for label in np.unique(labels):
            members = np.flatnonzero(labels == label)
            count = max(int(share * len(members)), int(len(members) > 1))
            held_back[rng.permutation(members)[:count]] = True
        if not held_back.any():
            raise InvalidInputError(f"a part of the samples is held back, and there is one of each class: {self}")
        return (
            replace(self._part(~held_back), source=f"{self.source}, {int((~held_back).sum())} to train with"),
            replace(self._part(held_back), source=f"held-back {self.source}"),
        )

    def _part(self, chosen: Any) -> Self:
        some: dict[str, Any] = {
            name: None if (held := getattr(self, name)) is None else held[chosen] for name in ("labels", "targets")
        }
        return replace(self, x=self.x[chosen], **some)

    def _warn_of_one_class(self, classes: int) -> None:
        if self.labels is not None and classes > 1 and len(self) > 1 and len(np.unique(self.labels)) == 1:
            warn(
                f"the first {len(self)} samples are all of class {self.labels[0]}, as data are that are sorted by "
                "class: have them drawn by a seed (seed= of make_problem, data.seed of a study, --data-seed)"
            )

    def __str__(self) -> str:
        said = [f"x {self.x.shape}"]
        if self.labels is not None:
            said.append(f"labels of {self.classes} classes")
        if self.targets is not None:
            said.append(f"targets {self.targets.shape}")
        if self.times is not None:
            said.append(f"at {self.times.size} times up to {self.times[-1]:g}")
        return f"{self.source}: {', '.join(said)}"


def _labels(value: Any, samples: int) -> NDArray[np.int64]:
    numbers = Array()("labels", value)
    if numbers.shape == (samples, 1):
        numbers = numbers[:, 0]
    if numbers.shape != (samples,):
        hint = "; of one column per class, take labels.argmax(axis=1)" if numbers.ndim == 2 else ""
        raise InvalidInputError(f"labels must have shape ({samples},), one for each sample, got {numbers.shape}{hint}")
    if (numbers < 0).any() or (numbers != np.floor(numbers)).any():
        raise InvalidInputError(
            f"labels must be whole numbers from 0, in the order of the classifier's classes, got {given(value)}"
        )
    return numbers.astype(np.int64)


def _shape(*axes: Any) -> str:
    return f"({', '.join(map(str, axes))})"
