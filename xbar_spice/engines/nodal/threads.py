"""How many threads the matrix products of a transfer matrix may use.

A second thread pays only if it runs at once. Where the machine is busy (several cases side by side), the first thread
waits for it in every product, which has made solves ten times slower. The caller's own limit is never exceeded.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from xbar_spice.linear.threads import libraries, one_thread

__all__ = ["suitable_threads"]

PARALLEL_FROM = 768  # cells on a line; shorter products are over before a second thread is awake
PROBE = 320  # size of a product that takes a few milliseconds
libraries()  # are found when the engine is imported, and not in its first read


@contextmanager
def suitable_threads(size: int) -> Iterator[None]:
    """Keep matrix products of this size to one thread inside the block, unless more are found to be faster now."""
    if size >= PARALLEL_FROM and _threads_pay():
        yield
        return
    with one_thread():
        yield


def _threads_pay() -> bool:
    with one_thread():
        alone = _product_seconds()
    return _product_seconds() < 0.85 * alone


def _product_seconds() -> float:
    """Median time of a product of the size `PROBE`."""
    matrix = np.ones((PROBE, PROBE))
    out = np.empty_like(matrix)
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        np.matmul(matrix, matrix, out=out)
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds))
