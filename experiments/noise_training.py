#!/usr/bin/env python3
"""Does training with Gaussian weight noise help against IR drop, or only the true gradient on the array?

A neural ODE learns the handwritten digits between a random encoder and a random classifier, which stay. It is trained
on digital matrices: plainly, and with normal noise on its weights, drawn anew for every minibatch, of several sizes.
Then it is read on chips with wires of more and more resistance, in tiles of growing size, and with more and more
programming error. Beside that stands the plain model whose last epoch is on the chip itself, with the true gradient.
All have the same number of updates. Prints the loss on images held back, as each chip answers them, and what each way
saves of the plain model's loss on the same chip; medians over the seeds, each of which is a training and a chip, with
the least and the largest. Draws noise_training.png and noise_training.svg. What is found is kept in --kept at once; run
the command again after an interruption.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from common import ROOT, Arguments, elapsed, few_digits, kept, publish, readout_model

import numpy as np
from matplotlib.figure import Figure

import xbar_spice as xs
from xbar_spice.linear.operator import FloatArray
from xbar_spice.linear.threads import one_thread
from xbar_spice.report.spread import spread
from xbar_spice.report.style import colours, new_figure, set_log_ordinate
from xbar_spice.streams import Streams
from xbar_spice.train.descent import epochs, evaluate
from xbar_spice.train.processor import Processor
from xbar_spice.train.samples import Split

DESIGN = xs.Design(tile=64, g_max=3e-4, headroom=1.5)  # devices of 3.3 kohm and more
WIRED = replace(DESIGN, r_driver=50.0, r_sense=20.0)
NOISES: dict[str, tuple[float, Any]] = {
    "noise 2.5 %": (0.025, "largest"),
    "noise 5 %": (0.05, "largest"),
    "noise 10 %": (0.1, "largest"),
    "noise 20 % of each": (0.2, "weight"),
}
ARRAY = "true gradient"
WAYS = ("plain", *NOISES, ARRAY)


Axes = dict[str, dict[str, xs.Design]]
Found = dict[str, list[dict[str, Any]]]


def axes_of(ohms: list[float], tiles: list[int], errors: list[float]) -> Axes:
    """Chips that differ in one thing; tiles are compared with the wires of the largest resistance."""
    wired = {ohm: replace(WIRED, r_word=ohm, r_bit=ohm) for ohm in ohms}
    worst = max(ohms)
    erring = {part: replace(DESIGN, variation=xs.Variation(programming=part)) for part in errors}
    return {
        "wires, ohm": {f"{ohm:g}": design for ohm, design in wired.items()},
        f"N at {worst:g} ohm": {f"{tile}": replace(wired[worst], tile=tile) for tile in tiles},
        "programming error": {f"{part:.0%}": design for part, design in erring.items()},
    }


@dataclass(frozen=True)
class Case:
    """One training, read on all chips of its seed."""

    way: str
    seed: int
    epochs: int
    images: int | None

    def run(self, data: Split, size: int, axes: Axes) -> dict[str, dict[str, float]]:
        """Losses by axis and place; "digital" is that on digital matrices."""
        tuned = self.way == ARRAY
        noise = NOISES.get(self.way)
        with one_thread():
            processor = None if noise is None else xs.WeightNoise(*noise, seed=self.seed)
            first = readout_model(size, size, self.seed)
            model = self.trained(data, first, self.epochs - tuned, 0.6, processor)
            found = {"digital": {"": evaluate(model, data.test).loss}}
            for axis, places in axes.items():
                found[axis] = {at: self.loss(data, model, design, tuned=tuned) for at, design in places.items()}
        return found

    def trained(self, data: Split, model: xs.Model, count: int, rate: float, processor: Processor | None) -> xs.Model:
        rng, schedule = (
            Streams(self.seed).training("minibatches"),
            xs.Schedule(count, learning_rate=rate / model.A.shape[0]),
        )
        return [moved for _, moved in epochs(schedule, model, data, rng, processor=processor)][-1]

    def loss(self, data: Split, model: xs.Model, design: xs.Design, *, tuned: bool) -> float:
        """Of the images held back on a chip, behind an epoch there if the model is tuned."""
        chip = xs.Chip(design, seed=self.seed, gradient="true")
        model = chip.prepared(model)
        if tuned:
            model = self.trained(data, model, 1, 0.2, chip)
        return evaluate(model, data.test, processor=chip).loss


def main() -> None:
    parser = Arguments(__doc__, seeds=8, tiles=[8, 16, 32, 64], kept=ROOT / "runs" / "noise_training")
    parser.add_argument("--ohms", type=float, nargs="+", default=[0.0, 1.0, 2.5, 5.0, 10.0], help="Of a segment.")
    parser.add_argument("--errors", type=float, nargs="+", default=[0.0, 0.1, 0.2, 0.3, 0.5], help="Of programming.")
    parser.add_argument("--tuned-ohms", type=float, nargs="+", default=[2.5, 10.0], help="Trained on, too.")
    parser.add_argument("--tuned-errors", type=float, nargs="+", default=[0.1, 0.3], help="Trained on, too.")
    parser.add_argument("--size", type=int, default=64, help="States and hidden units.")
    parser.add_argument("--epochs", type=int, default=12, help="Of ten updates each.")
    parser.add_argument("--images", type=int, help="To train with and to hold back; all when left out.")
    quick = {"ohms": [10.0], "errors": [0.3], "tuned_ohms": [10.0], "tuned_errors": [0.3], "tiles": [8]}
    options = parser.parse(seeds=1, size=16, epochs=2, images=16, kept=None, **quick)
    data = few_digits(options.images)
    axes = axes_of(options.ohms, options.tiles, options.errors)
    tuned_axes = axes_of(options.tuned_ohms, [], options.tuned_errors)
    found: Found = {}
    for seed in range(options.seeds):
        for way in WAYS:
            case, places = Case(way, seed, options.epochs, options.images), tuned_axes if way == ARRAY else axes
            record = kept(
                options.kept, asdict(case) | {"places": repr(places)}, partial(case.run, data, options.size, places)
            )
            found.setdefault(way, []).append(record)
        print(f"seed {seed}: {elapsed():.0f} s", flush=True)
    print_tables(found, axes)
    publish(lambda: draw(found, axes), options.out, "noise_training")


def losses(found: Found, way: str, axis: str, at: str) -> FloatArray | None:
    """(seeds,); None where this way was not read."""
    values = [one.get(axis, {}).get(at) for one in found[way]]
    return None if None in values else np.array(values)


def print_tables(found: Found, axes: Axes) -> None:
    digital = ", ".join(f"{way} {spread([one['digital'][''] for one in found[way]], '.3f')}" for way in found)
    print(f"\nloss on digital matrices: {digital}")
    for axis, places in axes.items():
        print(f"\n{axis:<18} {'':<20}{'loss on the chip':>26}{'saved of the plain loss':>28}{'better on':>12}")
        for at in places:
            plain = losses(found, "plain", axis, at)
            for way in found:
                values = losses(found, way, axis, at)
                if values is None or plain is None:
                    continue
                better = f"{int((values < plain).sum())} of {len(values)}" if way != "plain" else ""
                saved = spread(1 - values / plain, "+.0%") if way != "plain" else ""
                print(f"{at:<18} {way:<20}{spread(values, '.3f'):>26}{saved:>28}{better:>12}")


def draw(found: Found, axes: Axes) -> Figure:
    figure, panels = new_figure(1, len(axes), width=3.6, height=3.3, share=False)
    for panel, (axis, places) in zip(panels, axes.items(), strict=True):
        seen = []
        for way, tint in zip(found, colours(list(found), ordered=False), strict=True):
            known = {number: losses(found, way, axis, at) for number, at in enumerate(places)}
            curve = {number: values for number, values in known.items() if values is not None}
            if not curve:
                continue
            values = np.array(list(curve.values()))
            seen.append(values)
            panel.plot(list(curve), np.median(values, axis=1), "D" if way == ARRAY else "o-", color=tint, label=way)
            if way in ("plain", "noise 5 %"):
                panel.fill_between(list(curve), values.min(axis=1), values.max(axis=1), color=tint, alpha=0.12)
        panel.set_xticks(range(len(places)), list(places))
        set_log_ordinate(panel, np.concatenate([one.ravel() for one in seen]), percent=False)
        panel.set(xlabel=axis, ylabel="loss on the chip")
    panels[0].legend()
    return figure


if __name__ == "__main__":
    main()
