#!/usr/bin/env python3
"""Where the errors of the digits-conv model on arrays come from.

    experiments/attribution.py [--weights FILE] [--samples 4] [--seed 0] [--chips 8] [--tile 32] [--orders N] [--jobs 2]
                        [--out docs/figures]

Prints the attribution of the errors of state and gradients to wires, drivers and sensing, programming error, stuck
devices, nonlinear cells, read noise and converters, as medians over the chips with the least and the largest, and on
how many chips the removal of one source alone makes the error smaller. Writes attribution.png and attribution.svg. It
runs all combinations of sources on every chip, or those along N random orders of the sources.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import xbar_spice as xs
from xbar_spice.cosim import SolverOptions
from xbar_spice.report.attribution import draw_attribution
from xbar_spice.report.spread import spread
from xbar_spice.report.style import save, styled
from xbar_spice.study.problem import make_problem
from xbar_spice.train.training import train

ROOT = Path(__file__).resolve().parent.parent
DESIGN = xs.Design(
    r_word=1.0,  # wires as at the 32 nm node
    r_bit=1.0,
    r_driver=50.0,
    r_sense=20.0,
    variation=xs.Variation(programming=0.03, stuck_off=0.005),
    device=xs.Sinh(0.4),
    noise=xs.ReadNoise(device=0.01),
    converters=xs.Converters(dac_bits=8, adc_bits=8, adc_reference="devices"),
)
SOLVER = SolverOptions(xs.NewtonOptions(rtol=1e-6), xs.KrylovOptions(rtol=1e-5))
MEASURES = ["gradient of a", "gradient of b", "state"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, help="of a digits model; trained when left out")
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--chips", type=int, default=8, help="whose devices are drawn, each from a seed of its own")
    parser.add_argument("--tile", type=int, default=32)
    parser.add_argument("--orders", type=int)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "figures")
    options = parser.parse_args()
    start = time.perf_counter()
    model = xs.load_model(options.weights) if options.weights else train("digits-conv", seed=options.seed).model
    problem = make_problem(model, samples=options.samples, seed=options.seed)
    design = replace(DESIGN, tile=options.tile)
    print(f"A is {model.A.shape[0]} x {model.A.shape[1]}, tiles of {options.tile}, {options.samples} samples")
    records = []
    for seed in range(options.seed, options.seed + options.chips):
        records.append(
            xs.attribute(problem, design, seed=seed, solver=SOLVER, orders=options.orders, jobs=options.jobs).record
        )
        print(f"chip {seed}: {time.perf_counter() - start:.0f} s", flush=True)
    print_attribution(records)
    with styled():
        png, svg = save(draw_attribution(records, MEASURES), options.out, "attribution")
    print(f"\n{png.name} and {svg.name} in {options.out}; {time.perf_counter() - start:.0f} s in all")


def print_attribution(records: list[dict[str, Any]]) -> None:
    """One table for each measure; a repair helps on the chips whose error is smaller without the source."""
    print(f"\nattribution: {len(records)} chips, {records[0]['runs']} co-simulations each; median (least to largest)")
    for measure in records[0]["measures"]:
        chips = [record["measures"][measure] for record in records]
        totals = np.array([values["total"] for values in chips])
        print(f"\nrelative error of {measure}: {spread(totals, '.1%')} with all, {chips[0]['none']:.1e} with none")
        print(f"{'':<22}{'alone':>24}{'Shapley':>26}{'saved by removal':>28}{'helps on':>12}")
        for source in records[0]["sources"]:
            alone, shapley, without = (
                np.array([values[way][source] for values in chips]) for way in ("alone", "shapley", "all but")
            )
            saved = totals - without
            print(
                f"{source:<22}{spread(alone, '.1%'):>24}{spread(shapley, '.1%'):>26}{spread(saved, '.1%'):>28}"
                f"{f'{(saved > 0).sum()} of {len(chips)}':>12}"
            )
        sums = [sum(values["alone"].values()) for values in chips]
        print(f"{'sum':<22}{spread(sums, '.1%'):>24}{spread(totals, '.1%'):>26}")


if __name__ == "__main__":
    main()
