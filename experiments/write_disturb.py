#!/usr/bin/env python3
"""What does it cost a network that pulses for a cell reach its neighbours, by scheme and array size?

A random neural ODE of as many states as an array has lines, on pairs of arrays whose cells (yakopcic_fast, thresholds
of 0.4 and -0.3 V) are written by pulses of --times their thresholds, row by row, to --tolerance of their range: once
through the array, and under V/2 until a pass applies no pulse, or after ten. Beyond twice the thresholds V/2, and
beyond three times V/3, moves what is half-selected. For every scheme and size the largest disturb as a part of the range, the
errors of the gradient dL/dA and of the last state against the digital ones, and the pulses of a cell; medians over the
chips with the least and the largest. Draws write_disturb.png.
"""

from __future__ import annotations

from common import Arguments, publish

import numpy as np
from matplotlib.figure import Figure

import xbar_spice as xs
from xbar_spice.programming import Scheme
from xbar_spice.report.spread import spread
from xbar_spice.report.style import colours, new_figure, set_abscissa

G_MIN, G_MAX = 5e-6, 1.2e-4
CASES: dict[str, tuple[Scheme, int]] = {
    "1t1r": ("1t1r", 1),
    "v/3, one pass": ("v/3", 1),
    "v/2, one pass": ("v/2", 1),
    "v/2, until nothing moves": ("v/2", 10),
}

Found = tuple[float, float, float, float]


def main() -> None:
    parser = Arguments(__doc__, chips=8, sizes=[4, 8, 16])
    parser.add_argument("--tolerance", type=float, default=0.02, help="Part of the range that is near enough.")
    parser.add_argument("--times", type=float, default=2.3, help="Volts of a pulse over the threshold.")
    options = parser.parse(chips=1, sizes=[2], tolerance=0.1)
    errors: dict[str, list[list[float]]] = {name: [] for name in CASES}
    columns = ("disturb", "error of dL/dA", "error of the state", "pulses a cell")
    print(f"{'':<26}{'size':>5}", *(f"{name:>26}" for name in columns))
    for size in options.sizes:
        for name, (scheme, passes) in CASES.items():
            plan = xs.WriteVerify(
                tolerance=options.tolerance, scheme=scheme, together="row", passes=passes, cycle_noise=0.2,
                raise_volts=0.4 * options.times, lower_volts=-0.3 * options.times,
            )  # fmt: skip
            disturb, gradient, state, pulses = zip(
                *(run(plan, size, chip) for chip in range(options.chips)), strict=True
            )
            errors[name].append(list(gradient))
            said = spread(disturb, ".2%"), spread(gradient, ".2%"), spread(state, ".2%"), spread(pulses, ".3g")
            print(f"{name:<26}{size:>5}", *(f"{one:>26}" for one in said), flush=True)
    publish(lambda: draw(errors, options.sizes), options.out, "write_disturb")


def run(plan: xs.WriteVerify, size: int, chip: int) -> Found:
    """Disturb, the errors of gradient and state, and pulses a cell, of one chip."""
    rng = np.random.default_rng(size)
    A, B = rng.standard_normal((2, size, size)) / size**0.5
    problem = xs.make_problem(xs.Model(A, B, h=0.25, steps=4), task="random", samples=4)
    design = xs.Design(
        device=xs.load_device("yakopcic_fast"), g_min=G_MIN, g_max=G_MAX, r_word=1.0, r_bit=1.0, r_driver=50.0,
        programming=plan,
    )  # fmt: skip
    record = xs.cosimulate(problem, design, engine="nodal", seed=chip).record
    costs = list((record.programming or {}).values())
    return (
        max(cost.disturb for cost in costs),
        float(record.gradients["A"].relative_error),
        float(record.state.relative_error),
        sum(cost.pulses for cost in costs) / (4 * size**2),
    )


def draw(errors: dict[str, list[list[float]]], sizes: list[int]) -> Figure:
    figure, (axes,) = new_figure(1, 1, width=4.6, height=3.3)
    for name, colour in zip(errors, colours(list(errors), ordered=False), strict=True):
        values = 100 * np.array(errors[name])
        axes.plot(sizes, np.median(values, axis=1), "o-", color=colour, label=name)
        axes.fill_between(sizes, values.min(axis=1), values.max(axis=1), color=colour, alpha=0.15)
    set_abscissa(axes, sizes)
    axes.set_yscale("log")
    axes.set_title("written by pulses of 2.3 thresholds")
    axes.set_xlabel("word lines and bit lines")
    axes.set_ylabel("error of dL/dA, %")
    axes.legend()
    return figure


if __name__ == "__main__":
    main()
