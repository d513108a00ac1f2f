#!/usr/bin/env python3
"""At which array size does the sign of a gradient entry flip?

    experiments/sign_flips.py [--weights FILE] [--sizes 8 16 32 64 128] [--tiles 8 16 32 64] [--wires 0.5 1 2 5]
                       [--samples 4] [--seeds 3] [--out docs/figures]

Two cases: random dense neural ODEs dz/dt = B relu(A z) of growing size, A and B in one array pair each; and the
digits-conv model in tiles of growing size. For each size and wire resistance, of all entries of dL/dA and dL/dB, as a
median over the seeds: the share whose sign is the opposite, the size of the largest and the median of those, relative
to the largest entry; hardware against digital and hardware against true. Then the first size at which an entry of more
than 1 % and of more than 10 % of the largest flips in any seed. Writes sign_flips.png and sign_flips.svg.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

import xbar_spice as xs
from xbar_spice.cosim import SignFlips, SolverOptions, sign_flips
from xbar_spice.report.sign_flips import FlipCurves, draw_sign_flips
from xbar_spice.report.style import save, styled
from xbar_spice.streams import random_stream
from xbar_spice.study.problem import make_problem
from xbar_spice.train.training import train

ROOT = Path(__file__).resolve().parent.parent
DESIGN = xs.Design(r_driver=50.0, r_sense=20.0)
SOLVER = SolverOptions(xs.NewtonOptions(rtol=1e-7), xs.KrylovOptions(rtol=1e-7))
STEP, STEPS, STIFFNESS = 0.25, 4, 0.5  # of the dense models: h, their number, and h |A| |B|
REFERENCES = ("digital", "true")
MARKS = (0.01, 0.1)
Found = dict[tuple[float, int, str], list[SignFlips]]  # by ohm, size and reference, one for each seed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, help="of a digits model; trained when left out")
    parser.add_argument("--sizes", type=int, nargs="+", default=[8, 16, 32, 64, 128])
    parser.add_argument("--tiles", type=int, nargs="+", default=[8, 16, 32, 64])
    parser.add_argument("--wires", type=float, nargs="+", default=[0.5, 1.0, 2.0, 5.0])
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "figures")
    options = parser.parse_args()
    digits = xs.load_model(options.weights) if options.weights else train("digits-conv", seed=0).model
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
        print_case(name, found, curves[name])
    with styled():
        png, svg = save(draw_sign_flips(curves), options.out, "sign_flips")
    print(f"\n{png.name} and {svg.name} in {options.out}")


def random_model(size: int, seed: int) -> xs.Model:
    """Square A and B of standard normal weights, scaled to the stiffness."""
    A, B = random_stream(seed, "weights").standard_normal((2, size, size))
    norm = np.sqrt(STIFFNESS / STEP)
    return xs.Model(A * norm / np.linalg.norm(A, 2), B * norm / np.linalg.norm(B, 2), h=STEP, steps=STEPS)


def add(found: Found, ohm: float, size: int, model: xs.Model, design: xs.Design, samples: int, seed: int) -> None:
    """Compare the signs of one model; the seed draws its samples."""
    problem = make_problem(model, samples=samples, seed=seed)
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


def print_case(name: str, found: Found, curves: FlipCurves) -> None:
    print(f"\n{name}; hardware gradient against")
    print(f"{'':<14}" + "".join(f"{reference:<38}" for reference in REFERENCES))
    print(f"{'ohm':>5}{'size':>7}  " + f"{'flipped':>9}{'largest':>11}{'median':>11}{'':7}" * 2)
    wires = sorted({ohm for ohm, _, _ in found})
    for ohm in wires:
        for index, size in enumerate(curves.sizes):
            row = f"{ohm:>5g}{size:>7}  "
            for reference in REFERENCES:
                key = ohm, reference
                row += f"{curves.share[key][index]:>9.2%}{curves.largest[key][index]:>11.1e}"
                row += f"{curves.median[key][index]:>11.1e}{'':7}"
            print(row.rstrip())
    print("first size with a flipped entry of more than")
    print(f"{'ohm':>5}  " + "".join(f"{f'{mark:.0%}, {reference}':>16}" for reference in REFERENCES for mark in MARKS))
    for ohm in wires:
        row = f"{ohm:>5g}  "
        for reference in REFERENCES:
            for mark in MARKS:
                flipped = (
                    size for size in curves.sizes if any(flips.largest > mark for flips in found[ohm, size, reference])
                )
                row += f"{next(flipped, 'none'):>16}"
        print(row)


if __name__ == "__main__":
    main()
