"""Messages between a program and its simulator arrive as they were sent."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from xbar_spice.engines.ngspice.channel import Channel

rng = np.random.default_rng(0)
MESSAGES: list[tuple[object, ...]] = [
    ("read", rng.standard_normal((3, 2))),
    ("read", rng.standard_normal((5, 7)).T),  # of another order in memory
    ("read", np.zeros((4, 0))),
    ("part", rng.standard_normal(9)),
    ("done", (["a warning"], 0.25)),
    ("part", rng.standard_normal((40, 5000))),  # more than a socket holds
    ("failed", ["line\n" * 1000, None], {"nested": (1, 2.0)}),
]


@pytest.fixture(params=[0.0, 0.01], ids=["asleep", "awake"])
def ends(request: pytest.FixtureRequest) -> Iterator[tuple[Channel, Channel]]:
    one, other = map(Channel, socket.socketpair())
    one.awake = other.awake = request.param
    yield one, other
    one.close()
    other.close()


def test_messages_arrive_whole_and_in_order_however_many_wait(ends: tuple[Channel, Channel]) -> None:
    one, other = ends
    sender = threading.Thread(target=lambda: [one.send(*message) for message in MESSAGES])
    sender.start()
    for sent in MESSAGES:
        got = other.receive()
        assert len(got) == len(sent)
        for wanted, found in zip(sent, got, strict=True):
            if isinstance(wanted, np.ndarray):
                np.testing.assert_array_equal(found, wanted, strict=True)
                assert found.flags.writeable  # it is the receiver's own
            else:
                assert found == wanted
    sender.join()


def test_an_end_is_noticed_and_so_is_silence(ends: tuple[Channel, Channel]) -> None:
    ours, theirs = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 0, 1000))
    channel = Channel(ours)
    channel.awake = ends[0].awake
    with pytest.raises(BlockingIOError):
        channel.receive()
    theirs.sendall(b"half of a len"[:5])
    theirs.close()
    with pytest.raises(EOFError):
        channel.receive()
    channel.close()
