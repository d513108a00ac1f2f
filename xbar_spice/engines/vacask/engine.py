"""Reads answered by VACASK, a program that is started for each batch.

It ends well without a result where a circuit is singular or does not converge: what counts is the file of results of
each operating point.
"""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np

from xbar_spice.checks import Real
from xbar_spice.engines.base import Bank, Engine
from xbar_spice.errors import (
    NonConvergenceError,
    ReadTimeoutError,
    SimulationError,
    SingularCircuitError,
)
from xbar_spice.hardware.biases import End
from xbar_spice.hardware.crossbar import Crossbar, Edge, Side, other
from xbar_spice.hardware.reads import read_ends
from xbar_spice.hardware.verilog_a.compiler import run_limited
from xbar_spice.linear.operator import FloatArray
from xbar_spice.spice.raw_file import operating_point
from xbar_spice.spice.vacask import VacaskDeck, find_simulator, modules_of, require_simulator, vacask_deck

__all__ = ["VacaskBank", "VacaskEngine"]

MEMORY = 16 * 2**30  # bytes
LINES = 12  # of the simulator, quoted


@final
@dataclass(frozen=True)
class VacaskEngine(Engine):
    """VACASK as a judge: sources, resistors, and the laws of cells and op-amps as compiled Verilog-A modules.

    Args:
        time_limit: seconds that a batch of reads may take.
        netlists: folders of the user's own templates, searched first.

    Raises:
        EngineUnavailableError: there is no simulator; the text says how to get one.
    """

    time_limit: float = 300.0
    netlists: tuple[Path, ...] = ()

    name = "vacask"

    def __post_init__(self) -> None:
        Real("s", above=0)("time_limit", self.time_limit)
        object.__setattr__(self, "netlists", tuple(map(Path, self.netlists)))
        require_simulator()

    def program_bank(self, crossbars: Sequence[Crossbar]) -> Bank:
        """Prepare arrays for reads.

        Raises:
            InvalidInputError: cells or amplifiers that it has no model of.
        """
        for crossbar in crossbars:
            modules_of(crossbar)
        return VacaskBank(crossbars, self)


@final
class VacaskBank(Bank):
    """Arrays that are read in one circuit."""

    def __init__(self, crossbars: Sequence[Crossbar], engine: VacaskEngine) -> None:
        super().__init__(crossbars)
        self._engine = engine

    @property
    def source(self) -> str:
        return "netlist"

    def _read(self, drives: Sequence[FloatArray], side: Side) -> list[FloatArray]:
        if not drives[0].shape[1]:
            return [np.zeros((crossbar.ports(other(side)), 0)) for crossbar in self.crossbars]
        ends = [read_ends(crossbar, side, volts) for crossbar, volts in zip(self.crossbars, drives, strict=True)]
        found = self._currents(ends, side, drives[0].shape[1])
        sensed = []
        for crossbar, currents in zip(self.crossbars, found, strict=True):
            sensed.append(np.sum([currents[edge] for edge in crossbar.hookup(side).sensed], axis=0))
        return sensed

    def _bias(self, ends: Mapping[Edge, End]) -> Mapping[Edge, FloatArray]:
        return self._currents([ends], None, ends["left"].volts.shape[1])[0]

    def _currents(
        self, ends: Sequence[Mapping[Edge, End]], side: Side | None, batch: int
    ) -> list[dict[Edge, FloatArray]]:
        """(lines, batch) amperes at every edge of each array."""
        found = [{edge: np.zeros((end.connected.size, batch)) for edge, end in one.items()} for one in ends]
        deck = vacask_deck(self.crossbars, ends, side, netlists=self._engine.netlists)
        currents = run(deck, batch, self._engine.time_limit)
        for terminal, amperes in zip(deck.terminals, currents, strict=True):
            found[terminal.array][terminal.edge][terminal.line] = amperes
        return found


def run(deck: VacaskDeck, points: int, seconds: float) -> FloatArray:
    """(terminals, points) amperes of a deck's operating points.

    Raises:
        SimulationError: there is a point without a result; the text quotes the simulator, and says where the deck is.
        ReadTimeoutError: it took longer than it may.
    """
    simulator = require_simulator()
    with tempfile.TemporaryDirectory(prefix="xbar-vacask-") as name:
        folder = Path(name)
        (folder / "deck.sim").write_text(deck.text, encoding="utf-8")
        command = [str(simulator), "-sp", "-se", "-qp", "deck.sim"]
        try:
            status, out, errors = run_limited(command, folder, seconds=seconds, memory=MEMORY)
        except subprocess.TimeoutExpired:
            raise ReadTimeoutError(_failure(deck, f"took longer than {seconds:g} s", "")) from None
        said = f"{out}\n{errors}"
        results = [_result(folder / f"read{point}.raw", deck) for point in range(points)]
    if status or any(result is None for result in results):
        missing = [point for point, result in enumerate(results) if result is None]
        kind = SimulationError
        if "actorization failed" in said or "ingular" in said:
            kind = SingularCircuitError
        elif "onverge" in said:
            kind = NonConvergenceError
        ended = f"ended with status {status}" if status else "ended well"
        raise kind(_failure(deck, f"{ended}, without a result of vectors {missing}", said))
    return np.array(results).T


def _result(path: Path, deck: VacaskDeck) -> FloatArray | None:
    """The currents of one operating point; None if there are not all of them."""
    found = operating_point(path) or {}
    currents = np.array([found.get(one.result, np.nan) * one.amperes_per_result for one in deck.terminals])
    return currents if np.isfinite(currents).all() else None


def _failure(deck: VacaskDeck, what: str, said: str) -> str:
    try:
        folder = Path(tempfile.mkdtemp(prefix="xbar-spice-failed-read-"))
        path = folder / f"{hashlib.sha256(deck.text.encode()).hexdigest()[:12]}.sim"
        path.write_text(deck.text, encoding="utf-8")
        kept = [f"  deck: {path}", f"  to reproduce: {find_simulator()} {path}"]
    except OSError as reason:
        kept = [f"  deck: could not be kept ({reason})"]
    lines = [line for line in said.splitlines() if line.strip()][-LINES:]
    return "\n".join(
        [f"VACASK {what}", *kept, "  its last lines:", *(f"    {line}" for line in lines or ["(nothing)"])]
    )
