#!/usr/bin/env python3
"""One piece of work of bench_nodal.py, in a process of its own: reads of one array by one solver.

Writes the currents to a file and prints the seconds and the peak memory (MB) as JSON. Seconds are of CPU, which other
processes disturb less; those of ngspice, whose worker is another process, are of the clock. It is run by a Python that
has the solver, which a peer's has not to share with the project: nothing is imported before it is needed.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
import warnings
from collections.abc import Callable
from typing import Literal

import numpy as np
from measuring import largest_child, peak
from numpy.typing import NDArray

__all__ = ["R_WIRE", "WORKERS", "example"]

R_WIRE = 1.0  # ohm per segment
Array = NDArray[np.float64]
NodalMethod = Literal["auto", "direct"]
Work = Callable[[Array, Array], tuple[Array, float]]
"""(rows, cols) siemens and (rows, batch) volts to (cols, batch) amperes and seconds."""


def example(size: int, vectors: int, uniform: bool) -> tuple[Array, Array]:
    """Devices of 1 to 100 kohm, log-uniform (or 10 kohm all), and drives up to 0.2 V."""
    rng = np.random.default_rng(size)
    conductance = np.full((size, size), 1e-4) if uniform else 10 ** rng.uniform(-5, -3, (size, size))
    return conductance, rng.uniform(0.0, 0.2, (size, vectors))


def nodal(method: NodalMethod, reads: int = 1) -> Work:
    """The nodal engine; of several reads the last one counts."""

    def work(conductance: Array, volts: Array) -> tuple[Array, float]:
        from xbar_spice.engines.nodal.engine import NodalEngine  # noqa: PLC0415
        from xbar_spice.hardware.crossbar import Crossbar  # noqa: PLC0415

        start = time.process_time()
        session = NodalEngine(method).program(Crossbar(conductance, R_WIRE, R_WIRE))
        for read in range(reads):
            if read:
                start = time.process_time()
            currents = session.read(volts)
        return currents, time.process_time() - start

    return work


def sparse_lu(conductance: Array, volts: Array) -> tuple[Array, float]:
    """SciPy's sparse LU of the same equations."""
    from xbar_spice.engines.nodal.factor import FactorPreconditioner  # noqa: PLC0415
    from xbar_spice.engines.nodal.grid import place  # noqa: PLC0415
    from xbar_spice.hardware.crossbar import Crossbar  # noqa: PLC0415

    start = time.process_time()
    grid, placement = place(Crossbar(conductance, R_WIRE, R_WIRE), "rows")
    factor = FactorPreconditioner(grid)
    columns = []
    for column in volts.T:
        ideal = grid.conductance * placement.drive_to_grid(column[:, np.newaxis])
        lost = grid.conductance * factor.solve(ideal)
        columns.append(placement.from_sense((ideal - lost).sum(axis=1 + placement.sense_axis)))
    return np.concatenate(columns, axis=1), time.process_time() - start


def ngspice(conductance: Array, volts: Array) -> tuple[Array, float]:
    """The ngspice engine, with the start of its worker."""
    from xbar_spice.engines.registry import get_engine  # noqa: PLC0415
    from xbar_spice.hardware.crossbar import Crossbar  # noqa: PLC0415

    start = time.perf_counter()
    with get_engine("ngspice").program(Crossbar(conductance, R_WIRE, R_WIRE)) as session:
        currents = session.read(volts)
    return currents, time.perf_counter() - start


def badcrossbar(conductance: Array, volts: Array) -> tuple[Array, float]:
    """The peer from PyPI."""
    warnings.simplefilter("ignore")
    import badcrossbar as peer  # noqa: PLC0415

    logging.disable(logging.CRITICAL)
    start = time.process_time()
    solution = peer.compute(volts, 1 / conductance, R_WIRE, node_voltages=False, all_currents=False)
    return solution.currents.output.T, time.process_time() - start


def product(conductance: Array, volts: Array) -> tuple[Array, float]:
    """A product of matrices of that size in single precision, the second one; a measure of the machine."""
    matrix = conductance.astype(np.float32)
    matrix @ matrix
    start = time.process_time()
    matrix @ matrix
    return volts, time.process_time() - start


WORKERS: dict[str, Work] = {
    "nodal": nodal("auto"),
    "nodal second read": nodal("auto", reads=2),
    "nodal K": nodal("direct"),
    "sparse LU": sparse_lu,
    "ngspice": ngspice,
    "badcrossbar": badcrossbar,
    "product": product,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("who", choices=WORKERS, help="The solver.")
    parser.add_argument("size", type=int, help="Rows and columns of the array.")
    parser.add_argument("vectors", type=int, help="Vectors of the batch; as many as rows make the transfer matrix.")
    parser.add_argument("path", help="File of the currents, .npy.")
    parser.add_argument("--uniform", action="store_true", help="All devices 10 kohm.")
    options = parser.parse_args()
    conductance, volts = example(options.size, options.vectors, options.uniform)
    if options.vectors == options.size:
        volts = np.eye(options.size)
    currents, seconds = WORKERS[options.who](conductance, volts)
    np.save(options.path, currents)
    print(json.dumps({"seconds": seconds, "peak": largest_child() if options.who == "ngspice" else peak()}))


if __name__ == "__main__":
    main()
