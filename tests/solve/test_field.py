"""The relu field: values, derivatives in both directions and the convention at the kink."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.convolution import Convolution
from xbar_spice.linear.operator import DenseOperator, FloatArray
from xbar_spice.solve.adjoint import gradients
from xbar_spice.solve.adjoint.tangent import tangent
from xbar_spice.solve.fields import ActivationField, AntisymmetricField, ParabolicField, PerceptronField, TimedField
from xbar_spice.solve.fields.field import Field, ReluField
from xbar_spice.solve.integrators.integration import integrate
from xbar_spice.weights import field_named


def random_field(rng: np.random.Generator, n: int, m: int) -> tuple[ReluField, FloatArray, FloatArray]:
    A, B = rng.normal(size=(m, n)), rng.normal(size=(n, m))
    return ReluField(A, DenseOperator(B)), A, B


def test_derivative_of_relu_at_zero_is_zero() -> None:
    """u(0) = 0: a unit whose input is exactly zero passes nothing on."""
    field = ReluField([[1.0], [2.0]], [[1.0, 1.0]])
    at_kink = field.evaluate(np.array([[0.0, 1.0, -1.0]]))
    np.testing.assert_array_equal(at_kink.slope, [[False, True, False]] * 2)
    np.testing.assert_array_equal(field.jvp(at_kink, np.ones((1, 3))), [[0.0, 3.0, 0.0]])
    np.testing.assert_array_equal(field.vjp(at_kink, np.ones((1, 3))), [[0.0, 3.0, 0.0]])


@settings(deadline=None, max_examples=40)
@given(n=st.integers(1, 8), m=st.integers(1, 10), batch=st.integers(1, 5), seed=st.integers(0, 2**32 - 1))
def test_derivatives_are_those_of_the_formula(n: int, m: int, batch: int, seed: int) -> None:
    """J = B D A by columns, its transpose, and <w, f> differentiated by A and B."""
    rng = np.random.default_rng(seed)
    field, A, B = random_field(rng, n, m)
    z, x, w = rng.normal(size=(3, n, batch))
    at = field.evaluate(z)
    np.testing.assert_allclose(at.value, B @ np.maximum(A @ z, 0.0), rtol=1e-12, atol=1e-13)
    hidden = field.pull_hidden(at, w)
    gradients = field.parameter_gradients(at, w, hidden)
    expected_A, expected_B = np.zeros((m, n)), np.zeros((n, m))
    for i in range(batch):
        D = np.diag((A @ z[:, i] > 0).astype(float))
        jacobian = B @ D @ A
        np.testing.assert_allclose(field.jvp(at, x)[:, i], jacobian @ x[:, i], rtol=0, atol=1e-12)
        np.testing.assert_allclose(field.vjp(at, w)[:, i], jacobian.T @ w[:, i], rtol=0, atol=1e-12)
        expected_A += np.outer(D @ B.T @ w[:, i], z[:, i])
        expected_B += np.outer(w[:, i], D @ A @ z[:, i])
    np.testing.assert_allclose(gradients["A"], expected_A, rtol=0, atol=1e-12)
    np.testing.assert_allclose(gradients["B"], expected_B, rtol=0, atol=1e-12)


def test_columns_select_and_replace_samples() -> None:
    rng = np.random.default_rng(2)
    field, _, _ = random_field(rng, 3, 4)
    z, other = rng.normal(size=(2, 3, 5))
    at, samples = field.evaluate(z), np.array([1, 4])
    assert at.columns(np.arange(5)) is at
    part = at.columns(samples)
    np.testing.assert_array_equal(part.z, z[:, samples])
    np.testing.assert_allclose(field.jvp(part, part.z), field.jvp(at, z)[:, samples], rtol=1e-12, atol=1e-14)
    mixed = at.with_columns(samples, field.evaluate(other[:, samples]))
    expected = z.copy()
    expected[:, samples] = other[:, samples]
    fresh = field.evaluate(expected)
    for name in ("z", "value", "slope", "hidden"):
        np.testing.assert_allclose(getattr(mixed, name), getattr(fresh, name), rtol=1e-12, atol=1e-14)
    np.testing.assert_array_equal(at.columns(samples).z, part.z)


def test_infinite_states_are_not_driven_into_an_operator() -> None:
    field = ReluField([[1.0]], [[2.0]])
    value = field.evaluate_finite(np.array([[1.0, np.inf, np.nan, -1.0]])).value
    np.testing.assert_array_equal(value, [[2.0, np.nan, np.nan, 0.0]])


def test_matrices_that_do_not_belong_together_are_named() -> None:
    with pytest.raises(InvalidInputError, match=r"got A \(3, 2\) and B \(3, 2\)"):
        ReluField(np.ones((3, 2)), np.ones((3, 2)))


@pytest.mark.parametrize("kind", ["layer", "antisymmetric", "parabolic", "hamiltonian"])
def test_a_large_convolution_has_the_gradient_of_its_kernel(kind: str) -> None:
    """Of a matrix with a million entries none is built; what it would have added up to is the same."""
    rng, image = np.random.default_rng(0), (33, 33)
    kernel, bias = rng.standard_normal((1, 1, 3, 3)) / 3, rng.standard_normal(1)
    convolution = Convolution(kernel, image, "zero")
    assert convolution.keeps_kernel
    sparse = field_named(kind, {"K": kernel, "bias": bias}, "tanh", image_shape=image, padding="zero")
    dense = field_named(kind, {"K": convolution.matrix, "bias": np.repeat(bias, 33 * 33)}, "tanh")
    assert isinstance(sparse, Field)
    assert isinstance(dense, Field)
    z, w = rng.standard_normal((2, sparse.states, 2))
    found = [gradients(integrate(field, z, "rk4", h=0.1, steps=1), w).parameters for field in (sparse, dense)]
    expected = convolution.kernel_gradient(found[1]["K"])
    np.testing.assert_allclose(found[0]["K"], expected, rtol=1e-10, atol=1e-12)


TIMED = {
    "activation": ActivationField(Convolution(np.sin(np.arange(54.0)).reshape(2, 3, 9), (2, 1), "zero", time=True),
                                  np.cos(np.arange(20.0)).reshape(4, 5), "tanh", bias=[0.3, -0.2], time=True),
    "perceptron": PerceptronField("tanh", time=True, K1=np.sin(np.arange(6.0)).reshape(3, 2), b1=[0.1, 0.2, 0.3],
                                  K2=np.cos(np.arange(8.0)).reshape(2, 4), K3=np.sin(np.arange(2.0)).reshape(1, 2)),
    "antisymmetric": AntisymmetricField(np.sin(np.arange(6.0)).reshape(2, 3), [0.1, -0.1], time=True),
    "parabolic": ParabolicField(np.sin(np.arange(9.0)).reshape(3, 3), "tanh", bias=[0.1, 0.2, 0.3], time=True),
}  # fmt: skip


@pytest.mark.parametrize("name", TIMED)
def test_fields_with_the_time_in_any_layer_have_adjoints_that_fit_their_tangents(name: str) -> None:
    """And the tangents are those of the states; the time is one of them, and moves with the others."""
    field, rng = TimedField(TIMED[name]), np.random.default_rng(9)
    z0, w, dz = rng.normal(size=(3, field.states, 2))
    run = integrate(field, z0, "rk4", h=0.2, steps=3)
    found = gradients(run, w)
    dp = {of: rng.normal(size=value.shape) for of, value in found.parameters.items()}
    expected = np.vdot(found.z0, dz) + sum(np.vdot(value, dp[of]) for of, value in found.parameters.items())
    assert np.vdot(w, tangent(run, dz, dp)) == pytest.approx(expected, rel=1e-12)
    up, down = (integrate(field, z0 + e * dz, "rk4", h=0.2, steps=3).z[-1] for e in (1e-5, -1e-5))
    np.testing.assert_allclose(tangent(run, dz, {}), (up - down) / 2e-5, rtol=1e-7, atol=1e-8)
