#!/usr/bin/env python3
"""One analog solve a step instead of Krylov reads: what does a fixed implicit part bring to a stiff field?

A field -K^T tanh(K z) whose fastest part decays --stiffness times in the run, on chips with 5 % programming error and
1 ohm wires. By the number of steps: the error of the last state against the exact solution of the very field that the
chip has, and the reads and circuit solves that a run takes, for forward Euler, for implicit Euler with GMRES, and for
imex with L = K^T K times --share, solved by reads of an array of L, or by feedback arrays of I + h L with op-amps.
Prints medians with the least and the largest of the chips, and draws imex.png.
"""

from __future__ import annotations

import warnings
from argparse import Namespace
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from common import Arguments, publish

import numpy as np
from matplotlib.figure import Figure

import xbar_spice as xs
from xbar_spice.errors import ConvergenceWarning, StabilityError
from xbar_spice.linear.operator import FloatArray
from xbar_spice.report.spread import spread
from xbar_spice.report.style import colours, new_figure, set_abscissa
from xbar_spice.streams import Streams

WAYS = ("forward Euler", "implicit Euler", "imex, reads", "imex, op-amps")
DESIGN = xs.Design(r_word=1.0, r_bit=1.0, variation=xs.Variation(programming=0.05))
OPAMP = xs.OpAmp(1e4)


@contextmanager
def method_of(way: str, L: FloatArray, h: float, seed: int, trace: xs.ReadTrace) -> Iterator[str | xs.Method]:
    """The method, with arrays of its own where it has some."""
    if not way.startswith("imex"):
        yield way.lower().replace(" ", "_")
        return
    devices = Streams(seed).devices
    with ExitStack() as opened:
        if way.endswith("reads"):
            array = opened.enter_context(xs.program(L, DESIGN, rng=devices("L"), trace=trace))
            yield xs.Imex(matrix=array)
            return
        mapped = xs.map_weights(np.eye(len(L)) + h * L, DESIGN, rng=devices("L"))
        forward, back = (
            opened.enter_context(xs.FeedbackSolver(mapped, opamp=OPAMP, transposed=transposed))
            for transposed in (False, True)
        )
        yield xs.Imex(matrix=L, circuits=(forward, back))


def measured(way: str, K: FloatArray, L: FloatArray, z0: FloatArray, steps: int, seed: int) -> tuple[float, float]:
    """Relative error of the last state, and reads a sample; a solve by a circuit counts as one."""
    trace = xs.ReadTrace()
    with xs.program(K, DESIGN, rng=Streams(seed).devices("K"), trace=trace) as K_hw:
        field = xs.parabolic_field(K_hw, "tanh")
        fine = max(200, round(10 * np.linalg.norm(K, 2) ** 2))  # far within what is stable
        exact = xs.integrate(xs.parabolic_field(K_hw.to_dense(), "tanh"), z0, "rk4", h=1.0 / fine, steps=fine).z[-1]
        started = len(list(trace))
        with method_of(way, L, 1.0 / steps, seed, trace) as method, warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a step that is unstable is what is looked for
            try:
                z = xs.integrate(field, z0, method, h=1.0 / steps, steps=steps, krylov=xs.Gmres(rtol=1e-4)).z[-1]
            except StabilityError:  # a feedback array whose errors have taken an eigenvalue below zero
                return np.inf, float(3 * steps)
        reads = sum(record.batch for record in list(trace)[started:]) / z0.shape[1]
    solves = steps if way.endswith("op-amps") else 0
    error = np.linalg.norm(z - exact) / np.linalg.norm(exact)
    return (float(error) if np.isfinite(error) else np.inf), reads + solves


def main() -> None:
    parser = Arguments(__doc__, chips=8)
    parser.add_argument("--steps", type=int, nargs="+", default=(4, 8, 16, 32, 64), help="Of the run, T = 1.")
    parser.add_argument("--states", type=int, default=16, help="Of the field.")
    parser.add_argument("--stiffness", type=float, default=60.0, help="Largest eigenvalue of K^T K.")
    parser.add_argument("--share", type=float, default=0.5, help="Of K^T K that L is; 1/2 is just stable.")
    options = parser.parse(chips=1, steps=[4], states=4, stiffness=20.0)
    rng = np.random.default_rng(0)
    K = rng.standard_normal((options.states, options.states))
    K *= np.sqrt(options.stiffness) / np.linalg.norm(K, 2)
    L, z0 = options.share * K.T @ K, rng.standard_normal((options.states, 8)) / 4
    found: dict[tuple[str, int], list[tuple[float, float]]] = {}
    print(f"{'steps':>5}  {'':<15} {'error of the last state':>26}  {'reads and solves':>24}")
    for steps in options.steps:
        for way in WAYS:
            found[way, steps] = [measured(way, K, L, z0, steps, seed) for seed in range(options.chips)]
            errors, reads = zip(*found[way, steps], strict=True)
            print(f"{steps:>5}  {way:<15} {spread(errors, '.2g'):>26}  {spread(reads, '.0f'):>24}")
    publish(lambda: draw(found, options), options.out, "imex")


def draw(found: dict[tuple[str, int], list[tuple[float, float]]], options: Namespace) -> Figure:
    figure, axes = new_figure(1, 2, width=4.2, height=3.3, share=False)
    for way, colour in zip(WAYS, colours(WAYS, ordered=False), strict=True):
        values = np.array([found[way, steps] for steps in options.steps])
        errors = np.where(values[..., 0] < 10.0, values[..., 0], np.nan)  # what has run away has no place on the axis
        axes[0].plot(options.steps, np.median(errors, axis=1), "o-", color=colour, label=way)
        axes[1].plot(np.median(values[..., 1], axis=1), np.median(errors, axis=1), "o-", color=colour, label=way)
    set_abscissa(axes[0], [float(steps) for steps in options.steps])
    axes[0].set(yscale="log", xlabel="steps", ylabel="error of the last state", title="by steps")
    axes[1].set(xscale="log", yscale="log", xlabel="reads and solves of a sample", title="by reads")
    axes[1].legend()
    return figure


if __name__ == "__main__":
    main()
