"""Encoders and classifiers of several layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Self, final

from xbar_spice.errors import WeightsError
from xbar_spice.linear.operator import FloatArray, LinearOperator
from xbar_spice.weights.ends import Classifier, Encoder, End, named_below
from xbar_spice.weights.steps import Step

__all__ = ["Chain", "require_fitting"]


@final
@dataclass(frozen=True, eq=False)
class Chain(End):
    """An encoder or a classifier of several layers.

    Args:
        layers: One after the other, each an `Encoder`, whose activation and pooling stand behind its weight, or a
            `Classifier`, where they stand in front of it; or a list of both.

    Raises:
        WeightsError: There are no two layers, or one does not take what the one in front of it makes.

    Example:
        >>> head = Chain([Classifier([[1.0, 2.0]]), Classifier([[1.0], [-1.0]], activation="relu")])
        >>> head.logits([[1.0], [1.0]]).ravel()
        array([ 3., -3.])
        >>> list(head.tensors)
        ['0.weight', '0.bias', '1.weight', '1.bias']
    """

    layers: Sequence[Encoder | Classifier]

    def __post_init__(self) -> None:
        layers = self.layers
        given: Any = layers  # whatever its type says
        known = isinstance(given, Sequence) and all(isinstance(one, Encoder | Classifier) for one in given)
        if not known or len(given) < 2:
            raise WeightsError(
                f"layers: expected two of Encoder or Classifier at least, got {layers!r:.80}; one layer needs no chain"
            )
        object.__setattr__(self, "layers", tuple(layers))
        for number, (first, second) in enumerate(pairwise(layers)):
            if not second.takes(first.outputs):
                raise WeightsError(
                    f"layer {number + 1} of a chain, with a weight of shape {second.weight.shape}, does not take the "
                    f"{first.outputs} numbers that layer {number} makes"
                )

    def steps(self, name: str = "") -> tuple[Step, ...]:
        return tuple(step for k, layer in enumerate(self.layers) for step in layer.steps(f"{name}{k}."))

    @property
    def tensors(self) -> dict[str, FloatArray]:
        return {f"{k}.{of}": value for k, layer in enumerate(self.layers) for of, value in layer.tensors.items()}

    def replaced(self, values: Mapping[str, Any]) -> Self:
        if unknown := sorted(values.keys() - self.tensors.keys()):
            raise WeightsError(f"tensor {unknown[0]!r}: a chain has {', '.join(self.tensors)}")
        return replace(
            self, layers=[layer.replaced(named_below(values, f"{k}")) for k, layer in enumerate(self.layers)]
        )

    @property
    def operators(self) -> dict[str, LinearOperator]:
        return {f"{k}.weight": layer.operator for k, layer in enumerate(self.layers)}

    def reading(self, operators: Mapping[str, LinearOperator]) -> Self:
        made = copy(self)  # nothing is checked anew, because arrays would be read for it
        layers = tuple(layer.reading(named_below(operators, f"{k}")) for k, layer in enumerate(self.layers))
        object.__setattr__(made, "layers", layers)
        return made

    @property
    def inputs(self) -> int | None:
        return self.layers[0].inputs

    @property
    def outputs(self) -> int:
        return self.layers[-1].outputs


def require_fitting(states: int, encoder: Encoder | Chain | None, classifier: Classifier | Chain | None) -> None:
    """Raise if an encoder or a classifier does not belong to states of this length.

    Raises:
        WeightsError: The encoder makes states of another length, or the classifier takes others.
    """
    if classifier is not None and not classifier.takes(states):
        name, weight = next(iter(classifier.tensors.items()))
        taken = weight.shape[1]
        pooled = weight.ndim == 2 and taken < states and states % taken == 0
        raise WeightsError(
            f"tensor 'classifier.{name}': expected shape (classes, {states}) for states of length {states}, got "
            f"{weight.shape}"
            + (
                f"; if the states are {taken} channels of images whose means it takes, say so: pooling='mean' and "
                "image_shape=(height, width) (--set classifier.pooling=mean)"
                if pooled
                else ""
            )
        )
    if encoder is not None and encoder.states != states:
        name = list(encoder.operators)[-1]
        raise WeightsError(
            f"tensor 'encoder.{name}': expected shape ({states}, inputs) for states of length {states}, got "
            f"{encoder.tensors[name].shape}, which makes states of length {encoder.states}"
        )
