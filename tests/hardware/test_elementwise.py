"""Formulas computed block by block."""

import numpy as np
import pytest

from xbar_spice.hardware.elementwise import BLOCK, in_blocks


@pytest.mark.parametrize(
    ("first", "second"),
    [((), ()), ((3, 1), (1, 4)), ((BLOCK + 1,), (2, 1)), ((300, 70), (2, 300, 70)), ((0, 3), (0, 3))],
)
def test_blocks_change_nothing(first, second, rng):
    one, other = rng.random(first), rng.random(second)
    whole = np.arctan2(one, other)
    found = in_blocks(np.arctan2, one, other)
    assert found.shape == whole.shape
    assert np.allclose(found, whole, rtol=1e-15, atol=0)


def test_no_block_is_longer_than_the_cache_takes(rng):
    lengths = []

    def noted(one, other):
        lengths.append(one.size)
        return one + other

    in_blocks(noted, rng.random((3, BLOCK)), rng.random(BLOCK))
    assert max(lengths) <= BLOCK
    assert sum(lengths) == 3 * BLOCK
