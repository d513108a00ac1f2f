#!/usr/bin/env python3
"""A study whose programs are killed at random gives the results of one that nobody disturbs.

    experiments/study_faults.py                  # 10,000 cases; half an hour
    experiments/study_faults.py --quick          # 20 of them

First the study runs in one process. Then it runs again in another folder, with two workers, while at random times the
program, a worker or what makes workers is killed, the program is interrupted, or the disk is full; with --scheduler
the workers are those of a Dask scheduler, and these and the scheduler are killed, too. Whatever ends is started again,
until the study ends by itself. Printed are the faults, and how many cases differ: nothing is averaged over chips.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common import Arguments, elapsed

import psutil
from bench_studies import TINY, write_study

from xbar_spice.study.store import Store

TIMES = {"seconds", "read_seconds", "written"}
PROGRAM = "from xbar_spice.cli import main; main()"


def start(folder: Path, *options: str, limit: int | None = None) -> subprocess.Popen[bytes]:
    """The command line, in a session of its own; `limit` bytes are all that a file may have."""
    sizes = "" if limit is None else f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit})); "
    code = sizes + PROGRAM
    command = [sys.executable, "-c", code, "study", str(folder / "study.toml"), *options]
    with (folder / "log.txt").open("ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)


def kill_program(program: subprocess.Popen[bytes], _: random.Random) -> None:
    program.kill()


def interrupt_program(program: subprocess.Popen[bytes], _: random.Random) -> None:
    program.send_signal(signal.SIGINT)


def kill_child(program: subprocess.Popen[bytes], rng: random.Random) -> None:
    """A worker, or what makes them."""
    try:
        children = psutil.Process(program.pid).children(recursive=True)
        rng.choice(children).kill()
    except (psutil.NoSuchProcess, IndexError):
        pass


FAULTS: dict[str, Callable[[subprocess.Popen[bytes], random.Random], None]] = {
    "program killed": kill_program,
    "program interrupted": interrupt_program,
    "worker killed": kill_child,
}


class Cluster:
    """A Dask scheduler and two workers as processes, which come and go."""

    def __init__(self, port: int) -> None:
        self.address, self._port = f"tcp://127.0.0.1:{port}", port
        self._scheduler: subprocess.Popen[bytes] | None = None
        self._workers: list[subprocess.Popen[bytes]] = []

    def keep_up(self) -> None:
        """Start whatever is missing."""
        if self._scheduler is None or self._scheduler.poll() is not None:
            self._scheduler = self._dask(
                "scheduler", "--host", "127.0.0.1", "--port", str(self._port), "--no-dashboard"
            )
        self._workers = [worker for worker in self._workers if worker.poll() is None]
        while len(self._workers) < 2:
            quiet = ["--nthreads", "1", "--no-nanny", "--no-dashboard", "--death-timeout", "60"]
            self._workers.append(self._dask("worker", self.address, *quiet))

    def kill_one(self, rng: random.Random) -> str:
        """A worker, or seldom the scheduler."""
        if rng.random() < 0.2 and self._scheduler is not None:
            self._scheduler.kill()
            return "scheduler killed"
        rng.choice(self._workers).kill()
        return "Dask worker killed"

    def end(self) -> None:
        """End all of it."""
        for process in [*self._workers, *([] if self._scheduler is None else [self._scheduler])]:
            process.kill()
            process.wait()

    @staticmethod
    def _dask(*words: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "distributed.cli.dask_" + words[0], *words[1:]]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def disturbed(folder: Path, rng: random.Random, pause: float, cluster: Cluster | None) -> Counter[str]:
    """Run the study to its end; returns the faults that it met."""
    faults: Counter[str] = Counter()
    while True:
        limit = 20_000 if rng.random() < 0.1 else None
        if cluster is not None:
            cluster.keep_up()
        where = ["--jobs", "2"] if cluster is None else ["--scheduler", cluster.address]
        program = start(folder, "--output", str(folder / "disturbed"), *where, limit=limit)
        faults["disk full"] += limit is not None
        while program.poll() is None:
            try:
                program.wait(timeout=rng.expovariate(1 / pause))
            except subprocess.TimeoutExpired:
                if cluster is not None and rng.random() < 0.5:
                    name = cluster.kill_one(rng)
                    cluster.keep_up()
                else:
                    name = rng.choice(list(FAULTS))
                    FAULTS[name](program, rng)
                faults[name] += 1
        if program.returncode == 0:
            return faults
        print(f"{elapsed():7.0f} s: {len(Store(folder / 'disturbed').finished())} cases are there", flush=True)


def results(folder: Path) -> dict[str, tuple[Any, Any]]:
    """Record and trace of each case, without the times that they took."""
    found = {}
    for case in Store(folder).cases():
        record = {name: value for name, value in case.content.items() if name not in TIMES}
        found[case.id] = json.dumps(record, sort_keys=True), case.trace().drop(columns="seconds").to_csv()
    return found


def main() -> None:
    parser = Arguments(__doc__, figure=False, seeds=100, seed=0)
    parser.add_argument("--wires", type=int, default=100, help="Number of resistances, with all seeds each.")
    parser.add_argument("--pause", type=float, default=8.0, help="Mean seconds between two faults.")
    parser.add_argument("--scheduler", type=int, metavar="PORT", help="Workers of a Dask scheduler at this port.")
    options = parser.parse(seeds=10, wires=2, pause=2.0)
    rng = random.Random(options.seed)
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    cluster = None if options.scheduler is None else Cluster(options.scheduler)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_study(folder, TINY, options.wires, options.seeds)
        calm = start(folder, "--output", str(folder / "calm"), "--jobs", "1")
        if calm.wait():
            raise SystemExit((folder / "log.txt").read_text())
        print(f"{elapsed():7.0f} s: the undisturbed study is done", flush=True)
        try:
            faults = disturbed(folder, rng, options.pause, cluster)
        finally:
            if cluster is not None:
                cluster.end()
        wanted, found = results(folder / "calm"), results(folder / "disturbed")
        problems: list[str] = []
        list(Store(folder / "disturbed").cases(problems))
    time.sleep(0.5)
    left = [one.pid for one in psutil.Process().children(recursive=True)]
    differ = sum(found.get(case) != one for case, one in wanted.items())
    print(", ".join(f"{count} times {fault}" for fault, count in sorted(faults.items()) if count))
    print(
        f"{len(wanted)} cases, {len(found)} found, {differ} differ, {len(problems)} damaged, {len(left)} processes left"
    )
    if differ or len(found) != len(wanted) or problems or left:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
