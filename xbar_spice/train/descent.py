"""The loop of all training: an optimiser on minibatches, on whatever processor runs the model."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple, cast, final

import numpy as np

from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.operator import FloatArray, LinearOperator
from xbar_spice.solve.integrators.integration import Trajectory, integrate
from xbar_spice.solve.integrators.method import SolveOptions
from xbar_spice.solve.integrators.step_control import AdaptiveOptions
from xbar_spice.solve.linear_solvers.krylov import KrylovOptions, get_linear_solver
from xbar_spice.solve.newton.newton import NewtonOptions
from xbar_spice.solve.newton.noise import allowing_noise
from xbar_spice.train.augmented import augmented_pull
from xbar_spice.train.likelihood import likelihood_of
from xbar_spice.train.losses import CrossEntropy, Objective, Score, objective_of
from xbar_spice.train.observed import Beside, Looks, looks_of
from xbar_spice.train.optimise import Optimiser
from xbar_spice.train.processor import Digital, Processor, Programmed
from xbar_spice.train.regulariser import Regulariser
from xbar_spice.train.samples import Samples, Split
from xbar_spice.train.tasks import Adjoint, Schedule
from xbar_spice.weights import Chain, Classifier, Model, named_gradients
from xbar_spice.weights.end import named_below
from xbar_spice.weights.passing import Passed

__all__ = [
    "Epoch",
    "Evaluated",
    "Pulled",
    "classifier_of",
    "epochs",
    "evaluate",
    "final_states",
    "judged",
    "loss_and_gradients",
    "pulled_loss",
    "scored",
]

_TOLERANCE = 1e-8


class Evaluated(NamedTuple):
    """How well a model does: share of correct answers, None where nothing is classified, and mean loss."""

    accuracy: float | None
    loss: float


@final
@dataclass(frozen=True)
class Epoch:
    """How training stands after an epoch.

    Attributes:
        number: Counted from 1.
        of: How many there will be.
        loss: Mean over the minibatches of the epoch.
        accuracy: The same of the accuracy; None where nothing is classified.
        test: On the samples held back, with the weights after the epoch.
        evaluations: Evaluations of f that a run of a held-back sample took then, in the mean (NFE); each is a read of
            every matrix of f. Of an adaptive or implicit method they follow the weights.
        adjoint_evaluations: The same of J^T w, of the gradients of the minibatches; each is a transposed read.
        noise: What noisy products leave of the equation of a step, relative to the state, in the run of the samples
            held back; no step of an adaptive or implicit method was made more exact. 0 where products are exact.
    """

    number: int
    of: int
    loss: float
    accuracy: float | None
    test: Evaluated
    evaluations: float = 0.0
    adjoint_evaluations: float = 0.0
    noise: float = 0.0


@final
@dataclass(frozen=True, eq=False)
class Pulled:
    """The loss of some samples, with its gradient and what both took.

    Attributes:
        score: The loss.
        slopes: Gradients of all tensors of the model that are not frozen, by name.
        evaluations: Of f, of a sample in the mean.
        adjoint_evaluations: Of J^T w, likewise.
    """

    score: Score
    slopes: dict[str, FloatArray]
    evaluations: float
    adjoint_evaluations: float


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
        model: With a classifier, if the samples have labels.
        data: With x of the length of the model's inputs.
        processor: Who runs the model; digital matrices when left out.
        tolerance: Relative residual that Newton's method and the linear solves aim at; as far as noise allows.
        occasion: Which draw of the processor's noise it sees.

    Raises:
        InvalidInputError: The samples do not fit the model.
    """
    return _evaluated(model, data, processor, tolerance, occasion).result


def _evaluated(model: Model, data: Samples, processor: Processor | None, tolerance: float, occasion: str) -> _Forward:
    with (processor or Digital()).programmed(model, occasion) as programmed:
        return _run(programmed, model, data, tolerance, derivatives=False)


@final
@dataclass(frozen=True)
class _Forward:
    """The way forward of some samples: how its initial states came about, where the loss looks, and what it found.

    `beside` is what the loss takes from the run as a whole, which is in the score; with derivatives where asked for.
    """

    encoded: Passed | None
    looks: Looks
    trajectory: Trajectory
    score: Score
    beside: Beside | None

    @property
    def result(self) -> Evaluated:
        return Evaluated(self.score.accuracy, self.score.loss)

    @property
    def evaluations(self) -> float:
        """Evaluations of f that a sample took in the mean, those of stages in front among them."""
        runs = [self.trajectory, *(() if self.encoded is None else self.encoded.runs)]
        return float(sum(run.evaluations.sum(axis=0).mean() for run in runs))


def _run(programmed: Programmed, model: Model, data: Samples, tolerance: float, *, derivatives: bool) -> _Forward:
    objective = _objective(programmed, model, data)
    z0, encoded = _initial(programmed, model, data.x, tolerance)
    looks = looks_of(model, objective.times, every=objective.whole_run)
    trajectory = _integrate(programmed, z0, tolerance, looks, objective)
    score = objective.evaluate_path(looks.states(trajectory))
    beside = objective.beside(trajectory, derivatives=derivatives)
    if beside:
        score = replace(score, loss=score.loss + beside.loss)
    return _Forward(encoded, looks, trajectory, score, beside)


