"""GMRES on batches of small dense systems, whose solutions are known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.doubles import Systems

from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.operator import FloatArray
from xbar_spice.solve.linear_solvers.krylov import KrylovOptions, solve_linear


def random_systems(seed: int, n: int, batch: int, size: float) -> tuple[Systems, FloatArray]:
    rng = np.random.default_rng(seed)
    jacobians = rng.normal(size=(batch, n, n)) * size / np.sqrt(n)
    return Systems(np.eye(n) - jacobians), rng.normal(size=(n, batch))


@settings(deadline=None, max_examples=60)
@given(
    n=st.integers(1, 40),
    batch=st.integers(1, 6),
    size=st.floats(0.0, 3.0),
    seed=st.integers(0, 2**32 - 1),
)
def test_reaches_rounding_times_condition(n: int, batch: int, size: float, seed: int) -> None:
    systems, rhs = random_systems(seed, n, batch, size)
    result = solve_linear(systems, rhs, KrylovOptions(rtol=1e-14))
    expected = systems.solution(rhs)
    error = np.linalg.norm(result.x - expected, axis=0) / np.linalg.norm(expected, axis=0)
    condition = np.linalg.cond(systems.matrices)
    assert np.all((error < 1e-13 * condition) | (condition > 1e6))
    assert np.all(result.converged | (condition > 1e6))
    np.testing.assert_array_equal(result.iterations, systems.products)


def test_converged_samples_cost_no_product() -> None:
    """Sample i has i + 1 distinct eigenvalues and takes as many products; zero right-hand sides take none."""
    matrices = np.array([np.diag(np.minimum(np.arange(8), i) + 1.0) for i in range(8)])
    systems, rhs = Systems(matrices), np.ones((8, 8))
    rhs[:, 3] = 0.0
    result = solve_linear(systems, rhs)
    np.testing.assert_array_equal(systems.products, [1, 2, 3, 0, 5, 6, 7, 8])
    np.testing.assert_array_equal(result.iterations, systems.products)
    assert result.converged.all()
    np.testing.assert_array_equal(result.x[:, 3], 0.0)
    assert systems.calls == 8
    assert systems.stages == list(range(1, 9))


def test_each_sample_meets_its_own_tolerance() -> None:
    systems, rhs = random_systems(1, 60, 3, 0.5)
    asked = np.array([1e-2, 1e-6, 1e-12])
    result = solve_linear(systems, rhs, rtol=asked)
    left = np.linalg.norm(rhs - np.einsum("aij,ja->ia", systems.matrices, result.x), axis=0)
    relative = left / np.linalg.norm(rhs, axis=0)
    assert np.all(relative <= asked)
    np.testing.assert_allclose(result.residual, relative, rtol=1e-2, atol=1e-15)
    assert list(result.iterations) == sorted(set(result.iterations.tolist()))


def test_batch_equals_singles() -> None:
    systems, rhs = random_systems(2, 25, 5, 0.8)
    together = solve_linear(systems, rhs)
    for sample in range(5):
        alone = solve_linear(Systems(systems.matrices[[sample]]), rhs[:, [sample]])
        np.testing.assert_allclose(together.x[:, [sample]], alone.x, rtol=0, atol=1e-13)
        assert abs(together.iterations[sample] - alone.iterations[0]) <= 1


@pytest.mark.parametrize("restart", [1, 3, 7, 100])
def test_restarted_cycles_reach_the_same_solution(restart: int) -> None:
    systems, rhs = random_systems(3, 30, 4, 0.4)
    result = solve_linear(systems, rhs, KrylovOptions(restart=restart))
    assert result.converged.all()
    np.testing.assert_allclose(result.x, systems.solution(rhs), rtol=0, atol=1e-12)


def test_singular_systems_are_reported_unless_the_solution_lies_in_their_krylov_space() -> None:
    """A nilpotent matrix gives e_1 no Krylov space at all; diag(2, 0) has e_1 in its range but not (1, 1)."""
    systems = Systems(np.array([[[0.0, 1.0], [0.0, 0.0]]] * 2 + [[[2.0, 0.0], [0.0, 0.0]]] * 2))
    result = solve_linear(systems, np.array([[1.0, 0.0, 1.0, 1.0], [0.0, 1.0, 0.0, 1.0]]))
    np.testing.assert_array_equal(result.converged, [False, False, True, False])
    np.testing.assert_allclose(result.x[:, 2], [0.5, 0.0], atol=1e-15)
    np.testing.assert_allclose(result.residual[[0, 1, 3]], [1.0, 1.0, np.sqrt(0.5)], rtol=1e-12)
    assert systems.products.max() <= 5


def test_near_singular_system_is_not_called_converged() -> None:
    """At condition 1e15 rounding leaves a visible residual, whatever the recurrence claims."""
    scales = np.geomspace(1.0, 1e-15, 12)
    result = solve_linear(Systems(np.diag(scales)[np.newaxis]), np.ones((12, 1)))
    assert not result.converged[0]
    assert np.isfinite(result.x).all()


def test_iteration_limit_is_kept_and_reported() -> None:
    systems, rhs = random_systems(4, 50, 3, 0.9)
    result = solve_linear(systems, rhs, KrylovOptions(max_iterations=7))
    assert not result.converged.any()
    np.testing.assert_array_equal(systems.products, 7)
    left = np.linalg.norm(rhs - np.einsum("aij,ja->ia", systems.matrices, result.x), axis=0)
    np.testing.assert_allclose(result.residual, left / np.linalg.norm(rhs, axis=0), rtol=1e-10)


def test_samples_that_are_not_finite_leave_the_others_alone() -> None:
    systems, rhs = random_systems(5, 10, 4, 0.3)
    systems.matrices[2] = np.nan
    rhs[0, 1] = np.inf
    result = solve_linear(systems, rhs)
    np.testing.assert_array_equal(result.converged, [True, False, False, True])
    assert systems.products[1] == 0
    np.testing.assert_array_equal(result.x[:, [1, 2]], 0.0)
    expected = np.linalg.solve(systems.matrices[[0, 3]], rhs[:, [0, 3]].T[..., np.newaxis])[..., 0].T
    np.testing.assert_allclose(result.x[:, [0, 3]], expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("scale", [1e-100, 1e100])
def test_scale_of_the_right_hand_side_does_not_matter(scale: float) -> None:
    systems, rhs = random_systems(6, 12, 3, 0.5)
    result = solve_linear(systems, scale * rhs)
    assert result.converged.all()
    np.testing.assert_allclose(result.x / scale, systems.solution(rhs), rtol=0, atol=1e-13)


@pytest.mark.parametrize("options", [{"rtol": -1e-3}, {"rtol": 1.0}, {"max_iterations": 0}, {"restart": 0}])
def test_bad_options_are_named(options: dict[str, float]) -> None:
    with pytest.raises(InvalidInputError, match=f"{next(iter(options))}.* got"):
        KrylovOptions(**options)  # type: ignore[arg-type]
