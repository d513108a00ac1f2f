"""Newton's method for one implicit equation: solutions, convergence by sample, and what is done without one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.doubles import Noisy

from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.operator import FloatArray
from xbar_spice.solve.fields.activation import get_activation
from xbar_spice.solve.fields.field import ReluField
from xbar_spice.solve.fields.systems import parabolic_field
from xbar_spice.solve.linear_solvers.krylov import KrylovOptions
from xbar_spice.solve.newton.newton import NewtonOptions, solve_implicit


def random_matrices(rng: np.random.Generator, n: int, m: int) -> tuple[FloatArray, FloatArray]:
    """A and B with |A| = |B| = 1."""
    A, B = rng.normal(size=(m, n)), rng.normal(size=(n, m))
    return A / np.linalg.norm(A, 2), B / np.linalg.norm(B, 2)


@settings(deadline=None, max_examples=50)
@given(n=st.integers(1, 12), m=st.integers(1, 16), c=st.floats(1e-3, 0.9), seed=st.integers(0, 2**32 - 1))
def test_contractions_always_converge(n: int, m: int, c: float, seed: int) -> None:
    """Below c|A||B| = 1 the equation has exactly one solution."""
    rng = np.random.default_rng(seed)
    A, B = random_matrices(rng, n, m)
    base = rng.normal(size=(n, 5))
    result = solve_implicit(ReluField(A, B), base, c, base)
    assert result.converged.all()
    z = result.evaluation.z
    np.testing.assert_allclose(base + c * B @ np.maximum(A @ z, 0.0), z, rtol=0, atol=1e-13)
    assert result.iterations.max() <= 8


def test_last_evaluation_belongs_to_the_solution() -> None:
    rng = np.random.default_rng(1)
    A, B = random_matrices(rng, 6, 9)
    base = rng.normal(size=(6, 7))
    at = solve_implicit(ReluField(A, B), base, 0.9, base).evaluation
    np.testing.assert_array_equal(at.slope, A @ at.z > 0)
    np.testing.assert_allclose(at.hidden, np.maximum(A @ at.z, 0.0), rtol=0, atol=1e-15)
    np.testing.assert_allclose(at.value, B @ at.hidden, rtol=0, atol=1e-15)


def test_an_equation_without_root_is_reported_and_the_others_are_exact() -> None:
    """1 + 2 relu(z) = z has no solution; the neighbours z = -1 and z = 0 have."""
    field = ReluField([[1.0]], [[1.0]])
    base = np.array([[1.0, -1.0, 0.0, 3.0, -0.5]])
    result = solve_implicit(field, base, 2.0, base)
    np.testing.assert_array_equal(result.converged, [False, True, True, False, True])
    np.testing.assert_allclose(result.evaluation.z[0, [1, 2, 4]], [-1.0, 0.0, -0.5], rtol=1e-15)
    # The best that can be done is z = 0, where |F| = |base|.
    np.testing.assert_allclose(result.residual[[0, 3]], 1.0, rtol=0.2)
    assert np.isfinite(result.evaluation.z).all()


def test_what_is_far_from_contraction_is_solved_or_reported() -> None:
    rng = np.random.default_rng(5)
    A, B = random_matrices(rng, 8, 16)
    base = rng.normal(size=(8, 64))
    result = solve_implicit(ReluField(A, B), base, 8.0, base)
    assert 0 < result.converged.sum() < 64
    z = result.evaluation.z
    left = np.linalg.norm(base + 8.0 * B @ np.maximum(A @ z, 0.0) - z, axis=0)
    size = np.maximum(np.linalg.norm(base, axis=0), np.linalg.norm(z, axis=0))
    np.testing.assert_allclose(result.residual, left / size, rtol=1e-6, atol=1e-14)
    assert np.all((left / size < 1e-12) == result.converged)


def test_line_search_and_uphill_steps_find_roots_that_full_steps_from_the_start_miss() -> None:
    rng = np.random.default_rng(0)
    A, B = random_matrices(rng, 32, 64)
    base = rng.normal(size=(32, 64))
    field = ReluField(A, B)
    plain = solve_implicit(field, base, 4.0, base, NewtonOptions(max_backtracks=0, max_uphill=0, continuation=0))
    searched = solve_implicit(field, base, 4.0, base)
    assert searched.converged.sum() > plain.converged.sum()
    assert searched.converged.all()


@pytest.mark.parametrize("noise", [1e-15, 1e-12, 1e-11])
def test_rounding_of_reads_costs_one_cheap_step_more(noise: float) -> None:
    """Reads that carry rounding far above the tolerance are found out by one step with a loose linear solve."""
    rng = np.random.default_rng(3)
    A, B = random_matrices(rng, 32, 48)
    base = rng.normal(size=(32, 8))
    exact = solve_implicit(ReluField(A, B), base, 1.5, base)
    noisy = solve_implicit(ReluField(Noisy(A, noise, 1), Noisy(B, noise, 2)), base, 1.5, base)
    assert noisy.converged.all()
    assert np.all(noisy.iterations <= exact.iterations + 1)
    assert noisy.krylov_iterations.sum() < 1.25 * exact.krylov_iterations.sum()
    np.testing.assert_allclose(noisy.evaluation.z, exact.evaluation.z, rtol=0, atol=1e3 * noise + 1e-13)


def test_noise_above_the_floor_is_not_called_converged() -> None:
    rng = np.random.default_rng(3)
    A, B = random_matrices(rng, 16, 16)
    base = rng.normal(size=(16, 4))
    field = ReluField(Noisy(A, 1e-3, 1), Noisy(B, 1e-3, 2))
    plain = solve_implicit(field, base, 1.0, base)
    assert not plain.converged.any()
    assert plain.iterations.max() < 10
    aware = solve_implicit(field, base, 1.0, base, NewtonOptions(rtol=5e-3))
    assert aware.converged.all()
    assert aware.iterations.max() <= 4


def test_no_more_is_asked_of_the_linear_solve_than_newton_needs() -> None:
    rng = np.random.default_rng(4)
    A, B = random_matrices(rng, 64, 64)
    base = rng.normal(size=(64, 4))
    tight = solve_implicit(ReluField(A, B), base, 0.9, base)
    loose = solve_implicit(ReluField(A, B), base, 0.9, base, NewtonOptions(rtol=1e-4))
    assert loose.converged.all()
    assert loose.krylov_iterations.sum() < 0.5 * tight.krylov_iterations.sum()


def test_a_known_evaluation_saves_the_read_at_the_start() -> None:
    rng = np.random.default_rng(6)
    A, B = random_matrices(rng, 5, 6)
    counted = Noisy(A, 0.0, 0)
    field = ReluField(counted, B)
    base = rng.normal(size=(5, 1))
    start = ReluField(A, B).evaluate(base)
    solve_implicit(field, base, 0.5, base)
    without, counted.reads = counted.reads, 0
    solve_implicit(field, base, 0.5, start)
    assert counted.reads == without - 1


def test_a_solution_as_guess_costs_nothing_more() -> None:
    field = ReluField([[1.0]], [[1.0]])
    result = solve_implicit(field, np.array([[-2.0]]), 0.5, np.array([[-2.0]]))
    assert result.converged.all()
    assert result.iterations[0] == result.krylov_iterations[0] == 0


def test_overflow_ends_as_not_converged() -> None:
    field = ReluField([[1.0]], [[1.0]])
    base = np.array([[1e308, -1.0]])
    with np.errstate(over="ignore", invalid="ignore"):
        result = solve_implicit(field, base, 100.0, base)
    np.testing.assert_array_equal(result.converged, [False, True])


@pytest.mark.parametrize(
    "options",
    [
        {"rtol": -1.0},
        {"rtol": 1.0},
        {"floor": 2.0},
        {"max_iterations": 0},
        {"max_backtracks": -1},
        {"max_uphill": -1},
        {"continuation": -1},
    ],
)
def test_bad_options_are_named(options: dict[str, float]) -> None:
    with pytest.raises(InvalidInputError, match=f"{next(iter(options))}.* got"):
        NewtonOptions(**options)  # type: ignore[arg-type]


def test_a_linear_solve_cut_short_only_slows_newton_down() -> None:
    rng = np.random.default_rng(8)
    A, B = random_matrices(rng, 32, 32)
    base = rng.normal(size=(32, 3))
    result = solve_implicit(ReluField(A, B), base, 0.8, base, krylov=KrylovOptions(max_iterations=4))
    assert result.converged.all()
    assert result.iterations.max() > 3


@pytest.mark.parametrize(
    ("activation", "strength"),
    [("relu", 30.0), ("relu", 2e3), ("relu", 2e4), ("tanh", 2e3), ("sigmoid", 2e3), ("softplus", 2e3)],
)
@pytest.mark.parametrize("seed", range(6))
def test_stiff_contractions_converge(activation: str, strength: float, seed: int) -> None:
    """-K^T sig(K z) at large h|K|^2: units that jump from one saturation to the other must not look linear."""
    rng = np.random.default_rng(seed)
    K = rng.normal(size=(12, 8))
    K *= np.sqrt(strength) / np.linalg.norm(K, 2)
    base = rng.normal(size=(8, 10))
    result = solve_implicit(parabolic_field(K, activation), base, 1.0, base)
    assert result.converged.all()
    z = result.evaluation.z
    left = base - K.T @ get_activation(activation).value(K @ z) - z
    size = np.maximum(np.linalg.norm(base, axis=0), np.linalg.norm(z, axis=0))
    assert (np.linalg.norm(left, axis=0) <= 1e-12 * size).all()


def test_continuation_finds_what_newton_alone_misses_and_leaves_the_others_alone() -> None:
    rng = np.random.default_rng(0)
    K = rng.normal(size=(12, 8))
    K *= np.sqrt(2e4) / np.linalg.norm(K, 2)
    base = rng.normal(size=(8, 60))
    field = parabolic_field(K)
    plain = solve_implicit(field, base, 1.0, base, NewtonOptions(continuation=0))
    result = solve_implicit(field, base, 1.0, base)
    assert not plain.converged.all()
    assert result.converged.all()
    easy = plain.converged
    np.testing.assert_array_equal(result.iterations[easy], plain.iterations[easy])
    np.testing.assert_allclose(result.evaluation.z[:, easy], plain.evaluation.z[:, easy], rtol=0, atol=1e-10)
    assert (result.evaluations[~easy] > plain.evaluations[~easy]).all()
