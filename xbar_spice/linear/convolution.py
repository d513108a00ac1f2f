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
from functools import cached_property
from math import isqrt
from typing import Literal, final, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import coo_array, csr_array

from xbar_spice.checks import Array, checked
from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.operator import FloatArray, LinearOperator

__all__ = ["Convolution", "Padding", "convolution_matrix", "flat_kernel", "kernel_gradient", "square_kernel"]

Padding = Literal["circular", "zero"]

_MOST_ENTRIES = 2**27  # of a matrix: 1 GiB, which a few numbers in a file should not claim by a slip
_LARGEST_KERNEL = 127
_MOST_ENTRIES_OF_DENSE_PRODUCTS = 2**20  # below, products with the zeros are faster than those without them


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


def square_kernel(taps: FloatArray) -> FloatArray:
    """(c_out, c_in, q, q) as deep-learning frameworks have it, of (c_out, c_in, q*q): the way back of `flat_kernel`."""
    size = _kernel_size(taps.shape[-1])
    return np.swapaxes(taps.reshape(*taps.shape[:-1], size, size), -2, -1)[..., ::-1, ::-1]


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


@final
class Convolution(LinearOperator):
    """A convolution of images as a matrix that is known by its kernel, and kept without its zeros.

    Args:
        kernel: As for `convolution_matrix`.
        image_shape: (height, width) of what goes in.
        padding: As for `convolution_matrix`.
        stride: Of the pixels of what comes out, only every so many in either direction are kept, from the first one on.
        margin: Pixels at each edge of what comes out that are left out before. Half a kernel leaves those in which
            nothing from beyond an edge is, what frameworks call a convolution without padding.

    Raises:
        InvalidInputError: See `convolution_matrix`; the stride is below 1, or the margin leaves nothing.

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
        margin: int = 0,
    ) -> None:
        taps = np.array(Array()("kernel", flat_kernel(kernel)))
        taps.setflags(write=False)
        self.kernel: FloatArray = taps
        self.image_shape = _checked_image_shape(image_shape)
        self.padding: Padding = padding
        self.stride, self.margin = stride, margin
        if stride < 1:
            raise InvalidInputError(f"stride must be >= 1, got {stride}")
        if not 0 <= 2 * margin < min(self.image_shape):
            raise InvalidInputError(f"margin must leave a pixel of images of {self.image_shape}, got {margin}")
        next(_moves(1, 1, 1, padding))
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
        """Number of channels that go in."""
        return self.kernel.shape[1] if self.kernel.ndim == 3 else 1

    @property
    def output_shape(self) -> tuple[int, int]:
        """(height, width) of what comes out."""
        height, width = (pixels - 2 * self.margin for pixels in self.image_shape)
        return -(-height // self.stride), -(-width // self.stride)

    @property
    def shape(self) -> tuple[int, int]:
        (height, width), (rows, cols) = self.image_shape, self.output_shape
        return self.channels * rows * cols, self.channels_in * height * width

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
        (height, width), outputs = self.image_shape, self.shape[0] // self.channels
        total = np.zeros((self.channels, self.channels_in, self.kernel.shape[-1]))
        for tap, (target, source) in enumerate(self._moves()):
            for out, into in np.ndindex(total.shape[:2]):
                entries = matrix_gradient[out * outputs + target, into * height * width + source]
                total[out, into, tap] = entries.sum()
        return total.reshape(self.kernel.shape)

    @cached_property
    def sparse(self) -> csr_array:
        """(m, n) matrix without its zeros."""
        rows, cols, values = [], [], []
        taps = self.kernel.reshape(self.channels, self.channels_in, -1)
        (height, width), pixels_out = self.image_shape, self.shape[0] // self.channels
        for tap, (target, source) in enumerate(self._moves()):
            for out in range(self.channels):
                for into in range(self.channels_in):
                    rows.append(out * pixels_out + target)
                    cols.append(into * height * width + source)
                    values.append(np.full(target.size, taps[out, into, tap]))
        where = np.concatenate(rows), np.concatenate(cols)
        return csr_array(coo_array((np.concatenate(values), where), shape=self.shape))

    @cached_property
    def matrix(self) -> FloatArray:
        """(m, n) matrix with its zeros, which nobody can write to.

        Raises:
            InvalidInputError: It would be too large.
        """
        whole = convolution_matrix(self.kernel, self.image_shape, self.padding)
        if self.stride > 1 or self.margin:
            whole = np.ascontiguousarray(whole.reshape(self.channels, -1, self.shape[1])[:, self._kept])
        matrix = whole.reshape(self.shape)
        for part in (matrix, matrix.base):
            if isinstance(part, np.ndarray):
                part.setflags(write=False)
        return matrix

    def gradient(self, cotangent: FloatArray, x: FloatArray) -> FloatArray:
        """The gradient of sum(cotangent * (W x)) with respect to the kernel, of its shape.

        Args:
            cotangent: (m, batch).
            x: (n, batch).
        """
        height, width = self.image_shape
        w = cotangent.reshape(self.channels, -1, cotangent.shape[1])
        images = x.reshape(self.channels_in, height * width, x.shape[1])
        taps = [np.einsum("opb,ipb->oi", w[:, target], images[:, source]) for target, source in self._moves()]
        return np.stack(taps, axis=-1).reshape(self.kernel.shape)

    def kernel_gradient(self, matrix_gradient: FloatArray) -> FloatArray:
        """dL/d(kernel), (..., *kernel.shape), from dL/dW, (..., m, n)."""
        height, width = self.image_shape
        lead = matrix_gradient.shape[:-2]
        blocks = matrix_gradient.reshape(*lead, self.channels, -1, self.channels_in, height * width)
        taps = [blocks[..., target, :, source].sum(axis=0) for target, source in self._moves()]
        return np.stack(taps, axis=-1).reshape(*lead, *self.kernel.shape)

    def with_kernel(self, kernel: ArrayLike) -> Convolution:
        """The same convolution with another kernel."""
        return Convolution(kernel, self.image_shape, self.padding, self.stride, self.margin)

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
        (height, width), first = self.image_shape, self.margin
        pixels = np.arange(height * width).reshape(height, width)
        return pixels[first : height - first : self.stride, first : width - first : self.stride].ravel()

    def _moves(self) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
        """For each tap the pixels it writes and those it reads there, both as flat indices of their own images."""
        height, width = self.image_shape
        place = np.full(height * width, -1)
        place[self._kept] = np.arange(self._kept.size)
        for target, source in _moves(height, width, _kernel_size(self.kernel.shape[-1]), self.padding):
            inside = place[target] >= 0
            yield place[target[inside]], source[inside]


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
