"""What stands before and behind a neural ODE: an encoder of inputs, and a classifier of final states.

Either is one layer, or a chain of several.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from copy import copy
from dataclasses import KW_ONLY, dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Literal, Self, cast, final

import numpy as np

from xbar_spice.checks import ANYTHING, Optional, Real, Whole, settle
from xbar_spice.errors import InvalidInputError, WeightsError
from xbar_spice.linear.convolution import Convolution, Padding, flat_kernel, square_kernel
from xbar_spice.linear.operator import DenseOperator, FloatArray, LinearOperator
from xbar_spice.solve.fields.activation import Activation, get_activation
from xbar_spice.weights.end import End, Read
from xbar_spice.weights.passing import Function, Step
from xbar_spice.weights.steps import Activated, Normalised, Pooled, Pooling, Weighted
from xbar_spice.weights.tensors import real

__all__ = ["Classifier", "Encoder", "Layer", "Normalisation", "Pool"]


@final
@dataclass(frozen=True, eq=False)
class Normalisation:
    """scale (x - mean) / sqrt(variance + epsilon) + shift, one scale and shift a channel; digital.

    Args:
        scale: (channels,).
        shift: (channels,); zeros when left out.
        groups: Of channels, over each of which mean and variance of a sample are taken: 1 is a layer normalisation, as
            many as there are channels an instance normalisation. None for no mean and variance: what a batch
            normalisation does once it is trained, with scale = weight / sqrt(running_var + epsilon) and
            shift = bias - scale running_mean.
        epsilon: Added to the variance.

    Raises:
        WeightsError: A shape, dtype or value that does not fit.
    """

    scale: FloatArray
    shift: FloatArray = None  # type: ignore[assignment]  # zeros, once it is made
    groups: int | None = None
    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        settle(self, WeightsError, scale=ANYTHING, shift=ANYTHING, groups=Optional(Whole(1)), epsilon=Real(least=0))
        scale = real("scale", self.scale, "(channels,)")
        shift = real("shift", np.zeros(scale.shape) if cast(Any, self.shift) is None else self.shift, "(channels,)")
        if shift.shape != scale.shape or (self.groups is not None and scale.size % self.groups):
            raise WeightsError(
                f"a normalisation has one scale and one shift a channel and groups of as many channels, got scale "
                f"{scale.shape}, shift {shift.shape}, groups {self.groups}"
            )
        object.__setattr__(self, "scale", scale)
        object.__setattr__(self, "shift", shift)


@dataclass(frozen=True, eq=False)
class Layer(End):
    """A matrix or a convolution with a bias, a normalisation, an activation, and a pooling of images.

    Args:
        weight: (outputs, inputs); or (c_out, c_in, q, q) for a convolution, as `torch.nn.Conv2d` has it.
        bias: (outputs,), or (c_out,) of a convolution; zeros when left out.
        activation: Name of an activation, or an `Activation`.
        image_shape: (height, width) of what is convolved or pooled; channels lie one after the other.
        padding: Of a convolution, "zero" or "circular", by (q - 1) // 2 pixels at each edge; or "none".
        stride: Of a convolution.
        pooling: "mean" or "max" of blocks of pixels; None for none.
        block: Pixels of a block in either direction; None for the whole image, one number a channel.
        normalisation: In front of the activation; None for none.

    Raises:
        WeightsError: A shape, dtype or value that does not fit.
    """

    weight: FloatArray
    bias: FloatArray = None  # type: ignore[assignment]  # zeros, once it is made
    _: KW_ONLY
    activation: str | Activation = "identity"
    image_shape: tuple[int, int] | None = None
    padding: Padding | Literal["none"] = "zero"
    stride: int = 1
    pooling: Pooling | None = None
    block: int | None = None
    normalisation: Normalisation | None = None

    kind = "layer"

    _read_by: ClassVar[LinearOperator | None] = None
    _shape_text = "(outputs, inputs)"

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
            self._check()
        except InvalidInputError as error:
            text = str(error)
            raise WeightsError(text if text.startswith(self.kind) else f"{self.kind}: {text}") from None

    def _check(self) -> None:
        """Raise if the parts do not belong together."""

    @cached_property
    def operator(self) -> LinearOperator:
        """The matrix or convolution."""
        if self.weight.ndim == 2:
            return DenseOperator(self.weight)
        shape = cast("tuple[int, int]", self.image_shape)
        size = self.weight.shape[-1]
        # Frameworks pad both edges alike, so that an even kernel makes one pixel less than there are.
        padding, margin = (
            ("zero", ((size - 1) // 2, size // 2)) if self.padding == "none" else (self.padding, (0, 1 - size % 2))
        )
        return Convolution(flat_kernel(self.weight), shape, cast(Padding, padding), self.stride, margin)

    @property
    def described(self) -> str:
        return f"with a weight of shape {self.weight.shape}"

    @property
    def plain(self) -> bool:
        return (
            self.weight.ndim == 2
            and self._read_by is None
            and not self.pooling
            and self.normalisation is None
            and get_activation(self.activation).name == "identity"
        )

    @property
    def tensors(self) -> dict[str, FloatArray]:
        found = {"weight": self.weight, "bias": self.bias}
        if self.normalisation is not None:
            found |= {"scale": self.normalisation.scale, "shift": self.normalisation.shift}
        return found

    def replaced(self, values: Mapping[str, Any]) -> Self:
        if unknown := sorted(values.keys() - self.tensors.keys()):
            raise WeightsError(f"tensor '{self.kind}.{unknown[0]}': expected one of {', '.join(self.tensors)}")
        own: dict[str, Any] = {name: value for name, value in values.items() if name in ("weight", "bias")}
        others = {name: value for name, value in values.items() if name not in own}
        if self.normalisation is not None and others:
            own["normalisation"] = replace(self.normalisation, **others)
        return replace(self, **own)

    @property
    def operators(self) -> dict[str, LinearOperator]:
        return {"weight": self.operator}

    def reading(self, operators: Mapping[str, Read]) -> Self:
        made = copy(self)
        object.__setattr__(made, "_read_by", operators.get("weight", self._read_by))
        return made

    def from_written(self, gradients: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        operator = self.operator
        if "weight" not in gradients or not isinstance(operator, Convolution):
            return {name: value for name, value in gradients.items() if name == "weight"}
        found = gradients["weight"]
        flat = found.shape[-operator.kernel.ndim :] == operator.kernel.shape and operator.large
        return {"weight": square_kernel(found if flat else operator.kernel_gradient(found))}

    def _weighted(self, name: str) -> Weighted:
        return Weighted(name, self.operator, self._read_by or self.operator, self.bias)

    def _changed(self, name: str) -> tuple[Function, ...]:
        """Normalisation and activation."""
        activation, norm = get_activation(self.activation), self.normalisation
        normalised = () if norm is None else (Normalised(name, norm.scale, norm.shift, norm.groups, norm.epsilon),)
        return (*normalised, *(() if activation.name == "identity" else (Activated(activation),)))

    def _pooled(self, image_shape: tuple[int, int]) -> tuple[Pooled, ...]:
        return (Pooled(self.pooling, self.block, image_shape),) if self.pooling else ()


@final
@dataclass(frozen=True, eq=False)
class Encoder(Layer):
    """What makes initial states of inputs: z0 = pool(sig(W x + bias)).

    Args:
        weight: (states, inputs); or (c_out, c_in, q, q) for a convolution, as `torch.nn.Conv2d` has it.
        bias: (states,), or (c_out,) of a convolution; zeros when left out.
        activation: Name of an activation, or an `Activation`.
        image_shape: (height, width) of the inputs of a convolution; channels lie one after the other.
        padding: Of a convolution, "zero" or "circular", by (q - 1) // 2 pixels at each edge; or "none".
        stride: Of a convolution.
        pooling: "mean" or "max" of blocks of pixels of a convolution; None for none.
        block: Pixels of a block in either direction; None for the whole image, one number a channel.
        normalisation: Between the weight and the activation; None for none.

    Raises:
        WeightsError: A shape, dtype or value that does not fit.

    Example:
        >>> Encoder([[1.0, 2.0]], [0.5], activation="relu").encoded(np.array([[1.0], [-1.0]]))
        array([[0.]])
    """

    kind = "encoder"
    _shape_text = "(states, inputs)"

    def _check(self) -> None:
        if self.pooling and self.weight.ndim == 2:
            raise WeightsError("encoder: a pooling needs a convolution in front of it, got a matrix")
        for step in self._changed("encoder."):
            step.value(np.zeros((self.operator.shape[0], 1)))

    @property
    def inputs(self) -> int:
        return self.operator.shape[1]

    @property
    def outputs(self) -> int:
        sums = self.operator.shape[0]
        return self._pooled(self._images)[0].length(sums) if self.pooling else sums

    @property
    def _images(self) -> tuple[int, int]:
        return cast(Convolution, self.operator).output_shape

    @property
    def output_shape(self) -> tuple[int, int] | None:
        """(height, width) of the images that come out; None if they are none."""
        if self.weight.ndim == 2:
            return None
        return self._pooled(self._images)[0].output_shape if self.pooling else self._images

    def steps(self, name: str = "") -> tuple[Step, ...]:
        pooled = self._pooled(self._images) if self.pooling else ()
        return (self._weighted(name), *self._changed(name), *pooled)


@final
@dataclass(frozen=True, eq=False)
class Classifier(Layer):
    """A linear classifier of final states: scores W pool(sig(z)) + bias; of a convolution pool(W sig(z) + bias).

    Args:
        weight: (classes, n), n being the length of what is pooled, or of the states; or (classes, c_in, q, q) for a
            convolution, as `torch.nn.Conv2d` has it, whose images are pooled to one score a class.
        bias: (classes,); zeros when left out.
        activation: Name of an activation in front, or an `Activation`.
        image_shape: (height, width) of the states, where they are pooled or convolved.
        padding: Of a convolution, "zero" or "circular", by (q - 1) // 2 pixels at each edge; or "none".
        stride: Of a convolution.
        pooling: "mean" or "max" of blocks of pixels; None for none.
        block: Pixels of a block in either direction; None for the whole image, one number a channel.
        normalisation: In front of the activation; None for none.

    Raises:
        WeightsError: A shape, dtype or value that does not fit.
    """

    kind = "classifier"
    _shape_text = "(classes, n)"

    def _check(self) -> None:
        if self.weight.ndim == 4 and (self.pooling is None or self.block is not None):
            raise WeightsError(
                "classifier: a convolution needs pooling='mean' or 'max' of the whole image, which makes one score of "
                "each class"
            )

    @property
    def inputs(self) -> int | None:
        if self.weight.ndim == 4 or not self.pooling:
            return self.operator.shape[1]
        return None

    @property
    def outputs(self) -> int:
        return int(self.weight.shape[0])

    def steps(self, name: str = "") -> tuple[Step, ...]:
        changed, weighted = self._changed(name), self._weighted(name)
        if self.weight.ndim == 4:
            return (*changed, weighted, *self._pooled(cast(Convolution, self.operator).output_shape))
        return (*changed, *self._pooled(cast("tuple[int, int]", self.image_shape)), weighted)


@final
@dataclass(frozen=True, eq=False)
class Pool(End):
    """Means or largest values of blocks of pixels, channel by channel; it has no weights.

    Means may be taken by an array, the matrix of which is the same for all inputs: "pooling" of `Model.on_arrays`.

    Args:
        pooling: "mean" or "max".
        image_shape: (height, width) of what comes in; channels lie one after the other.
        channels: How many.
        block: Pixels of a block in either direction; None for the whole image, one number a channel.

    Raises:
        WeightsError: A value that does not fit.

    Example:
        >>> Pool("mean", (2, 2)).encoded([[1.0], [2.0], [3.0], [6.0]])
        array([[3.]])
    """

    pooling: Pooling
    image_shape: tuple[int, int]
    channels: int = 1
    block: int | None = 2

    kind = "pool"
    _read_by: ClassVar[LinearOperator | None] = None

    def __post_init__(self) -> None:
        settle(self, WeightsError, channels=Whole(1), block=Optional(Whole(1)))
        if self.block is not None and self.block > min(self.image_shape):
            raise WeightsError(f"blocks of {self.block} x {self.block} do not fit into images of {self.image_shape}")

    @property
    def output_shape(self) -> tuple[int, int]:
        """(height, width) of the images that come out."""
        return self._step.output_shape

    @property
    def _step(self) -> Pooled:
        return Pooled(self.pooling, self.block, self.image_shape)

    def steps(self, name: str = "") -> tuple[Step, ...]:
        read = "" if self._read_by is None else f"{name}pool"
        return (replace(self._step, read=read, operator=self._read_by),)

    @property
    def tensors(self) -> dict[str, FloatArray]:
        return {}

    def replaced(self, values: Mapping[str, Any]) -> Self:
        if values:
            raise WeightsError(f"tensor {min(values)!r}: a pooling has none")
        return self

    @cached_property
    def operators(self) -> dict[str, LinearOperator]:
        return {"pool": DenseOperator(self._step.value(np.eye(self.inputs)))} if self.pooling == "mean" else {}

    def on_arrays(self, kind: str, said: Collection[str]) -> dict[str, LinearOperator]:
        return self.operators if "pooling" in said else {}

    def reading(self, operators: Mapping[str, Read]) -> Self:
        made = copy(self)
        object.__setattr__(made, "_read_by", operators.get("pool", self._read_by))
        return made

    @property
    def inputs(self) -> int:
        return self.channels * self.image_shape[0] * self.image_shape[1]

    @property
    def outputs(self) -> int:
        return self._step.length(self.inputs)
