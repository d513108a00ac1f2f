#!/usr/bin/env python3
"""Does depth average out the errors of devices?

Residual networks z + (T / L) tanh(K z + b) of L layers are trained digitally and written to chips: with weights and an
array of its own for each layer; with weights that all layers share, on one array that is read L times, and on L copies
of it. So are networks z + tanh(K z + b), whose layers do not get smaller the more there are. Prints the error of the
last state on the chip, relative to its way from the first, and the accuracy on samples held back, by L: medians over
the seeds, each of which is a training and a chip, with the least and the largest; and the exponent p of error ~ L^-p,
fitted for each seed from --from layers on. Beside programming errors it takes wires alone, which do the same to every
layer, and at equal devices residual blocks of two and of six convolutions. Draws depth.png.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from common import NODE_32, Arguments, elapsed, publish

import numpy as np
from matplotlib.figure import Figure

import xbar_spice as xs
from xbar_spice.linear.convolution import Convolution
from xbar_spice.linear.operator import FloatArray
from xbar_spice.report.spread import spread
from xbar_spice.report.style import colours, new_figure, set_abscissa
from xbar_spice.solve.fields import LayerField, PerceptronField
from xbar_spice.train.descent import evaluate, final_states
from xbar_spice.train.digits import load_digits
from xbar_spice.train.samples import Samples, Split
from xbar_spice.train.tasks import Schedule, Task
from xbar_spice.train.training import train

TITLES = {
    "own": "an array of each layer",
    "copies": "shared weights, an array of each layer",
    "shared": "shared weights, one array",
    "unscaled": "an array of each layer, h = 1",
    "wires": "an array of each layer, wires alone",
}
TIME = 2.0


@cache
def samples(quick: bool) -> Split:
    whole, few = load_digits(), np.arange(60)
    return replace(whole, train=whole.train.take(few), test=whole.test.take(few)) if quick else whole


@dataclass(frozen=True)
class Network(Task):
    """A residual network on the pixels of the digits.

    Attributes:
        layers: L.
        shared: Whether all layers have the same weights.
        scaled: Whether steps are TIME / L long, and not 1.
        block: Convolutions of a layer; 0 for a full matrix.
    """

    layers: int
    shared: bool = False
    scaled: bool = True
    block: int = 0
    quick: bool = False
    schedule: Schedule = field(default_factory=lambda: Schedule(12, batch=64, jitter=0.3, learning_rate=0.01))
    name = "depth"

    def data(self) -> Split:
        return samples(self.quick)

    def initial(self, rng: np.random.Generator) -> xs.Model:
        if self.block:
            return self._blocks(rng)
        K = rng.normal(size=(64, 64)) / 8.0
        fields = [LayerField(K, np.zeros(64), "tanh") for _ in range(self.layers)]
        h = TIME / self.layers if self.scaled else 1.0
        layers = fields[0] if self.shared else xs.Layers(fields)
        return xs.Model(field=layers, h=h, steps=self.layers, method="forward_euler")

    def _blocks(self, rng: np.random.Generator) -> xs.Model:
        """Four channels of 4 x 4 pixels, z + K_l relu(... relu(K_1 z + b_1)) + b_l."""

        def one() -> PerceptronField:
            taps = rng.normal(size=(self.block, 4, 4, 3, 3)) * np.sqrt(2 / 36)
            taps[-1] *= 0.5
            held: dict[str, Any] = {f"K{k + 1}": Convolution(tap, (4, 4), "zero") for k, tap in enumerate(taps)}
            held |= {f"b{k + 1}": np.zeros(4) for k in range(self.block)}
            return PerceptronField("relu", **held)

        lift = xs.Encoder(rng.normal(size=(4, 1, 3, 3)) / 3.0, image_shape=(8, 8), stride=2, activation="relu")
        fields = xs.Layers([one() for _ in range(self.layers)])
        return xs.Model(field=fields, h=1.0, steps=self.layers, method="forward_euler", encoder=lift)


def copied(model: xs.Model) -> xs.Model:
    """The same function, with an array for each step in place of one that is read in all of them."""
    return replace(model, field=xs.Layers([model.field] * model.steps))  # type: ignore[list-item]


@dataclass(frozen=True)
class Shown:
    """What a chip showed: the error of the last state, and the accuracy, which digitally is another."""

    error: float
    accuracy: float
    digital: float


def on_chip(model: xs.Model, test: Samples, design: xs.Design, engine: str, seed: int) -> Shown:
    chip = xs.Chip(design, engine=engine, seed=seed)
    held = chip.prepared(model)
    there, meant = final_states(held, test.x, 1e-8, chip), final_states(model, test.x, 1e-8, None)
    way = np.linalg.norm(meant - model.initial(test.x))
    right = [evaluate(one, test, processor=processor).accuracy for one, processor in ((held, chip), (model, None))]
    return Shown(float(np.linalg.norm(there - meant) / way), float(right[0] or 0.0), float(right[1] or 0.0))


def exponent(depths: FloatArray, errors: FloatArray) -> float:
    """The p of errors ~ depths^-p, by least squares of the logarithms."""
    return -float(np.polyfit(np.log(depths), np.log(errors), 1)[0])


def trained(network: Network, seed: int) -> xs.Model:
    schedule = replace(network.schedule, epochs=1) if network.quick else None
    return train(network, seed=seed, schedule=schedule).model


def main() -> None:
    parser = Arguments(__doc__, seeds=8)
    parser.add_argument("--layers", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32], help="L.")
    parser.add_argument("--error", type=float, default=0.3, help="Of programming, relative to the conductance.")
    parser.add_argument("--from", type=int, default=4, dest="least", help="Layers from which on p is fitted.")
    options = parser.parse(seeds=1, layers=[1, 2], least=1)
    varied, wires, quick = xs.Design(variation=xs.Variation(options.error)), NODE_32, options.quick
    found: dict[tuple[str, int], list[Shown]] = {}
    test = samples(quick).test
    for seed in range(options.seeds):
        for layers in options.layers:
            one = Network(layers, quick=quick)
            own, shared = trained(one, seed), trained(replace(one, shared=True), seed)
            models = {"own": own, "copies": copied(shared), "shared": shared}
            models |= {"unscaled": trained(replace(one, scaled=False), seed), "wires": own}
            for kind, model in models.items():
                design, engine = (wires, "nodal") if kind == "wires" else (varied, "ideal")
                found.setdefault((kind, layers), []).append(on_chip(model, test, design, engine, seed))
        print(f"seed {seed}: {elapsed():.0f} s", flush=True)
    for kind, title in TITLES.items():
        print(f"\n{title}\n{'layers':<16}{HEADINGS}")
        for layers in options.layers:
            print(line(f"{layers}", found[kind, layers]))
        deep = [layers for layers in options.layers if layers >= options.least]
        powers = [
            exponent(np.array(deep), np.array([found[kind, layers][seed].error for layers in deep]))
            for seed in range(options.seeds)
        ]
        print(f"error ~ layers^-p, p = {spread(powers, '.2f')}")
    print(f"\ntwelve convolutions of four channels\n{'blocks':<16}{HEADINGS}")
    for layers, block in ((6, 2), (2, 6)):
        network = Network(layers, block=block, quick=quick)
        shown = [on_chip(trained(network, seed), test, varied, "ideal", seed) for seed in range(options.seeds)]
        print(line(f"{layers} of {block}", shown), flush=True)
    publish(lambda: draw(found, options.layers), options.out, "depth")


HEADINGS = f"{'error of the last state':<28}{'accuracy':<26}digital"


def line(name: str, shown: list[Shown]) -> str:
    """The numbers of some chips, in percent."""
    error, right, digital = (
        spread([100 * getattr(one, name) for one in shown], ".1f") for name in ("error", "accuracy", "digital")
    )
    return f"{name:<16}{error:<28}{right:<26}{digital}"


def draw(found: dict[tuple[str, int], list[Shown]], depths: list[int]) -> Figure:
    figure, (error, accuracy) = new_figure(1, 2, width=4.6, height=3.6, share=False)
    for (kind, title), colour in zip(TITLES.items(), colours(list(TITLES), ordered=False), strict=True):
        for axes, name in ((error, "error"), (accuracy, "accuracy")):
            values = 100 * np.array([[getattr(one, name) for one in found[kind, layers]] for layers in depths])
            axes.plot(depths, np.median(values, axis=1), "o-", color=colour, label=title)
            axes.fill_between(depths, values.min(axis=1), values.max(axis=1), color=colour, alpha=0.12)
    whole = np.array([depths[0], depths[-1]])
    start = 100 * np.median([one.error for one in found["own", depths[0]]])
    error.plot(whole, start * (whole / whole[0]) ** -0.5, ":", color="0.5", label="1 / sqrt(layers)")
    error.set(xlabel="layers", yscale="log", ylabel="error of the last state, %", ylim=(2, None))
    accuracy.set(xlabel="layers", ylabel="accuracy on samples held back, %")
    for axes in (error, accuracy):
        set_abscissa(axes, depths)
    error.legend(fontsize="small", loc="lower left")
    return figure


if __name__ == "__main__":
    main()
