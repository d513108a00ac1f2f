"""What the supervisor and its worker say to each other, through a socket.

A small read is over in a fifth of a millisecond, so the way to it must be short: numbers go as plain bytes, a message
is one call of the system on either side, and who waits for one looks again and again for a while before it sleeps. To
be woken up on a core that has gone to sleep takes as long as the read itself.
"""

from __future__ import annotations

import os
import pickle
import resource
import socket
import struct
import time
from typing import Any, final

import numpy as np

__all__ = ["Channel"]

LENGTHS = struct.Struct("QQ")  # of a message without its numbers, and of these
AT_ONCE = 2**16  # bytes that are received by one call
TAKEN_AWAY = 1e-3  # seconds that another program has the core between two looks: it wants it for itself
SLEEPING = 100  # messages for which the channel only sleeps after that
COUNTED = getattr(resource, "RUSAGE_THREAD", resource.RUSAGE_SELF)  # macOS counts for the process only


@final
class Channel:
    """One end of a socket, which it closes in the end.

    Args:
        end: The socket, blocking; a limit in time may be set on it.

    Attributes:
        awake: Seconds for which `receive` looks for a message before it sleeps until there is one. It yields the core
            at every look, and for some time only sleeps after another program has taken the core.
    """

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self.awake = 0.0
        self._sleeping = 0  # messages for which to do without it
        self._data = bytearray()  # received, and not yet told

    def send(self, *message: object) -> None:
        """Send a message.

        Args:
            *message: What can be pickled; the last of it may be an array of floating-point numbers.

        Raises:
            OSError: There is nobody at the other end, or (`BlockingIOError`) it takes longer than the limit.
        """
        shape, numbers, last = None, b"", message[-1]
        if isinstance(last, np.ndarray):  # whose own pickle takes five times as long as its bytes
            shape, numbers, message = last.shape, last.tobytes(), message[:-1]
        words = pickle.dumps((shape, *message), pickle.HIGHEST_PROTOCOL)
        self._socket.sendall(LENGTHS.pack(len(words), len(numbers)) + words + numbers)

    def receive(self) -> list[Any]:
        """Wait for the next message.

        Raises:
            EOFError: The other end has closed.
            OSError: The same, or (`BlockingIOError`) no message comes within the limit.
        """
        data = self._data
        while len(data) < LENGTHS.size:
            data += self._first()
        words, numbers = LENGTHS.unpack_from(data)
        begin, end = LENGTHS.size + words, LENGTHS.size + words + numbers
        while len(data) < end:
            data += self._some()
        message: list[Any]
        shape, *message = pickle.loads(data[LENGTHS.size : begin])  # of our own process
        if shape is not None:
            message.append(np.frombuffer(data[begin:end]).reshape(shape))
        del data[:end]  # the next message may have begun
        return message

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _first(self) -> bytes:
        if self._sleeping:
            self._sleeping -= 1
            return self._some()
        switches, before = _switches(), time.perf_counter()
        end = before + self.awake
        while before < end:
            try:
                return _there(self._socket.recv(AT_ONCE, socket.MSG_DONTWAIT))
            except BlockingIOError:
                os.sched_yield()
            now = time.perf_counter()
            if now - before > TAKEN_AWAY and _switches() > switches:  # a virtual machine may stop for as long
                self._sleeping = SLEEPING
                break
            before = now
        return self._some()

    def _some(self) -> bytes:
        return _there(self._socket.recv(AT_ONCE))


def _switches() -> int:
    """How often another program has had this thread's core."""
    return resource.getrusage(COUNTED).ru_nivcsw


def _there(data: bytes) -> bytes:
    if not data:
        raise EOFError("the other end is closed")
    return data
