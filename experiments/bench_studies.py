#!/usr/bin/env python3
"""How fast studies run: many small cases, fewer long ones, ten thousand, and again with nothing left to do.

    experiments/bench_studies.py                       # all rows; a quarter of an hour
    git worktree add /tmp/before COMMIT
    experiments/bench_studies.py --beside /tmp/before  # each row with another version, too, in turn

Each row is a process of its own, which reads a study file, runs the study and ends. Printed are wall seconds and CPU
seconds of all its processes, the largest memory of the program, and that of the largest worker after a tenth of the
cases and at the end. On a busy machine CPU seconds say more than wall seconds. Chips are not compared here: the numbers
of a row are one run, or the median of --repeats runs.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import environment  # noqa: F401 - goes on in the environment of the project

import numpy as np
import psutil
from measuring import peak

TINY = {"hidden": 3, "states": 2, "samples": 2, "tile": 4}
MEDIUM = {"hidden": 64, "states": 64, "samples": 8, "tile": 16}
ROWS: dict[str, tuple[dict[str, int], int, int, int]] = {  # model, wires, seeds, workers
    "400 small, 1 worker": (TINY, 20, 20, 1),
    "400 small, 2 workers": (TINY, 20, 20, 2),
    "96 longer, 1 worker": (MEDIUM, 12, 8, 1),
    "96 longer, 2 workers": (MEDIUM, 12, 8, 2),
    "10000 small": (TINY, 100, 100, 2),
    "10000 again": (TINY, 100, 100, 2),
}
QUICK = {name: (model, 3, 4, jobs) for name, (model, _, _, jobs) in ROWS.items() if model is TINY}


def write_study(folder: Path, model: dict[str, int], wires: int, seeds: int) -> Path:
    """A weight file and a study of it: resistances of word lines, and chips."""
    import xbar_spice as xs  # noqa: PLC0415 - of the checkout that the process is to measure

    rng = np.random.default_rng(0)
    there = rng.standard_normal((model["hidden"], model["states"])) / np.sqrt(model["states"])
    back = 0.3 * rng.standard_normal((model["states"], model["hidden"])) / np.sqrt(model["hidden"])
    xs.save_model(folder / "weights.npz", xs.Model(there, back, h=0.25, steps=2))
    values = ", ".join(f"{0.05 * (i + 1):.2f}" for i in range(wires))
    (folder / "study.toml").write_text(
        f'name = "bench"\nseeds = {list(range(seeds))}\nmodel.weights = "weights.npz"\n'
        f'data = {{ task = "random", samples = {model["samples"]} }}\n'
        f'circuit = {{ engine = "nodal", tile = {model["tile"]}, r_bit = 1.0, variation.programming = 0.05 }}\n'
        f'[[axes]]\nname = "wire"\nunit = "ohm"\nfields = ["circuit.r_word"]\nvalues = [{values}]\n'
    )
    return folder / "study.toml"


class Watch:
    """The largest worker after a tenth of the cases, and at the end."""

    def __init__(self) -> None:
        self.sizes: list[float] = [0.0, 0.0]
        self._seen = 0

    def __call__(self, progress: Any) -> None:
        self._seen += 1
        if self._seen in (progress.total // 10, progress.total - 1):
            children = psutil.Process().children(recursive=True)
            self.sizes[self._seen > progress.total // 10] = max(
                (child.memory_info().rss / 2**20 for child in children), default=0.0
            )


def run(name: str, folder: Path, quick: bool) -> dict[str, Any]:
    """One row, in this process."""
    start = time.perf_counter()
    import xbar_spice as xs  # noqa: PLC0415 - of the checkout that the process is to measure

    *_, jobs = (QUICK if quick else ROWS)[name]
    watch = Watch()
    file = folder / "study.toml"
    summary = xs.run_study(xs.load_study(file), folder / "out", study_file=file, jobs=jobs, on_progress=watch)
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return {
        "wall": time.perf_counter() - start,
        "cpu": [one.ru_utime + one.ru_stime for one in used],
        "peak": peak(),
        "workers": watch.sizes,
        "settled": summary.total - len(summary.failed),
        "files": sum(len(files) for _, _, files in os.walk(folder / "out")),
        "bytes": sum(path.stat().st_size for path in (folder / "out").rglob("*")),
    }


def measure(name: str, checkout: Path | None, folder: Path, quick: bool) -> dict[str, Any]:
    """One row in a process of its own."""
    paths = {"PYTHONPATH": str(checkout)} if checkout else {}
    one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, __file__, "--worker", name, str(folder), str(int(quick))]
    done = subprocess.run(command, env=os.environ | one_thread | paths, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    if sys.argv[1:2] == ["--worker"]:
        print(json.dumps(run(sys.argv[2], Path(sys.argv[3]), sys.argv[4] == "1")))
        return
    from common import Arguments  # noqa: PLC0415 - a worker measures the package of another checkout

    parser = Arguments(__doc__, figure=False)
    parser.add_argument("--repeats", type=int, default=1, help="Runs of each row; the median is printed.")
    parser.add_argument("--beside", type=Path, help="Another checkout, such as a git worktree of an earlier version.")
    parser.add_argument("--only", nargs="+", choices=list(ROWS), default=list(ROWS), help="What to measure.")
    options = parser.parse(only=["10000 again"])
    checkouts = [None, options.beside] if options.beside else [None]
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; wall s, CPU s (program + workers), MB, workers MB")
    for name in options.only:
        wires, seeds = (QUICK if options.quick else ROWS)[name][1:3]
        for checkout in checkouts:
            found = []
            for _ in range(options.repeats):
                with tempfile.TemporaryDirectory() as folder:
                    write_study(Path(folder), ROWS[name][0], wires, seeds)
                    found.append(measure(name, checkout, Path(folder), options.quick))
                    if name.endswith("again"):
                        found[-1] = measure(name, checkout, Path(folder), options.quick)
            by = {key: [one[key] for one in found] for key in found[0]}
            program, workers = (statistics.median(one[i] for one in by["cpu"]) for i in (0, 1))
            early, late = (statistics.median(one[i] for one in by["workers"]) for i in (0, 1))
            print(
                f"{name:22}{'beside' if checkout else 'here':7}{statistics.median(by['wall']):8.1f}"
                f"{program:8.1f} +{workers:6.1f}{max(by['peak']):7.0f}{early:7.0f} ->{late:5.0f}"
                f"   {by['settled'][0]} cases, {by['files'][0]} files, {by['bytes'][0] / 2**20:.1f} MB",
                flush=True,
            )


if __name__ == "__main__":
    main()
