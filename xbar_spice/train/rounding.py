"""Training in numbers of a fixed point: weights, products and gradients rounded to <IL, FL>."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Literal, TypeVar, cast, final

import numpy as np

from xbar_spice.checks import SEED, Many, OneOf, Real, settle
from xbar_spice.errors import InvalidInputError
from xbar_spice.hardware.fixed_point import Rounding, fixed_point
from xbar_spice.linear.operator import FloatArray, LinearOperator
from xbar_spice.solve.adjoint.discrete import Gradients
from xbar_spice.solve.fields.evaluation import Parameters
from xbar_spice.streams import Streams
from xbar_spice.train.processor import Digital, Processor, Programmed
from xbar_spice.weights import Model, named_gradients
from xbar_spice.weights.end import Read

__all__ = ["FixedPoint", "RoundedOperator"]

ReadT = TypeVar("ReadT", bound=Read)

OfTensors = Callable[[Gradients, Parameters], dict[str, FloatArray]]

Part = Literal["weights", "products", "gradients"]
"""What may be rounded: weights behind every update, what products give, forward and back, and summed gradients."""


@final
class RoundedOperator(LinearOperator):
    """A matrix whose products are rounded: summed wide, rounded once.

    Args:
        operator: The matrix, on an array or not.
        form: What rounds.
        back: What rounds the products of the transpose; the same when left out.
    """

    def __init__(self, operator: LinearOperator, form: _Form, back: _Form | None = None) -> None:
        self._operator, self._form, self._back = operator, form, back or form

    @property
    def shape(self) -> tuple[int, int]:
        return self._operator.shape

    @property
    def channels(self) -> int | None:
        return self._operator.channels

    @property
    def channels_in(self) -> int | None:
        return self._operator.channels_in

    def outer(self, cotangent: FloatArray, x: FloatArray) -> FloatArray:
        return self._operator.outer(cotangent, x)

    def _forward(self, x: FloatArray) -> FloatArray:
        return self._form(self._operator.mv(x))

    def _transposed(self, y: FloatArray) -> FloatArray:
        return self._back(self._operator.T.mv(y))


@final
@dataclass(frozen=True)
class _Form:
    """Rounds as a format says, with random numbers of its own."""

    integer_bits: int
    fraction_bits: int
    rounding: Rounding
    rng: np.random.Generator
    scale: float = 1.0  # by which values are larger while they are rounded

    def __call__(self, values: FloatArray) -> FloatArray:
        finite = np.isfinite(values)  # what has run away stays so
        rounded = fixed_point(
            np.where(finite, self.scale * values, 0.0), self.integer_bits, self.fraction_bits, self.rounding, self.rng
        )
        return np.asarray(np.where(finite, rounded / self.scale, values))


@final
@dataclass(frozen=True)
class FixedPoint(Processor):
    """A processor that computes in numbers of a fixed point, for `train`, `tune` and `evaluate`.

    Attributes:
        integer_bits: IL, the sign among them.
        fraction_bits: FL.
        rounding: "nearest" or "stochastic".
        parts: What is rounded, of "weights", "products" and "gradients"; all of them when left out.
        loss_scale: By which what goes back is larger while it is rounded, such as the number of samples of a minibatch:
            the cotangents of a mean are smaller by it, and would be lost.
        on: Who makes the products before they are rounded, such as a chip; digital matrices when left out.
        seed: Of stochastic rounding, which differs from occasion to occasion.

    Raises:
        InvalidInputError: There is no such format.

    Example:
        >>> model = Model([[1.03, -0.52]], [[0.3], [1.0]], h=0.25, steps=1)
        >>> FixedPoint(3, 4).prepared(model).A
        array([[ 1. , -0.5]])
    """

    integer_bits: int
    fraction_bits: int
    rounding: Rounding = "nearest"
    parts: tuple[Part, ...] = ("weights", "products", "gradients")
    loss_scale: float = 1.0
    on: Processor = field(default_factory=Digital)
    seed: int = 0

    def __post_init__(self) -> None:
        settle(self, seed=SEED, loss_scale=Real(above=0), parts=Many(OneOf(Part)))
        fixed_point([], self.integer_bits, self.fraction_bits, self.rounding, np.random.default_rng(0))

    @property
    def exact(self) -> bool:
        return "weights" not in self.parts and self.on.exact

    def prepared(self, model: Model) -> Model:
        """The model as the processor below prepares it, its weights rounded to the nearest numbers."""
        prepared = self.on.prepared(model)
        nearest = replace(self, rounding="nearest")
        return nearest._weights(prepared, prepared, "first weights")

    def rewritten(self, model: Model, wanted: Model, occasion: str = "") -> Model:
        """What the step leaves, rounded: nearest rounding loses a step of less than half a spacing."""
        rounded = self._weights(model, wanted, f"weights, {occasion}")
        return self.on.rewritten(model, rounded, occasion)

    @contextmanager
    def programmed(self, model: Model, occasion: str = "") -> Iterator[Programmed]:
        """The model, with rounded products and gradients.

        Raises:
            InvalidInputError: The processor below finds gradients in another way than by products.
        """
        with self.on.programmed(model, occasion) as below:
            if below.of_tensors is not None and set(self.parts) & {"products", "gradients"}:
                raise InvalidInputError(
                    'rounded products and gradients need a gradient that is made of products: take gradient="hardware",'
                    ' or parts=("weights",)'
                )
            if "products" not in self.parts:
                yield replace(below, of_tensors=self._of_tensors(model, below, occasion))
                return
            form = self._form(f"products, {occasion}")
            back = replace(form, scale=self.loss_scale)

            def rounded(one: ReadT) -> ReadT:
                """An operator, or a field over such operators."""
                if isinstance(one, LinearOperator):
                    return cast(ReadT, RoundedOperator(one, form, back))
                return cast(ReadT, one.replaced({name: rounded(held) for name, held in one.operators.items()}))

            ends = {name: rounded(one) for name, one in below.ends.items()}
            yield Programmed(
                rounded(below.field),
                self._of_tensors(model, below, occasion),
                lambda z0: max(below.noise(z0), self._noise(z0)),
                ends,
            )

    def _form(self, occasion: str) -> _Form:
        rng = Streams(self.seed).cycle("fixed point", occasion)
        return _Form(self.integer_bits, self.fraction_bits, self.rounding, rng)

    def _weights(self, model: Model, wanted: Model, occasion: str) -> Model:
        """Only what a step moves is rounded: what stands on the grid stays where it is."""
        if "weights" not in self.parts:
            return wanted
        form = self._form(occasion)
        return wanted.with_tensors({name: form(value) for name, value in wanted.tensors.items()})

    def _of_tensors(self, model: Model, below: Programmed, occasion: str) -> OfTensors | None:
        if "gradients" not in self.parts:
            return below.of_tensors
        form = self._form(f"gradients, {occasion}")

        def of_tensors(found: Gradients, _: Parameters) -> dict[str, FloatArray]:
            return {name: form(value) for name, value in named_gradients(model, found.parameters).items()}

        return of_tensors

    def _noise(self, z0: FloatArray) -> float:
        """What rounding leaves of an equation, relative to the state."""
        return float(2.0**-self.fraction_bits / max(np.sqrt(np.mean(z0**2)), 2.0**-self.fraction_bits))
