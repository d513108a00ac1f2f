"""From the settings of a case to what is co-simulated: the model, its samples, and the loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal, cast

import numpy as np

from xbar_spice.checks import SEED, Whole, checked
from xbar_spice.cosim import Problem
from xbar_spice.cosim.run.made import fingerprint
from xbar_spice.errors import StudyError
from xbar_spice.parts import TASKS
from xbar_spice.spice.device_models import Lookup
from xbar_spice.streams import Streams
from xbar_spice.study.config import ModelSettings
from xbar_spice.train.digits import DIGITS, IMAGE_SHAPE, load_digits
from xbar_spice.train.losses import CrossEntropy, SquaredDistance
from xbar_spice.train.training import train
from xbar_spice.weights import Classifier, Model, load_model, save_model

__all__ = ["chosen_task", "describe_data", "find_model", "fingerprint", "make_problem"]

DataTask = Literal["auto", "digits", "random"]
_PIXELS = int(np.prod(IMAGE_SHAPE))


def chosen_task(model: Model, task: DataTask = "auto") -> Literal["digits", "random"]:
    """The data that a model runs on: those that were asked for, or those that it says it was trained on.

    Data are never guessed: states of the right length may be anything, such as what an encoder makes of images.

    Raises:
        StudyError: nobody has said which, or the model does not fit the digits.
    """
    if task == "random":
        return task
    if task == "auto" and model.trained_on != DIGITS:
        said = f"says that it was trained on {model.trained_on!r}" if model.trained_on else "does not say"
        raise StudyError(
            f"which data is the model of {model.states} states to run on? Its weight file {said}, and samples are read "
            "for 'digits' only. Ask for 'digits' (8 x 8 test images, if raw pixels are its states) or for 'random' "
            "(standard normal states, on which a trained model shows little of what it does on its data): --data on "
            "the command line, data.task in a study, task= of make_problem. With samples of your own: "
            "Problem(model, z0, objective)"
        )
    if model.states != _PIXELS or model.classifier is None:
        raise StudyError(
            f"data 'digits' needs a classifier and {_PIXELS} states, got a model of {model.states} states "
            f"{'with' if model.classifier else 'without'} a classifier; try 'random'"
        )
    return "digits"


@checked(samples=Whole(1, 10**6), seed=SEED)
def make_problem(model: Model, *, samples: int = 8, seed: int = 0, task: DataTask = "auto") -> Problem:
    """Choose samples for a model.

    Args:
        model: a trained neural ODE.
        samples: number of samples.
        seed: of the stream that draws them.
        task: "digits" takes test images and the cross-entropy of their classes; "random" takes standard normal states
            and the squared distance of the final states from zero; "auto" takes what the model was trained on.

    Raises:
        StudyError: the model does not fit the data or does not say which they are, or there are not that many samples.
    """
    rng = Streams(seed).data()
    said = describe_data(model, samples=samples, seed=seed, task=task)
    if chosen_task(model, task) == "random":
        z0 = rng.standard_normal((model.states, samples))
        return Problem(model, z0, SquaredDistance(np.zeros_like(z0)), said)
    images = load_digits().test
    if samples > len(images):
        raise StudyError(f"data.samples must be <= {len(images)}, the number of test images, got {samples}")
    chosen = images.take(rng.permutation(len(images))[:samples])
    return Problem(model, chosen.x, CrossEntropy(cast(Classifier, model.classifier), chosen.labels), said)


def describe_data(model: Model, *, samples: int, seed: int, task: DataTask = "auto") -> str:
    """The samples of `make_problem` in words, for all that is printed or written of them."""
    kind = {"digits": "test images of the handwritten digits", "random": "random states (standard normal)"}
    return f"{samples} {kind[chosen_task(model, task)]}, drawn with seed {seed}"


def find_model(
    settings: ModelSettings,
    study_file: Path | None,
    kept: Path,
    on_training: Callable[..., None] | None = None,
    lookup: Lookup | None = None,
) -> Model:
    """The model of a study: read from its file, or trained once and kept.

    Args:
        settings: where it comes from.
        study_file: to which a relative name of a weight file refers; the working folder if there is none.
        kept: folder of the weights of training tasks.
        on_training: the training's progress callback.
        lookup: where the file of a task of one's own is looked up.

    Raises:
        WeightsError: the weight file cannot be used.
        InvalidInputError: no training task has this name.
    """
    if settings.weights is not None:
        base = study_file.parent if study_file is not None else Path()
        return load_model(base / settings.weights)
    text = (lookup or Lookup()).part(settings.task or "")  # ModelSettings sees to it that there is one
    task, code = TASKS.get(text), TASKS.source_hash(text)
    path = kept / f"{task.name}-{f'{code[:8]}-' if code else ''}{settings.seed}.npz"
    if not path.exists():
        model = train(task, seed=settings.seed, progress=on_training).model
        kept.mkdir(parents=True, exist_ok=True)
        save_model(path, model)
    # Stores of old have files that do not say what they were trained on.
    return replace(load_model(path), trained_on=task.trained_on)
