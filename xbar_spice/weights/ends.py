"""What stands before and behind a neural ODE: an encoder of inputs, and a classifier of final states."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import Any, Literal, cast, final

import numpy as np
from numpy.typing import ArrayLike

from xbar_spice.checks import ANYTHING, Array, Optional, Whole, settle
from xbar_spice.errors import InvalidInputError, WeightsError
from xbar_spice.linear.convolution import Convolution, Padding, flat_kernel, square_kernel
from xbar_spice.linear.operator import DenseOperator, FloatArray, LinearOperator
from xbar_spice.solve.fields.activation import Activation, get_activation
from xbar_spice.solve.fields.field import bias_gradient, spread_bias
from xbar_spice.weights.tensors import real

__all__ = ["Classifier", "Encoder", "Pooling"]

Pooling = Literal["mean", "max"]
"""What becomes of a block of pixels."""


@dataclass(frozen=True, eq=False)
class _End:
    """A matrix or a convolution with a bias, an activation, and a pooling of images.

    Args:
        weight: (outputs, inputs); or (c_out, c_in, q, q) for a convolution, as `torch.nn.Conv2d` has it.
        bias: (outputs,), or (c_out,) of a convolution; zeros when left out.
        activation: Name of an activation, or an `Activation`.
        image_shape: (height, width) of what is convolved or pooled; channels lie one after the other.
        padding: Of a convolution, "zero" or "circular".
        stride: Of a convolution.
        pooling: "mean" or "max" of blocks of pixels; None for none.
        block: Pixels of a block in either direction; None for the whole image, one number a channel.

    Raises:
        WeightsError: A shape, dtype or value that does not fit.
    """

    weight: FloatArray
    bias: FloatArray = None  # type: ignore[assignment]  # zeros, once it is made
    _: KW_ONLY
    activation: str | Activation = "identity"
    image_shape: tuple[int, int] | None = None
    padding: Padding = "zero"
    stride: int = 1
    pooling: Pooling | None = None
    block: int | None = None

    kind = "end"
    """By which errors and gradients call it."""

    def __post_init__(self) -> None:
        settle(self, WeightsError, weight=ANYTHING, bias=ANYTHING, stride=Whole(1), block=Optional(Whole(1)))
        name = f"{self.kind}.weight"
        weight = real(name, self.weight)
        if weight.ndim not in (2, 4) or not weight.size:
            raise WeightsError(
                f"tensor '{name}': expected shape {self._shape_text} or, for a convolution, (c_out, c_in, q, q), got "
                f"{weight.shape}"
            )
        outputs = weight.shape[0]
        bias = real(f"{self.kind}.bias", np.zeros(outputs) if cast(Any, self.bias) is None else self.bias, "(outputs,)")
        if bias.shape != (outputs,):
            raise WeightsError(
                f"tensor '{self.kind}.bias': expected shape {(outputs,)} for a {name} of shape {weight.shape}, got "
                f"{bias.shape}"
            )
        object.__setattr__(self, "weight", weight)
        object.__setattr__(self, "bias", bias)
        if self.image_shape is None and (weight.ndim == 4 or self.pooling):
            raise WeightsError(f"{self.kind}: a convolution or a pooling needs image_shape=(height, width)")
        try:
            get_activation(self.activation)
            self.operator.shape  # noqa: B018 - whatever does not belong together says so
        except InvalidInputError as error:
            raise WeightsError(f"{self.kind}: {error}") from None

    _shape_text = "(outputs, inputs)"

    @cached_property
    def operator(self) -> LinearOperator:
        """The matrix or convolution."""
        if self.weight.ndim == 2:
            return DenseOperator(self.weight)
        shape = cast("tuple[int, int]", self.image_shape)
        return Convolution(flat_kernel(self.weight), shape, self.padding, self.stride)

    def weight_gradient(self, cotangent: FloatArray, x: FloatArray) -> dict[str, FloatArray]:
        """The gradients of sum(cotangent * (W x + bias)) by name; cotangent (outputs, batch), x (inputs, batch)."""
        operator = self.operator
        weight = (
            square_kernel(operator.gradient(cotangent, x)) if isinstance(operator, Convolution) else cotangent @ x.T
        )
        return {f"{self.kind}.weight": weight, **bias_gradient(f"{self.kind}.bias", self.bias, cotangent)}

    def _pool(self, length: int, image_shape: tuple[int, int]) -> _Pool:
        pixels = image_shape[0] * image_shape[1]
        if length % pixels:
            raise WeightsError(f"{self.kind}: images of {image_shape} do not make up {length} numbers")
        return _Pool(cast(Pooling, self.pooling), self.block, length // pixels, image_shape)


@final
@dataclass(frozen=True)
class _Pool:
    """Means or largest values of blocks of pixels, channel by channel."""

    kind: Pooling
    block: int | None
    channels: int
    image_shape: tuple[int, int]

    @property
    def length(self) -> int:
        """How many numbers come out."""
        rows, cols = self._blocks
        return self.channels * rows * cols

    @property
    def _blocks(self) -> tuple[int, int]:
        height, width = self.image_shape
        return (1, 1) if self.block is None else (height // self.block, width // self.block)

    def __call__(self, x: FloatArray) -> FloatArray:
        blocks = self._by_block(x)
        pooled = blocks.mean(axis=2) if self.kind == "mean" else blocks.max(axis=2)
        return np.asarray(pooled.reshape(self.length, -1))

    def pull(self, x: FloatArray, cotangent: FloatArray) -> FloatArray:
        """The cotangent of x from that of what came out; of equal largest values the first one gets all."""
        blocks = self._by_block(x)
        w = cotangent.reshape(self.channels, -1, 1, x.shape[1])
        if self.kind == "mean":
            spread = np.broadcast_to(w / blocks.shape[2], blocks.shape)
        else:
            spread = np.zeros_like(blocks)
            np.put_along_axis(spread, blocks.argmax(axis=2, keepdims=True), w, axis=2)
        total = np.zeros_like(x)
        total[self._places.ravel()] = spread.reshape(-1, x.shape[1])
        return total

    def _by_block(self, x: FloatArray) -> FloatArray:
        """(channels, blocks, pixels of a block, batch)."""
        return np.asarray(x[self._places])

    @property
    def _places(self) -> Any:
        """(channels, blocks, pixels of a block) indices; pixels beyond the last whole block are left out."""
        (height, width), (rows, cols) = self.image_shape, self._blocks
        deep, wide = (height, width) if self.block is None else (self.block, self.block)
        pixels = np.arange(self.channels * height * width).reshape(self.channels, height, width)
        cut = pixels[:, : rows * deep, : cols * wide].reshape(self.channels, rows, deep, cols, wide)
        return cut.transpose(0, 1, 3, 2, 4).reshape(self.channels, rows * cols, deep * wide)


@final
@dataclass(frozen=True, eq=False)
class Encoder(_End):
    """What makes initial states of inputs: z0 = pool(sig(W x + bias)).

    Args:
        weight: (states, inputs); or (c_out, c_in, q, q) for a convolution, as `torch.nn.Conv2d` has it.
        bias: (states,), or (c_out,) of a convolution; zeros when left out.
        activation: Name of an activation, or an `Activation`.
        image_shape: (height, width) of the inputs of a convolution; channels lie one after the other.
        padding: Of a convolution, "zero" or "circular".
        stride: Of a convolution.
        pooling: "mean" or "max" of blocks of pixels of a convolution; None for none.
        block: Pixels of a block in either direction; None for the whole image, one number a channel.

    Raises:
        WeightsError: A shape, dtype or value that does not fit.

    Example:
        >>> Encoder([[1.0, 2.0]], [0.5], activation="relu").encoded(np.array([[1.0], [-1.0]]))
        array([[0.]])
    """

    kind = "encoder"
    _shape_text = "(states, inputs)"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pooling and self.weight.ndim == 2:
            raise WeightsError("encoder: a pooling needs a convolution in front of it, got a matrix")

    @property
    def inputs(self) -> int:
        """Length of an input."""
        return self.operator.shape[1]

    @property
    def states(self) -> int:
        """Length of a state."""
        return self._images.length if self.pooling else self.operator.shape[0]

    def encoded(self, x: ArrayLike) -> FloatArray:
        """(states, batch) initial states of the inputs x, (inputs, batch)."""
        return self.of_sums(self.sums(Array()("x", x)))

    def sums(self, x: FloatArray, operator: LinearOperator | None = None) -> FloatArray:
        """W x + bias; by another operator, such as an array."""
        return spread_bias((operator or self.operator).mv(x), self.bias)

    def of_sums(self, s: FloatArray) -> FloatArray:
        """(states, batch) initial states, from W x + bias."""
        r = get_activation(self.activation).value(s)
        return self._images(r) if self.pooling else r

    def pulled(self, s: FloatArray, cotangent: FloatArray) -> FloatArray:
        """The cotangent of s = W x + bias, from dL/dz0, (states, batch)."""
        activation = get_activation(self.activation)
        r = activation.value(s)
        return activation.slope(s, r) * (self._images.pull(r, cotangent) if self.pooling else cotangent)

    @property
    def _images(self) -> _Pool:
        convolution = cast(Convolution, self.operator)
        return self._pool(convolution.shape[0], convolution.output_shape)


@final
@dataclass(frozen=True, eq=False)
class Classifier(_End):
    """A linear classifier of final states: scores W pool(sig(z)) + bias; of a convolution pool(W sig(z) + bias).

    Args:
        weight: (classes, n), n being the length of what is pooled, or of the states; or (classes, c_in, q, q) for a
            convolution, as `torch.nn.Conv2d` has it, whose images are pooled to one score a class.
        bias: (classes,); zeros when left out.
        activation: Name of an activation in front, or an `Activation`.
        image_shape: (height, width) of the states, where they are pooled or convolved.
        padding: Of a convolution, "zero" or "circular".
        stride: Of a convolution.
        pooling: "mean" or "max" of blocks of pixels; None for none.
        block: Pixels of a block in either direction; None for the whole image, one number a channel.

    Raises:
        WeightsError: A shape, dtype or value that does not fit.
    """

    kind = "classifier"
    _shape_text = "(classes, n)"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.weight.ndim == 4 and (self.pooling is None or self.block is not None):
            raise WeightsError(
                "classifier: a convolution needs pooling='mean' or 'max' of the whole image, which makes one score of "
                "each class"
            )

    @property
    def plain(self) -> bool:
        """Whether scores are W z + bias, with nothing in front."""
        return self.weight.ndim == 2 and not self.pooling and get_activation(self.activation).name == "identity"

    def takes(self, states: int) -> bool:
        """Whether it classifies states of this length."""
        if self.weight.ndim == 4:
            return self.operator.shape[1] == states
        try:
            return bool(self.weight.shape[1] == (self._images(states).length if self.pooling else states))
        except WeightsError:
            return False

    def logits(self, z: ArrayLike) -> FloatArray:
        """(classes, batch) scores of the states z, (n, batch); the largest one names the class."""
        return self.scores(self.sums(self.features(Array(finite=False)("z", z))))

    def sums(self, features: FloatArray, operator: LinearOperator | None = None) -> FloatArray:
        """W features + bias; by another operator, such as an array."""
        return spread_bias((operator or self.operator).mv(features), self.bias)

    def scores(self, sums: FloatArray) -> FloatArray:
        """(classes, batch), from what the weight makes of features."""
        return self._scored(len(sums))(sums) if self.weight.ndim == 4 else sums

    def features(self, z: FloatArray) -> FloatArray:
        """What drives the weight, (features, batch), of the states z, (n, batch)."""
        r = get_activation(self.activation).value(z)
        return self._images(len(z))(r) if self.pooling and self.weight.ndim == 2 else r

    def pull(
        self, z: FloatArray, sums: FloatArray, cotangent: FloatArray, operator: LinearOperator | None = None
    ) -> tuple[FloatArray, dict[str, FloatArray]]:
        """The cotangent of z from that of the scores, and the gradients of weight and bias by name.

        Args:
            z: (n, batch) states.
            sums: What the weight made of their features.
            cotangent: (classes, batch).
            operator: What multiplies with the weight; digital when left out.
        """
        activation = get_activation(self.activation)
        if self.weight.ndim == 4:
            cotangent = self._scored(len(sums)).pull(sums, cotangent)
        r = activation.value(z)
        found = self.weight_gradient(cotangent, self.features(z))
        back = (operator or self.operator).T.mv(cotangent)
        if self.pooling and self.weight.ndim == 2:
            back = self._images(len(z)).pull(r, back)
        return (back if activation.name == "identity" else activation.slope(z, r) * back), found

    def _images(self, states: int) -> _Pool:
        return self._pool(states, cast("tuple[int, int]", self.image_shape))

    def _scored(self, length: int) -> _Pool:
        return self._pool(length, cast(Convolution, self.operator).output_shape)
