#!/usr/bin/env python3
"""At which time step and on which image the gradients of the digits-conv model go wrong.

    experiments/gradient_parts.py [--weights FILE] [--samples 8] [--seed 0] [--chips 8] [--tile 32] [--out docs/figures]

Prints bias, shift and total of the gradients of both kernels by time step and by image, as medians over the chips with
the least and the largest, and writes gradient_parts.png and gradient_parts.svg.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

import xbar_spice as xs
from xbar_spice.cosim import GradientStudy
from xbar_spice.report.gradients import draw_parts
from xbar_spice.report.spread import spread
from xbar_spice.report.style import save, styled
from xbar_spice.solve.fields.contributions import By
from xbar_spice.study.problem import make_problem
from xbar_spice.train.training import train

ROOT = Path(__file__).resolve().parent.parent
# Wires as at the 32 nm node.
DESIGN = xs.Design(
    r_word=1.0, r_bit=1.0, r_driver=50.0, r_sense=20.0, variation=xs.Variation(programming=0.03, stuck_off=0.005)
)
DIFFERENCES = ("bias", "shift", "total")
NAMES: dict[By, str] = {"step": "time step", "sample": "image"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, help="of a digits model; trained when left out")
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--chips", type=int, default=8, help="whose devices are drawn, each from a seed of its own")
    parser.add_argument("--tile", type=int, default=32)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "figures")
    options = parser.parse_args()
    model = xs.load_model(options.weights) if options.weights else train("digits-conv", seed=options.seed).model
    problem = make_problem(model, samples=options.samples, seed=options.seed)
    design = replace(DESIGN, tile=options.tile)
    studies = [
        xs.three_gradients(problem, design, seed=seed, by=("step", "sample"), step=None)
        for seed in range(options.seed, options.seed + options.chips)
    ]
    size = f"A is {model.A.shape[0]} x {model.A.shape[1]}, tiles of {options.tile}"
    print(f"{size}, {options.samples} samples, {options.chips} chips: median (least to largest)")
    for axis in NAMES:
        for kernel in ("a", "b"):
            print_parts(studies, axis, kernel)
    with styled():
        png, svg = save(draw_parts([study.record for study in studies], ("a", "b")), options.out, "gradient_parts")
    print(f"\n{png.name} and {svg.name} in {options.out}")


def print_parts(studies: list[GradientStudy], axis: By, kernel: str) -> None:
    """One line for each part: its size beside the whole gradient, and the relative errors."""
    print(f"\nkernel {kernel}, by {NAMES[axis]}")
    print(f"{NAMES[axis]:<12}{'norm':>8}" + "".join(f"{difference:>28}" for difference in DIFFERENCES))
    for part in range(len(studies[0].parts[axis]["true"][kernel])):
        norms = [
            np.linalg.norm(study.parts[axis]["true"][kernel][part]) / np.linalg.norm(study.gradients["true"][kernel])
            for study in studies
        ]
        pairs = {name: [study.record["by"][axis][name][kernel][part] for study in studies] for name in DIFFERENCES}
        print(row(part, float(np.median(norms)), pairs))
    whole = {name: [study.record["differences"][name][kernel] for study in studies] for name in DIFFERENCES}
    print(row("whole", 1.0, whole))


def row(part: object, norm: float, pairs: dict[str, list[dict[str, float]]]) -> str:
    errors = (spread([pair["relative_error"] for pair in of], ".1%") for of in pairs.values())
    return f"{part!s:<12}{norm:>8.3f}" + "".join(f"{error:>28}" for error in errors)


if __name__ == "__main__":
    main()
