#!/usr/bin/env python3
"""CPU time and memory of whole cases: small tiles, an image, gradients of arrays, nonlinear cells.

Each measurement is a process of its own with one thread; a line shows the median of the CPU seconds over the repeats
with the least and the largest, and the peak memory. Of reads of nonlinear cells the calls of the preconditioner are
counted, too. With --beside, the package of another checkout does the same work in turn, and the ratio of the medians is
printed. One set of devices and vectors per row.
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
from collections.abc import Callable
from pathlib import Path
from typing import Any

import environment  # noqa: F401 - goes on in the environment of the project

import numpy as np

SIZES = (16, 32, 64, 128, 256, 512)
READS = 5
CELLS = ("linear", "sinh", "1T1R", "1S1R")
ENDS: dict[str, Any] = {"r_word": 1.0, "r_bit": 1.0}


def cpu_seconds(work: Callable[[], object], times: int) -> float:
    """The least of several calls, which are warm after the first."""
    least = float("inf")
    for _ in range(times):
        start = time.process_time()
        work()
        least = min(least, time.process_time() - start)
    return least


def tiles(engine: str, tile: str) -> float:
    """A co-simulation of the digits model with 8 samples: forward and adjoint run, and the same on digital matrices."""
    import xbar_spice as xs  # noqa: PLC0415 - of the checkout that the process is to measure
    from xbar_spice.study.problem import make_problem  # noqa: PLC0415

    problem = make_problem(xs.load_model(Path(os.environ["BENCH_MODEL"])), samples=8)
    design = xs.Design(tile=int(tile) or None, **ENDS)
    return cpu_seconds(lambda: xs.cosimulate(problem, design, engine=engine), 3)


def image(tile: str) -> float:
    """A co-simulation of a 28 x 28 image with 8 hidden channels, two implicit steps and their gradient, 4 samples."""
    import xbar_spice as xs  # noqa: PLC0415
    from xbar_spice.study.problem import make_problem  # noqa: PLC0415
    from xbar_spice.weights import Kernels, Model  # noqa: PLC0415

    rng = np.random.default_rng(0)
    there, back = 0.3 * rng.standard_normal((8, 1, 9)), 0.1 * rng.standard_normal((1, 8, 9))
    model = Model.from_kernels(Kernels(there, back, (28, 28), "zero"), h=0.1, steps=2, method="trapezoid")
    problem = make_problem(model, samples=4, task="random")
    design = xs.Design(tile=int(tile), skip_empty=True, **ENDS)
    return cpu_seconds(lambda: xs.cosimulate(problem, design, engine="nodal"), 1)


def array(size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Devices of 1 to 100 kohm, drives up to 0.2 V, and weights of the sense currents."""
    rng = np.random.default_rng(size)
    return 10 ** rng.uniform(-5, -3, (size, size)), rng.uniform(0.0, 0.2, size), rng.standard_normal(size)


def read(size: str, cell: str = "linear") -> float:
    """One vector on an array that is new."""
    from xbar_spice.engines.nodal.engine import NodalEngine  # noqa: PLC0415
    from xbar_spice.hardware import cells as devices  # noqa: PLC0415
    from xbar_spice.hardware.crossbar import Crossbar  # noqa: PLC0415

    laws = {
        "linear": devices.Ohmic(),
        "sinh": devices.Sinh(0.3),
        "1T1R": devices.OneTransistorOneResistor(),
        "1S1R": devices.OneSelectorOneResistor(),
    }
    conductance, volts, _ = array(int(size))
    crossbar = Crossbar(conductance, **ENDS, device=laws[cell])
    return cpu_seconds(lambda: NodalEngine().program(crossbar).read(volts), READS)


def calls(size: str, cell: str) -> float:
    """The calls of the preconditioner in that read, which no other process disturbs."""
    from xbar_spice.engines.nodal.spectral import SpectralPreconditioner  # noqa: PLC0415

    counted, solve = [0], SpectralPreconditioner.__call__

    def count(*arguments: Any) -> Any:
        counted[0] += 1
        return solve(*arguments)

    SpectralPreconditioner.__call__ = count  # type: ignore[method-assign, assignment]
    read(size, cell)
    return counted[0] / READS


def gradient(size: str) -> float:
    """The same read and the gradient of a weighted sum with respect to all devices, wires and terminals."""
    from xbar_spice.engines.nodal.sensitivity import Sensitivity  # noqa: PLC0415
    from xbar_spice.hardware.crossbar import Crossbar  # noqa: PLC0415

    conductance, volts, weights = array(int(size))
    crossbar = Crossbar(conductance, **ENDS)
    return cpu_seconds(lambda: Sensitivity(crossbar, volts).vjp(weights), 5)


