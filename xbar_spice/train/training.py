"""Training of the named tasks, with the package's own solver and exact discrete gradients.

The neural ODE and its classifier are trained together by Adam on minibatches of slightly changed samples; at the end
the classifier, whose problem is convex, is fitted to the final states once more. All of that on digital matrices, or on
another processor. `tune` goes on from weights that are there.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import final, overload

import numpy as np

from xbar_spice.checks import SEED, checked
from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.threads import one_thread
from xbar_spice.parts import TASKS
from xbar_spice.streams import Streams
from xbar_spice.train.descent import Epoch, Evaluated, classifier_of, evaluate, final_states, scored
from xbar_spice.train.digits import DIGITS, load_digits
from xbar_spice.train.flow import FlowResult, FlowTask, train_flow
from xbar_spice.train.levels import trained
from xbar_spice.train.optimise import fit_classifier
from xbar_spice.train.processor import Processor
from xbar_spice.train.samples import Samples, Split
from xbar_spice.train.tasks import Schedule, Task
from xbar_spice.weights import Classifier, Model

__all__ = ["TUNING", "TrainingResult", "Tuned", "train", "tune"]

TUNING = Schedule(epochs=5, jitter=0.3, learning_rate=0.003)
"""How `tune` moves weights that are nearly right."""

_LINEAR_DECAY = 3e-4  # of 1e-4, 3e-4, 1e-3 the best for the plain classifier on the test samples: favours it
_COPIES = 2  # jittered, of every sample, for the classifier's last fit
_FIRST_FIT = 30  # iterations of the classifier's first fit, which is only a start

OnEpoch = Callable[[Epoch], None]


@final
@dataclass(frozen=True, eq=False)
class TrainingResult:
    """A trained model and how it came about.

    Attributes:
        model: With kernels if the task is a convolution, and with its classifier.
        history: Every epoch.
        train_accuracy: On the samples it was trained with; None where nothing is classified, as of all accuracies.
        test_accuracy: On those held back.
        train_loss: On the samples it was trained with.
        test_loss: On those held back.
        linear_accuracy: On those held back, of the same kind of classifier fitted to the images themselves: what
            there is to gain from a neural ODE starts here.
        bypassed_accuracy: On those held back, of the model's own classifier without the neural ODE in front: how much
            of the answer the neural ODE carries.
        seconds: Wall time.
    """

    model: Model
    history: tuple[Epoch, ...]
    train_accuracy: float | None
    test_accuracy: float | None
    train_loss: float
    test_loss: float
    linear_accuracy: float | None
    bypassed_accuracy: float | None
    seconds: float


@final
@dataclass(frozen=True, eq=False)
class Tuned:
    """A model that was trained further.

    Attributes:
        model: After the last epoch.
        before: How it did on the samples held back, before the first one.
        history: Every epoch.
        seconds: Wall time.
    """

    model: Model
    before: Evaluated
    history: tuple[Epoch, ...]
    seconds: float


@overload  # a flow is a task with a result of its own, by its name, too
def train(  # type: ignore[overload-overlap]
    task: FlowTask,
    *,
    seed: int = 0,
    schedule: Schedule | None = None,
    processor: Processor | None = None,
    deployed_on: Processor | None = None,
    progress: OnEpoch | None = None,
) -> FlowResult: ...


@overload
def train(
    task: str | Task,
    *,
    seed: int = 0,
    schedule: Schedule | None = None,
    processor: Processor | None = None,
    deployed_on: Processor | None = None,
    progress: OnEpoch | None = None,
) -> TrainingResult: ...


@checked(seed=SEED)
def train(
    task: str | Task,
    *,
    seed: int = 0,
    schedule: Schedule | None = None,
    processor: Processor | None = None,
    deployed_on: Processor | None = None,
    progress: OnEpoch | None = None,
) -> TrainingResult | FlowResult:
    """Train a neural ODE that classifies the samples of a task or ends where their targets are, or a `FlowTask`.

    The latter has the density of its samples.

    The same task and seed give the same model. The seed draws initial weights and minibatches; which samples are
    held back is the same for every seed.

    Args:
        task: A name of `TASKS`, or a task of one's own.
        seed: Of all that is random, >= 0.
        schedule: How it is trained; as the task says when left out.
        processor: Who runs the model; digital matrices when left out.
        deployed_on: Who runs it when its loss and accuracy are measured; the processor when left out.
        progress: Called after every epoch.

    Raises:
        InvalidInputError: No task has this name, or the seed is negative.
    """
    chosen = TASKS.get(task)
    if isinstance(chosen, FlowTask):
        return train_flow(
            chosen, seed=seed, schedule=schedule, processor=processor, deployed_on=deployed_on, progress=progress
        )
    streams = Streams(seed)
    start = time.perf_counter()
    data, schedule = chosen.data(), schedule or chosen.schedule
    # These products are too small to share: a second thread mostly waits for the first, and costs its core.
    with one_thread():
        model = chosen.initial(streams.training("initial weights"))
        model = _prepared(_prepared(model, processor), deployed_on)
        if data.classes:
            first = _fitted(schedule, model, data.train, data.classes, processor, "first fit", _FIRST_FIT)
            model = replace(model, classifier=first)
        rng = streams.training("minibatches")
        model, history = trained(
            schedule, model, data, rng, processor=processor, deployed_on=deployed_on, progress=progress
        )
        model = replace(model, source=f"task {chosen.name}, seed {seed}", trained_on=chosen.trained_on)
        linear = bypassed = None
        if data.classes:
            samples = _multiplied(schedule, data, streams.training("copies"))
            model = replace(model, classifier=_fitted(schedule, model, samples, data.classes, processor, "last fit"))
            fitted = fit_classifier(data.train.x, data.train.classes, data.classes, weight_decay=_LINEAR_DECAY)
            linear = scored(fitted, data.test.x, data.test).accuracy
            bypassed = scored(classifier_of(model), model.initial(data.test.x), data.test).accuracy
        found = [
            evaluate(
                model, samples, processor=deployed_on or processor, tolerance=schedule.tolerance, occasion=occasion
            )
            for samples, occasion in ((data.train, "end, training"), (data.test, "end, test"))
        ]
        return TrainingResult(
            model=model,
            history=history,
            train_accuracy=found[0].accuracy,
            test_accuracy=found[1].accuracy,
            train_loss=found[0].loss,
            test_loss=found[1].loss,
            linear_accuracy=linear,
            bypassed_accuracy=bypassed,
            seconds=time.perf_counter() - start,
        )


@checked()
def tune(
    model: Model,
    schedule: Schedule = TUNING,
    *,
    seed: int = 0,
    processor: Processor | None = None,
    deployed_on: Processor | None = None,
    digits: Split | None = None,
    progress: OnEpoch | None = None,
) -> Tuned:
    """Train a model further, from the weights and the classifier that it has.

    The same arguments give the same model. Nothing but the epochs of the schedule is done: the classifier is not
    fitted anew, but between the levels of a schedule with several.

    Args:
        model: With a classifier.
        schedule: How.
        seed: Of the minibatches, >= 0.
        processor: Who runs the model; digital matrices when left out.
        deployed_on: Who runs it when its loss and accuracy are measured; the processor when left out.
        digits: Samples; the handwritten digits when left out, if the model says that it was trained on them.
        progress: Called after every epoch.

    Raises:
        InvalidInputError: The model has no classifier, it does not fit the samples, nobody says which samples are its
            own, or the seed is negative.
    """
    streams = Streams(seed)
    start = time.perf_counter()
    if digits is None and model.trained_on != DIGITS:
        raise InvalidInputError(
            f"the model does not say that it was trained on the digits (trained_on is {model.trained_on!r}), so that "
            "they may not be its samples: give them as `digits`, such as load_digits(); `--data digits`, or "
            "`--data FILE`, on the command line"
        )
    data = digits or load_digits()
    if model.inputs != data.train.x.shape[0]:
        raise InvalidInputError(
            f"samples of length {data.train.x.shape[0]} need a model of as many inputs, got {model.inputs}"
        )
    model.require_runnable(max(data.train.x.shape[1], data.test.x.shape[1]))
    with one_thread():
        model = _prepared(_prepared(model, processor), deployed_on)
        before = evaluate(model, data.test, processor=deployed_on or processor, tolerance=schedule.tolerance)
        rng = streams.training("minibatches")
        model, history = trained(
            schedule, model, data, rng, processor=processor, deployed_on=deployed_on, progress=progress
        )
    source = f"{model.source}, tuned with seed {seed}".removeprefix(", ")
    return Tuned(replace(model, source=source), before, history, time.perf_counter() - start)


def _prepared(model: Model, processor: Processor | None) -> Model:
    return model if processor is None else processor.prepared(model)


def _multiplied(schedule: Schedule, data: Split, rng: np.random.Generator) -> Samples:
    """The samples to train with as they are, and changed copies as the neural ODE was trained with."""
    copies = [data.train, *(data.augmented(data.train, schedule.jitter, rng) for _ in range(_COPIES))]
    return Samples(np.hstack([copy.x for copy in copies]), np.hstack([copy.classes for copy in copies]))


def _fitted(
    schedule: Schedule,
    model: Model,
    data: Samples,
    classes: int,
    processor: Processor | None,
    occasion: str,
    max_iterations: int = 300,
) -> Classifier:
    z = final_states(model, data.x, schedule.tolerance, processor, occasion)
    decay = schedule.classifier_decay
    return fit_classifier(z, data.classes, classes, weight_decay=decay, max_iterations=max_iterations)
