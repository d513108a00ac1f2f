#!/usr/bin/env python3
"""From which batch size on does the array dominate a gradient's error, and is read noise a diffusion that tells doubt?

A small neural ODE has learnt noisy two moons and is written to chips with 5 % programming error, 1 ohm wires and read
noise. Three tables, medians over the chips with the least and the largest: the error of a minibatch's gradient by batch
size, from the samples that were drawn, from read noise, and from the devices and wires that stay; the spread of final
states by step length, which falls as the square root of h if reads are Euler-Maruyama with sigma = eta sqrt(h); and by
read noise the likelihood and the calibration error of decisions averaged over runs, and how often the middle 90 % of
the runs cover the margin between the classes that the same chip has without noise, and the digital one. Draws
noise.png.
"""

from __future__ import annotations

from dataclasses import replace

from common import Arguments, publish

import numpy as np
from matplotlib.figure import Figure

import xbar_spice as xs
from xbar_spice.linear.operator import FloatArray
from xbar_spice.report.spread import spread
from xbar_spice.report.style import new_figure, set_abscissa
from xbar_spice.solve.adjoint.discrete import gradients
from xbar_spice.solve.integrators.integration import integrate
from xbar_spice.train.descent import classifier_of
from xbar_spice.train.losses import CrossEntropy
from xbar_spice.train.named import NamedTask
from xbar_spice.train.samples import Samples
from xbar_spice.train.training import train

SOURCES = ("samples", "read noise", "devices and wires")
BATCHES = (1, 8, 64, 512, 4096)
BINS = np.linspace(0.5, 1.0, 6)


def chip(noise: float, seed: int) -> xs.Chip:
    design = xs.Design(
        r_word=1.0, r_bit=1.0, variation=xs.Variation(programming=0.05), noise=xs.ReadNoise(device=noise)
    )
    return xs.Chip(design, seed=seed)


def sample_gradients(model: xs.Model, field: xs.Field | xs.Layers, data: Samples) -> FloatArray:
    """Of each sample's loss, (samples, parameters of A and B)."""
    z0 = model.initial(data.x)
    trajectory = integrate(field, z0, model.method, h=model.h, steps=model.steps)
    score = CrossEntropy(classifier_of(model), data.classes).evaluate(trajectory.z[-1])
    found = gradients(trajectory, len(data) * score.cotangent, by="sample").parameters
    return np.hstack([found[name].reshape(len(data), -1) for name in "AB"])


def gradient_errors(model: xs.Model, data: Samples, noise: float, seed: int) -> dict[str, float]:
    """Squared errors relative to |g|^2: of one drawn sample, of the noise of one sample's reads, and of the chip."""
    exact = sample_gradients(model, model.field, data)
    with chip(0.0, seed).programmed(chip(0.0, seed).prepared(model)) as still:
        silent = sample_gradients(model, still.field, data)
    with chip(noise, seed).programmed(chip(noise, seed).prepared(model), "gradient") as noisy:
        read = sample_gradients(model, noisy.field, data)
    size = float(np.sum(exact.mean(axis=0) ** 2))
    return {
        "samples": xs.batch_variance(exact, 1, replacement=True) / size,
        "read noise": float(np.mean(np.sum((read - silent) ** 2, axis=1))) / size,
        "devices and wires": float(np.sum((silent.mean(axis=0) - exact.mean(axis=0)) ** 2)) / size,
    }


def state_spread(model: xs.Model, data: Samples, noise: float, seed: int, steps: int, runs: int) -> float:
    """Root mean square deviation of final states from run to run on one chip, at h steps = the model's end."""
    z0 = model.initial(data.x)
    with chip(noise, seed).programmed(chip(noise, seed).prepared(model), f"{steps} steps") as noisy:
        h = model.h * model.steps / steps
        z = integrate(noisy.field, np.repeat(z0, runs, axis=1), "forward_euler", h=h, steps=steps).z[-1]
    return float(np.sqrt(z.reshape(len(z), -1, runs).var(axis=2, ddof=1).mean()))


