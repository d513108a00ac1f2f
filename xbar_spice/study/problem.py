"""From the settings of a case to what is co-simulated: the model, its samples, and the loss."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np

from xbar_spice.cosim import Problem
from xbar_spice.errors import StudyError
from xbar_spice.streams import Streams
from xbar_spice.study.config import ModelSettings
from xbar_spice.train.digits import IMAGE_SHAPE, load_digits
from xbar_spice.train.losses import CrossEntropy, SquaredDistance
from xbar_spice.train.training import train
from xbar_spice.weights import Model, load_model, save_model

__all__ = ["find_model", "fingerprint", "made_for_digits", "make_problem"]

DataTask = Literal["auto", "digits", "random"]


def made_for_digits(model: Model) -> bool:
    """Whether a model takes the handwritten digits and names their classes."""
    return model.states == int(np.prod(IMAGE_SHAPE)) and model.classifier is not None


def make_problem(model: Model, *, samples: int = 8, seed: int = 0, task: DataTask = "auto") -> Problem:
    """Choose samples for a model.

    Args:
        model: a trained neural ODE.
        samples: number of samples.
        seed: of the stream that draws them.
        task: "digits" takes test images and the cross-entropy of their classes; "random" takes standard normal states
            and the squared distance of the final states from zero; "auto" takes the digits if the model fits them.

    Raises:
        StudyError: the model does not fit the data, or there are not that many samples.
    """
    rng = Streams(seed).data()
    if task == "auto":
        task = "digits" if made_for_digits(model) else "random"
    if task == "random":
        z0 = rng.standard_normal((model.states, samples))
        return Problem(model, z0, SquaredDistance(np.zeros_like(z0)))
    if model.classifier is None or not made_for_digits(model):
        raise StudyError(
            f"data.task 'digits' needs a classifier and {np.prod(IMAGE_SHAPE)} states, got a model of {model.states} "
            f"states {'with' if model.classifier else 'without'} a classifier; try data.task = 'random'"
        )
    images = load_digits().test
    if samples > len(images):
        raise StudyError(f"data.samples must be <= {len(images)}, the number of test images, got {samples}")
    chosen = images.take(rng.permutation(len(images))[:samples])
    return Problem(model, chosen.x, CrossEntropy(model.classifier, chosen.labels))


def find_model(
    settings: ModelSettings, study_file: Path | None, kept: Path, on_training: Callable[..., None] | None = None
) -> Model:
    """The model of a study: read from its file, or trained once and kept.

    Args:
        settings: where it comes from.
        study_file: to which a relative name of a weight file refers; the working folder if there is none.
        kept: folder of the weights of training tasks.
        on_training: the training's progress callback.

    Raises:
        WeightsError: the weight file cannot be used.
        InvalidInputError: no training task has this name.
    """
    if settings.weights is not None:
        base = study_file.parent if study_file is not None else Path()
        return load_model(base / settings.weights)
    task = settings.task or ""  # ModelSettings sees to it that there is one
    path = kept / f"{task}-{settings.seed}.npz"
    if not path.exists():
        model = train(task, seed=settings.seed, progress=on_training).model
        kept.mkdir(parents=True, exist_ok=True)
        save_model(path, model)
    return load_model(path)


def fingerprint(model: Model) -> str:
    """Hash of all numbers of a model, whatever file they came in."""
    digest = hashlib.sha256()
    parts = {"A": model.A, "B": model.B, "h": model.h, "steps": model.steps}
    if model.kernels is not None:
        parts |= {"a": model.kernels.a, "b": model.kernels.b}
    if model.classifier is not None:
        parts |= {"classifier.weight": model.classifier.weight, "classifier.bias": model.classifier.bias}
    if model.weight_range is not None:
        parts["weight_range"] = model.weight_range
    for name, value in parts.items():
        array = np.asarray(value, dtype="<f8")
        digest.update(f"{name} {array.shape} ".encode() + array.tobytes())
    digest.update(model.method.encode())
    return digest.hexdigest()
