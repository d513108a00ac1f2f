#!/usr/bin/env python3
"""How far spirals are followed, and beyond what was seen of them, on arrays of growing size and with longer wires.

Neural ODEs B tanh(A z + bias) + output_bias are trained on pieces of spirals, seen with noise at irregular times up to
3.8 at most: directly, with the points of the plane as states from the first one on, and latent, with an encoder that
makes a state of what is seen in the beginning, and a decoder. Arrays are not cut into tiles, so that the number of
hidden units is the length of their lines. Prints by hidden units and by the resistance of a wire segment the root mean
square distance from the spirals without noise, within the time that training saw and for as long again behind it, on
samples held back: of the first seed on chips with a programming error, medians with the least and the largest, beside
the digital networks of all seeds; and what training on the chip brings back at one size. Draws spirals_on_arrays.png.
"""

from __future__ import annotations

from argparse import Namespace
from dataclasses import dataclass, replace

from common import NODE_32, Arguments, elapsed, publish

import numpy as np
from matplotlib.figure import Figure

import xbar_spice as xs
from xbar_spice.data.spirals import SpiralPaths, spiral
from xbar_spice.linear.operator import FloatArray
from xbar_spice.report.spread import spread
from xbar_spice.report.style import colours, new_figure, set_log_ordinate
from xbar_spice.train.observed import grid_through
from xbar_spice.train.samples import split_of
from xbar_spice.train.spirals import SpiralTask
from xbar_spice.train.training import train

WINDOW = 100 * 6.0 * np.pi / 499  # the time in which samples are seen
KINDS = {"direct": 0, "latent": 4}  # states; 0 for the points themselves
SEEN = 9  # times that the encoder gets, beside the start


@dataclass(frozen=True)
class Held:
    """Samples held back, followed twice as long.

    Attributes:
        times: (times,), rising, without 0.
        paths: (times, 2, samples) of the spirals.
        x: By kind of network, (inputs, samples) what is seen of them.
    """

    times: FloatArray
    paths: FloatArray
    x: dict[str, FloatArray]


def held_back(paths: SpiralPaths, samples: int) -> Held:
    """New pieces with the observation times of a set, so that each goes on for twice its window."""
    seen_at = paths.data().times
    assert seen_at is not None
    rng = np.random.default_rng(paths.seed + 1000)
    times = np.linspace(0.0, 2.0 * WINDOW, 41)[1:]
    starts = rng.uniform(0.0, 6.0 * np.pi - 2.0 * WINDOW, samples)
    at = {name: np.concatenate([[0.0], t])[:, np.newaxis] + starts for name, t in (("p", times), ("x", seen_at[:SEEN]))}
    clockwise = np.arange(samples) % 2 == 0
    follow = {  # (2, times, samples)
        name: np.where(clockwise, *(np.moveaxis(spiral(t, way), 2, 0) for way in (True, False)))
        for name, t in at.items()
    }
    points = follow["x"] + paths.noise * rng.standard_normal(follow["x"].shape)
    x = {"direct": points[:, 0], "latent": np.moveaxis(points, 0, 1).reshape(-1, samples)}
    return Held(times, np.moveaxis(follow["p"], 0, 1)[1:], x)


def seen_by(kind: str, paths: SpiralPaths) -> SpiralPaths:
    return replace(paths, seen=SEEN if KINDS[kind] else 0)


def trained(kind: str, hidden: int, seed: int, paths: SpiralPaths, epochs: int) -> xs.Model:
    schedule = xs.Schedule(epochs, batch=32, jitter=0.0, learning_rate=0.02)
    states, of = KINDS[kind], seen_by(kind, paths)
    return train(SpiralTask(f"spirals-{kind}", "spiral_paths", of, states, hidden, schedule=schedule), seed=seed).model


