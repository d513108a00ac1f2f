"""A running worker process, the channels to it, and the ways in which it may not answer."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, final

from xbar_spice.engines.ngspice.channel import Channel
from xbar_spice.engines.ngspice.forks import renew_after_fork
from xbar_spice.engines.ngspice.locate import unusable
from xbar_spice.engines.ngspice.messages import Cause
from xbar_spice.errors import (
    EngineUnavailableError,
    NonConvergenceError,
    ReadTimeoutError,
    SimulationError,
    SimulatorCrashError,
    SimulatorExitError,
    SingularCircuitError,
)
from xbar_spice.linear.operator import FloatArray

__all__ = ["Worker", "WorkerError", "WorkerFailed", "WorkerHung", "WorkerLost"]

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
SECONDS_TO_END = 10.0
AWAKE = 5e-3  # seconds, in which an array of 32 x 32 is read; a request is waited for during a fifth of that
LOG_KEPT = 2**20  # bytes of what the simulator printed, after which it is thrown away
TEMPORARY_VARIABLE = "TMPDIR"
FAILURES: dict[Cause, type[SimulationError]] = {
    Cause.SINGULAR: SingularCircuitError,
    Cause.NO_CONVERGENCE: NonConvergenceError,
    Cause.SETTLED: NonConvergenceError,
    Cause.OTHER: SimulationError,
}


class WorkerError(Exception):
    """A request was not answered; becomes one of the package's errors.

    Attributes:
        lines: the end of what the simulator printed.
        solved: how many columns of the request were answered before.
        kind: the class of error that the user sees.
    """

    def __init__(
        self, text: str, lines: Sequence[str], solved: int, kind: type[SimulationError] = SimulationError
    ) -> None:
        super().__init__(text)
        self.lines = list(lines)
        self.solved = solved
        self.kind = kind


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
        try:
            self._start()
        except OSError as error:
            raise EngineUnavailableError(
                f"the ngspice engine cannot start a worker process: {error.strerror or error}. It needs a temporary "
                f"folder with some space ({TEMPORARY_VARIABLE} chooses another one), memory, a process and some file "
                "descriptors that the system has left"
            ) from error
        self._owner = os.getpid()
        # The finalizer also runs when the interpreter ends, so that a bank left open leaves no process behind.
        self._finalizer = weakref.finalize(self, _end, self._owner, self._process, self._channel, self._log)
        renew_after_fork(self)

    def _start(self) -> None:
        with ExitStack() as made:
            ours, theirs = map(made.enter_context, socket.socketpair())
            # It has no name, so nothing is left whatever happens.
            log = made.enter_context(tempfile.TemporaryFile())
            # The worker shares this descriptor's position: only appending keeps the two apart.
            fcntl.fcntl(log, fcntl.F_SETFL, fcntl.fcntl(log, fcntl.F_GETFL) | os.O_APPEND)
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", START_WORKER, str(PACKAGE), str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            )
            made.pop_all()  # from here on the finalizer closes them
            theirs.close()
        self._socket, self._channel, self._log = ours, Channel(ours), log
        self._limited = 0.0  # seconds, as set for both directions
        self._said = 0  # bytes of the log that stood there before the last request

    @property
    def pid(self) -> int:
        """Process id of the worker."""
        return self._process.pid

    def ask(self, request: tuple[object, ...], time_limit: float) -> tuple[Any, list[FloatArray]]:
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
        self._begin_log()
        parts: list[FloatArray] = []
        self._limit(time_limit)
        try:
            self._channel.send(*request)
            while True:
                word, *content = self._channel.receive()
                if word == "part":
                    parts.append(content[0])
                elif word == "done":
                    return content[0], [*parts, *content[1:]]
                elif word == "unavailable":
                    raise EngineUnavailableError(unusable(content[0]))
                else:
                    cause, text, lines = content
                    raise WorkerFailed(text, lines, _columns(parts), FAILURES[cause])
        except BlockingIOError:
            pass
        except (EOFError, OSError) as error:
            text, kind = self._epitaph()
            raise WorkerLost(text, self.last_lines(), _columns(parts), kind) from error
        text = f"silent for {time_limit:g} s"
        raise WorkerHung(text, self.last_lines(), _columns(parts), ReadTimeoutError)

    def behave(self, behaviour: str, time_limit: float, compiled: Sequence[Path] = ()) -> None:
        """Have the simulator read decks in one of its modes from now on, if it is not empty, and load libraries first.

        Raises:
            as `ask`.
        """
        if behaviour or compiled:
            self.ask(("behave", behaviour, [str(path) for path in compiled]), time_limit)

    def stay_awake(self, time_limit: float) -> None:
        """Have both sides look for the other's messages for a while before they sleep; for that, each needs a core.

        Raises:
            as `ask`.
        """
        self.ask(("awake", AWAKE / 5), time_limit)
        self._channel.awake = AWAKE

    def _limit(self, seconds: float) -> None:
        """Without this a worker that does not answer, or is stopped while the pipe is full, would block for ever."""
        if seconds == self._limited:
            return
        whole = int(seconds)
        limit = struct.pack("ll", whole, max(1, int((seconds - whole) * 1e6)))
        for direction in (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO):
            self._socket.setsockopt(socket.SOL_SOCKET, direction, limit)
        self._limited = seconds

    def last_lines(self) -> list[str]:
        """The end of what the simulator printed since the last request."""
        if self._log.closed:  # by a signal handler, in the middle of a request
            return []
        size = os.fstat(self._log.fileno()).st_size
        tail = os.pread(self._log.fileno(), 8192, max(self._said, size - 8192))
        return tail.decode("utf-8", "replace").splitlines()

    def _begin_log(self) -> None:
        """Let what is printed from now on be that of a new request; emptying the log takes as long as sending one."""
        log = self._log.fileno()
        self._said = os.lseek(log, 0, os.SEEK_END)
        if self._said > LOG_KEPT:
            os.ftruncate(log, 0)
            self._said = 0

    def kill(self) -> None:
        """End the process and leave the channels open: all that another thread than the one that asks may do."""
        if os.getpid() == self._owner:
            self._process.kill()

    def close(self) -> None:
        """End the process and close the channels; a second call does nothing."""
        self._finalizer()

    def after_fork(self) -> None:
        """Close the copies of the channels: the worker belongs to the original, and ends when that one does."""
        self._finalizer()

    def _epitaph(self) -> tuple[str, type[SimulationError]]:
        try:
            code = self._process.wait(SECONDS_TO_END)
        except subprocess.TimeoutExpired:  # it has closed its channel, but something holds it
            self._process.kill()
            code = self._process.wait()
        if code < 0 and -code in set(signal.Signals):
            return f"killed by {signal.Signals(-code).name}", SimulatorCrashError
        return f"exit status {code}", SimulatorExitError


def _columns(parts: list[FloatArray]) -> int:
    return sum(part.shape[1] for part in parts)


def _end(owner: int, process: subprocess.Popen[bytes], *channels: Channel | IO[bytes]) -> None:
    if os.getpid() == owner:  # a forked copy of the program must not end its parent's worker
        process.kill()
        process.wait()
    else:
        process.returncode = 0  # it is no child of the copy, which has nothing to wait for
    if process.stdin is not None:
        process.stdin.close()
    for channel in channels:
        channel.close()
