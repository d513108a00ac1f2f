#!/usr/bin/env python3
"""What a gradient keeps in memory: a stored run, checkpoints, and running back, against the number of steps.

Prints, for each way, the peak that Python allocates above what it held before (MB) and that of the formula in
docs/solvers.md, the distance of checkpoints being the one that needs least.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from functools import partial
from typing import Any

from common import Arguments

import numpy as np

import xbar_spice as xs
from xbar_spice.linear.operator import FloatArray

EVALUATIONS = {"forward_euler": 1, "ab3": 1, "rk4": 4}
BACK = {"ab3": 2}  # points behind the last one that a method looks back to


def peak(action: Callable[[], object]) -> float:
    """Megabytes."""
    tracemalloc.start()
    action()
    found = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found / 1e6


def stored_gradients(field: xs.ActivationField, z0: FloatArray, **run: Any) -> object:
    return xs.gradients(xs.integrate(field, z0, **run), z0)


def same(z: FloatArray) -> FloatArray:
    return z


def main() -> None:
    parser = Arguments(__doc__, figure=False)
    parser.add_argument("--states", type=int, default=32, help="States of the neural ODE.")
    parser.add_argument("--hidden", type=int, default=128, help="Hidden units.")
    parser.add_argument("--batch", type=int, default=16, help="Samples at once.")
    parser.add_argument("--steps", type=int, nargs="+", default=[100, 400, 1600], help="Numbers of steps.")
    options = parser.parse(steps=[20])
    n, m, batch = options.states, options.hidden, options.batch
    rng = np.random.default_rng(0)
    field = xs.ActivationField(rng.normal(size=(m, n)) / m, rng.normal(size=(n, m)) / n, "tanh")
    z0 = rng.normal(size=(n, batch))
    megabytes = 8e-6 * batch
    print(f"{n} states, {m} hidden units, {batch} samples; MB")
    print(
        f"{'method':16}{'steps':>6}{'stored':>10}{'formula':>10}{'every':>8}{'checkpoints':>13}{'formula':>10}{'back':>8}"
    )
    for method, evaluations in EVALUATIONS.items():
        left_behind, kept = evaluations * (2 * n + 2 * m), (1 + BACK.get(method, 0)) * n
        for steps in options.steps:
            every = max(1, round((steps * kept / (n + left_behind)) ** 0.5))
            run: dict[str, Any] = {"method": method, "h": 1.0 / steps, "steps": steps}
            stored = peak(partial(stored_gradients, field, z0, **run))
            lean = peak(partial(xs.checkpointed_gradients, field, z0, same, every=every, **run))
            back = ""
            if method not in BACK:
                back = f"{peak(partial(xs.reversed_gradients, field, z0, same, **run)):.2f}"
            whole = megabytes * steps * (n + left_behind)
            parts = megabytes * ((steps / every + 1) * kept + every * (n + left_behind))
            print(
                f"{method:16}{steps:>6}{stored:>10.2f}{whole:>10.2f}{every:>8}{lean:>13.2f}{parts:>10.2f}{back:>8}",
                flush=True,
            )


if __name__ == "__main__":
    main()
