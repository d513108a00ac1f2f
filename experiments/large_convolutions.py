#!/usr/bin/env python3
"""Processor time and memory of a co-simulation of large convolutions, whose matrices are never built.

One channel of an image, a hidden layer of several channels, and back, with kernels of 3 x 3 taps and zero padding; four
steps of implicit Euler, four samples, and the gradients of both kernels, by the nodal engine; and behind that the true
gradient, through the circuit of every tile down to both kernels. Each model runs in a process of its own, whose memory
is the largest that it ever held. One chip without programming error.
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from common import Arguments

import numpy as np
from measuring import peak

import xbar_spice as xs
from xbar_spice.cosim.gradients.true_gradient import circuit_gradients
from xbar_spice.cosim.run.programming import program_model

SAMPLES = 4


def measured(side: int, channels: int, tile: int) -> tuple[int, float, float, float]:
    """Arrays that were built, seconds of the processor of co-simulation and true gradient, and megabytes of both."""
    rng = np.random.default_rng(0)
    forth = rng.standard_normal((channels, 1, 3, 3)) / 3
    back = rng.standard_normal((1, channels, 3, 3)) / 3 / channels
    kernels = xs.Kernels(forth, back, (side, side), "zero")
    model = xs.Model.from_kernels(kernels, h=0.25, steps=4)
    z0 = rng.standard_normal((side * side, SAMPLES))
    problem = xs.Problem(model, z0, xs.SquaredDistance(np.zeros_like(z0)))
    design = xs.Design(tile=tile, r_word=1.0, r_bit=1.0, skip_empty=True)
    start = time.process_time()
    xs.cosimulate(problem, design, engine="nodal")
    seconds = time.process_time() - start
    matrices = program_model(model, design, "nodal")
    start = time.process_time()
    circuit_gradients(problem, matrices)
    through = time.process_time() - start
    return sum(len(xs.map_weights(W, design).arrays) for W in model.operators.values()), seconds, through, peak()


def options() -> argparse.Namespace:
    """The command line."""
    parser = Arguments(__doc__, figure=False, tile=32)
    parser.add_argument("--images", nargs="+", default=["28x8", "32x16"], help="Pixels of a side, x, hidden channels.")
    return parser.parse(images=["12x8"])


def main() -> None:
    chosen = options()
    print(f"tiles of {chosen.tile} x {chosen.tile}, {SAMPLES} samples")
    print(
        f"{'image':>9} {'channels':>8} {'matrix':>12} {'arrays':>7} {'seconds':>8} {'true gradient':>13} "
        f"{'megabytes':>10}"
    )
    for image in chosen.images:
        side, channels = (int(word) for word in image.split("x"))
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
            arrays, seconds, through, megabytes = alone.submit(measured, side, channels, chosen.tile).result()
        pixels = side * side
        print(
            f"{f'{side} x {side}':>9} {channels:8d} {f'{channels * pixels} x {pixels}':>12} {arrays:7d} {seconds:8.1f} "
            f"{through:13.1f} {megabytes:10.0f}"
        )


if __name__ == "__main__":
    main()
