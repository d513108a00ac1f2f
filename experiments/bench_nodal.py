#!/usr/bin/env python3
"""Time and memory of the nodal engine beside its peers, each measurement in a process of its own.

Prints the machine, versions, and one line for each piece of work: median CPU seconds with one thread (of the clock
for ngspice), peak memory, the ratio to the peer and the largest relative difference of a sense current from an
independent solution. Peers: badcrossbar (from PyPI, in the Python given by --peer-python), SciPy's sparse LU and
ngspice; those that are missing are left out. The largest sizes, without a peer, stand beside a product of matrices of
that size in single precision. Writes the measurements as nodal.csv, and their plot as nodal.png and nodal.svg. To
install the peer:

    python3 -m venv peer && peer/bin/pip install badcrossbar
    experiments/bench_nodal.py --peer-python peer/bin/python
"""

from __future__ import annotations

import csv
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from common import ROOT, Arguments, publish

import numpy as np
from matplotlib.figure import Figure
from nodal_work import R_WIRE, example

from xbar_spice.engines.ngspice.installation import describe
from xbar_spice.linear.operator import FloatArray
from xbar_spice.report.style import colours, new_figure, set_abscissa

WORK = ROOT / "experiments" / "nodal_work.py"
LARGEST_FOR_NGSPICE = 256
ONE_THREAD = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
DRAWN = ("nodal", "badcrossbar", "sparse LU", "ngspice")


@dataclass(frozen=True, eq=False)
class Measured:
    """One piece of work: median seconds and peak MB of fresh processes, and the currents."""

    who: str
    size: int
    vectors: int
    seconds: float
    peak: float
    currents: FloatArray

    def difference(self, other: FloatArray) -> float:
        """The largest relative one of a current; NaN if they are currents of other drives."""
        if self.currents.shape != other.shape:
            return np.nan
        return float(np.max(np.abs(self.currents - other) / np.abs(other)))


def closed_form(size: int, volts: FloatArray) -> FloatArray:
    """Sense currents of the uniform array of 1e-4 S by its product of sines; an independent solution of any size."""
    count, parts = np.arange(1, size + 1), 2 * size + 1  # of half a turn
    sines = np.sin(np.outer(count, 2 * count - 1) % (2 * parts) * (np.pi / parts))  # (place, mode)
    values = 4 * np.sin((2 * count - 1) * (np.pi / (2 * parts))) ** 2
    drive = sines.T @ volts[::-1]  # (mode, batch), counted from the sense end
    wires = np.add.outer(values, values) / R_WIRE
    modes = 1e-4 / (np.outer(values, values) / R_WIRE**2 + 1e-4 * wires)
    inner = modes @ (sines[0][:, np.newaxis] * drive)
    return np.asarray(16 / (2 * size + 1) ** 2 / R_WIRE**2 * sines @ (sines[0][:, np.newaxis] * inner))


def measure(python: str, who: str, size: int, vectors: int, repeats: int, *, uniform: bool = False) -> Measured:
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/currents.npy"
        command = [python, str(WORK), who, str(size), str(vectors), path, *(["--uniform"] if uniform else [])]
        for _ in range(repeats):
            done = subprocess.run(
                command, env=ONE_THREAD, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True
            )
            runs.append(json.loads(done.stdout.splitlines()[-1]))
        currents = np.load(path)
    seconds = statistics.median(run["seconds"] for run in runs)
    return Measured(who, size, vectors, seconds, max(run["peak"] for run in runs), currents)


@dataclass
class Bench:
    """Runs pairs of measurements and prints them as they come.

    Attributes:
        repeats: Runs of each.
        peer_python: A Python that may have badcrossbar.
        peers: Those that are there.
    """

    repeats: int
    peer_python: str
    peers: frozenset[str]
    rows: list[tuple[str, Measured, str]] = field(default_factory=list)
    _known: dict[tuple[str, int, int], Measured] = field(default_factory=dict)

    def take(self, who: str, size: int, vectors: int) -> Measured:
        key = (who, size, vectors)
        if key not in self._known:
            python = self.peer_python if who == "badcrossbar" else sys.executable
            slow = size**2 * vectors > 2e5 and not who.startswith("nodal")
            self._known[key] = measure(python, who, size, vectors, 1 if slow else self.repeats)
        return self._known[key]

    def compare(self, work: str, who: str, peer: str, size: int, vectors: int) -> None:
        if peer not in self.peers:
            return
        ours, theirs = self.take(who, size, vectors), self.take(peer, size, vectors)
        self._print(work, ours, ours.difference(theirs.currents))
        self._print("", theirs, np.nan)
        print(
            f"{'':34}{theirs.seconds / ours.seconds:>10.1f} x faster, memory 1/{theirs.peak / ours.peak:.1f}",
            flush=True,
        )

    def alone(self, work: str, size: int) -> None:
        """Without a peer: the error is that of a uniform array of this size."""
        uniform = measure(sys.executable, "nodal", size, 1, 1, uniform=True)
        error = uniform.difference(closed_form(size, example(size, 1, True)[1]))
        ours, product = self.take("nodal", size, 1), self.take("product", size, 1)
        self._print(work, ours, error)
        products = ours.seconds / product.seconds
        print(f"{'':34}{products:>10.1f} matrix products of that size in single precision", flush=True)

    def _print(self, work: str, found: Measured, error: float) -> None:
        shown = "" if np.isnan(error) else f"{error:.1e}"
        print(
            f"{work:34}{found.who:20}{found.size:>6}{found.seconds:>11.3f} s{found.peak:>8.0f} MB  {shown}", flush=True
        )
        self.rows.append((work, found, shown))


