#!/usr/bin/env python3
"""Which mapping for which technology, what time does to it, and how many levels and bits a gradient needs.

Co-simulates the digits-conv model on chips whose devices are drawn, each from a seed of its own, with wires of 22 nm.
Prints the relative error of the gradient of A and the accuracy on the test images, as medians over the chips with the
least and the largest, and writes a figure for each part.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from common import Arguments, digits_model, publish

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import xbar_spice as xs
from xbar_spice.report.spread import spread
from xbar_spice.study.problem import make_problem

ARRAYS: dict[str, Any] = {"technology": "22nm", "r_driver": 10.0, "r_sense": 10.0, "tile": 16}
# Trained weights answer their own images with more than random vectors, by which the ADCs are calibrated.
CALIBRATED: dict[str, Any] = {"adc_reference": "calibration", "adc_shared": "line", "adc_range": 2.0}
ADC = xs.Converters(adc_bits=8, **CALIBRATED)
ONE_ADC = xs.Converters(adc_bits=8, subtraction="analog", **CALIBRATED)
TECHNOLOGIES: dict[str, dict[str, Any]] = {
    "HfOx, Wan": {"g_min": 1e-6, "g_max": 39e-6, "programming": "published(fit='hfox_wan_crosssim')"},
    "HfO2, Milo": {"g_min": 50e-6, "g_max": 225e-6, "programming": "published(fit='hfox_milo')"},
    "CMO/HfOx": {"g_min": 9e-6, "g_max": 88e-6, "programming": "published(fit='cmo_hfox_2pct')"},
    "PCM": {"g_min": 0.1e-6, "g_max": 25e-6, "programming": "published(fit='pcm')"},
}
# Name: devices of a weight, conversions of an output (one more an array for a reference), what a design has.
MAPPINGS: dict[str, tuple[int, int, dict[str, Any]]] = {
    "offset": (1, 1, {"mapping": xs.Offset(), "converters": ADC}),
    "differential": (2, 1, {"mapping": xs.Differential(), "converters": ONE_ADC}),
    "interleaved": (2, 1, {"mapping": xs.Interleaved(), "converters": ONE_ADC}),
    "signed rows": (2, 1, {"mapping": xs.SignedRows(), "converters": ADC}),
    "differential, 4 pairs": (8, 8, {"mapping": xs.Differential(4), "converters": ADC}),
    "bit slices, 4 of 2 bits": (8, 8, {"mapping": xs.BitSliced(9, 2), "converters": ADC}),
}
HOUR, DAY = 3600.0, 86400.0
TIMES = {"1 s": 1.0, "1 h": HOUR, "1 day": DAY, "30 days": 30 * DAY}
AGEING: dict[str, dict[str, dict[str, Any]]] = {
    "PCM": {name: {**TECHNOLOGIES["PCM"], "drift": "pcm", "after": after} for name, after in TIMES.items()},
    "CMO/HfOx": {
        name: {**TECHNOLOGIES["CMO/HfOx"], "drift": "cmo_hfox", "after": after} for name, after in TIMES.items()
    },
    # Known as distributions at three times, of which no other one is made.
    "HfOx, Wan": {
        name: {"g_min": 1e-6, "g_max": 39e-6, "programming": f"published(fit='hfox_wan_aihwkit_{fit}')"}
        for name, fit in (("1 s", "1s"), ("1 day", "1d"), ("2 days", "2d"))
    },
}
SECONDS = {**TIMES, "2 days": 2 * DAY}
LEVELS = (2, 4, 8, 16, 32, 64, 128)
BITS = (3, 4, 5, 6, 7, 8, 10)
FEW: dict[str, dict[str, Any]] = {
    "differential": {"mapping": xs.Differential()},
    "differential, 4 pairs": {"mapping": xs.Differential(4)},
    "signed rows": {"mapping": xs.SignedRows()},
}

Found = Mapping[str, list[float]]


def main() -> None:
    parser = Arguments(__doc__, weights=None, samples=32, chips=8)
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS), help="What to measure.")
    options = parser.parse(parts=["levels"], samples=2, chips=1)
    problem = make_problem(digits_model(options), samples=options.samples, seed=0)
    print(f"{options.samples} test images, {options.chips} chips: median (least to largest)")
    for part in options.parts:
        print(f"\n{part}")
        publish(partial(PARTS[part], problem, options.chips), options.out, f"technologies_{part}")


def measured(problem: xs.Problem, chips: int, **design: Any) -> Found:
    """Error of the gradient of A, and accuracy, of every chip."""
    built = xs.Design(**{**ARRAYS, **design})
    seeds = range(chips if built.random else 1)
    records = [xs.cosimulate(problem, built, engine="nodal", seed=seed).record for seed in seeds]
    return {
        "gradient": [record["gradients"]["A"]["relative_error"] for record in records],
        "accuracy": [record["accuracy"]["analog"] for record in records],
    }


def show(name: str, found: Found) -> None:
    print(f"{name:<52}{spread(found['gradient'], '.1%'):>28}{spread(found['accuracy'], '.1%'):>28}")


def mappings(problem: xs.Problem, chips: int) -> Figure:
    """Every mapping with the devices of every technology."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for place, (name, technology) in enumerate(TECHNOLOGIES.items()):
        for number, (mapping, (devices, conversions, changes)) in enumerate(MAPPINGS.items()):
            found = measured(problem, chips, **technology, **changes)
            show(f"{name}, {mapping} ({devices} dev., {conversions} conv.)", found)
            at = place + 0.13 * (number - 2.5)
            bars(
                axes[0],
                at,
                found["gradient"],
                f"C{number}",
                f"{mapping}: {devices}, {conversions}" if not place else None,
            )
            bars(axes[1], at, found["accuracy"], f"C{number}", None)
    for axis, text in zip(axes, ("relative error of dL/dA", "accuracy on test images"), strict=True):
        axis.set_xticks(range(len(TECHNOLOGIES)), list(TECHNOLOGIES))
        axis.set_ylabel(text)
    axes[0].set_yscale("log")
    figure.legend(loc="outside lower center", ncols=3, title="mapping: devices a weight, conversions an output")
    return figure


