"""The optimisers of training: Adam or plain descent for minibatches, L-BFGS for the convex problem of a classifier."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, final

import numpy as np
import scipy
from numpy.typing import NDArray

from xbar_spice.linear.operator import FloatArray
from xbar_spice.train.losses import softmax_cross_entropy
from xbar_spice.weights import Classifier

__all__ = ["Adam", "Descent", "Optimiser", "Parameters", "fit_classifier"]

Parameters = Mapping[str, FloatArray]


class Optimiser(Protocol):
    """What moves parameters along gradients."""

    def step(self, parameters: Parameters, gradients: Parameters, learning_rate: float) -> dict[str, FloatArray]:
        """The parameters after one step down the gradients."""


@final
@dataclass
class Descent:
    """Steepest descent with momentum: v <- momentum v + g, w <- w - learning_rate v.

    Args:
        momentum: Part of the last move that goes on; 0 is plain stochastic gradient descent.
    """

    momentum: float = 0.0
    _moving: dict[str, FloatArray] = field(default_factory=dict, init=False)

    def step(self, parameters: Parameters, gradients: Parameters, learning_rate: float) -> dict[str, FloatArray]:
        """The parameters after one step down the gradients."""
        for name in parameters:
            kept = self.momentum * self._moving[name] if name in self._moving else 0.0
            self._moving[name] = kept + gradients[name]
        return {name: value - learning_rate * self._moving[name] for name, value in parameters.items()}


@final
@dataclass
class Adam:
    """Adaptive moment estimation: steps of about the learning rate, whatever the scale of a gradient.

    Source: Kingma and Ba, Adam, ICLR 2015.

    Args:
        first_decay: Part of the mean gradient that is kept from step to step.
        second_decay: The same for the mean square.
        epsilon: What keeps a step finite where the gradient vanishes.
    """

    first_decay: float = 0.9
    second_decay: float = 0.99
    epsilon: float = 1e-8
    _mean: dict[str, FloatArray] = field(default_factory=dict, init=False)
    _square: dict[str, FloatArray] = field(default_factory=dict, init=False)
    _steps: int = field(default=0, init=False)

    def step(self, parameters: Parameters, gradients: Parameters, learning_rate: float) -> dict[str, FloatArray]:
        """The parameters after one step down the gradients."""
        self._steps += 1
        moved = {}
        for name, value in parameters.items():
            mean = self._running(self._mean, name, gradients[name], self.first_decay)
            square = self._running(self._square, name, gradients[name] ** 2, self.second_decay)
            moved[name] = value - learning_rate * mean / (np.sqrt(square) + self.epsilon)
        return moved

    def _running(self, store: dict[str, FloatArray], name: str, value: FloatArray, decay: float) -> FloatArray:
        """The running mean, freed of the weight of its start at zero."""
        store[name] = decay * store.get(name, np.zeros_like(value)) + (1.0 - decay) * value
        return store[name] / (1.0 - decay**self._steps)


def fit_classifier(
    z: FloatArray, labels: NDArray[np.int64], classes: int, *, weight_decay: float, max_iterations: int = 300
) -> Classifier:
    """The best linear classifier of some states, by L-BFGS on mean cross-entropy + weight_decay |weight|^2 / 2.

    Args:
        z: States, (n, samples).
        labels: (samples,), classes from 0.
        classes: How many there are.
        weight_decay: > 0 makes the best classifier unique.
        max_iterations: Limit of the optimiser; the result is then the best so far.
    """
    size = classes * z.shape[0]

    def unpacked(vector: FloatArray) -> tuple[FloatArray, FloatArray]:
        return vector[:size].reshape(classes, -1), vector[size:]

    def objective(vector: FloatArray) -> tuple[float, FloatArray]:
        weight, bias = unpacked(vector)
        score = softmax_cross_entropy(weight, bias, z, labels)
        value = score.loss + 0.5 * weight_decay * float(np.vdot(weight, weight))
        return value, np.concatenate([(score.weight + weight_decay * weight).ravel(), score.bias])

    start = np.zeros(size + classes)
    found = scipy.optimize.minimize(objective, start, jac=True, method="L-BFGS-B", options={"maxiter": max_iterations})
    return Classifier(*unpacked(found.x))
