#!/usr/bin/env python3
"""Read and gradient beside voltax, a differentiable SPICE in JAX: CPU seconds of one vector and all its derivatives.

Both sides solve an N x N array of 1 to 100 kohm with wires of 1 ohm, and give the gradient of a weighted sum of the
sense currents with respect to every device and to the wires, in double precision, as one call on a circuit that is
already built. voltax builds and compiles beforehand, the nodal engine prepares the array anew in every call. One
thread, a process of its own for each size, the least of several calls; one set of devices. To install the peer:

    python3 -m venv peer && peer/bin/pip install voltax
    experiments/bench_voltax.py --peer-python peer/bin/python
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from measuring import in_turn
from numpy.typing import NDArray

Array = NDArray[np.float64]
Gradient = tuple[float, Array, float]
"""The sum in amperes, and its gradient: (rows, cols) per siemens, and per ohm of all wires."""


def example(size: int) -> tuple[Array, Array, Array]:
    """Devices of 1 to 100 kohm, drives up to 0.2 V, and weights of the sense currents."""
    rng = np.random.default_rng(size)
    return 10 ** rng.uniform(-5, -3, (size, size)), rng.uniform(0.0, 0.2, size), rng.standard_normal(size)


def voltax(size: int) -> Callable[[], Gradient]:
    """The peer's circuit: wires in front of every cell, sources at the left, 0 V below."""
    jax: Any = import_module("jax")  # in the Python of the peer alone
    jax.config.update("jax_enable_x64", True)
    jnp: Any = import_module("jax.numpy")
    peer: Any = import_module("voltax")
    conductance, volts, weights = example(size)
    builder = peer.CircuitBuilder()
    for i in range(size):
        builder.vsource(f"w{i}_-1", "0", volts[i], name=f"V{i}")
        builder.vsource(f"b{size}_{i}", "0", 0.0, name=f"S{i}")
    for i in range(size):
        for j in range(size):
            builder.resistor(f"w{i}_{j - 1}", f"w{i}_{j}", 1.0, group="wires")
            builder.resistor(f"b{i}_{j}", f"b{i + 1}_{j}", 1.0, group="wires")
            builder.resistor(f"w{i}_{j}", f"b{i}_{j}", 1.0, group="cells")
    circuit = builder.build()
    options = peer.Options(gmin=0.0)

    def total(cells: Any, wire: Any) -> Any:
        changed = circuit
        for group, ohms in (("cells", 1 / cells.ravel()), ("wires", jnp.full(2 * size * size, wire))):
            changed = changed.replace(group, circuit.elements[group].set(slice(None), r=ohms))
        solution = peer.dc(changed, options=options)
        return sum(weights[i] * solution.i(f"S{i}") for i in range(size))

    both = jax.jit(jax.value_and_grad(total, argnums=(0, 1)))

    def work() -> Gradient:
        value, (cells, wire) = both(jnp.asarray(conductance), jnp.asarray(1.0))
        return float(value), np.asarray(cells), float(wire)

    return work


def nodal(size: int) -> Callable[[], Gradient]:
    """The nodal engine."""
    from xbar_spice.engines.nodal.sensitivity import Sensitivity  # noqa: PLC0415 - in the project's Python alone
    from xbar_spice.hardware.crossbar import Crossbar  # noqa: PLC0415

    conductance, volts, weights = example(size)
    crossbar = Crossbar(conductance, r_word=1.0, r_bit=1.0)

    def work() -> Gradient:
        solved = Sensitivity(crossbar, volts)
        change = solved.vjp(weights)
        return float(weights @ solved.currents[:, 0]), change.conductance, change.r_word + change.r_bit

    return work


WORKERS = {"nodal": nodal, "voltax": voltax}


def measure(python: str, who: str, size: int) -> tuple[float, float, Gradient]:
    """Seconds to build and make the first call, the least seconds of the calls after it, and the result."""
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/found.npz"
        environment = os.environ | {
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
        }
        command = [python, __file__, "--worker", who, str(size), path]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        first, least = json.loads(done.stdout.splitlines()[-1])
        with np.load(path) as found:
            return first, least, (float(found["value"]), found["cells"], float(found["wire"]))


def work(who: str, size: int, path: str) -> None:
    start = time.process_time()
    call = WORKERS[who](size)
    value, cells, wire = call()
    first, least = time.process_time() - start, in_turn({who: call})[who]
    np.savez(path, value=value, cells=cells, wire=wire)
    print(json.dumps([first, least]))


def main() -> None:
    if sys.argv[1:2] == ["--worker"]:
        work(sys.argv[2], int(sys.argv[3]), sys.argv[4])
        return
    import environment  # noqa: F401, PLC0415 - goes on in the environment of the project, which the peer has not
    from common import Arguments  # noqa: PLC0415

    parser = Arguments(__doc__, figure=False, sizes=[16, 32, 64])
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--peer-python", type=Path, help="A Python that has voltax; left out, nodal runs alone.")
    options = parser.parse(sizes=[8])
    for size in options.sizes:
        first, least, ours = measure(sys.executable, "nodal", size)
        print(f"{size:5}  nodal   {1e3 * least:9.2f} ms, first call {first:.2f} s", flush=True)
        if options.peer_python is None:
            continue
        first, theirs, other = measure(str(options.peer_python), "voltax", size)
        pairs = [(np.asarray(one), np.asarray(two)) for one, two in zip(ours, other, strict=True)]
        apart = [float(np.abs(one - two).max() / np.abs(two).max()) for one, two in pairs]
        print(
            f"{'':5}  voltax  {1e3 * theirs:9.2f} ms, built and compiled in {first:.1f} s\n"
            f"{'':7}{theirs / least:.2f} x faster; apart {apart[0]:.1e}, devices {apart[1]:.1e}, wires {apart[2]:.1e}",
            flush=True,
        )


if __name__ == "__main__":
    main()
