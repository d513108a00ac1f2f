"""Where the errors of a study come from: its hardest point attributed to the sources of error, for its report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from xbar_spice.checks import Function, Instance, Optional, Whole, checked
from xbar_spice.cosim import attribute
from xbar_spice.study.case_folder import write_record
from xbar_spice.study.runner import planned
from xbar_spice.study.setups import Plan
from xbar_spice.study.store import Store
from xbar_spice.study.study import Study
from xbar_spice.study.study_file import StudyFile

__all__ = ["attribute_study"]


@checked(
    study=Instance(Study, StudyFile, example='load_study("study.toml")'),
    chips=Whole(1),
    on_run=Optional(Function()),
)
def attribute_study(
    study: Plan,
    folder: Path,
    *,
    study_file: Path | None = None,
    chips: int = 1,
    jobs: int = 1,
    on_run: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Attribute the errors of the point of the largest arrays, and write a record for each chip beside the results.

    At that point every combination of the sources of error is co-simulated, see `xs.attribute`. The report draws all
    records that lie there.

    Args:
        study: what was run, see `run_study`.
        folder: of the results.
        study_file: where the study comes from.
        chips: how many, the first seeds of the study.
        jobs: co-simulations side by side.
        on_run: called after each one with the number of those that are finished and of all.

    Returns:
        The records, `attribution-SEED/attribution.json`.

    Raises:
        InvalidInputError: the point has no source of error.
        XbarError: see `run_study`.
    """
    store = Store(folder)
    with store.locked():
        source = study.source(study_file, store.folder / "weights", None)
        plan = planned(study, source)
        hardest = plan.hardest or plan.listed[-1]
        setup = source.setup(hardest.point.changes)
        seeds = (study.seeds if setup.design.random else study.seeds[:1])[:chips]
        problem, found = setup.problem(), []
        for place, seed in enumerate(seeds):

            def count(done: int, total: int, before: int = place) -> None:
                if on_run is not None:
                    on_run(before * total + done, len(seeds) * total)

            found_here = attribute(
                problem, setup.design, engine=setup.engine(), seed=seed, solver=setup.solver, jobs=jobs, on_run=count
            )
            point = hardest.label.rpartition(", ")[0]
            record = {**found_here.record, "point": point}
            found.append(write_record(store.folder / f"attribution-{seed}" / "attribution.json", record))
    return found
