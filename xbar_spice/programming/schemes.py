"""Which cells of an array a pulse is meant for, and what it does to the others."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import Literal, NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from xbar_spice.hardware.biases import Biases
from xbar_spice.hardware.crossbar import Crossbar

__all__ = ["SCHEMES", "Scheme", "Selected", "Selector"]

Scheme = Literal["v/2", "v/3", "1t1r"]

SHARES: MappingProxyType[str, tuple[float, float]] = MappingProxyType({"v/2": (1 / 2, 1 / 2), "v/3": (1 / 3, 2 / 3)})
"""Of the voltage, at word lines and bit lines that are not selected."""

SCHEMES: tuple[Scheme, ...] = ("v/2", "v/3", "1t1r")


class Selected(NamedTuple):
    """The circuit that a pulse sees.

    Attributes:
        crossbar: The cells that conduct, with their wires.
        rows: Index of its word lines in the whole array.
        cols: Index of its bit lines.
        biases: Of the pulse.
    """

    crossbar: Crossbar
    rows: NDArray[np.int64]
    cols: NDArray[np.int64]
    biases: Biases


@final
class Selector:
    """Puts a voltage across some cells of a row.

    "v/2" holds all other lines at half the voltage, "v/3" other word lines at a third and other bit lines at two
    thirds. "1t1r" closes the transistors of all other rows and leaves other bit lines open: nothing is left of other
    cells, and of their lines only the wire.

    Args:
        crossbar: The array; word lines are driven at the left through `r_driver`, bit lines at the bottom through
            `r_sense`.
        scheme: Which one.
    """

    def __init__(self, crossbar: Crossbar, scheme: Scheme) -> None:
        self._crossbar, self._scheme = crossbar, scheme
        self._part: tuple[int, bytes, Crossbar] | None = None

    def at(self, row: int, cols: NDArray[np.int64], volts: float) -> Selected:
        """These volts across the cells of a row and some columns, but for wires and terminals."""
        if self._scheme == "1t1r":
            part = self._row_alone(row, cols)
            return Selected(part, np.array([row]), cols, Biases(left=[volts], bottom=np.zeros(cols.size)))
        word, bit = SHARES[self._scheme]
        rows, columns = self._crossbar.shape
        left, bottom = np.full(rows, word * volts), np.full(columns, bit * volts)
        left[row], bottom[cols] = volts, 0.0
        return Selected(self._crossbar, np.arange(rows), np.arange(columns), Biases(left=left, bottom=bottom))

    def _row_alone(self, row: int, cols: NDArray[np.int64]) -> Crossbar:
        """The cells of a row and some columns; wires of the lines between them are added up."""
        if self._part is None or self._part[:2] != (row, cols.tobytes()):
            whole = self._crossbar
            word, bit = whole.segments("rows")[row], whole.segments("cols")[cols]
            along = np.add.reduceat(word, [0, *(cols + 1)])
            down = np.stack([bit[:, : row + 1].sum(axis=1), bit[:, row + 1 :].sum(axis=1)])
            cells = whole.conductance[row : row + 1, cols]
            part = replace(whole, conductance=cells, r_word=along[np.newaxis], r_bit=down, open_rows=())
            self._part = row, cols.tobytes(), part
        return self._part[2]
