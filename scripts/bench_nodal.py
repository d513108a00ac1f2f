#!/usr/bin/env python3
"""Time and memory of the nodal engine beside its peers, each measurement in a process of its own.

    scripts/bench_nodal.py [--quick] [--repeats 3] [--peer-python PATH] [--out docs/figures/nodal]

Prints the machine, versions, and one line for each piece of work: median seconds, peak memory, the ratio to the peer
and the largest relative difference of a sense current from an independent solution. Peers: badcrossbar (from PyPI, in
the Python given by --peer-python), SciPy's sparse LU and ngspice. With --out, writes the measurements as CSV and their
plot. To install the peer:

    python3 -m venv peer && peer/bin/pip install badcrossbar
    scripts/bench_nodal.py --peer-python peer/bin/python
"""

from __future__ import annotations

import argparse
import csv
import json
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

R_WIRE = 1.0
LARGEST_FOR_NGSPICE = 256
COLOURS = {"nodal": "#0b6e99", "badcrossbar": "#c8553d", "sparse LU": "#8a8d91", "ngspice": "#7a9e3f"}
Work = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, list[float]]]


def example(size: int, vectors: int, uniform: bool) -> tuple[np.ndarray, np.ndarray]:
    """Devices of 1 to 100 kohm, log-uniform (or 10 kohm all), and drives up to 0.2 V."""
    rng = np.random.default_rng(size)
    conductance = np.full((size, size), 1e-4) if uniform else 10 ** rng.uniform(-5, -3, (size, size))
    return conductance, rng.uniform(0.0, 0.2, (size, vectors))


def closed_form(size: int, volts: np.ndarray) -> np.ndarray:
    """Sense currents of the uniform array of 1e-4 S by its product of sines; an independent solution of any size."""
    count = np.arange(1, size + 1)
    angle = (2 * count - 1) * np.pi / (2 * size + 1)
    sines = np.sin(np.outer(count, angle))  # (place, mode)
    values = 2 - 2 * np.cos(angle)
    drive = sines.T @ volts[::-1]  # (mode, batch), counted from the sense end
    wires = np.add.outer(values, values) / R_WIRE
    modes = 1e-4 / (np.outer(values, values) / R_WIRE**2 + 1e-4 * wires)
    inner = modes @ (sines[0][:, np.newaxis] * drive)
    return 16 / (2 * size + 1) ** 2 / R_WIRE**2 * sines @ (sines[0][:, np.newaxis] * inner)


def nodal(method: str, reads: int = 1) -> Work:
    def work(conductance: np.ndarray, volts: np.ndarray) -> tuple[np.ndarray, list[float]]:
        from xbar_spice.engines.nodal.engine import NodalEngine  # noqa: PLC0415
        from xbar_spice.hardware.crossbar import Crossbar  # noqa: PLC0415 - the peer's Python lacks it

        seconds = []
        start = time.perf_counter()
        session = NodalEngine(method).program(Crossbar(conductance, R_WIRE, R_WIRE))
        for _ in range(reads):
            currents = session.read(volts)
            seconds.append(time.perf_counter() - start)
            start = time.perf_counter()
        return currents, seconds[-1:]

    return work


def sparse_lu(conductance: np.ndarray, volts: np.ndarray) -> tuple[np.ndarray, list[float]]:
    from xbar_spice.engines.nodal.factor import FactorPreconditioner  # noqa: PLC0415
    from xbar_spice.engines.nodal.grid import place  # noqa: PLC0415
    from xbar_spice.hardware.crossbar import Crossbar  # noqa: PLC0415

    start = time.perf_counter()
    grid, placement = place(Crossbar(conductance, R_WIRE, R_WIRE), "rows")
    factor = FactorPreconditioner(grid)
    columns = []
    for column in volts.T:
        ideal = grid.conductance * placement.drive_to_grid(column[:, np.newaxis])
        lost = grid.conductance * factor(ideal)
        columns.append(placement.from_sense((ideal - lost).sum(axis=1 + placement.sense_axis)))
    return np.concatenate(columns, axis=1), [time.perf_counter() - start]


def ngspice(conductance: np.ndarray, volts: np.ndarray) -> tuple[np.ndarray, list[float]]:
    from xbar_spice.engines.registry import get_engine  # noqa: PLC0415
    from xbar_spice.hardware.crossbar import Crossbar  # noqa: PLC0415

    start = time.perf_counter()
    with get_engine("ngspice").program(Crossbar(conductance, R_WIRE, R_WIRE)) as session:
        currents = session.read(volts)
    return currents, [time.perf_counter() - start]


