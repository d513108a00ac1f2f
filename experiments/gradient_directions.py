#!/usr/bin/env python3
"""What same, swapped and far ends of the transposed reads do to the gradient, against the array size.

For the digits-conv model in tiles of each size: how far the hardware gradient is from that of the effective model and
from the true one, and how much of the best decrease of the loss a step against each gradient is worth. No device
varies; what is drawn are the images. Numbers are medians over the draws with the least and the largest. Writes
gradient_directions.png and gradient_directions.svg.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from common import NODE_32, Arguments, digits_model, model_line, publish

import xbar_spice as xs
from xbar_spice.report.gradients import draw_directions
from xbar_spice.report.spread import spread
from xbar_spice.study.problem import make_problem

ENDS: tuple[Literal["same_ends", "swapped_ends", "far_ends"], ...] = ("same_ends", "swapped_ends", "far_ends")
STEP = 1e-4  # of a descent step, relative to the kernels


def main() -> None:
    parser = Arguments(__doc__, weights=None, samples=4, seed=0, tiles=[8, 16, 32, 64])
    parser.add_argument("--draws", type=int, default=8, help="Draws of the samples.")
    options = parser.parse(samples=1, draws=1, tiles=[64])
    model = digits_model(options)
    seeds = range(options.seed, options.seed + options.draws)
    problems = [make_problem(model, samples=options.samples, seed=seed) for seed in seeds]
    print(f"{model_line(model, options)}, {options.draws} draws of them: median (least to largest)")
    records: dict[str, list[list[Mapping[str, Any]]]] = {ends: [] for ends in ENDS}
    for tile in options.tiles:
        for ends in ENDS:
            design = replace(NODE_32, tile=tile, terminations=xs.Terminations(transposed=ends))
            draws: list[Mapping[str, Any]] = [
                xs.three_gradients(problem, design, step=STEP).record for problem in problems
            ]
            records[ends].append(draws)
            print_gradients(f"tiles of {tile}, {ends.replace('_', ' ')}", draws)
    publish(lambda: draw_directions(options.tiles, records, ("a", "b")), options.out, "gradient_directions")


def print_gradients(title: str, draws: Sequence[Mapping[str, Any]]) -> None:
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
