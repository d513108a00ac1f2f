"""The loop of all training: an optimiser on minibatches, on whatever processor runs the model."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, cast, final

import numpy as np

from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.operator import FloatArray
from xbar_spice.solve.adjoint.discrete import gradients
from xbar_spice.solve.integrators.integration import Trajectory, integrate
from xbar_spice.solve.integrators.step_control import AdaptiveOptions
from xbar_spice.solve.linear_solvers.krylov import KrylovOptions
from xbar_spice.solve.newton.newton import NewtonOptions
from xbar_spice.solve.newton.noise import allowing_noise
from xbar_spice.train.losses import CrossEntropy, CrossEntropyScore, Objective
from xbar_spice.train.optimise import Optimiser
from xbar_spice.train.processor import Digital, Processor, Programmed
from xbar_spice.train.samples import Samples, Split
from xbar_spice.train.tasks import Schedule
from xbar_spice.weights import Classifier, Model, named_gradients

__all__ = [
    "Epoch",
    "Evaluated",
    "classifier_of",
    "epochs",
    "evaluate",
    "final_states",
    "loss_and_gradients",
    "scored",
]

_TOLERANCE = 1e-8


class Evaluated(NamedTuple):
    """How well a model does: share of correct answers, and mean cross-entropy."""

    accuracy: float
    loss: float


@final
@dataclass(frozen=True)
class Epoch:
    """How training stands after an epoch.

    Attributes:
        number: Counted from 1.
        of: How many there will be.
        loss: Mean cross-entropy over the minibatches of the epoch.
        accuracy: The same of the accuracy.
        test: On the samples held back, with the weights after the epoch.
    """

    number: int
    of: int
    loss: float
    accuracy: float
    test: Evaluated


def evaluate(
    model: Model,
    data: Samples,
    *,
    processor: Processor | None = None,
    tolerance: float = _TOLERANCE,
    occasion: str = "",
) -> Evaluated:
    """Accuracy and loss of a model on some samples.

    Args:
        model: With a classifier.
        data: With x of the length of the model's inputs.
        processor: Who runs the model; digital matrices when left out.
        tolerance: Relative residual that Newton's method and the linear solves aim at; as far as noise allows.
        occasion: Which draw of the processor's noise it sees.

    Raises:
        InvalidInputError: The model has no classifier, or the samples do not fit it.
    """
    return scored(classifier_of(model), final_states(model, data.x, tolerance, processor, occasion), data)


def loss_and_gradients(
    model: Model,
    data: Samples,
    *,
    processor: Processor | None = None,
    tolerance: float = _TOLERANCE,
    matrices: bool = True,
    occasion: str = "",
) -> tuple[CrossEntropyScore, dict[str, FloatArray]]:
    """Mean cross-entropy of a model on some samples, and its gradient with respect to every parameter.

    Args:
        model: With a classifier.
        data: With x of the length of the model's inputs.
        processor: Who runs the model; digital matrices when left out.
        tolerance: Relative residual that Newton's method and the linear solves aim at; as far as noise allows.
        matrices: Whether the gradients of more than the classifier are wanted; without them no adjoint is solved.
        occasion: Which draw of the processor's noise they see.

    Returns:
        The score, and the gradients of all tensors of the model that are not frozen, by name; without `matrices` those
        of the classifier.

    Raises:
        InvalidInputError: The model has no classifier, or the samples do not fit it.
    """
    objective: Objective = CrossEntropy(classifier_of(model), data.labels)
    with (processor or Digital()).programmed(model, occasion) as programmed:
        if "classifier.weight" in programmed.ends:
            objective = objective.read_by(programmed.ends["classifier.weight"])
        z0, driven = _initial(programmed, model, data.x)
        trajectory = _integrate(programmed, model, z0, tolerance)
        score = cast(CrossEntropyScore, objective.evaluate(model.ended(trajectory.z[-1])))
        found = {"classifier.weight": score.weight, "classifier.bias": score.bias}
        if not matrices:
            return score, found
        pulled = gradients(trajectory, model.started(score.cotangent))
        of_tensors = programmed.of_tensors
        found = {**(named_gradients(model, pulled.parameters) if of_tensors is None else of_tensors(pulled)), **found}
    if model.encoder is not None and driven is not None:
        found |= model.encoder.weight_gradient(model.encoder.pulled(driven, model.ended(pulled.z0)), data.x)
    return score, {name: found[name] for name in model.tensors if name in found and name not in model.frozen}


def _initial(programmed: Programmed, model: Model, x: FloatArray) -> tuple[FloatArray, FloatArray | None]:
    """Initial states of inputs, and what the encoder's matrix made of them."""
    if model.encoder is None:
        return x, None
    driven = model.encoder.sums(x, programmed.ends.get("encoder.weight"))
    return model.encoder.of_sums(driven), driven


