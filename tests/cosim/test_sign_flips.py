"""Entries of gradients with the wrong sign."""

import numpy as np
import pytest

from xbar_spice.cosim import compare, sign_flips
from xbar_spice.errors import InvalidInputError


def test_flipped_entries_are_counted_and_measured_against_the_largest():
    reference = np.array([[8.0, -4.0, 0.0], [0.4, -0.08, 2.0]])
    found = np.array([[1.0, -4.0, 3.0], [-0.1, 0.5, 0.0]])
    flips = sign_flips(found, reference)
    assert flips.share == pytest.approx(2 / 5)  # 0.4 and -0.08 changed sides; 2 vanished, the zero does not count
    assert flips.largest == pytest.approx(0.05)
    assert flips.median == pytest.approx(0.03)
    assert flips.share_above(0.02) == pytest.approx(1 / 4)
    assert flips.share_above(0.1) == 0


def test_shares_are_those_of_the_comparison(rng):
    reference, found = rng.standard_normal((2, 20, 30))
    assert sign_flips(found, reference).share == pytest.approx(1 - compare(found, reference).sign_agreement)


@pytest.mark.parametrize("reference", [np.zeros(3), np.ones(3)])
def test_without_flips_all_is_zero(reference):
    flips = sign_flips(np.ones(3), reference)
    assert (flips.share, flips.largest, flips.median, flips.share_above(0.5)) == (0, 0, 0, 0)


def test_other_shapes_are_refused():
    with pytest.raises(InvalidInputError, match=r"one shape, got \(2,\) and \(3,\)"):
        sign_flips(np.ones(2), np.ones(3))
