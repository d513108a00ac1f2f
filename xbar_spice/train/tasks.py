"""The named tasks: what a neural ODE is trained for, how it starts and how it is trained."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, final, get_args

import numpy as np

from xbar_spice.checks import Real, settle
from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.operator import FloatArray
from xbar_spice.train.digits import IMAGE_SHAPE
from xbar_spice.weights import Kernels, Model

__all__ = ["TASKS", "Schedule", "Task", "named_task"]

Structure = Literal["convolution", "dense"]
Trained = Literal["everything", "classifier"]


def _check_choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise InvalidInputError(f"{name} must be one of {allowed}, got {value!r}")


def _check_at_least_one(values: object, *names: str) -> None:
    for name in names:
        if getattr(values, name) < 1:
            raise InvalidInputError(f"{name} must be >= 1, got {getattr(values, name)}")


def _check_positive(values: object, *names: str) -> None:
    for name in names:
        if not 0.0 < getattr(values, name) < math.inf:
            raise InvalidInputError(f"{name} must be > 0 and finite, got {getattr(values, name)}")


@final
@dataclass(frozen=True)
class Schedule:
    """How parameters are moved: by Adam, on minibatches of slightly moved images.

    Attributes:
        epochs: Passes over the samples.
        batch: Samples of a minibatch.
        jitter: Largest random move of a training image, pixels; without it the samples are soon known by heart.
        learning_rate: Of Adam at the start; it falls to zero along a cosine.
        weight_decay: Of A and B or their kernels.
        classifier_decay: Of the classifier's weight.
        trained: "everything", or the "classifier" alone, which is digital and needs no gradient of A and B.
        tolerance: Relative residual that Newton's method and the linear solves aim at; far below the noise of a
            minibatch, and a good third fewer products than 1e-8.

    Raises:
        InvalidInputError: A value is out of range.
    """

    epochs: int = 6
    batch: int = 128
    jitter: float = 0.3
    learning_rate: float = 0.03
    weight_decay: float = 0.0
    classifier_decay: float = 1e-3
    trained: Trained = "everything"
    tolerance: float = 1e-5

    def __post_init__(self) -> None:
        settle(self, jitter=Real("pixels", least=0, most=1), tolerance=Real(above=0, below=1))
        _check_choice("trained", self.trained, get_args(Trained))
        _check_at_least_one(self, "epochs", "batch")
        _check_positive(self, "learning_rate", "classifier_decay", "tolerance")
        if not 0.0 <= self.weight_decay < math.inf:
            raise InvalidInputError(f"weight_decay must be >= 0 and finite, got {self.weight_decay}")


@final
@dataclass(frozen=True)
class Task:
    """What is trained, and how.

    Attributes:
        name: By which `train` knows it.
        structure: "convolution" for circular 3 x 3 kernels a and b, "dense" for full matrices A and B.
        h: Step length.
        steps: Number of implicit Euler steps.
        stiffness: h |A| |B| in spectral norms at the start; from about 2 on Newton's method needs care.
        schedule: How it is trained.

    Raises:
        InvalidInputError: A value is out of range.
    """

    name: str
    structure: Structure
    h: float = 0.25
    steps: int = 4
    stiffness: float = 0.5
    schedule: Schedule = field(default_factory=Schedule)

    def __post_init__(self) -> None:
        _check_choice("structure", self.structure, get_args(Structure))
        _check_at_least_one(self, "steps")
        _check_positive(self, "h", "stiffness")

    def initial(self, rng: np.random.Generator) -> Model:
        """A random neural ODE without a classifier, scaled to the task's stiffness."""
        norm = math.sqrt(self.stiffness / self.h)
        if self.structure == "dense":
            size = math.prod(IMAGE_SHAPE)
            A, B = rng.normal(size=(2, size, size))
            return Model(A * norm / _spectral(A), B * norm / _spectral(B), self.h, self.steps)
        a, b = rng.normal(size=(2, 9))
        A, B = Kernels(a, b, IMAGE_SHAPE).matrices()
        kernels = Kernels(a * norm / _spectral(A), b * norm / _spectral(B), IMAGE_SHAPE)
        return Model.from_kernels(kernels, h=self.h, steps=self.steps)


TASKS: Mapping[str, Task] = MappingProxyType(
    {
        task.name: task
        for task in (
            Task("digits-conv", "convolution"),
            Task("digits-dense", "dense", schedule=Schedule(25, jitter=0.4, learning_rate=0.01, weight_decay=1e-3)),
        )
    }
)
"""The named tasks; an entry here is all that a new one needs."""


def named_task(task: str | Task) -> Task:
    """The task of this name; a task as it is.

    Raises:
        InvalidInputError: No task has this name.
    """
    if isinstance(task, Task):
        return task
    if task not in TASKS:
        raise InvalidInputError(f"task must be one of {', '.join(TASKS)}, got {task!r}")
    return TASKS[task]


def _spectral(matrix: FloatArray) -> float:
    """The spectral norm."""
    return float(np.linalg.norm(matrix, 2))
