#!/usr/bin/env python3
"""Training on the arrays against training for them: loss curves on the chip, with seeds.

A digits-dense model that was trained on digital matrices is deployed on chips of 64 x 64 arrays with 2.5 ohm wires,
10 % programming error and 1 % stuck devices, and trained further in several ways, without and with compensation of the
wires; and models are trained from scratch. Prints the loss and accuracy on images held back, as the chip answers them,
and draws hardware_training.png and hardware_training.svg. Every curve is kept in --curves as soon as it is there; run
the command again after an interruption.
"""

from __future__ import annotations

import json
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from common import ROOT, Arguments, publish

import numpy as np
from matplotlib.figure import Figure

import xbar_spice as xs
from xbar_spice.cosim import Chip
from xbar_spice.linear.operator import FloatArray
from xbar_spice.report.learning import LearningPanel, draw_learning
from xbar_spice.report.spread import spread
from xbar_spice.train.descent import evaluate
from xbar_spice.train.digits import digits_dense, load_digits
from xbar_spice.train.samples import Split
from xbar_spice.train.tasks import Task
from xbar_spice.train.training import TrainingResult, Tuned, train, tune

TASK = digits_dense()
RATE = 0.003  # of training that starts from trained weights
# Wires as at the 14 nm node; devices of 3.3 kohm and more.
DESIGN = xs.Design(
    tile=64,
    g_max=3e-4,
    r_word=2.5,
    r_bit=2.5,
    r_driver=50.0,
    r_sense=20.0,
    headroom=1.5,
    variation=xs.Variation(programming=0.1, stuck_on=0.005, stuck_off=0.005),
)
WAYS = {
    "digital": "digital training, deployed",
    "classifier": "classifier alone",
    "hybrid": "straight-through",
    "hardware": "transposed reads",
    "true": "true gradient",
}
STARTS = {
    "tuned": "trained weights, deployed",
    "compensated": "the same, compensated",
    "scratch": "from scratch",
}
PLAN = {
    "tuned": ("digital", "classifier", "hybrid", "hardware", "true"),
    "compensated": ("digital", "hybrid", "hardware"),
    "scratch": ("digital", "hybrid", "hardware"),
}


def images(count: int | None) -> Split:
    """The first images to train with and to hold back, or all."""
    digits = load_digits()
    few = slice(count)
    return replace(digits, train=digits.train.take(few), test=digits.test.take(few))


class FromScratch(Task):
    """The task on some of its images."""

    name, trained_on = TASK.name, TASK.trained_on

    def __init__(self, schedule: xs.Schedule, count: int | None) -> None:
        self.schedule, self._count = schedule, count

    def data(self) -> Split:
        return images(self._count)

    def initial(self, rng: np.random.Generator) -> xs.Model:
        return TASK.initial(rng)


@dataclass(frozen=True)
class Job:
    """One curve."""

    start: str
    way: str
    seed: int
    epochs: int
    images: int | None = None

    @property
    def name(self) -> str:
        return f"{self.start}-{self.way}-{self.seed}.json"

    @property
    def design(self) -> xs.Design:
        return replace(DESIGN, compensated=self.start == "compensated")

    @property
    def settings(self) -> dict[str, Any]:
        """All that a curve depends on."""
        return {
            "job": asdict(self),
            "design": asdict(self.design) | {"device": repr(self.design.device)},
            "task": asdict(TASK),
            "rate": RATE,
        }


def run(job: Job, model: xs.Model) -> dict[str, Any]:
    """Losses and accuracies of the images held back, on the chip, after every epoch."""
    gradient: Any = job.way if job.way in ("hybrid", "true") else "hardware"
    chip = Chip(job.design, seed=job.seed, gradient=gradient)
    place: dict[str, Any] = {"deployed_on": chip} if job.way == "digital" else {"processor": chip}
    trained: Any = "classifier" if job.way == "classifier" else "everything"
    schedule = replace(TASK.schedule, epochs=job.epochs, trained=trained)
    if job.start == "scratch":
        done: TrainingResult | Tuned = train(FromScratch(schedule, job.images), seed=job.seed, **place)
    else:
        done = tune(model, replace(schedule, learning_rate=RATE), seed=job.seed, digits=images(job.images), **place)
    before = [done.before] if isinstance(done, Tuned) else []
    found = [*before, *(epoch.test for epoch in done.history)]
    return {
        **job.settings,
        "loss": [test.loss for test in found],
        "accuracy": [test.accuracy for test in found],
        "seconds": done.seconds,
    }


def kept(job: Job, folder: Path) -> dict[str, Any] | None:
    """The curve, if it is there and was made with the same settings."""
    path = folder / job.name
    if not path.exists():
        return None
    record = json.loads(path.read_text())
    settings = json.loads(json.dumps(job.settings))
    return record if {name: record.get(name) for name in settings} == settings else None


