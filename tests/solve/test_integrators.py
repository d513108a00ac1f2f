"""Integration against reference values, exact solutions and dense linear algebra."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import expm
from support.solver_table import ANY_FIELD, REFERENCE, numbers

import xbar_spice as xs
from xbar_spice.errors import ConvergenceError, ConvergenceWarning, InvalidInputError
from xbar_spice.linear.operator import FloatArray
from xbar_spice.solve.fields.field import ReluField
from xbar_spice.solve.integrators.integration import integrate
from xbar_spice.solve.newton.newton import NewtonOptions


def dense_step(A: FloatArray, B: FloatArray, z: FloatArray, h: float) -> FloatArray:
    """One step of implicit Euler by plain Newton with numpy.linalg.solve."""
    new = z.copy()
    for _ in range(50):
        s = A @ new
        residual = z + h * B @ np.maximum(s, 0.0) - new
        if np.linalg.norm(residual) <= 1e-15 * np.linalg.norm(new):
            break
        new = new + np.linalg.solve(np.eye(len(z)) - h * B @ ((s > 0.0)[:, np.newaxis] * A), residual)
    return new


def test_reference_covers_both_euler_methods() -> None:
    assert len([case for case in REFERENCE if "euler" in str(case.id)]) == 6


@pytest.mark.parametrize(("case", "method"), REFERENCE)
def test_reference_values(case: dict[str, Any], method: str) -> None:
    expected = case["results"][method]
    trajectory = integrate(ReluField(case["A"], case["B"]), case["z0"], method, h=case["h"], steps=case["steps"])
    assert trajectory.converged_all
    assert trajectory.z.shape == (case["steps"] + 1, case["n"])
    np.testing.assert_allclose(trajectory.z[-1], numbers(expected["z_T"]), rtol=1e-12)
    np.testing.assert_allclose(trajectory.z[1], numbers(expected["z_after_step_1"]), rtol=1e-12)
    loss = 0.5 * np.sum((trajectory.z[-1] - numbers(case["target"])) ** 2)
    np.testing.assert_allclose(loss, float(expected["loss"]), rtol=1e-12)
    if "newton_iterations_per_step" in expected:
        np.testing.assert_array_equal(trajectory.newton_iterations, expected["newton_iterations_per_step"])


@pytest.mark.parametrize(("case", "method"), REFERENCE)
def test_reference_activation_patterns(case: dict[str, Any], method: str) -> None:
    """How large the states get, how close hidden units come to their kinks, and in how many steps some switch."""
    expected, A = case["results"][method], numbers(case["A"])
    trajectory = integrate(ReluField(A, case["B"]), case["z0"], method, h=case["h"], steps=case["steps"])
    units = trajectory.z @ A.T
    size = np.abs(units)
    np.testing.assert_allclose(np.abs(trajectory.z).max(), float(expected["max_abs_z"]), rtol=1e-12)
    np.testing.assert_allclose(size.min(), float(expected["min_abs_preactivation_on_grid"]), rtol=1e-9)
    nearest = float(expected["min_nonzero_abs_preactivation"])
    np.testing.assert_allclose(size[size > 0].min(), nearest, rtol=1e-9)
    switches = ((units[1:] > 0) != (units[:-1] > 0)).any(axis=1).sum()
    assert switches == expected["steps_with_activation_switch"]
    if "eigenvalues_of_minus_J" in case:
        J = -numbers(case["B"]) @ ((units[0] > 0)[:, np.newaxis] * A)
        np.testing.assert_allclose(np.linalg.eigvalsh(J), case["eigenvalues_of_minus_J"], rtol=1e-9)
        np.testing.assert_allclose(case["h"] * np.linalg.eigvalsh(J)[-1], case["h_lambda_max"], rtol=1e-12)


@settings(deadline=None, max_examples=30)
@given(n=st.integers(1, 12), m=st.integers(1, 15), strength=st.floats(0.05, 0.95), seed=st.integers(0, 2**32 - 1))
def test_implicit_euler_equals_dense_newton(n: int, m: int, strength: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    A, B = rng.normal(size=(m, n)), rng.normal(size=(n, m))
    h = strength / float(np.linalg.norm(A, 2) * np.linalg.norm(B, 2))
    z0 = rng.normal(size=(n, 3))
    trajectory = integrate(ReluField(A, B), z0, "implicit_euler", h=h, steps=4)
    for sample in range(3):
        z = z0[:, sample]
        for step in range(4):
            z = dense_step(A, B, z, h)
            assert np.linalg.norm(trajectory.z[step + 1, :, sample] - z) <= 1e-13 * np.linalg.norm(z)


@pytest.mark.parametrize("stiffness", [30.0, 2e3, 2e4])
@pytest.mark.parametrize("n", [3, 6, 20])
def test_stiff_linear_problem(n: int, stiffness: float) -> None:
    """With B = -A^T and A = [S; -S], f(z) = -S^T S z: implicit Euler is (I + h S^T S)^-N, here at large h |S|^2."""
    rng = np.random.default_rng(n)
    h, steps = 0.25, 10
    singular = np.geomspace(np.sqrt(stiffness / h), 0.2, n)
    directions = np.linalg.qr(rng.normal(size=(n, n)))[0]
    S = singular[:, np.newaxis] * directions
    A, z0 = np.vstack([S, -S]), rng.normal(size=(n, 4))
    trajectory = integrate(ReluField(A, -A.T), z0, "implicit_euler", h=h, steps=steps)
    assert trajectory.converged_all
    decay = (1.0 + h * singular**2) ** -steps
    expected = directions.T @ (decay[:, np.newaxis] * (directions @ z0))
    error = np.linalg.norm(trajectory.z[-1] - expected, axis=0) / np.linalg.norm(expected, axis=0)
    assert error.max() < 1e-12


@pytest.mark.parametrize("size", [(8, 12), (20, 30)])
def test_stiff_problem_with_switching(size: tuple[int, int]) -> None:
    """A dissipative field, B = -A^T, at h|A|^2 = 100 whose activation pattern changes on the way."""
    n, m = size
    rng = np.random.default_rng(n)
    A = rng.normal(size=(m, n))
    A *= 10.0 / np.linalg.norm(A, 2)
    z0 = rng.normal(size=(n, 6))
    trajectory = integrate(ReluField(A, -A.T), z0, h=1.0, steps=8)
    assert trajectory.converged_all
    assert trajectory.newton_iterations.max() > 1
    for sample in range(6):
        z = z0[:, sample]
        for _ in range(8):
            z = dense_step(A, -A.T, z, 1.0)
        assert np.linalg.norm(trajectory.z[-1, :, sample] - z) <= 1e-12 * np.linalg.norm(z)


@pytest.mark.parametrize(
    ("method", "order"), [("forward_euler", 1), ("implicit_euler", 1), ("trapezoid", 2), ("am3", 3), ("ab3", 2)]
)
def test_order_of_convergence(method: str, order: int) -> None:
    """On a linear problem, whose exact solution is a matrix exponential."""
    rng = np.random.default_rng(4)
    S = rng.normal(size=(4, 4)) / 2.0
    A, z0 = np.vstack([S, -S]), rng.normal(size=4)
    exact = expm(-S.T @ S) @ z0
    errors = [
        np.linalg.norm(integrate(ReluField(A, -A.T), z0, method, h=1.0 / steps, steps=steps).z[-1] - exact)
        for steps in (80, 160)
    ]
    np.testing.assert_allclose(np.log2(errors[0] / errors[1]), order, atol=0.1)


@pytest.mark.parametrize("method", ANY_FIELD)
def test_batch_equals_singles(method: str) -> None:
    rng = np.random.default_rng(9)
    A, B, z0 = rng.normal(size=(7, 5)), rng.normal(size=(5, 7)), rng.normal(size=(5, 6))
    field = ReluField(A, B)
    together = integrate(field, z0, method, h=0.05, steps=6)
    for sample in range(6):
        alone = integrate(field, z0[:, sample], method, h=0.05, steps=6)
        np.testing.assert_allclose(together.z[..., sample], alone.z, rtol=1e-12)
        np.testing.assert_array_equal(together.converged[:, sample], alone.converged)
        np.testing.assert_array_equal(together.newton_iterations[:, sample], alone.newton_iterations)


@pytest.mark.parametrize("method", ANY_FIELD)
def test_a_batch_of_one_keeps_its_axis(method: str) -> None:
    trajectory = integrate(ReluField([[1.0]], [[-1.0]]), [[1.0]], method, h=0.1, steps=3)
    assert trajectory.z.shape == (4, 1, 1)
    for array in (trajectory.converged, trajectory.krylov_iterations, trajectory.residuals):
        assert array.shape == (3, 1)
    np.testing.assert_allclose(trajectory.t, [0.0, 0.1, 0.2, 0.3])


def test_zero_state_stays_zero() -> None:
    trajectory = integrate(ReluField(np.ones((3, 2)), np.ones((2, 3))), np.zeros(2), h=5.0, steps=2)
    assert trajectory.converged_all
    np.testing.assert_array_equal(trajectory.z, 0.0)


def test_nonconvergence_is_reported_by_sample_and_the_others_are_exact() -> None:
    """z = 1 + 2 relu(z) has no solution, so the first step of sample 1 has none; sample 0 stays at -1."""
    field, z0 = ReluField([[1.0]], [[1.0]]), np.array([[-1.0, 1.0, -0.25]])
    with pytest.warns(ConvergenceWarning, match=re.escape("1 of 3 samples: sample 1 at")) as caught:
        trajectory = integrate(field, z0, h=2.0, steps=3)
    assert caught[0].filename == __file__
    np.testing.assert_array_equal(trajectory.converged[:, [0, 2]], True)
    assert not trajectory.converged[0, 1]
    assert not trajectory.converged_all
    assert trajectory.residuals[0, 1] > 0.1
    np.testing.assert_array_equal(trajectory.z[:, 0, [0, 2]], [[-1.0, -0.25]] * 4)
    with pytest.raises(ConvergenceError, match="sample 1 at"):
        integrate(field, z0, h=2.0, steps=3, nonconvergence="raise")
    assert not integrate(field, z0, h=2.0, steps=3, nonconvergence="ignore").converged_all


def test_divergence_to_infinity_is_reported_by_sample() -> None:
    field, z0 = ReluField([[1.0]], [[1e200]]), np.array([[1.0, -1.0]])
    with pytest.warns(ConvergenceWarning, match="sample 0 at 3 steps from 1 on"):
        trajectory = integrate(field, z0, "forward_euler", h=1.0, steps=4)
    np.testing.assert_array_equal(trajectory.converged[:, 1], True)
    np.testing.assert_array_equal(trajectory.z[:, 0, 1], -1.0)


def test_an_iteration_limit_is_reported() -> None:
    rng = np.random.default_rng(0)
    A, B = rng.normal(size=(12, 8)), rng.normal(size=(8, 12))
    with pytest.warns(ConvergenceWarning, match="and 16 more; try a smaller h"):
        integrate(ReluField(A, B), rng.normal(size=(8, 20)), h=0.2, steps=2, newton=NewtonOptions(max_iterations=1))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"z0": np.zeros(3)}, r"z0 must have shape \(2,\) or \(2, batch\), got \(3,\)"),
        ({"z0": np.zeros((2, 0))}, r"got \(2, 0\)"),
        ({"z0": [np.nan, 0.0]}, "z0 must be finite"),
        ({"method": "euler"}, "method must be one of 'forward_euler', 'implicit_euler'.*got 'euler'"),
        ({"h": 0.0}, "h must be finite and not 0 .negative to go back in time., got 0"),
        ({"h": float("inf")}, "h must be finite, got inf"),
        ({"h": float("nan")}, "h must be finite, got nan"),
        ({"h": "0.1"}, "h must be a real number, or None, got '0.1'"),
        ({"steps": float("nan")}, "steps must be a whole number, or None, got nan"),
        ({"steps": float("inf")}, "steps must be a whole number, or None, got inf"),
        ({"steps": "3"}, "steps must be a whole number, or None, got '3'"),
        ({"method": ["rk4"]}, "method must be a text or a Method"),
        ({"z0": [1.0, 1j]}, "z0 must be an array of real numbers, .* take the real part"),
        ({"z0": ["a", "b"]}, "z0 must be an array of real numbers"),
        ({"z0": [[1.0, 2.0], [3.0]]}, "z0 must be an array of real numbers, .* different lengths"),
        ({"z0": np.ma.array([1.0, 2.0], mask=[False, True])}, "z0 must be an array .* values are masked"),
        ({"steps": 0}, "steps must be a whole number from 1 to 10000000, got 0"),
        ({"steps": 1.5}, "steps must be a whole number, or None, got 1.5"),
        ({"nonconvergence": "shrug"}, "must be one of .*'warn', 'raise', 'ignore'.* got 'shrug'"),
    ],
)
def test_bad_arguments_are_named(changes: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"z0": np.zeros(2), "h": 0.1, "steps": 2} | changes
    with pytest.raises(InvalidInputError, match=message):
        integrate(ReluField(np.eye(2), np.eye(2)), **arguments)


@pytest.mark.parametrize("method", ["rk4", "implicit_euler", "dopri5", "velocity_verlet"])
def test_a_grid_of_unequal_steps_is_steps_one_after_the_other(method):
    """Also its gradients, which add up over the steps, as those of one run do."""
    rng = np.random.default_rng(0)
    K, b, z0, w = (rng.standard_normal(shape) for shape in ((2, 2), 2, (4, 3), (4, 3)))
    times = np.array([0.0, 0.25, 0.5, 0.6, 1.0])
    field = xs.hamiltonian_field(K, b)
    whole = xs.integrate(field, z0, method, grid=times)
    z = z0
    for step in np.diff(times):
        z = xs.integrate(field, z, method, h=float(step), steps=1).z[-1]
    adaptive = method == "dopri5"  # whose first step is another one in a run that goes on
    np.testing.assert_allclose(whole.z[-1], z, rtol=1e-5 if adaptive else 1e-12)
    np.testing.assert_allclose(whole.t, times, rtol=1e-12)
    if method == "velocity_verlet":
        gradient = xs.gradients(whole, w).parameters["K"]
        up, down = (
            np.vdot(w, xs.integrate(xs.hamiltonian_field(K + step, b), z0, method, grid=times).z[-1])
            for step in (1e-6, -1e-6)
        )
        assert gradient.sum() == pytest.approx((up - down) / 2e-6, rel=1e-7)
    equal = xs.integrate(field, z0, method, grid=np.linspace(0, 1, 11))
    np.testing.assert_array_equal(equal.z, xs.integrate(field, z0, method, h=0.1, steps=10).z)


def test_methods_of_several_steps_that_are_not_of_adams_need_equal_ones():
    with pytest.raises(InvalidInputError, match="leapfrog cannot look back over: take a method of one step"):
        xs.integrate(xs.LayerField([[1.0]]), [1.0], "leapfrog", grid=[0.0, 0.1, 0.3])
    with pytest.raises(InvalidInputError, match="leave h and steps out"):
        xs.integrate(xs.LayerField([[1.0]]), [1.0], "rk4", grid=[0.0, 0.1, 0.3], steps=2)
    with pytest.raises(InvalidInputError, match="h is missing"):
        xs.integrate(xs.LayerField([[1.0]]), [1.0], "rk4", steps=2)
