"""A weight as a whole number whose digits stand on arrays of their own: W = sum of 2^(b s) W_s, added digitally."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, final

import numpy as np
from numpy.typing import NDArray

from xbar_spice.checks import Whole, settle
from xbar_spice.linear.operator import FloatArray
from xbar_spice.mapping.base import Layout, Lines, Mapping

__all__ = ["BitSliced"]

Signs = Literal["sign_magnitude", "offset", "twos_complement", "signed_digits"]


@final
@dataclass(frozen=True)
class BitSliced(Mapping):
    """Weights rounded to `bits` bits, in slices of `slice_bits` bits, each slice on an array of its own.

    A device holds a digit as g_min plus a part of the window, of which the largest digit takes all. The whole numbers
    are q = round(w / step), from -(2^(bits-1) - 1) to 2^(bits-1) - 1, where the largest weight takes the last one.

    Attributes:
        bits: Of a weight, with its sign.
        slice_bits: b, of a device.
        signs: How negative weights are written. "sign_magnitude": the digits of |q| on plus or minus devices of pairs.
            "signed_digits": digits from -2^(b-1) to 2^(b-1) - 1 (of one bit -1, 0, 1) on such pairs, with a carry into
            the next slice. "offset": the digits of q + 2^(bits-1), with a reference column that holds those of 0 on
            each array. "twos_complement": the topmost slice is the sign bit alone and counts negative; a reference
            column of zeros takes away what g_min adds.
    """

    bits: int = 8
    slice_bits: int = 2
    signs: Signs = "sign_magnitude"
    title = "bit slices"
    layout = (
        "tI_Js0, tI_Js1, ...: the slices of tile I of the inputs and J of the outputs, least significant first; the "
        "bit lines of a slice are plus and minus devices in turn, or end in a reference"
    )

    def __post_init__(self) -> None:
        settle(self, bits=Whole(2, 24), slice_bits=Whole(1, 12))

    @property
    def largest(self) -> int:
        """The largest whole number that a weight may be."""
        return int(2 ** (self.bits - 1) - 1)

    @property
    def places(self) -> tuple[int, ...]:
        """With which each slice counts, least significant first."""
        radix, width = 2**self.slice_bits, self.bits if self.signs == "offset" else self.bits - 1
        slices = -(-width // self.slice_bits)
        if self.signs == "signed_digits":
            digit = radix // 2 - 1  # the largest; of one bit the non-adjacent form, whose largest number is 1010...
            slices = 1
            while (digit * (radix**slices - 1) // (radix - 1) if digit else 2 ** (slices + 1) // 3) < self.largest:
                slices += 1
        places = [radix**s for s in range(slices)]
        if self.signs == "twos_complement":
            places.append(-(2 ** (self.bits - 1)))
        return tuple(places)

    def digits(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """(slices, ...) the digits of whole numbers, least significant first; negative ones on minus devices."""
        radix = 2**self.slice_bits
        if self.signs == "sign_magnitude":
            return np.stack([np.sign(numbers) * (np.abs(numbers) // place % radix) for place in self.places])
        if self.signs == "offset":
            return np.stack([(numbers + 2 ** (self.bits - 1)) // place % radix for place in self.places])
        if self.signs == "twos_complement":
            low = numbers % 2 ** (self.bits - 1)
            found = [low // place % radix for place in self.places[:-1]]
            return np.stack([*found, (numbers < 0).astype(np.int64)])
        found, left = [], numbers.copy()
        for _ in self.places:
            # Of one bit: +1 or -1 where the number is odd, such that the next bit becomes 0.
            odd = np.where(left % 2 == 1, 2 - left % 4, 0)
            digit = odd if radix == 2 else (left + radix // 2) % radix - radix // 2
            left = (left - digit) // radix
            found.append(digit)
        return np.stack(found)

    def numbers(self, weights: FloatArray, siemens_per_weight: float, g_min: float, g_max: float) -> NDArray[np.int64]:
        """The whole numbers that stand for weights."""
        exact = weights * (siemens_per_weight / self._step(g_min, g_max))
        return np.clip(np.rint(exact), -self.largest, self.largest).astype(np.int64)

    def targets(self, weights: FloatArray, siemens_per_weight: float, g_min: float, g_max: float) -> FloatArray:
        digits = self.digits(self.numbers(weights, siemens_per_weight, g_min, g_max))
        step = self._step(g_min, g_max)
        if self._paired:
            pairs = np.stack([np.maximum(digits, 0), np.maximum(-digits, 0)], axis=1)
            return np.asarray(g_min + step * pairs.reshape(-1, *weights.shape))
        zero = self.digits(np.zeros_like(weights, dtype=np.int64))
        return np.asarray(g_min + step * np.stack([digits, zero], axis=1).reshape(-1, *weights.shape))

    def slopes(self, weights: FloatArray) -> FloatArray:
        # The smallest change of all digits that moves the number by one: in proportion to the places.
        places = np.array(self.places, dtype=float)
        share = (places / (places**2).sum())[:, np.newaxis, np.newaxis]
        if self._paired:
            half = 0.5 * share * np.ones_like(weights)
            pairs = np.stack([half, -half], axis=1)
        else:
            pairs = np.stack([share * np.ones_like(weights), np.zeros((len(places), *weights.shape))], axis=1)
        return np.asarray(pairs.reshape(-1, *weights.shape))

    def layouts(self, inputs: int, outputs: int) -> Sequence[Layout]:
        rows, found = Lines.plain(inputs), []
        for s, place in enumerate(self.places):
            if self._paired:
                cols = Lines(np.repeat(np.arange(outputs), 2), np.tile([1.0, -1.0], outputs))
                device = 2 * s + np.tile([0, 1], outputs)
            else:
                last = np.append(np.zeros(outputs), 1.0)
                cols = Lines(np.append(np.arange(outputs), 0), 1.0 - last, -last)
                device = 2 * s + last.astype(np.int64)
            found.append(Layout(f"s{s}", device[np.newaxis], rows, cols, float(place)))
        return found

    def window(self, g_min: float, g_max: float) -> float:
        return self.largest * self._step(g_min, g_max)

    @property
    def _paired(self) -> bool:
        return self.signs in ("sign_magnitude", "signed_digits")

    def _step(self, g_min: float, g_max: float) -> float:
        """Siemens of a digit of 1."""
        largest = max(2**self.slice_bits // 2, 1) if self.signs == "signed_digits" else 2**self.slice_bits - 1
        return float((g_max - g_min) / largest)
