"""The tables that scikit-learn ships: handwritten digits, tumours and wines."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np

from xbar_spice.checks import SEED, Optional, Whole, settle
from xbar_spice.data.named import DataSet
from xbar_spice.data.samples import Data

__all__ = ["BreastCancer", "Digits", "Table", "Wine"]


@dataclass(frozen=True)
class Table(DataSet):
    """Measured samples, in the order in which they were published.

    Attributes:
        samples: How many of them, drawn at random; all of them in their order when left out.
        seed: Draws them.
    """

    samples: int | None = None
    seed: int = 0

    source: ClassVar[str]
    """What they are, in words."""

    def __post_init__(self) -> None:
        settle(self, samples=Optional(Whole(1)), seed=SEED)

    @abstractmethod
    def table(self) -> tuple[Any, Any]:
        """All inputs, (samples, p), and all labels."""

    def data(self) -> Data:
        x, labels = self.table()
        everything = Data(x, labels, source=self.source, drawn=True)
        return everything if self.samples is None else everything.take(self.samples, self.seed)


@final
@dataclass(frozen=True)
class Digits(Table):
    """1797 images of 8 x 8 pixels of handwritten digits, with pixels in [0, 1]."""

    source = "images of the handwritten digits"

    def table(self) -> tuple[Any, Any]:
        x, labels = _loaded("digits")
        return x / 16.0, labels  # the darkest pixel is 16


@dataclass(frozen=True)
class _Measured(Table):
    """Quantities of different units.

    Attributes:
        standardised: Whether each feature is given in its standard deviations from its mean, over all samples; as it
            was measured when not.
    """

    standardised: bool = False

    name: ClassVar[str]
    """By which scikit-learn knows them."""

    def table(self) -> tuple[Any, Any]:
        x, labels = _loaded(self.name)
        return ((x - x.mean(axis=0)) / x.std(axis=0) if self.standardised else x), labels


@final
@dataclass(frozen=True)
class BreastCancer(_Measured):
    """569 tumours by 30 measures of their cells: malignant (0) or benign (1); Wolberg, Street and Mangasarian, 1993."""

    source, name = "tumours of the breast cancer table", "breast_cancer"


@final
@dataclass(frozen=True)
class Wine(_Measured):
    """178 wines of three growers by 13 chemical measures; Aeberhard and Forina, 1991."""

    source, name = "wines of the wine table", "wine"


def _loaded(name: str) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    # scikit-learn takes over a second to import, which every worker of a study would pay.
    from sklearn import datasets  # noqa: PLC0415

    x, labels = getattr(datasets, f"load_{name}")(return_X_y=True)
    return x, labels
