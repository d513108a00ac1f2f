#!/usr/bin/env python3
"""How near must write-verify come for a gradient, what does it cost, and what do half-selected cells lose?

A random neural ODE of --states states on pairs of arrays whose cells (yakopcic_fast) are written by pulses, row by row,
with --cycle of noise from pulse to pulse and one seed for each chip. Two tables: the gradient's error against the
digital one by tolerance, beside those of chips with a uniform and with a normal error of the same deviation, with
pulses, time and energy; what pulses for others do to cells by scheme, voltage and array size; and both medians over the
chips with the least and the largest. Draws write_verify.png.
"""

from __future__ import annotations

from argparse import Namespace
from dataclasses import dataclass, replace
from typing import Literal

from common import Arguments, publish

import numpy as np
from matplotlib.figure import Figure

import xbar_spice as xs
from xbar_spice.hardware.variation import Programmed
from xbar_spice.linear.operator import FloatArray
from xbar_spice.programming import Scheme, Written
from xbar_spice.report.spread import spread
from xbar_spice.report.style import colours, new_figure, set_abscissa
from xbar_spice.streams import Streams

G_MIN, G_MAX = 5e-6, 1.2e-4
TOLERANCES = (0.1, 0.05, 0.02, 0.01)
Kind = Literal["uniform", "normal"]
BANDS: tuple[Kind, ...] = ("uniform", "normal")
KINDS = ("written", *BANDS)
VOLTS = {"1.6": 1.6, "1.9": 1.9, "2.3": 2.3}  # times the thresholds
SCHEMES: tuple[Scheme, ...] = ("v/2", "v/3")


@dataclass(frozen=True)
class Band(xs.ProgrammingError):
    """An error of one deviation for all devices, in siemens, uniform or normal."""

    deviation: float
    kind: Kind
    random = True

    def program(self, target: FloatArray, g_min: float, g_max: float, rng: np.random.Generator | None) -> Programmed:
        assert rng is not None
        half = np.sqrt(3.0) * self.deviation
        uniform = self.kind == "uniform"
        drawn = rng.uniform(-half, half, target.shape) if uniform else rng.normal(0.0, self.deviation, target.shape)
        return Programmed(np.clip(target + drawn, g_min, g_max), np.ones_like(target))


def main() -> None:
    parser = Arguments(__doc__, chips=8, sizes=[4, 8, 16])
    parser.add_argument("--states", type=int, default=4, help="States of the neural ODE.")
    parser.add_argument("--cycle", type=float, default=0.2, help="Relative spread of what a pulse does.")
    parser.add_argument(
        "--tolerances", type=float, nargs="+", default=TOLERANCES, help="At which a cell is near enough."
    )
    options = parser.parse(chips=1, sizes=[2], states=3, tolerances=[0.1, 0.05])
    rng = np.random.default_rng(0)
    A, B = rng.standard_normal((2, options.states, options.states)) / options.states**0.5
    model = xs.Model(A, B, h=0.25, steps=4)
    problem = xs.make_problem(model, task="random", samples=4)
    errors: dict[tuple[str, float], list[float]] = {}
    print(
        f"{'tolerance':>9}  {'gradient: written':>24}  {'uniform':>24}  {'normal':>24}"
        f"  {'deviation':>9} {'pulses':>8} {'seconds':>8} {'joule':>8}"
    )
    for tolerance in options.tolerances:
        costs = []
        for chip in range(options.chips):
            plan = xs.WriteVerify(tolerance=tolerance, together="row", cycle_noise=options.cycle)
            base = design(plan)
            found = [written(W, base, chip, name) for name, W in (("A", model.A), ("B", model.B))]
            deviation = float(np.sqrt(np.mean([np.mean(one.error**2) for pair in found for one in pair])))
            costs.append(
                (
                    deviation / (G_MAX - G_MIN),
                    float(np.mean([one.pulses.mean() for pair in found for one in pair])),
                    sum(one.seconds for pair in found for one in pair),
                    sum(one.energy for pair in found for one in pair),
                )
            )
            designs = {"written": base} | {kind: replace(base, variation=Band(deviation, kind)) for kind in BANDS}
            for name, one_of in designs.items():
                errors.setdefault((name, tolerance), []).append(gradient_error(problem, one_of, chip))
        spent = np.median(np.array(costs), axis=0)
        said = "  ".join(f"{spread(errors[kind, tolerance], '.2%'):>24}" for kind in KINDS)
        print(f"{tolerance:>9.3f}  {said}  {spent[0]:>8.3%} {spent[1]:>8.1f} {spent[2]:>8.2g} {spent[3]:>8.2g}")
    print("\ndisturb, as a part of g_max - g_min, the largest of an array after one pass, and cells still near enough")
    lost: dict[tuple[str, int], list[float]] = {}
    for scheme in SCHEMES:
        for name, times in VOLTS.items():
            for size in options.sizes:
                most, near = [], []
                for chip in range(options.chips):
                    one = one_pass(scheme, times, size, chip)
                    most.append(float(np.abs(one.disturb).max()) / (G_MAX - G_MIN))
                    near.append(float(one.reached.mean()))
                lost[f"{scheme}, {name} V_t", size] = most
                print(
                    f"{scheme:<5}{name:>5} x threshold {size:>4}  {spread(most, '.2%'):>28}  {spread(near, '.0%'):>24}"
                )
    publish(lambda: draw(errors, lost, options), options.out, "write_verify")


