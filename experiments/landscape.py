#!/usr/bin/env python3
"""What IR drop and programming errors do to the landscape of a loss, and to the spectrum behind it.

Layers Y + (10 / N) tanh(K Y), where K of two parameters has rows (-t1 - t2, t1, t2) and their rotations, and so the
eigenvalues 0 and -1.5 (t1 + t2) +- i sqrt(3)/2 (t1 - t2), beside each other for several channels on one array. The loss
is half the squared distance from what (1, 1) makes of the same samples in 200 steps, in the mean over the channels.
Prints, digitally and by the resistance of wires, medians over the chips with the least and the largest: the most
negative and the largest real part of an eigenvalue of K at (1, 1), the loss there for N = 10, whose step is too long (h
lambda = -3), and N = 100, the least loss of N = 100 that a search from there finds, and dL/dt1 at (0.5, 0.75) of both.
Draws landscape.png: the logarithm of the loss of both, digitally and on the first chip with the last resistance.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from common import NODE_32, Arguments, elapsed, publish

import numpy as np
from matplotlib.figure import Figure
from scipy.optimize import minimize

import xbar_spice as xs
from xbar_spice.linear.operator import FloatArray
from xbar_spice.report.spread import spread

Y0 = np.array([[0.5, -1.0, 0.25, 1.5], [-0.75, 0.5, 1.0, -0.25], [1.25, 0.125, -0.5, 0.75]])
TIME, FINE, STEPS = 10.0, 200, (10, 100)
RANGE = -1.0, 2.0  # of t1 and t2
LARGEST = 4.0  # weight that the devices hold: t1 + t2 at the corner of the landscape
AT = np.array([0.5, 0.75])


class Chip(NamedTuple):
    """Arrays of a design and seed; matrices themselves without a design."""

    design: xs.Design | None
    seed: int = 0

    def matrix(self, theta: FloatArray, channels: int) -> FloatArray:
        """What multiplies: the effective matrix of the arrays, (3 channels, 3 channels)."""
        t1, t2 = theta
        K = np.kron([[-t1 - t2, t1, t2], [t2, -t1 - t2, t1], [t1, t2, -t1 - t2]], np.eye(channels))
        if self.design is None:
            return K
        scale = (self.design.g_max - self.design.g_min) / LARGEST  # the same chip for all parameters
        rng = xs.random_stream(self.seed, "landscape")
        with xs.program(K, self.design, rng=rng, siemens_per_weight=scale) as arrays:
            return arrays.to_dense()


def end_of(K: FloatArray, steps: int) -> FloatArray:
    start = np.repeat(Y0, len(K) // 3, axis=0)
    return np.asarray(xs.integrate(xs.LayerField(K), start, "forward_euler", h=TIME / steps, steps=steps).z[-1])


def losses(K: FloatArray, steps: tuple[int, ...] = STEPS) -> list[float]:
    channels = len(K) // 3
    wanted = np.repeat(end_of(Chip(None).matrix(np.ones(2), 1), FINE), channels, axis=0)
    return [0.5 * float(np.sum((end_of(K, n) - wanted) ** 2)) / channels for n in steps]


def least(chip: Chip, channels: int, tries: int) -> float:
    """The least loss of many steps that a search from (1, 1) finds, within the weights that devices hold."""

    def loss(theta: FloatArray) -> float:
        inside = np.clip(theta, *RANGE)
        off = float(np.sum((theta - inside) ** 2))
        return losses(chip.matrix(inside, channels), STEPS[-1:])[0] + off

    return float(minimize(loss, np.ones(2), method="Nelder-Mead", options={"maxfev": tries}).fun)


def slopes(chip: Chip, channels: int) -> FloatArray:
    """dL/dt1 where ten steps have the wrong sign of it, by differences, of each number of steps."""
    after, before = (losses(chip.matrix(AT + np.array([end, 0.0]), channels)) for end in (1e-4, -1e-4))
    return (np.array(after) - before) / 2e-4


def main() -> None:
    parser = Arguments(__doc__, chips=8, seed=0)
    parser.add_argument(
        "--channels", type=int, default=16, help="Beside each other; an array has 3 times as many rows."
    )
    parser.add_argument("--tries", type=int, default=60, help="Losses that the search for the least one takes.")
    parser.add_argument("--points", type=int, default=31, help="Of the landscape, along each side.")
    parser.add_argument("--ohm", type=float, nargs="+", default=[0.0, 1.0, 5.0, 20.0], help="Of a segment of a wire.")
    options = parser.parse(chips=1, channels=1, tries=3, points=3, ohm=[20.0])
    titles = ["least real part", "largest", *(f"loss, {n} steps" for n in STEPS), f"least loss, {STEPS[-1]} steps"]
    titles += [f"dL/dt1, {n} steps" for n in STEPS]
    print(f"{3 * options.channels} states\n{'':24}{''.join(f'{title:>29}' for title in titles)}")
    designs: dict[str, xs.Design | None] = {"digital": None}
    for ohm in options.ohm:
        designs[f"{ohm:g} ohm"] = replace(NODE_32, r_word=ohm, r_bit=ohm)
        designs[f"{ohm:g} ohm, devices 2 %"] = replace(NODE_32, r_word=ohm, r_bit=ohm, variation=xs.Variation(0.02))
    for name, design in designs.items():
        drawn = design is not None and design.variation != xs.Variation()
        found = []
        for seed in range(options.seed, options.seed + (options.chips if drawn else 1)):
            chip = Chip(design, seed)
            K = chip.matrix(np.ones(2), options.channels)
            real = np.linalg.eigvals(K).real
            low = least(chip, options.channels, options.tries)
            found.append([real.min(), real.max(), *losses(K), low, *slopes(chip, options.channels)])
        columns = [spread(column, ".3g") for column in np.array(found).T]
        print(f"{name:24}{''.join(f'{column:>29}' for column in columns)}  {elapsed():.0f} s", flush=True)
    axis = np.linspace(*RANGE, options.points)
    worst = list(designs)[-1]
    maps = dict[tuple[str, int], FloatArray]()
    for name in ("digital", worst):
        of = [[losses(Chip(designs[name]).matrix(np.array([x, y]), options.channels)) for x in axis] for y in axis]
        maps |= {(name, steps): loss for steps, loss in zip(STEPS, np.moveaxis(np.array(of), 2, 0), strict=True)}
    publish(lambda: draw(axis, maps), options.out, "landscape")


def draw(axis: FloatArray, maps: dict[tuple[str, int], FloatArray]) -> Figure:
    figure = Figure(figsize=(3.0 * len(maps) + 0.6, 3.2), layout="constrained")
    panels = figure.subplots(1, len(maps), sharey=True)
    for axes, ((name, steps), loss) in zip(panels, maps.items(), strict=True):
        image = axes.contourf(axis, axis, np.log10(np.maximum(loss, 1e-4)), levels=np.arange(-4.0, 3.01, 0.5))
        axes.plot(1.0, 1.0, "w+", markersize=9)
        axes.plot([-1.0, 1.0], [1.0, -1.0], "w:", linewidth=1.0)  # on which all eigenvalues are imaginary
        axes.set(title=f"{name}, {steps} steps", xlabel="t1")
    panels[0].set_ylabel("t2")
    figure.colorbar(image, ax=panels, label="log10 of the loss")
    return figure


if __name__ == "__main__":
    main()
