"""CPU seconds of several works in turn, and the most memory of a process.

What the system calls the largest resident set begins, on Linux, with the memory of the parent. Nothing is imported that
a peer's Python might not have.
"""

from __future__ import annotations

import re
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

__all__ = ["Seconds", "in_turn", "largest_child", "peak"]

ROUNDS, ENOUGH = 5, 0.5  # calls of each work at least, and seconds after which there are no more
UNIT = 2**20 if sys.platform == "darwin" else 2**10


Seconds = dict[str, float]
"""Of works, by their names."""


def in_turn(works: dict[str, Callable[[], object]], rounds: int = ROUNDS) -> Seconds:
    """The least CPU seconds of several calls of each work."""
    least = dict.fromkeys(works, float("inf"))
    end = time.perf_counter() + ENOUGH
    while rounds > 0 or time.perf_counter() < end:
        rounds -= 1
        for name, work in works.items():
            start = time.process_time()
            work()
            least[name] = min(least[name], time.process_time() - start)
    return least


def peak() -> float:
    """Of this process, MB."""
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.exists() else None
    return int(found[1]) / 1024 if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / UNIT


def largest_child() -> float:
    """Of the largest process that this one has started and waited for, MB."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / UNIT
