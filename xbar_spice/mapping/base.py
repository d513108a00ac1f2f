"""What a mapping says: which devices a weight becomes, on which lines they stand, and how the lines count."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

import numpy as np
from numpy.typing import NDArray

from xbar_spice.errors import InvalidInputError
from xbar_spice.hardware.crossbar import Side
from xbar_spice.linear.operator import FloatArray

__all__ = ["IntArray", "Layout", "Lines", "Mapping"]

IntArray = NDArray[np.int64]


@final
@dataclass(frozen=True, eq=False)
class Lines:
    """The lines of one kind of one array, and what each of them carries.

    Attributes:
        index: (lines,) The input that a word line carries, or the output that a bit line belongs to.
        weight: (lines,) With which the line counts: it is driven with weight times voltage, and its current is added up
            weight times. +1 and -1 are the plus and minus lines of a pair.
        shared: (lines,) The weight with which a line counts for *every* input or output of its tile, such as -1 of a
            reference line that all outputs subtract; None if there is no such line.
        scale: (indices of the tile,) By which the weights of an input or output were multiplied before they became
            devices, and all that its lines carry is divided; None if by nothing.
    """

    index: IntArray
    weight: FloatArray
    shared: FloatArray | None = None
    scale: FloatArray | None = None

    @classmethod
    def plain(cls, count: int, weight: float = 1.0) -> Lines:
        """One line for each index, all with the same weight."""
        return cls(np.arange(count), np.full(count, weight))

    @property
    def span(self) -> slice:
        """The inputs or outputs of the tile."""
        return slice(int(self.index.min()), int(self.index.max()) + 1)

    @property
    def local(self) -> Lines:
        """The same lines, counting from the first input or output of the tile."""
        return replace(self, index=self.index - self.index.min())

    def part(self, lines: slice) -> Lines:
        """Some of the lines."""
        shared = None if self.shared is None else self.shared[lines]
        return Lines(self.index[lines], self.weight[lines], shared, self.scale)

    @property
    def squared(self) -> Lines:
        """The same lines with the squares of all weights, with which variances add up."""
        shared = None if self.shared is None else self.shared**2
        return Lines(self.index, self.weight**2, shared, None if self.scale is None else self.scale**2)

    @property
    def divisor(self) -> FloatArray | float:
        """(indices of the tile, 1) `scale`, or 1."""
        return 1.0 if self.scale is None else self.scale[:, np.newaxis]

    def spread(self, values: FloatArray) -> FloatArray:
        """(lines, batch) what each line is driven with, from the values (indices, batch) of what it carries."""
        if self.scale is not None:
            values = values.copy()
            values[self.span] /= self.divisor
        found = self.weight[:, np.newaxis] * values[self.index]
        if self.shared is not None:
            found += self.shared[:, np.newaxis] * values[self.span].sum(axis=0)
        return np.asarray(found)

    def collect(self, total: FloatArray, values: FloatArray) -> None:
        """Add the values (lines, batch) of each line to the totals (indices, batch); the transpose of `spread`."""
        if self.scale is not None:
            found = np.zeros_like(total)
            replace(self, scale=None).collect(found, values)
            total[self.span] += found[self.span] / self.divisor
            return
        np.add.at(total, self.index, self.weight[:, np.newaxis] * values)
        if self.shared is not None:
            total[self.span] += self.shared @ values

    def moved(self, start: int, order: IntArray, scale: FloatArray | None = None) -> Lines:
        """The same lines in another order, of a tile that starts at another index.

        Args:
            start: First index of the tile.
            order: (lines,) Which line comes where.
            scale: See the attribute.
        """
        shared = None if self.shared is None else self.shared[order]
        return Lines((self.index + start)[order], self.weight[order], shared, scale)


@final
@dataclass(frozen=True, eq=False)
class Layout:
    """One array of a tile, before it has conductances.

    Attributes:
        suffix: Letters that tell the arrays of a tile apart; empty if there is one only.
        device: (rows, cols), or a shape that broadcasts to it: which of the devices of a weight stands at a crosspoint.
        rows: Word lines; their index counts the inputs of the tile.
        cols: Bit lines; their index counts the outputs of the tile.
        factor: With which the digital side multiplies all currents of the array, in either direction; the place value
            of a slice.
    """

    suffix: str
    device: IntArray
    rows: Lines
    cols: Lines
    factor: float = 1.0


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
    def targets(self, weights: FloatArray, siemens_per_weight: float, g_min: float, g_max: float) -> FloatArray:
        """The conductances that programming aims at.

        Args:
            weights: (n, m), inputs first.
            siemens_per_weight: Conductance of a weight of 1, as the product divides by it.
            g_min: Lowest programmed conductance, siemens.
            g_max: Highest programmed conductance, siemens. Targets beyond it are clipped to it afterwards.

        Returns:
            (devices, n, m) siemens: all devices of every weight. A line that all outputs of a tile share, such as a
            reference, takes its devices from a plane of its own, at the tile's first output.
        """

    @abstractmethod
    def slopes(self, weights: FloatArray) -> FloatArray:
        """(devices, n, m) derivative of `targets` with respect to the weights, over `siemens_per_weight`.

        Where the two one-sided derivatives differ, such as at a weight of 0, their mean. Rounding to levels is passed
        straight through, with the changes of all devices chosen such that an array without wires follows the weight.
        """

    @abstractmethod
    def layouts(self, inputs: int, outputs: int) -> Sequence[Layout]:
        """The arrays of a tile of that many inputs and outputs."""

    def window(self, g_min: float, g_max: float) -> float:
        """Siemens, as `siemens_per_weight` counts them, that the largest weight can take: one device's range here."""
        return g_max - g_min

    def baseline(self, g_min: float, g_max: float) -> float:
        """Siemens that every weight has on top, and that the digital side subtracts, times a tile's summed inputs."""
        return 0.0

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
