"""A circuit that stays in the simulator, solved for one set of source voltages after another.

How a read is made, and why. Milliseconds per vector with ngspice 46 and KLU on an idle machine, N x N cells with wires
on both sides (`scripts/bench_ngspice_reads` prints such a table):

    |  N | alter + op | new .dc sweep, 64 at once | paused .dc sweep, one vector | 64 at once |
    |----|------------|---------------------------|------------------------------|------------|
    | 16 |        3.1 |                      0.34 |                         0.43 |       0.29 |
    | 32 |       15.4 |                       2.4 |                          2.8 |        2.5 |

An analysis that is started anew allocates and orders its matrix first, which costs six times as much as a solution:
`alter` and `op` do so at every vector. Here one `.dc` sweep over a source that is connected to nothing never ends:
`step n` lets it make n points more and pauses it. The sources of the deck are `external`, so at each point ngspice asks
the callback for their voltages and nothing is parsed. Under Sparse 1.3 the same trick saves the reordering. A solution
does not depend on those before it as long as the cells are linear, bit for bit.

Not taken: `.tran` with external or tabulated sources makes two points per vector (its step control), B-sources with
`pwl` tables need a new deck for every batch, and an `.ac` point that carries two vectors as real and imaginary part
would be twice as fast but needs a new analysis for every pair.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import final

import numpy as np
from numpy.typing import NDArray

from xbar_spice.engines.ngspice.library import LibraryFailure, Ngspice

__all__ = ["ResidentCircuit"]

# Solutions between two signs of life. Larger parts cost less, smaller ones let a time limit mean something.
PART = 16


@final
class ResidentCircuit:
    """One circuit in the simulator, loaded and factorised.

    Args:
        ngspice: the simulator; it holds one resident circuit, because it can pause one sweep.
        cards: the circuit, with a `.dc` sweep over `points` solutions as its only analysis.
        sources: the external sources; their currents are results.
        nodes: whose voltages are the results that follow.
        points: solutions of one sweep. The simulator keeps the results of a sweep until the next one starts.

    Raises:
        LibraryFailure: the circuit cannot be read or solved.
    """

    def __init__(
        self, ngspice: Ngspice, cards: list[str], sources: Sequence[str], nodes: Sequence[str], points: int
    ) -> None:
        self._ngspice = ngspice
        self._sources = len(sources)
        self._probes = [f"{name.lower()}#branch" for name in sources] + [node.lower() for node in nodes]
        self._points = points
        self._done = 0
        ngspice.drive_sources(list(sources))
        ngspice.load(cards)
        self._start_sweep()

    def read(self, volts: NDArray[np.float64]) -> Iterator[NDArray[np.float64]]:
        """Results for each column of voltages, a part of the batch at a time.

        Args:
            volts: (sources, batch), volts.

        Yields:
            (sources + nodes, part), amperes from the positive node of a source through it to the other, then volts.

        Raises:
            LibraryFailure: a solution was not found.
        """
        start = 0
        while start < volts.shape[1]:
            if self._done == self._points:
                self._start_sweep()
            stop = min(start + PART, start + self._points - self._done, volts.shape[1])
            yield self._advance(volts[:, start:stop])
            start = stop

    def _start_sweep(self) -> None:
        """Set up a new sweep and solve its first point at 0 V, which leaves a factorised matrix for the reads."""
        self._ngspice.run("destroy all")
        self._done = 0
        self._advance(np.zeros((self._sources, 1)))

    def _advance(self, volts: NDArray[np.float64]) -> NDArray[np.float64]:
        first, stop = self._done, self._done + volts.shape[1]
        self._ngspice.drive_points(first, volts)
        self._done = stop
        # A sweep that is asked for one step more than it has points ends by itself and frees what it holds.
        self._ngspice.run(f"step {stop - first + (stop == self._points)}")
        results = np.array([self._ngspice.vector(probe, first, stop) for probe in self._probes])
        if not np.isfinite(results).all():
            raise LibraryFailure("the solution holds numbers that are not finite", [])
        return results
