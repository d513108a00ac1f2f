"""A transient analysis in the worker process: the whole run, then its waveforms."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from xbar_spice.engines.ngspice.library import LibraryFailure, Ngspice
from xbar_spice.engines.ngspice.messages import Cause

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
    names = ["time", *probes]
    ngspice.collect(names, float)
    ngspice.load(cards)
    # Where it starts may be any state that the circuit can be in; what follows solves its equations at every step.
    ngspice.run("run", Cause.SINGULAR, Cause.SETTLED)
    found = ngspice.collected().T
    if not np.isfinite(found).all():
        raise LibraryFailure("the waveforms hold numbers that are not finite", [])
    rows = max(1, NUMBERS_PER_PART // found.shape[1])
    for first in range(0, len(names), rows):
        yield found[first : first + rows]
