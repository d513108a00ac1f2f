"""A circuit that stays in the simulator, solved for one set of source voltages after another.

How a read is made, and why; `experiments/bench_ngspice.py --candidates` measures the ways to choose from. An analysis
that is started anew allocates and orders its matrix first, which costs several times as much as a solution: `alter` and
`op` do so at every vector. Here one sweep over nothing that matters never ends: `step n` lets it make n points more and
pauses it. Under Sparse 1.3 the same trick saves the reordering, which costs many solutions.

What a point costs depends on the analysis:

- A point of a `.dc` sweep loads, factorises and solves twice, because Newton's method needs a second iteration to see
  that the first one was right, in linear circuits too. The sources are `external`, so at each point ngspice asks the
  callback for their voltages and nothing is parsed. Circuits with any nonlinear element are read this way.
- A point of an `.ac` sweep loads, factorises and solves once, in complex numbers, and carries two vectors: one as real
  and one as imaginary part. There are no external sources in `.ac`; `alter` sets gains, about 10 us each, and those
  that stay as they are cost nothing. In batches this is half the time per vector under KLU and less than a third under
  Sparse 1.3; a single vector costs no more than by `.dc`. Resistive circuits are read this way.

- An `.op` that is started anew costs four or five times a point of a `.dc` sweep. It begins at nothing, as the deck by
  hand does, and not at the vector before. Circuits whose laws only the simulator knows are read this way, because they
  may have several solutions, and so is the rest of a read in which a sweep found no way on.

A solution does not depend on those before it as long as the circuit is linear, nor on its neighbour in the other part:
bit for bit under KLU. Sparse 1.3 eliminates the two parts in another order, so that there the same vector may differ in
its last bits with its place in the batch.

Where Newton's method fails, ngspice steps gmin, then the supplies, and then lets the circuit settle in a transient
analysis of 10 us. The first two end with the circuit's own equations and count as solutions (`messages` says how). The
third one counts only where nothing is stored and no matrix was singular: otherwise the circuit may not have settled, or
a part of it floats.

Not taken: `alter` of `acmag` is not heard before the next analysis; `.tran` makes two points per vector (its step
control); B-sources with `pwl` tables need a new deck for every batch; `.options noopac` without KLU's first
factorisation of the real matrix fails; `.sp` would solve for all ports with one factorisation, but ngspice 46 does not
come back from it with 32 ports.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from xbar_spice.engines.ngspice.cards import IMAGINARY_GAIN, REAL_GAIN
from xbar_spice.engines.ngspice.library import LibraryFailure, Ngspice
from xbar_spice.engines.ngspice.messages import Cause

__all__ = ["PairedCircuit", "ResidentCircuit", "SingleCircuit", "SweptCircuit", "Ways", "load"]

# Vectors between two signs of life. Larger parts cost less, smaller ones let a time limit mean something.
PART = 16


class Ways(NamedTuple):
    """The cards of one circuit for each way to read it.

    Attributes:
        single: plain sources; each vector is an analysis of its own.
        swept: a `.dc` sweep as its only analysis; None if the circuit may have several solutions.
        paired: the same with an `.ac` sweep; None if it is not resistive.
    """

    single: list[str]
    swept: list[str] | None
    paired: list[str] | None


def load(ngspice: Ngspice, ways: Ways, sources: Sequence[str], nodes: Sequence[str], points: int) -> ResidentCircuit:
    """Load a circuit in the way that reads it fastest.

    Args:
        ngspice: the simulator; it holds one resident circuit, because it can pause one sweep.
        ways: the cards of the circuit.
        sources: whose voltages are given; their currents are results.
        nodes: whose voltages are the results that follow.
        points: solutions of one sweep. The simulator keeps the results of a sweep until the next one starts.

    Raises:
        LibraryFailure: the circuit cannot be read, or a resistive one cannot be solved.
    """
    single = SingleCircuit(ngspice, ways.single, sources, nodes)
    for kind, cards in ((PairedCircuit, ways.paired), (SweptCircuit, ways.swept)):
        if cards is not None:
            try:
                circuit = kind(ngspice, cards, sources, nodes, points)
            except LibraryFailure:  # at 0 V, where it need not have a solution; a single read says best what is wrong
                ngspice.give_up_circuit()
            else:
                circuit.fallback = single
                return circuit
    single.enter()
    return single


class ResidentCircuit(ABC):
    """One circuit in the simulator; the arguments of its kinds are those of `load`."""

    def __init__(self, ngspice: Ngspice, sources: Sequence[str], points: int) -> None:
        self._ngspice = ngspice
        self._sources = len(sources)
        self._points = points
        self._done = 0
        self.fallback: SingleCircuit | None = None  # what goes on where this one fails
        self._failed = False

    @property
    @abstractmethod
    def _width(self) -> int:
        """Vectors in a solution."""

    @abstractmethod
    def _advance(self, volts: NDArray[np.float64]) -> NDArray[np.float64]:
        """Results for the columns of (sources, part), as many as the sweep has points left at most."""

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
        while start < volts.shape[1] and not self._failed:
            stop = start
            try:
                if self._done == self._points:
                    self._start_sweep()
                stop = min(start + PART, start + self._width * (self._points - self._done), volts.shape[1])
                results = self._advance(volts[:, start:stop])
                if not np.isfinite(results).all():
                    raise self._ngspice.failure("the solution holds numbers that are not finite")
            except LibraryFailure:
                if self.fallback is None:
                    raise
                self._failed = True
                self._ngspice.give_up_circuit()
                self.fallback.enter()
            else:
                yield results
                start = stop
        if self._failed and self.fallback is not None:
            yield from self.fallback.read(volts[:, start:])

    def _start_sweep(self) -> None:
        """Set up a new sweep and solve its first point at 0 V, which leaves a factorised matrix for the reads."""
        self._ngspice.run("destroy all")
        self._done = 0
        self._advance(np.zeros((self._sources, 1)))

    def _step(self, points: int, *before: str) -> None:
        """Make some points more and pause, after some commands."""
        self._done += points
        # A sweep that is asked for one step more than it has points ends by itself and frees what it holds.
        self._ngspice.run(*before, f"step {points + (self._done == self._points)}")


@final
class SweptCircuit(ResidentCircuit):
    """Any circuit, by `.dc`: a vector is a point."""

    _width = 1

    def __init__(
        self, ngspice: Ngspice, cards: list[str], sources: Sequence[str], nodes: Sequence[str], points: int
    ) -> None:
        super().__init__(ngspice, sources, points)
        ngspice.drive_sources(list(sources))
        ngspice.load(cards)
        ngspice.collect([f"{name}#branch" for name in sources] + list(nodes), float)
        self._start_sweep()

    def _advance(self, volts: NDArray[np.float64]) -> NDArray[np.float64]:
        self._ngspice.drive_points(self._done, volts)
        self._step(volts.shape[1])
        return self._ngspice.collected(volts.shape[1]).T


@final
class PairedCircuit(ResidentCircuit):
    """A resistive circuit, by `.ac`: a point is two vectors."""

    _width = 2

    def __init__(
        self, ngspice: Ngspice, cards: list[str], sources: Sequence[str], nodes: Sequence[str], points: int
    ) -> None:
        super().__init__(ngspice, sources, points)
        ngspice.drive_sources([])
        self._gains = np.zeros((2, len(sources)))  # as the simulator has them
        # Sparse 1.3 orders the real and the complex matrix, seconds each, and needs the complex one only.
        ngspice.load(cards if ngspice.klu else [*cards[:-1], ".options noopac", cards[-1]])
        ngspice.collect([f"{REAL_GAIN}{k}#branch" for k in range(len(sources))] + list(nodes), complex)
        self._start_sweep()

    def _advance(self, volts: NDArray[np.float64]) -> NDArray[np.float64]:
        count = volts.shape[1]
        points = -(-count // 2)
        pairs = np.zeros((2 * points, self._sources))
        pairs[:count] = volts.T
        for pair in pairs.reshape(points, 2, self._sources):
            self._step(1, *self._changes(pair))
        found = self._ngspice.collected(points)
        parts = found.view(np.float64).reshape(points, -1, 2)  # of a complex number
        return parts.transpose(1, 0, 2).reshape(-1, 2 * points)[:, :count]

    def _changes(self, pair: NDArray[np.float64]) -> list[str]:
        """The commands that give the sources other voltages, for those where these differ from what is there."""
        differs = pair != self._gains
        if not differs.any():
            return []
        self._gains[:] = pair
        return [
            f"alter @{(REAL_GAIN, IMAGINARY_GAIN)[part]}{source}[gain] = {_exact(value)}"
            for (part, source), value in zip(np.argwhere(differs).tolist(), pair[differs].tolist(), strict=True)
        ]


@final
class SingleCircuit(ResidentCircuit):
    """Any circuit, by `.op`: every vector begins at nothing, as the deck by hand does."""

    _width = 1

    def __init__(self, ngspice: Ngspice, cards: list[str], sources: Sequence[str], nodes: Sequence[str]) -> None:
        super().__init__(ngspice, sources, 1)
        self._cards = cards
        self._names = list(sources)
        self._results = [f"{name}#branch" for name in sources] + list(nodes)
        self._volts = np.zeros(len(sources))  # as the simulator has them
        stores = any(card.lstrip()[:1].lower() in ("c", "l") for card in cards[1:])
        self._tolerated = () if stores else (Cause.SETTLED,)

    def enter(self) -> None:
        """Load the circuit; another one was there before."""
        self._ngspice.drive_sources([])
        self._ngspice.load(self._cards)
        self._ngspice.collect(self._results, float)

    def _start_sweep(self) -> None:
        self._done = 0

    def _advance(self, volts: NDArray[np.float64]) -> NDArray[np.float64]:
        (column,) = volts.T
        changed = np.flatnonzero(column != self._volts).tolist()
        self._ngspice.run(*[f"alter {self._names[k]} = {_exact(column[k])}" for k in changed], "destroy all")
        self._volts = column.copy()
        self._ngspice.run("op", tolerated=self._tolerated)
        return self._ngspice.collected(1).T


def _exact(value: float) -> str:
    """A number as ngspice reads it to the last bit; it errs by one or two with decimals.

    Example:
        >>> _exact(-0.75), _exact(0.0), _exact(2.0**80)
        ('-6755399441055744/2^53', '0/2^53', '4503599627370496/2^(-28)')
    """
    fraction, exponent = math.frexp(value)
    power = 53 - exponent
    if power > 1023:  # less than 1e-291: ngspice has no such power of two
        return "0"
    return f"{int(fraction * 2**53)}/2^{power if power >= 0 else f'({power})'}"
