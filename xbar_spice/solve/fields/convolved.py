"""The field of two convolutions, whose parameters are their kernels."""

from __future__ import annotations

from math import isqrt

from numpy.typing import ArrayLike

from xbar_spice.checks import Array, checked
from xbar_spice.linear.convolution import Padding, convolution_matrix, kernel_gradient
from xbar_spice.linear.operator import FloatArray, LinearOperator
from xbar_spice.solve.fields.activation import Activation
from xbar_spice.solve.fields.evaluation import Parameters, Tie
from xbar_spice.solve.fields.field import ActivationField

__all__ = ["convolution_field"]


@checked()
def convolution_field(
    a: ArrayLike,
    b: ArrayLike,
    image_shape: tuple[int, int],
    padding: Padding = "circular",
    *,
    A: ArrayLike | LinearOperator | None = None,
    B: ArrayLike | LinearOperator | None = None,
    activation: str | Activation = "relu",
) -> ActivationField:
    """Two convolutions, f(z) = b * sig(a * z), whose parameters are the kernels a and b.

    Args:
        a: Kernel as for `convolution_matrix`, (q*q,) or (hidden channels, image channels, q*q).
        b: Kernel back to the image, (q*q,) or (image channels, hidden channels, q*q).
        image_shape: (height, width).
        padding: As for `convolution_matrix`.
        A: Array of the matrix of a; the matrix itself when left out.
        B: Array of the matrix of b; the matrix itself when left out.
        activation: sig.

    Raises:
        InvalidInputError: A kernel, the image or the padding is not allowed, or they do not belong together.

    Example:
        >>> import numpy as np
        >>> identity = np.eye(9)[4]
        >>> field = convolution_field(identity, 2 * identity, (1, 2))
        >>> field.evaluate(np.array([[3.0], [-1.0]])).value[:, 0]
        array([6., 0.])
    """
    kernels = {"A": Array()("a", a), "B": Array()("b", b)}
    names = {"A": "a", "B": "b"}

    def spread(change: Parameters) -> Parameters:
        return {
            name: convolution_matrix(change[names[name]], image_shape, padding)
            for name in kernels
            if names[name] in change
        }

    def collect(gradients: Parameters) -> Parameters:
        return {names[name]: _kernel_part(kernels[name], gradients[name], image_shape, padding) for name in kernels}

    matrices = spread({names[name]: kernel for name, kernel in kernels.items()})
    return ActivationField(
        matrices["A"] if A is None else A,
        matrices["B"] if B is None else B,
        activation,
        tie=Tie(spread, collect),
    )


def _kernel_part(
    kernel: FloatArray, gradient: FloatArray, image_shape: tuple[int, int], padding: Padding
) -> FloatArray:
    channels = None if kernel.ndim == 1 else (kernel.shape[0], kernel.shape[1])
    return kernel_gradient(gradient, image_shape, channels, size=isqrt(kernel.shape[-1]), padding=padding)
