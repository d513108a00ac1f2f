"""Gradients against reference values, finite differences, dense algebra and the identities any exact gradient obeys."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import truth
from support.doubles import TwoSided
from support.solver_table import ANY_FIELD, REFERENCE, numbers

from xbar_spice.errors import ConvergenceError, ConvergenceWarning, InvalidInputError
from xbar_spice.linear.convolution import convolution_matrix, kernel_gradient
from xbar_spice.linear.operator import FloatArray
from xbar_spice.solve.adjoint.discrete import Gradients, gradients
from xbar_spice.solve.fields.field import ReluField
from xbar_spice.solve.integrators.integration import Trajectory, integrate
from xbar_spice.solve.linear_solvers.krylov import KrylovOptions


def assert_close(actual: FloatArray, expected: FloatArray, tolerance: float) -> None:
    """Equal within a part of the norm of what is expected."""
    assert actual.shape == expected.shape
    assert np.linalg.norm(actual - expected) <= tolerance * np.linalg.norm(expected)


def random_problem(seed: int, n: int, m: int, strength: float) -> tuple[FloatArray, FloatArray, float]:
    """A, B and h with h|A||B| = strength."""
    rng = np.random.default_rng(seed)
    A, B = rng.normal(size=(m, n)), rng.normal(size=(n, m))
    return A, B, strength / float(np.linalg.norm(A, 2) * np.linalg.norm(B, 2))


@pytest.mark.parametrize(("case", "method"), REFERENCE)
def test_reference_values(case: dict[str, Any], method: str) -> None:
    values = case["results"][method]
    # Finite differences straddle a kink that is hit exactly; there the reference with u(0) = 0 counts.
    expected = values.get("subgradient_u0_eq_0_float64", values)
    trajectory = integrate(ReluField(case["A"], case["B"]), case["z0"], method, h=case["h"], steps=case["steps"])
    actual = gradients(trajectory, trajectory.z[-1] - numbers(case["target"]))
    assert actual.converged_all
    for gradient, name in ((actual.A, "A"), (actual.B, "B"), (actual.z0, "z0")):
        reference = numbers(expected[f"grad_{name}"])
        assert_close(gradient, reference, 1e-12)
        np.testing.assert_allclose(gradient, reference, rtol=1e-10, atol=1e-14 * np.abs(reference).max())


@pytest.mark.parametrize("method", ["forward_euler", "rk4"])
def test_central_differences_across_a_kink_are_the_mean_of_both_sides(method: str) -> None:
    """Hidden unit 0 starts at exactly zero, where u(0) = 0: the reference's differences average its two slopes."""
    (case,) = (case for case in truth("neural_ode")["cases"] if case["name"] == "C4_kinks")
    A, z0 = numbers(case["A"]), numbers(case["z0"])
    assert A[0] @ z0 == 0.0

    def found(start: FloatArray) -> Gradients:
        trajectory = integrate(ReluField(A, case["B"]), start, method, h=case["h"], steps=case["steps"])
        return gradients(trajectory, trajectory.z[-1] - numbers(case["target"]))

    off, on = found(z0), found(z0 + 1e-15 * A[0])  # too short a way for any other unit to switch
    for name in ("A", "B", "z0"):
        mean = (getattr(off, name) + getattr(on, name)) / 2.0
        assert_close(mean, numbers(case["results"][method][f"grad_{name}"]), 1e-12)


@settings(deadline=None, max_examples=40)
@given(
    n=st.integers(1, 9),
    m=st.integers(1, 12),
    batch=st.integers(1, 4),
    strength=st.floats(0.05, 0.95),
    method=st.sampled_from(ANY_FIELD),
    seed=st.integers(0, 2**32 - 1),
)
def test_identities_of_exact_gradients(n: int, m: int, batch: int, strength: float, method: str, seed: int) -> None:
    """Scaling a hidden unit's input up and its output down changes nothing; z_N is homogeneous in z_0."""
    A, B, h = random_problem(seed, n, m, strength)
    rng = np.random.default_rng(seed)
    trajectory = integrate(ReluField(A, B), rng.normal(size=(n, batch)), method, h=h, steps=5)
    cotangent = rng.normal(size=(n, batch))
    g = gradients(trajectory, cotangent)
    scale = float(np.linalg.norm(g.A * A) + np.linalg.norm(g.B * B))
    np.testing.assert_allclose(np.sum(g.A * A, axis=1), np.sum(g.B * B, axis=0), rtol=0, atol=1e-13 * scale)
    ends = np.sum(trajectory.z[-1] * cotangent, axis=0)
    size = np.linalg.norm(trajectory.z[-1], axis=0) * np.linalg.norm(cotangent, axis=0)
    assert np.all(np.abs(np.sum(trajectory.z[0] * g.z0, axis=0) - ends) <= 1e-13 * size)


