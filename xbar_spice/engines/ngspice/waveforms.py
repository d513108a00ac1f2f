"""A transient analysis in the worker process: the whole run, then its waveforms."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from xbar_spice.engines.ngspice.library import LibraryFailure, Ngspice

__all__ = ["waveforms"]

NUMBERS_PER_PART = 2**20


def waveforms(ngspice: Ngspice, cards: list[str], probes: Sequence[str]) -> Iterator[NDArray[np.float64]]:
    """Run the deck's own analysis.

    Args:
        ngspice: the simulator.
        cards: the deck, with one `.tran` card.
        probes: names of vectors.

    Yields:
        (rows, points): the times in seconds, then the probes one after the other, some rows at a time.

    Raises:
        LibraryFailure: the deck cannot be read or solved, or a probe is missing.
    """
    ngspice.points = 0
    ngspice.load(cards)
    ngspice.run("run")
    names, points = ["time", *probes], ngspice.points
    if points == 0:
        raise LibraryFailure("the deck's analysis gave no points", [])
    rows = max(1, NUMBERS_PER_PART // points)
    for first in range(0, len(names), rows):
        part = np.array([ngspice.vector(name, 0, points) for name in names[first : first + rows]])
        if not np.isfinite(part).all():
            raise LibraryFailure("the waveforms hold numbers that are not finite", [])
        yield part
