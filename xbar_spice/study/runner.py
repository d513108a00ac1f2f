"""Runs a study: finds its models, runs the cases that have no result yet, and keeps each result at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, final

from xbar_spice.checks import Optional, Real, Text, Whole, checked
from xbar_spice.errors import StudyError
from xbar_spice.study.cases import Case, expand, model_key
from xbar_spice.study.config import Parameters, Study
from xbar_spice.study.deficit import first_read_voltages, hardest_case
from xbar_spice.study.execute import WAIT, CaseFailure, Outcome, cores, run_here, run_on_dask
from xbar_spice.study.problem import find_model, fingerprint
from xbar_spice.study.segments import Status, line_of
from xbar_spice.study.store import Store, unconverged
from xbar_spice.version import versions
from xbar_spice.weights import Model

__all__ = ["Progress", "StudySummary", "run_study"]


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


@checked(jobs=Optional(Whole(1)), scheduler=Optional(Text()), wait=Real("s", least=0, infinite=True))
def run_study(
    study: Study,
    folder: Path,
    *,
    study_file: Path | None = None,
    jobs: int | None = None,
    scheduler: str | None = None,
    wait: float = WAIT,
    on_waiting: Callable[[str], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    on_training: Callable[..., None] | None = None,
) -> StudySummary:
    """Run the cases of a study that have no result yet.

    A case that fails leaves its error and the others go on; the next run tries it again. After an interruption all
    finished cases are there. Where Dask is used, a script needs the guard `if __name__ == "__main__":`, since the
    workers import it.

    Args:
        study: what to run.
        folder: of the results; need not exist.
        study_file: where the study comes from; names of weight files are relative to it.
        jobs: cases side by side, by default one per core; 1 runs them in this process without Dask.
        scheduler: address of an existing Dask scheduler, in place of a local cluster.
        wait: seconds for which that scheduler may be without any worker.
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
        damaged = store.tidy()
        models = _find_models(study, study_file, store.folder / "weights", on_training)
        cases = expand(study, models)
        store.write_study(_description(study, cases, models))
        notes = _keep_voltages(store, cases, models)
        unique = list({case.id: case for case in cases}.values())
        finished = store.finished()
        missing = [case for case in unique if case.id not in finished]
        counter = _Counter(len(unique), on_progress)
        for case in unique:
            if case.id in finished:
                counter.settle(case, "present")
        work = [(case, models[model_key(case.parameters)]) for case in missing]
        workers = min(jobs or cores(), len(work))
        if scheduler is None and workers <= 1:
            running = run_here(work)
        else:
            running = run_on_dask(work, workers, scheduler, wait=wait, on_waiting=on_waiting)
        # Closed at once when something goes wrong here, so that no worker outlives the run.
        with closing(running) as outcomes:
            for case, outcome in outcomes:
                _settle(store, counter, case, outcome)
        records, problems = store.results()
    failed = counter.failed
    return StudySummary(
        folder=store.folder,
        total=len(unique),
        present=len(unique) - len(missing),
        done=len(missing) - len(failed),
        failed=failed,
        unconverged=[case.label for case in unique if case.id in unconverged(records)],
        problems=list(dict.fromkeys(damaged + problems + notes)),
        seconds=time.perf_counter() - start,
    )


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


def _find_models(
    study: Study, study_file: Path | None, kept: Path, on_training: Callable[..., None] | None
) -> dict[str, Model]:
    settings = {model_key(parameters): parameters.model for _, parameters in study.points()}
    return {key: find_model(model, study_file, kept, on_training, study.lookup) for key, model in settings.items()}


def _settle(store: Store, counter: _Counter, case: Case, outcome: Outcome) -> None:
    """Write down what came of a case."""
    if isinstance(outcome, CaseFailure):
        why = case.describe() | asdict(outcome) | {"written": _now(), "versions": versions()}
        line = line_of(case.id, "failed", why, None)
    else:
        record = outcome.record | {"case": case.describe(), "written": _now()}
        status: Status = "done" if outcome.record.converged else "unconverged"
        line = line_of(case.id, status, record, outcome.trace.columns())
    try:
        store.write_segment([line])
    except StudyError as error:  # a full disk, say: nothing that comes could be kept either
        raise StudyError(f"{error}; finished cases are kept: the same command goes on from there") from error
    if isinstance(outcome, CaseFailure):
        counter.settle(case, "failed", outcome.error)
    else:
        counter.settle(case, "done")


def _keep_voltages(store: Store, cases: Sequence[Case], models: dict[str, Model]) -> list[str]:
    """Cell voltages of one array for the report; a study does not fail for want of them, but says so."""
    case = hardest_case(cases)
    kept = store.arrays("cell_deficit")
    if case is None or (kept is not None and str(kept.get("case")) == case.id):
        return []
    try:
        store.write_arrays("cell_deficit", first_read_voltages(case, models))
    except Exception as error:  # whatever it is, only a figure lacks its numbers
        return [f"no cell voltages for the report: {type(error).__name__}: {error}"]
    return []


def _description(study: Study, cases: Sequence[Case], models: dict[str, Model]) -> dict[str, Any]:
    """The study as the report needs it."""
    used = {model_key(parameters): parameters.model for _, parameters in study.points()}
    return {
        "name": study.name,
        "axes": [axis.model_dump() for axis in study.axes],
        "seeds": study.seeds,
        "parameters": study.model_dump(include=set(Parameters.model_fields)),
        "models_folders": study.models,
        "netlists": study.netlists,
        "models": [_describe_model(used[key], model) for key, model in models.items()],
        "data": sorted({case.data for case in cases}),
        "cases": [{"id": case.id, "label": case.label, "axes": case.axes, "seed": case.seed} for case in cases],
        "versions": versions(),
        "written": _now(),
    }


def _describe_model(settings: Any, model: Model) -> dict[str, Any]:
    kernels = model.kernels
    return {
        "source": settings.weights or f"training task {settings.task}, seed {settings.seed}",
        "fingerprint": fingerprint(model),
        "states": model.states,
        "hidden": model.hidden,
        "kernels": None if kernels is None else {"a": list(kernels.a.shape), "b": list(kernels.b.shape)},
        "trained_on": model.trained_on,
        "method": model.method,
        "h": model.h,
        "steps": model.steps,
    }


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
