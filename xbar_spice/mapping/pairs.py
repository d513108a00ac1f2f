"""A signed weight as pairs of devices, G+- = g_min + k max(+-w, 0), whose currents are subtracted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, final

import numpy as np

from xbar_spice.checks import Whole, settle
from xbar_spice.hardware.crossbar import Side
from xbar_spice.linear.operator import FloatArray
from xbar_spice.mapping.base import IntArray, Layout, Lines, Mapping

__all__ = ["Differential", "Interleaved", "SignedRows"]


@dataclass(frozen=True)
class _Pairs(Mapping):
    """What all ways to place pairs share.

    Attributes:
        devices: Pairs for each weight, which share it evenly.
        rest: Where the devices of a weight of 0 stand: at "g_min", or both at "g_max", from which one of them is then
            lowered, G+- = g_max - k max(-+w, 0).
    """

    devices: int = 1
    rest: Literal["g_min", "g_max"] = "g_min"

    def __post_init__(self) -> None:
        settle(self, devices=Whole(1, 1024))

    def targets(self, weights: FloatArray, siemens_per_weight: float, g_min: float, g_max: float) -> FloatArray:
        each = siemens_per_weight / self.devices
        pair = np.stack([weights, -weights])  # in place from here on: it may be the largest array of all
        if self.rest == "g_min":
            np.maximum(pair, 0.0, out=pair)
            pair *= each
            pair += g_min
        else:
            np.minimum(pair, 0.0, out=pair)
            pair *= each
            pair += g_max
            np.maximum(pair, g_min, out=pair)
        return pair if self.devices == 1 else np.repeat(pair, self.devices, axis=0)

    def slopes(self, weights: FloatArray) -> FloatArray:
        up = np.sign(weights) if self.rest == "g_min" else -np.sign(weights)
        pair = np.stack([0.5 * (1.0 + up), -0.5 * (1.0 - up)])
        return np.asarray(np.repeat(pair, self.devices, axis=0) / self.devices)

    def window(self, g_min: float, g_max: float) -> float:
        return self.devices * (g_max - g_min)

    def _lines(self, count: int, weight: float = 1.0) -> Lines:
        """The lines that the devices of one sign of every weight stand on."""
        return Lines(np.repeat(np.arange(count), self.devices), np.full(count * self.devices, weight))

    def _paired(self, count: int) -> tuple[Lines, IntArray]:
        """Lines of which those of plus devices come before those of minus devices, weight by weight."""
        weight = np.tile(np.repeat([1.0, -1.0], self.devices), count)
        device = np.tile(np.arange(2 * self.devices), count)
        return Lines(np.repeat(np.arange(count), 2 * self.devices), weight), device


@final
@dataclass(frozen=True)
class Differential(_Pairs):
    """Plus and minus devices in two arrays."""

    title = "differential pairs"
    layout = "tI_Jp and tI_Jm: plus and minus devices of tile I of the inputs and J of the outputs"

    def layouts(self, inputs: int, outputs: int) -> Sequence[Layout]:
        rows, devices = Lines.plain(inputs), np.tile(np.arange(self.devices), outputs)[np.newaxis]
        return [
            Layout(suffix, first + devices, rows, self._lines(outputs, weight))
            for suffix, first, weight in (("p", 0, 1.0), ("m", self.devices, -1.0))
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
        cols, device = self._paired(outputs)
        return [Layout("", device[np.newaxis], Lines.plain(inputs), cols)]

    def subtracts(self, side: Side) -> bool:
        return side == "rows"  # the word lines carry the difference anyway

    def subtracted(self, currents: list[FloatArray], side: Side) -> list[FloatArray]:
        found = []
        for amperes in currents:
            pairs = amperes.reshape(-1, 2, self.devices, amperes.shape[1])
            lines = np.zeros_like(pairs)
            lines[:, 0] = pairs[:, 0] - pairs[:, 1]
            found.append(lines.reshape(amperes.shape))
        return found


@final
@dataclass(frozen=True)
class SignedRows(_Pairs):
    """Plus and minus devices on one bit line, on neighbouring word lines at +V and -V, where their currents cancel."""

    title = "pairs of word lines at +V and -V"
    layout = "tI_J: tile I of the inputs and J of the outputs; its word lines are plus and minus devices in turn"

    def layouts(self, inputs: int, outputs: int) -> Sequence[Layout]:
        rows, device = self._paired(inputs)
        return [Layout("", device[:, np.newaxis], rows, Lines.plain(outputs))]

    def subtracts(self, side: Side) -> bool:
        return side == "cols"  # the bit lines carry the difference anyway

    def subtracted(self, currents: list[FloatArray], side: Side) -> list[FloatArray]:
        return Interleaved(self.devices).subtracted(currents, "rows")
