"""The supervisor of one resident circuit: starts its worker, limits its time, restarts it, reports what went wrong."""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import shlex
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Self, final

import numpy as np

from xbar_spice.engines.ngspice.cards import checked_nodes, checked_sources, resident_cards, with_volts
from xbar_spice.engines.ngspice.locate import unusable
from xbar_spice.errors import (
    EngineUnavailableError,
    InvalidInputError,
    ReadTimeoutError,
    SimulationError,
    SimulatorCrashError,
)
from xbar_spice.linear import FloatArray

__all__ = ["ResidentProcess", "Worker", "WorkerError", "WorkerFailed", "WorkerHung", "WorkerLost", "failure_report"]

# The worker needs NumPy, PySpice and a few modules beside this one; importing the package as a whole would make its
# start several times as long. An empty package that knows where its modules are is enough, installed or not.
PACKAGE = Path(__file__).parents[2]
START_WORKER = f"""\
import sys, types
package = types.ModuleType({PACKAGE.name!r})
package.__path__ = [sys.argv[1]]
sys.modules[package.__name__] = package
from xbar_spice.engines.ngspice.worker import main
main(int(sys.argv[2]))
"""
LINES_QUOTED = 12
BYTES_KEPT = 32 * 2**20  # of results that the simulator may hold before its sweep starts anew
POINTS = 8192

logger = logging.getLogger(__name__)


class WorkerError(Exception):
    """A request was not answered; becomes one of the package's errors.

    Attributes:
        lines: the end of what the simulator printed.
        solved: how many columns of the request were answered before.
    """

    def __init__(self, text: str, lines: Sequence[str], solved: int) -> None:
        super().__init__(text)
        self.lines = list(lines)
        self.solved = solved


@final
class WorkerFailed(WorkerError):  # noqa: N818 - what happened, not which error the user sees
    """The simulator reported a failure."""


@final
class WorkerHung(WorkerError):  # noqa: N818
    """The worker gave no sign of life for as long as it may."""


@final
class WorkerLost(WorkerError):  # noqa: N818
    """The worker ended without being asked to."""


