#!/usr/bin/env python3
"""Reads that Gauss-Newton steps and L-BFGS take to train layers on a chip, and whether its noise breaks them.

A network of eight Hamiltonian layers of width 4 (Verlet steps) is trained on ellipses by block coordinate descent,
whose conjugate gradients take products with J and J^T by reads, and by L-BFGS: on digital matrices, on chips with wires
and a programming error of 2 % of each device, and with read noise besides; every set of weights is the same chip.
Prints over the chips medians with the least and the largest: steps of the network, forwards and backwards, until the
loss with the penalty has fallen to a tenth of ln 2, how many rounds found a step, and the loss in the end. There is no
figure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from common import NODE_32, Arguments, elapsed

import numpy as np

import xbar_spice as xs
from xbar_spice.linear.operator import FloatArray
from xbar_spice.parts import DATA
from xbar_spice.report.spread import spread
from xbar_spice.train.cascade import fit
from xbar_spice.train.gauss_newton import block_coordinate_descent
from xbar_spice.train.processor import Processor
from xbar_spice.train.regulariser import Regulariser
from xbar_spice.train.samples import Samples, split_of

PENALTY = Regulariser(smoothness=1e-4, decay=1e-5)


def network(seed: int) -> xs.Model:
    rng = np.random.default_rng(seed)
    field = xs.Layers([xs.hamiltonian_field(rng.normal(size=(4, 4)) / 2, np.zeros(4)) for _ in range(8)])
    return xs.Model(
        field=field,
        h=0.5,
        steps=8,
        method="verlet",
        encoder=xs.Encoder(np.eye(8, 2)),
        frozen=("encoder.weight", "encoder.bias"),
        classifier=xs.Classifier(np.zeros((2, 8)), np.zeros(2)),
        weight_range=(4.0,) * 8,
    )


def by_blocks(data: Samples, seed: int, rounds: int, chip: Processor | None) -> tuple[float, float, float]:
    """Steps until the loss is a tenth, part of the rounds that found a step, and the last loss."""
    found = block_coordinate_descent(network(seed), data, PENALTY, rounds=rounds, processor=chip)
    spent = np.cumsum([one.forward + one.transposed for one in found])
    return (
        reached(spent, [one.objective for one in found]),
        float(np.mean([one.length > 0.0 for one in found])),
        found[-1].loss,
    )


def by_lbfgs(data: Samples, seed: int, iterations: int, chip: Processor | None) -> tuple[float, float, float]:
    found = fit(network(seed), data, PENALTY, iterations=iterations, processor=chip)
    losses = found.history or (found.refitted,)
    spent = np.linspace(found.steps / len(losses), found.steps, len(losses))
    return reached(spent, losses), float(bool(found.history)), losses[-1]


def reached(spent: FloatArray, losses: Sequence[float]) -> float:
    """Steps until the loss is a tenth of ln 2, with which the classifier starts; infinite if it never is."""
    below = np.flatnonzero(np.array(losses) < 0.1 * np.log(2.0))
    return float(spent[below[0]]) if below.size else np.inf


def main() -> None:
    parser = Arguments(__doc__, figure=False, chips=8, samples=200)
    parser.add_argument("--rounds", type=int, default=12, help="Of block coordinate descent.")
    parser.add_argument("--iterations", type=int, default=60, help="Of L-BFGS.")
    options = parser.parse(chips=1, samples=20, rounds=1, iterations=2)
    whole = split_of(*DATA.get("ellipses").split()).train
    data = whole.take(np.random.default_rng(0).permutation(len(whole))[: options.samples])
    wires = replace(NODE_32, variation=xs.Variation(0.02))
    chips: dict[str, xs.Design | None] = {
        "digital": None,
        "wires, 2 %": wires,
        "and read noise 1 %": replace(wires, noise=xs.ReadNoise(device=0.01)),
    }
    print(f"{'':22}{'':10}{'steps to a tenth':>30}{'rounds with a step':>24}{'last loss':>34}")
    for name, design in chips.items():
        for way, run, count in (("blocks", by_blocks, options.rounds), ("L-BFGS", by_lbfgs, options.iterations)):
            found = np.array(
                [
                    run(data, seed, count, None if design is None else xs.Chip(design, seed=seed))
                    for seed in range(options.chips)
                ]
            )
            steps, moved, loss = spread(found[:, 0], ".3g"), spread(found[:, 1], ".0%"), spread(found[:, 2], ".2g")
            print(f"{name:22}{way:10}{steps:>30}{moved:>24}{loss:>34}  {elapsed():.0f} s", flush=True)


if __name__ == "__main__":
    main()
