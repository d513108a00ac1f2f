"""What a named set of samples is, and how one is loaded."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xbar_spice.checks import checked
from xbar_spice.data.samples import Data
from xbar_spice.linear.operator import FloatArray
from xbar_spice.parts import DATA

__all__ = ["DataSet", "load_named_data", "split_evenly", "stacked"]


class DataSet(ABC):
    """A set of samples that is made anew, or read, whenever it is needed.

    A set of one's own subclasses this in a file of its own, a frozen dataclass whose fields are its options, and is
    handed over where the name of a built-in one goes.
    """

    @abstractmethod
    def data(self) -> Data:
        """The samples; the same ones at every call."""

    def split(self) -> tuple[Data, Data]:
        """Samples to train with, and samples that are held back; those who published a set may have said which."""
        return self.data().split()


@checked()
def load_named_data(
    name: str | DataSet, *, samples: int | None = None, seed: int | None = None, **options: Any
) -> Data:
    """The samples of a named set.

    Args:
        name: Of `xbar_spice.parts.DATA`: "peaks", "ellipses", "swiss_roll", "two_moons", "spirals", "digits",
            "breast_cancer" or "wine"; or a `DataSet` of one's own, or a text that names one.
        samples: How many, all classes together; what the set has, or was published with, when left out.
        seed: Of what is random in it.
        **options: Further options of the set.

    Raises:
        InvalidInputError: No set has this name, or it does not take an argument: "swiss_roll" takes neither.

    Example:
        >>> data = load_named_data("two_moons", samples=100, seed=0)
        >>> data.x.shape, int(data.labels.sum())
        ((100, 2), 50)
    """
    asked = {name: value for name, value in (("samples", samples), ("seed", seed)) if value is not None}
    return DATA.get(name, **asked, **options).data()


def split_evenly(samples: int, classes: int) -> list[int]:
    """How many samples each class has; the first ones take what is left over."""
    return [samples // classes + (k < samples % classes) for k in range(classes)]


def stacked(parts: list[FloatArray]) -> tuple[FloatArray, NDArray[np.int64]]:
    """The samples of each class, (samples, p), one class after the other, and their labels."""
    return np.concatenate(parts), np.repeat(np.arange(len(parts)), [len(part) for part in parts])
