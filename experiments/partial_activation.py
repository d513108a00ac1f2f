#!/usr/bin/env python3
"""What fewer rows at a time, drivers at both ends and sensing at both ends bring the gradient on arrays.

Random models of the given size, one for each chip, whose devices vary by 2 %; two samples, four steps of the forward
Euler method; 50 ohm drivers and 20 ohm sense terminals. Compared are the gradients of A and B together: the hardware
gradient with the true one (the bias that a trainer on the chip sees) and the true with the digital one (by how much the
chip is another model). Prints medians over the chips with the least and the largest, draws partial_activation.png, and
prints what a product with A takes: reads one after the other, conversions, the time until its currents are within 1 %
and the lines discharged, the energy from the drivers, and the error of the product. Drivers rise in 0.1 ns, and each
node of a line has 0.2 fF, that of 1 um of wire; converters and digital sums are not counted.
"""

from __future__ import annotations

from typing import Any

from common import Arguments, publish

import numpy as np
from matplotlib.figure import Figure

import xbar_spice as xs
from xbar_spice.cosim import product_cost
from xbar_spice.report.spread import spread
from xbar_spice.report.style import colours, new_figure, set_abscissa, set_log_ordinate
from xbar_spice.streams import random_stream

STEPS, SAMPLES = 4, 2
LINES = xs.LineCapacitance(2e-16, 2e-16)
PAIRS = {"hardware against true": ("hardware", "true"), "true against digital": ("true", "digital")}
Found = dict[tuple[str, float, str], list[float]]


def main() -> None:
    parser = Arguments(__doc__, chips=8)
    parser.add_argument("--size", type=int, default=32, help="Rows and columns of A and B.")
    parser.add_argument("--wires", type=float, nargs="+", default=[1.0, 2.0, 5.0], help="Ohm per segment.")
    options = parser.parse(chips=1, size=8, wires=[1.0])
    designs: dict[str, dict[str, Any]] = {
        "one end, all rows": {},
        "double drive": {"terminations": xs.Terminations(drive="double")},
        "two-sided sensing": {"terminations": xs.Terminations(sense="double")},
        "both at both ends": {"terminations": xs.Terminations(drive="double", sense="double")},
        "half the rows": {"active_rows": options.size // 2},
        "a quarter": {"active_rows": options.size // 4},
        "an eighth": {"active_rows": options.size // 8},
    }
    found: Found = {}
    for ohm in options.wires:
        for name, changes in designs.items():
            design = design_of(ohm, changes)
            for chip in range(options.chips):
                gradients = xs.three_gradients(problem(options.size, chip), design, seed=chip, step=None).gradients
                for pair, (one, other) in PAIRS.items():
                    error, whole = (
                        np.concatenate([part.ravel() for part in parts])
                        for parts in (
                            [gradients[one][matrix] - gradients[other][matrix] for matrix in ("A", "B")],
                            [gradients[other][matrix] for matrix in ("A", "B")],
                        )
                    )
                    found.setdefault((name, ohm, pair), []).append(float(np.linalg.norm(error) / np.linalg.norm(whole)))
    print(f"{options.size} x {options.size}, {options.chips} chips: median (least to largest) of relative errors")
    print(f"{'design':<20}{'reads':>6}{'ohm':>6}" + "".join(f"{pair:>32}" for pair in PAIRS))
    for name, changes in designs.items():
        reads = xs.map_weights(np.ones((options.size, options.size)), xs.Design(**changes)).activations
        for ohm in options.wires:
            said = "".join(f"{spread(found[name, ohm, pair], '.2%'):>32}" for pair in PAIRS)
            print(f"{name:<20}{reads:>6}{ohm:>6g}{said}")
    print_costs(designs, options.size, options.chips, options.wires)
    publish(lambda: draw(found, list(designs), options.wires), options.out, "partial_activation")


def problem(size: int, chip: int) -> xs.Problem:
    A, B = random_stream(chip, "weights").standard_normal((2, size, size))
    rng = random_stream(chip, "samples")
    model = xs.Model(
        A / np.linalg.norm(A, 2), 2 * B / np.linalg.norm(B, 2), h=0.25, steps=STEPS, method="forward_euler"
    )
    z0, target = rng.standard_normal((2, size, SAMPLES))
    return xs.Problem(model, z0, xs.SquaredDistance(target))


def print_costs(designs: dict[str, dict[str, Any]], size: int, chips: int, wires: list[float]) -> None:
    print(f"\none product with A, {chips} chips: median (least to largest)")
    print(f"{'design':<20}{'ohm':>5}{'reads':>6}{'conv.':>7}{'ns':>26}{'pJ':>26}{'error of the product':>28}")
    for name, changes in designs.items():
        for ohm in wires:
            costs, errors = [], []
            for chip in range(chips):
                A = random_stream(chip, "weights").standard_normal((2, size, size))[0]
                x = random_stream(chip, "inputs").standard_normal(size)
                rng = random_stream(chip, "devices")
                with xs.program(A, design_of(ohm, changes), rng=rng) as matrix:
                    costs.append(product_cost(matrix.mapped, x, LINES, rise=1e-10))
                    exact = matrix.mapped.programmed @ x
                    errors.append(float(np.linalg.norm(matrix.mv(x) - exact) / np.linalg.norm(exact)))
            first = costs[0]
            times, joules = [1e9 * cost.seconds for cost in costs], [1e12 * cost.joule for cost in costs]
            said = f"{spread(times, '.3g'):>26}{spread(joules, '.3g'):>26}{spread(errors, '.2%'):>28}"
            print(f"{name:<20}{ohm:>5g}{first.reads:>6}{first.conversions:>7}{said}")


def design_of(ohm: float, changes: dict[str, Any]) -> xs.Design:
    return xs.Design(r_word=ohm, r_bit=ohm, r_driver=50.0, r_sense=20.0, variation=xs.Variation(0.02), **changes)


def draw(found: Found, names: list[str], wires: list[float]) -> Figure:
    figure, panels = new_figure(1, 2, width=4.2, height=3.3, share=False)
    for axes, pair in zip(panels, PAIRS, strict=True):
        medians = {name: np.array([np.median(found[name, ohm, pair]) for ohm in wires]) for name in names}
        for (name, errors), colour in zip(medians.items(), colours(names, ordered=False), strict=True):
            axes.plot(wires, errors, "o-", color=colour, label=name)
        set_abscissa(axes, wires)
        set_log_ordinate(axes, np.concatenate(list(medians.values())), percent=True)
        axes.set_title(f"{pair} gradient")
        axes.set_xlabel("ohm per wire segment")
    panels[0].set_ylabel("relative error")
    panels[0].legend(fontsize=8)
    return figure


if __name__ == "__main__":
    main()