def decisions(model: xs.Model, data: Samples, noise: float, seed: int, runs: int) -> tuple[float, float]:
    """Mean negative log-likelihood and calibration error of probabilities averaged over runs of one chip."""
    z0 = model.initial(data.x)
    one = chip(noise, seed)
    with one.programmed(one.prepared(model), "decisions") as noisy:
        starts = np.repeat(z0, runs, axis=1)
        z = integrate(noisy.field, starts, model.method, h=model.h, steps=model.steps).z[-1]
    scores = classifier_of(model).logits(z)
    p = np.exp(scores - scores.max(axis=0))
    p = (p / p.sum(axis=0)).reshape(len(p), -1, runs).mean(axis=2)
    loss = -float(np.mean(np.log(p[data.classes, np.arange(len(data))])))
    confidence, right = p.max(axis=0), p.argmax(axis=0) == data.classes
    bins = np.digitize(confidence, BINS[1:-1])
    off = [abs(float(np.sum(confidence[bins == k] - right[bins == k]))) for k in range(len(BINS) - 1)]
    return loss, sum(off) / len(data)


def coverage(model: xs.Model, data: Samples, noise: float, seed: int, runs: int) -> tuple[float, float]:
    """Part of the samples whose margin without noise is in the middle 90 % of runs: of the chip, and digitally."""
    z0, one, still = model.initial(data.x), chip(noise, seed), chip(0.0, seed)

    def margins(field: xs.Field | xs.Layers, starts: FloatArray) -> FloatArray:
        scores = classifier_of(model).logits(integrate(field, starts, model.method, h=model.h, steps=model.steps).z[-1])
        return np.asarray(scores[1] - scores[0])

    with one.programmed(one.prepared(model), "coverage") as noisy, still.programmed(still.prepared(model)) as silent:
        drawn = margins(noisy.field, np.repeat(z0, runs, axis=1)).reshape(-1, runs)
        wanted = margins(silent.field, z0), margins(model.field, z0)
    low, high = np.quantile(drawn, [0.05, 0.95], axis=1)
    of_chip, digital = (float(np.mean((low <= one) & (one <= high))) for one in wanted)
    return of_chip, digital