def badcrossbar(conductance: np.ndarray, volts: np.ndarray) -> tuple[np.ndarray, list[float]]:
    import logging  # noqa: PLC0415
    import warnings  # noqa: PLC0415

    warnings.simplefilter("ignore")
    import badcrossbar as peer  # noqa: PLC0415

    logging.disable(logging.CRITICAL)
    start = time.perf_counter()
    solution = peer.compute(volts, 1 / conductance, R_WIRE, node_voltages=False, all_currents=False)
    return solution.currents.output.T, [time.perf_counter() - start]


WORKERS: dict[str, Work] = {
    "nodal": nodal("auto"),
    "nodal second read": nodal("auto", reads=2),
    "nodal K": nodal("direct"),
    "sparse LU": sparse_lu,
    "ngspice": ngspice,
    "badcrossbar": badcrossbar,
}


def run_worker(name: str, size: int, vectors: int, uniform: bool, path: str) -> None:
    conductance, volts = example(size, vectors, uniform)
    if vectors == size:  # the transfer matrix
        volts = np.eye(size)
    currents, seconds = WORKERS[name](conductance, volts)
    np.save(path, currents)
    who = resource.RUSAGE_CHILDREN if name == "ngspice" else resource.RUSAGE_SELF
    peak = resource.getrusage(who).ru_maxrss / (1024.0 if sys.platform != "darwin" else 1024.0**2)
    print(json.dumps({"seconds": seconds[0], "peak": peak}))


def measure(python: str, name: str, size: int, vectors: int, repeats: int, uniform: bool = False) -> dict:
    """Median seconds and peak MB of fresh processes, and the currents."""
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/currents.npy"
        for _ in range(repeats):
            command = [python, __file__, "--worker", name, str(size), str(vectors), str(int(uniform)), path]
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
            runs.append(json.loads(done.stdout.splitlines()[-1]))
        currents = np.load(path)
    return {
        "who": name,
        "size": size,
        "vectors": vectors,
        "currents": currents,
        "seconds": statistics.median(run["seconds"] for run in runs),
        "peak": max(run["peak"] for run in runs),
    }


def difference(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.max(np.abs(one - other) / np.abs(other)))


class Bench:
    """Runs pairs of measurements and prints them as they come."""

    def __init__(self, repeats: int, peer_python: str) -> None:
        self.repeats = repeats
        self.peer_python = peer_python
        self.rows: list[dict] = []
        self._known: dict[tuple[str, int, int], dict] = {}

    def take(self, name: str, size: int, vectors: int, uniform: bool = False) -> dict:
        key = (name, size, vectors)
        if key not in self._known:
            python = self.peer_python if name == "badcrossbar" else sys.executable
            slow = size**2 * vectors > 2e5 and not name.startswith("nodal")
            self._known[key] = measure(python, name, size, vectors, 1 if slow else self.repeats, uniform)
        return self._known[key]

    def compare(
        self, work: str, name: str, peer: str, size: int, vectors: int, peer_vectors: int | None = None
    ) -> None:
        ours, theirs = self.take(name, size, vectors), self.take(peer, size, peer_vectors or vectors)
        error = (
            difference(ours["currents"], theirs["currents"])
            if ours["currents"].shape == theirs["currents"].shape
            else np.nan
        )
        self._print(work, ours, error)
        self._print("", theirs, np.nan)
        print(
            f"{'':34}{theirs['seconds'] / ours['seconds']:>10.1f} x faster, "
            f"memory 1/{theirs['peak'] / ours['peak']:.1f}",
            flush=True,
        )

    def alone(self, work: str, size: int) -> None:
        ours = self.take("nodal", size, 1)
        uniform = measure(sys.executable, "nodal", size, 1, 1, uniform=True)
        error = difference(uniform["currents"], closed_form(size, example(size, 1, True)[1]))
        self._print(work, ours, error)

    def _print(self, work: str, result: dict, error: float) -> None:
        shown = "" if np.isnan(error) else f"{error:.1e}"
        print(
            f"{work:34}{result['who']:20}{result['size']:>6}{result['seconds']:>11.3f} s"
            f"{result['peak']:>8.0f} MB  {shown}",
            flush=True,
        )
        self.rows.append(
            {key: result[key] for key in ("who", "size", "vectors", "seconds", "peak")} | {"work": work, "error": shown}
        )


