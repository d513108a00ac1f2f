#!/usr/bin/env python3
"""What same, swapped and far ends of the transposed reads do to the gradient, against the array size.

    experiments/gradient_directions.py [--weights FILE] [--samples 4] [--seed 0] [--draws 8]
                                       [--tiles 8 16 32 64] [--out docs/figures]

For the digits-conv model in tiles of each size: how far the hardware gradient is from that of the effective model and
from the true one, and how much of the best decrease of the loss a step against each gradient is worth. No device
varies; what is drawn are the images. Numbers are medians over the draws with the least and the largest. Writes
gradient_directions.png and gradient_directions.svg.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import xbar_spice as xs
from xbar_spice.report.gradients import draw_directions
from xbar_spice.report.spread import spread
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
    parser.add_argument("--draws", type=int, default=8, help="of the samples")
    parser.add_argument("--tiles", type=int, nargs="+", default=[8, 16, 32, 64])
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "figures")
    options = parser.parse_args()
    model = xs.load_model(options.weights) if options.weights else train("digits-conv", seed=options.seed).model
    seeds = range(options.seed, options.seed + options.draws)
    problems = [make_problem(model, samples=options.samples, seed=seed) for seed in seeds]
    size = f"A is {model.A.shape[0]} x {model.A.shape[1]}"
    print(f"{size}, {options.samples} samples, {options.draws} draws of them: median (least to largest)")
    records: dict[str, list[list[dict[str, Any]]]] = {ends: [] for ends in ENDS}
    for tile in options.tiles:
        for ends in ENDS:
            design = replace(DESIGN, tile=tile, terminations=xs.Terminations(transposed=ends))
            draws = [xs.three_gradients(problem, design, step=STEP).record for problem in problems]
            records[ends].append(draws)
            print_gradients(f"tiles of {tile}, {ends.replace('_', ' ')}", draws)
    with styled():
        figure = draw_directions(options.tiles, records, ("a", "b"))
        png, svg = save(figure, options.out, "gradient_directions")
    print(f"\n{png.name} and {svg.name} in {options.out}")


def print_gradients(title: str, draws: list[dict[str, Any]]) -> None:
    """Differences of the gradients of both kernels, and what a step against each is worth."""
    losses = (f"{spread([record['loss'][kind] for record in draws], '.4f')} {kind}" for kind in ("analog", "digital"))
    print(f"\n{title}: loss {', '.join(losses)}")
    print(f"{'':<12}{'of':<4}{'relative':>34}{'cosine':>34}")
    for name in ("transpose", "bias", "shift", "total", "hybrid"):
        for parameter in ("a", "b"):
            found = [record["differences"][name][parameter] for record in draws]
            error, cosine = spread_of(found, "relative_error", ".2e"), spread_of(found, "cosine", ".6f")
            print(f"{name:<12}{parameter:<4}{error:>34}{cosine:>34}")
    mismatch = [record["adjoint_mismatch"] for record in draws]
    print("adjoint mismatch  " + "  ".join(f"{name} {spread_of(mismatch, name, '.1e')}" for name in ("A", "B")))
    for name in draws[0]["descent"]:
        steps = [record["descent"] for record in draws]
        best = [step[name]["expected"] / step["true"]["expected"] for step in steps]
        measured = [step[name]["measured"] / step[name]["expected"] for step in steps]
        print(
            f"one step against {name:<9} expected to be worth {spread(best, '.3%')} of the best; "
            f"measured {spread(measured, '.1%')} of what is expected",
            flush=True,
        )


def spread_of(found: list[dict[str, float]], name: str, form: str) -> str:
    return spread([each[name] for each in found], form)


if __name__ == "__main__":
    main()