def _objective(programmed: Programmed, model: Model, data: Samples) -> Objective:
    """The loss of some samples, whose classifier is read where it lives on arrays."""
    if data.loss == "likelihood":
        return likelihood_of(model)
    objective = objective_of(model, data.labels, data.targets, data.times)
    by_classifier = named_below(programmed.ends, "classifier")
    return objective.read_by(cast("dict[str, LinearOperator]", by_classifier)) if by_classifier else objective


def loss_and_gradients(
    model: Model,
    data: Samples,
    *,
    processor: Processor | None = None,
    tolerance: float = _TOLERANCE,
    matrices: bool = True,
    occasion: str = "",
    adjoint: Adjoint = "discrete",
) -> tuple[Score, dict[str, FloatArray]]:
    """Mean loss of a model on some samples, and its gradient with respect to every parameter.

    Args:
        model: With a classifier, if the samples have labels.
        data: With x of the length of the model's inputs.
        processor: Who runs the model; digital matrices when left out.
        tolerance: Relative residual that Newton's method and the linear solves aim at; as far as noise allows.
        matrices: Whether the gradients of more than the classifier are wanted; without them no adjoint is solved.
        occasion: Which draw of the processor's noise they see.
        adjoint: As for `Schedule`.

    Returns:
        The score, and the gradients of all tensors of the model that are not frozen, by name; without `matrices` those
        of the classifier.

    Raises:
        InvalidInputError: The samples do not fit the model, or it has no such adjoint.
    """
    found = pulled_loss(
        model, data, processor=processor, tolerance=tolerance, matrices=matrices, occasion=occasion, adjoint=adjoint
    )
    return found.score, found.slopes


def pulled_loss(
    model: Model,
    data: Samples,
    *,
    processor: Processor | None = None,
    tolerance: float = _TOLERANCE,
    matrices: bool = True,
    occasion: str = "",
    adjoint: Adjoint = "discrete",
) -> Pulled:
    """The same with what it took; see `loss_and_gradients`."""
    with (processor or Digital()).programmed(model, occasion) as programmed:
        run = _run(programmed, model, data, tolerance, derivatives=matrices)
        score, encoded = run.score, run.encoded
        found = dict(score.tensors)
        if not matrices:
            return Pulled(score, found, run.evaluations, 0.0)
        if adjoint == "augmented":
            if run.beside:
                raise InvalidInputError('adjoint="augmented" knows no likelihood: take adjoint="discrete"')
            pulled = augmented_pull(programmed, run.looks, run.trajectory, score.cotangent)
        else:
            pulled = run.looks.pulled(run.trajectory, score.cotangent, beside=run.beside)
        adjoints = [pulled]
        sums = dict(score.sums)
        if encoded is not None:
            back = encoded.pull(model.ended(pulled.z0), to_inputs=False)
            found |= back.gradients
            sums |= back.sums
            adjoints += back.runs
        of_tensors = programmed.of_tensors
        found |= named_gradients(model, pulled.parameters) if of_tensors is None else of_tensors(pulled, sums)
    moving = {name: found[name] for name in model.tensors if name in found and name not in model.frozen}
    backwards = sum(float(one.evaluations.mean()) for one in adjoints if one.evaluations is not None)
    return Pulled(score, moving, run.evaluations, backwards)


def _initial(programmed: Programmed, model: Model, x: FloatArray, tolerance: float) -> tuple[FloatArray, Passed | None]:
    """Initial states of inputs, and how they came about if there is an encoder."""
    if model.encoder is None:
        return x, None
    options = SolveOptions()
    if model.stages:  # which are judged as the field behind them, at the states that it should begin with
        options = _options(programmed, model.initial(x), tolerance)
    encoded = model.encoder.reading(named_below(programmed.ends, "encoder")).passed(x, "encoder.", options)
    return encoded.value, encoded


def _options(programmed: Programmed, z0: FloatArray, tolerance: float) -> SolveOptions:
    """How equations are solved, no more exactly than noise allows."""
    exact = NewtonOptions(rtol=tolerance), KrylovOptions(rtol=tolerance)
    noise = programmed.noise(z0)
    newton, krylov = allowing_noise(*exact, noise)
    return SolveOptions(newton, get_linear_solver(krylov), AdaptiveOptions().allowing(noise))


