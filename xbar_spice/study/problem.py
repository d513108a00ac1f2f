"""From the settings of a case to what is co-simulated: the model, its samples, and the loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np

from xbar_spice.checks import SEED, Optional, Whole, checked
from xbar_spice.cosim import Problem
from xbar_spice.cosim.run.made import fingerprint
from xbar_spice.data import Data, load_data
from xbar_spice.errors import InvalidInputError, StudyError
from xbar_spice.parts import TASKS
from xbar_spice.spice.device_models import Lookup
from xbar_spice.study.config import DataSettings, ModelSettings
from xbar_spice.study.samples import AUTO, taken_samples
from xbar_spice.study.setups import canonical
from xbar_spice.train.likelihood import likelihood_of
from xbar_spice.train.losses import Objective, objective_of
from xbar_spice.train.samples import LossName
from xbar_spice.train.training import train
from xbar_spice.weights import Classifier, Model, load_model, save_model

__all__ = ["find_model", "find_samples", "fingerprint", "make_problem", "problem_of"]


@checked(samples=Optional(Whole(1, 10**6)), seed=Optional(SEED))
def make_problem(
    model: Model,
    *,
    data: Data | None = None,
    samples: int | None = None,
    seed: int | None = None,
    task: str = AUTO,
    time_gradients: bool = False,
    loss: LossName = "auto",
) -> Problem:
    """Choose samples for a model.

    Labels are scored by the cross-entropy of the model's classifier; without a classifier, or without labels, final
    states by their squared distance from the targets, or the states at several times if the targets have some. Samples
    with neither are scored by their distance from zero.

    Args:
        model: a trained neural ODE.
        data: where the samples are taken from, as `load_data` and `load_named_data` return them.
        samples: number of samples; 8 when left out, or all of them if there are fewer.
        seed: of the stream that draws them; 0 when left out, but of data from a file the first ones are taken.
        task: in place of data: the name of a set, of which samples are taken that training holds back, such as
            "digits"; "random" takes standard normal states, and their distance from zero as the loss; "auto" takes what
            the model was trained on.
        time_gradients: as for `Problem`.
        loss: "likelihood" that a flow gives the samples, whose labels and targets are not looked at.

    Raises:
        StudyError: the model does not fit the data or does not say which they are, or there are not that many samples.
    """
    taken = taken_samples(model, data, task=task, samples=samples, seed=seed)
    return problem_of(model, taken, loss, time_gradients=time_gradients)


def problem_of(model: Model, data: Data, loss: LossName = "auto", *, time_gradients: bool = False) -> Problem:
    """A model on all of the samples; the rest as for `make_problem`.

    Raises:
        StudyError: they do not fit each other.
    """
    if data.features != model.inputs:
        kind = "states" if model.encoder is None else "inputs of its encoder"
        columns = data.features > model.inputs and data.labels is None and data.targets is None
        hint = "; if some columns are targets, say which: --data-map targets=NAME,NAME" if columns else ""
        raise StudyError(
            f"{data}: samples of {data.features} entries do not fit a model of {model.inputs} {kind}{hint}"
        )
    x = np.ascontiguousarray(data.x.T)
    return Problem(model, x, _objective(model, data, loss), data.source, time_gradients=time_gradients)


def _objective(model: Model, data: Data, loss: LossName) -> Objective:
    targets = np.zeros((len(data), model.states)) if data.targets is None and data.labels is None else data.targets
    try:
        if loss == "likelihood":
            return likelihood_of(model, f"{data}")
        return objective_of(model, data.labels, targets, data.times, f"{data}")
    except StudyError:
        raise
    except InvalidInputError as error:
        flow = "; a flow is scored by its likelihood: loss='likelihood' (--loss likelihood, data.loss)"
        hint = flow if model.classifier is None and loss == "auto" else ""
        raise StudyError(f"{error}{hint}") from error


def find_samples(model: Model, settings: DataSettings, lookup: Lookup) -> Data:
    """The samples of a study.

    Args:
        model: what runs on them.
        settings: where they come from.
        lookup: where files are looked up.

    Raises:
        DataError: their file cannot be used.
        StudyError: see `make_problem`.
    """
    data = None if settings.file is None else load_data(lookup.folder / settings.file, settings.mapping)
    task = lookup.part(settings.task)
    return taken_samples(model, data, task=task, samples=settings.samples, seed=settings.seed)


def find_model(
    settings: ModelSettings,
    study_file: Path | None,
    kept: Path,
    on_training: Callable[..., None] | None = None,
    lookup: Lookup | None = None,
    *,
    dry: bool = False,
) -> Model:
    """The model of a study: read from its file, or trained once and kept.

    Args:
        settings: where it comes from.
        study_file: to which a relative name of a weight file refers; the working folder if there is none.
        kept: folder of the weights of training tasks.
        on_training: the training's progress callback.
        lookup: where the file of a task of one's own is looked up.
        dry: take an untrained model in place of one that has to be trained first.

    Raises:
        WeightsError: the weight file cannot be used.
        InvalidInputError: no training task has this name.
    """
    found = lookup or Lookup()
    if settings.weights is not None:
        base = study_file.parent if study_file is not None else Path()
        said = {name: found.part(value) if isinstance(value, str) else value for name, value in settings.said.items()}
        return load_model(base / settings.weights, settings.mapping, **said)
    text = found.part(settings.task or "")  # ModelSettings sees to it that there is one
    task, code = TASKS.get(text), TASKS.source_hash(text)
    changed = sha256(canonical(settings.schedule).encode()).hexdigest()[:8] if settings.schedule else None
    known = [part for part in (code and code[:8], changed) if part]
    path = kept / f"{'-'.join([task.name, *known, str(settings.seed)])}.npz"
    if dry and not path.exists():
        model = task.initial(np.random.default_rng(settings.seed))
        classes = task.data().classes
        if not classes:
            return replace(model, trained_on=task.trained_on)
        classifier = Classifier(np.zeros((classes, model.states)), np.zeros(classes))
        return replace(model, classifier=classifier, trained_on=task.trained_on)
    if not path.exists():
        schedule = replace(task.schedule, **settings.schedule)
        model = train(task, seed=settings.seed, schedule=schedule, progress=on_training).model
        kept.mkdir(parents=True, exist_ok=True)
        save_model(path, model)
    # Stores of old have files that do not say what they were trained on.
    return replace(load_model(path), trained_on=task.trained_on)
