"""How many cores a computation may use.

One thread for the products of small matrices, which wait longer for a second one than it saves.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from threading import Lock

from threadpoolctl import ThreadpoolController

__all__ = ["libraries", "one_thread", "own_cores", "share_cores"]

_lock = Lock()
_inside, _before = 0, [0]
_shared = False


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep linear algebra to one thread of this process.

    Only the outermost of nested calls sets the limit. Several runs may stand side by side, too, and the last digits of
    a result must not depend on how many do.
    """
    global _inside, _before  # noqa: PLW0603 - the limit is one of the process
    found = libraries().lib_controllers  # whose own context manager takes a small read four times as long
    with _lock:
        if not _inside:
            _before = [library.num_threads for library in found]
            for library in found:
                library.set_num_threads(1)
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                for library, count in zip(found, _before, strict=True):
                    library.set_num_threads(count)


@cache
def libraries() -> ThreadpoolController:
    """The libraries of NumPy and SciPy, found once: the search takes longer than a read of a small array."""
    import scipy.linalg  # noqa: F401, PLC0415 - brings a BLAS of its own, which is limited, too

    return ThreadpoolController()


def share_cores() -> None:
    """Say that this process works beside others of the same program, one for each core."""
    global _shared  # noqa: PLW0603 - a fact about the process
    _shared = True


def own_cores() -> int:
    """Cores that this process need not share with others of the same program; at least the one that it runs on."""
    if _shared or multiprocessing.parent_process() is not None:
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
