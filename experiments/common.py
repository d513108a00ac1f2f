"""What the experiments share: their options, the model they run on, a circuit to start from, and how they end.

Import it before any other package: it finds the environment of the project, whichever Python runs the experiment.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from environment import ROOT

import numpy as np
from matplotlib.figure import Figure

import xbar_spice as xs
from xbar_spice.report.style import save, styled
from xbar_spice.train.digits import DigitsTask, digits_conv, load_digits
from xbar_spice.train.samples import Split
from xbar_spice.train.training import train
from xbar_spice.weights import Classifier

__all__ = [
    "NODE_32",
    "ROOT",
    "Arguments",
    "digits_model",
    "digits_task",
    "elapsed",
    "few_digits",
    "kept",
    "model_line",
    "publish",
    "readout_model",
]

NODE_32 = xs.Design(r_word=1.0, r_bit=1.0, r_driver=50.0, r_sense=20.0)
"""Wires, drivers and sense terminals as at the 32 nm node, ohm."""

_FIGURES, _QUICK_FIGURES = ROOT / "docs" / "figures", ROOT / "runs" / "quick"
_START = time.perf_counter()
_SHARED: dict[str, dict[str, Any]] = {
    "weights": {"type": Path, "metavar": "FILE", "help": "Weight file of a digits model; trained when left out."},
    "samples": {"type": int, "help": "Number of samples."},
    "seed": {"type": int, "help": "Seed of the samples, of a model that is trained, and of the first chip."},
    "chips": {"type": int, "help": "Number of chips whose devices are drawn, each from a seed of its own."},
    "seeds": {"type": int, "help": "Number of seeds, from 0 on; each draws all that is random anew."},
    "tile": {"type": int, "help": "Rows and columns of a tile."},
    "tiles": {"type": int, "nargs": "+", "help": "Rows and columns of a tile, one run each."},
    "sizes": {"type": int, "nargs": "+", "help": "Sizes N, one run each."},
    "kept": {
        "type": Path,
        "metavar": "FOLDER",
        "help": "Where all that is found is kept at once.",
    },
    "jobs": {"type": int, "help": "Number of processes side by side."},
}


class _Help(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """The module's text as it stands, and the default of every option."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default is None else super()._get_help_string(action)


class Arguments(argparse.ArgumentParser):
    """The command line of an experiment.

    Args:
        text: The docstring of the experiment.
        figure: It draws a figure, to be published in `--out`.
        shared: Defaults of options that several experiments take, by name.
    """

    def __init__(self, text: str | None, *, figure: bool = True, **shared: Any) -> None:
        super().__init__(description=text, formatter_class=_Help)
        self._figure = figure
        for name, default in shared.items():
            self.add_argument(f"--{name}", default=default, **_SHARED[name])

    def parse(self, **quick: Any) -> argparse.Namespace:
        """Read the command line.

        Args:
            quick: Defaults of the options in a trial run of seconds, `--quick`. Its figure is not for publication,
                so it goes to a folder that is not under version control.
        """
        if self._figure:
            self.add_argument("--out", type=Path, default=_FIGURES, help="Folder of the figure.")
            quick = {"out": _QUICK_FIGURES, **quick}
        if quick:
            self.add_argument("--quick", action="store_true", help="A trial run of seconds; its numbers mean little.")
            if self.parse_known_args()[0].quick:
                self.set_defaults(**quick)
        return self.parse_args()


def digits_task(*, quick: bool) -> DigitsTask:
    """The task "digits-conv"; in a trial run with a single epoch."""
    task = digits_conv()
    return replace(task, schedule=replace(task.schedule, epochs=1)) if quick else task


def digits_model(options: argparse.Namespace) -> xs.Model:
    """The convolutional neural ODE on handwritten digits: from `--weights`, or trained."""
    if options.weights:
        return xs.load_model(options.weights)
    return train(digits_task(quick=options.quick), seed=vars(options).get("seed", 0)).model


def few_digits(images: int | None) -> Split:
    """The first handwritten digits to train with and to hold back; all of them for None."""
    digits, few = load_digits(), slice(images)
    return replace(digits, train=digits.train.take(few), test=digits.test.take(few))


def readout_model(states: int, hidden: int, seed: int) -> xs.Model:
    """Random matrices between a random encoder of 8 x 8 pixels and a random classifier, which both stay.

    The encoder's columns and the classifier's rows are orthonormal, so that what is learnt is learnt by the matrices.
    """
    rng, (pixels, classes) = np.random.default_rng(seed), (64, 10)
    lift = np.linalg.qr(rng.normal(size=(max(states, pixels), pixels)))[0][:states]
    A, B = (0.7 * rng.normal(size=shape) / np.sqrt(shape[1]) for shape in ((hidden, states), (states, hidden)))
    read = 4.0 * np.linalg.qr(rng.normal(size=(states, classes)))[0].T
    encoder, classifier = xs.Encoder(lift, np.zeros(states)), Classifier(read, np.zeros(classes))
    model = xs.Model(A, B, h=0.25, steps=4, method="rk4", encoder=encoder, classifier=classifier)
    return replace(model, frozen=tuple(name for name in model.tensors if name not in "AB"))


def model_line(model: xs.Model, options: argparse.Namespace) -> str:
    """The size of the model, and what it runs on."""
    tiles = f", tiles of {options.tile}" if "tile" in options else ""
    return f"A is {model.A.shape[0]} x {model.A.shape[1]}{tiles}, {options.samples} samples"


def kept(folder: Path | None, settings: dict[str, Any], work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `work` finds: from `folder` if it is there with the same settings, else found now and kept there."""
    if folder is None:
        return work()
    text = json.dumps(settings, sort_keys=True)
    path = folder / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".tmp")
        draft.write_text(json.dumps({"settings": settings, "found": work()}, indent=1))
        draft.replace(path)  # a run that is stopped leaves whole files only
    found: dict[str, Any] = json.loads(path.read_text())["found"]
    return found


def elapsed() -> float:
    """Seconds since the experiment began."""
    return time.perf_counter() - _START


def publish(draw: Callable[[], Figure], folder: Path, name: str) -> None:
    """Draw a figure in the style of all figures, write NAME.png and NAME.svg, and say so."""
    with styled():
        png, svg = save(draw(), folder, name, ("png", "svg"))
    print(f"\n{png.name} and {svg.name} in {folder}; {elapsed():.0f} s in all")
