#!/usr/bin/env python3
"""Peaks, ellipses and the swiss roll by multilevel training, digitally and on chips.

Each network is trained by L-BFGS on few layers, carried to twice as many, trained again, and so on (smoothness 1e-4,
for ellipses and the swiss roll a decay of 1e-4 as well). Prints for each task, over the seeds of the first weights,
medians with the least and the largest: accuracy on the samples held back, digitally, and after every level the loss as
it was prolonged, with the classifier fitted anew and trained, and the steps that training took, forwards and backwards,
of each sample. Then the accuracy of the network of the first seed on chips, with the wires of the 32 nm node and each
--variation of programming of a device. Draws multilevel.png: the classes that the networks of the first seed see in the
plane.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from common import NODE_32, Arguments, elapsed, publish

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import xbar_spice as xs
from xbar_spice.linear.operator import FloatArray
from xbar_spice.parts import DATA
from xbar_spice.report.spread import spread
from xbar_spice.train.cascade import Fitted, cascade
from xbar_spice.train.descent import evaluate
from xbar_spice.train.processor import Digital, Processor
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
        decay: Of the penalty.
    """

    hamiltonian: bool
    width: int
    time: float
    layers: int
    levels: int
    iterations: int
    decay: float = 0.0

    @property
    def penalty(self) -> Regulariser:
        return replace(PENALTY, decay=self.decay)

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
    "ellipses": Network(hamiltonian=True, width=2, time=10.0, layers=2, levels=5, iterations=60, decay=1e-4),
    "swiss_roll": Network(hamiltonian=True, width=4, time=20.0, layers=8, levels=4, iterations=90, decay=1e-4),
}


def samples_of(task: str, quick: bool) -> Split:
    train, test = DATA.get(task).split()
    data = split_of(train, test)
    train_part, test_part = (part.take(np.arange(0, len(part), 8)) for part in (data.train, data.test))
    return Split(train_part, test_part) if quick else data


def trained(task: str, seed: int, quick: bool) -> tuple[Fitted, ...]:
    data, network = samples_of(task, quick), NETWORKS[task]
    if quick:
        network = replace(network, iterations=2, levels=2, layers=2)
    start = network.model(data.classes, seed)
    return cascade(start, data.train, network.levels, "linear", network.penalty, iterations=network.iterations)


def on_chip(model: xs.Model, data: Split, variation: float, seed: int) -> float:
    chip = xs.Chip(replace(NODE_32, variation=xs.Variation(variation)), seed=seed)
    return float(evaluate(chip.prepared(model), data.test, processor=chip).accuracy or 0.0)


def main() -> None:
    parser = Arguments(__doc__, seeds=8, chips=8, jobs=1)
    parser.add_argument("--tasks", nargs="+", choices=list(NETWORKS), default=list(NETWORKS), help="Which.")
    parser.add_argument("--variation", type=float, nargs="+", default=[0.0, 0.02, 0.05], help="Programming errors.")
    options = parser.parse(seeds=1, chips=1, tasks=["ellipses"], variation=[0.02])
    quick, tasks, seeds = options.quick, options.tasks, range(options.seeds)
    asked = [(task, seed, quick) for seed in seeds for task in tasks]
    if options.jobs == 1:
        done = [trained(*one) for one in asked]
    else:
        with ProcessPoolExecutor(options.jobs) as pool:
            done = list(pool.map(trained, *zip(*asked, strict=True)))
    found = dict(zip(((task, seed) for task, seed, _ in asked), done, strict=True))
    first = {task: found[task, 0][-1].model for task in tasks}
    for task in tasks:
        data, of = samples_of(task, quick), [found[task, seed] for seed in seeds]
        accuracy = [float(evaluate(levels[-1].model, data.test).accuracy or 0.0) for levels in of]
        print(f"\n{task}: {options.seeds} seeds, held back {spread(accuracy, '.1%')}, {elapsed():.0f} s")
        titles = ("loss prolonged", "classifier fitted", "trained", "steps")
        print(f"{'layers':<9}{''.join(f'{title:<31}' for title in titles)}")
        for level in range(len(of[0])):
            at = [levels[level] for levels in of]
            columns = [spread([getattr(each, name) for each in at], ".2g") for name in ("prolonged", "refitted")]
            columns += [spread([each.loss for each in at], ".2g"), spread([each.steps for each in at], ".3g")]
            print(f"{at[0].model.steps:<9}{''.join(f'{column:<31}' for column in columns)}")
        for variation in options.variation:
            on_chips = [on_chip(first[task], data, variation, chip) for chip in range(options.chips)]
            print(f"first seed, {options.chips} chips of {variation:.0%}: {spread(on_chips, '.1%')}", flush=True)
    publish(lambda: draw(first, quick), options.out, "multilevel")


def draw(models: dict[str, xs.Model], quick: bool) -> Figure:
    """The plane by classes, and the samples held back in it."""
    figure = Figure(figsize=(3.2 * len(models), 3.1), layout="constrained")
    for axes, (task, model) in zip(figure.subplots(1, len(models), squeeze=False)[0], models.items(), strict=True):
        test = samples_of(task, quick).test
        low, high = test.x.min(axis=1), test.x.max(axis=1)
        margin = 0.08 * (high - low)
        x, y = (np.linspace(a, b, 20 if quick else 160) for a, b in zip(low - margin, high + margin, strict=True))
        shade_classes(axes, model, x, y, Digital())
        axes.set_aspect("auto")
        axes.scatter(*test.x, c=test.classes, s=3, rasterized=True, cmap="Set1", vmin=0, vmax=8, linewidths=0)
        axes.set_title(task.replace("_", " "))
    return figure


def shade_classes(axes: Axes, model: xs.Model, x: FloatArray, y: FloatArray, processor: Processor) -> None:
    """The plane by the classes that a model finds in it, at points of these coordinates."""
    points = np.stack([part.ravel() for part in np.meshgrid(x, y)])
    with processor.programmed(processor.prepared(model)) as programmed:
        z = xs.integrate(programmed.field, model.initial(points), model.method, **model.times).z[-1]
    classes = model.classifier.logits(z).argmax(axis=0).reshape(y.size, x.size)  # type: ignore[union-attr]
    # Without interpolation a vector graphic holds the points themselves, and not many times as many pixels.
    axes.imshow(
        classes, cmap="Pastel1", vmin=0, vmax=8, origin="lower", extent=(x[0], x[-1], y[0], y[-1]), interpolation="none"
    )
    axes.set(xticks=[], yticks=[])
    axes.grid(visible=False)


if __name__ == "__main__":
    main()