@pytest.mark.parametrize("method", [method for method in ANY_FIELD if method != "dopri5"])
def test_finite_differences(method: str) -> None:
    """Central differences along a random direction of (A, B, z0), Richardson extrapolated."""
    A, B, h = random_problem(3, 6, 8, 0.7)
    rng = np.random.default_rng(12)
    z0, target = rng.normal(size=(6, 3)), rng.normal(size=(6, 3))
    dA, dB, dz = rng.normal(size=A.shape), rng.normal(size=B.shape), rng.normal(size=z0.shape)

    def loss(t: float) -> float:
        z = integrate(ReluField(A + t * dA, B + t * dB), z0 + t * dz, method, h=h, steps=6).z[-1]
        return float(0.5 * np.sum((z - target) ** 2))

    trajectory = integrate(ReluField(A, B), z0, method, h=h, steps=6)
    g = gradients(trajectory, trajectory.z[-1] - target)
    slope = np.sum(g.A * dA) + np.sum(g.B * dB) + np.sum(g.z0 * dz)
    wide, narrow = ((loss(e) - loss(-e)) / (2.0 * e) for e in (2e-4, 1e-4))
    np.testing.assert_allclose(slope, (4.0 * narrow - wide) / 3.0, rtol=1e-9)


def dense_implicit_euler(trajectory: Trajectory, A: FloatArray, B: FloatArray, cotangent: FloatArray) -> Gradients:
    """lam_n = (I - h J^T)^{-1} lam_{n+1} at the new point, one sample after the other, with numpy.linalg.solve."""
    gA, gB, gz = np.zeros_like(A), np.zeros_like(B), np.empty_like(cotangent)
    for sample in range(cotangent.shape[1]):
        lam = cotangent[:, sample]
        for z in trajectory.z[:0:-1, :, sample]:
            D = (A @ z > 0.0).astype(float)
            lam = np.linalg.solve(np.eye(len(lam)) - trajectory.h * A.T @ (D[:, np.newaxis] * B.T), lam)
            gB += trajectory.h * np.outer(lam, D * (A @ z))
            gA += trajectory.h * np.outer(D * (B.T @ lam), z)
        gz[:, sample] = lam
    empty = np.empty(0)
    return Gradients(gz, {"A": gA, "B": gB}, empty.astype(bool), empty.astype(np.int64), empty)


@pytest.mark.parametrize(("n", "m", "strength"), [(1, 1, 0.5), (5, 7, 0.9), (16, 16, 1.5), (30, 64, 1.0)])
def test_implicit_euler_equals_dense_algebra(n: int, m: int, strength: float) -> None:
    A, B, h = random_problem(n, n, m, strength)
    rng = np.random.default_rng(n)
    trajectory = integrate(ReluField(A, B), rng.normal(size=(n, 4)), h=h, steps=5)
    cotangent = rng.normal(size=(n, 4))
    actual, expected = gradients(trajectory, cotangent), dense_implicit_euler(trajectory, A, B, cotangent)
    for name in ("A", "B", "z0"):
        assert_close(getattr(actual, name), getattr(expected, name), 1e-13)


@pytest.mark.parametrize("stiffness", [30.0, 2e3])
@pytest.mark.parametrize("size", [(4, 8), (8, 12), (20, 30)])
def test_stiff_and_switching(size: tuple[int, int], stiffness: float) -> None:
    """B = -A^T at large h|A|^2: the digits lost to stiffness are won back on the true residual."""
    n, m = size
    rng = np.random.default_rng(n)
    A = rng.normal(size=(m, n))
    A *= np.sqrt(stiffness) / np.linalg.norm(A, 2)
    trajectory = integrate(ReluField(A, -A.T), rng.normal(size=(n, 3)), h=1.0, steps=6)
    cotangent = rng.normal(size=(n, 3))
    actual, expected = gradients(trajectory, cotangent), dense_implicit_euler(trajectory, A, -A.T, cotangent)
    assert actual.converged_all
    for name in ("A", "B", "z0"):
        assert_close(getattr(actual, name), getattr(expected, name), 1e-12)


@pytest.mark.parametrize("method", ANY_FIELD)
def test_batch_is_the_sum_of_its_samples(method: str) -> None:
    A, B, h = random_problem(8, 5, 7, 0.8)
    rng = np.random.default_rng(1)
    field, z0, cotangent = ReluField(A, B), rng.normal(size=(5, 6)), rng.normal(size=(5, 6))
    together = gradients(integrate(field, z0, method, h=h, steps=4), cotangent)
    alone = [gradients(integrate(field, z, method, h=h, steps=4), w) for z, w in zip(z0.T, cotangent.T, strict=True)]
    assert together.converged.shape == (4, 6)
    assert alone[0].converged.shape == (4,)
    assert_close(together.z0, np.stack([g.z0 for g in alone], axis=1), 1e-13)
    assert_close(together.A, np.sum([g.A for g in alone], axis=0), 1e-13)
    assert_close(together.B, np.sum([g.B for g in alone], axis=0), 1e-13)


