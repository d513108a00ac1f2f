#!/usr/bin/env python3
"""How near must write-verify come for a gradient, what does it cost, and does it matter how its error is distributed?

A random neural ODE of --states states on pairs of arrays whose cells (yakopcic_fast) are written by pulses, row by row,
with --cycle of noise from pulse to pulse and one seed for each chip. The gradient's error against the digital one by
tolerance, beside those of chips with a uniform and with a normal error of the same deviation, with pulses, time and
energy: medians over the chips with the least and the largest. Draws write_verify.png.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from common import Arguments, publish

import numpy as np
from matplotlib.figure import Figure

import xbar_spice as xs
from xbar_spice.hardware.variation import Programmed
from xbar_spice.linear.operator import FloatArray
from xbar_spice.programming import Written
from xbar_spice.report.spread import spread
from xbar_spice.report.style import colours, new_figure, set_abscissa
from xbar_spice.streams import Streams

G_MIN, G_MAX = 5e-6, 1.2e-4
TOLERANCES = (0.1, 0.05, 0.02, 0.01)
Kind = Literal["uniform", "normal"]
BANDS: tuple[Kind, ...] = ("uniform", "normal")
KINDS = ("written", *BANDS)
COSTS = {"pulses a cell": 1.0, "time, us": 1e6, "energy, nJ": 1e9}


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
    parser = Arguments(__doc__, chips=8)
    parser.add_argument("--states", type=int, default=4, help="States of the neural ODE.")
    parser.add_argument("--cycle", type=float, default=0.2, help="Relative spread of what a pulse does.")
    parser.add_argument(
        "--tolerances", type=float, nargs="+", default=TOLERANCES, help="At which a cell is near enough."
    )
    options = parser.parse(chips=1, states=3, tolerances=[0.1, 0.05])
    rng = np.random.default_rng(0)
    A, B = rng.standard_normal((2, options.states, options.states)) / options.states**0.5
    model = xs.Model(A, B, h=0.25, steps=4)
    problem = xs.make_problem(model, task="random", samples=4)
    errors: dict[str, list[list[float]]] = {kind: [] for kind in KINDS}
    costs: dict[str, list[list[float]]] = {name: [] for name in COSTS}
    print(
        f"{'tolerance':>9}  {'deviation':>9}  {'gradient: written':>24}  {'uniform':>24}  {'normal':>24}"
        + "".join(f"  {name:>24}" for name in COSTS)
    )
    for tolerance in options.tolerances:
        for found in (*errors.values(), *costs.values()):
            found.append([])
        deviations = []
        for chip in range(options.chips):
            base = design(xs.WriteVerify(tolerance=tolerance, together="row", cycle_noise=options.cycle))
            done = [one for name, W in (("A", model.A), ("B", model.B)) for one in written(W, base, chip, name)]
            deviation = float(np.sqrt(np.mean([np.mean(one.error**2) for one in done])))
            deviations.append(deviation / (G_MAX - G_MIN))
            spent = np.mean([one.pulses for one in done]), sum(o.seconds for o in done), sum(o.energy for o in done)
            for (name, unit), value in zip(COSTS.items(), spent, strict=True):
                costs[name][-1].append(unit * float(value))
            designs = {"written": base} | {kind: replace(base, variation=Band(deviation, kind)) for kind in BANDS}
            for kind, one_of in designs.items():
                errors[kind][-1].append(gradient_error(problem, one_of, chip))
        said = "  ".join(f"{spread(errors[kind][-1], '.2%'):>24}" for kind in KINDS)
        paid = "".join(f"  {spread(costs[name][-1], '.3g'):>24}" for name in COSTS)
        print(f"{tolerance:>9.3f}  {np.median(deviations):>9.2%}  {said}{paid}")
    publish(lambda: draw(errors, costs, options.tolerances), options.out, "write_verify")


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


def draw(errors: dict[str, list[list[float]]], costs: dict[str, list[list[float]]], tolerances: list[float]) -> Figure:
    figure, (left, right) = new_figure(1, 2, width=4.2, height=3.3, share=False)
    for axes, drawn, factor in ((left, errors, 100.0), (right, costs, 1.0)):
        for name, colour in zip(drawn, colours(list(drawn), ordered=False), strict=True):
            values = factor * np.array(drawn[name])
            axes.plot(tolerances, np.median(values, axis=1), "o-", color=colour, label=name)
            axes.fill_between(tolerances, values.min(axis=1), values.max(axis=1), color=colour, alpha=0.15)
        set_abscissa(axes, tolerances)
        axes.set_yscale("log")
        axes.set_xlabel("tolerance, part of g_max - g_min")
        axes.legend()
    left.set_title("gradient")
    left.set_ylabel("error of dL/dA, %")
    right.set_title("what all four arrays take")
    return figure


if __name__ == "__main__":
    main()
