#!/usr/bin/env python3
"""At which array size does the sign of a gradient entry flip?

Two cases: random dense neural ODEs dz/dt = B relu(A z) of growing size, A and B in one array pair each; and the
digits-conv model in tiles of growing size. A seed draws the random model and the samples. For each size and wire
resistance, of all entries of dL/dA and dL/dB, as a median over the seeds with the least and the largest: the share
whose sign is the opposite, and the size of the largest of those, relative to the largest entry; the median size of
those; and in how many seeds an entry of more than 1 % and of more than 10 % of the largest flips. Hardware against
digital, and hardware against true. Writes sign_flips.png and sign_flips.svg.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from common import Arguments, digits_model, publish

import numpy as np

import xbar_spice as xs
from xbar_spice.cosim import SignFlips, SolverOptions, sign_flips
from xbar_spice.report.sign_flips import FlipCurves, draw_sign_flips
from xbar_spice.report.spread import spread
from xbar_spice.streams import random_stream
from xbar_spice.study.problem import make_problem

DESIGN = xs.Design(r_driver=50.0, r_sense=20.0)
SOLVER = SolverOptions(xs.NewtonOptions(rtol=1e-7), xs.KrylovOptions(rtol=1e-7))
STEP, STEPS, STIFFNESS = 0.25, 4, 0.5  # of the dense models: h, their number, and h |A| |B|
REFERENCES = ("digital", "true")
MARKS = (0.01, 0.1)
Found = dict[tuple[float, int, str], list[SignFlips]]  # by ohm, size and reference, one for each seed


def main() -> None:
    parser = Arguments(__doc__, weights=None, samples=4, seeds=8, sizes=[8, 16, 32, 64, 128], tiles=[8, 16, 32, 64])
    parser.add_argument("--wires", type=float, nargs="+", default=[0.5, 1.0, 2.0, 5.0], help="Ohm per segment.")
    options = parser.parse(samples=1, seeds=1, sizes=[4, 8], tiles=[32, 64], wires=[1.0])
    digits = digits_model(options)
    cases: dict[str, Found] = {"random dense models, one array pair": {}, "digits-conv, 64 x 64 in tiles": {}}
    dense, tiled = cases.values()
    for ohm in options.wires:
        design = replace(DESIGN, r_word=ohm, r_bit=ohm)
        for seed in range(options.seeds):
            for size in options.sizes:
                add(dense, ohm, size, random_model(size, seed), design, options.samples, seed)
            for tile in options.tiles:
                add(tiled, ohm, tile, digits, replace(design, tile=tile), options.samples, seed)
    curves = {name: summarised(found, options.wires) for name, found in cases.items()}
    for name, found in cases.items():
        print_case(name, found, options.seeds)
    publish(lambda: draw_sign_flips(curves), options.out, "sign_flips")


def random_model(size: int, seed: int) -> xs.Model:
    """Square A and B of standard normal weights, scaled to the stiffness."""
    A, B = random_stream(seed, "weights").standard_normal((2, size, size))
    norm = np.sqrt(STIFFNESS / STEP)
    return xs.Model(A * norm / np.linalg.norm(A, 2), B * norm / np.linalg.norm(B, 2), h=STEP, steps=STEPS)


def add(found: Found, ohm: float, size: int, model: xs.Model, design: xs.Design, samples: int, seed: int) -> None:
    """Compare the signs of one model; the seed draws its samples."""
    problem = make_problem(model, samples=samples, seed=seed, task="auto" if model.trained_on else "random")
    gradients = xs.three_gradients(problem, design, seed=seed, solver=SOLVER, step=None).gradients
    for reference in REFERENCES:
        # Each matrix against its own largest entry.
        flips = [sign_flips(gradients["hardware"][name], gradients[reference][name]) for name in ("A", "B")]
        joined = SignFlips(*(np.concatenate([getattr(each, part) for each in flips]) for part in ("sizes", "flipped")))
        found.setdefault((ohm, size, reference), []).append(joined)


def summarised(found: Found, wires: list[float]) -> FlipCurves:
    """Medians over the seeds."""
    sizes = sorted({size for _, size, _ in found})

    def medians(what: str) -> Mapping[tuple[float, str], list[float]]:
        return {
            (ohm, reference): [
                float(np.median([getattr(flips, what) for flips in found[ohm, size, reference]])) for size in sizes
            ]
            for ohm in wires
            for reference in REFERENCES
        }

    return FlipCurves(sizes, medians("share"), medians("largest"), medians("median"))


def print_case(name: str, found: Found, seeds: int) -> None:
    """One table for each reference."""
    for reference in REFERENCES:
        print(f"\n{name}; hardware against {reference} gradient, {seeds} seeds: median (least to largest)")
        above = "".join(f"{f'above {mark:.0%}':>12}" for mark in MARKS)
        print(f"{'ohm':>5}{'size':>6}{'flipped':>28}{'largest':>28}{'median':>10}{above}")
        for ohm, size, _ in sorted(key for key in found if key[2] == reference):
            flips = found[ohm, size, reference]
            above = "".join(f"{f'{sum(each.largest > mark for each in flips)} of {seeds}':>12}" for mark in MARKS)
            share, largest = (spread([getattr(each, what) for each in flips], ".2%") for what in ("share", "largest"))
            median = float(np.median([each.median for each in flips]))
            print(f"{ohm:>5g}{size:>6}{share:>28}{largest:>28}{median:>10.2%}{above}")


if __name__ == "__main__":
    main()
