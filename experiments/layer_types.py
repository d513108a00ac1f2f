#!/usr/bin/env python3
"""Three types of layers by width on peaks: does width buy tolerance to programming errors at equal devices?

Nine layers behind an opening layer: plain, sig(K Y + b); residual, Y + h sig(K Y + b); and double,
Y + h sig(K2 sig(K1 Y + b1) + b2), with h = 1/2 and sig = tanh. Each is trained digitally by L-BFGS and written to chips
with the wires of the 32 nm node and a programming error of each device. As many copies of the arrays as give every
width the devices of the widest one average its errors: r copies have an error of 1 / sqrt(r), which is what is drawn.
Prints, medians over the seeds of weights and chip with the least and the largest: accuracy on samples held back
digitally, on a chip with a single set of arrays, and on one with copies, each by the programming error. Draws
layer_types.png.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from math import sqrt
from typing import Any

from common import Arguments, elapsed, publish

import numpy as np
from matplotlib.figure import Figure
from multilevel_training import on_chip, samples_of

import xbar_spice as xs
from xbar_spice.linear.operator import FloatArray
from xbar_spice.report.spread import spread
from xbar_spice.report.style import colours, new_figure, set_abscissa
from xbar_spice.solve.fields.evaluation import Evaluation, Parameters
from xbar_spice.train.cascade import fit
from xbar_spice.train.descent import evaluate
from xbar_spice.train.regulariser import Regulariser
from xbar_spice.train.samples import Split

LAYERS = 9
KINDS = ("plain", "residual", "double")
PENALTY = Regulariser(decay=1e-4)


class PlainLayer(xs.LayerField):
    """f(Y) = sig(K Y + b) - Y, of which a step of forward Euler with h = 1 is sig(K Y + b)."""

    def evaluate(self, z: FloatArray) -> Evaluation:
        found = super().evaluate(z)
        return replace(found, value=found.value - z)

    def jvp(self, evaluation: Evaluation, direction: FloatArray) -> FloatArray:
        return super().jvp(evaluation, direction) - direction

    def pull_hidden(self, evaluation: Evaluation, cotangent: FloatArray) -> FloatArray:
        return np.vstack([super().pull_hidden(evaluation, cotangent), cotangent])  # [D w; w]

    def pull_state(self, evaluation: Evaluation, hidden_cotangent: FloatArray) -> FloatArray:
        p, w = np.split(hidden_cotangent, 2)
        return super().pull_state(evaluation, p) - w

    def parameter_gradients(
        self, evaluation: Evaluation, cotangent: FloatArray, hidden_cotangent: FloatArray
    ) -> Parameters:
        return super().parameter_gradients(evaluation, cotangent, np.split(hidden_cotangent, 2)[0])


def network(kind: str, width: int, seed: int) -> xs.Model:
    rng = np.random.default_rng(seed)

    def weights() -> tuple[FloatArray, FloatArray]:
        return np.linalg.qr(rng.normal(size=(width, width)))[0], 0.1 * rng.normal(size=width)

    def field() -> xs.Field:
        if kind == "plain":
            return PlainLayer(*weights())
        if kind == "residual":
            return xs.LayerField(*weights())
        (K1, b1), (K2, b2) = weights(), weights()
        return xs.ResidualField("tanh", K1=K1, b1=b1, K2=K2, b2=b2)

    return xs.Model(
        field=xs.Layers([field() for _ in range(LAYERS)]),
        h=1.0 if kind == "plain" else 0.5,
        steps=LAYERS,
        method="forward_euler",
        encoder=xs.Encoder(rng.normal(size=(width, 2)), 0.5 * rng.normal(size=width), activation="tanh"),
        classifier=xs.Classifier(np.zeros((5, width)), np.zeros(5)),
    )


def samples(quick: bool) -> Split:
    data = samples_of("peaks", quick)
    return data if quick else Split(data.train.take(np.arange(0, len(data.train), 2)), data.test)


def devices(kind: str, width: int) -> int:
    """Weights on arrays in a layer."""
    return (2 if kind == "double" else 1) * width**2


def measured(
    asked: tuple[str, int, int], largest: int, errors: list[float], iterations: int, quick: bool
) -> FloatArray:
    """Accuracy digitally, then by error of a set of arrays and of all copies that make `largest` weights a layer."""
    kind, width, seed = asked
    data = samples(quick)
    model = fit(network(kind, width, seed), data.train, PENALTY, iterations=iterations).model
    copies = largest / devices(kind, width)
    on_chips = [on_chip(model, data, error / sqrt(r), seed) for r in (1.0, copies) for error in errors]
    return np.array([evaluate(model, data.test).accuracy or 0.0, *on_chips])


def main() -> None:
    parser = Arguments(__doc__, seeds=8, jobs=1)
    parser.add_argument("--widths", type=int, nargs="+", default=[4, 8, 16, 32], help="One network each.")
    parser.add_argument("--errors", type=float, nargs="+", default=[0.05, 0.1, 0.2], help="Of programming.")
    parser.add_argument("--iterations", type=int, default=100, help="Of L-BFGS.")
    options = parser.parse(seeds=1, widths=[2, 4], errors=[0.05], iterations=2)
    largest = devices("double", max(options.widths))
    asked = [(kind, width, seed) for kind in KINDS for width in options.widths for seed in range(options.seeds)]
    run: Any = partial(
        measured, largest=largest, errors=options.errors, iterations=options.iterations, quick=options.quick
    )
    titles = ["digital", *(f"{error:.0%}{of}" for of in ("", ", copies") for error in options.errors)]
    print(f"{largest} weights a layer with copies\n{'':18}{'copies':>7}{''.join(f'{title:>25}' for title in titles)}")
    found: dict[tuple[str, int], FloatArray] = {}
    with ProcessPoolExecutor(options.jobs) as pool:
        results = map(run, asked) if options.jobs == 1 else pool.map(run, asked)
        for kind in KINDS:
            for width in options.widths:
                of = np.array([next(results) for _ in range(options.seeds)])  # (seeds, columns)
                found[kind, width] = of
                columns = "".join(f"{spread(column, '.1%'):>25}" for column in of.T)
                copies = largest // devices(kind, width)
                print(f"{kind:9}{f'width {width}':9}{copies:>7}{columns}  {elapsed():.0f} s", flush=True)
    publish(lambda: draw(found, options.widths, titles), options.out, "layer_types")


def draw(found: dict[tuple[str, int], FloatArray], widths: list[int], titles: list[str]) -> Figure:
    figure, panels = new_figure(1, len(KINDS), width=3.3, height=3.1)
    for axes, kind in zip(panels, KINDS, strict=True):
        middle = np.array([np.median(found[kind, width], axis=0) for width in widths])
        errors = (len(titles) - 1) // 2
        shades = ["#22272e", *colours(range(errors), ordered=True)]
        for column, title in enumerate(titles):
            of_copies = column > errors
            colour = shades[column - errors if of_copies else column]
            axes.plot(widths, 100 * middle[:, column], "o--" if of_copies else "o-", color=colour, label=title)
        axes.set(title=kind, xlabel="width")
        set_abscissa(axes, widths)
    panels[0].set_ylabel("accuracy on samples held back, %")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right center", handlelength=3.5)
    return figure


if __name__ == "__main__":
    main()
