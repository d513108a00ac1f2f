"""What a run of a study would do: how many cases, for how long, with how much memory, and what is there already."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import final

from xbar_spice.checks import Instance, Optional, Whole, checked
from xbar_spice.study.execute import cores
from xbar_spice.study.runner import planned
from xbar_spice.study.setups import Plan
from xbar_spice.study.store import Store
from xbar_spice.study.study import Study
from xbar_spice.study.study_file import StudyFile

__all__ = ["Preview", "preview_study"]


@final
@dataclass(frozen=True)
class Preview:
    """What a run would do.

    Attributes:
        total: cases of the study.
        present: how many have a result.
        failed: how many failed before; a run tries them again unless it is told not to.
        workers: processes side by side.
        seconds: of wall time that a run may take.
        measured: part of these that rests on results that are there, between 0 and 1; the rest is within a factor of
            three.
        megabytes: of memory that all workers may take.
    """

    total: int
    present: int
    failed: int
    workers: int
    seconds: float
    measured: float
    megabytes: float

    def __str__(self) -> str:
        left = self.total - self.present
        lines = [
            f"{self.total} cases: {self.present} are there, {left} to run"
            + f" ({self.failed} failed before)" * (self.failed > 0)
        ]
        if left:
            rough = "" if self.measured > 0.9 else ", within a factor of three: nothing like it is there to go by"
            lines.append(f"time: about {_duration(self.seconds)} with {self.workers} at a time{rough}")
            lines.append(f"memory: about {self.megabytes:.0f} MB")
        return "\n".join(lines)


@checked(study=Instance(Study, StudyFile, example='load_study("study.toml")'), jobs=Optional(Whole(1)))
def preview_study(study: Plan, folder: Path, *, study_file: Path | None = None, jobs: int | None = None) -> Preview:
    """What `run_study` would do; nothing is run, trained or written.

    Args:
        study: what would be run.
        folder: of the results.
        study_file: where the study comes from.
        jobs: cases side by side, by default one per core.

    Raises:
        XbarError: see `run_study`.
    """
    store = Store(folder)
    plan = planned(study, study.source(study_file, store.folder / "weights", None, dry=True))
    took: dict[int, list[float]] = defaultdict(list)
    for stored in store.cases():
        if stored.id in plan.cases:
            took[id(plan.cases[stored.id].point)].append(float(stored.content["seconds"]))
    status = store.status()
    means = {point: fmean(seconds) for point, seconds in took.items()}
    ratios = [mean / plan.estimates[point].seconds for point, mean in means.items()]
    ratio = fmean(ratios) if ratios else 1.0
    missing = [case for case in plan.cases.values() if status.get(case.id, "failed") == "failed"]
    known, guessed = 0.0, 0.0
    for case in missing:
        point = id(case.point)
        known += means.get(point, 0.0)
        guessed += 0.0 if point in means else ratio * plan.estimates[point].seconds
    workers = min(jobs or cores(), max(1, len(missing)))
    sizes = sorted((plan.estimates[id(case.point)].bytes for case in missing), reverse=True)
    return Preview(
        total=len(plan.cases),
        present=len(plan.cases) - len(missing),
        failed=sum(status.get(case.id) == "failed" for case in missing),
        workers=workers,
        seconds=(known + guessed) / workers,
        measured=1.0 if ratios else 0.0,
        megabytes=sum(sizes[:workers]) / 2**20,
    )


def _duration(seconds: float) -> str:
    for size, name in ((86400.0, "days"), (3600.0, "hours"), (60.0, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {name}"
    return f"{max(1.0, seconds):.0f} s"
