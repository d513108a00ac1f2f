"""A signed weight as one device around the middle of its window, G = (g_min + g_max) / 2 + k w."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, final

import numpy as np

from xbar_spice.checks import settle
from xbar_spice.linear.operator import FloatArray
from xbar_spice.mapping.base import Layout, Lines, Mapping

__all__ = ["Offset"]


@final
@dataclass(frozen=True)
class Offset(Mapping):
    """One device for each weight; the middle of the window is subtracted.

    Attributes:
        reference: What subtracts it: a "column" of devices in the middle of the window on each array, whose current all
            outputs subtract, and which a transposed read drives with minus the sum of all voltages (beyond `v_read` if
            they add up); or the "digital" side, which subtracts the middle times the sum of the inputs and knows
            nothing of what the wires did to it. The transposed read is the exact transpose either way.
    """

    reference: Literal["column", "digital"] = "column"
    title = "offset devices"
    layout = "tI_J: tile I of the inputs and J of the outputs; its last bit line is the reference, if it has one"

    def __post_init__(self) -> None:
        settle(self)

    def targets(self, weights: FloatArray, siemens_per_weight: float, g_min: float, g_max: float) -> FloatArray:
        middle = 0.5 * (g_min + g_max)
        signed = np.maximum(middle + siemens_per_weight * weights, g_min)
        return np.stack([signed, np.full_like(signed, middle)][: self._planes])

    def slopes(self, weights: FloatArray) -> FloatArray:
        return np.stack([np.ones_like(weights), np.zeros_like(weights)][: self._planes])

    def layouts(self, inputs: int, outputs: int) -> Sequence[Layout]:
        if self.reference == "digital":
            return [Layout("", np.zeros((1, 1), dtype=np.int64), Lines.plain(inputs), Lines.plain(outputs))]
        index, last = np.append(np.arange(outputs), 0), np.append(np.zeros(outputs), 1.0)
        cols = Lines(index, 1.0 - last, -last)
        return [Layout("", last.astype(np.int64)[np.newaxis], Lines.plain(inputs), cols)]

    def window(self, g_min: float, g_max: float) -> float:
        return 0.5 * (g_max - g_min)

    def baseline(self, g_min: float, g_max: float) -> float:
        return 0.5 * (g_min + g_max) if self.reference == "digital" else 0.0

    @property
    def _planes(self) -> int:
        return 2 if self.reference == "column" else 1
