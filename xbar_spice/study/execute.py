"""Runs cases: one after the other in this process, or side by side in Dask workers."""

from __future__ import annotations

import logging
import os
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, final

from dask import config as dask_config

from xbar_spice.cosim import Cosimulation
from xbar_spice.errors import StudyError, XbarError
from xbar_spice.study.cases import Case, case_id, run_case, templates
from xbar_spice.study.problem import fingerprint
from xbar_spice.weights import Model

__all__ = ["CaseFailure", "Outcome", "cores", "run_here", "run_on_dask"]

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
        # A worker elsewhere has files of its own, and reads the devices that a case names from those.
        if case_id(case.parameters, model, case.seed, fingerprint(model), templates()) != case.id:
            raise StudyError(
                "the worker that got this case has other device models, op-amps or templates, or another version of "
                "xbar-spice than the program that runs the study: install the same on both"
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
    jobs: Sequence[Job], workers: int, scheduler: str | None = None, *, run: Callable[[Case, Model], Outcome] = attempt
) -> Generator[tuple[Case, Outcome], None, None]:
    """Run cases in Dask workers, and yield each as it completes.

    Args:
        jobs: cases with their models.
        workers: processes of a local cluster.
        scheduler: address of an existing scheduler, in place of a local cluster.
        run: what a worker does with a case.

    Raises:
        StudyError: the scheduler cannot be reached.
    """
    with _client(workers, scheduler) as client:
        waiting = iter(jobs)
        cases: dict[Any, Case] = {}

        def submit(count: int) -> list[Any]:
            # The model goes with each case: data that is sent ahead is lost with the worker that holds it.
            new = {client.submit(run, case, model, pure=False): case for case, model in islice(waiting, count)}
            cases.update(new)
            return list(new)

        # Few at a time, so that the scheduler does not hold a copy of the model for every case of a long study.
        first = submit(2 * max(1, sum(client.nthreads().values())))
        completed = _distributed().as_completed(first, loop=client.loop, raise_errors=False)
        for future in completed:
            case = cases.pop(future)
            for new in submit(1):
                completed.add(new)
            error = future.exception()
            if error is None:
                yield case, future.result()
            else:
                yield case, CaseFailure(f"its worker process died: {type(error).__name__}: {error}")


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
        distributed.LocalCluster(**size, dashboard_address=None, silence_logs=logging.CRITICAL) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        yield client


def _distributed() -> Any:
    """Dask's scheduler and workers; most of their functions are published without types."""
    import distributed  # noqa: PLC0415 - a second to import, and not always needed

    return distributed
