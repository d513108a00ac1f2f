#!/usr/bin/env python3
"""How many reads of A and of B a step and its gradient take, for each method and each linear solver.

Prints a table and writes reads_per_gradient.png and reads_per_gradient.svg.

One read is one vector driven into one array. 16 states, 32 hidden units, 10 steps, 8 samples, h |A| |B| = 1, all
tolerances 1e-8, reads per sample and step as a mean. The fields are B relu(A z) with random A and B, the same with
B = -A^T, and for Verlet's methods the Hamiltonian field of one 8 x 8 array K (reads of K in both directions).
"""

from __future__ import annotations

from typing import Any

from common import Arguments, publish

import numpy as np
from matplotlib.figure import Figure

from xbar_spice.linear.operator import DenseOperator, FloatArray, LinearOperator
from xbar_spice.parts import METHODS
from xbar_spice.report.style import colours, new_figure
from xbar_spice.solve.adjoint.discrete import gradients
from xbar_spice.solve.fields.field import Field, ReluField
from xbar_spice.solve.fields.systems import hamiltonian_field
from xbar_spice.solve.integrators.integration import integrate
from xbar_spice.solve.integrators.step_control import AdaptiveOptions
from xbar_spice.solve.linear_solvers.krylov import KrylovOptions
from xbar_spice.solve.newton.newton import NewtonOptions

STATES, HIDDEN, SAMPLES, STEPS, TOLERANCE = 16, 32, 8, 10, 1e-8
IMPLICIT = ("implicit_euler", "trapezoid", "am3")


class Counted(LinearOperator):
    """A matrix that counts the vectors read from it, in both directions."""

    def __init__(self, matrix: FloatArray) -> None:
        self._matrix = DenseOperator(matrix)
        self.reads = 0

    @property
    def shape(self) -> tuple[int, int]:
        return self._matrix.shape

    def _forward(self, x: FloatArray) -> FloatArray:
        self.reads += x.shape[1]
        return self._matrix.mv(x)

    def _transposed(self, y: FloatArray) -> FloatArray:
        self.reads += y.shape[1]
        return self._matrix.T.mv(y)


def measured(method: str, field: Field, arrays: list[Counted], h: float, krylov: KrylovOptions) -> list[float]:
    """Reads of each array per sample and step, forwards and for the gradient; empty if that does not converge."""
    z0 = np.random.default_rng(1).normal(size=(STATES, SAMPLES))
    newton, adaptive = NewtonOptions(rtol=TOLERANCE), AdaptiveOptions(rtol=TOLERANCE, atol=TOLERANCE)
    trajectory = integrate(field, z0, method, h=h, steps=STEPS, newton=newton, krylov=krylov, adaptive=adaptive)
    forward = [array.reads for array in arrays]
    gradient = gradients(trajectory, np.ones_like(z0))
    if not (trajectory.converged_all and gradient.converged_all):
        return []
    backward = [array.reads - before for array, before in zip(arrays, forward, strict=True)]
    return [count / (SAMPLES * STEPS) for count in (*forward, *backward)]


def dense_case(method: str, solver: Any, symmetric: bool) -> list[float]:
    rng = np.random.default_rng(0)
    A = rng.normal(size=(HIDDEN, STATES))
    B = -A.T if symmetric else rng.normal(size=(STATES, HIDDEN))
    h = 1.0 / float(np.linalg.norm(A, 2) * np.linalg.norm(B, 2))
    arrays = [Counted(A), Counted(B)]
    field = ReluField(*arrays)
    # What was programmed differs by one per cent from what the arrays hold.
    field.twin = ReluField(A * (1.0 + 0.01 * rng.normal(size=A.shape)), B * (1.0 + 0.01 * rng.normal(size=B.shape)))
    return measured(method, field, arrays, h, KrylovOptions(rtol=TOLERANCE, method=solver))


def hamiltonian_case(method: str) -> list[float]:
    K = np.random.default_rng(0).normal(size=(STATES // 2, STATES // 2))
    array = Counted(K)
    h = 1.0 / float(np.linalg.norm(K, 2))
    return measured(method, hamiltonian_field(array), [array], h, KrylovOptions(rtol=TOLERANCE))


def printed(reads: list[float]) -> str:
    return " ".join(f"{count:9.1f}" for count in reads) or "does not converge"


def draw(tables: dict[str, dict[str, list[float]]]) -> Figure:
    """Reads of all arrays of a field, for a step and for its gradient; a panel for each field."""
    longest = max(len(table) for table in tables.values())
    figure, panels = new_figure(1, len(tables), width=4.6, height=0.34 * longest + 0.6, share=False)
    hues = colours(("step", "gradient"), ordered=False)
    for axes, (field, table) in zip(panels, tables.items(), strict=True):
        places = np.arange(len(table))
        for shift, part, hue in ((-0.19, 0, hues[0]), (0.19, 1, hues[1])):
            # The first half of the counts is the step's, the second half its gradient's.
            totals = [sum(reads[part * len(reads) // 2 :][: len(reads) // 2]) for reads in table.values()]
            bars = axes.barh(places + shift, totals, 0.38, color=hue, label=("the step", "its gradient")[part])
            axes.bar_label(bars, [f"{total:.1f}" for total in totals], padding=3, fontsize=7)
        axes.set_yticks(places, table, fontsize=8)
        axes.set_ylim(longest - 0.4, -0.6)
        axes.margins(x=0.12)
        axes.set(title=field, xlabel="vectors read per sample and step")
        axes.grid(visible=False, axis="y")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def main() -> None:
    options = Arguments(__doc__).parse()
    random: dict[str, list[float]] = {}
    dissipative: dict[str, list[float]] = {}
    print(f"{'method':16} {'linear solver':14} {'field':10} {'step A':>9} {'step B':>9} {'grad A':>9} {'grad B':>9}")
    for method in (name for name in METHODS if name not in IMPLICIT and "verlet" not in name):
        random[method] = dense_case(method, "gmres", False)
        print(f"{method:16} {'':14} {'random':10} {printed(random[method])}")
    for method in IMPLICIT:
        for symmetric in (False, True):
            for solver in ("gmres", "bicgstab", "richardson", "chord", *(["cg"] if symmetric else [])):
                name, table = ("B = -A^T", dissipative) if symmetric else ("random", random)
                table[f"{method}, {solver}"] = reads = dense_case(method, solver, symmetric)
                print(f"{method:16} {solver:14} {name:10} {printed(reads)}")
    print(f"\n{'method':16} {'field':25} {'step K':>9} {'grad K':>9}")
    for method in ("verlet", "velocity_verlet", "rk4", "implicit_euler"):
        print(f"{method:16} {'hamiltonian':25} {printed(hamiltonian_case(method))}")
    tables = {"random A and B": random, "$B = -A^T$": dissipative}
    publish(lambda: draw(tables), options.out, "reads_per_gradient")


if __name__ == "__main__":
    main()
