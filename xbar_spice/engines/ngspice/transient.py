"""Transient analyses by ngspice, each in a worker process of its own."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from xbar_spice.engines.ngspice.cards import checked_nodes, checked_sources
from xbar_spice.engines.ngspice.failure import simulation_error
from xbar_spice.engines.ngspice.locate import require_library
from xbar_spice.engines.ngspice.worker_handle import Worker, WorkerError, WorkerHung, WorkerLost
from xbar_spice.errors import InvalidInputError
from xbar_spice.hardware.subcircuit.text import split_lines
from xbar_spice.linear.operator import FloatArray

__all__ = ["run_transient"]

logger = logging.getLogger(__name__)


def run_transient(
    deck: str,
    sources: Sequence[str],
    nodes: Sequence[str],
    *,
    time_limit: float = 600.0,
    failures: Path | None = None,
    behaviour: str = "",
    compiled: Sequence[Path] = (),
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Run the `.tran` analysis of a deck.

    Args:
        deck: SPICE text with a `.tran` card; its measurements are left out, its other cards stay as they are.
        sources: voltage sources whose currents are wanted.
        nodes: nodes whose voltages are wanted.
        time_limit: seconds that the analysis may take; when they are over it is tried once more.
        failures: folder for the deck of a failed analysis; a temporary one when left out.
        behaviour: the mode that ngspice needs for the dialect of the deck; empty for none.
        compiled: libraries of Verilog-A modules that are loaded before the deck.

    Returns:
        (T,) seconds as the simulator chose its steps, (sources, T) amperes from a source's first node through it to the
        other, (nodes, T) volts.

    Raises:
        EngineUnavailableError: there is no libngspice.
        SimulatorCrashError: the worker was killed during the analysis, and again during a second attempt.
        SimulatorExitError: the same, but it ended itself.
        ReadTimeoutError: the same for the time limit.
        SimulationError: the deck cannot be read or solved.
    """
    if not 0 < time_limit < float("inf"):
        raise InvalidInputError(f"time_limit must be a positive number of seconds, got {time_limit}")
    require_library()
    probes = [f"{name.lower()}#branch" for name in checked_sources(sources)]
    probes += [node.lower() for node in checked_nodes(nodes)]
    cards = _cards(deck, sources, nodes)

    def attempt() -> FloatArray:
        with contextlib.closing(Worker()) as worker:
            worker.behave(behaviour, time_limit, compiled)
            value, parts = worker.ask(("transient", cards, probes), time_limit)
        for line in value[0]:
            logger.warning("ngspice: %s", line)
        return np.vstack(parts)

    try:
        try:
            found = attempt()
        except (WorkerLost, WorkerHung) as loss:
            logger.warning("ngspice was lost in the middle of an analysis (%s); starting it again", loss)
            found = attempt()
    except WorkerError as error:
        raise simulation_error(error, deck, failures, behaviour, compiled) from error
    return found[0], found[1 : 1 + len(sources)], found[1 + len(sources) :]


def _cards(deck: str, sources: Sequence[str], nodes: Sequence[str]) -> list[str]:
    """The deck with what is to be kept; a measurement adds elements to the circuit, and nobody would read it."""
    deck_lines = split_lines(deck)
    words = [(line.split(maxsplit=1) or [""])[0].lower() for line in deck_lines]
    if ".control" in words:
        raise InvalidInputError("the ngspice engine takes decks without commands, got .control")
    left_out = (".meas", ".measure", ".save", ".end")
    lines = [line for line, word in zip(deck_lines, words, strict=True) if word not in left_out]
    lines += [f".save i({name})" for name in sources] + [f".save v({node})" for node in nodes]
    return [*lines, ".end"]
