"""Arrays of real numbers, made of anything that becomes one without loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from xbar_spice.checks.rules import Rule, as_float, given

__all__ = ["Array"]


@final
@dataclass(frozen=True)
class Array(Rule[NDArray[np.float64]]):
    """An array of real numbers, or anything that becomes one without loss.

    Attributes:
        finite: whether NaN and infinity are refused, too.
    """

    finite: bool = True

    @property
    def allowed(self) -> str:
        return f"an array of {'finite ' if self.finite else ''}real numbers"

    def checked(self, value: Any) -> NDArray[np.float64]:
        values = value if type(value) is np.ndarray and value.dtype == np.float64 else _real_values(value)
        if self.finite and not np.isfinite(values).all():
            raise ValueError("there is NaN or infinity in it")
        return values


def _real_values(value: Any) -> NDArray[np.float64]:
    if isinstance(value, type | str | bytes) or value is None:
        raise ValueError("" if not isinstance(value, str) else "a text is no array")
    if np.ma.isMaskedArray(value) and np.ma.getmaskarray(value).any():
        raise ValueError("values are masked: fill them, array.filled(...), or leave them out, array.compressed()")
    if hasattr(value, "toarray"):
        raise ValueError("a sparse matrix becomes an array with .toarray()")
    try:
        found = np.asarray(value)
    except (ValueError, TypeError, RuntimeError):
        raise ValueError("its rows have different lengths, or it is no array at all") from None
    if found.dtype.kind == "O":
        entries = [_entry(entry) for entry in found.ravel()]
        found = np.array(entries, dtype=float).reshape(found.shape)
    if found.dtype.kind == "c":
        raise ValueError("take the real part if that is meant, array.real")
    if found.dtype.kind not in "biuf":
        raise ValueError(f"it holds values of type {found.dtype}")
    with np.errstate(over="ignore"):  # a number of a longer type becomes infinite, which is refused where it matters
        return np.asarray(found, dtype=np.float64)


def _entry(value: Any) -> float:
    """A number in an array of Python objects."""
    if isinstance(value, list | tuple | np.ndarray):
        raise ValueError("its rows have different lengths")
    try:
        return as_float(value)
    except ValueError as error:
        raise ValueError(str(error) or f"it holds {given(value)}") from None
