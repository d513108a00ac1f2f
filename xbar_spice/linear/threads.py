"""One thread for the products of small matrices, which wait longer for a second one than it saves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from threading import Lock

from threadpoolctl import threadpool_limits

__all__ = ["one_thread"]

_lock, _limits = Lock(), ExitStack()
_inside = 0


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep linear algebra to one thread of this process.

    Finding its libraries takes a millisecond or two, so that only the outermost of nested calls does. Several runs may
    stand side by side, too, and the last digits of a result must not depend on how many do.
    """
    global _inside  # noqa: PLW0603 - the limit is one of the process
    with _lock:
        if not _inside:
            _limits.enter_context(threadpool_limits(limits=1))
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                _limits.close()
