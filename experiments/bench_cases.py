#!/usr/bin/env python3
"""CPU time and memory of whole cases: small tiles, an image, gradients of arrays, nonlinear cells.

Each part is measured in processes of its own with one thread. What is compared is done in turn in one process, and the
least of several calls counts, which are warm after the first. A line shows the median over the processes with the least
and the largest, and the peak memory of the process; ratios are those within a process. Of reads of nonlinear cells the
calls of the preconditioner and of the law are counted, too. With --beside, the package of another checkout does the
same work in turn, and the ratio of the medians is printed. One set of devices and vectors per part.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import environment  # noqa: F401 - goes on in the environment of the project

import numpy as np
from measuring import Seconds, in_turn, peak

SIZES = (16, 32, 64, 128, 256, 512)
CELLS = ("linear", "sinh", "1T1R", "1S1R")
ENDS: dict[str, Any] = {"r_word": 1.0, "r_bit": 1.0}


def tiles(tile: str) -> Seconds:
    """A co-simulation of the digits model with 8 samples: forward and adjoint run, and the same on digital matrices."""
    import xbar_spice as xs  # noqa: PLC0415 - of the checkout that the process is to measure
    from xbar_spice.study.problem import make_problem  # noqa: PLC0415

    problem = make_problem(xs.load_model(Path(os.environ["BENCH_MODEL"])), samples=8)
    design = xs.Design(tile=int(tile) or None, **ENDS)
    return in_turn({engine: partial(xs.cosimulate, problem, design, engine=engine) for engine in ("ideal", "nodal")})


def image(tile: str) -> Seconds:
    """A co-simulation of a 28 x 28 image with 8 hidden channels, two implicit steps and their gradient, 4 samples."""
    import xbar_spice as xs  # noqa: PLC0415
    from xbar_spice.study.problem import make_problem  # noqa: PLC0415
    from xbar_spice.weights import Kernels, Model  # noqa: PLC0415

    rng = np.random.default_rng(0)
    there, back = 0.3 * rng.standard_normal((8, 1, 9)), 0.1 * rng.standard_normal((1, 8, 9))
    model = Model.from_kernels(Kernels(there, back, (28, 28), "zero"), h=0.1, steps=2, method="trapezoid")
    problem = make_problem(model, samples=4, task="random")
    design = xs.Design(tile=int(tile), skip_empty=True, **ENDS)
    return in_turn({"nodal": lambda: xs.cosimulate(problem, design, engine="nodal")}, rounds=1)


def array(size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Devices of 1 to 100 kohm, drives up to 0.2 V, and weights of the sense currents."""
    rng = np.random.default_rng(size)
    return 10 ** rng.uniform(-5, -3, (size, size)), rng.uniform(0.0, 0.2, size), rng.standard_normal(size)


def gradient(size: str) -> Seconds:
    """One vector on an array that is new, and that with the gradient of a weighted sum.

    The gradient is that with respect to all devices, wires and terminals.
    """
    from xbar_spice.engines.nodal.engine import NodalEngine  # noqa: PLC0415
    from xbar_spice.engines.nodal.sensitivity import Sensitivity  # noqa: PLC0415
    from xbar_spice.hardware.crossbar import Crossbar  # noqa: PLC0415

    conductance, volts, weights = array(int(size))
    crossbar = Crossbar(conductance, **ENDS)
    return in_turn(
        {
            "read": lambda: NodalEngine().program(crossbar).read(volts),
            "gradient": lambda: Sensitivity(crossbar, volts).vjp(weights),
        }
    )


def reads(size: str) -> dict[str, tuple[Callable[[], object], type]]:
    """One vector on a new array of each kind of cell, and the class of its law."""
    from xbar_spice.engines.nodal.engine import NodalEngine  # noqa: PLC0415
    from xbar_spice.hardware import cells as devices  # noqa: PLC0415
    from xbar_spice.hardware.crossbar import Crossbar  # noqa: PLC0415

    laws = (
        devices.Ohmic(),
        devices.Sinh(0.3),
        devices.OneTransistorOneResistor(),
        devices.OneSelectorOneResistor(),
    )
    conductance, volts, _ = array(int(size))
    arrays = {cell: Crossbar(conductance, **ENDS, device=law) for cell, law in zip(CELLS, laws, strict=True)}
    return {
        cell: (partial(_read, NodalEngine(), crossbar, volts), type(crossbar.device))
        for cell, crossbar in arrays.items()
    }


