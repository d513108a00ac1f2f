"""Encoders and classifiers of several layers."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast, final

from xbar_spice.errors import WeightsError
from xbar_spice.linear.operator import FloatArray, LinearOperator
from xbar_spice.weights.end import End, Read, named_below
from xbar_spice.weights.ends import Classifier, Encoder
from xbar_spice.weights.passing import Step

if TYPE_CHECKING:
    from xbar_spice.weights.model import Model

__all__ = ["Chain", "as_encoder", "require_fitting"]

T = TypeVar("T")


@final
@dataclass(frozen=True, eq=False)
class Chain(End):
    """An encoder or a classifier of several layers.

    Args:
        layers: One after the other, each an `Encoder`, whose activation and pooling stand behind its weight, or a
            `Classifier`, where they stand in front of it; or a list of both. An encoder may also have a `Pool` among
            its layers, and a `Stage`, which is a neural ODE.

    Raises:
        WeightsError: There are no two layers, or one does not take what the one in front of it makes.

    Example:
        >>> head = Chain([Classifier([[1.0, 2.0]]), Classifier([[1.0], [-1.0]], activation="relu")])
        >>> head.logits([[1.0], [1.0]]).ravel()
        array([ 3., -3.])
        >>> list(head.tensors)
        ['0.weight', '0.bias', '1.weight', '1.bias']
    """

    layers: Sequence[End]

    def __post_init__(self) -> None:
        layers = self.layers
        given: Any = layers  # whatever its type says
        known = isinstance(given, Sequence) and all(
            isinstance(one, End) and not isinstance(one, Chain) for one in given
        )
        if not known or not given or (len(given) < 2 and isinstance(given[0], Encoder | Classifier)):
            raise WeightsError(
                f"layers: expected two of Encoder or Classifier at least, got {layers!r:.80}; one layer needs no chain"
            )
        object.__setattr__(self, "layers", tuple(layers))
        for number, (first, second) in enumerate(pairwise(layers)):
            if not second.takes(first.outputs):
                raise WeightsError(
                    f"layer {number + 1} of a chain, {second.described}, does not take the {first.outputs} numbers "
                    f"that layer {number} makes"
                )

    def steps(self, name: str = "") -> tuple[Step, ...]:
        return tuple(step for k, layer in enumerate(self.layers) for step in layer.steps(f"{name}{k}."))

    @property
    def tensors(self) -> dict[str, FloatArray]:
        return self._named(layer.tensors for layer in self.layers)

    def replaced(self, values: Mapping[str, Any]) -> Self:
        if unknown := sorted(values.keys() - self.tensors.keys()):
            raise WeightsError(f"tensor {unknown[0]!r}: a chain has {', '.join(self.tensors)}")
        return replace(
            self, layers=[layer.replaced(named_below(values, f"{k}")) for k, layer in enumerate(self.layers)]
        )

    @property
    def operators(self) -> dict[str, LinearOperator]:
        return self._named(layer.operators for layer in self.layers)

    def on_arrays(self, kind: str, said: Collection[str]) -> dict[str, LinearOperator]:
        return self._named(layer.on_arrays(kind, said) for layer in self.layers)

    def reading(self, operators: Mapping[str, Read]) -> Self:
        made = copy(self)  # nothing is checked anew, because arrays would be read for it
        layers = tuple(layer.reading(named_below(operators, f"{k}")) for k, layer in enumerate(self.layers))
        object.__setattr__(made, "layers", layers)
        return made

    def from_written(self, gradients: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        return self._named(layer.from_written(named_below(gradients, f"{k}")) for k, layer in enumerate(self.layers))

    @property
    def stages(self) -> dict[str, Model]:
        return self._named(layer.stages for layer in self.layers)

    def with_stages(self, stages: Mapping[str, Model]) -> Self:
        return replace(
            self, layers=[layer.with_stages(named_below(stages, f"{k}")) for k, layer in enumerate(self.layers)]
        )

    @property
    def inputs(self) -> int | None:
        return self.layers[0].inputs

    @property
    def outputs(self) -> int:
        return self.layers[-1].outputs

    @staticmethod
    def _named(parts: Iterable[Mapping[str, T]]) -> dict[str, T]:
        """What the layers have, with their numbers in front of the names."""
        return {f"{k}.{name}": value for k, part in enumerate(parts) for name, value in part.items()}


def as_encoder(end: End | None) -> Encoder | Chain | None:
    """An encoder, as it is; one that is a `Pool` or a `Stage` alone as a chain of this one layer."""
    alone = isinstance(end, End) and not isinstance(end, Chain | Encoder | Classifier)
    return Chain([cast(End, end)]) if alone else cast("Encoder | Chain | None", end)


def require_fitting(
    states: int,
    encoder: Encoder | Chain | None,
    classifier: Classifier | Chain | None,
    on_arrays: Collection[str] = (),
) -> None:
    """Raise if an encoder or a classifier does not belong to states of this length, or pooling not on arrays.

    Raises:
        WeightsError: The encoder makes states of another length, or the classifier takes others, or has a stage in it;
            or no pooling of the encoder could be on an array.
    """
    if "pooling" in on_arrays and (encoder is None or not any(name.endswith("pool") for name in encoder.operators)):
        raise WeightsError(
            "'on_arrays': 'pooling' needs a Pool of means, Pool('mean', ...), among the layers of the encoder, and "
            "there is none; leave it out"
        )
    if classifier is not None and classifier.stages:
        raise WeightsError(
            "a stage in the classifier: put it into the encoder of the model, whose field is the last stage, see staged"
        )
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
        last = [name for name, value in encoder.tensors.items() if value.ndim > 1]
        if not last:
            raise WeightsError(f"the encoder makes states of length {encoder.states}, and the field has {states}")
        raise WeightsError(
            f"tensor 'encoder.{last[-1]}': expected shape ({states}, inputs) for states of length {states}, got "
            f"{encoder.tensors[last[-1]].shape}, which makes states of length {encoder.states}"
        )
