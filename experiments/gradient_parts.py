#!/usr/bin/env python3
"""At which time step and on which image the gradients of the digits-conv model go wrong.

Prints bias, shift and total of the gradients of both kernels by time step and by image, as medians over the chips with
the least and the largest, and writes gradient_parts.png and gradient_parts.svg.
"""

from __future__ import annotations

from dataclasses import replace

from common import NODE_32, Arguments, digits_model, model_line, publish

import numpy as np

import xbar_spice as xs
from xbar_spice.cosim import GradientStudy
from xbar_spice.report.gradients import draw_parts
from xbar_spice.report.spread import spread
from xbar_spice.solve.fields.contributions import By
from xbar_spice.study.problem import make_problem

DESIGN = replace(NODE_32, variation=xs.Variation(programming=0.03, stuck_off=0.005))
DIFFERENCES = ("bias", "shift", "total")
NAMES: dict[By, str] = {"step": "time step", "sample": "image"}


def main() -> None:
    arguments = Arguments(__doc__, weights=None, samples=8, seed=0, chips=8, tile=32)
    options = arguments.parse(samples=2, chips=1)
    model = digits_model(options)
    problem = make_problem(model, samples=options.samples, seed=options.seed)
    design = replace(DESIGN, tile=options.tile)
    studies = [
        xs.three_gradients(problem, design, seed=seed, by=("step", "sample"), step=None)
        for seed in range(options.seed, options.seed + options.chips)
    ]
    print(f"{model_line(model, options)}, {options.chips} chips: median (least to largest)")
    for axis in NAMES:
        for kernel in ("a", "b"):
            print_parts(studies, axis, kernel)
    publish(lambda: draw_parts([study.record for study in studies], ("a", "b")), options.out, "gradient_parts")


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
