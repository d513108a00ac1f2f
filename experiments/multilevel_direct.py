#!/usr/bin/env python3
"""Multilevel beside direct training on the finest grid, digitally and on chips: steps, time, accuracy, arrays written.

The networks of `multilevel_training.py`. Direct training starts with as many layers as multilevel training ends with,
all of them the same at first, and gets as many iterations as make the same number of steps. Training on a chip with the
wires of the 32 nm node and a programming error of 2 % of each device is of ellipses to 8 layers: every evaluation of
the loss writes the array of every layer anew, "linear" prolongation writes those between, "constant" none. Prints,
medians over the seeds of weights and chip with the least and the largest: accuracy on samples held back, loss of
training, steps of the network forwards and backwards, processor time digitally, and on chips arrays written, those that
prolongation wrote and the energy of all, at that of a write-verify of the trained arrays a device. Draws
multilevel_direct.png: loss by steps of the first seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from time import process_time

from common import NODE_32, Arguments, elapsed, publish

import numpy as np
from matplotlib.figure import Figure
from multilevel_training import NETWORKS, Network, samples_of

import xbar_spice as xs
from xbar_spice.report.spread import spread
from xbar_spice.report.style import colours, new_figure
from xbar_spice.train.cascade import Fitted, cascade, fit
from xbar_spice.train.descent import evaluate
from xbar_spice.train.samples import Split
from xbar_spice.weights import Prolongation

CHIP = replace(NODE_32, variation=xs.Variation(0.02))
CELL = replace(
    NODE_32, device=xs.load_device("yakopcic_fast"), g_min=5e-6, g_max=1.2e-4, variation=xs.WriteVerify(tolerance=0.02)
)
RANGE = 8.0  # of the weights that a chip holds, which training does not leave
WAYS = ("linear", "constant", "direct")


@dataclass(frozen=True)
class Run:
    """What a training came to.

    Attributes:
        way: How it went to the finest grid.
        levels: What it did on each grid.
        accuracy: On samples held back.
        seconds: Of the processor.
    """

    way: str
    levels: tuple[Fitted, ...]
    accuracy: float
    seconds: float

    @property
    def steps(self) -> int:
        return sum(level.steps for level in self.levels)

    @property
    def prolonged(self) -> int:
        """Arrays that prolongation wrote."""
        return sum(level.model.steps // 2 for level in self.levels[1:]) if self.way == "linear" else 0

    @property
    def written(self) -> int:
        """Arrays written in all: of every layer for every evaluation, and by prolongation."""
        return self.steps // 2 + self.prolonged


def run(way: str, network: Network, data: Split, seed: int, steps: int, chip: xs.Chip | None) -> Run:
    """A training; a direct one of as many steps as are given."""
    start, layers = network.model(data.classes, seed), network.layers
    if chip is not None:
        start = replace(start, weight_range=(RANGE,) * layers)
    before = process_time()
    if way == "direct":
        for _ in range(network.levels - 1):
            start = xs.prolong(start)
        iterations = max(1, round(steps / (2 * start.steps)))  # of an evaluation each, but for what line searches take
        levels: tuple[Fitted, ...] = (fit(start, data.train, network.penalty, iterations=iterations, processor=chip),)
    else:
        how: Prolongation = "linear" if way == "linear" else "constant"
        levels = cascade(
            start, data.train, network.levels, how, network.penalty, iterations=network.iterations, processor=chip
        )
    seconds = process_time() - before
    return Run(way, levels, evaluate(levels[-1].model, data.test, processor=chip).accuracy or 0.0, seconds)


def runs(
    asked: tuple[str, int], ways: Sequence[str], networks: dict[str, Network], quick: bool, chip: bool
) -> list[Run]:
    """The trainings of a task and seed in several ways, the first of which says how many steps a direct one takes."""
    task, seed = asked
    data, found = samples_of(task, quick), list[Run]()
    for way in ways:
        steps = found[0].steps if found else 0
        found.append(run(way, networks[task], data, seed, steps, xs.Chip(CHIP, seed=seed) if chip else None))
    return found


def energy_of_a_device(model: xs.Model) -> float:
    """Joule of a write-verify from the lowest conductance on, in the mean over the devices of a layer."""
    (K, *_) = model.matrices.values()
    with xs.program(K, CELL, rng=np.random.default_rng(0)) as arrays:
        cost = arrays.mapped.cost
        return cost.energy / (2 * K.size) if cost is not None else 0.0


def main() -> None:
    parser = Arguments(__doc__, seeds=8, jobs=1)
    parser.add_argument(
        "--tasks", nargs="+", choices=list(NETWORKS), default=["ellipses", "swiss_roll"], help="Digitally."
    )
    parser.add_argument("--iterations", type=int, default=40, help="Of L-BFGS on each level on a chip.")
    options = parser.parse(seeds=1, tasks=["ellipses"], iterations=2)
    networks = dict(NETWORKS)
    small = replace(NETWORKS["ellipses"], levels=3, iterations=options.iterations)
    if options.quick:
        small = replace(small, levels=2)
        networks = {"ellipses": small}
    seeds, drawn = range(options.seeds), dict[str, list[Run]]()
    with ProcessPoolExecutor(options.jobs) as pool:
        each = map if options.jobs == 1 else pool.map
        for task in options.tasks:
            work = partial(runs, ways=WAYS[::2], networks=networks, quick=options.quick, chip=False)
            found = list(each(work, [(task, seed) for seed in seeds]))
            drawn[task] = found[0]
            titles = ["accuracy", "loss", "steps", "seconds"]
            print(f"\n{f'{task}, digitally':41}{''.join(f'{title:27}' for title in titles)}")
            for k, way in enumerate(WAYS[::2]):
                show(way, [one[k] for one in found], seconds=True)
        work = partial(runs, ways=WAYS, networks={"ellipses": small}, quick=options.quick, chip=True)
        found = list(each(work, [("ellipses", seed) for seed in seeds]))
        drawn["ellipses on a chip"] = found[0]
        titles = ["accuracy", "loss", "steps", "arrays written", "by prolongation", "energy"]
        print(f"\n{'ellipses on chips':41}{''.join(f'{title:27}' for title in titles)}")
        joule = energy_of_a_device(found[0][0].levels[-1].model)
        for k, way in enumerate(WAYS):
            show(way, [one[k] for one in found], joule=joule)
        print(f"{joule * 1e12:.1f} pJ a device")
    publish(lambda: draw(drawn), options.out, "multilevel_direct")


def show(way: str, of: list[Run], *, seconds: bool = False, joule: float = 0.0) -> None:
    """A row of a table."""
    columns = [
        spread([one.accuracy for one in of], ".1%"),
        spread([one.levels[-1].loss for one in of], ".2g"),
        spread([one.steps for one in of], ".4g"),
    ]
    if seconds:
        columns.append(spread([one.seconds for one in of], ".2g"))
    else:
        devices = 2 * next(iter(of[0].levels[-1].model.matrices.values())).size
        columns.append(spread([one.written for one in of], ".4g"))
        columns.append(spread([one.prolonged for one in of], ".4g"))
        columns.append(spread([1e6 * joule * devices * one.written for one in of], ".3g") + " uJ")
    print(f"{way:41}{''.join(f'{column:27}' for column in columns)}{elapsed():.0f} s", flush=True)


def draw(drawn: dict[str, list[Run]]) -> Figure:
    figure, panels = new_figure(1, len(drawn), width=2.7, height=3.0, share=False)
    shades = dict(zip(WAYS, colours(WAYS, ordered=False), strict=True))
    for axes, (task, of) in zip(panels, drawn.items(), strict=True):
        for one in of:
            ends = np.cumsum([level.steps for level in one.levels])
            steps, losses = list[float](), list[float]()
            for level, end in zip(one.levels, ends, strict=True):
                begin = end - level.steps
                steps += np.linspace(begin, end, len(level.history) + 1).tolist()
                losses += [level.refitted, *level.history]
            axes.plot(steps, losses, label=one.way, color=shades[one.way])
        axes.set(title=task.replace("_", " "), xlabel="steps", yscale="log")
        axes.ticklabel_format(axis="x", style="sci", scilimits=(0, 3))
    panels[0].set_ylabel("loss of training, with the penalty")
    panels[-1].legend()
    return figure


if __name__ == "__main__":
    main()