def print_machine(peer: list[str]) -> None:
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        cpu = next((line.split(":")[1].strip() for line in info.read_text().splitlines() if "model name" in line), cpu)
    system = f"{platform.system()} {platform.machine()}"
    print(f"machine: {cpu}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.2f}; {system}")
    print(
        f"xbar-spice {version('xbar-spice')}, Python {platform.python_version()}, numpy {np.__version__}, "
        f"scipy {version('scipy')}; badcrossbar {peer[0] if peer else 'missing'} on numpy, scipy {peer[1:]}"
    )


def draw(rows: list[Measured]) -> Figure:
    """Seconds and memory of one vector against the size."""
    figure, panels = new_figure(1, 2, width=4.4, height=3.4, share=False)
    titles = {"seconds": "one vector, seconds", "peak": "peak memory of the process, MB"}
    for axes, (quantity, title) in zip(panels, titles.items(), strict=True):
        for name, colour in zip(DRAWN, colours(DRAWN, ordered=False), strict=True):
            known = {row.size: getattr(row, quantity) for row in rows if row.who == name and row.vectors == 1}
            if known:
                sizes = sorted(known)
                axes.loglog(sizes, [known[size] for size in sizes], "o-", color=colour, label=name)
        set_abscissa(axes, sorted({row.size for row in rows}))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.set(title=title, xlabel="array size N x N")
    panels[0].legend()
    return figure


def main() -> None:
    parser = Arguments(__doc__, sizes=[64, 128, 256, 512])
    parser.add_argument("--transfer", type=int, default=256, help="Size N of the transfer matrix.")
    parser.add_argument("--largest", type=int, nargs="*", default=[1024, 2048, 4096], help="Sizes N without a peer.")
    parser.add_argument("--repeats", type=int, default=3, help="Runs of each piece of work.")
    parser.add_argument("--peer-python", default=sys.executable, help="A Python that has badcrossbar.")
    options = parser.parse(sizes=[16], transfer=8, largest=[32], repeats=1)
    ask = "from importlib.metadata import version; print(version('badcrossbar'), version('numpy'), version('scipy'))"
    asked = subprocess.run([options.peer_python, "-c", ask], capture_output=True, text=True, check=False).stdout.split()
    print_machine(asked)
    there = {"badcrossbar": bool(asked), "sparse LU": True, "ngspice": describe().usable}
    bench = Bench(options.repeats, options.peer_python, frozenset(peer for peer, found in there.items() if found))
    print(f"{'work':34}{'who':20}{'N':>6}{'median':>13}{'peak':>11}  error")
    for size in options.sizes:
        bench.compare("one vector", "nodal", "badcrossbar", size, 1)
        bench.compare("one vector", "nodal", "sparse LU", size, 1)
        if size <= LARGEST_FOR_NGSPICE:
            bench.compare("one vector", "nodal", "ngspice", size, 1)
    bench.compare("transfer matrix K", "nodal K", "sparse LU", options.transfer, options.transfer)
    bench.compare("second read against its first", "nodal second read", "badcrossbar", options.sizes[-1], 1)
    for size in options.largest:
        bench.alone("one vector", size)
    for size in options.sizes[1:]:
        bench.compare("100 vectors", "nodal", "badcrossbar", size, 100)
    publish(lambda: draw([found for _, found, _ in bench.rows]), options.out, "nodal")
    with (options.out / "nodal.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["work", "who", "size", "vectors", "seconds", "peak", "error"])
        for work, row, error in bench.rows:
            writer.writerow([work, row.who, row.size, row.vectors, row.seconds, row.peak, error])


if __name__ == "__main__":
    main()
