"""Training with hidden units left out by chance."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Literal, final

import numpy as np

from xbar_spice.checks import SEED, Real, settle
from xbar_spice.solve.fields.dropout import DropoutField
from xbar_spice.solve.fields.field import Field
from xbar_spice.solve.integrators.layers import Layers, fields_of
from xbar_spice.streams import Streams
from xbar_spice.train.processor import Digital, Processor, Programmed
from xbar_spice.weights import Model

__all__ = ["Dropout"]


@final
@dataclass(frozen=True)
class Dropout(Processor):
    """A processor that leaves hidden units out of the runs of minibatches, and of no other run.

    Attributes:
        part: Probability that a unit is left out, < 1.
        draw: Whether one draw holds for a whole "run", which trains a network in the network, or each "evaluation" has
            its own, which is noise. Layers have draws of their own.
        on: Who makes the products, such as a chip; digital matrices when left out.
        seed: Of the draws, which differ from minibatch to minibatch.
    """

    part: float = 0.2
    draw: Literal["run", "evaluation"] = "run"
    on: Processor = field(default_factory=Digital)
    seed: int = 0

    def __post_init__(self) -> None:
        settle(self, part=Real(least=0, below=1), seed=SEED)

    @property
    def exact(self) -> bool:
        return self.part == 0.0 and self.on.exact

    def prepared(self, model: Model) -> Model:
        return self.on.prepared(model)

    def rewritten(self, model: Model, wanted: Model, occasion: str = "") -> Model:
        return self.on.rewritten(model, wanted, occasion)

    @contextmanager
    def programmed(self, model: Model, occasion: str = "") -> Iterator[Programmed]:
        """The model, without some of its units if the occasion is a minibatch."""
        with self.on.programmed(model, occasion) as below:
            if "minibatch" not in occasion:
                yield below
                return
            rng = Streams(self.seed).cycle("dropout", occasion)
            stages = {name: one for name, one in below.ends.items() if isinstance(one, Field | Layers)}
            field = self._of_all(below.field, rng)
            yield replace(
                below,
                field=field,
                ends={**below.ends, **{name: self._of_all(one, rng) for name, one in stages.items()}},
            )

    def _of_all(self, whole: Field | Layers, rng: np.random.Generator) -> Field | Layers:
        thinned = [self._thinned(one, rng) for one in fields_of(whole)]
        return Layers(thinned) if isinstance(whole, Layers) else thinned[0]

    def _thinned(self, one: Field, rng: np.random.Generator) -> DropoutField:
        if self.draw == "evaluation":
            return DropoutField(one, self.part, rng)
        return DropoutField(one, self.part, keep=(rng.random(one.hidden_units) >= self.part).astype(float))
