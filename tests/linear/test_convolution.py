"""Convolution matrices against scipy and numpy, and the adjoint identity of their gradients."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import convolve
from scipy.sparse import csr_array

from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.convolution import Convolution, Padding, convolution_matrix, kernel_gradient

ROLL_ORDER = [(-1, -1), (0, -1), (1, -1), (-1, 0), (0, 0), (1, 0), (-1, 1), (0, 1), (1, 1)]


def test_taps_follow_numpy_roll_rows_first() -> None:
    """Tap i of nine moves the image by ROLL_ORDER[i] over the axes (0, 1)."""
    image = np.arange(20.0).reshape(4, 5)
    for tap, shift in enumerate(ROLL_ORDER):
        moved = convolution_matrix(np.eye(9)[tap], image.shape) @ image.ravel()
        np.testing.assert_array_equal(moved.reshape(4, 5), np.roll(image, shift, axis=(0, 1)))


def test_zero_padding_drops_what_leaves_the_image() -> None:
    """A move by one row down leaves the first row empty instead of wrapping."""
    image = np.arange(1.0, 7.0).reshape(2, 3)
    moved = convolution_matrix(np.eye(9)[5], (2, 3), padding="zero") @ image.ravel()
    np.testing.assert_array_equal(moved.reshape(2, 3), [[0, 0, 0], [1, 2, 3]])


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
@pytest.mark.parametrize(("padding", "mode"), [("circular", "wrap"), ("zero", "constant")])
@pytest.mark.parametrize("shape", [(4, 4), (8, 8), (5, 7), (3, 6)])
def test_equals_scipy(size: int, padding: Padding, mode: Literal["wrap", "constant"], shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(size)
    kernel, image = rng.normal(size=size * size), rng.normal(size=shape)
    expected = convolve(image, kernel.reshape(size, size).T, mode=mode)
    actual = convolution_matrix(kernel, shape, padding) @ image.ravel()
    np.testing.assert_allclose(actual.reshape(shape), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("shape", [(1, 1), (1, 6), (6, 1), (2, 5), (2, 2)])
def test_taps_that_meet_on_a_narrow_image_add(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(7)
    kernel, image = rng.normal(size=9), rng.normal(size=shape)
    expected = sum(k * np.roll(image, shift, axis=(0, 1)) for k, shift in zip(kernel, ROLL_ORDER, strict=True))
    actual = convolution_matrix(kernel, shape) @ image.ravel()
    np.testing.assert_allclose(actual.reshape(shape), expected, rtol=0, atol=1e-13)


def test_state_of_several_channels_is_channel_major() -> None:
    """Output channel o is the sum over input channels i of the convolution with kernel[o, i]."""
    rng = np.random.default_rng(3)
    kernel, images = rng.normal(size=(2, 3, 9)), rng.normal(size=(3, 4, 5))
    actual = (convolution_matrix(kernel, (4, 5)) @ images.ravel()).reshape(2, 4, 5)
    for out in range(2):
        expected = sum(convolve(images[i], kernel[out, i].reshape(3, 3).T, mode="wrap") for i in range(3))
        np.testing.assert_allclose(actual[out], expected, rtol=0, atol=1e-13)


@settings(deadline=None, max_examples=60)
@given(
    height=st.integers(1, 5),
    width=st.integers(1, 5),
    channels=st.none() | st.tuples(st.integers(1, 3), st.integers(1, 3)),
    size=st.sampled_from([1, 2, 3, 4, 5]),
    padding=st.sampled_from(["circular", "zero"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_kernel_gradient_is_the_adjoint(
    height: int, width: int, channels: tuple[int, int] | None, size: int, padding: Padding, seed: int
) -> None:
    """<conv(k), G>_F = <k, kernel_gradient(G)>."""
    rng = np.random.default_rng(seed)
    kernel = rng.normal(size=(*(channels or ()), size * size))
    matrix = convolution_matrix(kernel, (height, width), padding)
    weights = rng.normal(size=matrix.shape)
    gradient = kernel_gradient(weights, (height, width), channels, size=size, padding=padding)
    assert gradient.shape == kernel.shape
    np.testing.assert_allclose(np.sum(matrix * weights), np.sum(kernel * gradient), rtol=1e-12, atol=1e-11)


@pytest.mark.parametrize(
    ("kernel", "shape", "padding", "message"),
    [
        (np.zeros(8), (4, 4), "circular", "got 8"),
        (np.zeros(5), (4, 4), "circular", "1, 4, 9"),
        (np.zeros((3, 3)), (4, 4), "circular", r"got \(3, 3\)"),
        (np.full(9, np.nan), (4, 4), "circular", "finite"),
        (np.zeros(9), (0, 4), "circular", r"got \(0, 4\)"),
        (np.zeros(9), (4, 4), "reflect", "'circular', 'zero'.*got 'reflect'"),
    ],
)
def test_bad_arguments_are_named(kernel: np.ndarray, shape: tuple[int, int], padding: Padding, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        convolution_matrix(kernel, shape, padding)


@pytest.mark.parametrize("padding", ["circular", "zero"])
@pytest.mark.parametrize(("size", "stride", "margin"), [(3, 1, 0), (4, 2, (0, 1)), (2, 1, 1)])
def test_a_time_channel_is_an_image_of_the_time(
    padding: Padding, size: int, stride: int, margin: int | tuple[int, int]
) -> None:
    """Products and gradients are those of a convolution with one more channel, which holds the time at each pixel."""
    rng, shape = np.random.default_rng(8), (5, 4)
    kernel = rng.normal(size=(3, 3, size, size))
    whole = Convolution(kernel, shape, padding, stride, margin)
    timed = Convolution(kernel, shape, padding, stride, margin, time=True)
    z, t, w = rng.normal(size=(40, 2)), rng.normal(size=(1, 2)), rng.normal(size=(whole.shape[0], 2))
    driven, images = np.vstack([z, t]), np.vstack([z, np.repeat(t, 20, axis=0)])
    np.testing.assert_allclose(timed.mv(driven), whole.mv(images), rtol=0, atol=1e-13)
    np.testing.assert_allclose(timed.sparse.toarray(), timed.matrix, rtol=0, atol=1e-14)
    expected = whole.gradient(w, images)
    np.testing.assert_allclose(timed.gradient(w, driven), expected, rtol=0, atol=1e-12)
    np.testing.assert_allclose(timed.kernel_gradient(w @ driven.T), expected, rtol=0, atol=1e-12)
    np.testing.assert_allclose(timed.sparse_gradient(csr_array(w @ driven.T)), expected, rtol=0, atol=1e-12)


def test_a_kernel_of_the_time_alone_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"\(c_out, c_in \+ 1, ...\), the time last, got \(2, 1, 9\)"):
        Convolution(np.ones((2, 1, 9)), (3, 3), time=True)


def test_bad_gradient_shapes_are_named() -> None:
    with pytest.raises(InvalidInputError, match=r"has shape \(4, 4\), got \(8, 4\); give channels"):
        kernel_gradient(np.zeros((8, 4)), (2, 2))
    with pytest.raises(InvalidInputError, match=">= 1"):
        kernel_gradient(np.zeros((4, 4)), (2, 2), size=0)


def test_gradients_with_leading_axes_are_taken_one_by_one() -> None:
    stacked = np.random.default_rng(5).normal(size=(2, 3, 24, 12))
    found = kernel_gradient(stacked, (3, 4), channels=(2, 1), padding="zero")
    assert found.shape == (2, 3, 2, 1, 9)
    for index in np.ndindex(2, 3):
        np.testing.assert_array_equal(
            found[index], kernel_gradient(stacked[index], (3, 4), channels=(2, 1), padding="zero")
        )
