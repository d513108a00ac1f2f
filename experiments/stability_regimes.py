#!/usr/bin/env python3
"""Peaks by networks that let differences grow, keep or damp them, digitally and on chips with IR drop.

Layers tanh(K y + bias) of width 8 behind an opening layer, where K is an antisymmetric matrix, which training moves,
plus gamma times the identity, which it leaves: eigenvalues with positive, no or negative real parts, for a time of 5.
Beside them antisymmetric layers for a time of 10 and of 0.2, and a Hamiltonian network. Each is trained by L-BFGS on
half the steps and on all of them (smoothness 1e-4), on five classes drawn equally often. K stands on one array for each
step, with its gamma. Prints, medians over the seeds of weights and chip with the least and the largest: by how much
differences grow at most from the opening layer to the end, the loss of training and the accuracy on samples held back,
digitally and on chips, and the largest real part of an eigenvalue of the Jacobian along the run. Draws
stability_regimes.png: the classes that each network of the first seed sees in the plane, digitally and on a chip of the
last design.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

from common import NODE_32, Arguments, elapsed, publish

import numpy as np
from matplotlib.figure import Figure
from multilevel_training import PENALTY, samples_of, shade_classes

import xbar_spice as xs
from xbar_spice.report.spread import spread
from xbar_spice.solve.fields.evaluation import Parameters, Tie
from xbar_spice.train.cascade import cascade
from xbar_spice.train.processor import Digital, Processor
from xbar_spice.train.samples import Samples

SOME = 4  # samples whose growth is looked at
CHIPS = {
    "1 ohm": NODE_32,
    "20 ohm": replace(NODE_32, r_word=20.0, r_bit=20.0),
    "1 ohm, 5 %": replace(NODE_32, variation=xs.Variation(0.05)),
    "20 ohm, 5 %": replace(NODE_32, r_word=20.0, r_bit=20.0, variation=xs.Variation(0.05)),
}


@dataclass(frozen=True)
class Regime:
    """A network.

    Attributes:
        gamma: Real part of the eigenvalues of K.
        time: At which the run ends.
        hamiltonian: Verlet steps of a Hamiltonian network, whose eigenvalues have no real part; else AB3.
    """

    gamma: float = 0.0
    time: float = 5.0
    hamiltonian: bool = False

    def model(self, width: int, layers: int, seed: int) -> xs.Model:
        rng = np.random.default_rng(seed)
        K, b = rng.normal(size=(width, width)) / np.sqrt(width), np.zeros(width)
        if self.hamiltonian:
            fields: list[xs.Field] = [xs.hamiltonian_field(K, b) for _ in range(layers)]
        else:
            K = K - K.T + self.gamma * np.eye(width)
            fields = [xs.LayerField(K, b, tie=Tie(antisymmetric, antisymmetric)) for _ in range(layers)]
        states = fields[0].states
        return xs.Model(
            field=xs.Layers(fields),
            h=self.time / layers,
            steps=layers,
            method="verlet" if self.hamiltonian else "ab3",
            encoder=xs.Encoder(rng.normal(size=(states, 2)), 0.5 * rng.normal(size=states), activation="tanh"),
            classifier=xs.Classifier(np.zeros((5, states)), np.zeros(5)),
        )


def antisymmetric(values: Parameters) -> Parameters:
    """What changes of K may be: its diagonal, and so gamma, stays."""
    return {name: (value - np.swapaxes(value, -1, -2)) / 2 if name == "K" else value for name, value in values.items()}


REGIMES = {
    "growing": Regime(gamma=0.5),
    "antisymmetric": Regime(),
    "damped": Regime(gamma=-0.5),
    "antisymmetric, T = 10": Regime(time=10.0),
    "antisymmetric, T = 0.2": Regime(time=0.2),
    "Hamiltonian": Regime(hamiltonian=True),
}


class Seen(NamedTuple):
    """What a network makes of samples.

    Attributes:
        accuracy: Part of them that it knows.
        abscissa: Largest real part of an eigenvalue of the Jacobian, over the run, median of the samples.
        growth: Largest singular value of what the run does to small differences, median of the samples.
    """

    accuracy: float
    abscissa: float
    growth: float


def seen(model: xs.Model, data: Samples, processor: Processor) -> Seen:
    with processor.programmed(processor.prepared(model)) as programmed:
        run = xs.integrate(programmed.field, model.initial(data.x), model.method, **model.times)
        some = xs.integrate(programmed.field, model.initial(data.x[:, :SOME]), model.method, **model.times)
        abscissa = xs.growth(some).abscissa.max(axis=0)
        units = np.eye(model.states)
        moved = np.stack([xs.tangent(some, np.tile(unit[:, None], SOME)) for unit in units])  # (direction, n, samples)
    right = model.classifier.logits(run.z[-1]).argmax(axis=0) == data.classes  # type: ignore[union-attr]
    grown = np.linalg.norm(np.moveaxis(moved, 2, 0), ord=2, axis=(1, 2))
    return Seen(float(right.mean()), float(np.median(abscissa)), float(np.median(grown)))


def trained(asked: tuple[str, int], layers: int, iterations: int, quick: bool) -> tuple[xs.Model, float, list[Seen]]:
    """The model, its loss in training, and what it sees digitally and on its chip by each design."""
    name, seed = asked
    data = samples_of("peaks", quick)
    start = REGIMES[name].model(8, layers // 2, seed)
    level = cascade(start, data.train, 2, "linear", PENALTY, iterations=iterations)[-1]
    runs: list[Processor] = [Digital(), *(xs.Chip(design, seed=seed) for design in CHIPS.values())]
    return level.model, level.loss, [seen(level.model, data.test, run) for run in runs]


def main() -> None:
    parser = Arguments(__doc__, seeds=8, jobs=1)
    parser.add_argument("--regimes", nargs="+", choices=list(REGIMES), default=list(REGIMES), help="Which.")
    parser.add_argument("--layers", type=int, default=32, help="Of the trained network.")
    parser.add_argument("--iterations", type=int, default=60, help="Of L-BFGS on each of two levels.")
    options = parser.parse(seeds=1, regimes=["damped"], layers=4, iterations=2)
    asked = [(name, seed) for name in options.regimes for seed in range(options.seeds)]
    run = partial(trained, layers=options.layers, iterations=options.iterations, quick=options.quick)
    first: dict[str, xs.Model] = {}
    titles = ["growth", "loss", "digital", *CHIPS, "abscissa digitally", f"with {list(CHIPS)[-1]}"]
    print(f"{'':24}{''.join(f'{title:>27}' for title in titles)}")
    with ProcessPoolExecutor(options.jobs) as pool:
        results = map(run, asked) if options.jobs == 1 else pool.map(run, asked)
        for name in options.regimes:
            found = [next(results) for _ in range(options.seeds)]
            first[name] = found[0][0]
            of = [[each[2][k] for each in found] for k in range(len(CHIPS) + 1)]
            columns = [spread([one.growth for one in of[0]]), spread([each[1] for each in found], ".2g")]
            columns += [spread([one.accuracy for one in each], ".1%") for each in of]
            columns += [spread([one.abscissa for one in each], ".2f") for each in (of[0], of[-1])]
            print(f"{name:24}{''.join(f'{column:>27}' for column in columns)}  {elapsed():.0f} s", flush=True)
    publish(lambda: draw(first, options.quick), options.out, "stability_regimes")


def draw(models: dict[str, xs.Model], quick: bool) -> Figure:
    """The plane by classes, digitally above and on a chip below."""
    axis = np.linspace(-3.0, 3.0, 20 if quick else 160)
    name, design = list(CHIPS.items())[-1]
    rows: dict[str, Processor] = {"digital": Digital(), name: xs.Chip(design)}
    figure = Figure(figsize=(2.3 * len(models) + 0.4, 4.9), layout="constrained")
    panels = figure.subplots(2, len(models), squeeze=False)
    for row, (label, processor) in zip(panels, rows.items(), strict=True):
        row[0].set_ylabel(label)
        for axes, model in zip(row, models.values(), strict=True):
            shade_classes(axes, model, axis, axis, processor)
    for axes, title in zip(panels[0], models, strict=True):
        axes.set_title(title)
    return figure


if __name__ == "__main__":
    main()
