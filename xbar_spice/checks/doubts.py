"""Warnings of what is allowed but hardly meant; each points at the line of the user's own that caused it."""

from __future__ import annotations

import sys
import warnings

from xbar_spice.errors import DesignWarning

__all__ = ["warn"]

OURS = ("xbar_spice", "dataclasses")  # whose `replace` makes values anew


def warn(text: str) -> None:
    """Warn with a text, at the first caller outside this package; the same line is told once."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in OURS:
        level, frame = level + 1, frame.f_back
    warnings.warn(text, DesignWarning, stacklevel=level)
