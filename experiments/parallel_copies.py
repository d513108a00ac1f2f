#!/usr/bin/env python3
"""Slices of a run on copies of its arrays: what the iteration converges to, how fast, and what it costs.

Two models, an antisymmetric layer tanh((K - K^T) z + b) and B tanh(A z), run --steps steps of forward Euler in slices
of --coarsening steps. Every slice has copies of the arrays, with the wires of the 32 nm node and a relative programming
error of each device of its own; coarse steps are digital. Prints for each error, over the chips (a set of copies each),
medians with the least and the largest: the largest difference from the sequential chain of the copies after each
iteration, and how far the last state is from that of the digital network, on the copies and on a single array that
makes all steps. Then, by the number of copies, how many iterations bring the difference below --near, and how many
evaluations wait for each other then. Draws parallel_copies.png: the differences after each iteration.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from common import NODE_32, Arguments, elapsed, publish

import numpy as np
from matplotlib.figure import Figure

import xbar_spice as xs
from xbar_spice.linear.operator import FloatArray
from xbar_spice.report.spread import spread
from xbar_spice.solve.parallel import Work

Build = Callable[..., xs.Field]


def models(n: int, rng: np.random.Generator) -> dict[str, tuple[Build, dict[str, FloatArray]]]:
    """How a field is made of its matrices, and those."""
    b = 0.3 * rng.normal(size=n)
    return {
        "antisymmetric": (lambda K: xs.antisymmetric_field(K, b), {"K": rng.normal(size=(n, n)) / np.sqrt(2 * n)}),
        "B tanh(A z)": (
            lambda A, B: xs.ActivationField(A, B, "tanh"),
            {"A": rng.normal(size=(2 * n, n)) / np.sqrt(n), "B": rng.normal(size=(n, 2 * n)) / np.sqrt(2 * n)},
        ),
    }


def on_arrays(build: Build, matrices: dict[str, FloatArray], variation: float, rng: np.random.Generator) -> xs.Field:
    design = replace(NODE_32, variation=xs.Variation(variation))
    return build(**{name: xs.program(W, design, rng=rng, name=name) for name, W in matrices.items()})


def by_copies(build: Build, matrices: dict[str, FloatArray], z0: FloatArray, options: Namespace) -> None:
    """Iterations until every chip is near its chain, and what waits and is read then."""
    grid: dict[str, Any] = {"h": 4.0 / options.steps, "steps": options.steps}
    for count in options.copies:
        needed = []
        for chip in range(options.chips):
            rng = xs.random_stream(options.seed + chip, "copies")
            copies = [on_arrays(build, matrices, options.errors[-1], rng) for _ in range(count)]
            run = xs.parallel_in_time(
                xs.Layers(copies),
                z0,
                **grid,
                coarsening=options.steps // count,
                iterations=count,
                coarse=build(**matrices),
            )
            needed.append(int(np.argmax(run.errors < options.near)))
        work = Work.of(count, options.steps // count, "F", int(np.median(needed)))
        print(
            f"{count} copies: below {options.near:g} after {spread(needed, '.0f')} iterations; "
            f"{work.critical_path_coarse_digital} of {work.sequential} evaluations wait for each other, with coarse "
            f"steps on arrays {work.critical_path}; {work.fine} fine ones in all",
            flush=True,
        )


def main() -> None:
    parser = Arguments(__doc__, chips=8, seed=0)
    parser.add_argument("--states", type=int, default=16, help="Length of the state.")
    parser.add_argument("--steps", type=int, default=64, help="Fine steps, to time 4.")
    parser.add_argument("--coarsening", type=int, default=8, help="Fine steps of a slice.")
    parser.add_argument("--errors", type=float, nargs="+", default=[0.0, 0.02, 0.05, 0.1], help="Programming errors.")
    parser.add_argument("--copies", type=int, nargs="+", default=[4, 8, 16, 32], help="Slices, one run each.")
    parser.add_argument("--near", type=float, default=1e-3, help="Difference from the chain that is small enough.")
    options = parser.parse(chips=1, states=4, steps=8, coarsening=2, errors=[0.05], copies=[4])
    count = options.steps // options.coarsening
    grid: dict[str, Any] = {"h": 4.0 / options.steps, "steps": options.steps}
    curves: dict[str, dict[float, FloatArray]] = {}
    for name, (build, matrices) in models(options.states, np.random.default_rng(options.seed)).items():
        nominal, curves[name] = build(**matrices), {}
        z0 = np.random.default_rng(options.seed + 1).normal(size=options.states)
        digital = xs.integrate(nominal, z0, "forward_euler", **grid).z[-1]
        for variation in options.errors:
            errors, far, single = [], [], []
            for chip in range(options.chips):
                rng = xs.random_stream(options.seed + chip, "copies")
                copies = [on_arrays(build, matrices, variation, rng) for _ in range(count)]
                run = xs.parallel_in_time(
                    xs.Layers(copies), z0, **grid, coarsening=options.coarsening, iterations=count, coarse=nominal
                )
                errors.append(run.errors)
                far.append(np.abs(run.z[-1] - digital).max())
                single.append(np.abs(xs.integrate(copies[0], z0, "forward_euler", **grid).z[-1] - digital).max())
            curves[name][variation] = np.array(errors)
            print(f"\n{name}, programming error {variation:.0%}, {options.chips} chips, {elapsed():.0f} s")
            for k in range(min(count, 4) + 1):
                print(f"after {k} iterations: from the chain of copies {spread(np.array(errors)[:, k], '.1e')}")
            print(f"after {count} iterations: {spread(np.array(errors)[:, -1], '.1e')}")
            print(f"from the digital network: copies {spread(far, '.2g')}, one array {spread(single, '.2g')}")
            print(f"copies / one array {spread(np.array(far) / np.array(single), '.2g')}", flush=True)
        print(f"\n{name} by copies, programming error {options.errors[-1]:.0%}, {elapsed():.0f} s")
        by_copies(build, matrices, z0, options)
    for iterations in (1, 2, 3):
        work = Work.of(count, options.coarsening, "F", iterations)
        print(
            f"{iterations} iterations on {count} copies: {work.critical_path_coarse_digital} of {work.sequential} "
            f"evaluations wait for each other, with coarse steps on arrays {work.critical_path}; {work.fine} in all"
        )
    publish(lambda: draw(curves), options.out, "parallel_copies")


def draw(curves: dict[str, dict[float, FloatArray]]) -> Figure:
    figure = Figure(figsize=(7.0, 3.0), layout="constrained")
    for axes, (name, of) in zip(figure.subplots(1, len(curves), sharey=True), curves.items(), strict=True):
        for variation, errors in of.items():
            k = np.arange(errors.shape[1])
            found = np.maximum(errors, 1e-16)
            (line,) = axes.semilogy(k, np.median(found, axis=0), marker="o", label=f"{variation:.0%}")
            axes.fill_between(k, found.min(axis=0), found.max(axis=0), color=line.get_color(), alpha=0.2, linewidth=0)
        axes.set(title=name, xlabel="iterations")
    figure.axes[0].set_ylabel("largest difference from the chain")
    figure.axes[-1].legend(title="programming error")
    return figure


if __name__ == "__main__":
    main()