def bars(axis: Axes, at: float, values: list[float], colour: str, label: str | None) -> None:
    """Median with the least and the largest."""
    middle = float(np.median(values))
    ends = [[middle - min(values)], [max(values) - middle]]
    axis.errorbar([at], [middle], ends, fmt="o", color=colour, label=label, markersize=4, capsize=2)


def time(problem: xs.Problem, chips: int) -> Figure:
    """The same chips growing old."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    for number, (name, ages) in enumerate(AGEING.items()):
        found = {age: measured(problem, chips, **changes) for age, changes in ages.items()}
        for age, values in found.items():
            show(f"{name} after {age}", values)
        at = [SECONDS[age] for age in found]
        for axis, key in zip(axes, ("gradient", "accuracy"), strict=True):
            medians, least, most = (
                [float(which(values[key])) for values in found.values()] for which in (np.median, min, max)
            )
            axis.plot(at, medians, "o-", color=f"C{number}", label=name)
            axis.fill_between(at, least, most, color=f"C{number}", alpha=0.2, linewidth=0)
    for axis, text in zip(axes, ("relative error of dL/dA", "accuracy on test images"), strict=True):
        axis.set_xscale("log")
        axis.set_xticks([SECONDS[age] for age in TIMES], list(TIMES))
        axis.set_xticks([], minor=True)
        axis.set_xlabel("after programming")
        axis.set_ylabel(text)
    axes[0].set_yscale("log")
    axes[1].legend()
    return figure


def levels(problem: xs.Problem, _: int) -> Figure:
    """How the gradient gets better with levels of devices and with bits of ADCs; nothing is drawn."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained", sharey=True)
    for name, changes in FEW.items():
        for axis, of, values in ((axes[0], "levels", LEVELS), (axes[1], "ADC bits", BITS)):
            found = [
                measured(problem, 1, **changes, **(
                    {"programming": xs.Levels(value)} if of == "levels" else
                    {"converters": xs.Converters(adc_bits=value, **CALIBRATED)}
                ))
                for value in values
            ]  # fmt: skip
            for value, one in zip(values, found, strict=True):
                show(f"{name}, {value} {of}", one)
            axis.plot(values, [one["gradient"][0] for one in found], "o-", label=name)
    exact = measured(problem, 1)["gradient"][0]
    show("wires alone, differential", {"gradient": [exact], "accuracy": [np.nan]})
    for axis, text in zip(axes, ("levels of a device", "bits of the ADCs"), strict=True):
        axis.axhline(exact, color="grey", linestyle=":", label="wires alone" if axis is axes[0] else None)
        axis.set_xlabel(text)
        axis.set_yscale("log")
    axes[0].set_xscale("log", base=2)
    axes[0].set_ylabel("relative error of dL/dA")
    axes[0].legend()
    return figure


PARTS = {"mappings": mappings, "time": time, "levels": levels}

if __name__ == "__main__":
    main()
