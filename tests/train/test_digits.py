"""The digits: their split is fixed by its seed, and jitter moves images by parts of a pixel."""

from __future__ import annotations

import numpy as np
import pytest

from xbar_spice.errors import InvalidInputError
from xbar_spice.train.digits import jittered, load_digits
from xbar_spice.train.samples import Samples


def test_a_quarter_is_held_back_and_pixels_lie_in_0_to_1() -> None:
    digits = load_digits()
    assert (digits.train.x.shape, digits.test.x.shape) == ((64, 1347), (64, 450))
    for samples in (digits.train, digits.test):
        assert (samples.x.min(), samples.x.max()) == (0.0, 1.0)
        assert len(samples) == samples.labels.size


def test_every_class_has_its_share() -> None:
    digits = load_digits()
    held_back = np.bincount(digits.test.labels)
    everything = held_back + np.bincount(digits.train.labels)
    assert np.abs(held_back - everything / 4).max() <= 1


def test_no_image_is_in_both_parts_and_none_is_lost() -> None:
    from sklearn import datasets

    digits = load_digits()
    together = np.hstack([digits.train.x, digits.test.x])
    pixels = datasets.load_digits().data.T / 16
    np.testing.assert_array_equal(together[:, np.lexsort(together)], pixels[:, np.lexsort(pixels)])


def test_the_seed_fixes_the_split() -> None:
    np.testing.assert_array_equal(load_digits(3).test.x, load_digits(3).test.x)
    assert not np.array_equal(load_digits(3).test.x, load_digits(4).test.x)
    with pytest.raises(InvalidInputError, match="seed must be a whole number >= 0, got -1"):
        load_digits(-1)


def test_samples_that_do_not_belong_together() -> None:
    with pytest.raises(InvalidInputError, match=r"got \(64, 3\) and \(2,\)"):
        Samples(np.zeros((64, 3)), np.zeros(2, dtype=np.int64))


def test_a_moved_point_spreads_over_its_neighbours() -> None:
    """A move of (dy, dx) leaves |dy| and |dx| of a pixel's content to the neighbours on that side."""
    image = np.zeros((8, 8))
    image[3, 4] = 1.0
    points = Samples(np.tile(image.reshape(64, 1), 50), np.zeros(50, dtype=np.int64))
    moved = jittered(points, 0.8, np.random.default_rng(0)).x.reshape(8, 8, 50)
    np.testing.assert_allclose(moved.sum(axis=(0, 1)), 1.0)
    expected = np.random.default_rng(0).uniform(-0.8, 0.8, size=(2, 50))
    rows, cols = np.mgrid[:8, :8]
    np.testing.assert_allclose(np.einsum("yxs,yx->s", moved, rows) - 3, expected[0], atol=1e-12)
    np.testing.assert_allclose(np.einsum("yxs,yx->s", moved, cols) - 4, expected[1], atol=1e-12)


def test_what_leaves_the_image_is_lost() -> None:
    ones = Samples(np.ones((64, 20)), np.zeros(20, dtype=np.int64))
    moved = jittered(ones, 1.0, np.random.default_rng(0)).x.reshape(8, 8, 20)
    np.testing.assert_allclose(moved[1:-1, 1:-1], 1.0)
    assert (moved.sum(axis=(0, 1)) < 64).all()


def test_no_jitter_changes_nothing() -> None:
    samples = load_digits().test
    np.testing.assert_array_equal(jittered(samples, 0.0, np.random.default_rng(0)).x, samples.x)


@pytest.mark.parametrize("pixels", [-0.1, 1.5, float("nan")])
def test_jitter_of_more_than_a_pixel(pixels: float) -> None:
    with pytest.raises(InvalidInputError, match=r"must be in \[0, 1\] pixels"):
        jittered(load_digits().test, pixels, np.random.default_rng(0))
