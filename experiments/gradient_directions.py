#!/usr/bin/env python3
"""What same, swapped and far ends of the transposed reads do to the gradient, against the array size.

    experiments/gradient_directions.py [--weights FILE] [--samples 4] [--seed 0] [--tiles 8 16 32 64]
                                       [--out docs/figures]

For the digits-conv model in tiles of each size: how far the hardware gradient is from that of the effective model and
from the true one, and how much of the best decrease of the loss a step against each gradient is worth. Writes
gradient_directions.png and gradient_directions.svg.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import xbar_spice as xs
from xbar_spice.report.gradients import draw_directions
from xbar_spice.report.style import save, styled
from xbar_spice.study.problem import make_problem
from xbar_spice.train.training import train

ROOT = Path(__file__).resolve().parent.parent
DESIGN = xs.Design(r_word=1.0, r_bit=1.0, r_driver=50.0, r_sense=20.0)  # wires as at the 32 nm node
ENDS = ("same_ends", "swapped_ends", "far_ends")
STEP = 1e-4  # of a descent step, relative to the kernels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, help="of a digits model; trained when left out")
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tiles", type=int, nargs="+", default=[8, 16, 32, 64])
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "figures")
    options = parser.parse_args()
    model = xs.load_model(options.weights) if options.weights else train("digits-conv", seed=options.seed).model
    problem = make_problem(model, samples=options.samples, seed=options.seed)
    print(f"A is {model.A.shape[0]} x {model.A.shape[1]}, {options.samples} samples")
    records: dict[str, list[dict[str, Any]]] = {ends: [] for ends in ENDS}
    for tile in options.tiles:
        for ends in ENDS:
            design = replace(DESIGN, tile=tile, terminations=xs.Terminations(transposed=ends))
            record = xs.three_gradients(problem, design, seed=options.seed, step=STEP).record
            records[ends].append(record)
            print_gradients(f"tiles of {tile}, {ends.replace('_', ' ')}", record)
    with styled():
        figure = draw_directions(options.tiles, records, ("a", "b"))
        png, svg = save(figure, options.out, "gradient_directions")
    print(f"\n{png.name} and {svg.name} in {options.out}")


def print_gradients(title: str, record: dict[str, Any]) -> None:
    """Differences of the gradients of both kernels, and what a step against each is worth."""
    print(f"\n{title}: loss {record['loss']['analog']:.6g} analog, {record['loss']['digital']:.6g} digital")
    print(f"{'':<12}{'of':<4}{'relative':>12}{'cosine':>12}{'same sign':>12}")
    for name in ("transpose", "bias", "shift", "total", "hybrid"):
        for parameter in ("a", "b"):
            found = record["differences"][name][parameter]
            print(
                f"{name:<12}{parameter:<4}{found['relative_error']:>12.2e}{found['cosine']:>12.6f}"
                f"{found['sign_agreement']:>12.1%}"
            )
    mismatch = "  ".join(f"{name} {value:.1e}" for name, value in record["adjoint_mismatch"].items())
    print(f"adjoint mismatch  {mismatch}")
    best = record["descent"]["true"]["expected"]
    for name, found in record["descent"].items():
        print(
            f"one step against {name:<9} loss falls by {found['measured']:.4e}, to first order {found['expected']:.4e} "
            f"({found['expected'] / best:.3%} of the best)"
        )


if __name__ == "__main__":
    main()
