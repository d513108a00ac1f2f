"""A process that runs chunks, and the one that it is a copy of.

Starting Python and importing the package takes a second. It is done once: what has been started so makes a copy of
itself for every worker that is asked for, and once more when one of them has died. Every process ends when its
connection does, so that none is left whatever happens to the program that runs the study.
"""

from __future__ import annotations

import os
import pickle
import select
import signal
import socket
import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from queue import SimpleQueue
from threading import Thread
from typing import Any

import psutil

from xbar_spice.linear.threads import share_cores
from xbar_spice.study import runner  # noqa: F401 - so that no copy needs to import what cases are run with

__all__ = ["serve", "start_copies"]

_LOOK = 0.5  # seconds between two looks at whether copies have ended


def start_copies(descriptor: int) -> None:
    """Make a copy of this process, a worker, for every socket that comes in; end them when no more can come."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process of a terminal; the program ends us
    control = socket.socket(fileno=descriptor)
    alive: set[int] = set()
    while True:
        ready, _, _ = select.select([control], [], [], _LOOK)
        if ready:
            message, sockets, _, _ = socket.recv_fds(control, 1, 1)
            if not message:
                break
            child = os.fork()
            if not child:
                control.close()
                serve(sockets[0])
            os.close(sockets[0])
            alive.add(child)
        alive -= {child for child in alive if os.waitpid(child, os.WNOHANG)[0]}
    for child in alive:  # none has been waited for, so that each number is still that of the copy
        os.kill(child, signal.SIGTERM)
    for child in alive:
        os.waitpid(child, 0)


def serve(descriptor: int) -> None:
    """Be a worker: answer every chunk with what came of it, until the connection ends."""
    share_cores()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    process, requests = psutil.Process(), SimpleQueue[bytes]()
    connection = Connection(descriptor)

    def receive() -> None:
        # At once, so that the program never waits to get rid of a request; and when it has gone, nobody needs answers.
        with suppress(EOFError, OSError):
            while True:
                requests.put(connection.recv_bytes())
        os._exit(0)

    connection.send(os.getpid())
    Thread(target=receive, daemon=True).start()
    while True:
        run, chunk = pickle.loads(requests.get())
        answer = pickle.dumps((_answer(run, chunk), process.memory_info().rss))
        with suppress(OSError):
            connection.send_bytes(answer)


def _answer(run: Callable[[Any], Any], chunk: Any) -> Any:
    try:
        return run(chunk)
    except Exception:  # `run_chunk` raises none; what is raised here is a fault of the program, and no reason to die
        return traceback.format_exc()
