"""Worker processes that stop where a test wants them to, so that a test waits for an event and never for a time.

A worker that reaches such a place connects to the test's socket, tells its process id and waits to be told to go on. So
"in the middle of a read" is a state that lasts for as long as the test needs it, on a quick machine and on a slow one.
"""

from __future__ import annotations

import socket
import struct
from typing import Self

from xbar_spice.engines.ngspice import worker_handle as supervisor

PATIENCE = 300.0  # seconds that a test waits for an event on a busy machine before it counts as missing

# Runs in the worker before its `main`. Where nobody listens any more, the worker goes on.
STOPPING = """\
import os, socket, struct
from xbar_spice.engines.ngspice import worker
def stop():
    channel = socket.socket()
    try:
        channel.connect(('127.0.0.1', {port}))
        channel.sendall(struct.pack("q", os.getpid()))
        channel.recv(1)
    except OSError:
        pass
    channel.close()
"""
PLACES = {
    "load": """\
load = worker.load
def stopping_load(*arguments):
    stop()
    return load(*arguments)
worker.load = stopping_load
""",
    "read": """\
from xbar_spice.engines.ngspice.resident import PART, ResidentCircuit
read = ResidentCircuit.read
def stopping_read(self, volts):
    parts = read(self, volts)
    yield next(parts)
    if volts.shape[1] > PART:
        stop()
    yield from parts
ResidentCircuit.read = stopping_read
""",
    "transient": """\
waveforms = worker.waveforms
def stopping_waveforms(*arguments):
    stop()
    return waveforms(*arguments)
worker.waveforms = stopping_waveforms
""",
}


def run_in_workers(text: str) -> None:
    """Have a text run in every worker before its `main`."""
    imports, _, start = supervisor.START_WORKER.rpartition("main(")
    supervisor.START_WORKER = f"{imports}{text}main({start}"


class Pauses:
    """All workers that start from now on stop at a place, for as long as this is open.

    Args:
        place: "load", before a deck is loaded; "read", in each read of several parts after the first of
            them; "transient", before an analysis.
    """

    def __init__(self, place: str) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(PATIENCE)
        self._stopped: list[socket.socket] = []
        stopping = STOPPING.format(port=self._listener.getsockname()[1])
        self._before = supervisor.START_WORKER
        run_in_workers(stopping + PLACES[place])

    def wait(self) -> int:
        """Wait until a worker stops; its process id. It stays there until `go_on` or the end of the process."""
        channel, _ = self._listener.accept()
        channel.settimeout(PATIENCE)
        self._stopped.append(channel)
        (pid,) = struct.unpack("q", channel.recv(8))
        return int(pid)

    def go_on(self) -> None:
        """Let the workers that have stopped go on."""
        while self._stopped:
            self._stopped.pop().close()

    def close(self) -> None:
        """Let all workers go on, now and from now on."""
        self._listener.close()
        self.go_on()
        supervisor.START_WORKER = self._before

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
