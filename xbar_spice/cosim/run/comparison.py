"""How far an analog array of numbers is from the digital one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from xbar_spice.linear.operator import FloatArray

__all__ = ["SMALLEST_SIGN", "Comparison", "compare"]

SMALLEST_SIGN = 1e-6
"""Size, relative to the largest, of an entry whose sign counts: well above what the tolerances of solvers leave."""


@final
@dataclass(frozen=True)
class Comparison:
    """An analog array of numbers against the digital one.

    Attributes:
        relative_error: |analog - digital| / |digital|.
        cosine: of the angle between the two.
        sign_agreement: part of the entries that matter whose signs are not opposite. Entries matter whose digital value
            is at least `SMALLEST_SIGN` of the largest one; an analog zero has no sign, and none that is wrong.
    """

    relative_error: float
    cosine: float
    sign_agreement: float


def compare(analog: FloatArray, digital: FloatArray) -> Comparison:
    """Compare two arrays of one shape; all is NaN if the digital one is zero or one of them is not finite."""
    size, found = float(np.linalg.norm(digital)), float(np.linalg.norm(analog))
    if not (0 < size < np.inf and np.isfinite(found)):
        return Comparison(float("nan"), float("nan"), float("nan"))
    sizes = np.abs(digital)
    counted = sizes >= SMALLEST_SIGN * sizes.max()
    return Comparison(
        relative_error=float(np.linalg.norm(analog - digital)) / size,
        cosine=float(np.vdot(analog, digital)) / (found * size) if found > 0 else 0.0,
        sign_agreement=float((np.sign(analog[counted]) != -np.sign(digital[counted])).mean()),
    )
