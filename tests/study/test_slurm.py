"""A study whose workers a SLURM cluster starts, by dask-jobqueue, with an sbatch that runs its jobs on this machine."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from support.studies import a_study

from xbar_spice.study.runner import run_study
from xbar_spice.study.store import Store

jobqueue: Any = pytest.importorskip("dask_jobqueue")

SBATCH = """#!/bin/sh
# Runs a job here, from a copy as its file goes at once, and says its number, as SLURM does.
job=$(mktemp -p "$(dirname "$0")") && cp "$1" "$job"
setsid sh "$job" > /dev/null 2>&1 &
echo "Submitted batch job $!"
"""
SCANCEL = """#!/bin/sh
kill -- "-$1"
"""


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The two commands of SLURM that dask-jobqueue calls, first in the path."""
    commands = tmp_path / "bin"
    commands.mkdir()
    for name, script in (("sbatch", SBATCH), ("scancel", SCANCEL)):
        (commands / name).write_text(script)
        (commands / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(commands), prepend=":")
    return commands


def test_a_study_runs_on_workers_that_slurm_starts(slurm: Path, weights: Path, tmp_path: Path) -> None:
    """What the page on studies says, word for word but for the sizes; with --adapt jobs come when there is work."""
    study = a_study(weights)
    run_study(study, tmp_path / "here", jobs=1)
    with jobqueue.SLURMCluster(
        cores=1,
        processes=1,
        memory="1GB",
        walltime="00:10:00",
        python=sys.executable,
        interface="lo",
        local_directory=str(tmp_path),
        log_directory=str(tmp_path),
        scheduler_options={"dashboard": False},
    ) as cluster:
        cluster.adapt(minimum=0, maximum=1)
        summary = run_study(study, tmp_path / "there", scheduler=cluster.scheduler_address, wait=120.0)
    assert summary.done == summary.total > 1
    assert Store(tmp_path / "there").finished() == Store(tmp_path / "here").finished()
