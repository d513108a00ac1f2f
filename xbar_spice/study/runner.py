"""Runs a study: finds its models, runs the cases that have no result yet, and keeps each result at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, final

import psutil

from xbar_spice.checks import Flag, Instance, Optional, Real, Rule, Text, Whole, checked
from xbar_spice.cosim.run.made import fingerprint
from xbar_spice.errors import StudyError
from xbar_spice.study.axes import Point
from xbar_spice.study.cases import Case, expand
from xbar_spice.study.chunks import Outcome, now
from xbar_spice.study.cluster import WAIT
from xbar_spice.study.deficit import first_read_voltages, hardness
from xbar_spice.study.estimate import Estimate, estimate
from xbar_spice.study.execute import Workers, cores, run_cases
from xbar_spice.study.segments import Line, Status
from xbar_spice.study.setups import Plan, Source
from xbar_spice.study.store import Store, StoredCase
from xbar_spice.study.study import Study
from xbar_spice.study.study_file import StudyFile
from xbar_spice.version import versions
from xbar_spice.weights import Model, formula_of

__all__ = ["Planned", "Progress", "StudySummary", "iterate_study", "planned", "run_study"]


@final
@dataclass(frozen=True)
class Progress:
    """One case is settled.

    Attributes:
        case: which one.
        status: "present" if its result was there before, "done" if it has one now, "failed" if not.
        settled: cases settled so far, this one included.
        total: cases of the study.
        error: why it failed.
    """

    case: Case
    status: Literal["present", "done", "failed"]
    settled: int
    total: int
    error: str = ""


@final
@dataclass(frozen=True)
class StudySummary:
    """What came of a run.

    Attributes:
        folder: of the store.
        total: cases of the study.
        present: how many had a result before.
        done: how many have got one now.
        failed: error by label of the cases without one.
        unconverged: labels of the cases whose results are not solutions.
        problems: what in the store cannot be read, or could not be written beside the results.
        seconds: wall time.
    """

    folder: Path
    total: int
    present: int
    done: int
    failed: dict[str, str]
    unconverged: list[str]
    problems: list[str]
    seconds: float

    def __str__(self) -> str:
        counts = f"{self.total} cases: {self.present} were there, {self.done} run"
        lines = [f"{counts}, {len(self.failed)} failed" if self.failed else counts]
        lines += [f"failed: {label}: {error.splitlines()[0]}" for label, error in self.failed.items()]
        lines += [f"NOT CONVERGED: {label}" for label in self.unconverged]
        return "\n".join(lines + [f"not usable: {problem}" for problem in self.problems])


_RULES: dict[str, Rule[Any]] = {
    "study": Instance(Study, StudyFile, example='load_study("study.toml")'),
    "jobs": Optional(Whole(1)),
    "scheduler": Optional(Text()),
    "wait": Real("s", least=0, infinite=True),
    "retry_failed": Flag(),
}
"""Of the arguments by which studies are run."""


@checked(**_RULES)
def run_study(  # noqa: PLR0913 - what is run, where it is kept, who runs it and who hears of it
    study: Plan,
    folder: Path,
    *,
    study_file: Path | None = None,
    jobs: int | None = None,
    scheduler: str | None = None,
    wait: float = WAIT,
    retry_failed: bool = True,
    on_waiting: Callable[[str], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    on_training: Callable[..., None] | None = None,
) -> StudySummary:
    """Run the cases of a study that have no result yet.

    A case that fails leaves its error and the others go on; the next run tries it again. After an interruption all
    cases of which `on_progress` has heard are there.

    Args:
        study: what to run: `Study(...)`, or a study file as `load_study` reads it.
        folder: of the results; need not exist.
        study_file: where the study comes from; names of weight files are relative to it.
        jobs: cases side by side, by default one per core, or as many as the memory is likely to hold; 1 runs them in
            this process.
        scheduler: address of a Dask scheduler, in place of processes on this machine.
        wait: seconds for which that scheduler may be without any worker.
        retry_failed: whether to run those again that failed before.
        on_waiting: called with a text when it is.
        on_progress: called when a case is settled, those with a result first.
        on_training: the progress callback of `xbar_spice.train`, for a study that names a training task.

    Raises:
        StudyError: the folder is in use or cannot be written, there is no such scheduler or it has no workers, or
            nobody says which data a model runs on.
        InvalidInputError: a model cannot be used.
    """
    start = time.perf_counter()
    store = Store(folder)
    with store.locked():
        ready = _prepare(store, study, study_file, on_training, retry_failed)
        counter = _Counter(len(ready.plan.cases), on_progress)
        found = dict(ready.before)
        missing = {case.id for case in ready.missing}
        for case in ready.plan.cases.values():
            if case.id not in missing:
                failed = found[case.id] == "failed"
                counter.settle(case, "failed" if failed else "present", _KEPT if failed else "")
        present = len(ready.plan.cases) - len(missing) - len(counter.failed)
        workers = Workers(jobs or ready.plan.workers, scheduler, wait, on_waiting)
        # Closed at once when something goes wrong here, so that no worker outlives the run.
        with closing(_written(store, ready, workers)) as outcomes:
            for outcome in outcomes:
                found[outcome.case.id] = outcome.status
                counter.settle(outcome.case, "failed" if outcome.error else "done", outcome.error)
        problems = store.tidy() if missing else []
    return StudySummary(
        folder=store.folder,
        total=len(ready.plan.cases),
        present=present,
        done=sum(found[name] != "failed" for name in missing),
        failed=counter.failed,
        unconverged=[case.label for case in ready.plan.cases.values() if found[case.id] == "unconverged"],
        problems=list(dict.fromkeys(ready.problems + problems)),
        seconds=time.perf_counter() - start,
    )


@checked(**_RULES)
def iterate_study(
    study: Plan,
    folder: Path,
    *,
    study_file: Path | None = None,
    jobs: int | None = None,
    scheduler: str | None = None,
    wait: float = WAIT,
    retry_failed: bool = True,
) -> Iterator[StoredCase]:
    """The finished cases of a study, as they come: those that are there, and then each that is run.

    What has come is kept, so that one may stop at any time. Cases that fail are left out; `run_study` says why.

    Args:
        study: what to run; as the others, see `run_study`.
        folder: see there.
        study_file: see there.
        jobs: see there.
        scheduler: see there.
        wait: see there.
        retry_failed: see there.

    Raises:
        StudyError: see `run_study`.
    """
    store = Store(folder)
    with store.locked():
        ready = _prepare(store, study, study_file, None, retry_failed)
        yield from (case for case in store.cases() if case.id in ready.plan.cases)
        workers = Workers(jobs or ready.plan.workers, scheduler, wait)
        with closing(_written(store, ready, workers)) as outcomes:
            for outcome in outcomes:
                if outcome.status != "failed":
                    yield StoredCase.of(Line(outcome.case.id, outcome.status, outcome.line))
        store.tidy()


_KEPT = "failed before, and was not tried again"


@final
@dataclass(frozen=True)
class _Ready:
    """A study whose store is in order.

    Attributes:
        source: of the cases.
        plan: all of them.
        before: what came of those that have been run.
        missing: those to be run.
        problems: what is wrong in the store, in words.
    """

    source: Source
    plan: Planned
    before: dict[str, Status]
    missing: list[Case]
    problems: list[str]


def _prepare(
    store: Store, study: Plan, study_file: Path | None, on_training: Callable[..., None] | None, retry_failed: bool
) -> _Ready:
    problems = store.tidy()
    source = study.source(study_file, store.folder / "weights", on_training)
    plan = planned(study, source)
    keep_description(store, study, plan, source)
    problems += _keep_voltages(store, plan, source)
    before = {name: status for name, status in store.status().items() if name in plan.cases}
    run = {None, "failed"} if retry_failed else {None}
    missing = [case for case in plan.cases.values() if before.get(case.id) in run]
    return _Ready(source, plan, before, missing, problems)


def _written(store: Store, ready: _Ready, workers: Workers) -> Generator[Outcome, None, None]:
    """Run what is missing; what comes out of here is on the disk."""
    with closing(run_cases(ready.source, ready.missing, ready.plan.seconds, workers)) as outcomes:
        for settled in outcomes:
            try:
                store.write_segment([outcome.line for outcome in settled])
            except StudyError as error:  # a full disk, say: nothing that comes could be kept either
                raise StudyError(f"{error}; finished cases are kept: the same command goes on from there") from error
            yield from settled


@final
class _Counter:
    """Counts settled cases, reports each, and remembers the failed ones."""

    def __init__(self, total: int, report: Callable[[Progress], None] | None) -> None:
        self._total, self._settled, self._report = total, 0, report
        self.failed: dict[str, str] = {}

    def settle(self, case: Case, status: Literal["present", "done", "failed"], error: str = "") -> None:
        self._settled += 1
        if error:
            self.failed[case.label] = error  # labels are exact: no two cases share one
        if self._report is not None:
            self._report(Progress(case, status, self._settled, self._total, error))


@final
@dataclass
class Planned:
    """The cases of a study, and what is known of them before any is run.

    Attributes:
        cases: each once, by its id.
        listed: all of them, where several points of the axes are the same case.
        estimates: of a case of each point, by the point's identity.
        data: the samples, in words.
        hardest: the case of the largest arrays.
    """

    cases: dict[str, Case] = field(default_factory=dict)
    listed: list[Case] = field(default_factory=list)
    estimates: dict[int, Estimate] = field(default_factory=dict)
    data: set[str] = field(default_factory=set)
    hardest: Case | None = None

    def seconds(self, point: Point) -> float:
        """What a case of a point may take."""
        return self.estimates[id(point)].seconds

    @property
    def workers(self) -> int:
        """How many to start if nobody says so: one per core, as far as the memory may hold the largest cases."""
        largest = max(one.bytes for one in self.estimates.values())
        return max(1, min(cores(), int(psutil.virtual_memory().available / largest)))


def planned(study: Plan, source: Source) -> Planned:
    """The cases of a study."""
    plan = Planned()
    most: tuple[float, float] | None = None
    for cases, setup in expand(study.combinations, study.seeds, study.groups, source):
        plan.listed += cases
        plan.estimates[id(cases[0].point)] = estimate(setup)
        plan.data.add(str(setup.described["data"]))
        hard = hardness(setup)
        if hard is not None and (most is None or hard > most):
            plan.hardest, most = cases[0], hard
    plan.cases = {case.id: case for case in reversed(plan.listed)}
    plan.cases = {case.id: plan.cases[case.id] for case in plan.listed}
    return plan


def _keep_voltages(store: Store, plan: Planned, source: Source) -> list[str]:
    """Cell voltages of one array for the report; a study does not fail for want of them, but says so."""
    case = plan.hardest
    kept = store.arrays("cell_deficit")
    if case is None or (kept is not None and str(kept.get("case")) == case.id):
        return []
    try:
        store.write_arrays("cell_deficit", first_read_voltages(case, source.setup(case.point.changes)))
    except Exception as error:  # whatever it is, only a figure lacks its numbers
        return [f"no cell voltages for the report: {type(error).__name__}: {error}"]
    return []


def keep_description(store: Store, study: Plan, plan: Planned, source: Source) -> None:
    """Write down the study as the report needs it."""
    store.write_study(
        {
            "name": study.name,
            "axes": [axis.describe() for group in study.groups for axis in group.axes],
            "seeds": list(study.seeds),
            **study.describe(),
            "models": [_describe_model(text, model) for text, model in source.models],
            "data": sorted(plan.data),
            "versions": versions(),
            "written": now(),
            "cases": [
                {"id": case.id, "label": case.label, "axes": dict(case.axes), "seed": case.seed} for case in plan.listed
            ],
        }
    )


def _describe_model(text: str, model: Model) -> dict[str, Any]:
    kernels = model.kernels
    return {
        "source": text,
        "fingerprint": fingerprint(model),
        "states": model.states,
        "hidden": model.hidden,
        "formula": formula_of(model.field),
        "matrices": {
            f"{stage}{name}": list(operator.shape)
            for stage, one in ({"": model} | {f"{stage}.": one for stage, one in model.stages.items()}).items()
            for name, operator in one.operators.items()
        },
        "kernels": None if kernels is None else {"a": list(kernels.a.shape), "b": list(kernels.b.shape)},
        "trained_on": model.trained_on,
        "method": model.method,
        "h": model.h,
        "steps": model.steps,
    }
