"""Training of continuous normalising flows: by the likelihood of samples, without any labels."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import final

import numpy as np

from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.operator import FloatArray
from xbar_spice.linear.threads import one_thread
from xbar_spice.parts import DATA
from xbar_spice.solve.density.likelihood import log_density
from xbar_spice.solve.fields.activation import get_activation
from xbar_spice.solve.fields.field import ActivationField
from xbar_spice.solve.integrators.layers import Layers
from xbar_spice.streams import Streams
from xbar_spice.train.descent import Epoch, evaluate
from xbar_spice.train.levels import trained
from xbar_spice.train.processor import Digital, Processor
from xbar_spice.train.samples import Split, split_of
from xbar_spice.train.tasks import Schedule, Task, check_at_least_one, check_positive
from xbar_spice.weights import Model

__all__ = ["TWO_MOONS_FLOW", "FlowResult", "FlowTask", "likelihood", "train_flow"]

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
        return split_of(*DATA.get(self.data_set).split(), "likelihood")

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
    """Train a flow by the mean negative log-likelihood of its samples, as a schedule says.

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
    data, rng = task.data(), streams.training("minibatches")
    with one_thread():
        model = start or task.initial(streams.training("initial weights"))
        for one in (processor, deployed_on):
            model = one.prepared(model) if one is not None else model
        judge = deployed_on or processor
        model, history = trained(
            schedule, model, data, rng, processor=processor, deployed_on=deployed_on, progress=progress
        )
        loss = evaluate(model, data.train, processor=judge, occasion="end, training").loss
    model = replace(model, source=f"task {task.name}, seed {seed}", trained_on=task.trained_on)
    normal = _normal_loss(data.train.x, data.test.x)
    return FlowResult(model, history, loss, history[-1].test.loss, normal, time.perf_counter() - began)


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
