#!/usr/bin/env python3
"""Where the errors of the digits-conv model on arrays come from.

Prints the attribution of the errors of state and gradients to wires, drivers and sensing, programming error, stuck
devices, nonlinear cells, read noise and converters, as medians over the chips with the least and the largest, and on
how many chips the removal of one source alone makes the error smaller. Writes attribution.png and attribution.svg. It
runs all combinations of sources on every chip, or those along N random orders of the sources.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from common import NODE_32, Arguments, digits_model, elapsed, model_line, publish

import numpy as np

import xbar_spice as xs
from xbar_spice.cosim import SolverOptions
from xbar_spice.report.attribution import draw_attribution
from xbar_spice.report.spread import spread
from xbar_spice.study.problem import make_problem

DESIGN = replace(
    NODE_32,
    variation=xs.Variation(programming=0.03, stuck_off=0.005),
    device=xs.Sinh(0.4),
    noise=xs.ReadNoise(device=0.01),
    converters=xs.Converters(dac_bits=8, adc_bits=8, adc_reference="devices"),
)
SOLVER = SolverOptions(xs.NewtonOptions(rtol=1e-6), xs.KrylovOptions(rtol=1e-5))
MEASURES = ["gradient of a", "gradient of b", "state"]


def main() -> None:
    parser = Arguments(__doc__, weights=None, samples=4, seed=0, chips=8, tile=32, jobs=2)
    parser.add_argument("--orders", type=int, help="Random orders of the sources; all combinations when left out.")
    options = parser.parse(samples=1, chips=1, orders=4, jobs=1)
    model = digits_model(options)
    problem = make_problem(model, samples=options.samples, seed=options.seed)
    design = replace(DESIGN, tile=options.tile)
    print(model_line(model, options))
    records = []
    for seed in range(options.seed, options.seed + options.chips):
        records.append(
            xs.attribute(problem, design, seed=seed, solver=SOLVER, orders=options.orders, jobs=options.jobs).record
        )
        print(f"chip {seed}: {elapsed():.0f} s", flush=True)
    print_attribution(records)
    publish(lambda: draw_attribution(records, MEASURES), options.out, "attribution")


def print_attribution(records: Sequence[Mapping[str, Any]]) -> None:
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