def run_missing(jobs: list[Job], model: xs.Model, folder: Path, workers: int) -> None:
    missing = [job for job in jobs if kept(job, folder) is None]
    with ProcessPoolExecutor(max_workers=workers) as pool:
        running = {pool.submit(run, job, model): job for job in missing}
        for count, future in enumerate(as_completed(running), 1):
            job, record = running[future], future.result()
            draft = (folder / job.name).with_suffix(".tmp")
            draft.write_text(json.dumps(record, indent=1))
            draft.replace(folder / job.name)
            print(f"{count}/{len(missing)} {job.name} {record['seconds']:.0f} s", flush=True)


def curves(jobs: list[Job], folder: Path, start: str, what: str) -> dict[str, FloatArray]:
    """(seeds, epochs) by way of training."""
    found: dict[str, list[Any]] = {}
    for job in jobs:
        record = kept(job, folder)
        if job.start == start and record is not None:
            found.setdefault(job.way, []).append(record[what])
    return {way: np.array(values) for way, values in found.items()}


def print_table(jobs: list[Job], folder: Path) -> None:
    header = ("chips", "loss before", "loss after", "% right before", "% right after")
    print(f"{'':<27}{'':<27}{header[0]:>5}" + "".join(f"{name:>26}" for name in header[1:]))
    for start, title in STARTS.items():
        loss, accuracy = (curves(jobs, folder, start, what) for what in ("loss", "accuracy"))
        for way in loss:
            cells = [
                # Without trained weights there is no model before the first epoch.
                spread(values[:, end], form) if end or start != "scratch" else ""
                for values, form in ((loss[way], ".3f"), (100 * accuracy[way], ".1f"))
                for end in (0, -1)
            ]
            row = "".join(f"{text:>26}" for text in cells)
            print(f"{title:<27}{WAYS[way]:<27}{len(loss[way]):>5}{row}")


def print_pairs(jobs: list[Job], folder: Path) -> None:
    """What the ways of training, and compensation, do on the same chip."""
    losses = {start: curves(jobs, folder, start, "loss") for start in STARTS}
    print("\nloss after, less that of transposed reads on the same chip")
    for start, title in STARTS.items():
        for way in ("hybrid", "true"):
            if way in losses[start] and "hardware" in losses[start]:
                above = losses[start][way][:, -1] - losses[start]["hardware"][:, -1]
                print(f"{title:<27}{WAYS[way]:<27}{spread(above, '+.3f')}")
    deployed, compensated = (losses[start]["hardware"][:, 0] for start in ("tuned", "compensated"))
    lower = int((compensated < deployed).sum())
    print(f"as deployed, compensation lowers the loss on {lower} of {len(deployed)} chips")


def main() -> None:
    curves_folder = ROOT / "runs" / "hardware_training"
    parser = Arguments(__doc__, seeds=8, jobs=2)
    parser.add_argument("--epochs", type=int, default=3, help="Epochs from trained weights.")
    parser.add_argument("--scratch-epochs", type=int, default=5, help="Epochs from scratch.")
    parser.add_argument("--images", type=int, help="Images to train with and to hold back; all when left out.")
    parser.add_argument("--curves", type=Path, default=curves_folder, help="Folder of the curves.")
    parser.add_argument("--draw", action="store_true", help="Only print and draw the curves that are there.")
    options = parser.parse(
        seeds=1, jobs=1, epochs=1, scratch_epochs=1, images=16, curves=curves_folder.with_name("quick")
    )
    options.curves.mkdir(parents=True, exist_ok=True)
    weights = options.curves / "weights.npz"
    if not weights.exists():
        task = replace(TASK, schedule=replace(TASK.schedule, epochs=1)) if options.quick else TASK
        xs.save_model(weights, train(task, seed=0).model)
    model = xs.load_model(weights)
    digital = evaluate(model, load_digits().test)

    epochs = {"scratch": options.scratch_epochs}
    jobs = [
        Job(place, way, seed, epochs.get(place, options.epochs), options.images)
        for seed in range(options.seeds)
        for place, ways in PLAN.items()
        for way in ways
    ]
    jobs.sort(key=lambda job: job.way == "true")  # the longest ones last
    if not options.draw:
        run_missing(jobs, model, options.curves, options.jobs)

    print(f"\narrays of {DESIGN.tile} x {DESIGN.tile}; median (least to largest) over the chips")
    print(f"the same model on digital matrices: loss {digital.loss:.3f}, accuracy {digital.accuracy:.2%}\n")
    print_table(jobs, options.curves)
    print_pairs(jobs, options.curves)
    panels = [
        LearningPanel(
            title,
            {WAYS[way]: losses for way, losses in curves(jobs, options.curves, place, "loss").items()},
            first=int(place == "scratch"),
            reference=None if place == "scratch" else digital.loss,
        )
        for place, title in STARTS.items()
    ]

    def draw() -> Figure:
        return draw_learning(panels, reference="digital model on digital matrices", label="test loss on the chip")

    publish(draw, options.out, "hardware_training")


if __name__ == "__main__":
    main()