def main() -> None:
    parser = Arguments(__doc__, chips=8)
    parser.add_argument("--noise", type=float, default=0.02, help="Of a device from read to read, part of g_max.")
    parser.add_argument("--noises", type=float, nargs="+", default=(0.0, 0.02, 0.05, 0.1, 0.2), help="For decisions.")
    parser.add_argument("--steps", type=int, nargs="+", default=(4, 8, 16, 32), help="For the spread of states.")
    parser.add_argument("--runs", type=int, default=32, help="Of one sample.")
    parser.add_argument("--points", type=int, default=800, help="Of the set, a quarter of them held back.")
    parser.add_argument("--epochs", type=int, default=30, help="Of training.")
    options = parser.parse(chips=1, noises=[0.0, 0.1], steps=[4, 8], runs=4, points=80, epochs=1)
    schedule = xs.Schedule(options.epochs, batch=50, jitter=0.0, learning_rate=0.02)
    task = NamedTask(
        f"two_moons(samples={options.points}, noise=0.3)", 4, 8, steps=4, method="forward_euler", schedule=schedule
    )
    model, data = train(task, seed=0).model, task.data()
    # A model that is done has almost no mean gradient to compare with: its start stands for a training under way.
    start = replace(task.initial(np.random.default_rng(0)), classifier=model.classifier)
    seeds = range(options.chips)
    parts = [gradient_errors(start, data.train, options.noise, seed) for seed in seeds]
    print(f"error of a gradient relative to it, read noise {options.noise:.0%} of g_max")
    print(f"{'batch':>6}  " + "  ".join(f"{name:>24}" for name in SOURCES))
    errors = {
        (name, batch): [(one[name] / (1 if name == SOURCES[2] else batch)) ** 0.5 for one in parts]
        for name in SOURCES
        for batch in BATCHES
    }
    for batch in BATCHES:
        print(f"{batch:>6}  " + "  ".join(f"{spread(errors[name, batch], '.3f'):>24}" for name in SOURCES))
    dominated = [one["samples"] / one["devices and wires"] for one in parts]
    ratio = [(one["read noise"] / one["samples"]) ** 0.5 for one in parts]
    print(f"the chip dominates the samples from a batch of {spread(dominated, '.0f')} on")
    print(f"read noise is {spread(ratio, '.3f')} of what the samples make, at any batch\n")
    widths = {
        s: [state_spread(model, data.test, options.noise, k, s, options.runs) for k in seeds] for s in options.steps
    }
    first = options.steps[0]
    print(f"{'steps':>6}  {'spread of final states':>28}  {'times sqrt(steps), to the first':>32}")
    for steps in options.steps:
        scaled = [(steps / first) ** 0.5 * w / v for w, v in zip(widths[steps], widths[first], strict=True)]
        print(f"{steps:>6}  {spread(widths[steps], '.4f'):>28}  {spread(scaled, '.3f'):>32}")
    titles = ("loss of the mean of runs", "calibration error", "covers the silent chip", "covers digital")
    print(f"\n{'noise':>6}  " + "  ".join(f"{title:>26}" for title in titles))
    found = {x: [decisions(model, data.test, x, seed, options.runs) for seed in seeds] for x in options.noises}
    for noise in options.noises:
        losses, off = zip(*found[noise], strict=True)
        cells = [spread(losses, ".3f"), spread(off, ".3f")]
        if noise:
            covered = [coverage(model, data.test, noise, seed, options.runs) for seed in seeds]
            cells += [spread(part, ".0%") for part in zip(*covered, strict=True)]
        print(f"{noise:>6.0%}  " + "  ".join(f"{cell:>26}" for cell in cells), flush=True)
    publish(lambda: draw(errors, widths, found), options.out, "noise")


def draw(
    errors: dict[tuple[str, int], list[float]],
    widths: dict[int, list[float]],
    found: dict[float, list[tuple[float, float]]],
) -> Figure:
    figure, axes = new_figure(1, 3, width=3.6, height=3.2, share=False)
    curves = {name: {batch: errors[name, batch] for batch in BATCHES} for name in SOURCES}
    for name, curve in curves.items():
        _band(axes[0], curve, name)
    axes[0].set(xscale="log", yscale="log", xlabel="batch", ylabel="error of a gradient", title="what errs")
    axes[0].legend()
    _band(axes[1], widths, "read")
    steps = np.array(list(widths))
    law = np.median(widths[int(steps[0])]) * np.sqrt(steps[0] / steps)
    axes[1].plot(steps, law, "k:", label="as sqrt(h)")
    set_abscissa(axes[1], [float(one) for one in steps])
    axes[1].set(yscale="log", xlabel="steps", ylabel="spread of final states", title="diffusion")
    axes[1].legend()
    _band(axes[2], {100 * x: [loss for loss, _ in one] for x, one in found.items()}, "loss")
    _band(axes[2], {100 * x: [off for _, off in one] for x, one in found.items()}, "calibration error")
    axes[2].set(xlabel="read noise, % of g_max", title="decisions, mean of runs")
    axes[2].legend()
    return figure


def _band(panel, curve, label) -> None:  # type: ignore[no-untyped-def]
    values = np.array(list(curve.values()))
    (line,) = panel.plot(list(curve), np.median(values, axis=1), "o-", label=label)
    panel.fill_between(list(curve), values.min(axis=1), values.max(axis=1), color=line.get_color(), alpha=0.15)


if __name__ == "__main__":
    main()