@pytest.mark.parametrize("padding", ["circular", "zero"])
def test_kernel_gradients_of_a_convolution(padding: Any) -> None:
    """A 4x4 image: dL/da through the convolution matrices equals finite differences in the kernels."""
    rng = np.random.default_rng(6)
    a, b, z0 = 0.4 * rng.normal(size=9), 0.4 * rng.normal(size=9), rng.normal(size=(16, 2))
    da, db = rng.normal(size=(2, 9))

    def run(t: float) -> Trajectory:
        A, B = (convolution_matrix(k, (4, 4), padding) for k in (a + t * da, b + t * db))
        return integrate(ReluField(A, B), z0, h=0.125, steps=4)

    g = gradients(run(0.0), np.ones((16, 2)))
    slope = kernel_gradient(g.A, (4, 4), padding=padding) @ da + kernel_gradient(g.B, (4, 4), padding=padding) @ db
    numeric = (run(1e-5).z[-1].sum() - run(-1e-5).z[-1].sum()) / 2e-5
    np.testing.assert_allclose(slope, numeric, rtol=1e-8)


def test_stored_slopes_serve_the_adjoint() -> None:
    """The adjoint must not read forward again: a forward side that fails after the run is not noticed."""
    A, B, h = random_problem(5, 4, 6, 0.7)
    arrays = TwoSided(A.copy(), A.T), TwoSided(B.copy(), B.T)
    rng = np.random.default_rng(0)
    trajectory = integrate(ReluField(*arrays), rng.normal(size=4), h=h, steps=3)
    expected = gradients(trajectory, np.ones(4))
    for array in arrays:
        array.forward[:] = np.nan
    np.testing.assert_array_equal(gradients(trajectory, np.ones(4)).A, expected.A)


def test_no_cotangent_no_gradient() -> None:
    trajectory = integrate(ReluField(np.ones((3, 2)), np.ones((2, 3))), [[1.0, 2.0]] * 2, h=0.01, steps=2)
    g = gradients(trajectory, np.zeros((2, 2)))
    for gradient in (g.A, g.B, g.z0):
        np.testing.assert_array_equal(gradient, 0.0)
    np.testing.assert_array_equal(g.krylov_iterations, 0)


def test_nonconvergence_of_a_linear_solve_is_reported() -> None:
    A, B, h = random_problem(5, 8, 8, 1.0)
    trajectory = integrate(ReluField(A, B), np.random.default_rng(0).normal(size=(8, 2)), h=h, steps=3)
    few = KrylovOptions(max_iterations=2)
    with pytest.warns(ConvergenceWarning, match="the adjoint of implicit_euler .* 2 of 2 samples") as caught:
        g = gradients(trajectory, np.ones((8, 2)), krylov=few)
    assert caught[0].filename == __file__
    assert not g.converged.any()
    assert g.residuals.min() > 1e-6
    with pytest.raises(ConvergenceError, match="sample 0 at 3 steps from 0 on"):
        gradients(trajectory, np.ones((8, 2)), krylov=few, nonconvergence="raise")


def test_a_sample_lost_to_infinity_has_no_gradient_and_leaves_the_others_theirs() -> None:
    field = ReluField([[1.0]], [[1e200]])
    z0 = np.array([[1.0, -1.0]])
    trajectory = integrate(field, z0, "forward_euler", h=1.0, steps=3, nonconvergence="ignore")
    with pytest.warns(ConvergenceWarning, match="sample 0"):
        g = gradients(trajectory, np.ones((1, 2)))
    np.testing.assert_array_equal(g.z0, [[np.nan, 1.0]])
    np.testing.assert_array_equal(g.converged, [[False, True]] * 3)
    assert np.isfinite(g.A).all()


def test_bad_arguments_are_named() -> None:
    trajectory = integrate(ReluField(np.eye(2), np.eye(2)), np.zeros((2, 3)), h=0.1, steps=1)
    with pytest.raises(InvalidInputError, match=r"shape of z0, \(2, 3\), got \(2,\)"):
        gradients(trajectory, np.zeros(2))
    with pytest.raises(InvalidInputError, match="cotangent must be finite"):
        gradients(trajectory, np.full((2, 3), np.inf))
    with pytest.raises(InvalidInputError, match="nonconvergence must be one of"):
        gradients(trajectory, np.zeros((2, 3)), nonconvergence="shrug")  # type: ignore[arg-type]
