"""Memory that arrays leave behind is kept for those that follow.

An iteration makes and drops a dozen arrays of the size of the crossbar. The C library of Linux hands back to the system
what is dropped, from some size on, and gets it anew as pages that the system fills with zeros first: a quarter of the
time of a read at N = 512. That size adapts to what a program does: once a large block has been dropped, smaller ones
are kept, up to twice as much in all.
"""

from __future__ import annotations

import numpy as np

__all__ = ["keep_dropped_arrays"]

LARGEST = 2**25 - 2**20  # bytes, about an array of 2000 x 2000; the size does not adapt to more


def keep_dropped_arrays() -> None:
    """Have arrays up to `LARGEST` reuse each other's memory; elsewhere than on Linux nothing happens."""
    np.empty(LARGEST, dtype=np.uint8)  # dropped at once, and never touched: it costs no memory
