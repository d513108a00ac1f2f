"""What encoders and classifiers are made of: products with weights, normalisations, activations, pooling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, final

import numpy as np

from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.convolution import Convolution, square_kernel
from xbar_spice.linear.normalisation import by_channel, normalised
from xbar_spice.linear.operator import FloatArray, LinearOperator
from xbar_spice.solve.fields.activation import Activation
from xbar_spice.solve.fields.field import bias_gradient, spread_bias
from xbar_spice.weights.passing import Function

__all__ = ["Activated", "Normalised", "Pooled", "Pooling", "Weighted"]

Pooling = Literal["mean", "max"]
"""What becomes of a block of pixels."""


@final
@dataclass(frozen=True)
class Weighted(Function):
    """W x + bias.

    Attributes:
        name: What stands in front of "weight" and "bias" in the names of gradients.
        weight: Its own operator, a matrix or a convolution, which says what a gradient looks like.
        operator: What multiplies: the same, or an array.
        bias: (outputs,), or one number a channel.
    """

    name: str
    weight: LinearOperator
    operator: LinearOperator
    bias: FloatArray

    trained = True

    @property
    def read(self) -> str:  # type: ignore[override]
        return f"{self.name}weight"

    def __str__(self) -> str:
        weight = self.weight
        if not isinstance(weight, Convolution):
            return " x ".join(map(str, weight.shape))
        of = f"convolution of {weight.channels_in} to {weight.channels} channels of {weight.image_shape}"
        padding = "none" if weight.margin[0] else weight.padding
        return f"{of}, padding {padding}, stride {weight.stride}"

    def value(self, x: FloatArray) -> FloatArray:
        return spread_bias(self.operator.mv(x), self.bias)

    def pull(self, x: FloatArray, y: FloatArray, cotangent: FloatArray) -> FloatArray:
        return self.operator.T.mv(cotangent)

    def gradients(self, x: FloatArray, cotangent: FloatArray) -> dict[str, FloatArray]:
        weight = self.weight
        of_weight = square_kernel(weight.gradient(cotangent, x)) if isinstance(weight, Convolution) else cotangent @ x.T
        return {f"{self.name}weight": of_weight, **bias_gradient(f"{self.name}bias", self.bias, cotangent)}


@final
@dataclass(frozen=True)
class Normalised(Function):
    """scale (x - mean) / sqrt(variance + epsilon) + shift, of each sample over each group of channels.

    Attributes:
        name: What stands in front of "scale" and "shift" in the names of gradients.
        scale: (channels,).
        shift: (channels,).
        groups: How many groups; mean and variance are those of its channels and pixels. With None there is none of
            both, and x is scaled and shifted alone: what a batch normalisation does once it is trained.
        epsilon: Added to the variance.
    """

    name: str
    scale: FloatArray
    shift: FloatArray
    groups: int | None
    epsilon: float

    trained = True

    def __str__(self) -> str:
        channels = f"of {len(self.scale)} channels"
        return f"scale {channels}" if self.groups is None else f"normalisation {channels} in groups: {self.groups}"

    def value(self, x: FloatArray) -> FloatArray:
        normal = self._channels(normalised(x, self.groups, self.epsilon).value)
        return np.asarray((normal * self.scale[:, None, None] + self.shift[:, None, None]).reshape(x.shape))

    def pull(self, x: FloatArray, y: FloatArray, cotangent: FloatArray) -> FloatArray:
        w = self._channels(cotangent) * self.scale[:, None, None]
        return normalised(x, self.groups, self.epsilon).pull(w.reshape(x.shape))

    def gradients(self, x: FloatArray, cotangent: FloatArray) -> dict[str, FloatArray]:
        w = self._channels(cotangent)
        normal = self._channels(normalised(x, self.groups, self.epsilon).value)
        return {
            f"{self.name}scale": (w * normal).sum(axis=(1, 2)),
            f"{self.name}shift": w.sum(axis=(1, 2)),
        }

    def _channels(self, x: FloatArray) -> FloatArray:
        """(channels, pixels, batch)."""
        return by_channel(f"{self.name}scale", x, len(self.scale))


@final
@dataclass(frozen=True)
class Activated(Function):
    """sig(x)."""

    activation: Activation

    def __str__(self) -> str:
        return self.activation.name

    def value(self, x: FloatArray) -> FloatArray:
        return self.activation.value(x)

    def pull(self, x: FloatArray, y: FloatArray, cotangent: FloatArray) -> FloatArray:
        return cotangent if self.activation.name == "identity" else self.activation.slope(x, y) * cotangent


@final
@dataclass(frozen=True)
class Pooled(Function):
    """Means or largest values of blocks of pixels, channel by channel.

    Attributes:
        kind: "mean" or "max".
        block: Pixels of a block in either direction; None for the whole image.
        image_shape: (height, width) of what is pooled.
        read: The name of the array that takes the means; empty without one.
        operator: This array.
    """

    kind: Pooling
    block: int | None
    image_shape: tuple[int, int]
    read: str = ""
    operator: LinearOperator | None = None

    def __str__(self) -> str:
        return f"{self.kind} of {'each image' if self.block is None else f'blocks of {self.block} x {self.block}'}"

    def length(self, inputs: int) -> int:
        """How many numbers come out of so many.

        Raises:
            InvalidInputError: They are no images of this shape.
        """
        rows, cols = self.output_shape
        return self._channels(inputs) * rows * cols

    @property
    def output_shape(self) -> tuple[int, int]:
        """(height, width) of what comes out."""
        height, width = self.image_shape
        return (1, 1) if self.block is None else (height // self.block, width // self.block)

    def value(self, x: FloatArray) -> FloatArray:
        if self.operator is not None:
            return self.operator.mv(x)
        blocks = self._by_block(x)
        pooled = blocks.mean(axis=2) if self.kind == "mean" else blocks.max(axis=2)
        return np.asarray(pooled.reshape(self.length(len(x)), -1))

    def pull(self, x: FloatArray, y: FloatArray, cotangent: FloatArray) -> FloatArray:
        """The cotangent of x from that of what came out; of equal largest values the first one gets all."""
        if self.operator is not None:
            return self.operator.T.mv(cotangent)
        blocks = self._by_block(x)
        w = cotangent.reshape(*blocks.shape[:2], 1, x.shape[1])
        if self.kind == "mean":
            spread = np.broadcast_to(w / blocks.shape[2], blocks.shape)
        else:
            spread = np.zeros_like(blocks)
            np.put_along_axis(spread, blocks.argmax(axis=2, keepdims=True), w, axis=2)
        total = np.zeros_like(x)
        total[self._places(len(x)).ravel()] = spread.reshape(-1, x.shape[1])
        return total

    def _channels(self, inputs: int) -> int:
        pixels = self.image_shape[0] * self.image_shape[1]
        if inputs % pixels:
            raise InvalidInputError(f"images of {self.image_shape} do not make up {inputs} numbers")
        return inputs // pixels

    def _by_block(self, x: FloatArray) -> FloatArray:
        """(channels, blocks, pixels of a block, batch)."""
        return np.asarray(x[self._places(len(x))])

    def _places(self, inputs: int) -> Any:
        """(channels, blocks, pixels of a block) indices; pixels beyond the last whole block are left out."""
        (height, width), (rows, cols), channels = self.image_shape, self.output_shape, self._channels(inputs)
        deep, wide = (height, width) if self.block is None else (self.block, self.block)
        pixels = np.arange(channels * height * width).reshape(channels, height, width)
        cut = pixels[:, : rows * deep, : cols * wide].reshape(channels, rows, deep, cols, wide)
        return cut.transpose(0, 1, 3, 2, 4).reshape(channels, rows * cols, deep * wide)
