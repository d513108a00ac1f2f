#!/usr/bin/env python3
"""Direct sparse solvers of well-kept libraries beside the nodal engine: one vector, and the whole transfer matrix.

Solves Kirchhoff's equations of an N x N array with SciPy's SuperLU, MKL Pardiso (pip install pypardiso) and CHOLMOD
(pip install cvxopt, which carries it), each only if it can be imported, and prints median seconds of three runs and the
largest relative difference from the nodal engine.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Any

from common import Arguments

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import splu

from xbar_spice.engines.nodal.engine import NodalEngine
from xbar_spice.hardware.crossbar import Crossbar
from xbar_spice.linear.operator import FloatArray

R_WIRE = 1.0
RUNS = 3
LARGEST_TRANSFER = 256  # beyond, hundreds of solves with a factor take minutes

Solve = Callable[[FloatArray], FloatArray]


def chain(size: int, near: int) -> sparse.csr_array:
    """The Laplacian of one line whose terminal is one segment away from the node `near`, siemens."""
    diagonal = np.full(size, 2.0)
    diagonal[-1 if near == 0 else 0] = 1.0
    beside = -np.ones(size - 1)
    lines: Any = [diagonal, beside, beside]  # the stubs know numbers only
    return sparse.csr_array(sparse.diags_array(lines, offsets=[0, 1, -1]) / R_WIRE)


def equations(conductance: FloatArray) -> sparse.csc_array:
    """Kirchhoff's equations at the word-line nodes, then the bit-line nodes, both row by row."""
    size = conductance.shape[0]
    one, cells = sparse.eye_array(size), sparse.diags_array(conductance.ravel())
    words = sparse.kron(one, chain(size, 0)) + cells
    bits = sparse.kron(chain(size, size - 1), one) + cells
    return sparse.csc_array(sparse.block_array([[words, -cells], [-cells, bits]]))


def read(conductance: FloatArray, volts: FloatArray, factorise: Callable[[sparse.csc_array], Solve]) -> FloatArray:
    """(cols, batch) sense currents; columns are solved 32 at a time, to bound memory."""
    size = conductance.shape[0]
    matrix, found = equations(conductance), []
    solve = factorise(matrix)
    for first in range(0, volts.shape[1], 32):
        drive = volts[:, first : first + 32]
        right = np.zeros((2 * size * size, drive.shape[1]))
        right[np.arange(size) * size] = drive / R_WIRE
        nodes = solve(right)
        found.append(nodes[-size:] / R_WIRE)
    return np.concatenate(found, axis=1)


def superlu(matrix: sparse.csc_array) -> Solve:
    options = {"SymmetricMode": True}
    return splu(matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options=options).solve


def pardiso(matrix: sparse.csc_array) -> Solve:
    from pypardiso import PyPardisoSolver  # noqa: PLC0415

    solver = PyPardisoSolver(mtype=2)  # symmetric positive definite
    upper = sparse.csr_matrix(sparse.triu(matrix))
    solver.factorize(upper)
    return lambda right: solver.solve(upper, np.asfortranarray(right)).reshape(right.shape)


def cholmod(matrix: sparse.csc_array) -> Solve:
    from cvxopt import cholmod as library, matrix as dense, spmatrix  # noqa: I001, PLC0415

    lower = sparse.coo_array(sparse.tril(matrix))
    system = spmatrix(dense(lower.data), lower.row.tolist(), lower.col.tolist(), lower.shape)
    factor = library.symbolic(system)
    library.numeric(system, factor)

    def solve(right: FloatArray) -> FloatArray:
        unknowns = dense(np.asfortranarray(right))
        library.solve(factor, unknowns)
        return np.array(unknowns)

    return solve


def nodal(conductance: FloatArray, volts: FloatArray) -> FloatArray:
    return NodalEngine().program(Crossbar(conductance, R_WIRE, R_WIRE)).read(volts)


LIBRARIES = {
    "SuperLU (SciPy)": ("scipy", superlu),
    "MKL Pardiso": ("pypardiso", pardiso),
    "CHOLMOD": ("cvxopt", cholmod),
}


def timed(work: Callable[[], FloatArray], runs: int) -> tuple[float, FloatArray]:
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        found = work()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds), found


def main() -> None:
    sizes = Arguments(__doc__, figure=False, sizes=[128, 256, 512]).parse(sizes=[16]).sizes
    print(f"{'N':>5} {'solver':18} {'one vector':>13} {'transfer':>12}  difference")
    for size in sizes:
        rng = np.random.default_rng(size)
        conductance = 10 ** rng.uniform(-5, -3, (size, size))
        works = [rng.uniform(0.0, 0.2, (size, 1)), np.eye(size)][: 2 if size <= LARGEST_TRANSFER else 1]
        runs = [RUNS, RUNS if size < 256 else 1]
        wanted = []
        line = f"{size:>5} {'nodal':18}"
        for volts, count in zip(works, runs, strict=False):
            seconds, found = timed(partial(nodal, conductance, volts), count)
            wanted.append(found)
            line += f" {seconds:>11.3f} s"
        print(line, flush=True)
        for name, (module, library) in LIBRARIES.items():
            if find_spec(module) is None:
                print(f"{size:>5} {name:18}  not installed")
                continue
            line, worst = f"{size:>5} {name:18}", 0.0
            for volts, count, known in zip(works, runs, wanted, strict=False):
                seconds, found = timed(partial(read, conductance, volts, library), count)
                worst = max(worst, float(np.abs(found / known - 1).max()))
                line += f" {seconds:>11.3f} s"
            print(f"{line}      {worst:.1e}", flush=True)


if __name__ == "__main__":
    main()
