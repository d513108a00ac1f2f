#!/usr/bin/env python3
"""What same-end transposed reads, straight-through and the true gradient are worth in training, at N = 64, 128, 256.

A neural ODE of N states and N hidden units learns the handwritten digits from scratch on a chip with arrays of N x N.
Encoder and classifier are random and stay, so that all that is learnt is learnt by the arrays. The ways see the same
chip, the same first weights and the same minibatches. Prints the loss and accuracy on images held back, as the chip
answers them, what each way leaves above the true gradient on the same chip, and how far its gradient is from the true
one at the first step and behind the last one; medians over the chips with the least and the largest. Draws
training_gradients.png and training_gradients.svg. What is found is kept in --kept at once; run the command again after
an interruption.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from common import NODE_32, ROOT, Arguments, elapsed, few_digits, kept, publish, readout_model

import numpy as np
from matplotlib.figure import Figure

import xbar_spice as xs
from xbar_spice.linear.operator import FloatArray
from xbar_spice.report.spread import spread
from xbar_spice.report.style import colours, new_figure, set_abscissa, set_log_ordinate
from xbar_spice.streams import Streams
from xbar_spice.train.descent import epochs, evaluate, loss_and_gradients
from xbar_spice.train.samples import Samples, Split

WAYS = {"hardware": "transposed reads", "hybrid": "straight-through", "true": "true gradient"}
PLACES = {"start": "before", "digital": "digital, deployed"} | WAYS


@dataclass(frozen=True)
class Case:
    """One chip."""

    size: int
    hidden: int
    ohm: float
    seed: int
    epochs: int
    programming: float
    images: int | None

    def chip(self, gradient: Any) -> xs.Chip:
        variation = xs.Variation(programming=self.programming)
        design = replace(
            NODE_32,
            tile=max(self.size, self.hidden),
            r_word=self.ohm,
            r_bit=self.ohm,
            headroom=1.5,
            variation=variation,
        )
        return xs.Chip(design, seed=self.seed, gradient=gradient)

    def run(self, data: Split) -> dict[str, Any]:
        """What the images held back say before and after each way, and the gradients against the true ones."""
        chip, batch = self.chip("hardware"), data.train.take(slice(128))
        model = chip.prepared(readout_model(self.size, self.hidden, self.seed))
        found: dict[str, Any] = {"start": evaluate(model, data.test, processor=chip)}
        found["first"] = self.against_true(model, batch, list(WAYS))
        found["last"] = {}
        # Smaller steps of larger matrices, whose entries are smaller.
        schedule = xs.Schedule(self.epochs, learning_rate=1.0 / self.size)
        for way in ("digital", *WAYS):
            rng = Streams(self.seed).training("minibatches")
            places: dict[str, Any] = {"deployed_on": chip} if way == "digital" else {"processor": self.chip(way)}
            *_, (epoch, end) = epochs(schedule, model, data, rng, **places)
            found[way] = epoch.test
            if way in ("hardware", "hybrid"):
                found["last"] |= self.against_true(end, batch, [way])
        return found

    def against_true(self, model: xs.Model, batch: Samples, ways: list[str]) -> dict[str, tuple[float, float]]:
        """Cosine of gradients of both matrices, and the length of the difference relative to the true one."""
        slopes = {way: self.slope(model, batch, way) for way in {*ways, "true"}}
        size = np.linalg.norm(slopes["true"])
        return {
            way: (
                float(slopes[way] @ slopes["true"] / np.linalg.norm(slopes[way]) / size),
                float(np.linalg.norm(slopes[way] - slopes["true"]) / size),
            )
            for way in ways
        }

    def slope(self, model: xs.Model, batch: Samples, way: str) -> FloatArray:
        found = loss_and_gradients(model, batch, processor=self.chip(way))[1]
        return np.concatenate([one.ravel() for one in found.values()])


def main() -> None:
    parser = Arguments(__doc__, chips=8, sizes=[64, 128, 256], kept=ROOT / "runs" / "training_gradients")
    parser.add_argument("--hidden", type=int, default=64, help="Hidden units.")
    parser.add_argument("--ohms", type=float, nargs="+", default=[1.0, 2.5], help="Of a segment of a wire.")
    parser.add_argument("--programming", type=float, default=0.05, help="Programming error.")
    parser.add_argument("--epochs", type=int, default=1, help="Of ten updates each.")
    parser.add_argument("--images", type=int, help="To train with and to hold back; all when left out.")
    options = parser.parse(chips=1, sizes=[16], hidden=8, ohms=[1.0], images=32, kept=None)
    found: dict[tuple[float, int], list[dict[str, Any]]] = {}
    data = few_digits(options.images)
    for ohm in options.ohms:
        for size in options.sizes:
            for seed in range(options.chips):
                case = Case(size, options.hidden, ohm, seed, options.epochs, options.programming, options.images)
                found.setdefault((ohm, size), []).append(kept(options.kept, asdict(case), partial(case.run, data)))
                print(f"{ohm:g} ohm, N = {size}, chip {seed}: {elapsed():.0f} s", flush=True)
    print_tables(found)
    publish(lambda: draw(found), options.out, "training_gradients")


Found = dict[tuple[float, int], list[dict[str, Any]]]


def tests(records: list[dict[str, Any]], name: str, place: int) -> FloatArray:
    """(chips,) accuracy at place 0, loss at place 1."""
    return np.array([record[name][place] for record in records])


def against(records: list[dict[str, Any]], when: str, way: str, place: int) -> FloatArray:
    """(chips,) cosine at place 0, relative error at place 1."""
    return np.array([record[when][way][place] for record in records])


def print_tables(found: Found) -> None:
    header = ("loss", "less the true gradient's", "% right")
    print(f"\n{'ohm':>4} {'N':>4} {'':<17}" + "".join(f"{name:>30}" for name in header))
    for (ohm, size), records in found.items():
        for name, title in PLACES.items():
            losses = tests(records, name, 1)
            cells = [
                spread(losses, ".3f"),
                spread(losses - tests(records, "true", 1), "+.4f"),
                spread(100 * tests(records, name, 0), ".1f"),
            ]
            print(f"{ohm:>4g} {size:>4} {title:<17}" + "".join(f"{text:>30}" for text in cells))
    print(
        f"\n{'ohm':>4} {'N':>4} {'gradient by':<17}{'':<6}" + "".join(f"{n:>30}" for n in ("cosine", "error", "angle"))
    )
    for (ohm, size), records in found.items():
        for way in ("hardware", "hybrid"):
            for when in ("first", "last"):
                cosine, error = (against(records, when, way, place) for place in (0, 1))
                angle = np.degrees(np.arccos(np.minimum(1.0, cosine)))
                cells = [spread(cosine, ".4f"), spread(error, ".1%"), spread(angle, ".1f")]
                print(f"{ohm:>4g} {size:>4} {WAYS[way]:<17}{when:<6}" + "".join(f"{text:>30}" for text in cells))


def draw(found: Found) -> Figure:
    ohms, sizes = sorted({key[0] for key in found}), sorted({key[1] for key in found})
    figure, axes = new_figure(1, 1 + len(ohms), width=3.5, height=3.2, share=False)
    tints = dict(zip(WAYS, colours(list(WAYS), ordered=False), strict=True)) | {"digital": "0.5"}
    titles = {name: title for name, title in PLACES.items() if name != "start"}
    for panel, ohm in zip(axes, ohms, strict=False):
        seen = []
        for shift, (name, title) in enumerate(titles.items()):
            values = np.array([tests(found[ohm, size], name, 1) for size in sizes])
            seen.append(values.ravel())
            middle = np.median(values, axis=1)
            bars = np.abs(np.stack([values.min(axis=1), values.max(axis=1)]) - middle)
            at = np.array(sizes) * 1.04 ** (shift - 1.5)  # side by side
            panel.errorbar(at, middle, bars, fmt="o-", color=tints[name], label=title, capsize=2)
        set_abscissa(panel, sizes)
        set_log_ordinate(panel, np.concatenate(seen), percent=False)
        panel.set(xlabel="N", ylabel="loss on the chip", title=f"{ohm:g} ohm a segment")
    axes[0].legend()
    for ohm, style in zip(ohms, ("-", "--", ":", "-."), strict=False):
        for way in ("hardware", "hybrid"):
            cosine = np.array([against(found[ohm, size], "first", way, 0) for size in sizes])
            angle = np.degrees(np.arccos(np.minimum(1.0, cosine)))
            label = f"{WAYS[way]}, {ohm:g} ohm"
            axes[-1].plot(sizes, np.median(angle, axis=1), "o" + style, color=tints[way], label=label)
            axes[-1].fill_between(sizes, angle.min(axis=1), angle.max(axis=1), color=tints[way], alpha=0.12)
    set_abscissa(axes[-1], sizes)
    axes[-1].set(xlabel="N", ylabel="angle to the true gradient, degrees", title="first gradient", ylim=(0, None))
    axes[-1].legend()
    return figure


if __name__ == "__main__":
    main()
