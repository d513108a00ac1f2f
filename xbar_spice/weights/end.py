"""What every encoder and classifier offers, of one layer or of several."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from xbar_spice.checks import Array
from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.operator import FloatArray, LinearOperator
from xbar_spice.solve.fields.field import Field
from xbar_spice.solve.integrators.layers import Layers
from xbar_spice.solve.integrators.method import SolveOptions
from xbar_spice.weights.passing import Passed, Step, passed

if TYPE_CHECKING:
    from xbar_spice.weights.model import Model

__all__ = ["End", "Read", "named_below", "of_end"]

Read = LinearOperator | Field | Layers
"""What stands in for a part of an encoder or a classifier: a matrix on an array, or a field whose matrices are."""

T = TypeVar("T")


def named_below(values: Mapping[str, T], name: str) -> dict[str, T]:
    """The values of one part, by the names that they have there.

    Example:
        >>> named_below({"encoder.0.weight": 1, "classifier.weight": 2}, "encoder")
        {'0.weight': 1}
    """
    return {key.removeprefix(f"{name}."): value for key, value in values.items() if key.startswith(f"{name}.")}


def of_end(name: str) -> bool:
    """Whether a tensor or a matrix of a model, by its name, belongs to the encoder or the classifier.

    Example:
        >>> of_end("encoder.0.weight"), of_end("K")
        (True, False)
    """
    return name.startswith(("encoder.", "classifier."))


class End(ABC):
    """An encoder or a classifier of any number of layers.

    Its tensors and matrices have names that begin with those of their layers: "weight", or "0.weight" in a chain.
    """

    kind: ClassVar[str] = ""
    """What kind of layer it is, by which errors and files call it."""

    @abstractmethod
    def steps(self, name: str = "") -> tuple[Step, ...]:
        """What it does to a batch, one after the other; the name stands in front of those of gradients."""

    @property
    @abstractmethod
    def tensors(self) -> dict[str, FloatArray]:
        """All that is trained, by name."""

    @abstractmethod
    def replaced(self, values: Mapping[str, Any]) -> Self:
        """The same with other tensors of these names.

        Raises:
            WeightsError: A name is unknown, or a value does not fit.
        """

    @property
    @abstractmethod
    def operators(self) -> dict[str, LinearOperator]:
        """Its matrices and convolutions by the names of their tensors."""

    def on_arrays(self, kind: str, said: Collection[str]) -> dict[str, LinearOperator]:
        """Those of its matrices that live on arrays, by name.

        Args:
            kind: "encoder" or "classifier", which it is.
            said: `Model.on_arrays`.
        """
        return self.operators if kind in said else {}

    @abstractmethod
    def reading(self, operators: Mapping[str, Read]) -> Self:
        """The same with other operators in place of its own, such as arrays, by name.

        A stage has its field, with whatever operators, under "field".
        """

    def from_written(self, gradients: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        """The gradients of its tensors, from those with respect to the weights that were written to arrays."""
        return {}

    @property
    def stages(self) -> dict[str, Model]:
        """The neural ODEs that are layers of it, by name."""
        return {}

    def with_stages(self, stages: Mapping[str, Model]) -> Self:
        """The same with other neural ODEs of these names."""
        return self

    @property
    @abstractmethod
    def inputs(self) -> int | None:
        """Length of what goes in; None where the images of a pooling may have any number of channels."""

    @property
    @abstractmethod
    def outputs(self) -> int:
        """Length of what comes out."""

    @property
    def states(self) -> int:
        """Length of the state that an encoder makes."""
        return self.outputs

    @property
    def classes(self) -> int:
        """Number of classes that a classifier has scores for."""
        return self.outputs

    @property
    def described(self) -> str:
        """What it is, in words."""
        return ", then ".join(map(str, self.steps()))

    @property
    def plain(self) -> bool:
        """Whether it is W x + bias with a matrix, and nothing else."""
        return False

    def passed(self, x: FloatArray, name: str = "", options: SolveOptions | None = None) -> Passed:
        """A batch, (inputs, batch), on its way through all layers.

        Args:
            x: What goes in.
            name: What stands in front of the names of gradients.
            options: How neural ODEs among the layers solve their equations.
        """
        return passed(self.steps(name), x, options)

    def takes(self, length: int) -> bool:
        """Whether what has this length can go in."""
        try:
            return self.passed(np.zeros((length, 1))).value.shape == (self.outputs, 1)
        except InvalidInputError:
            return False

    def encoded(self, x: ArrayLike) -> FloatArray:
        """(states, batch) initial states of the inputs x, (inputs, batch)."""
        return self.passed(Array()("x", x)).value

    def logits(self, z: ArrayLike) -> FloatArray:
        """(classes, batch) scores of the states z, (n, batch); the largest one names the class."""
        return self.passed(Array(finite=False)("z", z)).value
