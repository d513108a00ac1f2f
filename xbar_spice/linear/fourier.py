"""Circular convolutions in the Fourier domain, as arrays: transform, multiply, transform back.

With the unitary transform F of m points and a complex vector kept as two real ones, u + iv -> [u; v],

    F = C - iS   ->   [[C, S], [-S, C]],   a real orthogonal 2m x 2m array; its transposed read is the inverse.

A convolution multiplies each frequency k of the transformed image by a number, s_k = a + ib for one channel, which is
an array of blocks [[a, -b], [b, a]]; several channels have two rows and columns each in a block. An image of height x
width takes two array products there (rows, columns), the blocks, and two transposed products back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xbar_spice.checks import checked
from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.convolution import convolution_matrix
from xbar_spice.linear.operator import FloatArray, LinearOperator, as_operator

__all__ = [
    "FourierConvolution",
    "FourierMatrices",
    "block_diagonal",
    "fourier_matrices",
    "fourier_transform",
    "frequency_response",
]


def fourier_transform(points: int) -> FloatArray:
    """The unitary discrete Fourier transform as a real orthogonal matrix, (2 points, 2 points).

    Example:
        >>> fourier_transform(2) @ [1.0, -1.0, 0.0, 0.0] * 2**0.5  # real parts, then imaginary parts
        array([0., 2., 0., 0.])
    """
    if points < 1:
        raise InvalidInputError(f"a Fourier transform has at least one point, got {points}")
    # The angle is taken modulo a full turn as an integer, so that large transforms stay orthogonal to rounding.
    angle = 2.0 * np.pi * (np.outer(np.arange(points), np.arange(points)) % points) / points
    cosine, sine = np.cos(angle) / np.sqrt(points), np.sin(angle) / np.sqrt(points)
    return np.block([[cosine, sine], [-sine, cosine]])


@final
@dataclass(frozen=True, eq=False)
class FourierMatrices:
    """What to program for a convolution in the Fourier domain.

    Attributes:
        rows: Transform along the rows of an image, (2 width, 2 width).
        columns: Transform along its columns, (2 height, 2 height).
        blocks: Block-diagonal, (2 c_out height width, 2 c_in height width); frequency by frequency, there channel by
            channel, there real and imaginary part.
        image_shape: (height, width).
    """

    rows: FloatArray
    columns: FloatArray
    blocks: FloatArray
    image_shape: tuple[int, int]

    @property
    def devices(self) -> dict[str, int]:
        """Cells of each array, of the blocks those inside them only, and in all; against the convolution matrix."""
        pixels = self.image_shape[0] * self.image_shape[1]
        counts = {"rows": self.rows.size, "columns": self.columns.size, "blocks": self.blocks.size // pixels}
        return counts | {"fourier": sum(counts.values()), "direct": self.blocks.size // 4}


@checked()
def fourier_matrices(kernel: ArrayLike, image_shape: tuple[int, int]) -> FourierMatrices:
    """The arrays whose composition is `convolution_matrix(kernel, image_shape, "circular")`.

    Args:
        kernel: As for `convolution_matrix`.
        image_shape: (height, width).

    Raises:
        InvalidInputError: As for `convolution_matrix`.

    Example:
        >>> fourier_matrices(np.ones(9), (8, 8)).devices
        {'rows': 256, 'columns': 256, 'blocks': 256, 'fourier': 768, 'direct': 4096}
    """
    height, width = image_shape
    pixels = height * width
    direct = convolution_matrix(kernel, image_shape)
    response = frequency_response(direct.reshape(direct.shape[0], -1, pixels)[..., 0], image_shape)
    return FourierMatrices(
        fourier_transform(width),
        fourier_transform(height),
        block_diagonal(response.reshape(pixels, *response.shape[2:])),
        (height, width),
    )


def frequency_response(columns: FloatArray, image_shape: tuple[int, int]) -> NDArray[np.complex128]:
    """(height, width, c_out, c_in) what each frequency is multiplied by.

    Args:
        columns: (c_out height width, c_in) those of the convolution matrix that belong to the first pixels.
        image_shape: (height, width).
    """
    impulses = columns.reshape(-1, *image_shape, columns.shape[1])
    return np.fft.fft2(impulses, axes=(1, 2)).transpose(1, 2, 0, 3)  # of each output channel to each input channel


def block_diagonal(response: NDArray[np.complex128]) -> FloatArray:
    """(2 c_out frequencies, 2 c_in frequencies) matrix with [[a, -b], [b, a]] for a + ib, of (frequencies, ...)."""
    count, channels_out, channels_in = response.shape
    blocks = np.zeros((count, channels_out, 2, count, channels_in, 2))
    for k, s in enumerate(response):
        blocks[k, :, 0, k, :, 0], blocks[k, :, 0, k, :, 1] = s.real, -s.imag
        blocks[k, :, 1, k, :, 0], blocks[k, :, 1, k, :, 1] = s.imag, s.real
    return blocks.reshape(2 * channels_out * count, 2 * channels_in * count)


@final
class FourierConvolution(LinearOperator):
    """A convolution made of three arrays; an operator like its matrix, of (c_out pixels, c_in pixels).

    Forward it reads rows, columns and blocks forward, then columns and rows transposed; transposed it reads the same
    arrays the other way round.

    Args:
        rows: Array of `FourierMatrices.rows`.
        columns: Array of `FourierMatrices.columns`.
        blocks: Array of `FourierMatrices.blocks`.
        image_shape: (height, width).

    Raises:
        InvalidInputError: The shapes of the arrays do not belong to the image.

    Example:
        >>> made = fourier_matrices([0, 1, 0, 0, 0, 0, 0, 0, 0], (1, 3))
        >>> operator = FourierConvolution(made.rows, made.columns, made.blocks, made.image_shape)
        >>> operator.mv([1.0, 2.0, 3.0])
        array([2., 3., 1.])
    """

    @checked()
    def __init__(
        self,
        rows: ArrayLike | LinearOperator,
        columns: ArrayLike | LinearOperator,
        blocks: ArrayLike | LinearOperator,
        image_shape: tuple[int, int],
    ) -> None:
        self._rows, self._columns, self._blocks = (
            as_operator(rows, "rows"),
            as_operator(columns, "columns"),
            as_operator(blocks, "blocks"),
        )
        self._height, self._width = image_shape
        pixels = self._height * self._width
        for name, operator, points in (("rows", self._rows, self._width), ("columns", self._columns, self._height)):
            if operator.shape != (2 * points, 2 * points):
                raise InvalidInputError(
                    f"{name} of images of shape {image_shape} must have shape {(2 * points, 2 * points)}, "
                    f"got {operator.shape}"
                )
        if any(length % (2 * pixels) for length in self._blocks.shape):
            raise InvalidInputError(
                f"blocks of images of shape {image_shape} must have shape (2 c_out {pixels}, 2 c_in {pixels}), "
                f"got {self._blocks.shape}"
            )

    @property
    def shape(self) -> tuple[int, int]:
        rows, cols = self._blocks.shape
        return rows // 2, cols // 2

    def _forward(self, x: FloatArray) -> FloatArray:
        return self._from_spectrum(self._blocks.mv(self._to_spectrum(x)))

    def _transposed(self, y: FloatArray) -> FloatArray:
        return self._from_spectrum(self._blocks.T.mv(self._to_spectrum(y)))

    def _to_spectrum(self, images: FloatArray) -> FloatArray:
        """(channels pixels, batch) to (2 channels pixels, batch), ordered by frequency, channel and part."""
        real = images.reshape(-1, self._height, self._width, images.shape[1])
        parts = np.stack([real, np.zeros_like(real)])  # (part, channel, row, column, batch)
        parts = _along(self._rows, parts, axis=3)
        parts = _along(self._columns, parts, axis=2)
        return parts.transpose(2, 3, 1, 0, 4).reshape(-1, images.shape[1])

    def _from_spectrum(self, spectrum: FloatArray) -> FloatArray:
        """The way back, by transposed reads; of the result the real part is the image."""
        parts = spectrum.reshape(self._height, self._width, -1, 2, spectrum.shape[1]).transpose(3, 2, 0, 1, 4)
        parts = _along(self._columns.T, parts, axis=2)
        parts = _along(self._rows.T, parts, axis=3)
        image: FloatArray = parts[0].reshape(-1, spectrum.shape[1])
        return image


def _along(operator: LinearOperator, parts: FloatArray, axis: int) -> FloatArray:
    """One batched product for all lines of all images along an axis, their parts one below the other."""
    lines = np.moveaxis(parts, axis, 1)
    image = operator.mv(lines.reshape(operator.shape[1], -1))
    moved: FloatArray = np.moveaxis(image.reshape(lines.shape), 1, axis)
    return moved
