"""One set of arrays that hold the matrices of all steps in turn: what every write shares, and what it draws anew.

A matrix of a model whose weights change in time has a name for each step, K[0], K[1] and so on. Where its design is
`rewritten`, all of these are written to the same devices, each before its step is read: on the way forward, and again
on the way back of the adjoint, which begins with what the last step has left.

- What `Design.variation` draws belongs to the devices: a factor, or a stuck device, is the same in every write.
- What `Design.cycle` draws belongs to a write: it is drawn anew for each step, and anew on the way back, so that
  transposed reads of the adjoint meet other devices than the forward reads did.
- Pulses start from what the arrays held before, and their noise belongs to the write.
- A step whose devices have the same targets as those that the arrays hold is not written.

Going over the same steps again in the same direction repeats the draws: a run is one sweep forward and one back.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal, NamedTuple, final

import numpy as np

from xbar_spice.engines.base import Bank, Closeable, Engine
from xbar_spice.hardware.variation import ProgrammingCost, Variation
from xbar_spice.mapping.design import Design
from xbar_spice.mapping.matrix import MappedMatrix
from xbar_spice.read_context import current_stage

__all__ = ["SharedArrays", "Sweep", "Write", "devices_name", "writes_differ"]

Sweep = Literal["forward", "adjoint"]

_OF_A_STEP = re.compile(r"(.+)\[\d+\]")


class Write(NamedTuple):
    """One write of all arrays of a matrix.

    Attributes:
        sweep: On the way forward, or back.
        devices: How many of them got another target; all at first.
        cost: Of its pulses; None where those are not simulated.
    """

    sweep: Sweep
    devices: int
    cost: ProgrammingCost | None


def devices_name(name: str, design: Design) -> str:
    """The name by which the devices of a matrix are drawn: one for all steps if they share their arrays.

    Example:
        >>> devices_name("K[3]", Design(rewritten=True)), devices_name("K[3]", Design())
        ('K', 'K[3]')
    """
    shared = _OF_A_STEP.fullmatch(name) if design.rewritten else None
    return name if shared is None else shared[1]


def writes_differ(design: Design) -> bool:
    """Whether two writes of the same weights leave different devices."""
    return design.variation.in_circuit or design.cycle != Variation()


@final
class SharedArrays(Closeable):
    """The arrays of a matrix of all steps, and what they hold.

    Args:
        engine: Who answers for what the way back writes.
        written_back: Makes of a step, and of what the arrays hold before, what the way back writes.
    """

    def __init__(self, engine: Engine, written_back: Callable[[str, MappedMatrix], MappedMatrix]) -> None:
        self._engine, self._written_back = engine, written_back
        self._forward: dict[str, tuple[MappedMatrix, Bank]] = {}
        self._back: dict[str, MappedMatrix] = {}
        self._opened: Bank | None = None
        self._held: tuple[MappedMatrix, Bank] | None = None
        self._sweep: Sweep = "forward"
        self.writes: list[Write] = []

    def add(self, name: str, mapped: MappedMatrix, bank: Bank) -> None:
        """A step, as the way forward writes it."""
        self._forward[name] = mapped, bank

    def holding(self, name: str) -> tuple[MappedMatrix, Bank, int]:
        """The arrays as a read of this step finds them now, who answers it, and how often they were written for it."""
        sweep: Sweep = "adjoint" if current_stage().phase == "adjoint" else "forward"
        if sweep == "forward" and self._sweep == "adjoint":
            self._held = None  # another run begins, and is counted as one on blank arrays
        self._sweep = sweep
        wanted, before = self._forward[name][0], self._held
        changed = _changed(None if before is None else before[0], wanted)
        if before is not None and not changed:
            return *before, 0
        self._let_go()
        found = self._forward[name] if before is None or sweep == "forward" else self._written(name, before[0])
        self._held = found
        self.writes.append(Write(sweep, changed, found[0].cost))
        return *found, 1

    def _written(self, name: str, before: MappedMatrix) -> tuple[MappedMatrix, Bank]:
        """What the way back writes."""
        if not writes_differ(before.design):
            return self._forward[name]
        if name not in self._back:
            self._back[name] = self._written_back(name, before)
        self._opened = self._engine.program_bank(self._back[name].crossbars)
        return self._back[name], self._opened

    def _let_go(self) -> None:
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def close(self) -> None:
        self._let_go()
        self._held = None


def _changed(before: MappedMatrix | None, after: MappedMatrix) -> int:
    """How many devices of the arrays of a matrix have other targets than before; all of blank arrays."""
    if before is None:
        return sum(array.crossbar.conductance.size for array in after.arrays)
    if before is after:
        return 0
    return sum(
        int(np.count_nonzero(before.target[array.devices] != after.target[array.devices])) for array in after.arrays
    )
