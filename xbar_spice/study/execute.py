"""Runs cases: one after the other in this process, or side by side in Dask workers."""

from __future__ import annotations

import logging
import math
import os
import time
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from queue import Empty, SimpleQueue
from typing import Any, final

from dask import config as dask_config

from xbar_spice.cosim import Cosimulation
from xbar_spice.errors import StudyError, XbarError
from xbar_spice.study.cases import Case, case_id, run_case, templates
from xbar_spice.study.problem import fingerprint
from xbar_spice.weights import Model

__all__ = ["WAIT", "CaseFailure", "Outcome", "cores", "run_here", "run_on_dask"]

WAIT = 30.0  # seconds without any worker, unless the user wants something else
_LOOK = 1.0  # seconds between two looks at the workers

Job = tuple[Case, Model]


@final
@dataclass(frozen=True)
class CaseFailure:
    """Why a case has no result.

    Attributes:
        error: type and text of the error.
        details: where it happened; empty if the text says it all.
    """

    error: str
    details: str = ""


Outcome = Cosimulation | CaseFailure


def cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def attempt(case: Case, model: Model) -> Outcome:
    """Run a case; an error is its outcome, because the other cases go on."""
    try:
        # A worker elsewhere has files of its own, and takes templates and the classes of parts from those.
        netlists = templates(case.parameters.lookup.netlists)
        if case_id(case.parameters, model, case.seed, fingerprint(model), netlists, case.samples) != case.id:
            raise StudyError(
                "the worker that got this case has other device models, op-amps, templates or parts, or another "
                "version of xbar-spice than the program that runs the study: install the same on both"
            )
        return run_case(case, model)
    except XbarError as error:
        return CaseFailure(f"{type(error).__name__}: {error}")
    except Exception as error:  # a fault of the program, or of a device model that a user brought
        return CaseFailure(f"{type(error).__name__}: {error}", traceback.format_exc())


def run_here(jobs: Sequence[Job]) -> Generator[tuple[Case, Outcome], None, None]:
    """Run cases in this process, in the order given."""
    for case, model in jobs:
        yield case, attempt(case, model)


def run_on_dask(
    jobs: Sequence[Job],
    workers: int,
    scheduler: str | None = None,
    *,
    wait: float = WAIT,
    on_waiting: Callable[[str], None] | None = None,
    run: Callable[[Case, Model], Outcome] = attempt,
) -> Generator[tuple[Case, Outcome], None, None]:
    """Run cases in Dask workers, and yield each as it completes.

    Args:
        jobs: cases with their models.
        workers: processes of a local cluster.
        scheduler: address of an existing scheduler, in place of a local cluster.
        wait: seconds for which an existing scheduler may be without any worker; a local cluster starts its own anew.
        on_waiting: called with a text when there is no worker to wait for.
        run: what a worker does with a case.

    Raises:
        StudyError: the scheduler cannot be reached, has gone, or has no workers.
    """
    with _client(workers, scheduler) as client:
        waiting = iter(jobs)
        cases: dict[Any, Case] = {}
        settled: SimpleQueue[Any] = SimpleQueue()

        def fill() -> None:
            # Few at a time, so that the scheduler does not hold a copy of the model for every case of a long study.
            room = 2 * max(1, sum(client.nthreads().values())) - len(cases)
            # The model goes with each case: data that is sent ahead is lost with the worker that holds it.
            for case, model in islice(waiting, max(0, room)):
                future = client.submit(run, case, model, pure=False)
                cases[future] = case
                future.add_done_callback(settled.put)

        fill()
        patience = _Patience(client, scheduler, wait, on_waiting)
        while cases:
            future = patience.next_of(settled)
            case = cases.pop(future)
            if future.cancelled():
                raise StudyError(
                    f"the Dask scheduler at {scheduler or client.scheduler.address} has gone; finished cases are kept: "
                    "start it again and run the same command"
                )
            fill()
            error = future.exception()
            if error is None:
                yield case, future.result()
            else:
                yield case, CaseFailure(f"its worker process died: {type(error).__name__}: {error}")


@final
class _Patience:
    """Waits for the next result, but for a worker of somebody else's scheduler only as long as the user wants."""

    def __init__(
        self, client: Any, scheduler: str | None, wait: float, on_waiting: Callable[[str], None] | None
    ) -> None:
        self._client, self._scheduler, self._wait, self._say = client, scheduler, wait, on_waiting

    def next_of(self, settled: SimpleQueue[Any]) -> Any:
        """The next future that is done."""
        alone_since: float | None = None
        while True:
            if self._scheduler is None or self._client.status != "running" or self._client.nthreads():
                alone_since = None
            elif alone_since is None:
                alone_since = time.monotonic()
                self._tell()
            left = math.inf if alone_since is None else alone_since + self._wait - time.monotonic()
            try:
                return settled.get(timeout=min(_LOOK, max(0.0, left)))
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
def _client(workers: int, scheduler: str | None) -> Iterator[Any]:
    distributed = _distributed()
    if scheduler is not None:
        try:
            client = distributed.Client(scheduler, timeout=10, set_as_default=False)
        except (OSError, ValueError) as error:
            raise StudyError(
                f"no Dask scheduler answers at {scheduler!r} ({error}); start one with `dask scheduler`, "
                "or leave the address out to use this machine"
            ) from error
        with client:
            yield client
        return
    settings = {
        # A worker holds no case but the one it runs, so that a case that kills its worker takes no other one with it;
        # it gets a second chance, since the cause may have been a lack of memory.
        "distributed.scheduler.worker-saturation": 1.0,
        "distributed.scheduler.allowed-failures": 1,
        # Dask would give up a worker that is not back within 15 s of its death; a busy machine may need longer, and
        # with its last worker gone a run would wait for ever.
        "distributed.deploy.lost-worker-timeout": "7 days",
        # Ctrl-C reaches every process of a terminal. This one ends the workers; they need not complain themselves.
        "distributed.worker.preload": ["import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"],
    }
    size = {"n_workers": workers, "threads_per_worker": 1}
    with (
        dask_config.set(settings),
        distributed.LocalCluster(**size, dashboard_address="127.0.0.1:0", silence_logs=logging.CRITICAL) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        yield client


def _distributed() -> Any:
    """Dask's scheduler and workers; most of their functions are published without types."""
    import distributed  # noqa: PLC0415 - a second to import, and not always needed

    return distributed
