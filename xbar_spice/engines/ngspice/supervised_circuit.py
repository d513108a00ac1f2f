"""The supervisor of one resident circuit: starts its worker, limits its time, restarts it, reports what went wrong."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self, final

import numpy as np

from xbar_spice.engines.ngspice.cards import (
    checked_nodes,
    checked_sources,
    paired_cards,
    resident_cards,
    resistive,
    single_cards,
    with_volts,
)
from xbar_spice.engines.ngspice.failure import simulation_error
from xbar_spice.engines.ngspice.forks import renew_after_fork
from xbar_spice.engines.ngspice.worker_handle import Worker, WorkerError, WorkerFailed, WorkerHung, WorkerLost
from xbar_spice.errors import InvalidInputError, SimulationError
from xbar_spice.linear.operator import FloatArray

__all__ = ["ResidentProcess"]

BYTES_KEPT = 2 * 2**20  # of results that the simulator may hold before its sweep starts anew
POINTS = 8192

logger = logging.getLogger(__name__)


@final
class ResidentProcess:
    """One deck, resident in a simulator of its own; started at the first read and restarted when it is lost.

    In a copy of the program that `fork` made, it starts a simulator of its own there; that of the original goes on.

    Args:
        deck: SPICE text; what it asks to be analysed and saved is replaced.
        sources: voltage sources at the top level of the deck; they are driven, and their currents are results.
        nodes: nodes of the deck whose voltages are results, too.
        time_limit: seconds that a solution may take; the worker says when it has made 16 or fewer of them.
        start_limit: seconds that loading the deck and a first solution may take.
        failures: folder for the decks of failed reads; a new temporary folder for each when left out.
        unique: whether the circuit has one solution at most, whatever its voltages. One that may have several is solved
            for each vector as the deck by hand is, from nothing, and not from the vector before, which takes longer.
        behaviour: the mode that ngspice needs for the dialect of the deck's libraries; empty for none.
        compiled: libraries of Verilog-A modules that are loaded before the deck.

    Attributes:
        time_limit: as given.
        awake: whether program and worker have cores of their own, on which they may look for each other's messages for
            some milliseconds before they sleep. What is set counts from the next start of the worker on.

    Raises:
        InvalidInputError: a source is not in the deck, a name is not a plain word, or a limit is not positive.
    """

    def __init__(
        self,
        deck: str,
        sources: Sequence[str],
        *,
        nodes: Sequence[str] = (),
        time_limit: float = 60.0,
        start_limit: float = 300.0,
        failures: Path | None = None,
        unique: bool = True,
        behaviour: str = "",
        compiled: Sequence[Path] = (),
    ) -> None:
        for name, limit in (("time_limit", time_limit), ("start_limit", start_limit)):
            if not 0 < limit < float("inf"):
                raise InvalidInputError(f"{name} must be a positive number of seconds, got {limit}")
        self._deck = deck
        self._sources = checked_sources(sources)
        self._nodes = checked_nodes(nodes)
        # A point holds a complex number of each result, and of some more than are asked for.
        self._points = max(64, min(POINTS, BYTES_KEPT // (16 * max(1, len(sources) + len(nodes)))))
        self._single = single_cards(deck, sources, nodes)
        self._cards = resident_cards(deck, sources, self._points, nodes) if unique else None
        linear = resistive(deck, sources)
        self._paired = paired_cards(deck, sources, self._points, nodes) if linear else None
        self._busy = 0.0
        self.time_limit = time_limit
        self._start_limit = start_limit
        self._failures = failures
        self._behaviour = behaviour
        self._compiled = tuple(compiled)
        self.awake = False
        self._worker: Worker | None = None
        # Answers of two threads' requests would be mixed up. A signal handler may close the circuit in its own read.
        self._lock = threading.RLock()
        self._warned: set[str] = set()
        self._closings = 0
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Leave the worker to the original program, and a lock that one of its threads may hold for ever."""
        self._worker = None
        self._lock = threading.RLock()

    @property
    def pid(self) -> int | None:
        """Process id of the worker, None while there is none."""
        return self._worker.pid if self._worker else None

    @property
    def busy(self) -> float:
        """Seconds that the present worker has spent inside the simulator's library."""
        return self._busy

    @property
    def closings(self) -> int:
        """How often the circuit has been closed."""
        return self._closings

    def read(self, volts: FloatArray, closings: int | None = None) -> FloatArray:
        """Solve the deck once for each column.

        Args:
            volts: (sources, batch), volts.
            closings: as it was when the read was asked for, for a read that another thread makes later: a circuit that
                has been closed since then is not started for it.

        Returns:
            (sources + nodes, batch): amperes from a source's first node through it to the other, then volts.

        Raises:
            SimulatorCrashError: the worker was killed during the read, and again during a second attempt.
            SimulatorExitError: the same, but it ended itself.
            ReadTimeoutError: the same for the time limit.
            SingularCircuitError: the equations have no unique solution.
            NonConvergenceError: no solution was found.
            SimulationError: the deck cannot be read, or another thread closed the circuit during the read.
        """
        if volts.shape[1] == 0:
            return np.zeros((len(self._sources) + len(self._nodes), 0))
        with self._lock:
            closings = self._closings if closings is None else closings
            self._check_open(closings)
            try:
                return self._attempt(volts, closings)
            except (WorkerLost, WorkerHung) as loss:
                self._check_open(closings)
                logger.warning("ngspice was lost in the middle of a read (%s); starting it again", loss)
            except WorkerFailed as failure:
                raise self._error(failure, volts) from failure
            try:
                return self._attempt(volts, closings)
            except WorkerError as error:
                self._check_open(closings)
                raise self._error(error, volts) from error

    def close(self) -> None:
        """End the worker, also in the middle of a read of another thread; a read after that starts a new one."""
        self._closings += 1
        worker = self._worker
        if worker is not None:
            worker.kill()  # a read of another thread sees the end of it; its channels are that thread's until then
        with self._lock:
            self.drop()

    def _check_open(self, closings: int) -> None:
        if self._closings != closings:
            raise SimulationError("the circuit was closed in the middle of a read, by another thread")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def drop(self) -> None:
        """Give up the worker; the next read starts another one."""
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.close()

    def _attempt(self, volts: FloatArray, closings: int) -> FloatArray:
        try:
            worker = self._worker
            if worker is None:
                worker = self._worker = Worker()
                self._check_open(closings)  # `close` ends a worker that it sees, and this one comes after those
                worker.behave(self._behaviour, self._start_limit, self._compiled)
                if self.awake:
                    worker.stay_awake(self._start_limit)
                ways = self._single, self._cards, self._paired
                request = ("load", *ways, self._sources, self._nodes, self._points)
                self._note(worker.ask(request, self._start_limit)[0])
            value, parts = worker.ask(("read", volts), self.time_limit)
        except BaseException:  # also Ctrl-C: half an answer may be in the pipe, and a failed sweep is of no more use
            self.drop()
            raise
        self._note(value)
        return np.hstack(parts) if len(parts) > 1 else parts[0]

    def _note(self, value: Any) -> None:
        """Pass on what ngspice warned of, each line once, and keep how long it has worked."""
        warnings, self._busy = value
        for line in warnings:
            if line not in self._warned:
                self._warned.add(line)
                logger.warning("ngspice: %s", line)

    def _error(self, error: WorkerError, volts: FloatArray) -> SimulationError:
        failed = volts[:, min(error.solved, volts.shape[1] - 1)].tolist()
        deck = with_volts(self._deck, self._sources, failed)
        return simulation_error(error, deck, self._failures, self._behaviour, self._compiled)