WORKERS: dict[str, Callable[..., float]] = {
    "tiles": tiles,
    "image": image,
    "read": read,
    "gradient": gradient,
    "calls": calls,
}


class Bench:
    """Measures in processes of their own, in turn where there are two checkouts."""

    def __init__(self, repeats: int, beside: Path | None, model: Path) -> None:
        self.repeats = repeats
        self.checkouts = [None, beside] if beside else [None]
        self._environment = os.environ | {
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "BENCH_MODEL": str(model),
        }

    def run(self, name: str, *arguments: object, checkout: Path | None = None) -> dict[str, float]:
        """What a process of a worker prints."""
        paths = {"PYTHONPATH": str(checkout)} if checkout else {}
        command = [sys.executable, __file__, "--worker", name, *map(str, arguments)]
        done = subprocess.run(command, env=self._environment | paths, capture_output=True, text=True, check=True)
        found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        return found

    def measure(self, name: str, *arguments: object) -> float:
        """Print a row; returns the median seconds of the package itself."""
        seconds: list[list[float]] = [[] for _ in self.checkouts]
        peak = [0.0 for _ in self.checkouts]
        for _ in range(self.repeats):
            for index, checkout in enumerate(self.checkouts):
                found = self.run(name, *arguments, checkout=checkout)
                seconds[index].append(found["seconds"])
                peak[index] = max(peak[index], found["peak"])
        medians = [statistics.median(some) for some in seconds]
        shown = [f"{medians[i]:8.4f} s ({min(s):.4f} to {max(s):.4f}) {peak[i]:5.0f} MB" for i, s in enumerate(seconds)]
        ratio = f"{medians[1] / medians[0]:8.2f} x faster" if len(medians) > 1 else ""
        print(f"{' '.join([name, *map(str, arguments)]):20}" + "  |".join(shown) + ratio, flush=True)
        return medians[0]


def main() -> None:
    if sys.argv[1:2] == ["--worker"]:
        seconds = WORKERS[sys.argv[2]](*sys.argv[3:])
        print(json.dumps({"seconds": seconds, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
        return
    from common import Arguments  # noqa: PLC0415 - a worker measures the package of another checkout, which may lack parts

    parser = Arguments(__doc__, figure=False, sizes=list(SIZES))
    parser.add_argument("--repeats", type=int, default=3, help="Processes of each measurement.")
    parser.add_argument("--beside", type=Path, help="Another checkout, such as a git worktree of an earlier version.")
    parts = ["tiles", "image", "gradient", "nonlinear"]
    parser.add_argument("--only", nargs="+", choices=parts, default=parts, help="What to measure.")
    options = parser.parse(only=["gradient"], sizes=[16], repeats=1)
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "digits.npz"
        if "tiles" in options.only:
            from xbar_spice.train.training import train  # noqa: PLC0415 - only where it is needed
            from xbar_spice.weights import save_model  # noqa: PLC0415

            save_model(model, train("digits-conv", seed=0).model)
        bench = Bench(options.repeats, options.beside, model)
        print(
            f"{'work':20}CPU seconds: median (least to largest), peak memory"
            + "; the same beside" * bool(options.beside)
        )
        for tile in (0, 32, 16, 8) if "tiles" in options.only else ():
            times = {engine: bench.measure("tiles", engine, tile) for engine in ("ideal", "nodal")}
            print(f"{'':20}nodal takes {times['nodal'] / times['ideal']:.2f} times as long as ideal")
        if "image" in options.only:
            bench.measure("image", 64)
        for size in options.sizes if "gradient" in options.only else ():
            alone, both = bench.measure("read", size), bench.measure("gradient", size)
            print(f"{'':20}read and gradient take {both / alone:.2f} reads")
        if "nonlinear" in options.only:
            times = {cell: bench.measure("read", 512, cell) for cell in CELLS}
            print(" " * 20 + ", ".join(f"{cell} {times[cell] / times['linear']:.2f}" for cell in CELLS[1:]) + " reads")
            found = {cell: bench.run("calls", 512, cell)["seconds"] for cell in CELLS}
            print(" " * 20 + ", ".join(f"{cell} {found[cell]:g}" for cell in CELLS) + " calls of the preconditioner")


if __name__ == "__main__":
    main()
