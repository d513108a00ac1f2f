#!/usr/bin/env python3
"""One set of arrays that is rewritten for every step, against arrays of each step: errors, gradients and writes.

The network of the peaks (16 antisymmetric layers of width 8 behind an opening layer, AB3, T = 5) is trained by L-BFGS
and put on chips with the wires of the 32 nm node. Of each --error, and of stuck devices, the chips come in three kinds:
with arrays for every step, each of whose devices has its own error; with one set that is rewritten, whose devices keep
their error from write to write; and with one set whose writes are drawn anew. Prints medians over the chips with the
least and the largest: the accuracy on samples held back, the error of the final states, and of the gradient by the
layers hardware - true (bias) and what of it comes from transposed reads (transpose). Then how often the arrays were
written, also for the network prolonged to twice the steps, and what the pulses of these writes take on one chip.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from common import NODE_32, Arguments, elapsed

import numpy as np
from multilevel_training import NETWORKS, PENALTY, samples_of

import xbar_spice as xs
from xbar_spice.cosim.run import Record
from xbar_spice.report.spread import spread
from xbar_spice.solve.integrators.layers import fields_of
from xbar_spice.train.cascade import fit
from xbar_spice.train.samples import Samples

TASK = "peaks"


def ways(errors: list[float], stuck: float) -> Iterator[tuple[str, str, xs.Design]]:
    """Each error, how the arrays have it, and the design."""
    rewritten = replace(NODE_32, rewritten=True)
    yield "wires alone", "arrays of each step, or rewritten", NODE_32
    for size in errors:
        yield f"{size:.0%}", "arrays of each step", replace(NODE_32, variation=xs.Variation(size))
        yield "", "rewritten, error of devices", replace(rewritten, variation=xs.Variation(size))
        yield "", "rewritten, error of writes", replace(rewritten, cycle=xs.Variation(size))
    stays = xs.Variation(stuck_off=stuck)
    yield f"{stuck:.0%} stuck", "arrays of each step", replace(NODE_32, variation=stays)
    yield "", "rewritten", replace(rewritten, variation=stays)


def problem_of(model: xs.Model, samples: Samples) -> xs.Problem:
    return xs.make_problem(model, data=xs.Data(samples.x.T, labels=samples.classes), samples=len(samples))


def written(record: Record) -> str:
    total = record["writes"]["K"]
    return f"{total['forward']} writes forward, {total['adjoint']} back, {total['devices']} devices"


def main() -> None:
    parser = Arguments(__doc__, figure=False, chips=24)
    parser.add_argument("--error", type=float, nargs="+", default=[0.02, 0.05], help="Relative standard deviations.")
    parser.add_argument("--stuck", type=float, default=0.02, help="Part of the devices that are stuck at g_min.")
    parser.add_argument("--iterations", type=int, default=150, help="Of L-BFGS.")
    options = parser.parse(chips=2, error=[0.05], iterations=3)
    data = samples_of(TASK, options.quick)
    trained = fit(NETWORKS[TASK].model(data.classes, seed=0), data.train, PENALTY, iterations=options.iterations).model
    held_back = problem_of(trained, data.test)
    few = problem_of(trained, data.test.take(np.arange(0, len(data.test), max(len(data.test) // 64, 1))))
    print(f"{trained.steps} steps, {len(data.test)} samples held back, {options.chips} chips, {elapsed():.0f} s")
    print(f"{'error':<13}{'arrays':<34}{'accuracy':<27}{'states':<29}{'bias':<29}transpose")
    for error, arrays, design in ways(options.error, options.stuck):
        chips = range(options.chips if design.random else 1)
        records = [xs.cosimulate(held_back, design, engine="nodal", seed=chip).record for chip in chips]
        parts = [xs.three_gradients(few, design, seed=chip, step=None).record.differences for chip in chips]
        columns = [spread([one.accuracy.analog or 0.0 for one in records], ".1%")]
        columns += [spread([one.state.relative_error for one in records], ".2%")]
        columns += [spread([of[name]["K"].relative_error for of in parts], ".2%") for name in ("bias", "transpose")]
        print(f"{error:<13}{arrays:<34}{columns[0]:<27}{columns[1]:<29}{columns[2]:<29}{columns[3]}", flush=True)
    rewritten = replace(NODE_32, rewritten=True)
    for name, model in (("as trained", trained), ("prolonged", xs.prolong(trained, "constant"))):
        record = xs.cosimulate(problem_of(model, data.test), rewritten, engine="ideal").record
        print(f"{name:<13}{model.steps} steps: {written(record)}")
    pulsed = replace(rewritten, device=xs.load_device("yakopcic_fast"), programming=xs.WriteVerify(tolerance=0.02))
    few_layers = replace(trained, field=xs.Layers(fields_of(trained.field)[:4]), h=4 * trained.h, steps=4)
    for name, design in (("each step", replace(pulsed, rewritten=False)), ("rewritten", pulsed)):
        record = xs.cosimulate(replace(few, model=few_layers, x=few.inputs), design, engine="nodal").record
        costs = list((record.programming or {}).values())
        pulses, joule = sum(one.pulses for one in costs), sum(one.energy for one in costs)
        print(f"{name:<13}4 of the layers by pulses: {pulses} pulses, {joule:.2e} J, {elapsed():.0f} s", flush=True)


if __name__ == "__main__":
    main()
