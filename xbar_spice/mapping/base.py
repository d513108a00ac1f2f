"""What a mapping says: which devices a weight becomes, on which lines they stand, and how the lines count."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from xbar_spice.errors import InvalidInputError
from xbar_spice.hardware.crossbar import Side
from xbar_spice.linear.operator import FloatArray

__all__ = ["IntArray", "Layout", "Lines", "Mapping", "by_line"]

IntArray = NDArray[np.int64]


@final
@dataclass(frozen=True, eq=False)
class Lines:
    """The lines of one kind of one array, and what each of them carries.

    Attributes:
        index: (lines,) The input that a word line carries, or the output that a bit line belongs to.
        weight: (lines,) With which the line counts: it is driven with weight times voltage, or its current is added up
            weight times. +1 and -1 are the plus and minus lines of a pair.
    """

    index: IntArray
    weight: FloatArray

    @classmethod
    def plain(cls, count: int, weight: float = 1.0) -> Lines:
        """One line for each index, all with the same weight."""
        return cls(np.arange(count), np.full(count, weight))


@final
@dataclass(frozen=True, eq=False)
class Layout:
    """One array of a tile, before it has conductances.

    Attributes:
        suffix: Letters that tell the arrays of a tile apart; empty if there is one only.
        device: (rows, cols), or a shape that broadcasts to it: which of the devices of a weight stands at a crosspoint.
        rows: Word lines; their index counts the inputs of the tile.
        cols: Bit lines; their index counts the outputs of the tile.
    """

    suffix: str
    device: IntArray
    rows: Lines
    cols: Lines


class Mapping(ABC):
    """How signed weights become devices on the lines of arrays.

    The product that an array returns is sum over lines of weight times current, over `siemens_per_weight` and volts per
    unit. A read of the other side drives every line with the weight with which its current would count, which makes it
    the exact transpose as long as the circuit is reciprocal.

    A mapping of one's own subclasses this, as a frozen dataclass if it has options, and is handed over where the name
    of a built-in one goes. `Differential` in `xbar_spice/mapping/pairs.py` is a complete example.
    """

    title: str = ""
    """What it makes of weights, in two or three words for the head of a deck, such as "differential pairs"."""

    layout: str = ""
    """What the names of arrays mean, as manifests and decks say it; tile I of the inputs, J of the outputs."""

    @abstractmethod
    def targets(self, weights: FloatArray, siemens_per_weight: float, g_min: float) -> FloatArray:
        """The conductances that programming aims at.

        Args:
            weights: (n, m), inputs first.
            siemens_per_weight: Conductance of a weight of 1.
            g_min: Lowest programmed conductance, siemens.

        Returns:
            (devices, n, m) siemens: all devices of every weight.
        """

    @abstractmethod
    def slopes(self, weights: FloatArray) -> FloatArray:
        """(devices, n, m) derivative of `targets` with respect to the weights, over `siemens_per_weight`.

        Where the two one-sided derivatives differ, such as at a weight of 0, their mean.
        """

    @abstractmethod
    def layouts(self, inputs: int, outputs: int) -> Sequence[Layout]:
        """The arrays of a tile of that many inputs and outputs."""

    def window(self, g_min: float, g_max: float) -> float:
        """Siemens, as `siemens_per_weight` counts them, that the largest weight can take: one device's range here."""
        return g_max - g_min

    def subtracts(self, side: Side) -> bool:
        """Whether a pair of sense lines could share one ADC behind an analog subtraction, when `side` is driven."""
        return False

    def subtracted(self, currents: list[FloatArray], side: Side) -> list[FloatArray]:
        """The currents behind that subtraction: what both lines of a pair make at the first, nothing at the second.

        Args:
            currents: (lines, batch) of every array, in the order of `layouts`, tile after tile.
            side: The driven side.
        """
        raise InvalidInputError(f"{self!r} has no pairs of lines to subtract before an ADC; try subtraction='digital'")


def by_line(lines: Lines, values: FloatArray) -> FloatArray:
    """(lines, batch) what each line is driven with, from the values (indices, batch) of what it carries."""
    return np.asarray(lines.weight[:, np.newaxis] * values[lines.index])
