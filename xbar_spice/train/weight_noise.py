"""Training with noise on the weights, drawn anew for every minibatch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Literal, final

import numpy as np

from xbar_spice.checks import SEED, OneOf, Real, settle
from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.operator import FloatArray
from xbar_spice.solve.adjoint.discrete import Gradients
from xbar_spice.solve.fields.evaluation import Parameters
from xbar_spice.solve.integrators.layers import fields_of
from xbar_spice.streams import Streams
from xbar_spice.train.processor import Digital, Processor, Programmed
from xbar_spice.weights import Model, named_gradients

__all__ = ["WeightNoise"]


@final
@dataclass(frozen=True)
class WeightNoise(Processor):
    """A processor that runs minibatches, and nothing else, with normal noise on the weights of the field.

    The gradient is that of the noisy run with respect to the weights without noise.

    Attributes:
        size: Standard deviation, relative to the largest weight of its matrix or to each weight.
        relative_to: "largest", as conductances are off by a part of their range, or "weight", as programming error is.
            Of a convolution the taps are noisy, all copies of one alike.
        on: Who makes the products, such as a chip; digital matrices when left out.
        seed: Of the draws, which differ from minibatch to minibatch.

    Raises:
        InvalidInputError: The size is negative or not finite, or relative to something else.
    """

    size: float = 0.05
    relative_to: Literal["largest", "weight"] = "largest"
    on: Processor = field(default_factory=Digital)
    seed: int = 0

    def __post_init__(self) -> None:
        settle(self, size=Real(least=0), relative_to=OneOf("largest", "weight"), seed=SEED)

    def prepared(self, model: Model) -> Model:
        """The model as the processor below prepares it.

        Raises:
            InvalidInputError: It has stages in front of its field, whose weights would stay as they are.
        """
        if model.stages:
            raise InvalidInputError(
                f"weight noise is drawn for one field, and this model has stages in front, {', '.join(model.stages)}: "
                "train it without, or on a chip, Chip(Design(variation=...)), whose devices err in all of them"
            )
        return self.on.prepared(model)

    def rewritten(self, model: Model, wanted: Model, occasion: str = "") -> Model:
        return self.on.rewritten(model, wanted, occasion)

    @contextmanager
    def programmed(self, model: Model, occasion: str = "") -> Iterator[Programmed]:
        """The model, with noisy weights if the occasion is a minibatch."""
        if "minibatch" not in occasion:
            with self.on.programmed(model, occasion) as below:
                yield below
            return
        rng = Streams(self.seed).cycle("weight noise", occasion)
        fields = fields_of(model.field)
        others = {name for one in fields for name in one.vectors}
        clean = {name: one for name, one in model.tensors.items() if "." not in name and name not in others}
        drawn = {name: self.size * rng.standard_normal(one.shape) for name, one in clean.items()}
        scales = {name: one if self.relative_to == "weight" else np.abs(one).max() for name, one in clean.items()}
        noisy = {name: one + drawn[name] * scales[name] for name, one in clean.items()}
        with self.on.programmed(model.with_tensors({**model.tensors, **noisy}), occasion) as below:

            def of_tensors(found: Gradients, sums: Parameters) -> dict[str, FloatArray]:
                named = below.of_tensors(found, sums) if below.of_tensors else named_gradients(model, found.parameters)
                return {name: one * (1.0 + drawn[name]) if name in drawn else one for name, one in named.items()}

            yield replace(below, of_tensors=of_tensors) if self.relative_to == "weight" else below
