"""The process that hosts libngspice.

libngspice keeps its state in globals and may exit, hang or crash, so it lives here and a supervisor (`worker_handle`)
in the user's program talks to it through a socket. Requests are tuples of a word and its arguments; the answer to each
is any number of ("part", array), then ("done", value), ("failed", cause, text, lines), or ("unavailable", text) if the
library cannot be used at all. The last part of a read stands behind the value, since each message costs a small read
as much as the simulator does. Standard output and error are the log.
Standard input is a lifeline: when the supervisor's end closes, for whatever reason, the worker ends at once.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from xbar_spice.engines.ngspice.channel import Channel
from xbar_spice.engines.ngspice.library import LibraryFailure, Ngspice
from xbar_spice.engines.ngspice.messages import Cause
from xbar_spice.engines.ngspice.moving import MovingCircuit
from xbar_spice.engines.ngspice.resident import ResidentCircuit, Ways, load

__all__ = ["main", "serve", "waveforms"]


def serve(channel: Channel) -> None:  # noqa: PLR0912 - a branch for each word of the protocol
    """Answer requests until the other end closes."""
    try:
        ngspice = Ngspice()
    except Exception as error:  # PySpice, cffi and the loader each have their own
        channel.receive()
        channel.send("unavailable", f"{type(error).__name__}: {error}")
        return
    circuit: ResidentCircuit | None = None
    moving: MovingCircuit | None = None
    while True:
        try:
            word, *arguments = channel.receive()
        except (EOFError, ConnectionError):
            return
        value: object = None
        last: list[NDArray[np.float64]] = []
        try:
            ngspice.warnings.clear()
            if word == "info":
                value = {"version": ngspice.ngspice_version, "library": ngspice.library_path, "klu": ngspice.klu}
            elif word == "awake":
                (channel.awake,) = arguments
            elif word == "behave":
                ngspice.behave(*arguments)
            elif word == "load":
                single, swept, paired, *others = arguments
                circuit = load(ngspice, Ways(single, swept, paired), *others)
                value = ngspice.warnings, ngspice.busy
            elif word == "read" and circuit is not None:
                left = arguments[0].shape[1]
                for part in circuit.read(*arguments):
                    left -= part.shape[1]
                    if left:
                        channel.send("part", part)
                    else:
                        last.append(part)
                value = ngspice.warnings, ngspice.busy
            elif word == "move":
                moving = MovingCircuit(ngspice, *arguments)
                value = ngspice.warnings, ngspice.busy
            elif word == "pulse" and moving is not None:
                channel.send("part", moving.pulse(*arguments))
                value = ngspice.warnings, ngspice.busy
            elif word == "transient":
                for part in waveforms(ngspice, *arguments):
                    channel.send("part", part)
                value = ngspice.warnings, ngspice.busy
            else:
                raise ValueError(f"unknown or untimely request {word!r}")
        except LibraryFailure as failure:
            channel.send("failed", failure.cause, failure.text, failure.lines)
        else:
            channel.send("done", value, *last)


def main(descriptor: int) -> None:
    """Serve the socket with this file descriptor, then end the process."""
    # Ctrl-C reaches the whole foreground group; the supervisor decides what it means for its worker.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_supervisor, daemon=True).start()
    serve(Channel(socket.socket(fileno=descriptor)))
    os._exit(0)  # the library's own clean-up at exit is not to be trusted, and nothing is left to save


def _end_with_supervisor() -> None:
    os.read(sys.stdin.fileno(), 1)
    os._exit(0)


NUMBERS_PER_PART = 2**20


def waveforms(ngspice: Ngspice, cards: list[str], probes: Sequence[str]) -> Iterator[NDArray[np.float64]]:
    """Run the deck's own analysis.

    Args:
        ngspice: the simulator.
        cards: the deck, with one `.tran` card.
        probes: names of vectors.

    Yields:
        (rows, points): the times in seconds, then the probes one after the other, some rows at a time.

    Raises:
        LibraryFailure: the deck cannot be read or solved, or a probe is missing.
    """
    names = ["time", *probes]
    ngspice.collect(names, float)
    ngspice.load(cards)
    # Where it starts may be any state that the circuit can be in; what follows solves its equations at every step.
    ngspice.run("run", tolerated=(Cause.SINGULAR, Cause.SETTLED))
    found = ngspice.collected().T
    if not np.isfinite(found).all():
        raise LibraryFailure("the waveforms hold numbers that are not finite", [])
    rows = max(1, NUMBERS_PER_PART // found.shape[1])
    for first in range(0, len(names), rows):
        yield found[first : first + rows]
