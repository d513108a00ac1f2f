"""What is kept of every read of the arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Any, Literal, final

from xbar_spice.checks import Function, Optional, checked

__all__ = ["Direction", "ReadRecord", "ReadTrace"]

Direction = Literal["forward", "transposed"]


@final
@dataclass(frozen=True, slots=True)
class ReadRecord:
    """One analog read of all arrays of a matrix.

    Attributes:
        phase: what the product served: forward, newton, krylov, adjoint; empty outside a solver.
        step: time step, or None.
        newton: Newton iteration, or None.
        krylov: Krylov iteration, or None.
        matrix: name of the matrix.
        direction: "forward" or "transposed".
        batch: number of vectors in the read.
        relative_error: |analog - digital| / |digital| over the batch, with the wanted weights as the digital matrix.
            Where all digital products are zero, the largest ones that the devices could stand for take their place.
        worst_relative_error: the largest such ratio of a single vector.
        seconds: wall time of the read.
        source: "netlist" if a circuit simulator was driven, "characterised" if the transfer matrix that was read from
            it once answered, "checked" if both did and agreed; empty for engines without a simulator.
        pulses: reads of the arrays that each vector took, more than one for bit-serial inputs.
        writes: how often the arrays were written for it, of those that all steps share, see `Design.rewritten`.
    """

    phase: str
    step: int | None
    newton: int | None
    krylov: int | None
    matrix: str
    direction: Direction
    batch: int
    relative_error: float
    worst_relative_error: float
    seconds: float
    source: str = ""
    pulses: int = 1
    writes: int = 0


@final
class ReadTrace:
    """Collects a record of every read; may be shared by several matrices.

    Args:
        observer: called with each record as it comes, such as by a progress bar.
    """

    @checked()
    def __init__(self, observer: Callable[[ReadRecord], None] | None = None) -> None:
        self._records: list[ReadRecord] = []
        self._observer = Optional(Function())("observer", observer)

    def append(self, record: ReadRecord) -> None:
        """Add one read."""
        self._records.append(record)
        if self._observer is not None:
            self._observer(record)

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[ReadRecord]:
        return iter(self._records)

    def columns(self) -> dict[str, list[Any]]:
        """The trace as columns by name, ready for a table."""
        names = [field.name for field in fields(ReadRecord)]
        return {name: [getattr(record, name) for record in self._records] for name in names}