def _read(engine: Any, crossbar: Any, volts: np.ndarray) -> object:
    return engine.program(crossbar).read(volts)


def nonlinear(size: str) -> Seconds:
    """The seconds of these reads."""
    return in_turn({cell: work for cell, (work, _) in reads(size).items()})


def parts(size: str) -> dict[str, tuple[int, int, float]]:
    """Of each of these reads the calls of the preconditioner and of the law, and the CPU seconds of the latter."""
    from xbar_spice.engines.nodal.spectral import SpectralPreconditioner  # noqa: PLC0415

    found = {}
    for cell, (work, law) in reads(size).items():
        work()
        with counted(SpectralPreconditioner, "__call__") as solved, counted(law, "current_and_slope") as evaluated:
            work()
        found[cell] = len(solved), len(evaluated), sum(evaluated)
    return found


@contextmanager
def counted(owner: type, name: str) -> Iterator[list[float]]:
    """The CPU seconds of each call of a method from here on."""
    seconds, method = list[float](), getattr(owner, name)

    def timed(*arguments: Any) -> Any:
        start = time.process_time()
        result = method(*arguments)
        seconds.append(time.process_time() - start)
        return result

    setattr(owner, name, timed)
    try:
        yield seconds
    finally:
        setattr(owner, name, method)


WORKERS: dict[str, Callable[[str], dict[str, Any]]] = {
    "tiles": tiles,
    "image": image,
    "gradient": gradient,
    "nonlinear": nonlinear,
    "parts": parts,
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

    def run(self, name: str, argument: object, checkout: Path | None = None) -> tuple[dict[str, Any], float]:
        """What a process of a worker has found, and its peak memory in MB."""
        paths = {"PYTHONPATH": str(checkout)} if checkout else {}
        command = [sys.executable, __file__, "--worker", name, str(argument)]
        done = subprocess.run(command, env=self._environment | paths, capture_output=True, text=True, check=True)
        found, most = json.loads(done.stdout.splitlines()[-1])
        return found, most

    def measure(self, name: str, argument: object) -> None:
        """Print a row for each work of a part, and what each takes of the first one."""
        found: list[list[Seconds]] = [[] for _ in self.checkouts]
        most = [0.0 for _ in self.checkouts]
        for _ in range(self.repeats):
            for index, checkout in enumerate(self.checkouts):
                seconds, memory = self.run(name, argument, checkout)
                found[index].append(seconds)
                most[index] = max(most[index], memory)
        works = list(found[0][0])
        for work in works:
            each = [[seconds[work] for seconds in some] for some in found]
            shown = [f"{spread(some, 4):>28} s {memory:5.0f} MB" for some, memory in zip(each, most, strict=True)]
            medians = [statistics.median(some) for some in each]
            faster = f"{medians[1] / medians[0]:8.2f} x faster" if len(medians) > 1 else ""
            print(f"{f'{name} {argument} {work}':22}" + "  |".join(shown) + faster, flush=True)
        for work in works[1:]:
            ratios = [seconds[work] / seconds[works[0]] for seconds in found[0]]
            print(f"{'':22}{work} takes {spread(ratios, 2)} of {works[0]}", flush=True)


def spread(values: list[float], digits: int) -> str:
    middle, least, most = (f"{value:.{digits}f}" for value in (statistics.median(values), min(values), max(values)))
    return f"{middle} ({least} to {most})"


def main() -> None:
    if sys.argv[1:2] == ["--worker"]:
        print(json.dumps((WORKERS[sys.argv[2]](sys.argv[3]), peak())))
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
            f"{'work':22}CPU seconds: median (least to largest), peak memory"
            + "; the same beside" * bool(options.beside)
        )
        for tile in (0, 32, 16, 8) if "tiles" in options.only else ():
            bench.measure("tiles", tile)
        if "image" in options.only:
            bench.measure("image", 64)
        for size in options.sizes if "gradient" in options.only else ():
            bench.measure("gradient", size)
        if "nonlinear" in options.only:
            bench.measure("nonlinear", 512)
            for cell, (solved, evaluated, seconds) in bench.run("parts", 512)[0].items():
                print(f"{'':22}{cell}: {solved} calls of the preconditioner, {evaluated} of the law in {seconds:.4f} s")


if __name__ == "__main__":
    main()
