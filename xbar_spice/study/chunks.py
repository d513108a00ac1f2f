"""Cases travel in chunks: what goes to whoever runs them, what comes back, and the one function in between.

What comes back are lines of a segment, which whoever holds the lock of the store writes: so a chunk may run in this
process, in another one, or on another machine without a common disk, and there is one writer.
"""

from __future__ import annotations

import pickle
import secrets
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from hashlib import sha256
from threading import RLock
from typing import Generic, TypeVar, final

import cloudpickle

from xbar_spice.cosim import Problem
from xbar_spice.cosim.run.cosimulation import Run, digital_run
from xbar_spice.errors import StudyError, XbarError
from xbar_spice.linear.threads import one_thread
from xbar_spice.study.cases import Case
from xbar_spice.study.segments import Status, line_of
from xbar_spice.study.setups import Setup, Source
from xbar_spice.version import versions

__all__ = ["CaseFailure", "Chunk", "Outcome", "Packed", "failed", "run_chunk"]

Value = TypeVar("Value")


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


@final
@dataclass(frozen=True)
class Packed:
    """A source of cases as bytes, which travel faster than it does, and by whose digest a worker knows it again."""

    content: bytes
    digest: str

    @classmethod
    def of(cls, source: Source) -> Packed:
        """Pack a source."""
        content = cloudpickle.dumps(source)
        return cls(content, sha256(content).hexdigest())

    @classmethod
    def here(cls, source: Source) -> Packed:
        """The same for chunks that are run in this process, where nothing travels."""
        packed = cls(b"", secrets.token_hex())
        _sources.get(packed.digest, lambda: source)
        return packed


@final
@dataclass(frozen=True)
class Chunk:
    """Cases that go to a worker together.

    Attributes:
        source: what they come from.
        cases: in the order in which they are run.
    """

    source: Packed
    cases: tuple[Case, ...]


@final
@dataclass(frozen=True)
class Outcome:
    """What came of a case.

    Attributes:
        case: which one.
        status: in a word.
        line: of a segment.
        seconds: that it took, everything included.
        error: why it failed.
    """

    case: Case
    status: Status
    line: bytes
    seconds: float
    error: str = ""


def run_chunk(chunk: Chunk) -> list[Outcome]:
    """Run cases one after the other; an error is the outcome of its case, because the others go on.

    What several cases share is made once in a process: the models, the samples, and the digital run.
    """
    with one_thread():
        return [_run(chunk.source, case) for case in chunk.cases]


def _run(packed: Packed, case: Case) -> Outcome:
    start = time.perf_counter()
    setup: Setup | None = None
    try:
        changes = tuple(case.point.changes.items())
        source = _sources.get(packed.digest, lambda: pickle.loads(packed.content))
        setup = _setups.get((packed.digest, changes), lambda: source.setup(case.point.changes))
        if setup.case_id(case.seed) != case.id:  # a worker elsewhere takes templates and classes of parts from there
            raise StudyError(
                "the worker that got this case has other device models, op-amps, templates or parts, or another "
                "version of xbar-spice than the program that runs the study: install the same on both"
            )
        shared = _shared.get((packed.digest, setup.shared), lambda: _make_shared(setup))
        result = setup.run(case.seed, *shared)
        status: Status = "done" if result.record.converged else "unconverged"
        record = result.record | {"case": case.describe(setup), "written": now()}
        return Outcome(
            case,
            status,
            line_of(case.id, status, record, result.trace.columns()),
            time.perf_counter() - start,
        )
    except XbarError as error:
        failure = CaseFailure(f"{type(error).__name__}: {error}")
    except Exception as error:  # a fault of the program, or of a device model that a user brought
        failure = CaseFailure(f"{type(error).__name__}: {error}", traceback.format_exc())
    return failed(case, failure, setup, time.perf_counter() - start)


def _make_shared(setup: Setup) -> tuple[Problem, Run]:
    """What all chips share: the problem, and its digital run."""
    problem = setup.problem()
    return problem, digital_run(problem, setup.solver)


def failed(case: Case, failure: CaseFailure, setup: Setup | None = None, seconds: float = 0.0) -> Outcome:
    """The outcome of a case that has no result."""
    known = {"id": case.id, "label": case.label, "axes": dict(case.axes), "seed": case.seed}
    said = known if setup is None else case.describe(setup)
    why = said | asdict(failure) | {"written": now(), "versions": versions()}
    return Outcome(case, "failed", line_of(case.id, "failed", why, None), seconds, failure.error)


def now() -> str:
    """The time, for records."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@final
class _Recent(Generic[Value]):
    """Values that were needed lately; the oldest goes when there are too many, so that memory stays flat."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: OrderedDict[Hashable, Value] = OrderedDict()
        self._lock = RLock()  # a worker of a Dask cluster may have several threads

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """The value of a key, made if it is not there."""
        with self._lock:
            if key not in self._held:
                self._held[key] = make()
                if len(self._held) > self._most:
                    self._held.popitem(last=False)
            self._held.move_to_end(key)
            return self._held[key]


_sources: _Recent[Source] = _Recent(2)
_setups: _Recent[Setup] = _Recent(32)
_shared: _Recent[tuple[Problem, Run]] = _Recent(2)  # of large models they are large, too
