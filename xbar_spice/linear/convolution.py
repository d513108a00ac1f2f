"""Convolutions of images as matrices, so that they can be programmed into an array, and the way back for gradients.

An image of shape (height, width) is flattened row by row; several channels one after the other (channel, row, column).
Tap i of a kernel of size q multiplies the image moved by i % q - q // 2 rows and i // q - q // 2 columns; for q = 3
these are the moves (-1, -1), (0, -1), (1, -1), (-1, 0), (0, 0), (1, 0), (-1, 1), (0, 1), (1, 1) of `numpy.roll` over
the axes (0, 1). With padding="circular" the matrix is block-circulant and equals
`scipy.ndimage.convolve(image, kernel.reshape(q, q).T, mode="wrap")`.

A kernel of even size has its centre behind the middle, so that the image is padded by (q - 1) // 2 pixels in front
and q // 2 behind, what PyTorch calls padding="same". A time channel is an image that is the time everywhere: one number
drives it.

Deep-learning frameworks keep kernels in four axes, (c_out, c_in, q, q), and their convolution is what mathematics calls
a cross-correlation: the taps are not flipped. Such a kernel is taken as it is and converted by `flat_kernel`. One that
was merely reshaped to (c_out, c_in, q*q) is another convolution, and nothing in its shape tells: give four axes.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import coo_array, csr_array

from xbar_spice.checks import Array, checked
from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.operator import FloatArray, LinearOperator
from xbar_spice.linear.taps import (
    LARGEST_KERNEL,
    Padding,
    checked_image_shape,
    flat_kernel,
    kernel_size,
    moves,
    square_kernel,
)

__all__ = ["Convolution", "Padding", "convolution_matrix", "flat_kernel", "kernel_gradient", "square_kernel"]

_MOST_ENTRIES = 2**27  # of a matrix: 1 GiB, which a few numbers in a file should not claim by a slip
_MOST_ENTRIES_OF_DENSE_PRODUCTS = 2**20  # below, products with the zeros are faster than those without them


@checked()
def convolution_matrix(kernel: ArrayLike, image_shape: tuple[int, int], padding: Padding = "circular") -> FloatArray:
    """The matrix of a convolution with stride 1.

    Args:
        kernel: (q*q,) for one channel, or (c_out, c_in, q*q), taps in the order of this module; or
            (c_out, c_in, q, q) as in `torch.nn.Conv2d`, see `flat_kernel`.
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
    size = kernel_size(taps.shape[-1])
    height, width = checked_image_shape(image_shape)
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
    for tap, (target, source) in enumerate(moves(height, width, size, padding)):
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
        size: q: the kernel has q*q taps.
        padding: As for `convolution_matrix`.

    Returns:
        (..., q*q) for `channels=None`, else (..., c_out, c_in, q*q).

    Raises:
        InvalidInputError: The gradient's shape does not belong to image and channels, or an argument is not allowed.
    """
    gradient = Array()("matrix_gradient", matrix_gradient)
    if not 1 <= size <= LARGEST_KERNEL:
        raise InvalidInputError(f"the kernel size must be >= 1 and at most {LARGEST_KERNEL}, got {size}")
    height, width = checked_image_shape(image_shape)
    channels_out, channels_in = channels if channels is not None else (1, 1)
    pixels = height * width
    expected = (channels_out * pixels, channels_in * pixels)
    if gradient.shape[-2:] != expected:
        raise InvalidInputError(
            f"matrix_gradient of a {channels_out} x {channels_in} channel convolution of {height} x {width} images "
            f"has shape {expected}, got {gradient.shape}; give channels=(c_out, c_in) if there are several"
        )
    blocks = gradient.reshape(*gradient.shape[:-2], channels_out, pixels, channels_in, pixels)
    moved = moves(height, width, size, padding)
    # The two index arrays stand apart, so that NumPy puts their common axis first.
    taps = np.stack([blocks[..., target, :, source].sum(axis=0) for target, source in moved], axis=-1)
    return taps if channels is not None else taps[..., 0, 0, :]


@final
class Convolution(LinearOperator):
    """A convolution of images as a matrix that is known by its kernel, and kept without its zeros.

    Args:
        kernel: As for `convolution_matrix`.
        image_shape: (height, width) of what goes in.
        padding: As for `convolution_matrix`.
        stride: Of the pixels of what comes out, only every so many in either direction are kept, from the first one on.
        margin: Pixels at each edge of what comes out that are left out before, or those in front and those behind.
            Half a kernel leaves those in which nothing from beyond an edge is, what frameworks call a convolution
            without padding.
        time: Whether the last channel that goes in is an image of the time: one more column of the matrix, behind those
            of the image, with the sum of the taps of this channel that reach into the image from each pixel.

    Raises:
        InvalidInputError: See `convolution_matrix`; the stride is below 1, the margin leaves nothing, or there is no
            channel beside that of the time.

    Example:
        >>> Convolution([0, 1, 0, 0, 0, 0, 0, 0, 0], (1, 3)).mv([1.0, 2.0, 3.0])  # one column to the left
        array([2., 3., 1.])
    """

    @checked()
    def __init__(
        self,
        kernel: ArrayLike,
        image_shape: tuple[int, int],
        padding: Padding = "circular",
        stride: int = 1,
        margin: int | tuple[int, int] = 0,
        time: bool = False,
    ) -> None:
        taps = np.array(Array()("kernel", flat_kernel(kernel)))
        taps.setflags(write=False)
        self.kernel: FloatArray = taps
        self.image_shape = checked_image_shape(image_shape)
        self.padding: Padding = padding
        self.stride, self.time = stride, time
        self.margin: tuple[int, int] = margin if isinstance(margin, tuple) else (margin, margin)
        if time and (taps.ndim != 3 or taps.shape[1] < 2):
            raise InvalidInputError(
                f"a kernel with a time channel is (c_out, c_in + 1, ...), the time last, got {taps.shape}"
            )
        if stride < 1:
            raise InvalidInputError(f"stride must be >= 1, got {stride}")
        if min(self.margin) < 0 or sum(self.margin) >= min(self.image_shape):
            raise InvalidInputError(f"margin must leave a pixel of images of {self.image_shape}, got {margin}")
        next(moves(1, 1, 1, padding))
        if taps.size * self.image_shape[0] * self.image_shape[1] > _MOST_ENTRIES:
            raise InvalidInputError(
                f"the convolution of {self.channels_in} to {self.channels} channels of {self.image_shape[0]} x "
                f"{self.image_shape[1]} pixels is a matrix of {self.shape[0]} x {self.shape[1]}, and at most "
                f"{_MOST_ENTRIES} of its entries may be other than zero; check image_shape, or take smaller images or "
                "fewer channels"
            )

    @property
    def channels(self) -> int:
        """Number of channels that come out."""
        return self.kernel.shape[0] if self.kernel.ndim == 3 else 1

    @property
    def channels_in(self) -> int:
        """Number of channels of the image that goes in."""
        return self.kernel.shape[1] - self.time if self.kernel.ndim == 3 else 1

    @property
    def output_shape(self) -> tuple[int, int]:
        """(height, width) of what comes out."""
        height, width = (pixels - sum(self.margin) for pixels in self.image_shape)
        return -(-height // self.stride), -(-width // self.stride)

    @property
    def shape(self) -> tuple[int, int]:
        (height, width), (rows, cols) = self.image_shape, self.output_shape
        return self.channels * rows * cols, self.channels_in * height * width + self.time

    @property
    def entries(self) -> int:
        """Number of entries of the matrix, zeros included."""
        return self.shape[0] * self.shape[1]

    @property
    def large(self) -> bool:
        """Whether it is so large that nothing is made of it whose zeros take memory."""
        return self.entries > _MOST_ENTRIES_OF_DENSE_PRODUCTS

    def rows_in_turn(self, size: int = 256) -> Iterator[FloatArray]:
        """The matrix with its zeros, some rows after the other."""
        for first in range(0, self.shape[0], size):
            yield self.sparse[first : first + size].toarray()

    @property
    def keeps_kernel(self) -> bool:
        return self.large

    def outer(self, cotangent: FloatArray, x: FloatArray) -> FloatArray:
        return self.gradient(cotangent, x) if self.large else cotangent @ x.T

    def sparse_gradient(self, matrix_gradient: csr_array) -> FloatArray:
        """dL/d(kernel) from a dL/dW that is known where the kernel reaches, (m, n)."""
        outputs = self.shape[0] // self.channels
        total = np.zeros((self.channels, self.channels_in + self.time, self.kernel.shape[-1]))
        for tap, (target, source) in enumerate(self._moves()):
            for out, into in np.ndindex(total.shape[:2]):
                entries = matrix_gradient[out * outputs + target, self._columns(into, source)]
                total[out, into, tap] = entries.sum()
        return total.reshape(self.kernel.shape)

    def _columns(self, channel: int, source: NDArray[np.intp]) -> NDArray[np.intp]:
        """Where pixels of a channel that goes in drive the matrix; the time drives it at one column alone."""
        if channel == self.channels_in:
            return np.full(source.shape, self.shape[1] - 1)
        return channel * self.image_shape[0] * self.image_shape[1] + source

    @cached_property
    def sparse(self) -> csr_array:
        """(m, n) matrix without its zeros."""
        rows, cols, values = [], [], []
        taps = self.kernel.reshape(self.channels, self.channels_in + self.time, -1)
        pixels_out = self.shape[0] // self.channels
        for tap, (target, source) in enumerate(self._moves()):
            for out in range(self.channels):
                for into in range(self.channels_in + self.time):
                    rows.append(out * pixels_out + target)
                    cols.append(self._columns(into, source))
                    values.append(np.full(target.size, taps[out, into, tap]))
        where = np.concatenate(rows), np.concatenate(cols)
        return csr_array(coo_array((np.concatenate(values), where), shape=self.shape))

    @cached_property
    def matrix(self) -> FloatArray:
        """(m, n) matrix with its zeros, which nobody can write to.

        Raises:
            InvalidInputError: It would be too large.
        """
        of_image = self.kernel[:, : self.channels_in] if self.time else self.kernel
        whole = convolution_matrix(of_image, self.image_shape, self.padding)
        if self.stride > 1 or any(self.margin):
            whole = np.ascontiguousarray(whole.reshape(self.channels, -1, whole.shape[1])[:, self._kept])
        matrix = whole.reshape(self.shape[0], -1)
        if self.time:
            matrix = np.hstack([matrix, self._of_time[:, np.newaxis]])
        for part in (matrix, matrix.base):
            if isinstance(part, np.ndarray):
                part.setflags(write=False)
        return matrix

    @property
    def _of_time(self) -> FloatArray:
        """(m,) column that the time drives."""
        column = np.zeros((self.channels, self.shape[0] // self.channels))
        for tap, (target, _) in enumerate(self._moves()):
            column[:, target] += self.kernel[:, -1, tap, np.newaxis]
        return column.ravel()

    def gradient(self, cotangent: FloatArray, x: FloatArray) -> FloatArray:
        """The gradient of sum(cotangent * (W x)) with respect to the kernel, of its shape.

        Args:
            cotangent: (m, batch).
            x: (n, batch).
        """
        height, width = self.image_shape
        w = cotangent.reshape(self.channels, -1, cotangent.shape[1])
        images = x[: x.shape[0] - self.time].reshape(self.channels_in, height * width, x.shape[1])
        taps = [np.einsum("opb,ipb->oi", w[:, target], images[:, source]) for target, source in self._moves()]
        if self.time:
            ends = [w[:, target].sum(axis=1) @ x[-1] for target, _ in self._moves()]
            taps = [np.column_stack(pair) for pair in zip(taps, ends, strict=True)]
        return np.stack(taps, axis=-1).reshape(self.kernel.shape)

    def kernel_gradient(self, matrix_gradient: FloatArray) -> FloatArray:
        """dL/d(kernel), (..., *kernel.shape), from dL/dW, (..., m, n)."""
        height, width = self.image_shape
        lead = matrix_gradient.shape[:-2]
        of_images = matrix_gradient[..., : self.shape[1] - self.time]
        blocks = of_images.reshape(*lead, self.channels, -1, self.channels_in, height * width)
        taps = [blocks[..., target, :, source].sum(axis=0) for target, source in self._moves()]
        if self.time:
            column = matrix_gradient[..., -1].reshape(*lead, self.channels, -1)
            ends = [column[..., target].sum(axis=-1, keepdims=True) for target, _ in self._moves()]
            taps = [np.concatenate(pair, axis=-1) for pair in zip(taps, ends, strict=True)]
        return np.stack(taps, axis=-1).reshape(*lead, *self.kernel.shape)

    def with_kernel(self, kernel: ArrayLike) -> Convolution:
        """The same convolution with another kernel."""
        return Convolution(kernel, self.image_shape, self.padding, self.stride, self.margin, self.time)

    def less_transpose(self, taps: FloatArray) -> FloatArray:
        """The kernel of W - W^T from that of W, (..., *kernel.shape); its own adjoint. A time stays out of W^T.

        Raises:
            InvalidInputError: The size is even, so that the kernel of W^T does not lie in the same window, or the
                channels that come out are not as many as go in.
        """
        if kernel_size(self.kernel.shape[-1]) % 2 == 0 or self.channels != self.channels_in:
            raise InvalidInputError(
                "W - W^T is a convolution with a kernel of the same size for one of odd size from channels to as many, "
                f"got a kernel of shape {self.kernel.shape}"
            )
        if self.kernel.ndim == 1:
            return taps - taps[..., ::-1]
        images, time = np.split(taps, [self.channels], axis=-2)
        return np.concatenate([images - images[..., ::-1].swapaxes(-3, -2), time], axis=-2)

    def to_dense(self) -> FloatArray:
        return self.matrix.copy()

    def _forward(self, x: FloatArray) -> FloatArray:
        return np.asarray(self._product @ x)

    def _transposed(self, y: FloatArray) -> FloatArray:
        return np.asarray(self._product.T @ y)

    @property
    def _product(self) -> FloatArray | csr_array:
        return self.sparse if self.large else self.matrix

    @property
    def _kept(self) -> NDArray[np.intp]:
        """The pixels of stride 1 that are kept."""
        (height, width), (first, last) = self.image_shape, self.margin
        pixels = np.arange(height * width).reshape(height, width)
        return pixels[first : height - last : self.stride, first : width - last : self.stride].ravel()

    def _moves(self) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
        """For each tap the pixels it writes and those it reads there, both as flat indices of their own images."""
        height, width = self.image_shape
        place = np.full(height * width, -1)
        place[self._kept] = np.arange(self._kept.size)
        for target, source in moves(height, width, kernel_size(self.kernel.shape[-1]), self.padding):
            inside = place[target] >= 0
            yield place[target[inside]], source[inside]