def describe(peer_python: str) -> None:
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        cpu = next((line.split(":")[1].strip() for line in info.read_text().splitlines() if "model name" in line), cpu)
    import os  # noqa: PLC0415

    system = f"{platform.system()} {platform.machine()}"
    print(f"machine: {cpu}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.2f}; {system}")
    ask = "from importlib.metadata import version; print(version('badcrossbar'), version('numpy'), version('scipy'))"
    peer = subprocess.run([peer_python, "-c", ask], capture_output=True, text=True, check=False).stdout.split()
    try:
        own = version("xbar-spice")
    except PackageNotFoundError:
        own = "checkout"
    print(
        f"xbar-spice {own}, Python {platform.python_version()}, numpy {np.__version__}, scipy {version('scipy')}; "
        f"badcrossbar {peer[0] if peer else 'missing'} on numpy, scipy {peer[1:]}"
    )


def draw(rows: list[dict], stem: Path) -> None:
    import matplotlib as mpl  # noqa: PLC0415

    mpl.use("Agg")
    import matplotlib.pyplot as plt  # noqa: PLC0415

    stem.parent.mkdir(parents=True, exist_ok=True)
    with stem.with_suffix(".csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["work", "who", "size", "vectors", "seconds", "peak", "error"])
        writer.writeheader()
        writer.writerows(rows)
    mpl.rcParams.update({"axes.spines.top": False, "axes.spines.right": False, "font.size": 10})
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
    titles = ("one vector, seconds", "peak memory of the process, MB")
    for axis, title, quantity in zip(axes, titles, ("seconds", "peak"), strict=True):
        for name, colour in COLOURS.items():
            known = {row["size"]: row[quantity] for row in rows if row["who"] == name and row["vectors"] == 1}
            if known:
                sizes = sorted(known)
                axis.loglog(sizes, [known[size] for size in sizes], "o-", color=colour, markersize=4, label=name)
                left = name in ("nodal", "ngspice")  # where no other line passes
                axis.annotate(
                    name,
                    (sizes[-1], known[sizes[-1]]),
                    (-4, 11) if left else (7, 0),
                    textcoords="offset points",
                    color=colour,
                    ha="right" if left else "left",
                    va="center",
                )
        sizes = sorted({row["size"] for row in rows})
        axis.set_xticks(sizes, [str(size) for size in sizes], minor=False)
        axis.set_xticks([], minor=True)
        axis.yaxis.set_major_formatter("{x:g}")
        axis.set_title(title, loc="left", fontsize=10)
        axis.set_xlabel("array size N x N")
        axis.grid(alpha=0.25)
        axis.margins(y=0.12)  # room for names above the highest points
    figure.savefig(stem.with_suffix(".png"), dpi=150)


def main() -> None:
    if sys.argv[1:2] == ["--worker"]:
        name, size, vectors, uniform, path = sys.argv[2:]
        run_worker(name, int(size), int(vectors), uniform == "1", path)
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="arrays up to 256 only")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--peer-python", default=sys.executable, help="a Python that has badcrossbar")
    parser.add_argument("--out", type=Path, help="stem of the CSV and PNG to write")
    options = parser.parse_args()
    describe(options.peer_python)
    bench = Bench(options.repeats, options.peer_python)
    print(f"{'work':34}{'who':20}{'N':>6}{'median':>13}{'peak':>11}  error")
    for size in (64, 128, 256) if options.quick else (64, 128, 256, 512):
        bench.compare("one vector", "nodal", "badcrossbar", size, 1)
        bench.compare("one vector", "nodal", "sparse LU", size, 1)
        if size <= LARGEST_FOR_NGSPICE:
            bench.compare("one vector", "nodal", "ngspice", size, 1)
    bench.compare("transfer matrix K", "nodal K", "sparse LU", 256, 256)
    if not options.quick:
        bench.compare("second read against its first", "nodal second read", "badcrossbar", 512, 1)
        for size in (1024, 2048):
            bench.alone("one vector", size)
    for size in (128, 256) if options.quick else (128, 256, 512):
        bench.compare("100 vectors", "nodal", "badcrossbar", size, 100)
    if options.out:
        draw(bench.rows, options.out)


if __name__ == "__main__":
    main()
