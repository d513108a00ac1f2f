"""The kernels of a convolutional neural ODE B sig(A z), whose matrices are both convolutions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final, get_args

import numpy as np
from numpy.typing import ArrayLike

from xbar_spice.errors import InvalidInputError, WeightsError
from xbar_spice.linear.convolution import Convolution, Padding, flat_kernel
from xbar_spice.linear.operator import FloatArray
from xbar_spice.weights.tensors import array_of, brief, real

__all__ = ["Kernels"]


@final
@dataclass(frozen=True, eq=False)
class Kernels:
    """The kernels of a convolutional neural ODE, kept with taps in the order of `xbar_spice.linear.convolution`.

    A weight of `torch.nn.Conv2d`, (c_out, c_in, q, q), is taken as it is and becomes such a kernel.

    Args:
        a: (q*q,), or (hidden channels, image channels, q*q or q, q); builds A.
        b: (q*q,), or (image channels, hidden channels, q*q or q, q); builds B.
        image_shape: (height, width).
        padding: "circular" or "zero".

    Raises:
        WeightsError: A kernel has a shape, dtype or value that does not fit.
    """

    a: FloatArray
    b: FloatArray
    image_shape: tuple[int, int]
    padding: Padding = "circular"

    def __post_init__(self) -> None:
        shape = array_of("image_shape", self.image_shape)
        if shape.shape != (2,) or not np.issubdtype(shape.dtype, np.integer) or shape.min() < 1:
            raise WeightsError(f"tensor 'image_shape': expected two whole numbers >= 1, got {brief(shape)}")
        object.__setattr__(self, "image_shape", (int(shape[0]), int(shape[1])))
        if f"{self.padding}" not in get_args(Padding):
            raise WeightsError(f"'padding': expected one of {get_args(Padding)}, got {self.padding!r}")
        for name in ("a", "b"):
            object.__setattr__(self, name, self._flat(name, getattr(self, name)))
        shapes = []
        for name in ("a", "b"):
            try:
                shapes.append(self.operator(name).shape)
            except InvalidInputError as error:
                raise WeightsError(f"tensor '{name}': {error}") from None
        if shapes[0] != shapes[1][::-1]:
            raise WeightsError(
                "tensor 'b': expected a kernel that leads back from the hidden channels of 'a' to those of the image, "
                f"got shapes a {self.a.shape} and b {self.b.shape}"
            )

    def matrices(self) -> tuple[FloatArray, FloatArray]:
        """A, (hidden, states), and B, (states, hidden), where an image has `states` pixels over all channels."""
        return self._matrix("a"), self._matrix("b")

    def operator(self, name: str) -> Convolution:
        """The convolution with the kernel "a" or "b"."""
        return Convolution(getattr(self, name), self.image_shape, self.padding)

    def gradient_a(self, gradient: ArrayLike) -> FloatArray:
        """dL/da, of the shape of a, from dL/dA."""
        return self.operator("a").kernel_gradient(np.asarray(gradient))

    def gradient_b(self, gradient: ArrayLike) -> FloatArray:
        """dL/db, of the shape of b, from dL/dB."""
        return self.operator("b").kernel_gradient(np.asarray(gradient))

    @staticmethod
    def _flat(name: str, kernel: ArrayLike) -> FloatArray:
        try:
            return real(name, flat_kernel(real(name, kernel)))
        except WeightsError:
            raise
        except InvalidInputError as error:
            raise WeightsError(f"tensor '{name}': {error}") from None

    def _matrix(self, name: str) -> FloatArray:
        try:
            return self.operator(name).matrix
        except InvalidInputError as error:
            raise WeightsError(f"tensor '{name}': {error}") from None
