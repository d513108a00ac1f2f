"""A circular convolution as matrices with names, each of which may be on an array of its own."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from math import gcd
from typing import Self, final

import numpy as np

from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.compose import BlockDiagonalOperator
from xbar_spice.linear.convolution import Convolution
from xbar_spice.linear.fourier import FourierConvolution, block_diagonal, fourier_transform, frequency_response
from xbar_spice.linear.operator import FloatArray, LinearOperator, as_operator

__all__ = ["BlockDiagonalMatrix", "FourierForm"]


@final
class BlockDiagonalMatrix(LinearOperator):
    """A matrix with blocks along its diagonal, of which arrays hold the blocks alone.

    Args:
        matrix: (m, n), zero outside its blocks.
        tile: A length that divides those of all blocks.
    """

    def __init__(self, matrix: FloatArray, tile: int) -> None:
        self._whole, self.tile = as_operator(matrix), tile
        self.matrix = matrix

    @property
    def shape(self) -> tuple[int, int]:
        return self._whole.shape

    def _forward(self, x: FloatArray) -> FloatArray:
        return self._whole.mv(x)

    def _transposed(self, y: FloatArray) -> FloatArray:
        return self._whole.T.mv(y)


@final
class FourierForm(LinearOperator):
    """A circular convolution that transforms, multiplies each frequency and transforms back.

    Its matrices are "rows" and "columns", the transforms along either axis of an image, and "frequencies0",
    "frequencies1", ..., the blocks of all frequencies of one row of the spectrum; see `FourierMatrices`.

    Args:
        convolution: What it equals.

    Raises:
        InvalidInputError: It is not circular, has a stride or a margin, or a time channel.

    Example:
        >>> form = FourierForm(Convolution([0, 1, 0, 0, 0, 0, 0, 0, 0], (1, 3)))
        >>> form.mv([1.0, 2.0, 3.0]).round(12), list(form.parts)
        (array([2., 3., 1.]), ['rows', 'columns', 'frequencies0'])
    """

    def __init__(self, convolution: Convolution) -> None:
        plain = convolution.stride == 1 and not any(convolution.margin) and not convolution.time
        if convolution.padding != "circular" or not plain:
            raise InvalidInputError(
                "a Fourier form is that of a circular convolution with stride 1 and without a time channel, got "
                f"padding {convolution.padding!r}, stride {convolution.stride}, margin {convolution.margin}, "
                f"{'a' if convolution.time else 'no'} time channel; leave 'fourier' out of on_arrays"
            )
        self.convolution = convolution
        height, width = convolution.image_shape
        first = np.zeros((convolution.shape[1], convolution.channels_in))
        first[np.arange(convolution.channels_in) * height * width, np.arange(convolution.channels_in)] = 1.0
        response = frequency_response(convolution.mv(first), (height, width))
        tile = 2 * gcd(convolution.channels, convolution.channels_in)
        self.parts: Mapping[str, LinearOperator] = {
            "rows": as_operator(fourier_transform(width)),
            "columns": as_operator(fourier_transform(height)),
            **{f"frequencies{k}": BlockDiagonalMatrix(block_diagonal(s), tile) for k, s in enumerate(response)},
        }
        self._whole = self._composed()

    def _composed(self) -> FourierConvolution:
        parts = dict(self.parts)
        rows, columns = parts.pop("rows"), parts.pop("columns")
        return FourierConvolution(
            rows, columns, BlockDiagonalOperator(list(parts.values())), self.convolution.image_shape
        )

    def with_parts(self, parts: Mapping[str, LinearOperator]) -> Self:
        """The same with other operators, such as arrays, in place of its matrices of these names."""
        made = copy(self)
        made.parts = {name: parts.get(name, operator) for name, operator in self.parts.items()}
        made._whole = made._composed()
        return made

    def matrix_gradient(self, of_parts: Mapping[str, FloatArray]) -> FloatArray:
        """The gradient of the convolution matrix, of which the kernel's is made, from those of its matrices.

        The transforms are what they are: only frequencies follow the kernel.

        Args:
            of_parts: (..., m, n) by name.

        Returns:
            (..., c_out height width, c_in height width), zero but for the columns that the frequencies are made of.
        """
        (height, width), convolution = self.convolution.image_shape, self.convolution
        found = []
        for k in range(height):
            whole = of_parts[f"frequencies{k}"]
            lead = whole.shape[:-2]
            blocks = whole.reshape(*lead, width, convolution.channels, 2, width, convolution.channels_in, 2)
            own = np.moveaxis(np.diagonal(blocks, axis1=-6, axis2=-3), -1, len(lead))  # (..., width, c_out, 2, c_in, 2)
            real = own[..., 0, :, 0] + own[..., 1, :, 1]
            found.append(real + 1j * (own[..., 1, :, 0] - own[..., 0, :, 1]))
        spectrum = np.stack(found, axis=len(lead))  # (..., height, width, c_out, c_in)
        axes = (len(lead), len(lead) + 1)
        impulses = height * width * np.fft.ifft2(spectrum, axes=axes).real  # the transposed transform
        gradient = np.zeros((*lead, convolution.channels, height * width, convolution.channels_in, height * width))
        gradient[..., 0] = np.moveaxis(impulses.reshape(*lead, height * width, *impulses.shape[-2:]), -3, -2)
        return gradient.reshape(*lead, *self.shape)

    @property
    def shape(self) -> tuple[int, int]:
        return self.convolution.shape

    @property
    def channels(self) -> int:
        return self.convolution.channels

    @property
    def channels_in(self) -> int:
        return self.convolution.channels_in

    @property
    def keeps_kernel(self) -> bool:
        return self.convolution.keeps_kernel

    def outer(self, cotangent: FloatArray, x: FloatArray) -> FloatArray:
        return self.convolution.outer(cotangent, x)

    def _forward(self, x: FloatArray) -> FloatArray:
        return self._whole.mv(x)

    def _transposed(self, y: FloatArray) -> FloatArray:
        return self._whole.T.mv(y)
