"""The named tasks: what a neural ODE is trained for, how it starts and how it is trained."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal, final, get_args

import numpy as np

from xbar_spice.checks import Real, Whole, settle
from xbar_spice.errors import InvalidInputError
from xbar_spice.train.optimise import Adam, Descent, Optimiser
from xbar_spice.train.samples import Split
from xbar_spice.weights import Model, Prolongation

__all__ = ["Adjoint", "OptimiserName", "Schedule", "Task", "check_at_least_one", "check_choice", "check_positive"]

MOST_LEVELS = 30
Trained = Literal["everything", "classifier"]

OptimiserName = Literal["adam", "descent", "lbfgs", "gauss-newton"]
"""What moves the weights: the first two on minibatches, the others on all samples at once."""
Adjoint = Literal["discrete", "augmented"]
"""How gradients come back through a run: the exact adjoint of its steps, or one solve of the adjoint equation."""


def check_choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    """Refuse a value that is none of those allowed."""
    if value not in allowed:
        raise InvalidInputError(f"{name} must be one of {allowed}, got {value!r}")


def check_at_least_one(values: object, *names: str) -> None:
    """Refuse numbers below 1 in these attributes."""
    for name in names:
        if getattr(values, name) < 1:
            raise InvalidInputError(f"{name} must be >= 1, got {getattr(values, name)}")


def check_positive(values: object, *names: str) -> None:
    """Refuse numbers that are not positive and finite in these attributes."""
    for name in names:
        if not 0.0 < getattr(values, name) < math.inf:
            raise InvalidInputError(f"{name} must be > 0 and finite, got {getattr(values, name)}")


@final
@dataclass(frozen=True)
class Schedule:
    """How parameters are moved, by default by Adam on minibatches of slightly changed samples.

    L-BFGS and Gauss-Newton steps take all samples at once, as they are: batch, jitter, learning rate and momentum are
    not theirs. What they make smaller is the loss with the penalty `Regulariser(smoothness, weight_decay)`.

    Attributes:
        epochs: Passes over the samples; iterations of "lbfgs", rounds of "gauss-newton"; of each level.
        batch: Samples of a minibatch.
        jitter: Size of the random changes of training samples; of an image its largest move in pixels. Without it the
            samples are soon known by heart.
        learning_rate: Of the optimiser at the start; it falls to zero along a cosine.
        weight_decay: Of A and B or their kernels.
        classifier_decay: Of the classifier's weight.
        trained: "everything", or the "classifier" alone, which is digital and needs no gradient of A and B.
        tolerance: Relative residual that Newton's method and the linear solves aim at; far below the noise of a
            minibatch, and a good third fewer products than 1e-8.
        optimiser: "adam"; "descent": stochastic gradient descent; "lbfgs"; or "gauss-newton", which is
            `block_coordinate_descent`; its decay is that of the classifier where there is no `weight_decay`.
        momentum: Of descent: the part of the last move that goes on.
        smoothness: alpha of `Regulariser`, for weights that change in time.
        levels: Grids in time that the model is trained on, each with twice the steps of the one before: multilevel, or
            cascadic, training. A linear classifier is fitted anew before each but the first.
        prolongation: What the weights between those of a coarser level are, as for `prolong`.
        unroll: Whether every step gets weights of its own, equal at the start.
        adjoint: "discrete", the exact adjoint of the steps, or "augmented", one solve of the adjoint equation backwards
            by the same Runge-Kutta method, which dopri5 makes by steps of its own: inexact by the error of the method.

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
    optimiser: OptimiserName = "adam"
    momentum: float = 0.0
    smoothness: float = 0.0
    levels: int = 1
    prolongation: Prolongation = "linear"
    unroll: bool = False
    adjoint: Adjoint = "discrete"

    def __post_init__(self) -> None:
        settle(
            self,
            jitter=Real("pixels", least=0, most=1),
            tolerance=Real(above=0, below=1),
            momentum=Real(least=0, below=1),
            smoothness=Real(least=0),
            levels=Whole(1, MOST_LEVELS),
        )
        check_choice("trained", self.trained, get_args(Trained))
        check_choice("adjoint", self.adjoint, get_args(Adjoint))
        check_at_least_one(self, "epochs", "batch")
        check_positive(self, "learning_rate", "classifier_decay", "tolerance")
        if not 0.0 <= self.weight_decay < math.inf:
            raise InvalidInputError(f"weight_decay must be >= 0 and finite, got {self.weight_decay}")
        if self.momentum and self.optimiser != "descent":
            raise InvalidInputError(f'momentum is of optimiser="descent", got {self.momentum} with {self.optimiser!r}')
        if self.whole and self.trained != "everything":
            raise InvalidInputError(
                f'trained="{self.trained}" is of optimiser="adam" and "descent", got {self.optimiser!r}'
            )

    @property
    def whole(self) -> bool:
        """Whether the optimiser takes all samples at once."""
        return self.optimiser in ("lbfgs", "gauss-newton")

    @property
    def moved_by(self) -> Optimiser:
        """A new optimiser, which remembers nothing yet."""
        return Adam() if self.optimiser == "adam" else Descent(self.momentum)


class Task(ABC):
    """Something that a neural ODE is trained for: its data, how it starts, and how it is trained.

    A task of one's own subclasses this in a file of its own, and is handed over where the name of a built-in one goes.
    The model is trained for the classes of its samples, by the cross-entropy of a linear classifier of its last states.
    """

    name: str
    """By which weight files say where they come from."""

    schedule: Schedule
    """How it is trained."""

    trained_on: str = ""
    """The name of its data, which the model keeps, so that it finds them again; empty if they have none."""

    @abstractmethod
    def data(self) -> Split:
        """The samples; the same ones at every call."""

    @abstractmethod
    def initial(self, rng: np.random.Generator) -> Model:
        """A random neural ODE to start with, without a classifier, of as many inputs as a sample has entries."""
