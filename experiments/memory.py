"""The most memory of a process since it runs its program.

What the system calls the largest resident set begins, on Linux, with the memory of the parent.
"""

from __future__ import annotations

import re
import resource
import sys
from pathlib import Path

__all__ = ["largest_child", "peak"]

UNIT = 2**20 if sys.platform == "darwin" else 2**10


def peak() -> float:
    """Of this process, MB."""
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.exists() else None
    return int(found[1]) / 1024 if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / UNIT


def largest_child() -> float:
    """Of the largest process that this one has started and waited for, MB."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / UNIT
