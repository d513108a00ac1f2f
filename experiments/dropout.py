#!/usr/bin/env python3
"""Does training with hidden units left out buy tolerance to the errors of devices, and which reads does it save?

A small neural ODE learns the two moons with a part of its hidden units left out of every minibatch, one draw for a run
or one for every evaluation. Prints its loss on samples held back, digitally and on a chip by programming error, and the
part of the word lines of B that a training drives; medians over the seeds, each of which is a training and a chip, with
the least and the largest. Draws dropout.png.
"""

from __future__ import annotations

from typing import Literal

from common import Arguments, publish

import numpy as np
from matplotlib.figure import Figure

import xbar_spice as xs
from xbar_spice.report.spread import spread
from xbar_spice.report.style import colours, new_figure
from xbar_spice.train.descent import evaluate
from xbar_spice.train.named import NamedTask
from xbar_spice.train.training import train

Draw = Literal["run", "evaluation"]
WAYS: tuple[tuple[float, Draw], ...] = ((0.0, "run"), (0.1, "run"), (0.3, "run"), (0.1, "evaluation"))


def label(part: float, draw: Draw) -> str:
    return f"{part:.0%} by {draw}" if part else "none"


def chip(error: float, seed: int) -> xs.Chip:
    return xs.Chip(xs.Design(r_word=1.0, r_bit=1.0, variation=xs.Variation(programming=error)), seed=seed)


def main() -> None:
    parser = Arguments(__doc__, seeds=8)
    parser.add_argument("--errors", type=float, nargs="+", default=(0.0, 0.1, 0.2, 0.3), help="Of programming.")
    parser.add_argument("--epochs", type=int, default=60, help="Of training.")
    parser.add_argument("--points", type=int, default=600, help="Of the set, a quarter of them held back.")
    options = parser.parse(seeds=1, errors=[0.2], epochs=1, points=80)
    schedule = xs.Schedule(options.epochs, batch=50, jitter=0.0, learning_rate=0.02)
    task = NamedTask(
        f"two_moons(samples={options.points}, noise=0.2)", 4, 16, steps=4, method="forward_euler", schedule=schedule
    )
    test = task.data().test
    found: dict[str, list[list[float]]] = {}
    print(f"{'left out':<16} {'driven':>6}  {'digital':>22}  " + "  ".join(f"{e:>22.0%}" for e in options.errors))
    for part, draw in WAYS:
        rows = []
        for seed in range(options.seeds):
            processor = xs.Dropout(part, draw, seed=seed) if part else None
            model = train(task, seed=seed, processor=processor).model
            places = [chip(error, seed) for error in options.errors]
            rows.append(
                [
                    evaluate(model, test).loss,
                    *(evaluate(one.prepared(model), test, processor=one).loss for one in places),
                ]
            )
        found[label(part, draw)] = rows
        said = "  ".join(f"{spread(column, '.3f'):>22}" for column in zip(*rows, strict=True))
        print(f"{label(part, draw):<16} {1 - part:>6.0%}  {said}")
    publish(lambda: draw_losses(found, options.errors), options.out, "dropout")


def draw_losses(found: dict[str, list[list[float]]], errors: list[float]) -> Figure:
    figure, (axes,) = new_figure(1, 1, width=4.6, height=3.3)
    for (name, rows), colour in zip(found.items(), colours(list(found), ordered=False), strict=True):
        values = np.array(rows)[:, 1:]
        axes.plot(np.array(errors) * 100, np.median(values, axis=0), "o-", color=colour, label=name)
        axes.fill_between(np.array(errors) * 100, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.12)
    axes.set(xlabel="programming error, %", ylabel="loss on samples held back", title="units left out in training")
    axes.legend()
    return figure


if __name__ == "__main__":
    main()
