#!/usr/bin/env python3
"""Peaks, ellipses and the swiss roll by multilevel training, beside training on the finest grid, and on chips.

Each network is trained by L-BFGS on few layers, carried to twice as many, trained again, and so on (smoothness 1e-4);
"direct" starts with all layers, with as many iterations in all. Prints for each task, over the seeds of the first
weights, medians with the least and the largest: accuracy on the samples held back, digitally and on a chip with the
wires and --variation of programming of each device, and the steps that training took, forwards and backwards, of each
sample. With --tasks one by one. Draws multilevel.png: the classes that the networks of the first seed see in the plane.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from common import NODE_32, Arguments, elapsed, publish

import numpy as np
from matplotlib.figure import Figure

import xbar_spice as xs
from xbar_spice.linear.operator import FloatArray
from xbar_spice.parts import DATA
from xbar_spice.report.spread import spread
from xbar_spice.train.cascade import Fitted, cascade
from xbar_spice.train.descent import evaluate
from xbar_spice.train.regulariser import Regulariser
from xbar_spice.train.samples import Split, split_of

PENALTY = Regulariser(smoothness=1e-4)


@dataclass(frozen=True)
class Network:
    """How the network of a task starts.

    Attributes:
        hamiltonian: Verlet steps of width y and width z, started from the points in y; else AB3 steps of an
            antisymmetric layer behind an opening layer.
        width: Length of y, or of the state.
        time: At which the run ends.
        layers: On the coarsest grid.
        levels: Number of grids.
        iterations: Of L-BFGS on each.
    """

    hamiltonian: bool
    width: int
    time: float
    layers: int
    levels: int
    iterations: int

    @property
    def finest(self) -> Network:
        """The one that starts with all its layers."""
        layers = self.layers * 2 ** (self.levels - 1)
        return replace(self, layers=layers, levels=1, iterations=self.levels * self.iterations)

    def model(self, classes: int, seed: int) -> xs.Model:
        rng = np.random.default_rng(seed)
        K = rng.normal(size=(self.width, self.width)) / np.sqrt(self.width)
        build: Any = xs.hamiltonian_field if self.hamiltonian else xs.antisymmetric_field
        field = xs.Layers([build(K, np.zeros(self.width)) for _ in range(self.layers)])
        encoder = xs.Encoder(np.eye(field.states, 2))
        if not self.hamiltonian:
            opening = rng.normal(size=(self.width, 2)), 0.5 * rng.normal(size=self.width)
            encoder = xs.Encoder(*opening, activation="tanh")
        return xs.Model(
            field=field,
            h=self.time / self.layers,
            steps=self.layers,
            method="verlet" if self.hamiltonian else "ab3",
            encoder=encoder,
            frozen=("encoder.weight", "encoder.bias") if self.hamiltonian else (),
            classifier=xs.Classifier(np.zeros((classes, field.states)), np.zeros(classes)),
        )


NETWORKS = {
    "peaks": Network(hamiltonian=False, width=8, time=5.0, layers=16, levels=2, iterations=150),
    "ellipses": Network(hamiltonian=True, width=2, time=20.0, layers=2, levels=5, iterations=60),
    "swiss_roll": Network(hamiltonian=True, width=4, time=20.0, layers=8, levels=4, iterations=60),
}


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a seed of a task came to; accuracies on the samples held back."""

    levels: tuple[Fitted, ...]
    accuracy: float
    direct: float
    direct_steps: int
    on_chip: float


def samples_of(task: str, quick: bool) -> Split:
    train, test = DATA.get(task).split()
    data = split_of(train, test)
    train_part, test_part = (part.take(np.arange(0, len(part), 8)) for part in (data.train, data.test))
    return Split(train_part, test_part) if quick else data


