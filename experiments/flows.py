#!/usr/bin/env python3
"""Likelihood error against IR drop: is a flow still invertible on the array?

A flow of the two moons is trained on digital matrices and written to chips with --programming error, by the
resistance of a wire segment. For every chip: the mean negative log-likelihood of samples held back above the digital
one, the least determinant of a step, how far the way there and back leads from a sample, the mass of the density over
the plane, and the likelihood after --epochs more epochs on the chip, by reads of both sides of its arrays. Prints
medians with the least and the largest of the chips, and draws flows.png: samples and densities, digital, on a chip, and
after training there.
"""

from __future__ import annotations

import warnings
from argparse import Namespace
from dataclasses import dataclass, replace

from common import Arguments, publish

import numpy as np
from matplotlib.figure import Figure

import xbar_spice as xs
from xbar_spice.errors import ConvergenceWarning
from xbar_spice.linear.operator import FloatArray, as_operator
from xbar_spice.report.spread import spread
from xbar_spice.report.style import new_figure
from xbar_spice.solve.fields.field import Field
from xbar_spice.train.flow import FlowTask, train_flow

SIDE = np.linspace(-4.0, 4.0, 161)
MIDDLE = 0.5 * (SIDE[1:] + SIDE[:-1])
PLANE = np.stack(np.meshgrid(MIDDLE, MIDDLE), axis=-1).reshape(-1, 2)


@dataclass(frozen=True)
class Found:
    """What a chip makes of a flow: losses in nats, and how far it is from one that can be run back."""

    loss: float
    determinant: float
    way: float
    mass: float


def chip(ohm: float, seed: int, options: Namespace) -> xs.Chip:
    variation = xs.Variation(programming=options.programming)
    design = xs.Design(r_word=ohm, r_bit=ohm, headroom=1.5, variation=variation)
    return xs.Chip(design, engine="nodal" if ohm else "ideal", seed=seed)


def effective(model: xs.Model, one: xs.Chip) -> Field | xs.Layers:
    """What the circuits make of the flow's matrices; ohmic cells and reads without noise are no more than that."""
    with one.programmed(one.prepared(model)) as programmed:
        field = programmed.field
        return field.replaced({name: as_operator(matrix.to_dense()) for name, matrix in field.operators.items()})


def examined(model: xs.Model, field: Field | xs.Layers, x: FloatArray) -> Found:
    gradients = xs.density_gradients(field, x, h=model.h, steps=model.steps)
    ends = xs.integrate(field, x.T, "forward_euler", h=model.h, steps=model.steps).z[-1].T
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a step that has no inverse is what is looked for
        back = xs.inverse_flow(field, ends, h=model.h, steps=model.steps)
    assert gradients.least_determinant is not None
    mass = np.exp(xs.log_density(field, PLANE, h=model.h, steps=model.steps)).sum() * (SIDE[1] - SIDE[0]) ** 2
    way = float(np.abs(back - x).max())
    return Found(-float(gradients.log_density.mean()), float(gradients.least_determinant.min()), way, float(mass))


