"""What carries out the products of a model in training: digital matrices, or whatever else brings a field.

Training asks for the field of every new set of weights, integrates it, and pulls a cotangent back through it. It
never knows whether a product was a multiplication or a read.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import final

from xbar_spice.linear.operator import FloatArray
from xbar_spice.solve.adjoint.discrete import Gradients
from xbar_spice.solve.fields.evaluation import Parameters
from xbar_spice.solve.fields.field import Field
from xbar_spice.solve.integrators.layers import Layers
from xbar_spice.weights import Model
from xbar_spice.weights.end import Read

__all__ = ["Digital", "Processor", "Programmed"]


def no_noise(_: FloatArray) -> float:
    """The noise of exact products."""
    return 0.0


@final
@dataclass(frozen=True, eq=False)
class Programmed:
    """A model that is ready to run.

    Attributes:
        field: Its right-hand side; its transposed products are those of the adjoint.
        of_tensors: What makes gradients by the names of the model's tensors of the adjoint's result; those that it
            names itself when left out. The second argument has the cotangents of what the weights of encoder and
            classifier make, by their names.
        noise: What noisy products leave of the equation of an implicit step, relative to the state, as far as the
            initial states, (n, samples), tell; nothing where products are exact.
        ends: What multiplies with "encoder.weight", "classifier.weight" or the weights of their layers, such as
            "encoder.0.weight", by name, and the fields of stages, such as "encoder.1.field"; digital where left out.
    """

    field: Field | Layers
    of_tensors: Callable[[Gradients, Parameters], dict[str, FloatArray]] | None = None
    noise: Callable[[FloatArray], float] = no_noise
    ends: Mapping[str, Read] = dataclasses.field(default_factory=dict)


class Processor(ABC):
    """Runs models; one that holds weights in hardware writes them anew for every model."""

    @abstractmethod
    def prepared(self, model: Model) -> Model:
        """The model as training starts with it, with all that is decided once and for all."""

    @abstractmethod
    def programmed(self, model: Model, occasion: str = "") -> AbstractContextManager[Programmed]:
        """The model, ready to run for as long as the context lasts.

        Args:
            model: As `prepared` returned it, or with other weights.
            occasion: What the run is for, such as a minibatch: noise is another one on every occasion, and the same
                one whenever the occasion is.
        """

    @property
    def exact(self) -> bool:
        """Whether it runs the weights that it is asked for, all of them, and on every occasion in the same way.

        Read noise is no matter; pulses, rounded weights and units that are left out are.
        """
        return True

    def rewritten(self, model: Model, wanted: Model, occasion: str = "") -> Model:
        """What a step of the optimiser leaves.

        Args:
            model: Before the step.
            wanted: As the optimiser asks for it.
            occasion: As in `programmed`.
        """
        return wanted


@final
class Digital(Processor):
    """Digital matrices."""

    def prepared(self, model: Model) -> Model:
        return model

    @contextmanager
    def programmed(self, model: Model, occasion: str = "") -> Iterator[Programmed]:
        yield Programmed(model.field, ends={name: stage.field for name, stage in model.stages.items()})