def outcome(task: str, seed: int, variation: float, quick: bool) -> Outcome:
    data, network = samples_of(task, quick), NETWORKS[task]
    if quick:
        network = replace(network, iterations=2, levels=2, layers=2)
    levels = cascade(
        network.model(data.classes, seed), data.train, network.levels, "linear", PENALTY, iterations=network.iterations
    )
    finest = network.finest
    (direct,) = cascade(
        finest.model(data.classes, seed), data.train, 1, "linear", PENALTY, iterations=finest.iterations
    )
    model = levels[-1].model
    chip = xs.Chip(replace(NODE_32, variation=xs.Variation(variation)), seed=seed)
    return Outcome(
        levels,
        float(evaluate(model, data.test).accuracy or 0.0),
        float(evaluate(direct.model, data.test).accuracy or 0.0),
        direct.steps,
        float(evaluate(chip.prepared(model), data.test, processor=chip).accuracy or 0.0),
    )


def main() -> None:
    parser = Arguments(__doc__, seeds=8, jobs=1)
    parser.add_argument("--tasks", nargs="+", choices=list(NETWORKS), default=list(NETWORKS), help="Which.")
    parser.add_argument("--variation", type=float, default=0.02, help="Relative programming error of a device.")
    options = parser.parse(seeds=1, tasks=["ellipses"])
    quick = options.quick
    first: dict[str, xs.Model] = {}
    for task in options.tasks:
        asked = [(task, seed, options.variation, quick) for seed in range(options.seeds)]
        found = [outcome(*one) for one in asked] if options.jobs == 1 else pooled(asked, options.jobs)
        first[task] = found[0].levels[-1].model
        print(f"\n{task}: {options.seeds} seeds, {elapsed():.0f} s")
        for name, values in (
            ("multilevel", [one.accuracy for one in found]),
            ("direct", [one.direct for one in found]),
            ("multilevel, on a chip", [one.on_chip for one in found]),
        ):
            print(f"{name:24}{spread(values, '.1%'):>32}")
        print(f"{'steps, multilevel':24}{spread([sum(at.steps for at in one.levels) for one in found], '.3g'):>32}")
        print(f"{'steps, direct':24}{spread([one.direct_steps for one in found], '.3g'):>32}")
        print("layers   loss prolonged                 classifier fitted              trained")
        for level in range(len(found[0].levels)):
            at = [one.levels[level] for one in found]
            losses = [spread([getattr(each, name) for each in at], ".2g") for name in ("prolonged", "refitted")]
            trained = spread([each.history[-1] for each in at], ".2g")
            print(f"{at[0].model.steps:<9}{losses[0]:<31}{losses[1]:<31}{trained}", flush=True)
    publish(lambda: draw(first, quick), options.out, "multilevel")


def pooled(asked: list[tuple[Any, ...]], jobs: int) -> list[Outcome]:
    with ProcessPoolExecutor(jobs) as pool:
        return list(pool.map(outcome, *zip(*asked, strict=True)))


def draw(models: dict[str, xs.Model], quick: bool) -> Figure:
    """The plane by classes, and the samples held back in it."""
    figure = Figure(figsize=(3.2 * len(models), 3.1), layout="constrained")
    for axes, (task, model) in zip(figure.subplots(1, len(models), squeeze=False)[0], models.items(), strict=True):
        test = samples_of(task, quick).test
        low, high = test.x.min(axis=1), test.x.max(axis=1)
        margin = 0.08 * (high - low)
        x, y = (np.linspace(a, b, 20 if quick else 160) for a, b in zip(low - margin, high + margin, strict=True))
        seen = classes_of(model, np.stack([part.ravel() for part in np.meshgrid(x, y)]))
        axes.pcolormesh(x, y, seen.reshape(y.size, x.size), cmap="Pastel1", vmin=0, vmax=8, shading="nearest")
        axes.scatter(*test.x, c=test.classes, s=3, cmap="Set1", vmin=0, vmax=8, linewidths=0)
        axes.set(title=task.replace("_", " "), xticks=[], yticks=[])
        axes.grid(visible=False)
    return figure


def classes_of(model: xs.Model, points: FloatArray) -> FloatArray:
    z = xs.integrate(model.field, model.initial(points), model.method, **model.times).z[-1]
    return np.asarray(model.classifier.logits(z).argmax(axis=0))  # type: ignore[union-attr]


if __name__ == "__main__":
    main()
