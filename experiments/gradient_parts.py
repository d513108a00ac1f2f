#!/usr/bin/env python3
"""At which time step and on which image the gradients of the digits-conv model go wrong.

    experiments/gradient_parts.py [--weights FILE] [--samples 8] [--seed 0] [--tile 32] [--out docs/figures]

Prints bias, shift and total of the gradients of both kernels by time step and by image, and writes gradient_parts.png
and gradient_parts.svg.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

import xbar_spice as xs
from xbar_spice.cosim import GradientStudy
from xbar_spice.report.gradients import draw_parts
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
    parser.add_argument("--tile", type=int, default=32)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "figures")
    options = parser.parse_args()
    model = xs.load_model(options.weights) if options.weights else train("digits-conv", seed=options.seed).model
    problem = make_problem(model, samples=options.samples, seed=options.seed)
    design = replace(DESIGN, tile=options.tile)
    study = xs.three_gradients(problem, design, seed=options.seed, by=("step", "sample"), step=None)
    print(f"A is {model.A.shape[0]} x {model.A.shape[1]}, tiles of {options.tile}, {options.samples} samples")
    for axis in NAMES:
        for kernel in ("a", "b"):
            print_parts(study, axis, kernel)
    with styled():
        png, svg = save(draw_parts(study.record, ("a", "b")), options.out, "gradient_parts")
    print(f"\n{png.name} and {svg.name} in {options.out}")


def print_parts(study: GradientStudy, axis: By, kernel: str) -> None:
    """One line for each part: its size beside the whole gradient, and what is wrong with it."""
    found = study.record["by"][axis]
    whole = np.linalg.norm(study.gradients["true"][kernel])
    print(f"\nkernel {kernel}, by {NAMES[axis]}{'':<8}bias{'':<27}shift{'':<26}total")
    print(f"{NAMES[axis]:<12}{'norm':>8}" + f"{'relative':>12}{'cosine':>10}{'signs':>9}" * 3)
    for part, values in enumerate(study.parts[axis]["true"][kernel]):
        pairs = [found[difference][kernel][part] for difference in DIFFERENCES]
        print(row(part, float(np.linalg.norm(values) / whole), pairs))
    print(row("whole", 1.0, [study.record["differences"][difference][kernel] for difference in DIFFERENCES]))


def row(title: object, norm: float, pairs: list[dict[str, float]]) -> str:
    columns = "".join(
        f"{pair['relative_error']:>12.2e}{pair['cosine']:>10.5f}{pair['sign_agreement']:>9.0%}" for pair in pairs
    )
    return f"{title!s:<12}{norm:>8.3f}{columns}"


if __name__ == "__main__":
    main()
