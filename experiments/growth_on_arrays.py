#!/usr/bin/env python3
"""What the resistance of wires does to the spectrum of a network: does it stabilise?

Four models, three of random weights (Q orthogonal) and one trained on peaks, run on arrays of one tile with a
programming error of 2 % of each device and wires of 0, 1, 5 and 20 ohm a segment. Prints for each, over the chips,
medians with the least and the largest: the largest over the steps of the abscissa (largest real part of an eigenvalue
of the Jacobian) and of the numerical abscissa (largest eigenvalue of its symmetric part), and by how much differences
can grow until the end of the run at most; beside the digital ones. Draws growth.png: both abscissas along the run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from common import NODE_32, Arguments, elapsed, publish

import numpy as np
from matplotlib.figure import Figure

import xbar_spice as xs
from xbar_spice.linear.operator import FloatArray
from xbar_spice.report.spread import spread
from xbar_spice.solve.growth import Growth
from xbar_spice.train.training import train

Build = Callable[..., xs.Field]


def models(n: int, quick: bool) -> dict[str, tuple[Build, dict[str, FloatArray]]]:
    """How a field is made of its matrices, and those."""
    rng = np.random.default_rng(0)
    found: dict[str, tuple[Build, dict[str, FloatArray]]] = {
        "antisymmetric": (xs.antisymmetric_field, {"K": rng.normal(size=(n, n)) / np.sqrt(2 * n)}),
        "-Q^T tanh(Q z)": (lambda K: xs.parabolic_field(K, "tanh"), {"K": np.linalg.qr(rng.normal(size=(n, n)))[0]}),
        "random B tanh(A z)": (
            lambda A, B: xs.ActivationField(A, B, "tanh"),
            {"A": rng.normal(size=(2 * n, n)) / np.sqrt(n), "B": rng.normal(size=(n, 2 * n)) / np.sqrt(2 * n)},
        ),
    }
    if not quick:
        model = train("peaks").model
        bias = model.tensors["bias"]
        found["trained on peaks"] = (
            lambda A, B: xs.ActivationField(A, B, "tanh", bias=bias),
            {"A": model.A, "B": model.B},
        )
    return found


def main() -> None:
    parser = Arguments(__doc__, chips=8, seed=0)
    parser.add_argument("--states", type=int, default=32, help="Length of the state of the random models.")
    parser.add_argument("--steps", type=int, default=8, help="Steps of RK4, to time 2.")
    parser.add_argument("--ohm", type=float, nargs="+", default=[0.0, 1.0, 5.0, 20.0], help="Of a segment of a wire.")
    options = parser.parse(chips=1, states=4, steps=2, ohm=[5.0])
    grid: dict[str, Any] = {"h": 2.0 / options.steps, "steps": options.steps}
    drawn: dict[str, dict[str, Growth]] = {}
    for name, (build, matrices) in models(options.states, options.quick).items():
        n = build(**matrices).states
        z0 = np.random.default_rng(1).normal(size=n)
        digital = xs.growth(xs.integrate(build(**matrices), z0, "rk4", **grid))
        drawn[name] = {"digital": digital}
        print(f"\n{name}, {n} states, {elapsed():.0f} s")
        print(f"{'':12}{'abscissa':>28}{'numerical abscissa':>28}{'growth at most':>28}")
        print(
            f"{'digital':12}{digital.abscissa.max():>28.3f}{digital.numerical_abscissa.max():>28.3f}{digital.bound[-1]:>28.3g}"
        )
        for ohm in options.ohm:
            found = []
            for chip in range(options.chips):
                design = replace(NODE_32, r_word=ohm, r_bit=ohm, variation=xs.Variation(0.02))
                rng = xs.random_stream(options.seed + chip, "growth on arrays")
                arrays = {key: xs.program(W, design, rng=rng, name=key) for key, W in matrices.items()}
                found.append(xs.growth(xs.integrate(build(**arrays), z0, "rk4", **grid)))
            drawn[name][f"{ohm:g} ohm"] = found[0]
            columns = [
                spread([one.abscissa.max() for one in found], ".3f"),
                spread([one.numerical_abscissa.max() for one in found], ".3f"),
                spread([one.bound[-1] for one in found], ".3g"),
            ]
            print(f"{f'{ohm:g} ohm':12}{''.join(f'{column:>28}' for column in columns)}", flush=True)
    publish(lambda: draw(drawn), options.out, "growth")


def draw(drawn: dict[str, dict[str, Growth]]) -> Figure:
    figure = Figure(figsize=(3.2 * len(drawn), 3.0), layout="constrained")
    for axes, (name, of) in zip(figure.subplots(1, len(drawn), squeeze=False)[0], drawn.items(), strict=True):
        for label, found in of.items():
            (line,) = axes.plot(found.numerical_abscissa, label=label)
            axes.plot(found.abscissa, color=line.get_color(), linestyle="--")
        axes.set(title=name, xlabel="step")
    figure.axes[0].set_ylabel("numerical abscissa, 1/s")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside right center")
    return figure


if __name__ == "__main__":
    main()
