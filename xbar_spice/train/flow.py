"""Training of continuous normalising flows: by the likelihood of samples, without any labels."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import final

import numpy as np

from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.operator import FloatArray
from xbar_spice.linear.threads import one_thread
from xbar_spice.parts import DATA
from xbar_spice.solve.density.likelihood import DensityGradients, density_gradients, log_density
from xbar_spice.solve.fields.activation import get_activation
from xbar_spice.solve.fields.field import ActivationField
from xbar_spice.solve.integrators.layers import Layers
from xbar_spice.streams import Streams
from xbar_spice.train.descent import Epoch, Evaluated
from xbar_spice.train.processor import Digital, Processor
from xbar_spice.train.samples import Split, split_of
from xbar_spice.train.tasks import Schedule, Task, check_at_least_one, check_positive
from xbar_spice.weights import Model, named_gradients

__all__ = ["TWO_MOONS_FLOW", "FlowResult", "FlowTask", "likelihood", "likelihood_gradients", "train_flow"]

OnEpoch = Callable[[Epoch], None]


@final
@dataclass(frozen=True)
class FlowTask(Task):
    """A flow of steps B tanh(A z + bias), each with weights of its own, from samples to standard normal numbers.

    Attributes:
        data_set: A name of `DATA`, or the text of a set of one's own, whose labels are not looked at.
        hidden: Number of hidden units of each step.
        h: Step length.
        steps: Number of steps.
        activation: sig; without a kink, because densities jump at kinks.
        method: Of integration, one of those whose determinants have gradients.
        schedule: How it is trained.

    Raises:
        InvalidInputError: A value is out of range, or no set has this name.
    """

    data_set: str = "two_moons(scaled=True)"
    hidden: int = 32
    h: float = 0.25
    steps: int = 8
    activation: str = "tanh"
    method: str = "forward_euler"
    schedule: Schedule = field(default_factory=lambda: Schedule(30, batch=100, jitter=0.0, learning_rate=0.02))

    def __post_init__(self) -> None:
        DATA.parsed(self.data_set)
        get_activation(self.activation)
        check_at_least_one(self, "hidden", "steps")
        check_positive(self, "h")

    @property
    def name(self) -> str:  # type: ignore[override]
        """By which weight files say where they come from."""
        return f"{self.data_set.partition('(')[0].replace('_', '-')}-flow"

    @property
    def trained_on(self) -> str:  # type: ignore[override]
        """The name of its data."""
        return self.data_set

    def data(self) -> Split:
        return split_of(*DATA.get(self.data_set).split())

    def initial(self, rng: np.random.Generator) -> Model:
        n = len(self.data().train.x)

        def drawn() -> ActivationField:
            A, B = rng.standard_normal((self.hidden, n)), rng.standard_normal((n, self.hidden))
            return ActivationField(A, B / self.hidden, self.activation, bias=rng.standard_normal(self.hidden))

        parts = [drawn() for _ in range(self.steps)]
        field = Layers(parts) if self.steps > 1 else parts[0]
        return Model(field=field, h=self.h, steps=self.steps, method=self.method)


@final
@dataclass(frozen=True, eq=False)
class FlowResult:
    """A trained flow and how it came about.

    Attributes:
        model: What leads samples to normal numbers.
        history: Every epoch; its losses are mean negative log-likelihoods in nats, nothing is classified, and its
            evaluations are those of the minibatches.
        train_loss: Mean negative log-likelihood of the samples it was trained with, in nats.
        test_loss: Of those held back.
        normal_loss: Of those held back, of the normal distribution with mean and covariance of the others: what there
            is to gain from a neural ODE starts here.
        seconds: Wall time.
    """

    model: Model
    history: tuple[Epoch, ...]
    train_loss: float
    test_loss: float
    normal_loss: float
    seconds: float


def likelihood(model: Model, x: FloatArray, processor: Processor | None = None, occasion: str = "") -> FloatArray:
    """The log-likelihood of samples, (n, samples), by the determinant; (samples,)."""
    with (processor or Digital()).programmed(model, occasion) as programmed:
        return log_density(programmed.field, x.T, model.method, h=_h(model), steps=model.steps)


def likelihood_gradients(
    model: Model, x: FloatArray, processor: Processor | None = None, occasion: str = ""
) -> tuple[DensityGradients, dict[str, FloatArray]]:
    """The same with the gradients of the mean negative log-likelihood, by the names of the model's tensors.

    Raises:
        InvalidInputError: The processor's gradient does not go through reads of the other side.
    """
    with (processor or Digital()).programmed(model, occasion) as programmed:
        if programmed.of_tensors is not None:
            raise InvalidInputError('a flow on a chip is trained by its reads of both sides: take gradient="hardware"')
        count = x.shape[1]
        found = density_gradients(
            programmed.field, x.T, model.method, h=_h(model), steps=model.steps, weights=np.full(count, -1.0 / count)
        )
    return found, named_gradients(model, found.parameters)


def train_flow(
    task: FlowTask,
    *,
    seed: int = 0,
    schedule: Schedule | None = None,
    start: Model | None = None,
    processor: Processor | None = None,
    deployed_on: Processor | None = None,
    progress: OnEpoch | None = None,
) -> FlowResult:
    """Train a flow by the mean negative log-likelihood of its samples, with Adam on minibatches.

    Args:
        task: What.
        seed: Of initial weights and minibatches.
        schedule: How; as the task says when left out.
        start: Weights to go on from; random ones when left out.
        processor: Who runs the model; digital matrices when left out.
        deployed_on: Who runs it when its likelihood is measured; the processor when left out.
        progress: Called after every epoch.
    """
    began, streams, schedule = time.perf_counter(), Streams(seed), schedule or task.schedule
    data, optimiser, history = task.data(), schedule.moved_by, list[Epoch]()
    rng, batches = streams.training("minibatches"), max(1, len(data.train) // schedule.batch)
    with one_thread():
        model = start or task.initial(streams.training("initial weights"))
        for one in (processor, deployed_on):
            model = one.prepared(model) if one is not None else model
        judge = deployed_on or processor
        for number in range(1, schedule.epochs + 1):
            order, losses, spent = rng.permutation(len(data.train)), list[float](), list[tuple[float, float]]()
            for index in range(batches):
                occasion = f"epoch {number}, minibatch {index}"
                x = data.train.x[:, order[index * schedule.batch : (index + 1) * schedule.batch]]
                found, slopes = likelihood_gradients(model, x, processor, occasion)
                losses.append(-float(found.log_density.mean()))
                spent.append((float(found.evaluations.mean()), float(found.adjoint_evaluations.mean())))
                tensors, done = model.tensors, ((number - 1) * batches + index) / (schedule.epochs * batches)
                moving = {name: tensors[name] for name in slopes if name in tensors and name not in model.frozen}
                slopes = {name: slopes[name] + schedule.weight_decay * moving[name] for name in moving}
                rate = schedule.learning_rate * 0.5 * (1.0 + math.cos(math.pi * done))
                wanted = model.with_tensors({**tensors, **optimiser.step(moving, slopes, rate)})
                model = (processor or Digital()).rewritten(model, wanted, occasion)
            test = -float(likelihood(model, data.test.x, judge, f"epoch {number}, test").mean())
            loss, (forward, back) = float(np.mean(losses)), np.mean(spent, axis=0).tolist()
            history.append(Epoch(number, schedule.epochs, loss, None, Evaluated(None, test), forward, back))
            if progress is not None:
                progress(history[-1])
        train = -float(likelihood(model, data.train.x, judge, "end, training").mean())
    model = replace(model, source=f"task {task.name}, seed {seed}", trained_on=task.trained_on)
    normal = _normal_loss(data.train.x, data.test.x)
    return FlowResult(model, tuple(history), train, test, normal, time.perf_counter() - began)


def _h(model: Model) -> float:
    if model.grid is not None:
        raise InvalidInputError("a flow needs steps of one length: give the model h and steps in place of a grid")
    return model.h


def _normal_loss(known: FloatArray, x: FloatArray) -> float:
    """Mean negative log-likelihood of the normal distribution that fits the known samples."""
    covariance = np.cov(known)
    away = x - known.mean(axis=1, keepdims=True)
    quadratic = np.sum(away * np.linalg.solve(covariance, away), axis=0).mean()
    return float(0.5 * (quadratic + np.linalg.slogdet(2.0 * np.pi * covariance)[1]))


TWO_MOONS_FLOW = FlowTask()
