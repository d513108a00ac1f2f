#!/usr/bin/env python3
"""Reads that AB3 and Verlet steps with weights of their own take at equal accuracy, and where arrays end the gain.

First as solvers of one equation: a Hamiltonian network, tanh(K^T z) and -tanh(K y) with K(t) smooth in time, is run to
time 4 by more and more steps, each with the K of its time on an array of its own; AB3 keeps each value of f with its
own K, Verlet steps are as in networks, velocity Verlet has K at the middle of a step. Prints for each number of steps
the reads of a sample and the error of the last state against the equation, digitally and on chips, median with the
least and the largest. Then as networks: AB3 with antisymmetric layers and Verlet with Hamiltonian ones, each trained on
peaks with few layers and many; prints reads and accuracies on samples held back, of all seeds digitally and of the
first one on chips. Draws ab3_and_verlet.png.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from common import NODE_32, Arguments, elapsed, publish

import numpy as np
from matplotlib.figure import Figure

import xbar_spice as xs
from xbar_spice.linear.operator import FloatArray
from xbar_spice.parts import DATA
from xbar_spice.report.spread import spread
from xbar_spice.report.style import new_figure, set_abscissa
from xbar_spice.train.cascade import fit
from xbar_spice.train.descent import evaluate
from xbar_spice.train.regulariser import Regulariser
from xbar_spice.train.samples import Split, split_of

END, PEAKS_END = 4.0, 5.0
FINER = 32  # times as many steps has the reference as the finest run
METHODS = {"ab3": 0.0, "verlet": 0.0, "velocity_verlet": 0.5}  # where in a step its weights belong
Errors = dict[tuple[str, str, int], list[float]]
CHIPS: dict[str, xs.Design] = {
    "wires of 1 ohm": NODE_32,
    "wires of 10 ohm": replace(NODE_32, r_word=10.0, r_bit=10.0),
    "5 % programming error": xs.Design(variation=xs.Variation(0.05)),
    "5 % read noise": xs.Design(noise=xs.ReadNoise(device=0.05)),
    "1 ohm, 5 %, 5 %": replace(NODE_32, variation=xs.Variation(0.05), noise=xs.ReadNoise(device=0.05)),
}


def weights(width: int) -> Callable[[float], FloatArray]:
    """K(t), smooth, of norm about 2."""
    rng = np.random.default_rng(0)
    parts = rng.normal(size=(3, width, width)) / np.sqrt(3 * width)
    return lambda t: np.asarray(parts[0] + parts[1] * np.cos(np.pi * t / END) + parts[2] * np.sin(np.pi * t / END))


def solved(
    method: str, steps: int, width: int, z0: FloatArray, design: xs.Design | None, seed: int, trace: xs.ReadTrace
) -> FloatArray:
    """The last states, (n, samples), with an array for the K of each step."""
    K, h, fields = weights(width), END / steps, []
    for step in range(steps):
        matrix: Any = K(h * (step + METHODS[method]))
        if design is not None:
            rngs = [xs.random_stream(seed, f"{use} {step} of {steps}") for use in ("devices", "reads")]
            matrix = xs.program(matrix, design, rng=rngs[0], noise_rng=rngs[1], name=f"K[{step}]", trace=trace)
        fields.append(xs.hamiltonian_field(matrix, np.zeros(width)))
    return np.asarray(xs.integrate(xs.Layers(fields), z0, method, h=h, steps=steps).z[-1])


def as_solvers(width: int, counts: list[int], chips: int) -> tuple[Errors, dict[tuple[str, int], int]]:
    """Errors of the last state relative to it, by method, chip and steps, and reads of a sample by method and steps."""
    z0 = np.random.default_rng(1).normal(size=(2 * width, 4))
    exact = solved("ab3", FINER * max(counts), width, z0, None, 0, xs.ReadTrace())
    errors: Errors = {}
    reads: dict[tuple[str, int], int] = {}
    for method in METHODS:
        for steps in counts:
            for name, design in {"digital": None, **CHIPS}.items():
                random = "%" in name
                found = []
                for seed in range(chips if random else 1):
                    trace = xs.ReadTrace()
                    z = solved(method, steps, width, z0, design, seed, trace)
                    found.append(float(np.linalg.norm(z - exact) / np.linalg.norm(exact)))
                errors[method, name, steps] = found
                if design is not None:
                    reads[method, steps] = len(trace)
    return errors, reads


def network(method: str, layers: int, width: int, seed: int) -> xs.Model:
    """Of the same arrays by either method: an array of width x width for each layer, read once from either side."""
    rng = np.random.default_rng(seed)
    K = rng.normal(size=(width, width)) / np.sqrt(width)
    build: Any = xs.antisymmetric_field if method == "ab3" else xs.hamiltonian_field
    field = xs.Layers([build(K, np.zeros(width)) for _ in range(layers)])
    return xs.Model(
        field=field,
        h=PEAKS_END / layers,
        steps=layers,
        method=method,
        encoder=xs.Encoder(rng.normal(size=(field.states, 2)), 0.5 * rng.normal(size=field.states), activation="tanh"),
        classifier=xs.Classifier(np.zeros((5, field.states)), np.zeros(5)),
    )


def on_chip(model: xs.Model, data: Split, design: xs.Design, seed: int) -> float:
    chip = xs.Chip(design, seed=seed)
    return float(evaluate(chip.prepared(model), data.test, processor=chip, occasion="test").accuracy or 0.0)


def as_networks(
    layers: list[int], seeds: int, chips: int, iterations: int, thinned: int
) -> dict[tuple[str, int], dict[str, list[float]]]:
    """Accuracies on peaks held back by method and layers: of all seeds digitally, and of the first one on chips."""
    data = split_of(*DATA.get("peaks").split())
    train, test = (part.take(np.arange(0, len(part), thinned)) for part in (data.train, data.test))
    data = Split(train, test)
    found = {}
    for method in ("ab3", "verlet"):
        for count in layers:
            penalty = Regulariser(smoothness=1e-4)
            models = [
                fit(network(method, count, 8, seed), data.train, penalty, iterations=iterations).model
                for seed in range(seeds)
            ]
            of = {"digital": [float(evaluate(model, data.test).accuracy or 0.0) for model in models]}
            for name, design in CHIPS.items():
                of[name] = [on_chip(models[0], data, design, seed) for seed in range(chips)]
            found[method, count] = of
            columns = "".join(f"{spread(values, '.1%'):>28}" for values in of.values())
            print(f"{method:8}{count:>7}{2 * count:>7}{columns}  {elapsed():.0f} s", flush=True)
    return found


def main() -> None:
    parser = Arguments(__doc__, chips=8, seeds=3)
    parser.add_argument("--width", type=int, default=32, help="Rows and columns of K(t).")
    parser.add_argument("--steps", type=int, nargs="+", default=[8, 16, 32, 64, 128], help="Of the solvers.")
    parser.add_argument("--layers", type=int, nargs="+", default=[4, 8, 16, 32], help="Of the networks.")
    parser.add_argument("--iterations", type=int, default=150, help="Of L-BFGS.")
    options = parser.parse(chips=1, seeds=1, width=4, steps=[4], layers=[4], iterations=2)
    names = ["digital", *CHIPS]
    print(f"{options.width} x {options.width}, {options.chips} chips; error of the last state")
    print(f"{'':16}{'steps':>6}{'reads':>7}{''.join(f'{name:>30}' for name in names)}")
    errors, reads = as_solvers(options.width, options.steps, options.chips)
    for (method, steps), count in reads.items():
        columns = "".join(f"{spread(errors[method, name, steps], '.2g'):>30}" for name in names)
        print(f"{method:16}{steps:>6}{count:>7}{columns}", flush=True)
    print(f"\npeaks, {options.seeds} seeds; the first one on {options.chips} chips, {elapsed():.0f} s")
    print(f"{'':8}{'layers':>7}{'reads':>7}{''.join(f'{name:>28}' for name in names)}")
    thinned = 16 if options.quick else 1
    accuracies = as_networks(options.layers, options.seeds, options.chips, options.iterations, thinned)
    publish(lambda: draw(errors, reads, accuracies), options.out, "ab3_and_verlet")


def draw(
    errors: Errors, reads: dict[tuple[str, int], int], accuracies: dict[tuple[str, int], dict[str, list[float]]]
) -> Figure:
    shown = ("digital", "wires of 1 ohm", "5 % programming error", "5 % read noise")
    figure, axes = new_figure(1, 4, width=2.9, height=3.0, share=False)
    for panel, names in zip(axes, (shown[:2], shown[2:3], shown[3:]), strict=False):
        for method, marker in zip(METHODS, "osD", strict=True):
            at = {steps: count for (of, steps), count in reads.items() if of == method}
            for name, line in zip(names, ("--", "-") if len(names) > 1 else "-", strict=True):
                values = np.array([errors[method, name, steps] for steps in at])
                colour = f"C{list(METHODS).index(method)}"
                label = f"{method.replace('_', ' ')}{', digital' if line == '--' else ''}"
                panel.plot(list(at.values()), np.median(values, axis=1), line, marker=marker, color=colour, label=label)
                panel.fill_between(list(at.values()), values.min(axis=1), values.max(axis=1), color=colour, alpha=0.15)
        set_abscissa(panel, [float(count) for (of, _), count in reads.items() if of == "ab3"])
        panel.set(yscale="log", xlabel="reads of a sample", title=names[-1])
    axes[0].set_ylabel("error of the last state")
    axes[0].legend(fontsize="x-small")
    for method, marker in (("ab3", "o"), ("verlet", "s")):
        layers = [count for of, count in accuracies if of == method]
        for name, line in (("digital", "--"), ("1 ohm, 5 %, 5 %", "-")):
            values = 100 * np.array([accuracies[method, count][name] for count in layers])
            colour = f"C{list(METHODS).index(method)}"
            found = 2 * np.array(layers), np.median(values, axis=1)
            axes[3].plot(*found, line, marker=marker, color=colour, label=method if line == "-" else None)
            axes[3].fill_between(found[0], values.min(axis=1), values.max(axis=1), color=colour, alpha=0.1)
    set_abscissa(axes[3], [2.0 * count for of, count in accuracies if of == "ab3"])
    axes[3].set(xlabel="reads of a sample", ylabel="% right, peaks", title="networks, dashed digital")
    axes[3].legend()
    return figure


if __name__ == "__main__":
    main()
