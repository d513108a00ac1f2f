"""Workers beyond this machine: those of a Dask scheduler, which come and go as they like."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from typing import Any, final

from xbar_spice.errors import StudyError
from xbar_spice.study.pool import Lost

__all__ = ["WAIT", "DaskPool", "dask_pool"]

WAIT = 30.0  # seconds without any worker, unless the user wants something else
_LOOK = 1.0  # seconds between two looks at the workers
_TRIES = 6  # to start the thread of a client


@final
class DaskPool:
    """What `LocalPool` is for the workers of a Dask scheduler.

    Args:
        client: of the scheduler.
        scheduler: its address.
        run: answers a request, in a worker.
        wait: seconds for which there may be no worker.
        on_waiting: called with a text when there is none.
    """

    def __init__(
        self,
        client: Any,
        scheduler: str,
        run: Callable[[Any], Any],
        *,
        wait: float = WAIT,
        on_waiting: Callable[[str], None] | None = None,
    ) -> None:
        self._client, self._scheduler, self._run, self._wait, self._say = client, scheduler, run, wait, on_waiting
        self._names: dict[Any, Any] = {}
        self._settled: SimpleQueue[Any] = SimpleQueue()

    @property
    def sharers(self) -> int:
        """How many answer requests now."""
        return max(1, int(sum(self._client.nthreads().values())))

    @property
    def room(self) -> int:
        """How many requests can be sent before an answer comes: few, so that the scheduler holds few."""
        return 2 * self.sharers - len(self._names)

    def send(self, name: Any, request: Any) -> None:
        """Send a request; `name` comes back with its answer."""
        future = self._client.submit(self._run, request, pure=False)
        self._names[future] = name
        future.add_done_callback(self._settled.put)

    def answers(self) -> Iterator[tuple[Any, Any]]:
        """Names of requests with their answers, as they come; those whose workers died with `Lost`.

        Raises:
            StudyError: the scheduler has gone, or has no workers.
        """
        future = self._next()
        while future is not None:
            name = self._names.pop(future)
            if future.cancelled():
                raise StudyError(
                    f"the Dask scheduler at {self._scheduler} has gone; finished cases are kept: "
                    "start it again and run the same command"
                )
            error = future.exception()
            lost = Lost(working=True, reason=f"{type(error).__name__}: {error}")
            yield name, future.result() if error is None else lost
            try:
                future = self._settled.get_nowait()
            except Empty:
                future = None

    def _next(self) -> Any:
        """The next future that is done; waits for a worker only as long as the user wants."""
        alone_since: float | None = None
        while True:
            if self._client.status != "running" or self._client.nthreads():
                alone_since = None
            elif alone_since is None:
                alone_since = time.monotonic()
                self._tell()
            left = math.inf if alone_since is None else alone_since + self._wait - time.monotonic()
            try:
                return self._settled.get(timeout=min(_LOOK, max(0.0, left)))
            except Empty:
                if left <= 0:
                    raise StudyError(
                        f"the Dask scheduler at {self._scheduler} has had no worker for {self._wait:g} s; finished "
                        f"cases are kept. Start one with `dask worker {self._scheduler}` and run the same command, "
                        "wait longer (--wait SECONDS), or leave the address out to use this machine"
                    ) from None

    def _tell(self) -> None:
        if self._say is not None:
            self._say(f"the Dask scheduler at {self._scheduler} has no worker; waiting {self._wait:g} s for one")


@contextmanager
def dask_pool(
    scheduler: str, run: Callable[[Any], Any], *, wait: float, on_waiting: Callable[[str], None] | None
) -> Iterator[DaskPool]:
    """The workers of a scheduler.

    Raises:
        StudyError: the scheduler cannot be reached.
    """
    try:
        client = _client(scheduler)
    except (OSError, ValueError) as error:
        raise StudyError(
            f"no Dask scheduler answers at {scheduler!r} ({error}); start one with `dask scheduler`, "
            "or leave the address out to use this machine"
        ) from error
    with client:
        yield DaskPool(client, scheduler, run, wait=wait, on_waiting=on_waiting)


def _client(scheduler: str) -> Any:
    """A client; Dask asserts that its thread begins within ten seconds, too few for a machine that is busy."""
    import distributed  # noqa: PLC0415 - half a second to import, and not always needed

    for _ in range(_TRIES):
        with suppress(AssertionError):
            return distributed.Client(scheduler, timeout=10, set_as_default=False)  # type: ignore[no-untyped-call]
    raise TimeoutError("the thread of its client does not begin on this machine")