def main() -> None:
    parser = Arguments(__doc__, chips=8, seed=0)
    parser.add_argument("--ohms", type=float, nargs="+", default=(0, 1, 2, 5, 10, 20), help="Ohm of a wire segment.")
    parser.add_argument("--programming", type=float, default=0.05, help="Programming error of devices, relative.")
    parser.add_argument("--points", type=int, default=2000, help="Samples of the set, a quarter of them held back.")
    parser.add_argument("--epochs", type=int, default=3, help="Of training on the chip.")
    parser.add_argument("--retrained", type=float, nargs="*", default=(2, 10), help="Ohm at which chips train.")
    parser.add_argument("--first-epochs", type=int, default=30, help="Of digital training.")
    quick = {"chips": 1, "ohms": [0, 10], "points": 200, "epochs": 1, "retrained": [10], "first_epochs": 2}
    options = parser.parse(**quick)
    task = FlowTask(f"two_moons(samples={options.points}, scaled=True)")
    task = replace(task, schedule=replace(task.schedule, epochs=options.first_epochs))
    trained = train_flow(task, seed=options.seed)
    model, x = trained.model, task.data().test.x.T
    print(
        f"digital: {trained.test_loss:.3f} nats on {len(x)} samples held back, a normal has {trained.normal_loss:.3f}"
    )
    digital = examined(model, model.field, x)
    print(f"least determinant {digital.determinant:.3f}, way back {digital.way:.1e}, mass {digital.mass:.4f}\n")
    print(f"{'ohm':>5}  {'nats above digital':>26}  {'least determinant':>26}  {'way back':>28}  {'mass':>24}")
    results: dict[float, list[Found]] = {}
    for ohm in options.ohms:
        seeds = range(options.seed, options.seed + options.chips)
        found = [examined(model, effective(model, chip(ohm, seed, options)), x) for seed in seeds]
        results[ohm] = found
        way, mass = ([getattr(one, name) for one in found] for name in ("way", "mass"))
        print(f"{said(ohm, found, digital)}  {spread(way, '.1e'):>28}  {spread(mass, '.3f'):>24}")
    short = replace(task, schedule=replace(task.schedule, epochs=options.epochs, learning_rate=0.003))
    learnt: dict[float, list[xs.Model]] = {}
    print(f"\nthe same after {options.epochs} epochs on the chip")
    for ohm in options.retrained:
        found = []
        for seed in range(options.seed, options.seed + options.chips):
            one = chip(ohm, seed, options)
            tuned = train_flow(short, seed=seed, start=model, processor=one).model
            learnt.setdefault(ohm, []).append(tuned)
            found.append(examined(tuned, effective(tuned, one), x))
        print(said(ohm, found, digital))
    if learnt:
        publish(lambda: draw(model, results, learnt, digital, options), options.out, "flows")


def said(ohm: float, found: list[Found], digital: Found) -> str:
    above, least = [one.loss - digital.loss for one in found], [one.determinant for one in found]
    return f"{ohm:>5g}  {spread(above, '.3f'):>26}  {spread(least, '.3f'):>26}"


def draw(
    model: xs.Model,
    results: dict[float, list[Found]],
    learnt: dict[float, list[xs.Model]],
    digital: Found,
    options: Namespace,
) -> Figure:
    ohm = options.retrained[-1]
    one = chip(ohm, options.seed, options)
    fields = {
        "digital": model.field,
        f"{ohm:g} ohm, as deployed": effective(model, one),
        f"{ohm:g} ohm, trained there": effective(learnt[ohm][0], one),
    }
    figure, axes = new_figure(1, 4, width=2.9, height=2.8, share=False)
    base = np.random.default_rng(0).standard_normal((400, 2))
    for panel, (title, field) in zip(axes, fields.items(), strict=False):
        density = np.exp(xs.log_density(field, PLANE, h=model.h, steps=model.steps)).reshape(len(MIDDLE), -1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            samples = xs.inverse_flow(field, base, h=model.h, steps=model.steps)
        panel.pcolormesh(SIDE, SIDE, density, cmap="Blues", vmax=0.35, rasterized=True)
        panel.plot(*samples.T, ".", color="black", markersize=1.5, alpha=0.5)
        panel.set(title=title, xlim=(-4, 4), ylim=(-3, 3), aspect="equal")
    ohms = list(results)
    above = np.array([[found.loss - digital.loss for found in results[ohm]] for ohm in ohms])
    axes[3].plot(ohms, np.median(above, axis=1), "o-")
    axes[3].fill_between(ohms, above.min(axis=1), above.max(axis=1), alpha=0.15)
    axes[3].set(title="likelihood lost", xlabel="ohm of a wire segment", ylabel="nats above digital")
    return figure


if __name__ == "__main__":
    main()