def epochs(
    schedule: Schedule,
    model: Model,
    split: Split,
    rng: np.random.Generator,
    *,
    processor: Processor | None = None,
    deployed_on: Processor | None = None,
) -> Iterator[tuple[Epoch, Model]]:
    """Train a model; yields how it does after every epoch, and the model itself.

    Args:
        schedule: How.
        model: Where to start, with a classifier.
        split: What it is trained with and what is held back.
        rng: Of minibatches and their changes.
        processor: Who runs the minibatches; digital matrices when left out.
        deployed_on: Who runs the samples held back; the same processor when left out.

    Raises:
        InvalidInputError: The model has no classifier, or the samples do not fit it.
    """
    optimiser, data = schedule.moved_by, split.train
    batches = max(1, len(data) // schedule.batch)  # what does not fill a minibatch waits for another epoch
    for number in range(1, schedule.epochs + 1):
        order = rng.permutation(len(data))
        scores = []
        for index in range(batches):
            minibatch = data.take(order[index * schedule.batch : (index + 1) * schedule.batch])
            minibatch = split.augmented(minibatch, schedule.jitter, rng)
            done = ((number - 1) * batches + index) / (schedule.epochs * batches)
            occasion = f"epoch {number}, minibatch {index}"
            score, model = _step(schedule, model, minibatch, optimiser, done, processor, occasion)
            scores.append((score.loss, score.accuracy))
        loss, accuracy = np.mean(scores, axis=0).tolist()
        test = evaluate(
            model,
            split.test,
            processor=deployed_on or processor,
            tolerance=schedule.tolerance,
            occasion=f"epoch {number}, test",
        )
        yield Epoch(number, schedule.epochs, loss, accuracy, test), model


def _step(
    schedule: Schedule,
    model: Model,
    minibatch: Samples,
    optimiser: Optimiser,
    done: float,
    processor: Processor | None,
    occasion: str,
) -> tuple[CrossEntropyScore, Model]:
    """One step down the gradient of a minibatch; `done` is the part of the training behind it."""
    score, slopes = loss_and_gradients(
        model,
        minibatch,
        processor=processor,
        tolerance=schedule.tolerance,
        matrices=schedule.trained == "everything",
        occasion=occasion,
    )
    decay = dict.fromkeys(slopes, schedule.weight_decay) | {
        "classifier.weight": schedule.classifier_decay,
        "classifier.bias": 0.0,
    }
    parameters = model.tensors
    moving = {name: parameters[name] for name in slopes}
    slopes = {name: slope + decay[name] * moving[name] for name, slope in slopes.items()}
    rate = schedule.learning_rate * 0.5 * (1.0 + math.cos(math.pi * done))
    wanted = model.with_tensors({**parameters, **optimiser.step(moving, slopes, rate)})
    return score, (processor or Digital()).rewritten(model, wanted, occasion)


def final_states(
    model: Model, x: FloatArray, tolerance: float, processor: Processor | None, occasion: str = ""
) -> FloatArray:
    """(n, samples) states at the end of the run from inputs, (inputs, samples)."""
    with (processor or Digital()).programmed(model, occasion) as programmed:
        z0, _ = _initial(programmed, model, x)
        states: FloatArray = model.ended(_integrate(programmed, model, z0, tolerance).z[-1])
    return states


def _integrate(programmed: Programmed, model: Model, z0: FloatArray, tolerance: float) -> Trajectory:
    exact = NewtonOptions(rtol=tolerance), KrylovOptions(rtol=tolerance)
    noise = programmed.noise(z0)
    newton, krylov = allowing_noise(*exact, noise)
    return integrate(
        programmed.field,
        model.started(z0),
        method=model.method,
        **model.times,
        newton=newton,
        krylov=krylov,
        adaptive=AdaptiveOptions().allowing(noise),
    )


def scored(classifier: Classifier, z: FloatArray, data: Samples) -> Evaluated:
    """How well a classifier does on some states."""
    score = CrossEntropy(classifier, data.labels).evaluate(z)
    return Evaluated(score.accuracy, score.loss)


def classifier_of(model: Model) -> Classifier:
    """The model's classifier.

    Raises:
        InvalidInputError: It has none.
    """
    if model.classifier is None:
        raise InvalidInputError("the model has no classifier, which training and its accuracy need")
    return model.classifier
