"""Workers on this machine: processes that run chunks, each over a connection of its own.

Plain processes rather than Dask's: of 400 cases of 5 ms they need a third of the time, and of the memory; see
`experiments/bench_studies.py`.
"""

from __future__ import annotations

import os
import pickle
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any, final

import cloudpickle

from xbar_spice.errors import StudyError

__all__ = ["LocalPool", "Lost"]

_GROWN = 256 * 2**20  # bytes by which a worker may grow before another one takes its place
_START = "import sys; sys.path[:] = {path!r}; from xbar_spice.study.worker import {name}; {name}({descriptor})"


@final
@dataclass(frozen=True)
class Lost:
    """Instead of an answer: the worker has died.

    Attributes:
        working: whether it worked on this request, or had not yet begun.
        reason: what is known of its death.
    """

    working: bool
    reason: str = "the process ended"


@final
@dataclass(eq=False)
class _Worker:
    connection: Connection
    pid: int = 0
    waiting: list[Any] = field(default_factory=list)  # what it was sent and has not answered, by the sender's names
    first_size: int = 0


@final
class LocalPool:
    """Processes that answer requests; a context manager, with which they end.

    Args:
        size: how many there are.
        run: answers a request, in a worker.
        ahead: requests that a worker holds at most, that included which it works on.
    """

    def __init__(self, size: int, run: Callable[[Any], Any], ahead: int = 2) -> None:
        self._size, self._run, self._ahead = size, run, ahead
        self._copies: tuple[subprocess.Popen[bytes], socket.socket] | None = None
        self._workers: list[_Worker] = []

    def __enter__(self) -> LocalPool:
        try:
            for _ in range(self._size):
                self._workers.append(self._start())
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.connection.close()
        self._workers.clear()
        self._end_copies()

    @property
    def ready(self) -> bool:
        """Whether a worker has come up."""
        self._greet(wait([worker.connection for worker in self._workers if not worker.pid], timeout=0))
        return any(worker.pid for worker in self._workers)

    @property
    def sharers(self) -> int:
        """How many answer requests."""
        return self._size

    @property
    def room(self) -> int:
        """How many requests can be sent before an answer comes."""
        return sum(self._ahead - len(worker.waiting) for worker in self._workers)

    def send(self, name: Any, request: Any) -> None:
        """Send a request to the worker that has least to do; `name` comes back with its answer."""
        worker = min(self._workers, key=lambda worker: len(worker.waiting))
        worker.waiting.append(name)
        with suppress(OSError):  # it has died, which `answers` will say
            worker.connection.send_bytes(cloudpickle.dumps((self._run, request)))

    def answers(self, timeout: float | None = None) -> Iterator[tuple[Any, Any]]:
        """Names of requests with their answers, as they come; those of a worker that died with `Lost`."""
        ready = wait([worker.connection for worker in self._workers], timeout)
        self._greet(ready)
        for worker in [worker for worker in self._workers if worker.connection in ready]:
            try:
                while worker.connection.poll():
                    answer, size = pickle.loads(worker.connection.recv_bytes())
                    yield worker.waiting.pop(0), answer
                    worker.first_size = worker.first_size or size
                    if size > worker.first_size + _GROWN and not worker.waiting:
                        self._replace(worker)
                        break
            except (EOFError, OSError):
                lost = worker.waiting
                self._replace(worker)
                for index, name in enumerate(lost):
                    yield name, Lost(working=not index)

    def _greet(self, ready: Sequence[Any]) -> None:
        """Take the number of a process from each worker that has just come up."""
        for worker in self._workers:
            if worker.connection in ready and not worker.pid:
                with suppress(EOFError, OSError):
                    worker.pid = worker.connection.recv()

    def _replace(self, worker: _Worker) -> None:
        worker.connection.close()
        self._workers[self._workers.index(worker)] = self._start()

    # --- starting -----------------------------------------------------------------------------------------------

    def _start(self) -> _Worker:
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                self._hand_over(theirs)
            except OSError as error:
                ours.close()
                raise StudyError(
                    f"no worker process can be started: {error.strerror or error}; try --jobs 1"
                ) from error
            return _Worker(Connection(ours.detach()))

    def _hand_over(self, theirs: socket.socket) -> None:
        """Have a worker at the other end of a connection."""
        if not sys.platform.startswith("linux"):  # elsewhere a copy cannot use what has been imported
            _python("serve", theirs)
            return
        try:
            socket.send_fds(self._running_copies(), [b"+"], [theirs.fileno()])
        except OSError:  # what makes the copies has died
            self._end_copies()
            socket.send_fds(self._running_copies(), [b"+"], [theirs.fileno()])

    def _running_copies(self) -> socket.socket:
        if self._copies is None:
            ours, theirs = socket.socketpair()
            with theirs:
                self._copies = _python("start_copies", theirs), ours
        return self._copies[1]

    def _end_copies(self) -> None:
        if self._copies is not None:
            process, control = self._copies
            self._copies = None
            control.close()
            process.wait()


def _python(name: str, end: socket.socket) -> subprocess.Popen[bytes]:
    """Another Python that does what a function of the worker's module does, with what this one can import."""
    code = _START.format(path=sys.path, name=name, descriptor=end.fileno())
    return subprocess.Popen(
        [sys.executable, "-c", code],
        pass_fds=[end.fileno()],
        stdin=subprocess.DEVNULL,
        # One thread each: many threads make copies unsafe, and cases run side by side anyway.
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
    )
