"""Laws that hold for any problem, on problems that are drawn at random."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import relative
from support.doubles import TwoSided
from support.solver_table import ANY_FIELD

from xbar_spice.linear.operator import FloatArray
from xbar_spice.parts import METHODS
from xbar_spice.solve.adjoint.discrete import gradients
from xbar_spice.solve.adjoint.memory import reversed_gradients
from xbar_spice.solve.adjoint.tangent import tangent
from xbar_spice.solve.fields.activation import ACTIVATIONS
from xbar_spice.solve.fields.field import ActivationField, Field, ReluField
from xbar_spice.solve.fields.systems import hamiltonian_field
from xbar_spice.solve.integrators.integration import Trajectory, integrate

SEEDS = st.integers(0, 2**32 - 1)


def matrices(rng: np.random.Generator, n: int, m: int, strength: float) -> tuple[FloatArray, FloatArray, float]:
    """A, B and h with h |A| |B| = strength."""
    A, B = rng.normal(size=(m, n)), rng.normal(size=(n, m))
    return A, B, strength / float(np.linalg.norm(A, 2) * np.linalg.norm(B, 2))


@settings(deadline=None, max_examples=60)
@given(
    n=st.integers(1, 8),
    m=st.integers(1, 12),
    batch=st.integers(1, 4),
    strength=st.floats(0.05, 0.9),
    activation=st.sampled_from(sorted(ACTIVATIONS)),
    method=st.sampled_from(ANY_FIELD),
    seed=SEEDS,
)
def test_the_gradient_is_adjoint_to_the_tangent(
    n: int, m: int, batch: int, strength: float, activation: str, method: str, seed: int
) -> None:
    """<dL/dz_N, change of z_N> = <gradients, changes>, whatever the sizes, the activation and the method."""
    rng = np.random.default_rng(seed)
    A, B, h = matrices(rng, n, m, strength)
    z0, dz, cotangent = rng.normal(size=(3, n, batch))
    trajectory = integrate(ActivationField(A, B, activation), z0, method, h=h, steps=3)
    dp = {"A": rng.normal(size=A.shape), "B": rng.normal(size=B.shape)}
    moved, g = tangent(trajectory, dz, dp), gradients(trajectory, cotangent)
    found = np.sum(g.z0 * dz) + sum(np.sum(g.parameters[name] * dp[name]) for name in dp)
    assert abs(found - np.sum(cotangent * moved)) <= 1e-12 * np.linalg.norm(cotangent) * np.linalg.norm(moved)


@settings(deadline=None, max_examples=40)
@given(
    n=st.integers(1, 6),
    m=st.integers(1, 9),
    batch=st.integers(2, 6),
    method=st.sampled_from(sorted(METHODS)),
    seed=SEEDS,
)
def test_samples_may_come_in_any_order(n: int, m: int, batch: int, method: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    A, B, h = matrices(rng, n, m, 0.6)
    split = "verlet" in method
    field: Field = hamiltonian_field(A) if split else ReluField(A, B)
    z0, cotangent = rng.normal(size=(2, field.states, batch))
    order = rng.permutation(batch)

    def run(samples: object) -> tuple[Trajectory, dict[str, FloatArray], FloatArray]:
        trajectory = integrate(field, z0[:, samples], method, h=h, steps=3)
        g = gradients(trajectory, cotangent[:, samples])
        return trajectory, dict(g.parameters), g.z0

    (plain, of_all, at_start), (mixed, of_mixed, at_mixed) = run(np.arange(batch)), run(order)
    assert relative(mixed.z, plain.z[..., order]) < 1e-13
    assert relative(at_mixed, at_start[:, order]) < 1e-12
    for name in of_all:
        assert relative(of_mixed[name], of_all[name]) < 1e-12
    np.testing.assert_array_equal(mixed.evaluations, plain.evaluations[:, order])


@settings(deadline=None, max_examples=25)
@given(
    k=st.integers(1, 5),
    m=st.integers(1, 5),
    method=st.sampled_from(["verlet", "velocity_verlet"]),
    activation=st.sampled_from(sorted(ACTIVATIONS)),
    steps=st.integers(1, 40),
    seed=SEEDS,
)
def test_verlet_runs_back(k: int, m: int, method: str, activation: str, steps: int, seed: int) -> None:
    """Whatever the activation, the states are found again, and with them the gradients, without a stored run."""
    rng = np.random.default_rng(seed)
    K = rng.normal(size=(m, k))
    field = hamiltonian_field(K / np.linalg.norm(K, 2), activation=activation)
    z0 = rng.normal(size=(k + m, 2))
    whole = integrate(field, z0, method, h=0.1, steps=steps)
    back = reversed_gradients(field, z0, lambda z: z, method, h=0.1, steps=steps)
    assert back.drift < 1e-12
    assert relative(back.z, whole.z[-1]) < 1e-13
    assert relative(back.gradients.parameters["K"], gradients(whole, whole.z[-1]).parameters["K"]) < 1e-11


@settings(deadline=None, max_examples=60)
@given(
    n=st.integers(1, 9),
    m=st.integers(1, 14),
    batch=st.integers(1, 3),
    steps=st.integers(1, 6),
    size=st.sampled_from([0.0, 1e-3, 0.1, 0.3]),
    contracting=st.booleans(),
    method=st.sampled_from(["forward_euler", "implicit_euler"]),
    seed=SEEDS,
)
def test_mismatched_transposes_give_the_error_of_the_formula(
    n: int, m: int, batch: int, steps: int, size: float, contracting: bool, method: str, seed: int
) -> None:
    """With E_A = A_t - A^T, E_B = B_t - B^T, Delta = E_A D B^T + A^T D E_B + E_A D E_B, e = returned - exact adjoint:

    forward Euler   e_n = (I + h A_t D B_t) e_{n+1} + h Delta lam_{n+1}
    implicit Euler  (I - h A_t D B_t) e_n = e_{n+1} + h Delta lam_n
    dgB = h sum e r^T,  dgA = h sum D (B_t e + E_B lam) z^T
    """
    rng = np.random.default_rng(seed)
    A, B, h = matrices(rng, n, m, 0.7)
    if contracting:
        B, h = -A.T, 0.9 / float(np.linalg.norm(A, 2) ** 2)
    E_A, E_B = (size * np.abs(W.T).max() * rng.normal(size=W.T.shape) / np.sqrt(n + m) for W in (A, B))
    z0, cotangent = rng.normal(size=(2, n, batch))
    trajectory = integrate(ReluField(A, B), z0, method, h=h, steps=steps)
    exact = gradients(trajectory, cotangent)
    skewed = ReluField(TwoSided(A, A.T + E_A), TwoSided(B, B.T + E_B))
    returned = gradients(integrate(skewed, z0, method, h=h, steps=steps), cotangent)
    wanted = {"A": np.zeros_like(A), "B": np.zeros_like(B), "z0": np.zeros_like(z0)}
    for sample in range(batch):
        parts = mismatch(trajectory.z[..., sample], (A, B, E_A, E_B), h, cotangent[:, sample], method)
        wanted["A"] += parts[0]
        wanted["B"] += parts[1]
        wanted["z0"][:, sample] = parts[2]
    for name, error in wanted.items():
        scale = np.linalg.norm(getattr(exact, name)) + np.linalg.norm(error)
        assert np.linalg.norm(getattr(returned, name) - getattr(exact, name) - error) <= 2e-13 * scale


def mismatch(
    z: FloatArray,
    weights: tuple[FloatArray, FloatArray, FloatArray, FloatArray],
    h: float,
    lam: FloatArray,
    method: str,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """dgA, dgB and e_0 of one sample by the recurrence."""
    A, B, E_A, E_B = weights
    A_t, B_t, one, e = A.T + E_A, B.T + E_B, np.eye(len(lam)), np.zeros_like(lam)
    error_A, error_B = np.zeros_like(A), np.zeros_like(B)
    for k in range(len(z) - 2, -1, -1):
        at = z[k] if method == "forward_euler" else z[k + 1]
        D = np.diag((A @ at > 0.0).astype(float))
        delta = E_A @ D @ B.T + A.T @ D @ E_B + E_A @ D @ E_B
        if method == "implicit_euler":
            lam = np.linalg.solve(one - h * A.T @ D @ B.T, lam)
            e = np.linalg.solve(one - h * A_t @ D @ B_t, e + h * delta @ lam)
        error_B += h * np.outer(e, D @ A @ at)
        error_A += h * np.outer(D @ (B_t @ e + E_B @ lam), at)
        if method == "forward_euler":
            lam, e = lam + h * A.T @ D @ B.T @ lam, (one + h * A_t @ D @ B_t) @ e + h * delta @ lam
    return error_A, error_B, e


@pytest.mark.parametrize("stiffness", [1e2, 1e4])
@pytest.mark.parametrize("seed", range(8))
def test_stiff_switching_with_mismatched_transposes(stiffness: float, seed: int) -> None:
    """At large h |A|^2 the returned adjoint solves (I - h A_t D B_t) lam_n = lam_{n+1}, as dense algebra does."""
    rng = np.random.default_rng(seed)
    n, m = rng.integers(3, 14), rng.integers(3, 24)
    A = rng.normal(size=(m, n))
    h = stiffness / float(np.linalg.norm(A, 2) ** 2)
    A_t, B_t = A.T * (1.0 + 0.05 * rng.normal(size=(n, m))), -A * (1.0 + 0.05 * rng.normal(size=(m, n)))
    z0, cotangent = rng.normal(size=(2, n))
    trajectory = integrate(ReluField(TwoSided(A, A_t), TwoSided(-A.T, B_t)), z0, h=h, steps=6)
    g = gradients(trajectory, cotangent)
    lam, sum_A, sum_B = cotangent, np.zeros_like(A), np.zeros_like(A.T)
    for z in trajectory.z[:0:-1]:
        D = np.diag((A @ z > 0.0).astype(float))
        lam = np.linalg.solve(np.eye(n) - h * A_t @ D @ B_t, lam)
        sum_B += h * np.outer(lam, D @ A @ z)
        sum_A += h * np.outer(D @ B_t @ lam, z)
    assert g.converged_all
    for found, wanted in ((g.z0, lam), (g.A, sum_A), (g.B, sum_B)):
        assert np.linalg.norm(found - wanted) <= 1e-15 * max(stiffness, 1e3) * np.linalg.norm(wanted)
