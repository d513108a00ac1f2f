"""Pulses by ngspice: the circuit of an array stays in one worker process, and its states with it."""

from __future__ import annotations

import logging
from collections.abc import Hashable
from typing import final

import numpy as np

from xbar_spice.engines.ngspice.failure import simulation_error
from xbar_spice.engines.ngspice.locate import require_library
from xbar_spice.engines.ngspice.worker_handle import Worker, WorkerError
from xbar_spice.hardware.biases import Biases
from xbar_spice.hardware.crossbar import Crossbar
from xbar_spice.hardware.reads import circuit_of
from xbar_spice.hardware.subcircuit.text import split_lines
from xbar_spice.linear.operator import FloatArray
from xbar_spice.programming.pulses import Pulsed, Pulses, dynamic_law
from xbar_spice.spice.write_netlist import STEPS, WriteDeck, write_deck

__all__ = ["SimulatedPulses"]

logger = logging.getLogger(__name__)


@final
class SimulatedPulses(Pulses):
    """Each pulse a `.tran` analysis of one resident circuit.

    Args:
        time_limit: Seconds that a pulse may take.

    Raises:
        EngineUnavailableError: There is no libngspice.
    """

    def __init__(self, time_limit: float = 600.0) -> None:
        require_library()
        self._worker, self._limit = Worker(), time_limit
        self._loaded: tuple[Crossbar, Hashable] | None = None
        self._deck: WriteDeck | None = None

    def close(self) -> None:
        self._worker.close()

    def apply(
        self,
        crossbar: Crossbar,
        state: FloatArray,
        biases: Biases,
        seconds: float,
        speed: FloatArray | None = None,
        *,
        steps: int = STEPS,
    ) -> Pulsed:
        device, ends = dynamic_law(crossbar), biases.ends(crossbar)
        key = circuit_of(ends)
        deck = self._deck
        if deck is None or self._loaded is None or self._loaded[0] is not crossbar or self._loaded[1] != key:
            deck = self._deck = write_deck(crossbar, biases, seconds)
            cards = [card for card in split_lines(deck.deck.text) if not card.lower().startswith(".tran")]
            self._ask(deck, ("move", cards, deck.nodes, [t.source for t in deck.deck.terminals]))
            self._loaded = crossbar, key
        rows, cols = (np.array(index, dtype=np.int64) for index in zip(*deck.cells, strict=True))
        volts = np.array([ends[t.edge].volts[t.line, 0] for t in deck.deck.terminals])
        values = {t.source: float(v) for t, v in zip(deck.deck.terminals, volts, strict=True)}
        values |= {f"{name} ic": float(x) for name, x in zip(deck.capacitors, state[rows, cols], strict=True)}
        farad = np.ones(rows.size) if speed is None else 1.0 / speed[rows, cols]
        values |= {name: float(c) for name, c in zip(deck.capacitors, farad, strict=True)}
        (found,) = self._ask(deck, ("pulse", values, volts, seconds, seconds / steps))
        after = state.copy()
        after[rows, cols] = device.within(found[:-1])
        return Pulsed(after, float(found[-1]))

    def _ask(self, deck: WriteDeck, request: tuple[object, ...]) -> list[FloatArray]:
        try:
            value, parts = self._worker.ask(request, self._limit)
        except WorkerError as error:
            raise simulation_error(error, deck.deck.text, None) from error
        for line in value[0]:
            logger.warning("ngspice: %s", line)
        return parts
