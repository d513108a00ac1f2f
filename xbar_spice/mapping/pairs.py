"""A signed weight as a pair of devices, G+- = g_min + k max(+-w, 0), whose currents are subtracted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from xbar_spice.hardware.crossbar import Side
from xbar_spice.linear.operator import FloatArray
from xbar_spice.mapping.base import Layout, Lines, Mapping

__all__ = ["Differential", "Interleaved"]

_PLUS, _MINUS = 0, 1


class _Pairs(Mapping):
    """What both ways to place a pair share."""

    def targets(self, weights: FloatArray, siemens_per_weight: float, g_min: float) -> FloatArray:
        return np.asarray(g_min + siemens_per_weight * np.maximum(np.stack([weights, -weights]), 0.0))

    def slopes(self, weights: FloatArray) -> FloatArray:
        sign = np.sign(weights)
        return np.stack([0.5 * (1.0 + sign), -0.5 * (1.0 - sign)])


@final
@dataclass(frozen=True)
class Differential(_Pairs):
    """Plus and minus devices in two arrays."""

    title = "differential pairs"
    layout = "tI_Jp and tI_Jm: plus and minus devices of tile I of the inputs and J of the outputs"

    def layouts(self, inputs: int, outputs: int) -> Sequence[Layout]:
        rows = Lines.plain(inputs)
        return [
            Layout(suffix, np.full((1, 1), device), rows, Lines.plain(outputs, weight))
            for suffix, device, weight in (("p", _PLUS, 1.0), ("m", _MINUS, -1.0))
        ]

    def subtracts(self, side: Side) -> bool:
        return True

    def subtracted(self, currents: list[FloatArray], side: Side) -> list[FloatArray]:
        # A transposed read drives the minus array with inverted voltages, so that its currents add.
        sign = -1.0 if side == "rows" else 1.0
        pairs = zip(currents[0::2], currents[1::2], strict=True)
        return [part for plus, minus in pairs for part in (plus + sign * minus, np.zeros_like(plus))]


@final
@dataclass(frozen=True)
class Interleaved(_Pairs):
    """Plus and minus devices on neighbouring bit lines of one array."""

    title = "interleaved pairs"
    layout = "tI_J: tile I of the inputs and J of the outputs; its bit lines are plus and minus devices in turn"

    def layouts(self, inputs: int, outputs: int) -> Sequence[Layout]:
        device = np.tile([_PLUS, _MINUS], outputs)
        cols = Lines(np.repeat(np.arange(outputs), 2), np.tile([1.0, -1.0], outputs))
        return [Layout("", device[np.newaxis], Lines.plain(inputs), cols)]

    def subtracts(self, side: Side) -> bool:
        return side == "rows"  # the word lines carry the difference anyway

    def subtracted(self, currents: list[FloatArray], side: Side) -> list[FloatArray]:
        found = []
        for amperes in currents:
            lines = np.zeros_like(amperes)
            lines[0::2] = amperes[0::2] - amperes[1::2]
            found.append(lines)
        return found
