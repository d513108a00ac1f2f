"""Fields of several layers with normalisations between them, as neural ODEs of images have them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from copy import copy
from itertools import pairwise
from typing import Any, Self, cast, final

import numpy as np
from numpy.typing import ArrayLike

from xbar_spice.checks import Array, Optional, Real, Whole, checked
from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.normalisation import Normal, by_channel, normalised
from xbar_spice.linear.operator import FloatArray, LinearOperator, as_operator
from xbar_spice.solve.fields.activation import Activation, get_activation
from xbar_spice.solve.fields.evaluation import Evaluation, Parameters
from xbar_spice.solve.fields.field import Field, bias_gradient, checked_bias, spread_bias

__all__ = ["NormalisedField"]

_NAME = re.compile(r"(K|b|scale|shift)(\d+)")


@final
class NormalisedField(Field):
    """f(z) = norm2(K2 sig(norm1(K1 sig(norm0(z)) + b1)) + b2), or of any number of layers, one read of each.

    norm_j(s) = scale_j (s - mean) / sqrt(variance + epsilon) + shift_j, with mean and variance of each sample over each
    group of channels. A layer without a scale is not normalised; without `scale0` the state itself drives K1. The last
    layer has no activation, as that of a `PerceptronField`. Normalisations are digital.

    Args:
        activation: Name of an activation, or an `Activation`.
        groups: Of channels, as many as divide those of each layer; 1 is a layer normalisation. None for no mean and
            variance: a batch normalisation after training.
        epsilon: Added to variances.
        time: Whether K1 has one more column, for the time behind the state, as a `TimedField` takes it; any other
            matrix may have one, too. The time is not normalised.
        **tensors: Matrices or operators K1, K2, ..., biases b1, b2, ..., scale0, scale1, ... and shift0, shift1, ...,
            (channels,); any bias, shift, or scale with its shift may be left out.

    Raises:
        InvalidInputError: The matrices do not follow each other, a bias or a scale does not belong to its layer, or the
            activation is unknown.

    Source: the right-hand side of the MNIST example of torchdiffeq, https://github.com/rtqichen/torchdiffeq.

    Example:
        >>> field = NormalisedField("relu", groups=1, epsilon=0.0, K1=[[1.0, 2.0], [3.0, 4.0]], scale0=[1.0, 1.0])
        >>> field.evaluate(np.array([[1.0], [5.0]])).value[:, 0]  # of [-1, 1]
        array([2., 4.])
    """

    @checked(groups=Optional(Whole(1)), epsilon=Real(least=0))
    def __init__(
        self,
        activation: str | Activation = "relu",
        *,
        groups: int | None = None,
        epsilon: float = 1e-5,
        time: bool = False,
        **tensors: ArrayLike | LinearOperator | None,
    ) -> None:
        self.activation, self.groups, self.epsilon = get_activation(activation), groups, epsilon
        given: dict[str, Any] = {name: value for name, value in tensors.items() if value is not None}
        count = sum(name.startswith("K") for name in given)
        known = {f"{of}{j}" for of in ("K", "b", "scale", "shift") for j in range(of in ("K", "b"), count + 1)}
        alone = [name for name in given if name.startswith("shift") and f"scale{name[5:]}" not in given]
        if not count or given.keys() - known or not {f"K{j}" for j in range(1, count + 1)} <= given.keys() or alone:
            raise InvalidInputError(
                "layers need matrices K1, K2, ... and may have biases b1, b2, ..., and scales and shifts of "
                f"normalisations, of the state scale0, shift0, of layers scale1, shift1, ..., got {', '.join(given)}"
            )
        self._matrices = tuple(as_operator(given[f"K{j}"], f"K{j}") for j in range(1, count + 1))
        self._vectors: dict[str, FloatArray] = {}
        shapes = [K.shape for K in self._matrices]
        late = [time and second[1] == first[0] + 1 for first, second in pairwise(shapes)]
        self._timed = (time, *late)
        needed = [shape[0] + more for shape, more in zip(shapes, (*late, time), strict=True)]
        if [*(shape[1] for shape in shapes[1:]), shapes[0][1]] != needed:
            raise InvalidInputError(
                "each matrix needs as many columns as the one before it has rows, and the first one as many as the "
                f"last one has rows{', and one for the time' if time else ''}, got shapes {shapes}"
            )
        for name in sorted(given.keys() & known - {f"K{j}" for j in range(1, count + 1)}):
            self._vectors[name] = self._checked(name, given[name])

    def _checked(self, name: str, value: ArrayLike) -> FloatArray:
        kind, layer = self._place(name)
        if kind == "b":
            return checked_bias(name, value, self._matrices[layer - 1])
        vector = np.array(Array()(name, value))
        length = self._lengths[layer]
        if vector.ndim != 1 or not vector.size or length % vector.size or vector.size % (self.groups or 1):
            raise InvalidInputError(
                f"{name} must be (channels,) of {length} numbers, the channels a multiple of groups={self.groups}, got "
                f"{vector.shape}"
            )
        vector.setflags(write=False)
        return vector

    @staticmethod
    def _place(name: str) -> tuple[str, int]:
        """The kind of a tensor, and the layer that it belongs to."""
        found = cast("re.Match[str]", _NAME.fullmatch(name))
        return found[1], int(found[2])

    @property
    def _lengths(self) -> list[int]:
        """Numbers that each normalisation sees: of the state, and of each layer."""
        return [self.outputs, *(K.shape[0] for K in self._matrices)]

    @property
    def formula(self) -> str:
        text = self._normed("z", 0)
        text = text if text == "z" else f"{self.activation.name}({text})"
        for layer in range(1, len(self._matrices) + 1):
            text = f"[{text}; t]" if self._timed[layer - 1] else text
            text = self._normed(f"K{layer} {text}{f' + b{layer}' if f'b{layer}' in self._vectors else ''}", layer)
            text = f"{self.activation.name}({text})" if layer < len(self._matrices) else text
        return text

    def _normed(self, text: str, layer: int) -> str:
        return f"norm{layer}({text})" if f"scale{layer}" in self._vectors else text

    @property
    def states(self) -> int:
        return self._matrices[0].shape[1]

    @property
    def outputs(self) -> int:
        return self._matrices[-1].shape[0]

    @property
    def hidden_units(self) -> int:
        return sum(K.shape[0] for K in self._matrices)

    @property
    def operators(self) -> Mapping[str, LinearOperator]:
        return {f"K{layer}": K for layer, K in enumerate(self._matrices, start=1)}

    @property
    def vectors(self) -> Parameters:
        return dict(self._vectors)

    def replaced(self, values: Mapping[str, LinearOperator | FloatArray]) -> Self:
        made = copy(self)
        made._matrices = tuple(as_operator(values.get(name, held)) for name, held in self.operators.items())
        made._vectors = {name: cast(FloatArray, values.get(name, held)) for name, held in self._vectors.items()}
        return made

    def evaluate(self, z: FloatArray) -> Evaluation:
        count, kept, slopes = len(self._matrices), list[FloatArray](), list[FloatArray]()
        sums = z[: self.outputs]
        for layer in range(count + 1):
            normal = self._normal(sums, layer)
            u = self._scaled(normal.value, layer, shifted=True)
            acts = self._acts(layer)
            r = self.activation.value(u) if acts else u
            slopes.append(np.asarray(self.activation.slope(u, r), dtype=float) if acts else np.ones(u.shape))
            kept += [r, normal.value, normal.deviation]
            if layer < count:
                b = self._vectors.get(f"b{layer + 1}")
                sums = spread_bias(self._matrices[layer].mv(self._driven(layer, r, z)), b)
        return Evaluation(z=z, value=r, slope=np.vstack(slopes), hidden=np.vstack(kept))

    def jvp(self, evaluation: Evaluation, direction: FloatArray) -> FloatArray:
        return self.push(evaluation, direction, {})

    def parameter_jvp(self, evaluation: Evaluation, direction: Parameters) -> FloatArray:
        return self.push(evaluation, np.zeros_like(evaluation.z), direction)

    def push(self, evaluation: Evaluation, change: FloatArray, direction: Parameters) -> FloatArray:
        moved, parts, slopes = change[: self.outputs], self._parts(evaluation), self._slopes(evaluation)
        for layer, (r, normal) in enumerate(parts):
            u = self._scaled(normal.pull(moved), layer)  # the derivative of a normalisation is symmetric
            for of, by in (("scale", normal.value), ("shift", np.ones_like(u))):
                if f"{of}{layer}" in direction:
                    u = u + self._by_channel(direction[f"{of}{layer}"], by)
            moved = slopes[layer] * u
            if layer < len(self._matrices):
                s = self._matrices[layer].mv(self._driven(layer, moved, change))
                if f"K{layer + 1}" in direction:
                    s = s + direction[f"K{layer + 1}"] @ self._driven(layer, r, evaluation.z)
                moved = spread_bias(s, direction.get(f"b{layer + 1}"))
        return moved

    def pull_hidden(self, evaluation: Evaluation, cotangent: FloatArray) -> FloatArray:
        # Of each layer the cotangents of what is scaled and of its sums, the last one first; that of the state is read
        # here, too, because the gradients of its normalisation need it.
        parts, slopes, found = self._parts(evaluation), self._slopes(evaluation), list[FloatArray]()
        time = np.zeros((self.states - self.outputs, evaluation.batch))
        for layer in reversed(range(len(parts))):
            u = slopes[layer] * cotangent
            s = parts[layer][1].pull(self._scaled(u, layer))
            found += [u, s]
            if layer:
                cotangent = self._matrices[layer - 1].T.mv(s)
                if self._timed[layer - 1]:
                    cotangent, time = cotangent[:-1], time + cotangent[-1:]
        return np.vstack([*found, time])

    def pull_state(self, evaluation: Evaluation, hidden_cotangent: FloatArray) -> FloatArray:
        return hidden_cotangent[len(hidden_cotangent) - self.states :]  # the sums of layer 0 are the state

    def parameter_gradients(
        self, evaluation: Evaluation, cotangent: FloatArray, hidden_cotangent: FloatArray
    ) -> Parameters:
        lengths = [length for length in reversed(self._lengths) for _ in range(2)]
        pulled = np.split(hidden_cotangent[: sum(lengths)], np.cumsum(lengths)[:-1])
        parts, found = self._parts(evaluation), dict[str, FloatArray]()
        for layer, (_, normal) in enumerate(parts):
            u, s = pulled[2 * (len(parts) - 1 - layer) :][:2]
            if layer:
                driven = self._driven(layer - 1, parts[layer - 1][0], evaluation.z)
                found[f"K{layer}"] = self._matrices[layer - 1].outer(s, driven)
                found |= bias_gradient(f"b{layer}", self._vectors.get(f"b{layer}"), s)
            for of, by in (("scale", normal.value), ("shift", 1.0)):
                if (held := self._vectors.get(f"{of}{layer}")) is not None:
                    found[f"{of}{layer}"] = by_channel(of, u * by, len(held)).sum(axis=(1, 2))
        return found

    def _acts(self, layer: int) -> bool:
        """Whether an activation stands behind the normalisation of a layer; 0 is the state."""
        return layer < len(self._matrices) if layer else "scale0" in self._vectors

    def _normal(self, sums: FloatArray, layer: int) -> Normal:
        return normalised(sums, self.groups if f"scale{layer}" in self._vectors else None, self.epsilon)

    def _scaled(self, x: FloatArray, layer: int, *, shifted: bool = False) -> FloatArray:
        if f"scale{layer}" not in self._vectors:
            return x
        found = self._by_channel(self._vectors[f"scale{layer}"], x)
        return spread_bias(found, self._vectors.get(f"shift{layer}")) if shifted else found

    @staticmethod
    def _by_channel(factors: FloatArray, x: FloatArray) -> FloatArray:
        """Each number times the factor of its channel."""
        return np.asarray(np.repeat(factors, len(x) // len(factors))[:, np.newaxis] * x)

    def _driven(self, layer: int, r: FloatArray, z: FloatArray) -> FloatArray:
        """What drives a matrix: the units in front of it, and below them the time, the last entry of the state."""
        return np.vstack([r, z[-1:]]) if self._timed[layer] else r

    def _slopes(self, evaluation: Evaluation) -> Sequence[FloatArray]:
        return np.split(evaluation.slope, np.cumsum(self._lengths)[:-1])

    def _parts(self, evaluation: Evaluation) -> list[tuple[FloatArray, Normal]]:
        """What each layer, and the state, has left: what drives the next matrix, and its normalisation."""
        found, first = [], 0
        for layer, length in enumerate(self._lengths):
            groups = (self.groups or 0) if f"scale{layer}" in self._vectors else 0
            r, value, deviation = np.split(evaluation.hidden[first : first + 2 * length + groups], [length, 2 * length])
            found.append((r, Normal(value, deviation)))
            first += 2 * length + groups
        return found
