"""Runs cases: one after the other in this process, or side by side in others, here or elsewhere."""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, final

from xbar_spice.errors import StudyError
from xbar_spice.linear.threads import one_thread
from xbar_spice.study.axes import Point
from xbar_spice.study.cases import Case
from xbar_spice.study.chunks import CaseFailure, Chunk, Outcome, Packed, failed, run_chunk
from xbar_spice.study.cluster import dask_pool
from xbar_spice.study.pool import LocalPool, Lost
from xbar_spice.study.schedule import Schedule
from xbar_spice.study.setups import Source

__all__ = ["Workers", "cores", "run_cases"]

_MEANWHILE = 0.25  # seconds of a chunk that is run here while workers start

Run = Callable[[Chunk], list[Outcome]]
Outcomes = Generator[list[Outcome], None, None]


def cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@final
@dataclass(frozen=True)
class Workers:
    """Who runs cases.

    Attributes:
        jobs: processes side by side on this machine; 1 runs all in this process.
        scheduler: address of a Dask scheduler, in place of them.
        wait: seconds for which that scheduler may be without any worker.
        on_waiting: called with a text when it is.
        run: what a worker does with a chunk.
        alone: seconds of work for which no processes are started.
    """

    jobs: int
    scheduler: str | None = None
    wait: float = 30.0
    on_waiting: Callable[[str], None] | None = None
    run: Run = run_chunk
    alone: float = 3.0


def run_cases(source: Source, cases: Sequence[Case], guess: Callable[[Point], float], workers: Workers) -> Outcomes:
    """Run cases, and yield what came of some as soon as it is known.

    Args:
        source: what the cases come from.
        cases: in any order; each is run once.
        guess: of the seconds that a case of a point takes.
        workers: who runs them.

    Raises:
        StudyError: no worker can be started; the scheduler cannot be reached, has gone, or has no workers.
    """
    schedule = Schedule(cases, guess)
    if workers.scheduler is not None:
        with dask_pool(workers.scheduler, workers.run, wait=workers.wait, on_waiting=workers.on_waiting) as cluster:
            yield from _side_by_side(cluster, schedule, Packed.of(source))
        return
    here = Packed.here(source)
    while schedule.left and (workers.jobs <= 1 or not _enough(schedule, workers.alone)):
        yield from _here(here, schedule, workers, schedule.take(1))
    if not schedule.left:
        return
    packed = Packed.of(source)
    with LocalPool(min(workers.jobs, schedule.left), workers.run) as pool:
        while not pool.ready and schedule.left > 2 * pool.sharers and schedule.next_seconds < _MEANWHILE:
            yield from _here(here, schedule, workers, schedule.take(1, _MEANWHILE))
        yield from _side_by_side(pool, schedule, packed)


def _enough(schedule: Schedule, alone: float) -> bool:
    """Whether there is work for more seconds: by the first case, or by how it looks if that may be long."""
    return schedule.left > 1 and (schedule.known or schedule.next_seconds > alone) and schedule.seconds_left > alone


def _here(packed: Packed, schedule: Schedule, workers: Workers, cases: Sequence[Case]) -> Outcomes:
    """Run cases in this process; an interruption loses none that is finished."""
    done: list[Outcome] = []
    try:
        with one_thread():  # once, and not for each of them anew
            for case in cases:
                found = workers.run(Chunk(packed, (case,)))
                done += found
                schedule.measured(case, found[0].seconds)
    except KeyboardInterrupt:
        if done:
            yield done
        raise
    yield done


class Pool(Protocol):
    """Who answers requests with names: `LocalPool`, `DaskPool`."""

    @property
    def sharers(self) -> int:
        """How many answer."""
        ...

    @property
    def room(self) -> int:
        """How many requests may be sent."""
        ...

    def send(self, name: Any, request: Any) -> None:
        """Send one."""

    def answers(self) -> Any:
        """Names and answers, at least one pair or none of anything that was sent."""


@final
@dataclass
class _Sent:
    """What workers have, and what some of them died with."""

    schedule: Schedule
    packed: Packed
    chunks: dict[int, tuple[Case, ...]] = field(default_factory=dict)
    suspects: deque[Case] = field(default_factory=deque)
    deaths: Counter[str] = field(default_factory=Counter)
    count: int = 0

    def next(self, sharers: int) -> Chunk | None:
        """The next chunk; None if there is none now.

        Cases of a chunk that a worker died with go one by one, and one that a worker died with alone gets a second
        chance when no other one runs: the cause may have been a lack of memory.
        """
        if self.suspects:
            if not self.deaths[self.suspects[0].id]:
                return Chunk(self.packed, (self.suspects.popleft(),))
            return None if self.chunks else Chunk(self.packed, (self.suspects.popleft(),))
        alone = any(self.deaths[case.id] for cases in self.chunks.values() for case in cases)
        cases = () if alone else tuple(self.schedule.take(sharers))
        return Chunk(self.packed, cases) if cases else None

    def lost(self, cases: tuple[Case, ...], how: Lost) -> list[Outcome]:
        """Take note of a worker's death; the outcome of a case that is given up."""
        if not how.working:
            self.schedule.put_back(cases)
            return []
        if len(cases) > 1:
            self.suspects.extendleft(reversed(cases))
            return []
        (case,) = cases
        self.deaths[case.id] += 1
        if self.deaths[case.id] > 1:
            return [failed(case, CaseFailure(f"its worker process died: {how.reason}"))]
        self.suspects.append(case)
        return []


def _side_by_side(pool: Pool, schedule: Schedule, packed: Packed) -> Outcomes:
    sent = _Sent(schedule, packed)
    while True:
        while pool.room > 0 and (chunk := sent.next(pool.sharers)) is not None:
            sent.count += 1
            sent.chunks[sent.count] = chunk.cases
            pool.send(sent.count, chunk)
        if not sent.chunks:
            return
        outcomes: list[Outcome] = []
        for name, answer in pool.answers():
            cases = sent.chunks.pop(name)
            if isinstance(answer, Lost):
                outcomes += sent.lost(cases, answer)
            elif isinstance(answer, str):
                raise StudyError(f"a worker cannot run cases:\n{answer}")
            else:
                for case, outcome in zip(cases, answer, strict=True):
                    schedule.measured(case, outcome.seconds)
                outcomes += answer
        if outcomes:
            yield outcomes
