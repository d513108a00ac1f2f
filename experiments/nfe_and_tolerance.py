#!/usr/bin/env python3
"""Evaluations of f (NFE) along training by tolerance, and below which tolerance they are wasted on a noisy chip.

A neural ODE of 8 states learns two moons by dopri5, which chooses its steps between t = 0 and 4 as the weights change.
Prints by tolerance and epoch the evaluations of f and, backwards, those of J^T w: by the exact adjoint of the steps,
and by one solve of the augmented equation; medians with the least and the largest of the seeds. Then the trained
network of the first seed runs on chips with 1 ohm wires, 5 % programming error and read noise: by tolerance the
evaluations, each a read of every matrix, and the error of the last state against the same chip without noise; with
steps as tolerances ask for them, and with the noise floor that training and co-simulation set. Draws
nfe_and_tolerance.png.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace

from common import NODE_32, Arguments, elapsed, publish

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

import xbar_spice as xs
from xbar_spice.errors import DesignWarning
from xbar_spice.linear.operator import FloatArray
from xbar_spice.parts import DATA
from xbar_spice.report.spread import spread
from xbar_spice.report.style import colours, new_figure
from xbar_spice.train.descent import Epoch
from xbar_spice.train.named import NamedTask
from xbar_spice.train.tasks import Adjoint
from xbar_spice.train.training import TrainingResult, train

END = 4.0
REFERENCE = xs.AdaptiveOptions(rtol=1e-10, atol=1e-12)


def learnt(rtol: float, adjoint: Adjoint, seed: int, points: int, epochs: int) -> TrainingResult:
    schedule = xs.Schedule(epochs, batch=64, jitter=0.0, learning_rate=0.02, adjoint=adjoint)
    method = f"dopri5(rtol={rtol:g}, atol={1e-3 * rtol:g})"
    task = NamedTask(f"two_moons(samples={points})", h=END, steps=1, method=method, schedule=schedule)
    return train(task, seed=seed)


@dataclass(frozen=True)
class Spent:
    """What a tolerance takes on a chip: evaluations of f and attempts in vain, of a sample, and what it leaves."""

    evaluations: float
    rejected: float
    error: float


def on_chip(
    model: xs.Model, x: FloatArray, noise: float, seed: int, rtols: list[float]
) -> dict[tuple[float, bool], Spent]:
    """By tolerance, and by whether steps allow for the noise."""
    still = replace(NODE_32, variation=xs.Variation(0.05))
    z0, found = model.initial(x), {}
    with xs.Chip(still, seed=seed).programmed(xs.Chip(still, seed=seed).prepared(model)) as one:
        exact = xs.integrate(one.field, z0, "dopri5", h=END, steps=1, adaptive=REFERENCE).z[-1]
    chip = xs.Chip(replace(still, noise=xs.ReadNoise(device=noise)), seed=seed)
    for rtol in rtols:
        with chip.programmed(chip.prepared(model), f"{rtol:g}") as one:
            asked = xs.AdaptiveOptions(rtol=rtol, atol=1e-3 * rtol, max_attempts=20000, max_rejections=20000)
            for allowing in (False, True):
                options = asked.allowing(one.noise(z0)) if allowing else asked
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", DesignWarning)  # that steps are shortened for noise
                    run = xs.integrate(one.field, z0, "dopri5", h=END, steps=1, adaptive=options)
                off = np.linalg.norm(run.z[-1] - exact) / np.linalg.norm(exact)
                counts = run.evaluations.sum(axis=0).mean(), run.rejected.sum(axis=0).mean()
                found[rtol, allowing] = Spent(float(counts[0]), float(counts[1]), float(off))
    return found


def main() -> None:
    parser = Arguments(__doc__, chips=8, seeds=8)
    parser.add_argument("--rtols", type=float, nargs="+", default=[1e-2, 1e-5], help="Tolerances of training.")
    parser.add_argument("--epochs", type=int, default=12, help="Of training.")
    parser.add_argument("--points", type=int, default=500, help="Of the set, a quarter of them held back.")
    parser.add_argument("--noises", type=float, nargs="+", default=[0.001, 0.01], help="Of a device, part of g_max.")
    parser.add_argument(
        "--chip-rtols", type=float, nargs="+", default=[1e-1, 1e-2, 1e-3, 1e-4, 1e-5], help="Tolerances on chips."
    )
    quick = {
        "chips": 1,
        "seeds": 1,
        "rtols": [1e-3],
        "epochs": 1,
        "points": 40,
        "noises": [0.01],
        "chip_rtols": [0.1, 0.01],
    }
    options = parser.parse(**quick)
    histories: dict[tuple[float, str], list[tuple[Epoch, ...]]] = {}
    shown = sorted({0, options.epochs // 4, options.epochs - 1})
    print(f"{options.seeds} seeds, evaluations of f of a sample held back, and backwards of one in a minibatch")
    columns = [f"{way} epoch {k + 1}" for way in ("forward", "back") for k in shown]
    print(f"{'rtol':>6} {'adjoint':>10}{''.join(f'{column:>24}' for column in columns)}{'loss held back':>32}")
    first: xs.Model | None = None
    for rtol in options.rtols:
        for adjoint in ("discrete", "augmented"):
            results = [learnt(rtol, adjoint, seed, options.points, options.epochs) for seed in range(options.seeds)]
            first = results[0].model
            of = histories[rtol, adjoint] = [result.history for result in results]
            spent = [
                [getattr(one[k], name) for one in of] for name in ("evaluations", "adjoint_evaluations") for k in shown
            ]
            loss = spread([result.test_loss for result in results], ".2g")
            said = "".join(f"{spread(values, '.3g'):>24}" for values in spent)
            print(f"{rtol:>6g} {adjoint:>10}{said}{loss:>32}  {elapsed():.0f} s", flush=True)
    assert first is not None
    x = DATA.get(f"two_moons(samples={options.points})").split()[1].x[:16].T
    chips: dict[float, list[dict[tuple[float, bool], Spent]]] = {}
    for noise in options.noises:
        chips[noise] = [on_chip(first, x, noise, seed, options.chip_rtols) for seed in range(options.chips)]
        print(f"\nread noise {noise:.1%}, {options.chips} chips; {elapsed():.0f} s")
        titles = ("as asked: NFE", "in vain", "error", "with the floor: NFE", "in vain", "error")
        print(f"{'rtol':>6}{''.join(f'{title:>28}' for title in titles)}")
        for rtol in options.chip_rtols:
            cells = [
                spread([getattr(one[rtol, allowing], name) for one in chips[noise]], form)
                for allowing in (False, True)
                for name, form in (("evaluations", ".4g"), ("rejected", ".3g"), ("error", ".2g"))
            ]
            print(f"{rtol:>6g}{''.join(f'{cell:>28}' for cell in cells)}", flush=True)
    publish(lambda: draw(histories, chips), options.out, "nfe_and_tolerance")


def draw(
    histories: dict[tuple[float, str], list[tuple[Epoch, ...]]],
    chips: dict[float, list[dict[tuple[float, bool], Spent]]],
) -> Figure:
    figure, axes = new_figure(1, 4, width=2.9, height=3.0, share=False)
    rtols = sorted({rtol for rtol, _ in histories}, reverse=True)
    for rtol, colour in zip(rtols, colours(rtols, ordered=True), strict=True):
        lines = {
            (axes[0], "-", "discrete"): "evaluations",
            (axes[1], "-", "discrete"): "adjoint_evaluations",
            (axes[1], "--", "augmented"): "adjoint_evaluations",
        }
        for (panel, line, adjoint), name in lines.items():
            values = np.array([[getattr(epoch, name) for epoch in one] for one in histories[rtol, adjoint]])
            epochs = 1 + np.arange(values.shape[1])
            panel.plot(
                epochs, np.median(values, axis=0), line, color=colour, label=f"{rtol:g}" if line == "-" else None
            )
            panel.fill_between(epochs, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.15, linewidth=0)
    axes[0].set(xlabel="epoch", ylabel="evaluations of a sample", title="forwards")
    axes[0].legend(title="tolerance", loc="upper right", bbox_to_anchor=(1.0, 0.44), ncols=2)
    axes[1].set(xlabel="epoch", title="backwards, dashed augmented")
    for panel in axes[:2]:
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    noises = list(chips)
    for noise, colour in zip(noises, colours(noises, ordered=False), strict=True):
        for allowing, line in ((False, "o-"), (True, "s--")):
            tolerances = sorted({rtol for rtol, _ in chips[noise][0]})
            for panel, name in ((axes[2], "evaluations"), (axes[3], "error")):
                values = np.array([[getattr(one[rtol, allowing], name) for rtol in tolerances] for one in chips[noise]])
                label = f"{noise:.1%}{', with the floor' if allowing else ''}"
                panel.plot(tolerances, np.median(values, axis=0), line, color=colour, label=label)
                panel.fill_between(tolerances, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.15)
                panel.set(xscale="log", yscale="log", xlabel="tolerance")
                panel.invert_xaxis()
    for panel, title in ((axes[2], "reads on chips, by read noise"), (axes[3], "error of the last state")):
        panel.set(title=title)
        panel.set_xlim(max(tolerances) * 1.5, min(tolerances) / 1.5)
    axes[2].legend(fontsize="x-small")
    return figure


if __name__ == "__main__":
    main()
