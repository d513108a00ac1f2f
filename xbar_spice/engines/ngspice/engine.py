"""Reads answered by ngspice through the deck that the user can run by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import final

import numpy as np

from xbar_spice.array import Connection, Crossbar, Side
from xbar_spice.circuit.netlist import Deck, Terminal, bank_deck
from xbar_spice.engines.base import Bank, Engine
from xbar_spice.engines.ngspice.locate import require_library
from xbar_spice.engines.ngspice.process import ResidentProcess
from xbar_spice.linear import FloatArray

__all__ = ["NgspiceBank", "NgspiceEngine"]


@final
@dataclass(frozen=True)
class NgspiceEngine(Engine):
    """ngspice through PySpice, the arrays of a bank in one circuit that stays in a worker process.

    Args:
        time_limit: seconds without a solution until a read counts as hung (it is retried once).
        start_limit: seconds that loading the circuit may take.
        netlists: folders of the user's own templates, searched first.
        failures: folder for the decks of failed reads; a temporary one for each when left out.

    Raises:
        EngineUnavailableError: there is no libngspice; the text says how to get it.

    Example:
        >>> from xbar_spice.array import Crossbar
        >>> engine = NgspiceEngine(time_limit=10.0)
        >>> with engine.program(Crossbar([[1e-4]], r_driver=50.0)) as session:  # doctest: +SKIP
        ...     session.read([0.1])
        array([9.95e-06])
    """

    time_limit: float = 60.0
    start_limit: float = 300.0
    netlists: tuple[Path, ...] = ()
    failures: Path | None = None

    name = "ngspice"

    def __post_init__(self) -> None:
        require_library()

    def program_bank(self, crossbars: Sequence[Crossbar]) -> NgspiceBank:
        """Prepare arrays for reads; nothing is started before the first one."""
        return NgspiceBank(crossbars, self)


@final
@dataclass(frozen=True)
class Circuit:
    """A deck and the process that it lives in."""

    deck: Deck
    process: ResidentProcess

    @cached_property
    def rows(self) -> dict[Terminal, int]:
        """Row of each terminal in the results; that of a source is its row in the voltages, too."""
        return {terminal: row for row, terminal in enumerate(sources(self.deck) + outputs(self.deck))}


@final
class NgspiceBank(Bank):
    """Arrays in one circuit: KLU sees that its matrix falls apart, and one solution reads all of them.

    Both directions of a read share a circuit when the same ends of the lines are connected through the same
    resistances; otherwise each direction has its own, in a process of its own because a simulator can keep one only.
    """

    def __init__(self, crossbars: Sequence[Crossbar], engine: NgspiceEngine) -> None:
        super().__init__(crossbars)
        self._engine = engine
        self._circuits: dict[Side, Circuit] = {}

    def _read(self, drives: Sequence[FloatArray], side: Side) -> list[FloatArray]:
        circuit = self._circuit(side)
        rows = circuit.rows

        def at(array: int, connection: Connection) -> list[int]:
            return [rows[terminal] for terminal in circuit.deck.at(array, connection.edge)]

        volts = np.zeros((len(sources(circuit.deck)), drives[0].shape[1]))
        for index, (crossbar, drive) in enumerate(zip(self.crossbars, drives, strict=True)):
            for connection in crossbar.hookup(side).driven:
                volts[at(index, connection)] = drive[list(crossbar.connected(side))]
        amperes_per_result = [[terminal.amperes_per_result] for terminal in rows]
        currents = circuit.process.read(volts) * amperes_per_result
        sensed = []
        for index, crossbar in enumerate(self.crossbars):
            ends = crossbar.hookup(side).sensed
            found = np.zeros((crossbar.ports(ends[0].side), volts.shape[1]))  # an open line carries nothing
            lines = list(crossbar.connected(ends[0].side))
            found[lines] = np.sum([currents[at(index, connection)] for connection in ends], axis=0)
            sensed.append(found)
        return sensed

    def _circuit(self, side: Side) -> Circuit:
        if side not in self._circuits:
            other: Side = "cols" if side == "rows" else "rows"
            if other in self._circuits and all(
                crossbar.hookup("rows").connections == crossbar.hookup("cols").connections
                for crossbar in self.crossbars
            ):
                self._circuits[side] = self._circuits[other]
            else:
                self._circuits[side] = self._load(side)
        return self._circuits[side]

    def _load(self, side: Side) -> Circuit:
        deck = bank_deck(self.crossbars, side, netlists=self._engine.netlists)
        process = ResidentProcess(
            deck.text,
            [terminal.source for terminal in sources(deck)],
            nodes=[terminal.output for terminal in outputs(deck)],
            time_limit=self._engine.time_limit,
            start_limit=self._engine.start_limit,
            failures=self._engine.failures,
        )
        return Circuit(deck, process)

    def close(self) -> None:
        """End the worker processes."""
        super().close()
        for circuit in self._circuits.values():
            circuit.process.close()
        self._circuits = {}


def sources(deck: Deck) -> list[Terminal]:
    """The terminals that are voltage sources."""
    return [terminal for terminal in deck.terminals if terminal.source]


def outputs(deck: Deck) -> list[Terminal]:
    """The terminals that are amplifiers."""
    return [terminal for terminal in deck.terminals if terminal.output]
