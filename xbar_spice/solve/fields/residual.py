"""A field of several layers, one read of each for an evaluation: the inside of a residual block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from itertools import pairwise
from typing import Self, cast, final

import numpy as np
from numpy.typing import ArrayLike

from xbar_spice.checks import checked
from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.operator import FloatArray, LinearOperator, as_operator
from xbar_spice.solve.fields.activation import Activation, get_activation
from xbar_spice.solve.fields.evaluation import BoolArray, Evaluation, Parameters
from xbar_spice.solve.fields.field import Field, bias_gradient, checked_bias, spread_bias

__all__ = ["PerceptronField", "ResidualField"]


class ResidualField(Field):
    """f(z) = sig(K2 sig(K1 z + b1) + b2), or as many layers as there are matrices K1, K2, ..., one read of each.

    With s_j = K_j r_(j-1) + b_j, r_j = sig(s_j), r_0 = z and D_j = diag(sig'(s_j)) the Jacobian is D_l K_l ... D_1 K_1.

    Args:
        activation: Name of an activation, or an `Activation`.
        time: Whether K1 has one more column, for the time behind the state, as a `TimedField` takes it; any other
            matrix may have one, too.
        **tensors: Matrices or operators K1, K2, ..., each with as many columns as the one before has rows, the last one
            with as many rows as the first one has columns; and biases b1, b2, ..., any of which may be left out.

    Raises:
        InvalidInputError: The matrices do not follow each other, a bias does not belong to its matrix, or the
            activation is unknown.

    Example:
        >>> field = ResidualField("relu", K1=[[1.0], [-1.0]], K2=[[1.0, 1.0]], b2=[2.0])
        >>> field.evaluate(np.array([[-3.0]])).value[:, 0]
        array([5.])
    """

    @checked()
    def __init__(
        self, activation: str | Activation = "tanh", *, time: bool = False, **tensors: ArrayLike | LinearOperator | None
    ) -> None:
        self.activation = get_activation(activation)
        given = {name: value for name, value in tensors.items() if value is not None}
        count = sum(name.startswith("K") for name in given)
        expected = [f"{letter}{layer + 1}" for letter in "Kb" for layer in range(count)]
        if not count or set(given) - set(expected) or not set(expected[:count]) <= set(given):
            raise InvalidInputError(
                f"layers need matrices K1, K2, ... and may have biases b1, b2, ..., got {', '.join(given) or 'none'}"
            )
        self._layers = tuple(as_operator(given[name], name) for name in expected[:count])
        self._biases = tuple(
            checked_bias(name, cast("ArrayLike", given[name]), K) if name in given else None
            for name, K in zip(expected[count:], self._layers, strict=True)
        )
        shapes = [K.shape for K in self._layers]
        # Of which matrices the time drives a column behind those of the units in front.
        late = [time and second[1] == first[0] + 1 for first, second in pairwise(shapes)]
        self._timed = (time, *late)
        needed = [*(shape[0] + more for shape, more in zip(shapes, late, strict=False)), shapes[-1][0] + time]
        if [*(shape[1] for shape in shapes[1:]), shapes[0][1]] != needed:
            raise InvalidInputError(
                "each matrix needs as many columns as the one before it has rows, and the first one as many as the "
                f"last one has rows{', and one for the time' if time else ''}, got shapes {shapes}"
            )

    @property
    def formula(self) -> str:
        text = "z"
        for layer, (b, activation) in enumerate(zip(self._biases, self._activations, strict=True), start=1):
            sums = f"K{layer} {text}{'' if b is None else f' + b{layer}'}"
            text = sums if activation.name == "identity" else f"{activation.name}({sums})"
        return text

    @property
    def _activations(self) -> Sequence[Activation]:
        """The sig of each layer."""
        return (self.activation,) * len(self._layers)

    @property
    def states(self) -> int:
        return self._layers[0].shape[1]

    @property
    def outputs(self) -> int:
        return self._layers[-1].shape[0]

    @property
    def hidden_units(self) -> int:
        return sum(K.shape[0] for K in self._layers)

    @property
    def operators(self) -> Mapping[str, LinearOperator]:
        return {f"K{layer}": K for layer, K in enumerate(self._layers, start=1)}

    @property
    def vectors(self) -> Parameters:
        return {f"b{layer}": b for layer, b in enumerate(self._biases, start=1) if b is not None}

    def replaced(self, values: Mapping[str, LinearOperator | FloatArray]) -> Self:
        made, count = copy(self), len(self._layers)
        made._layers = tuple(as_operator(values.get(f"K{j + 1}", self._layers[j])) for j in range(count))
        made._biases = tuple(cast("FloatArray | None", values.get(f"b{j + 1}", self._biases[j])) for j in range(count))
        return made

    def evaluate(self, z: FloatArray) -> Evaluation:
        r, slopes, hidden = z, [], []
        for layer, (b, activation) in enumerate(zip(self._biases, self._activations, strict=True)):
            s = spread_bias(self._layers[layer].mv(self._driven(layer, r, z)), b)
            r = activation.value(s)
            slopes.append(activation.slope(s, r))
            hidden.append(r)
        slope = cast("BoolArray | FloatArray", np.vstack(slopes))  # bits stay bits
        return Evaluation(z=z, value=r, slope=slope, hidden=np.vstack(hidden))

    def jvp(self, evaluation: Evaluation, direction: FloatArray) -> FloatArray:
        change = direction
        for layer, slope in enumerate(self._split(evaluation.slope)):
            change = slope * self._layers[layer].mv(self._driven(layer, change, direction))
        return change

    def pull_hidden(self, evaluation: Evaluation, cotangent: FloatArray) -> FloatArray:
        pulled: list[FloatArray] = []  # p_j = D_j K_(j+1)^T p_(j+1), the last layer first
        slopes, time = self._split(evaluation.slope), np.zeros((1, evaluation.batch))
        for layer in reversed(range(len(self._layers))):
            pulled.append(slopes[layer] * cotangent)
            if layer:
                cotangent = self._layers[layer].T.mv(pulled[-1])
            if layer and self._timed[layer]:
                cotangent, time = cotangent[:-1], time + cotangent[-1:]
        return np.vstack([*pulled[::-1], *([time] if any(self._timed[1:]) else [])])  # what the time gets is last

    def pull_state(self, evaluation: Evaluation, hidden_cotangent: FloatArray) -> FloatArray:
        found = self._layers[0].T.mv(self._split(hidden_cotangent)[0])
        if not any(self._timed[1:]):
            return found
        return np.vstack([found[:-1], found[-1:] + hidden_cotangent[-1:]])

    def parameter_gradients(
        self, evaluation: Evaluation, cotangent: FloatArray, hidden_cotangent: FloatArray
    ) -> Parameters:
        inputs = self._inputs(evaluation)
        found: dict[str, FloatArray] = {}
        for layer, (p, b) in enumerate(zip(self._split(hidden_cotangent), self._biases, strict=True), start=1):
            found |= {
                f"K{layer}": self._layers[layer - 1].outer(p, inputs[layer - 1]),
                **bias_gradient(f"b{layer}", b, p),
            }
        return found

    def parameter_jvp(self, evaluation: Evaluation, direction: Parameters) -> FloatArray:
        inputs, still = self._inputs(evaluation), np.zeros_like(evaluation.z)
        change = still
        for layer, (K, slope) in enumerate(zip(self._layers, self._split(evaluation.slope), strict=True), start=1):
            s = K.mv(self._driven(layer - 1, change, still))
            if f"K{layer}" in direction:
                s = s + direction[f"K{layer}"] @ inputs[layer - 1]
            change = slope * spread_bias(s, direction.get(f"b{layer}"))
        return change

    def _driven(self, layer: int, r: FloatArray, z: FloatArray) -> FloatArray:
        """What drives a layer: the units in front of it, and below them the time, the last entry of the state."""
        return np.vstack([r, z[-1:]]) if layer and self._timed[layer] else r

    def _inputs(self, evaluation: Evaluation) -> Sequence[FloatArray]:
        """What has driven each layer."""
        units = (evaluation.z, *self._split(evaluation.hidden)[:-1])
        return [self._driven(layer, r, evaluation.z) for layer, r in enumerate(units)]

    def _split(self, stacked: FloatArray | BoolArray) -> Sequence[FloatArray]:
        """What is one layer below the other, by layer."""
        ends = np.cumsum([K.shape[0] for K in self._layers])
        return np.split(stacked[: ends[-1]], ends[:-1])


@final
class PerceptronField(ResidualField):
    """f(z) = K3 sig(K2 sig(K1 z + b1) + b2) + b3, or of any number of layers: the last one has no activation.

    Args:
        activation: Name of an activation, or an `Activation`.
        time: As for `ResidualField`.
        **tensors: As for `ResidualField`.

    Raises:
        InvalidInputError: See `ResidualField`.

    Example:
        >>> field = PerceptronField("relu", K1=[[1.0], [-1.0]], K2=[[1.0, 1.0]], b2=[-4.0])
        >>> field.evaluate(np.array([[-3.0]])).value[:, 0]
        array([-1.])
    """

    @property
    def _activations(self) -> Sequence[Activation]:
        return (*super()._activations[1:], get_activation("identity"))
