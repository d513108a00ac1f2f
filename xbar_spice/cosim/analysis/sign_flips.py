"""Entries of a gradient whose sign is wrong: how many, and how large they would have been.

A trainer moves the weight of a flipped entry the wrong way. An entry that is zero, such as those of a unit of relu that
no sample switches on, moves nothing and is no flip, although the true gradient is hardly ever zero: all devices of an
array share its wires.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from xbar_spice.checks import checked
from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.operator import FloatArray

__all__ = ["SignFlips", "sign_flips"]


@final
@dataclass(frozen=True, eq=False)
class SignFlips:
    """Entries whose sign is the opposite of that of a reference; zeros of the reference are left out.

    Attributes:
        sizes: (entries,) of the reference, relative to its largest, in any order.
        flipped: (entries,) of these, which have the opposite sign.
    """

    sizes: FloatArray
    flipped: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]

    @property
    def share(self) -> float:
        """Part of the entries that flipped; 0 if there are no entries."""
        return float(self.flipped.mean()) if self.flipped.size else 0.0

    @property
    def largest(self) -> float:
        """Size of the largest entry that flipped, relative to the largest of all; 0 if none did."""
        return float(self.sizes[self.flipped].max(initial=0.0))

    @property
    def median(self) -> float:
        """Median size of the entries that flipped, relative to the largest of all; 0 if none did."""
        return float(np.median(self.sizes[self.flipped])) if self.flipped.any() else 0.0

    def share_above(self, size: float) -> float:
        """Part that flipped of the entries of at least this size, relative to the largest of all."""
        counted = self.sizes >= size
        return float(self.flipped[counted].mean()) if counted.any() else 0.0


@checked()
def sign_flips(found: FloatArray, reference: FloatArray) -> SignFlips:
    """Compare the signs of a gradient with those of a reference.

    Args:
        found: a gradient.
        reference: of the same shape.

    Raises:
        InvalidInputError: the shapes differ, or an entry is not finite.

    Example:
        >>> flips = sign_flips(np.array([1.0, 0.1, -0.2]), np.array([1.0, -0.1, -0.2]))
        >>> flips.share, flips.largest
        (0.333333, 0.1)
    """
    if found.shape != reference.shape:
        raise InvalidInputError(f"gradients must have one shape, got {found.shape} and {reference.shape}")
    if lost := int((~(np.isfinite(found) & np.isfinite(reference))).sum()):
        raise InvalidInputError(
            f"signs need gradients that are finite, got NaN or infinity in {lost} of {found.size} entries; "
            "see which samples did not converge"
        )
    counted = reference != 0
    sizes = np.abs(reference[counted])
    flipped = np.sign(found[counted]) == -np.sign(reference[counted])
    return SignFlips(sizes / sizes.max(initial=np.finfo(float).tiny), flipped)