def design(plan: xs.WriteVerify) -> xs.Design:
    device = xs.load_device("yakopcic_fast")
    return xs.Design(device=device, g_min=G_MIN, g_max=G_MAX, r_word=1.0, r_bit=1.0, r_driver=50.0, programming=plan)


def written(W: FloatArray, base: xs.Design, chip: int, name: str) -> list[Written]:
    """What writing took, array by array, as `cosimulate` does it for this chip."""
    plan, rng = base.variation, Streams(chip).devices(name)
    assert isinstance(plan, xs.WriteVerify)
    meant = xs.map_weights(W, replace(base, variation=xs.Variation()))
    return [plan.write(array.crossbar, None, rng, (G_MIN, G_MAX)) for array in meant.arrays]


def gradient_error(problem: xs.Problem, chosen: xs.Design, chip: int) -> float:
    return float(xs.cosimulate(problem, chosen, engine="nodal", seed=chip).record.gradients["A"].relative_error)


def one_pass(scheme: Scheme, times: float, size: int, chip: int) -> Written:
    """An array written once through, cell rows together, at a multiple of the thresholds of the device."""
    device = xs.load_device("yakopcic_fast")
    target = Streams(chip).devices(f"{size}").uniform(G_MIN, G_MAX, (size, size))
    crossbar = xs.Crossbar(target, r_word=1.0, r_bit=1.0, r_driver=50.0, r_sense=50.0, device=device)
    return xs.write_verify(
        crossbar, np.full((size, size), 0.5 * (G_MIN + G_MAX)), scheme, 0.02, together="row", passes=1,
        raise_volts=0.4 * times, lower_volts=-0.3 * times,
    )  # fmt: skip


def draw(
    errors: dict[tuple[str, float], list[float]], lost: dict[tuple[str, int], list[float]], options: Namespace
) -> Figure:
    tolerances, sizes = options.tolerances, options.sizes
    figure, (left, right) = new_figure(1, 2, width=4.2, height=3.3, share=False)
    for kind, colour in zip(KINDS, colours(KINDS, ordered=False), strict=True):
        values = 100 * np.array([errors[kind, tolerance] for tolerance in tolerances])
        left.plot(tolerances, np.median(values, axis=1), "o-", color=colour, label=kind)
        left.fill_between(tolerances, values.min(axis=1), values.max(axis=1), color=colour, alpha=0.15)
    set_abscissa(left, tolerances)
    left.set_yscale("log")
    left.set_title("gradient by tolerance")
    left.set_xlabel("tolerance, part of g_max - g_min")
    left.set_ylabel("error of dL/dA, %")
    left.legend()
    names = list(dict.fromkeys(name for name, _ in lost))
    for name, colour in zip(names, colours(names, ordered=False), strict=True):
        values = 100 * np.array([lost[name, size] for size in sizes])
        right.plot(sizes, np.median(values, axis=1), "o-", color=colour, label=name)
    set_abscissa(right, sizes)
    right.set_title("disturb of one pass")
    right.set_xlabel("word lines and bit lines")
    right.set_ylabel("largest, % of g_max - g_min")
    right.legend()
    return figure


if __name__ == "__main__":
    main()
