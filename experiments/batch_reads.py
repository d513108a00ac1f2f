#!/usr/bin/env python3
"""Descent by minibatches beside descent by all samples on chips: reads for each digit of the loss.

A small neural ODE learns the two moons on chips with 5 % programming error, 1 ohm wires and read noise, by plain
descent with minibatches of several sizes, each with the rates of learning that are given. An epoch takes the same reads
whatever the batch is: every sample drives every array forwards and back in every step. Prints for each batch and rate,
medians over the chips with the least and the largest, how many thousands of vectors the arrays were read with, forwards
and back, until the loss of the samples held back has fallen to half and to a tenth of ln 2, *inf* where it never did,
the last loss and how often arrays were written. Draws batch_reads.png: the loss by reads, of the rate that is best at
the end.
"""

from __future__ import annotations

from common import Arguments, elapsed, publish

import numpy as np
from matplotlib.figure import Figure

import xbar_spice as xs
from xbar_spice.linear.operator import FloatArray
from xbar_spice.report.spread import spread
from xbar_spice.report.style import new_figure
from xbar_spice.train.named import NamedTask
from xbar_spice.train.training import train

STEPS, MATRICES = 4, 2
LEVELS = (0.5, 0.1)  # of ln 2, with which the classifier begins


def losses(batch: int, rate: float, points: int, epochs: int, noise: float, seed: int) -> FloatArray:
    """On the samples held back after each epoch on a chip of its own, (epochs,)."""
    schedule = xs.Schedule(epochs, batch=batch, jitter=0.0, learning_rate=rate, optimiser="descent")
    data = f"two_moons(samples={points}, noise=0.1)"
    task = NamedTask(data, 4, 8, steps=STEPS, method="forward_euler", schedule=schedule)
    design = xs.Design(r_word=1.0, r_bit=1.0, variation=xs.Variation(0.05), noise=xs.ReadNoise(device=noise))
    found = train(task, seed=seed, processor=xs.Chip(design, seed=seed))
    return np.array([epoch.test.loss for epoch in found.history])


def reads_to(of: FloatArray, level: float, per_epoch: float) -> float:
    """Until the loss is at the level; infinite if it never is."""
    below = np.flatnonzero(of < level)
    return float((below[0] + 1) * per_epoch) if below.size else np.inf


def main() -> None:
    parser = Arguments(__doc__, chips=8, seed=0)
    parser.add_argument("--batches", type=int, nargs="+", default=[8, 40, 150], help="Samples of a minibatch.")
    parser.add_argument("--rates", type=float, nargs="+", default=[0.5, 2.0], help="Of learning.")
    parser.add_argument("--points", type=int, default=200, help="Of the set, a quarter of them held back.")
    parser.add_argument("--epochs", type=int, default=20, help="Of training.")
    parser.add_argument("--noise", type=float, default=0.02, help="Of a device from read to read, part of g_max.")
    options = parser.parse(chips=1, batches=[30], rates=[0.5], points=40, epochs=2)
    samples = options.points * 3 // 4
    per_epoch = samples * 2 * STEPS * MATRICES / 1000
    best: dict[int, FloatArray] = {}
    titles = [*(f"to {level:g} ln 2" for level in LEVELS), "last loss"]
    print(f"{'batch':>5}{'rate':>6}{''.join(f'{title:>24}' for title in titles)}{'writes':>8}")
    for batch in options.batches:
        for rate in options.rates:
            seeds = range(options.seed, options.seed + options.chips)
            of = np.array([losses(batch, rate, options.points, options.epochs, options.noise, s) for s in seeds])
            columns = [spread([reads_to(one, x * np.log(2.0), per_epoch) for one in of], ".3g") for x in LEVELS]
            columns.append(spread(of[:, -1], ".2g"))
            writes = options.epochs * -(-samples // batch) * MATRICES
            print(
                f"{batch:>5}{rate:>6g}{''.join(f'{c:>24}' for c in columns)}{writes:>8}  {elapsed():.0f} s", flush=True
            )
            if batch not in best or np.median(of[:, -1]) < np.median(best[batch][:, -1]):
                best[batch] = of
    publish(lambda: draw(best, per_epoch), options.out, "batch_reads")


def draw(best: dict[int, FloatArray], per_epoch: float) -> Figure:
    figure, (axes,) = new_figure(1, 1, width=4.6, height=3.2)
    for batch, of in best.items():
        reads = per_epoch * np.arange(1, of.shape[1] + 1)
        (line,) = axes.plot(reads, np.median(of, axis=0), label=f"batch of {batch}")
        axes.fill_between(reads, of.min(axis=0), of.max(axis=0), color=line.get_color(), alpha=0.15)
    axes.set(xlabel="vectors read, thousands", ylabel="loss on samples held back", yscale="log")
    axes.legend()
    return figure


if __name__ == "__main__":
    main()
