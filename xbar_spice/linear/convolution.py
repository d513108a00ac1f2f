"""Convolutions of images as matrices, so that they can be programmed into an array, and the way back for gradients.

An image of shape (height, width) is flattened row by row; several channels one after the other (channel, row, column).
Tap i of a kernel of odd size q multiplies the image moved by i % q - q // 2 rows and i // q - q // 2 columns; for q = 3
these are the moves (-1, -1), (0, -1), (1, -1), (-1, 0), (0, 0), (1, 0), (-1, 1), (0, 1), (1, 1) of `numpy.roll` over
the axes (0, 1). With padding="circular" the matrix is block-circulant and equals
`scipy.ndimage.convolve(image, kernel.reshape(q, q).T, mode="wrap")`.

Deep-learning frameworks keep kernels in four axes, (c_out, c_in, q, q), and their convolution is what mathematics calls
a cross-correlation: the taps are not flipped. Such a kernel is taken as it is and converted by `flat_kernel`. One that
was merely reshaped to (c_out, c_in, q*q) is another convolution, and nothing in its shape tells: give four axes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isqrt
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xbar_spice.checks import Array, checked
from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.operator import FloatArray

__all__ = ["Padding", "convolution_matrix", "flat_kernel", "kernel_gradient"]

Padding = Literal["circular", "zero"]

_MOST_ENTRIES = 2**27  # of a matrix: 1 GiB, which a few numbers in a file should not claim by a slip
_LARGEST_KERNEL = 127


def flat_kernel(kernel: ArrayLike) -> FloatArray:
    """A kernel in the layout of this module, from that or from the one of deep-learning frameworks.

    Args:
        kernel: (q*q,) or (c_out, c_in, q*q) with taps in the order of this module, returned as it is; or
            (c_out, c_in, q, q) as `torch.nn.Conv2d` has it, for the cross-correlation with stride 1.

    Returns:
        (q*q,) or (c_out, c_in, q*q).

    Raises:
        InvalidInputError: Another shape.

    Example:
        >>> flat_kernel([[[[1, 2, 3], [4, 5, 6], [7, 8, 9]]]])
        array([[[9., 6., 3., 8., 5., 2., 7., 4., 1.]]])
    """
    taps = np.asarray(kernel, dtype=float)
    if taps.ndim not in (1, 3, 4) or not taps.size:
        raise InvalidInputError(
            f"kernel must have shape (q*q,), (c_out, c_in, q*q) or, as in torch.nn.Conv2d, (c_out, c_in, q, q), got "
            f"{taps.shape}"
        )
    if taps.ndim == 4:
        if taps.shape[2] != taps.shape[3]:
            raise InvalidInputError(
                f"a kernel of four axes must be (c_out, c_in, q, q) as in torch.nn.Conv2d, got {taps.shape}; one of "
                "(q, q, c_in, c_out), as TensorFlow has it, becomes that by transpose(3, 2, 0, 1)"
            )
        # A convolution flips what a cross-correlation does not, and taps go down the columns first.
        taps = np.swapaxes(taps[..., ::-1, ::-1], -2, -1).reshape(*taps.shape[:2], -1)
    _kernel_size(taps.shape[-1])
    return taps


@checked()
def convolution_matrix(kernel: ArrayLike, image_shape: tuple[int, int], padding: Padding = "circular") -> FloatArray:
    """The matrix of a convolution with stride 1.

    Args:
        kernel: (q*q,) for one channel, or (c_out, c_in, q*q), taps in the order of this module; or
            (c_out, c_in, q, q) as in `torch.nn.Conv2d`, see `flat_kernel`; q odd.
        image_shape: (height, width).
        padding: "circular" wraps around the edges, "zero" continues the image with zeros.

    Returns:
        (c_out * height * width, c_in * height * width).

    Raises:
        InvalidInputError: A shape or the padding is none of the above, or the kernel is not finite.

    Example:
        >>> convolution_matrix([0, 1, 0, 0, 0, 0, 0, 0, 0], (1, 3)) @ [1.0, 2.0, 3.0]  # one column to the left
        array([2., 3., 1.])
    """
    taps = flat_kernel(kernel)
    if not np.isfinite(taps).all():
        raise InvalidInputError("kernel must be finite, got NaN or infinity in it")
    size = _kernel_size(taps.shape[-1])
    height, width = _checked_image_shape(image_shape)
    channels_out, channels_in = taps.shape[:2] if taps.ndim == 3 else (1, 1)
    taps = taps.reshape(channels_out, channels_in, size * size)

    pixels = height * width
    if channels_out * channels_in * pixels**2 > _MOST_ENTRIES:
        raise InvalidInputError(
            f"the convolution of {channels_in} to {channels_out} channels of {height} x {width} pixels is a matrix of "
            f"{channels_out * pixels} x {channels_in * pixels}, and at most {_MOST_ENTRIES} entries are allowed; check "
            "image_shape, or take smaller images or fewer channels"
        )
    matrix = np.zeros((channels_out, pixels, channels_in, pixels))
    # On a narrow image several taps land on the same entry: one tap hits each pixel once, taps are added in turn.
    for tap, (target, source) in enumerate(_moves(height, width, size, padding)):
        matrix[:, target, :, source] += taps[:, :, tap]
    return matrix.reshape(channels_out * pixels, channels_in * pixels)


@checked()
def kernel_gradient(
    matrix_gradient: ArrayLike,
    image_shape: tuple[int, int],
    channels: tuple[int, int] | None = None,
    *,
    size: int = 3,
    padding: Padding = "circular",
) -> FloatArray:
    """The gradient with respect to a kernel from the one with respect to its matrix, <basis_i, dL/dW>_F.

    It is the adjoint of `convolution_matrix`: <convolution_matrix(k), G>_F = <k, kernel_gradient(G)> for any k and G.

    Args:
        matrix_gradient: dL/dW, (..., c_out * height * width, c_in * height * width).
        image_shape: (height, width).
        channels: (c_out, c_in); None for a kernel of one channel without channel axes.
        size: q, odd: the kernel has q*q taps.
        padding: As for `convolution_matrix`.

    Returns:
        (..., q*q) for `channels=None`, else (..., c_out, c_in, q*q).

    Raises:
        InvalidInputError: The gradient's shape does not belong to image and channels, or an argument is not allowed.
    """
    gradient = Array()("matrix_gradient", matrix_gradient)
    if size < 1 or size % 2 == 0:
        raise InvalidInputError(f"the kernel size must be odd and >= 1, got {size}")
    height, width = _checked_image_shape(image_shape)
    channels_out, channels_in = channels if channels is not None else (1, 1)
    pixels = height * width
    expected = (channels_out * pixels, channels_in * pixels)
    if gradient.shape[-2:] != expected:
        raise InvalidInputError(
            f"matrix_gradient of a {channels_out} x {channels_in} channel convolution of {height} x {width} images "
            f"has shape {expected}, got {gradient.shape}; give channels=(c_out, c_in) if there are several"
        )
    blocks = gradient.reshape(*gradient.shape[:-2], channels_out, pixels, channels_in, pixels)
    moves = _moves(height, width, size, padding)
    # The two index arrays stand apart, so that NumPy puts their common axis first.
    taps = np.stack([blocks[..., target, :, source].sum(axis=0) for target, source in moves], axis=-1)
    return taps if channels is not None else taps[..., 0, 0, :]


def _moves(height: int, width: int, size: int, padding: Padding) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """For each tap the pixels it writes and the pixels it reads there, both as flat indices."""
    if padding not in get_args(Padding):
        raise InvalidInputError(f"padding must be one of {get_args(Padding)}, got {padding!r}")
    rows, cols = np.divmod(np.arange(height * width), width)
    for tap in range(size * size):
        source_rows = rows - (tap % size - size // 2)
        source_cols = cols - (tap // size - size // 2)
        inside = (source_rows >= 0) & (source_rows < height) & (source_cols >= 0) & (source_cols < width)
        targets = np.flatnonzero(inside | (padding == "circular"))
        yield targets, ((source_rows % height) * width + source_cols % width)[targets]


def _kernel_size(taps: int) -> int:
    size = isqrt(taps)
    if size * size != taps or size % 2 == 0:
        raise InvalidInputError(f"a kernel has q*q taps with q odd (1, 9, 25, ...), got {taps}")
    if size > _LARGEST_KERNEL:
        raise InvalidInputError(f"a kernel has at most {_LARGEST_KERNEL} x {_LARGEST_KERNEL} taps, got {size} x {size}")
    return size


def _checked_image_shape(image_shape: Sequence[int]) -> tuple[int, int]:
    shape = tuple(image_shape)
    if len(shape) != 2 or min(shape) < 1:
        raise InvalidInputError(f"image_shape must be (height, width), both >= 1, got {shape}")
    return int(shape[0]), int(shape[1])  # Python's own, because products of numpy's integers may overflow
