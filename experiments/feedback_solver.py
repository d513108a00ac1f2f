#!/usr/bin/env python3
"""What one settling of a feedback circuit is worth: its error, what Newton's method makes of it, and when it settles.

Prints the error of one solve of (I - h B D A) d = F by the loop of A and B, and by a feedback array that was programmed
with the system itself, against the system of the arrays' reads and against that of the weights; the reads and solves
that a step of implicit Euler and its gradient take with GMRES, with a digital twin (chord) and with the loop; and how
long a step may be until the loop does not settle. Writes feedback.png and feedback.svg. Random A (2 n x n) and B,
differential pairs of 1 to 100 uS, drivers and sense terminals of 20 ohm, the same wires in both directions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from common import Arguments, publish

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

import xbar_spice as xs
from xbar_spice.engines.base import Engine
from xbar_spice.feedback import SolveRecord
from xbar_spice.feedback.stability import two_pole_margin
from xbar_spice.linear.operator import FloatArray
from xbar_spice.report.style import INK, MARKERS, QUIET, colours, new_figure
from xbar_spice.solve.linear_solvers.krylov import solve_linear

SAMPLES, STEPS, TOLERANCE = 4, 5, 1e-8
PERIPHERY = 20.0  # ohm of drivers and sense terminals
GATE = 100.0  # ohm of a switch; a gate with a buffer behind it has none


@dataclass(frozen=True)
class Circuit:
    """The parts beside the arrays."""

    gain: float
    gate: float

    def __str__(self) -> str:
        return f"{'ideal' if np.isinf(self.gain) else f'{self.gain:.0e}':>6} {self.gate:5.0f}"


def design(ohm: float, periphery: float, programming: float = 0.0) -> xs.Design:
    """Wires of this resistance, drivers and sense terminals of that one."""
    variation = xs.Variation(programming=programming)
    return xs.Design(r_word=ohm, r_bit=ohm, r_driver=periphery, r_sense=periphery, variation=variation)


def matrices(states: int, strength: float = 1.0, seed: int = 0) -> tuple[FloatArray, FloatArray, float]:
    """A, B and h with h |A| |B| = strength."""
    rng = np.random.default_rng(seed)
    A, B = rng.normal(size=(2 * states, states)), rng.normal(size=(states, 2 * states))
    return A, B, strength / float(np.linalg.norm(A, 2) * np.linalg.norm(B, 2))


def worst(found: FloatArray, exact: FloatArray) -> float:
    return float((np.linalg.norm(found - exact, axis=0) / np.linalg.norm(exact, axis=0)).max())


def one_solve(
    states: int, ohm: float, circuit: Circuit, engine: Engine, periphery: float = PERIPHERY
) -> tuple[float, ...]:
    """Errors of the loop and of the array against reads and weights, time constant of the loop, products of GMRES."""
    A, B, h = matrices(states)
    rng = np.random.default_rng(1)
    slopes, rhs = rng.random((2 * states, SAMPLES)) < 0.5, rng.normal(size=(states, SAMPLES))
    solves: list[SolveRecord] = []
    opamp, built = xs.OpAmp(circuit.gain), design(ohm, periphery if ohm else 0.0)
    with (
        xs.program(A, built) as A_hw,
        xs.program(B, built) as B_hw,
        xs.FeedbackLoop(A_hw, B_hw, opamp=opamp, r_switch=circuit.gate, engine=engine, trace=solves) as loop,
    ):
        loop.solve(slopes, h, rhs)
        effective = A_hw.to_dense(), B_hw.to_dense()
        products = gmres_products(A_hw, B_hw, slopes, h, rhs, solves[0].error)
    by_array, wanted, of_reads = [], [], []
    for column, r in zip(slopes.T, rhs.T, strict=True):
        systems = [np.eye(states) - h * (second * column) @ first for first, second in ((A, B), effective)]
        with xs.FeedbackSolver(xs.map_weights(systems[0], built), opamp=opamp, engine=engine) as solver:
            by_array.append(solver.solve(r))
        wanted.append(np.linalg.solve(systems[0], r))
        of_reads.append(np.linalg.solve(systems[1], r))
    array = np.array(by_array).T
    found = solves[0]
    against = worst(array, np.array(of_reads).T), worst(array, np.array(wanted).T)
    return found.error, found.digital_error, *against, found.time_constant * opamp.speed, products


def gmres_products(
    A: xs.AnalogMatrix, B: xs.AnalogMatrix, slopes: NDArray[np.bool_], h: float, rhs: FloatArray, error: float
) -> float:
    """Products that GMRES reads from the arrays until its residual is as small as this error, mean of the samples."""

    def product(x: FloatArray, samples: NDArray[np.intp]) -> FloatArray:
        return x - h * B.mv(slopes[:, samples] * A.mv(x))

    return float(solve_linear(product, rhs, xs.KrylovOptions(rtol=error), refine=False).iterations.mean())


def steps(method: Any, circuit: Circuit | None, strength: float, engine: Engine) -> str:
    """Newton steps, solves by the circuit, reads of A per sample and step: forwards, and for the gradient."""
    A, B, h = matrices(16, strength)
    z0 = np.random.default_rng(1).normal(size=(16, SAMPLES))
    built, reads = design(1.0, PERIPHERY, programming=0.02), xs.ReadTrace()
    solves: list[SolveRecord] = []
    parts = circuit or Circuit(1e5, 0.0)
    with (
        xs.program(A, built, rng=np.random.default_rng(2), name="A", trace=reads) as A_hw,
        xs.program(B, built, rng=np.random.default_rng(3), name="B") as B_hw,
        xs.FeedbackLoop(
            A_hw, B_hw, opamp=xs.OpAmp(parts.gain), r_switch=parts.gate, engine=engine, trace=solves
        ) as loop,
    ):
        field = xs.ReluField(A_hw, B_hw)
        field.twin, field.circuit = xs.ReluField(A, B), loop
        newton, krylov = xs.NewtonOptions(rtol=TOLERANCE), xs.KrylovOptions(rtol=TOLERANCE, method=method)
        try:
            trajectory = xs.integrate(field, z0, h=h, steps=STEPS, newton=newton, krylov=krylov)
        except xs.XbarError as error:
            return f"{type(error).__name__}"
        forward = sum(read.batch for read in reads)
        settled = sum(solve.batch for solve in solves)
        gradient = xs.gradients(trajectory, np.ones_like(z0))
    if not (trajectory.converged_all and gradient.converged_all):
        return "does not converge"
    backward = sum(read.batch for read in reads) - forward
    back = sum(solve.batch for solve in solves) - settled
    counts = np.array([trajectory.newton_iterations.sum(), settled, forward, back, backward]) / (SAMPLES * STEPS)
    return " ".join(f"{count:9.1f}" for count in counts)


def longest_steps(seed: int) -> tuple[float, float, float]:
    """The largest h |A| |B| for which the spectrum of the system, two equal poles, and the whole loop allow a solve."""
    A, B, h = matrices(16, seed=seed)
    slopes = np.random.default_rng(100 + seed).random(32) < 0.5
    mu = h * np.linalg.eigvals((B * slopes) @ A)
    with xs.program(A) as A_hw, xs.program(B) as B_hw, xs.FeedbackLoop(A_hw, B_hw, r_switch=0.0) as loop:
        bounds = []
        for stable in (
            lambda c: (c * mu.real).max() < 1,
            lambda c: two_pole_margin(c * mu) > 0,
            lambda c: loop.rates(slopes, c * h)[0].real > 0,
        ):
            low, high = 0.0, 64.0
            while high - low > 1e-3 * high:
                middle = 0.5 * (low + high)
                low, high = (middle, high) if stable(middle) else (low, middle)
            bounds.append(low)
    return bounds[0], bounds[1], bounds[2]


def dissipative(strength: float) -> float:
    """The time constant of the loop of B = -A^T for h |A|^2 = strength, in units of 1 / speed; infinite if unstable."""
    A, _, _ = matrices(16)
    slopes, c = np.random.default_rng(1).random(32) < 0.5, strength / float(np.linalg.norm(A, 2)) ** 2
    with xs.program(A) as A_hw, xs.program(-A.T) as B_hw, xs.FeedbackLoop(A_hw, B_hw, r_switch=0.0) as loop:
        slowest = float(loop.rates(slopes, c)[0].real)
        return loop.opamp.speed / slowest if slowest > 0 else float("inf")


def draw_errors(axes: Axes, engine: Engine, states: int) -> None:
    """Error of one solve against the resistance of the wires."""
    ohms = [0.01, 0.1, 1.0, 10.0]
    gains = [1e3, 1e4, 1e5]
    results = {
        gain: [one_solve(states, ohm, Circuit(gain, 0.0), engine, periphery=0.0) for ohm in ohms] for gain in gains
    }
    for colour, marker, gain in zip(colours(gains, ordered=True), MARKERS, gains, strict=False):
        axes.loglog(ohms, [row[0] for row in results[gain]], marker=marker, color=colour)
        at, offset, side = (0, 5, "left") if gain < gains[-1] else (-1, -14, "right")
        axes.annotate(f"loop, reads, gain {gain:.0e}", (ohms[at], results[gain][at][0]), (0, offset), ha=side,
                      textcoords="offset points", color=colour, fontsize=8.5)  # fmt: skip
    for row, text, style in (
        (1, "loop, weights, gain 1e+05", "--"),
        (3, "array of the system, weights, gain 1e+05", ":"),
    ):
        axes.loglog(ohms, [found[row] for found in results[1e5]], style, marker="x", color=INK, label=text)
    axes.set_ylim(1e-5, 0.5)
    axes.set(xlabel="wire resistance, ohm per segment", ylabel="error of one solve", title="How exact one solve is")
    axes.legend(loc="upper left")


def draw_stability(axes: Axes, points: int) -> None:
    """Where the loop of a rotation settles, over the eigenvalues x +- i y of c B D A."""
    x, y = np.linspace(-3.0, 1.5, points), np.linspace(0.0, 4.5, points)
    lowest = np.empty((y.size, x.size))
    opamp = xs.OpAmp()
    with xs.program(np.eye(2)) as identity:
        for i, imaginary in enumerate(y):
            for j, real in enumerate(x):
                turn = np.array([[real, imaginary], [-imaginary, real]])
                with xs.program(turn) as A, xs.FeedbackLoop(A, identity, opamp=opamp, r_switch=0.0) as loop:
                    lowest[i, j] = loop.rates(np.ones(2, bool), 1.0)[0].real / opamp.speed
    plus, circuit, ideal = colours(range(3), ordered=False)
    axes.contourf(x, y, lowest, levels=[0.0, np.inf], colors=[circuit], alpha=0.15)
    axes.contour(x, y, lowest, levels=[0.0], colors=[circuit], linewidths=1.8)
    edge = np.linspace(0.0, 4.5, 200)
    axes.plot(1.0 - edge**2 / 4.0, edge, "--", color=ideal)
    axes.axvline(1.0, color=plus, linestyle=":")
    axes.text(-2.85, 0.2, "the loop settles", color=circuit)
    axes.text(0.95, 4.3, "spectrum of the\nsystem: Re < 1", color=plus, ha="right", va="top", fontsize=8.5)
    axes.text(-0.9, 2.95, "two equal poles", color=ideal, fontsize=8.5)
    axes.set(
        xlim=(-3, 1.5), ylim=(0, 4.5), xlabel="Re of an eigenvalue of h B D A", ylabel="Im", title="When it settles"
    )
    axes.tick_params(colors=QUIET)


def parts() -> list[Circuit]:
    return [Circuit(np.inf, 0.0), Circuit(1e5, 0.0), Circuit(1e3, 0.0), Circuit(1e5, GATE)]


def buildable(part: Circuit | None, engine: Engine) -> bool:
    """A netlist has no ideal op-amps."""
    return part is None or engine.name == "nodal" or bool(np.isfinite(part.gain))


def print_errors(engine: Engine, states: list[int]) -> None:
    print(
        f"error of one solve, worst of {SAMPLES} samples, h |A| |B| = 1; time constant in units of 1 / (2 pi bandwidth)"
    )
    print(f"{'':33} {'loop against':>19} {'array against':>19}")
    print(f"{'states':>6} {'ohm':>5} {'gain':>6} {'gates':>5} {'':7} {'reads':>9} {'weights':>9} {'reads':>9} "
          f"{'weights':>9} {'time':>6} {'gmres':>6}")  # fmt: skip
    cases = [(states[0], ohm, part) for ohm in (0.0, 1.0, 5.0) for part in parts()]
    cases += [(count, 1.0, Circuit(1e5, 0.0)) for count in states[1:]]
    for count, ohm, part in cases:
        if buildable(part, engine):
            *errors, time, products = one_solve(count, ohm, part, engine)
            found = " ".join(f"{error:9.1e}" for error in errors)
            print(f"{count:6} {ohm:5.1f} {part} {'':7} {found} {time:6.1f} {products:6.1f}", flush=True)


def print_steps(engine: Engine, strengths: list[float]) -> None:
    print(f"\nimplicit Euler, 16 states, 1 ohm wires, programming error 2 %, tolerance {TOLERANCE:g}: per sample, step")
    print(f"{'h|A||B|':>7} {'solver':10} {'gain':>6} {'gates':>5} {'newton':>9} {'solves':>9} {'reads A':>9} "
          f"{'gr.solves':>9} {'gr.reads':>9}")  # fmt: skip
    for strength in strengths:
        for method, part in (("gmres", None), ("chord", None), *(("feedback", part) for part in parts())):
            if buildable(part, engine):
                named = part or f"{'':>6} {'':5}"
                print(f"{strength:7.1f} {method:10} {named} {steps(method, part, strength, engine)}", flush=True)


def print_stability(seeds: int) -> None:
    print(f"\nlongest step h |A| |B| by random A, B and masks of 16 states: median (range) over {seeds} seeds")
    found = np.array([longest_steps(seed) for seed in range(seeds)])
    for text, column in zip(("spectrum of the system", "two equal poles", "the whole loop"), found.T, strict=True):
        print(f"{text:24} {np.median(column):6.2f} ({column.min():.2f} .. {column.max():.2f})")
    strengths = [0.1, 1.0, 10.0, 100.0, 1000.0]
    times = ", ".join(f"{dissipative(strength):.1f}" for strength in strengths)
    print(f"B = -A^T, time constant at h |A|^2 = {', '.join(f'{strength:g}' for strength in strengths)}: {times}")


def main() -> None:
    parser = Arguments(__doc__, seeds=20)
    parser.add_argument("--engine", choices=["nodal", "ngspice"], default="nodal", help="Who solves the circuits.")
    parser.add_argument("--states", type=int, nargs="+", default=[16, 4, 8, 32, 64], help="The first one in detail.")
    parser.add_argument("--strengths", type=float, nargs="+", default=[1.0, 2.0], help="Steps h |A| |B|.")
    parser.add_argument("--points", type=int, default=28, help="Of the map of stability, along each axis.")
    options = parser.parse(seeds=1, states=[4], strengths=[1.0], points=5)
    slow = {"time_limit": 600.0} if options.engine == "ngspice" else {}  # the largest circuit has 65,000 nodes
    engine = xs.get_engine(options.engine, **slow)
    print_errors(engine, options.states)
    print_steps(engine, options.strengths)
    print_stability(options.seeds)
    publish(lambda: draw(engine, options.states[0], options.points), options.out, "feedback")


def draw(engine: Engine, states: int, points: int) -> Figure:
    figure, (left, right) = new_figure(1, 2, width=5.2, height=4.2, share=False)
    draw_errors(left, engine, states)
    draw_stability(right, points)
    return figure


if __name__ == "__main__":
    main()
