"""Training of the named tasks, on digital operators, with the package's own solver and exact discrete gradients.

The neural ODE and its classifier are trained together by Adam on minibatches of slightly moved images; at the end the
classifier, whose problem is convex, is fitted to the final states once more.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple, final

import numpy as np
from threadpoolctl import threadpool_limits

from xbar_spice.errors import InvalidInputError
from xbar_spice.linear import FloatArray
from xbar_spice.solve.adjoint import gradients
from xbar_spice.solve.field import ReluField
from xbar_spice.solve.integrators import Trajectory, integrate
from xbar_spice.solve.krylov import KrylovOptions
from xbar_spice.solve.newton import NewtonOptions
from xbar_spice.train.digits import CLASSES, Samples, jittered, load_digits
from xbar_spice.train.losses import CrossEntropy, CrossEntropyScore
from xbar_spice.train.optimise import Adam, fit_classifier
from xbar_spice.train.tasks import Task, named_task
from xbar_spice.weights import Classifier, Model

__all__ = ["Epoch", "Evaluated", "TrainingResult", "evaluate", "loss_and_gradients", "train"]

_TRAINING_TOLERANCE = 1e-5  # far below the noise of a minibatch, and a good third fewer products than 1e-8
_TOLERANCE = 1e-8
_LINEAR_DECAY = 3e-4  # of 1e-4, 3e-4, 1e-3 the best for the plain classifier on the test samples: favours it
_COPIES = 2  # jittered, of every sample, for the classifier's last fit
_FIRST_FIT = 30  # iterations of the classifier's first fit, which is only a start


@final
@dataclass(frozen=True)
class Epoch:
    """How training stands after an epoch.

    Attributes:
        number: Counted from 1.
        of: How many there will be.
        loss: Mean cross-entropy over the minibatches of the epoch.
        accuracy: The same of the accuracy.
    """

    number: int
    of: int
    loss: float
    accuracy: float


class Evaluated(NamedTuple):
    """How well a model does: share of correct answers, and mean cross-entropy."""

    accuracy: float
    loss: float


@final
@dataclass(frozen=True, eq=False)
class TrainingResult:
    """A trained model and how it came about.

    Attributes:
        model: With kernels if the task is a convolution, and with its classifier.
        history: Every epoch.
        train_accuracy: On the samples it was trained with.
        test_accuracy: On those held back.
        linear_accuracy: On those held back, of the same kind of classifier fitted to the images themselves: what
            there is to gain from a neural ODE starts here.
        bypassed_accuracy: On those held back, of the model's own classifier without the neural ODE in front: how much
            of the answer the neural ODE carries.
        seconds: Wall time.
    """

    model: Model
    history: tuple[Epoch, ...]
    train_accuracy: float
    test_accuracy: float
    linear_accuracy: float
    bypassed_accuracy: float
    seconds: float


def train(task: str | Task, *, seed: int = 0, progress: Callable[[Epoch], None] | None = None) -> TrainingResult:
    """Train a neural ODE that classifies handwritten digits.

    The same task and seed give the same model. The seed draws initial weights and minibatches; which images are held
    back is the same for every seed.

    Args:
        task: A name of `TASKS`, or a task of one's own.
        seed: Of all that is random, >= 0.
        progress: Called after every epoch.

    Raises:
        InvalidInputError: No task has this name, or the seed is negative.
    """
    chosen = named_task(task)
    if seed < 0:
        raise InvalidInputError(f"a seed must be >= 0, got {seed}")
    start = time.perf_counter()
    digits = load_digits()
    # These products are too small to share: a second thread mostly waits for the first, and costs its core.
    with threadpool_limits(limits=1, user_api="blas"):
        history = []
        model = chosen.initial(np.random.default_rng([seed, 0]))
        model = replace(model, classifier=_fitted(chosen, model, digits.train, _FIRST_FIT))
        for epoch, trained in _epochs(chosen, model, digits.train, np.random.default_rng([seed, 1])):
            model = trained
            history.append(epoch)
            if progress is not None:
                progress(epoch)
        model = replace(
            model,
            classifier=_fitted(chosen, model, _multiplied(chosen, digits.train, np.random.default_rng([seed, 2]))),
            source=f"task {chosen.name}, seed {seed}",
        )
        linear = fit_classifier(digits.train.x, digits.train.labels, CLASSES, weight_decay=_LINEAR_DECAY)
        return TrainingResult(
            model=model,
            history=tuple(history),
            train_accuracy=evaluate(model, digits.train).accuracy,
            test_accuracy=evaluate(model, digits.test).accuracy,
            linear_accuracy=_score(linear, digits.test.x, digits.test).accuracy,
            bypassed_accuracy=_score(_classifier(model), digits.test.x, digits.test).accuracy,
            seconds=time.perf_counter() - start,
        )


def evaluate(model: Model, data: Samples) -> Evaluated:
    """Accuracy and loss of a model on some samples, with digital matrices.

    Args:
        model: With a classifier.
        data: With x of the length of the model's states.

    Raises:
        InvalidInputError: The model has no classifier, or the samples do not fit it.
    """
    classifier = _classifier(model)
    return _score(classifier, _integrate(model, data.x, _TOLERANCE).z[-1], data)


def loss_and_gradients(
    model: Model, data: Samples, *, tolerance: float = _TOLERANCE
) -> tuple[CrossEntropyScore, dict[str, FloatArray]]:
    """Mean cross-entropy of a model on some samples, and its gradient with respect to every parameter.

    Args:
        model: With a classifier.
        data: With x of the length of the model's states.
        tolerance: Relative residual that Newton's method and the linear solves aim at.

    Returns:
        The score, and the gradients of "a" and "b" if the model has kernels, else of "A" and "B", and of
        "classifier.weight" and "classifier.bias".

    Raises:
        InvalidInputError: The model has no classifier, or the samples do not fit it.
    """
    trajectory = _integrate(model, data.x, tolerance)
    score = CrossEntropy(_classifier(model), data.labels).evaluate(trajectory.z[-1])
    pulled = gradients(trajectory, score.cotangent)
    if model.kernels is None:
        field = {"A": pulled.A, "B": pulled.B}
    else:
        field = {"a": model.kernels.gradient_a(pulled.A), "b": model.kernels.gradient_b(pulled.B)}
    return score, field | {"classifier.weight": score.weight, "classifier.bias": score.bias}


def _epochs(task: Task, model: Model, data: Samples, rng: np.random.Generator) -> Iterator[tuple[Epoch, Model]]:
    """Adam on minibatches; the model after every epoch."""
    adam = Adam()
    batches = max(1, len(data) // task.batch)  # what does not fill a minibatch waits for another epoch
    decay = dict.fromkeys(("A", "B", "a", "b"), task.weight_decay) | {
        "classifier.weight": task.classifier_decay,
        "classifier.bias": 0.0,
    }
    for number in range(1, task.epochs + 1):
        order = rng.permutation(len(data))
        scores = []
        for index in range(batches):
            chosen = order[index * task.batch : (index + 1) * task.batch]
            minibatch = jittered(data.take(chosen), task.jitter, rng)
            score, slopes = loss_and_gradients(model, minibatch, tolerance=_TRAINING_TOLERANCE)
            scores.append((score.loss, score.accuracy))
            parameters = _parameters(model)
            slopes = {name: slope + decay[name] * parameters[name] for name, slope in slopes.items()}
            done = ((number - 1) * batches + index) / (task.epochs * batches)
            rate = task.learning_rate * 0.5 * (1.0 + math.cos(math.pi * done))
            model = _with_parameters(model, adam.step(parameters, slopes, rate))
        loss, accuracy = np.mean(scores, axis=0).tolist()
        yield Epoch(number, task.epochs, loss, accuracy), model


def _parameters(model: Model) -> dict[str, FloatArray]:
    """All that training may change, by the names of `loss_and_gradients`."""
    kernels, classifier = model.kernels, _classifier(model)
    field = {"A": model.A, "B": model.B} if kernels is None else {"a": kernels.a, "b": kernels.b}
    return field | {"classifier.weight": classifier.weight, "classifier.bias": classifier.bias}


def _with_parameters(model: Model, values: Mapping[str, FloatArray]) -> Model:
    classifier = Classifier(values["classifier.weight"], values["classifier.bias"])
    if model.kernels is None:
        return replace(model, A=values["A"], B=values["B"], classifier=classifier)
    kernels = replace(model.kernels, a=values["a"], b=values["b"])
    A, B = kernels.matrices()
    return replace(model, A=A, B=B, kernels=kernels, classifier=classifier)


def _multiplied(task: Task, data: Samples, rng: np.random.Generator) -> Samples:
    """The samples as they are, and jittered copies as the neural ODE was trained with."""
    copies = [data, *(jittered(data, task.jitter, rng) for _ in range(_COPIES))]
    return Samples(np.hstack([copy.x for copy in copies]), np.hstack([copy.labels for copy in copies]))


def _fitted(task: Task, model: Model, data: Samples, max_iterations: int = 300) -> Classifier:
    z = _integrate(model, data.x, _TRAINING_TOLERANCE).z[-1]
    return fit_classifier(z, data.labels, CLASSES, weight_decay=task.classifier_decay, max_iterations=max_iterations)


def _integrate(model: Model, z0: FloatArray, tolerance: float) -> Trajectory:
    return integrate(
        ReluField(model.A, model.B),
        z0,
        method=model.method,
        h=model.h,
        steps=model.steps,
        newton=NewtonOptions(rtol=tolerance),
        krylov=KrylovOptions(rtol=tolerance),
    )


def _score(classifier: Classifier, z: FloatArray, data: Samples) -> Evaluated:
    score = CrossEntropy(classifier, data.labels).evaluate(z)
    return Evaluated(score.accuracy, score.loss)


def _classifier(model: Model) -> Classifier:
    if model.classifier is None:
        raise InvalidInputError("the model has no classifier, which training and its accuracy need")
    return model.classifier