def distances(model: xs.Model, field: xs.Field | xs.Layers, held: Held, kind: str) -> tuple[float, float]:
    """Root mean square distance within the window, and behind it."""
    grid = grid_through(held.times, 0.2)
    run = xs.integrate(field, model.initial(held.x[kind]), model.method, grid=grid)
    z = run.z[np.searchsorted(grid, held.times - 1e-9)]
    points = z if model.classifier is None else np.stack([model.classifier.logits(one) for one in z])
    squares = np.sum((points - held.paths) ** 2, axis=1)
    within = held.times <= WINDOW
    return float(np.sqrt(squares[within].mean())), float(np.sqrt(squares[~within].mean()))


def on_chip(model: xs.Model, held: Held, kind: str, ohm: float, programming: float, seed: int) -> tuple[float, float]:
    design = replace(NODE_32, r_word=ohm, r_bit=ohm, variation=xs.Variation(programming))
    chip = xs.Chip(design, seed=seed)
    with chip.programmed(chip.prepared(model)) as programmed:
        return distances(model, programmed.field, held, kind)


def tuned_on_chip(
    model: xs.Model, held: Held, kind: str, paths: SpiralPaths, options: Namespace, seed: int
) -> tuple[float, float]:
    """The same after some epochs of training on the chip, by reads of both sides of its arrays."""
    ohm, split = options.tuned_ohm, split_of(*seen_by(kind, paths).split())
    design = replace(NODE_32, r_word=ohm, r_bit=ohm, variation=xs.Variation(options.programming), headroom=1.5)
    chip = xs.Chip(design, seed=seed)
    schedule = xs.Schedule(options.tuned_epochs, batch=32, jitter=0.0, learning_rate=0.005)
    learnt = xs.tune(model, schedule, processor=chip, digits=split).model
    with chip.programmed(learnt) as programmed:
        return distances(learnt, programmed.field, held, kind)


Found = dict[tuple[str, int, float], list[tuple[float, float]]]