def epochs(
    schedule: Schedule,
    model: Model,
    split: Split,
    rng: np.random.Generator,
    *,
    processor: Processor | None = None,
    deployed_on: Processor | None = None,
    level: int = 0,
) -> Iterator[tuple[Epoch, Model]]:
    """Train a model; yields how it does after every epoch, and the model itself.

    Args:
        schedule: How.
        model: Where to start, with a classifier if the samples have labels.
        split: What it is trained with and what is held back.
        rng: Of minibatches and their changes.
        processor: Who runs the minibatches; digital matrices when left out.
        deployed_on: Who runs the samples held back; the same processor when left out.
        level: Of a schedule with several: how many are behind, whose epochs are counted, too.

    Raises:
        InvalidInputError: The samples do not fit the model.
    """
    optimiser, data, behind = schedule.moved_by, split.train, level * schedule.epochs
    batches = max(1, len(data) // schedule.batch)  # what does not fill a minibatch waits for another epoch
    for number in range(behind + 1, behind + schedule.epochs + 1):
        order = rng.permutation(len(data))
        scores, back = [], []
        for index in range(batches):
            minibatch = data.take(order[index * schedule.batch : (index + 1) * schedule.batch])
            minibatch = split.augmented(minibatch, schedule.jitter, rng)
            done = ((number - behind - 1) * batches + index) / (schedule.epochs * batches)
            occasion = f"epoch {number}, minibatch {index}"
            found, model = _step(schedule, model, minibatch, optimiser, done, processor, occasion)
            scores.append(found.score)
            back.append(found.adjoint_evaluations)
        loss = float(np.mean([score.loss for score in scores]))
        right = [score.accuracy for score in scores if score.accuracy is not None]
        accuracy = float(np.mean(right)) if right else None
        found = Pulled(Score(loss, accuracy, np.zeros(0)), {}, 0.0, float(np.mean(back)))
        yield judged(schedule, number, model, split.test, found, deployed_on or processor), model


def judged(
    schedule: Schedule, number: int, model: Model, test: Samples, found: Pulled, processor: Processor | None
) -> Epoch:
    """How training stands after an epoch, counted over all levels: by what it found, and on samples held back."""
    seen = _evaluated(model, test, processor, schedule.tolerance, f"epoch {number}, test")
    spent, score = (seen.evaluations, found.adjoint_evaluations), found.score
    every = schedule.levels * schedule.epochs
    return Epoch(number, every, score.loss, score.accuracy, seen.result, *spent, seen.trajectory.options.adaptive.noise)


def _step(
    schedule: Schedule,
    model: Model,
    minibatch: Samples,
    optimiser: Optimiser,
    done: float,
    processor: Processor | None,
    occasion: str,
) -> tuple[Pulled, Model]:
    """One step down the gradient of a minibatch; `done` is the part of the training behind it."""
    pulled = pulled_loss(
        model,
        minibatch,
        processor=processor,
        tolerance=schedule.tolerance,
        matrices=schedule.trained == "everything",
        occasion=occasion,
        adjoint=schedule.adjoint,
    )
    slopes = pulled.slopes
    decay = dict.fromkeys(slopes, schedule.weight_decay)
    for name in slopes:
        if name.startswith("classifier."):
            decay[name] = schedule.classifier_decay if name.endswith("weight") else 0.0
    parameters = model.tensors
    moving = {name: parameters[name] for name in slopes}
    slopes = {name: slope + decay[name] * moving[name] for name, slope in slopes.items()}
    if schedule.smoothness:
        smooth = Regulariser(schedule.smoothness).gradients(model)
        slopes = {name: slope + smooth[name] for name, slope in slopes.items()}
    rate = schedule.learning_rate * 0.5 * (1.0 + math.cos(math.pi * done))
    wanted = model.with_tensors({**parameters, **optimiser.step(moving, slopes, rate)})
    return pulled, (processor or Digital()).rewritten(model, wanted, occasion)


def final_states(
    model: Model, x: FloatArray, tolerance: float, processor: Processor | None, occasion: str = ""
) -> FloatArray:
    """(n, samples) states at the end of the run from inputs, (inputs, samples)."""
    with (processor or Digital()).programmed(model, occasion) as programmed:
        z0, _ = _initial(programmed, model, x, tolerance)
        states: FloatArray = model.ended(_integrate(programmed, z0, tolerance, looks_of(model, None)).z[-1])
    return states


def _integrate(
    programmed: Programmed, z0: FloatArray, tolerance: float, looks: Looks, objective: Objective | None = None
) -> Trajectory:
    model = looks.model
    options = _options(programmed, z0, tolerance)
    return integrate(
        programmed.field if objective is None else objective.followed(programmed.field),
        model.started(z0),
        method=model.method,
        **model.times,
        newton=options.newton,
        krylov=options.krylov,
        adaptive=options.adaptive,
        stops=looks.stops,
        between=looks.between,
    )


def scored(classifier: Classifier | Chain, z: FloatArray, data: Samples) -> Evaluated:
    """How well a classifier does on some states."""
    score = CrossEntropy(classifier, data.classes).evaluate(z)
    return Evaluated(score.accuracy, score.loss)


def classifier_of(model: Model) -> Classifier | Chain:
    """The model's classifier.

    Raises:
        InvalidInputError: It has none.
    """
    if model.classifier is None:
        raise InvalidInputError("the model has no classifier, which training and its accuracy need")
    return model.classifier
