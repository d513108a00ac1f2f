"""The taps of kernels: how they are laid out, and which pixels each of them joins; see `linear.convolution`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isqrt
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.operator import FloatArray

__all__ = ["LARGEST_KERNEL", "Padding", "checked_image_shape", "flat_kernel", "kernel_size", "moves", "square_kernel"]

Padding = Literal["circular", "zero"]

LARGEST_KERNEL = 127


def flat_kernel(kernel: ArrayLike) -> FloatArray:
    """A kernel in the layout of `linear.convolution`, from that or from the one of deep-learning frameworks.

    Args:
        kernel: (q*q,) or (c_out, c_in, q*q) with taps in the order of `linear.convolution`, returned as it is; or
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
    kernel_size(taps.shape[-1])
    return taps


def square_kernel(taps: FloatArray) -> FloatArray:
    """(c_out, c_in, q, q) as deep-learning frameworks have it, of (c_out, c_in, q*q): the way back of `flat_kernel`."""
    size = kernel_size(taps.shape[-1])
    return np.swapaxes(taps.reshape(*taps.shape[:-1], size, size), -2, -1)[..., ::-1, ::-1]


def moves(height: int, width: int, size: int, padding: Padding) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
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


def kernel_size(taps: int) -> int:
    """The size q of a kernel of q*q taps."""
    size = isqrt(taps)
    if size * size != taps:
        raise InvalidInputError(f"a kernel has q*q taps (1, 4, 9, 16, 25, ...), got {taps}")
    if size > LARGEST_KERNEL:
        raise InvalidInputError(f"a kernel has at most {LARGEST_KERNEL} x {LARGEST_KERNEL} taps, got {size} x {size}")
    return size


def checked_image_shape(image_shape: Sequence[int]) -> tuple[int, int]:
    """(height, width), as whole numbers of Python."""
    shape = tuple(image_shape)
    if len(shape) != 2 or min(shape) < 1:
        raise InvalidInputError(f"image_shape must be (height, width), both >= 1, got {shape}")
    return int(shape[0]), int(shape[1])  # Python's own, because products of numpy's integers may overflow