def main() -> None:
    parser = Arguments(__doc__, chips=8, seeds=2)
    parser.add_argument("--hidden", type=int, nargs="+", default=[16, 64, 128], help="Hidden units, one run each.")
    parser.add_argument("--ohms", type=float, nargs="+", default=[0.0, 1.0, 5.0, 20.0], help="Of a wire segment.")
    parser.add_argument("--programming", type=float, default=0.02, help="Programming error of devices, relative.")
    parser.add_argument("--epochs", type=int, default=50, help="Of training.")
    parser.add_argument("--points", type=int, default=400, help="Samples of the set.")
    parser.add_argument("--tuned", type=int, default=64, help="Hidden units of the network that is trained on chips.")
    parser.add_argument("--tuned-ohm", type=float, default=5.0, help="Of a wire segment there.")
    parser.add_argument("--tuned-epochs", type=int, default=4, help="Of training there.")
    options = parser.parse(
        chips=1, seeds=1, hidden=[8], ohms=[5.0], epochs=1, points=40, tuned=8, tuned_epochs=1, tuned_ohm=5.0
    )
    paths = SpiralPaths(samples=options.points, times=20)
    held = held_back(paths, options.points // 6)
    digital: dict[tuple[str, int], list[tuple[float, float]]] = {}
    found: Found = {}
    models: dict[tuple[str, int], xs.Model] = {}
    for kind in KINDS:
        for hidden in options.hidden:
            of = [trained(kind, hidden, seed, paths, options.epochs) for seed in range(options.seeds)]
            models[kind, hidden] = of[0]
            digital[kind, hidden] = [distances(model, model.field, held, kind) for model in of]
            within, behind = zip(*digital[kind, hidden], strict=True)
            cells = [" ".join(f"{x:.2f}" for x in part) for part in (within, behind)]
            print(f"\n{kind}, {hidden} hidden units, {elapsed():.0f} s")
            print(f"  digital: within {cells[0]:>22}, behind {cells[1]:>22}, of {options.seeds} seeds")
            for ohm in options.ohms:
                on_chips = [on_chip(of[0], held, kind, ohm, options.programming, seed) for seed in range(options.chips)]
                found[kind, hidden, ohm] = on_chips
                cells = [spread(part, ".2f") for part in zip(*on_chips, strict=True)]
                print(f"{ohm:>6g} ohm: within {cells[0]:>22}, behind {cells[1]:>22}", flush=True)
        learnt = [
            tuned_on_chip(models[kind, options.tuned], held, kind, paths, options, seed)
            for seed in range(options.chips)
        ]
        cells = [spread(part, ".2f") for part in zip(*learnt, strict=True)]
        said = f"{kind}, {options.tuned} hidden units, {options.tuned_ohm:g} ohm, {options.tuned_epochs} epochs there"
        print(f"\n{said}: within {cells[0]}, behind {cells[1]}, {elapsed():.0f} s", flush=True)
    publish(lambda: draw(models, held, digital, found, options.programming), options.out, "spirals_on_arrays")


def draw(
    models: dict[tuple[str, int], xs.Model],
    held: Held,
    digital: dict[tuple[str, int], list[tuple[float, float]]],
    found: Found,
    programming: float,
) -> Figure:
    figure, axes = new_figure(1, 4, width=2.9, height=2.9, share=False)
    sizes, ohms = sorted({size for _, size, _ in found}), sorted({ohm for _, _, ohm in found})
    for panel, kind in zip(axes[:2], KINDS, strict=True):
        size = sizes[min(1, len(sizes) - 1)]
        lines: list[float | None] = [None, *(ohms[1:] or ohms)]
        for sample in (0, 1):
            panel.plot(*held.paths[:, :, sample].T, color="black", linewidth=1.0, label=None if sample else "spiral")
            for ohm, colour in zip(lines, colours(lines, ordered=True), strict=True):
                label = None if sample else "digital" if ohm is None else f"{ohm:g} ohm"
                points = path(models[kind, size], held, kind, sample, ohm, programming)
                panel.plot(*points.T, "--", color=colour, label=label)
        panel.set(title=f"{kind}, {size} hidden units", aspect="equal", xlabel="$x_1$", ylabel="$x_2$")
    axes[0].legend(fontsize="x-small", loc="upper center", bbox_to_anchor=(0.5, -0.45), ncols=3)
    for panel, kind in zip(axes[2:], KINDS, strict=True):
        for size, colour in zip(sizes, colours(sizes, ordered=True), strict=True):
            for part, line in ((0, "o--"), (1, "o-")):
                values = np.array([[one[part] for one in found[kind, size, ohm]] for ohm in ohms])
                label = f"{size:g} hidden" if part else None
                panel.plot(ohms, np.median(values, axis=1), line, color=colour, label=label)
                panel.fill_between(ohms, values.min(axis=1), values.max(axis=1), color=colour, alpha=0.15, linewidth=0)
            panel.axhline(digital[kind, size][0][1], color=colour, linestyle=":", linewidth=1.0)
        values = np.array([one for (of, *_), chips in found.items() if of == kind for one in chips])
        set_log_ordinate(panel, values, percent=False)
        panel.set(xlabel="ohm of a wire segment", title=f"{kind}: behind, dashed within")
    axes[2].set_ylabel("distance from the spiral")
    axes[2].legend(fontsize="x-small")
    return figure


def path(model: xs.Model, held: Held, kind: str, sample: int, ohm: float | None, programming: float) -> FloatArray:
    """(times, 2) where a network leads a sample, digitally or on the first chip."""
    design = replace(NODE_32, r_word=ohm or 0.0, r_bit=ohm or 0.0, variation=xs.Variation(programming))
    chip = xs.Chip(design, seed=0)
    with chip.programmed(chip.prepared(model)) as programmed:
        field = model.field if ohm is None else programmed.field
        grid = grid_through(held.times, 0.2)
        z = xs.integrate(field, model.initial(held.x[kind][:, [sample]]), model.method, grid=grid).z
    z = z[np.searchsorted(grid, held.times - 1e-9)]
    return np.stack([one[:, 0] if model.classifier is None else model.classifier.logits(one)[:, 0] for one in z])


if __name__ == "__main__":
    main()
