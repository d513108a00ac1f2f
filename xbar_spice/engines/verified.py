"""An engine whose reads are judged by another one, a sample of them, while a run goes on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import final

import numpy as np

from xbar_spice.checks import Real
from xbar_spice.engines.base import Bank, Engine
from xbar_spice.errors import InvalidInputError
from xbar_spice.hardware.biases import End
from xbar_spice.hardware.crossbar import Crossbar, Edge, Side
from xbar_spice.linear.operator import FloatArray

__all__ = ["Verdict", "VerifiedBank", "VerifiedEngine"]

SHARE = 0.02
VECTORS = 4  # of a read that are judged: a batch is solved vector by vector, all in the same way


@final
@dataclass(frozen=True)
class Verdict:
    """What a judge found.

    Attributes:
        engine: Name of the judge.
        reads: How many reads it judged.
        of: How many there were.
        worst: Largest difference of a current, relative to the largest current of its array in the same vector.
    """

    engine: str
    reads: int
    of: int
    worst: float


@dataclass
class _Count:
    """What one run has seen so far."""

    reads: int = 0
    judged: int = 0
    worst: float = 0.0


@final
@dataclass(frozen=True)
class VerifiedEngine(Engine):
    """Reads of one engine, of which a sample is answered by another one, too.

    The currents are those of the first engine; how far they are from the judge's is kept, and the record of a
    co-simulation, which counts its own reads alone, has it; sessions of one's own count on.

    Args:
        answering: who answers the reads.
        judge: another engine.
        share: the part of the reads that are judged; the first one always is.

    Raises:
        InvalidInputError: a share that is not above 0 and at most 1, or two engines of one name.

    Example:
        >>> from xbar_spice.engines.registry import get_engine
        >>> from xbar_spice.hardware.crossbar import Crossbar
        >>> engine = VerifiedEngine(get_engine("nodal"), get_engine("ideal"), share=0.5)
        >>> with engine.program(Crossbar([[1e-4]], r_driver=50.0)) as session:
        ...     for _ in range(4):
        ...         currents = session.read([0.1])
        >>> engine.verdict()
        Verdict(engine='ideal', reads=2, of=4, worst=0.005)
    """

    answering: Engine
    judge: Engine
    share: float = SHARE
    _seen: _Count = field(default_factory=_Count, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        Real(above=0, most=1)("share", self.share)
        if self.answering.name == self.judge.name:
            raise InvalidInputError(f"{self.judge.name} cannot judge itself; name another engine")

    @property
    def name(self) -> str:  # type: ignore[override]
        """That of the engine which answers."""
        return self.answering.name

    def program_bank(self, crossbars: Sequence[Crossbar]) -> Bank:
        """Prepare arrays, for both."""
        return VerifiedBank(self.answering.program_bank(crossbars), self.judge.program_bank(crossbars), self)

    def verdict(self) -> Verdict:
        """What the judge has found so far."""
        return Verdict(self.judge.name, self._seen.judged, self._seen.reads, self._seen.worst)

    def takes(self) -> bool:
        """Whether the read that comes now is judged."""
        number = self._seen.reads
        self._seen.reads += 1
        return number == 0 or math.floor(number * self.share) > math.floor((number - 1) * self.share)

    def compare(self, found: Sequence[FloatArray], wanted: Sequence[FloatArray]) -> None:
        """Keep how far the currents of two reads, (ports, batch) for each array, are apart."""
        self._seen.judged += 1
        for one, other in zip(found, wanted, strict=True):
            sizes = np.abs(other).max(axis=0, initial=0.0)
            apart = np.abs(one - other).max(axis=0, initial=0.0)
            # Where nothing flows, rounding is no disagreement.
            shares = np.divide(apart, sizes, out=np.zeros_like(apart), where=sizes > 0)
            self._seen.worst = float(np.fmax(self._seen.worst, shares.max(initial=0.0)))


@final
class VerifiedBank(Bank):
    """Arrays of two engines side by side."""

    def __init__(self, answering: Bank, judge: Bank, engine: VerifiedEngine) -> None:
        super().__init__(answering.crossbars)
        self._answering, self._judge, self._engine = answering, judge, engine

    @property
    def source(self) -> str:
        return self._answering.source

    def transfers(self, side: Side) -> list[FloatArray] | None:
        return self._answering.transfers(side)

    def _as_read(self, crossbar: Crossbar) -> Crossbar:
        return self._answering._as_read(crossbar)

    def _read(self, drives: Sequence[FloatArray], side: Side) -> list[FloatArray]:
        found = self._answering._read(drives, side)
        if drives and drives[0].shape[1] and self._engine.takes():
            few = [drive[:, :VECTORS] for drive in drives]
            self._engine.compare([currents[:, :VECTORS] for currents in found], self._judge._read(few, side))
        return found

    def _bias(self, ends: Mapping[Edge, End]) -> Mapping[Edge, FloatArray]:
        return self._answering._bias(ends)

    def close(self) -> None:
        super().close()
        self._answering.close()
        self._judge.close()
