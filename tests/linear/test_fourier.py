"""Convolutions in the Fourier domain against their matrices."""

from __future__ import annotations

import numpy as np
import pytest
from support import relative
from support.doubles import Recorded

from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.convolution import convolution_matrix
from xbar_spice.linear.fourier import FourierConvolution, fourier_matrices, fourier_transform
from xbar_spice.linear.operator import FloatArray
from xbar_spice.solve.adjoint.discrete import gradients
from xbar_spice.solve.fields.field import ReluField
from xbar_spice.solve.integrators.integration import integrate

KERNELS = [(9,), (25,), (1,), (2, 3, 9), (3, 1, 9)]
IMAGES = [(4, 4), (5, 3), (1, 6), (2, 2), (8, 7), (28, 28)]


def composed(kernel: FloatArray, image_shape: tuple[int, int]) -> FourierConvolution:
    made = fourier_matrices(kernel, image_shape)
    return FourierConvolution(made.rows, made.columns, made.blocks, made.image_shape)


@pytest.mark.parametrize("points", [1, 2, 3, 8, 28, 101])
def test_transform_is_orthogonal_and_that_of_numpy(points: int) -> None:
    F = fourier_transform(points)
    np.testing.assert_allclose(F.T @ F, np.eye(2 * points), atol=1e-14)
    rng = np.random.default_rng(0)
    u, v = rng.normal(size=(2, points))
    expected = np.fft.fft(u + 1j * v, norm="ortho")
    np.testing.assert_allclose(F @ np.concatenate([u, v]), [*expected.real, *expected.imag], atol=1e-14)


@pytest.mark.parametrize("kernel_shape", KERNELS, ids=str)
@pytest.mark.parametrize("image_shape", IMAGES, ids=str)
def test_equals_the_circular_convolution_both_ways(kernel_shape: tuple[int, ...], image_shape: tuple[int, int]) -> None:
    if image_shape == (28, 28) and len(kernel_shape) > 1:
        image_shape = (9, 10)  # several channels of large images make large matrices
    rng = np.random.default_rng(1)
    kernel = rng.normal(size=kernel_shape)
    operator, direct = composed(kernel, image_shape), convolution_matrix(kernel, image_shape)
    assert operator.shape == direct.shape
    x, y = rng.normal(size=(direct.shape[1], 3)), rng.normal(size=(direct.shape[0], 3))
    assert relative(operator.mv(x), direct @ x) < 1e-12
    assert relative(operator.T.mv(y), direct.T @ y) < 1e-12


def test_trajectories_and_gradients_are_those_of_the_matrices() -> None:
    rng = np.random.default_rng(2)
    a, b, z0 = 0.3 * rng.normal(size=9), 0.3 * rng.normal(size=9), rng.normal(size=(16, 2))
    direct = integrate(ReluField(*(convolution_matrix(k, (4, 4)) for k in (a, b))), z0, h=0.2, steps=4)
    fourier = integrate(ReluField(composed(a, (4, 4)), composed(b, (4, 4))), z0, h=0.2, steps=4)
    assert relative(fourier.z, direct.z) < 1e-12
    wanted, found = gradients(direct, np.ones((16, 2))), gradients(fourier, np.ones((16, 2)))
    for name in ("A", "B", "z0"):
        assert relative(getattr(found, name), getattr(wanted, name)) < 1e-12


def test_reads_and_devices_are_counted() -> None:
    """Every row, then every column, once there and once back; the blocks once."""
    made = fourier_matrices(np.arange(9.0), (5, 3))
    arrays = Recorded(made.rows), Recorded(made.columns), Recorded(made.blocks)
    operator = FourierConvolution(*arrays, (5, 3))

    def counts() -> list[tuple[int, ...]]:
        return [tuple(array.vectors(direction=way) for way in ("forward", "transposed")) for array in arrays]

    operator.mv(np.ones(15))
    assert counts() == [(5, 5), (3, 3), (1, 0)]
    operator.T.mv(np.ones(15))
    assert counts() == [(10, 10), (6, 6), (1, 1)]
    assert made.devices == {"rows": 36, "columns": 100, "blocks": 60, "fourier": 196, "direct": 225}
    used = np.kron(np.eye(15), np.ones((2, 2)))
    assert not made.blocks[used == 0].any()
    channels = fourier_matrices(np.ones((2, 3, 9)), (4, 4)).devices
    assert (channels["blocks"], channels["direct"]) == (16 * 4 * 6, 16 * 16 * 6)


def test_arrays_that_do_not_belong_to_the_image_are_named() -> None:
    made = fourier_matrices(np.ones(9), (4, 3))
    with pytest.raises(InvalidInputError, match=r"rows of images of shape \(3, 4\) must have shape \(8, 8\)"):
        FourierConvolution(made.rows, made.columns, made.blocks, (3, 4))
    with pytest.raises(InvalidInputError, match=r"blocks .* \(2 c_out 12, 2 c_in 12\), got \(4, 4\)"):
        FourierConvolution(made.rows, made.columns, np.eye(4), (4, 3))
    with pytest.raises(InvalidInputError, match="at least one point, got 0"):
        fourier_transform(0)
