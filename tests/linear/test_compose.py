"""Operators made of operators: copies that are averaged, blocks along a diagonal."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import block_diag
from support import relative

from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.compose import BlockDiagonalOperator, MeanOperator
from xbar_spice.linear.operator import DenseOperator


def test_a_mean_of_copies_and_its_transpose(rng: np.random.Generator) -> None:
    copies = rng.normal(size=(5, 3, 4))
    mean = MeanOperator([DenseOperator(copy) for copy in copies])
    x, y = rng.normal(size=(4, 2)), rng.normal(size=(3, 2))
    assert relative(mean.mv(x), copies.mean(axis=0) @ x) < 1e-15
    assert relative(mean.T.mv(y), copies.mean(axis=0).T @ y) < 1e-15


@pytest.mark.parametrize("shapes", [[(2, 2)], [(2, 2), (2, 2), (2, 2)], [(1, 3), (4, 2), (2, 2)]])
def test_blocks_along_a_diagonal_and_their_transpose(shapes: list[tuple[int, int]], rng: np.random.Generator) -> None:
    blocks = [rng.normal(size=shape) for shape in shapes]
    dense = block_diag(*blocks)
    operator = BlockDiagonalOperator([DenseOperator(block) for block in blocks])
    assert operator.shape == dense.shape
    x, y = rng.normal(size=(dense.shape[1], 3)), rng.normal(size=(dense.shape[0], 3))
    assert relative(operator.mv(x), dense @ x) < 1e-15
    assert relative(operator.T.mv(y), dense.T @ y) < 1e-15


def test_what_cannot_be_composed_is_named() -> None:
    with pytest.raises(InvalidInputError, match=r"operators of one shape, got \[\(1, 1\), \(2, 2\)\]"):
        MeanOperator([DenseOperator([[1.0]]), DenseOperator(np.eye(2))])
    with pytest.raises(InvalidInputError, match="operators of one shape, got"):
        MeanOperator([])
    with pytest.raises(InvalidInputError, match="at least one block"):
        BlockDiagonalOperator([])