@final
class Worker:
    """A running worker process and the channels to it."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            # It has no name, so nothing is left whatever happens.
            self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by the finalizer
            # The worker shares this descriptor's position: only appending keeps the two apart.
            fcntl.fcntl(self._log, fcntl.F_SETFL, fcntl.fcntl(self._log, fcntl.F_GETFL) | os.O_APPEND)
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", START_WORKER, str(PACKAGE), str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.PIPE,
                stdout=self._log,
                stderr=self._log,
                env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            )
        self._socket = ours
        self._connection = Connection(os.dup(ours.fileno()))
        # The finalizer also runs when the interpreter ends, so that a bank left open leaves no process behind.
        self._finalizer = weakref.finalize(
            self, _end, os.getpid(), self._process, self._socket, self._connection, self._log
        )

    @property
    def pid(self) -> int:
        """Process id of the worker."""
        return self._process.pid

    def ask(self, request: tuple[object, ...], time_limit: float) -> tuple[object, list[FloatArray]]:
        """Send a request and wait for its answer.

        Args:
            request: a word of the worker's protocol and its arguments.
            time_limit: seconds without a sign of life until the worker counts as hung.

        Returns:
            The value of the answer, and the parts that came before it.

        Raises:
            WorkerLost: the worker ended.
            WorkerHung: the worker was silent for too long.
            WorkerFailed: the simulator reported a failure.
            EngineUnavailableError: there is no library that can be used.
        """
        os.ftruncate(self._log.fileno(), 0)
        parts: list[FloatArray] = []
        self._limit_sending(time_limit)
        try:
            self._connection.send(request)
            while self._connection.poll(time_limit):
                word, *content = self._connection.recv()
                if word == "part":
                    parts.append(content[0])
                elif word == "done":
                    return content[0], parts
                elif word == "unavailable":
                    raise EngineUnavailableError(unusable(content[0]))
                else:
                    text, lines = content
                    raise WorkerFailed(text, lines, _columns(parts))
        except BlockingIOError:
            pass
        except (EOFError, ConnectionError) as error:
            raise WorkerLost(self._epitaph(), self.last_lines(), _columns(parts)) from error
        raise WorkerHung(f"silent for {time_limit:g} s", self.last_lines(), _columns(parts))

    def _limit_sending(self, seconds: float) -> None:
        """Without this a worker that is stopped while the pipe is full would block the supervisor for ever."""
        whole = int(seconds)
        limit = struct.pack("ll", whole, max(1, int((seconds - whole) * 1e6)))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)

    def last_lines(self) -> list[str]:
        """The end of what the simulator printed since the last request."""
        size = os.fstat(self._log.fileno()).st_size
        tail = os.pread(self._log.fileno(), 8192, max(0, size - 8192))
        return tail.decode("utf-8", "replace").splitlines()

    def close(self) -> None:
        """End the process; a second call does nothing."""
        self._finalizer()

    def _epitaph(self) -> str:
        code = self._process.wait()
        if code < 0 and -code in set(signal.Signals):
            return f"killed by {signal.Signals(-code).name}"
        return f"exit status {code}"


@final
class ResidentProcess:
    """One deck, resident in a simulator of its own; started at the first read and restarted when it is lost.

    Args:
        deck: SPICE text; what it asks to be analysed and saved is replaced.
        sources: voltage sources at the top level of the deck; they are driven, and their currents are results.
        nodes: nodes of the deck whose voltages are results, too.
        time_limit: seconds that a solution may take; the worker says when it has made 16 or fewer of them.
        start_limit: seconds that loading the deck and a first solution may take.
        failures: folder for the decks of failed reads; a new temporary folder for each when left out.

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
    ) -> None:
        for name, limit in (("time_limit", time_limit), ("start_limit", start_limit)):
            if not 0 < limit < float("inf"):
                raise InvalidInputError(f"{name} must be a positive number of seconds, got {limit}")
        self._deck = deck
        self._sources = checked_sources(sources)
        self._nodes = checked_nodes(nodes)
        self._points = max(64, min(POINTS, BYTES_KEPT // (8 * max(1, len(sources) + len(nodes)))))
        self._cards = resident_cards(deck, sources, self._points, nodes)
        self._time_limit = time_limit
        self._start_limit = start_limit
        self._failures = failures
        self._worker: Worker | None = None
        self._lock = threading.Lock()  # answers of two threads' requests would be mixed up
        self._warned: set[str] = set()

    @property
    def pid(self) -> int | None:
        """Process id of the worker, None while there is none."""
        return self._worker.pid if self._worker else None

    def read(self, volts: FloatArray) -> FloatArray:
        """Solve the deck once for each column.

        Args:
            volts: (sources, batch), volts.

        Returns:
            (sources + nodes, batch): amperes from a source's first node through it to the other, then volts.

        Raises:
            SimulatorCrashError: the worker ended during the read, and again during a second attempt.
            ReadTimeoutError: the same for the time limit.
            SimulationError: the deck cannot be read or solved.
        """
        if volts.shape[1] == 0:
            return np.zeros((len(self._sources) + len(self._nodes), 0))
        with self._lock:
            try:
                return self._attempt(volts)
            except (WorkerLost, WorkerHung) as loss:
                logger.warning("ngspice was lost in the middle of a read (%s); starting it again", loss)
            except WorkerFailed as failure:
                raise SimulationError(self._report(f"ngspice failed: {failure}", failure, volts)) from failure
            try:
                return self._attempt(volts)
            except WorkerLost as loss:
                raise SimulatorCrashError(self._report(f"ngspice crashed twice ({loss})", loss, volts)) from loss
            except WorkerHung as loss:
                what = f"ngspice hung twice ({loss}); raise time_limit if it is only slow"
                raise ReadTimeoutError(self._report(what, loss, volts)) from loss
            except WorkerFailed as failure:
                raise SimulationError(self._report(f"ngspice failed: {failure}", failure, volts)) from failure

    def close(self) -> None:
        """End the worker; a read after that starts a new one."""
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _attempt(self, volts: FloatArray) -> FloatArray:
        try:
            if self._worker is None:
                self._worker = Worker()
                warnings, _ = self._worker.ask(
                    ("load", self._cards, self._sources, self._nodes, self._points), self._start_limit
                )
                self._warn(warnings)
            warnings, parts = self._worker.ask(("read", volts), self._time_limit)
        except BaseException:  # also Ctrl-C: half an answer may be in the pipe, and a failed sweep is of no more use
            self.close()
            raise
        self._warn(warnings)
        return np.hstack(parts)

    def _warn(self, warnings: object) -> None:
        """Pass on what ngspice warned of, each line once."""
        for line in warnings if isinstance(warnings, list) else []:
            if line not in self._warned:
                self._warned.add(line)
                logger.warning("ngspice: %s", line)

    def _report(self, what: str, error: WorkerError, volts: FloatArray) -> str:
        volts_at_failure = volts[:, min(error.solved, volts.shape[1] - 1)].tolist()
        return failure_report(what, error, with_volts(self._deck, self._sources, volts_at_failure), self._failures)


def failure_report(what: str, error: WorkerError, deck: str, folder: Path | None) -> str:
    """The text of an error, with everything that is needed to see it happen again; keeps the deck in the folder."""
    folder = folder or Path(tempfile.mkdtemp(prefix="xbar-spice-failed-read-"))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{hashlib.sha256(deck.encode()).hexdigest()[:12]}.cir"
    path.write_text(deck, encoding="utf-8")
    lines = error.lines[-LINES_QUOTED:] or ["(nothing)"]
    return "\n".join(
        [
            what,
            f"  deck: {path}",
            f"  to reproduce: ngspice -b {shlex.quote(str(path))}",
            "  the simulator's last lines:",
            *(f"    {line}" for line in lines),
        ]
    )


def _columns(parts: list[FloatArray]) -> int:
    return sum(part.shape[1] for part in parts)


def _end(owner: int, process: subprocess.Popen[bytes], *channels: socket.socket | Connection | IO[bytes]) -> None:
    if os.getpid() == owner:  # a forked copy of the program must not end its parent's worker
        process.kill()
        process.wait()
    if process.stdin is not None:
        process.stdin.close()
    for channel in channels:
        channel.close()
