#!/usr/bin/env python3
"""Which rounding do device pulses amount to, and how many bits does a gradient need?

A small neural ODE learns the two moons. Its weights are kept in numbers of FL fraction bits, <4, FL>, rounded to the
nearest or stochastically behind every update; or on devices that pulses move, of even steps dw = 2^-FL and of soft
bounds with the same step in the middle. Prints the loss on samples held back after the last epoch. Then the gradient of
a trained model is taken with all products and weights rounded, forward and, scaled by the number of samples, back: its
error against the exact one by FL. Medians over the seeds, each of which draws weights, minibatches and roundings anew,
with the least and the largest. Draws rounding.png.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from common import Arguments, publish

import numpy as np
from matplotlib.figure import Figure

import xbar_spice as xs
from xbar_spice.hardware.fixed_point import Rounding
from xbar_spice.report.spread import spread
from xbar_spice.report.style import colours, new_figure
from xbar_spice.streams import Streams
from xbar_spice.train.descent import loss_and_gradients
from xbar_spice.train.named import NamedTask
from xbar_spice.train.processor import Digital, Processor, Programmed
from xbar_spice.train.training import train

RANGE = 8.0  # of weights, as <4, FL> has it
WAYS = ("nearest", "stochastic", "even pulses", "soft bounds")
ROUNDINGS: tuple[Rounding, ...] = ("nearest", "stochastic")


@dataclass(frozen=True)
class Pulsed(Processor):
    """Digital products of weights that stand on devices and are moved by pulses."""

    update: xs.PulseUpdate
    seed: int

    def prepared(self, model: xs.Model) -> xs.Model:
        return model

    @contextmanager
    def programmed(self, model: xs.Model, occasion: str = "") -> Iterator[Programmed]:
        with Digital().programmed(model, occasion) as programmed:
            yield programmed

    def rewritten(self, model: xs.Model, wanted: xs.Model, occasion: str = "") -> xs.Model:
        rng, before = Streams(self.seed).cycle("pulses", occasion), model.tensors
        moved = {name: self.update.moved(before[name], value, RANGE, rng) for name, value in wanted.tensors.items()}
        return wanted.with_tensors(moved)


def processor(way: str, bits: int, seed: int) -> Processor:
    levels = round(2 * RANGE * 2**bits)
    if way == "even pulses":
        return Pulsed(xs.PulseUpdate(tuple(np.arange(levels + 1.0)), tuple(np.arange(levels, -1.0, -1.0))), seed)
    if way == "soft bounds":  # of which a step at the middle of the range is dw
        return Pulsed(xs.PulseUpdate.soft_bounds(2.0 / levels, pulses=4 * levels), seed)
    rounding: Rounding = "nearest" if way == "nearest" else "stochastic"
    return xs.FixedPoint(4, bits, rounding, ("weights",), seed=seed)


def main() -> None:
    parser = Arguments(__doc__, seeds=8)
    parser.add_argument("--bits", type=int, nargs="+", default=(2, 3, 4, 5, 6, 8), help="FL of weights.")
    parser.add_argument("--gradient-bits", type=int, nargs="+", default=(2, 4, 6, 8, 10, 12), help="FL of products.")
    parser.add_argument("--epochs", type=int, default=30, help="Of training.")
    options = parser.parse(seeds=1, bits=[2, 6], gradient_bits=[4, 8], epochs=2)
    schedule = xs.Schedule(options.epochs, batch=50, jitter=0.0, learning_rate=0.02)
    task = NamedTask("two_moons(samples=600)", states=4, hidden=8, steps=4, method="forward_euler", schedule=schedule)
    seeds = range(options.seeds)
    exact = [train(task, seed=seed) for seed in seeds]
    print(f"loss on samples held back, float64: {spread([one.history[-1].test.loss for one in exact], '.3f')}\n")
    losses: dict[tuple[str, int], list[float]] = {}
    print(f"{'FL':>3}  " + "  ".join(f"{way:>22}" for way in WAYS))
    for bits in options.bits:
        for way in WAYS:
            runs = [train(task, seed=seed, processor=processor(way, bits, seed)) for seed in seeds]
            losses[way, bits] = [one.history[-1].test.loss for one in runs]
        print(f"{bits:>3}  " + "  ".join(f"{spread(losses[way, bits], '.3f'):>22}" for way in WAYS))
    errors: dict[tuple[str, int], list[float]] = {}
    print(
        f"\nerror of a gradient with rounded weights and products\n{'FL':>3}  "
        + "  ".join(f"{r:>22}" for r in ROUNDINGS)
    )
    samples = task.data().train
    for bits in options.gradient_bits:
        for rounding in ROUNDINGS:
            found = []
            for seed, one in zip(seeds, exact, strict=True):
                form = xs.FixedPoint(4, bits, rounding, ("weights", "products"), len(samples), seed=seed)
                wanted = loss_and_gradients(one.model, samples)[1]["A"]
                given = loss_and_gradients(form.prepared(one.model), samples, processor=form)[1]["A"]
                found.append(float(np.linalg.norm(given - wanted) / np.linalg.norm(wanted)))
            errors[rounding, bits] = found
        print(f"{bits:>3}  " + "  ".join(f"{spread(errors[r, bits], '.2g'):>22}" for r in ROUNDINGS))
    publish(lambda: draw(losses, errors, options.bits, options.gradient_bits), options.out, "rounding")


def draw(
    losses: dict[tuple[str, int], list[float]],
    errors: dict[tuple[str, int], list[float]],
    bits: list[int],
    gradient_bits: list[int],
) -> Figure:
    figure, axes = new_figure(1, 2, width=4.2, height=3.3, share=False)
    panels = ((axes[0], losses, WAYS, bits), (axes[1], errors, ROUNDINGS, gradient_bits))
    for panel, found, ways, chosen in panels:
        for way, colour in zip(ways, colours(ways, ordered=False), strict=True):
            values = np.array([found[way, b] for b in chosen])
            panel.plot(chosen, np.median(values, axis=1), "o-", color=colour, label=way)
            panel.fill_between(chosen, values.min(axis=1), values.max(axis=1), color=colour, alpha=0.15)
        panel.set(yscale="log", xlabel="fraction bits FL")
        panel.legend()
    axes[0].set(title="weights rounded behind every update", ylabel="loss on samples held back")
    axes[1].set(title="weights and products rounded", ylabel="relative error of a gradient")
    return figure


if __name__ == "__main__":
    main()
