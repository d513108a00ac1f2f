"""States of any size, and iterates that have blown up: what is called converged has solved its equation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support import relative

from xbar_spice.errors import ConvergenceWarning
from xbar_spice.linear.norms import norms
from xbar_spice.linear.operator import FloatArray
from xbar_spice.solve.adjoint.continuous import continuous_gradients
from xbar_spice.solve.adjoint.discrete import gradients
from xbar_spice.solve.adjoint.tangent import tangent
from xbar_spice.solve.fields.field import ReluField
from xbar_spice.solve.fields.layer_field import LayerField
from xbar_spice.solve.fields.systems import parabolic_field
from xbar_spice.solve.integrators.integration import integrate
from xbar_spice.solve.integrators.step_control import AdaptiveOptions
from xbar_spice.solve.linear_solvers.krylov import KrylovOptions

GROWTH = ReluField([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]], [[1.0, -1.0, 0.0, 0.0], [0.0, 0.0, -1.0, 1.0]])
"""dy/dt = y, dz/dt = -z: implicit Euler with h = 1 has no solution for y."""


def field(solver: str) -> ReluField:
    K = np.random.default_rng(0).normal(size=(5, 4))
    found = parabolic_field(K) if solver == "cg" else ReluField(0.5 * K, -0.5 * K.T)
    found.twin = found
    return found  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("method", "solver"),
    [
        *((method, solver) for method in ("implicit_euler", "am3") for solver in ("gmres", "bicgstab", "cg", "chord")),
        ("implicit_euler", "richardson"),
        *((method, "gmres") for method in ("trapezoid", "ab3", "rk4", "dopri5")),
    ],
)
def test_a_homogeneous_field_gives_scaled_states_and_gradients_for_scaled_starts(method: str, solver: str) -> None:
    """Squares of states below 1e-161 are zero, those above 1e155 infinite: steps used to return z unchanged there."""
    z0 = np.random.default_rng(1).normal(size=(4, 3))
    options: dict[str, Any] = {
        "h": 0.1,
        "steps": 3,
        "krylov": KrylovOptions(method=solver, damping=0.8 if solver == "richardson" else 1.0),  # type: ignore[arg-type]
        "adaptive": AdaptiveOptions(atol=0.0),
    }
    plain = integrate(field(solver), z0, method, **options)
    wanted = gradients(plain, plain.z[-1])
    for size in (1e-300, 1e-165, 1e-150, 1e160, 1e300):
        scaled = integrate(field(solver), size * z0, method, **options)
        found = gradients(scaled, size * plain.z[-1])
        assert scaled.converged_all
        assert found.converged_all
        assert relative(scaled.z / size, plain.z) < 1e-13
        assert relative(found.z0 / size, wanted.z0) < 1e-12


def test_a_step_from_zero_with_a_small_bias_is_taken() -> None:
    found = integrate(LayerField([[0.5, 1.0], [0.0, -1.0]], [1e-20, 1e-18], "tanh"), [0.0, 0.0], h=0.1, steps=1)
    np.testing.assert_allclose(found.z[-1], [1.0622009569e-20, 9.0909090909e-20], rtol=1e-10)


@pytest.mark.parametrize("solver", ["gmres", "bicgstab", "richardson", "chord"])
@pytest.mark.parametrize("short", [0.0, 1e-15, -1e-15, 1e-12])
@pytest.mark.parametrize(("method", "h"), [("implicit_euler", 1.0), ("trapezoid", 2.0)])
def test_an_iterate_that_has_blown_up_is_no_solution(method: str, h: float, short: float, solver: Any) -> None:
    """z_n is lost in a z of 1e12 times its size and more: F is then what rounding makes of it, mostly zero."""
    GROWTH.twin = GROWTH
    with pytest.warns(ConvergenceWarning):
        found = integrate(GROWTH, [1.0, 0.5], method, h=h * (1.0 - short), steps=1, krylov=KrylovOptions(method=solver))
    assert not found.converged.any()
    assert found.residuals[0] > 1e-6


def test_growth_that_can_be_resolved_is_solved() -> None:
    found = integrate(GROWTH, [1.0, 0.5], h=1.0 - 1e-3, steps=1)
    assert found.converged_all
    np.testing.assert_allclose(found.z[-1], [1e3, 0.5 / 1.999], rtol=1e-12)


def test_gradients_that_overflow_are_reported() -> None:
    steep = ReluField([[1.0]], [[1e200]])
    trajectory = integrate(steep, [1e-300], "forward_euler", h=1.0, steps=2)
    assert trajectory.converged_all
    with pytest.warns(ConvergenceWarning, match=r"the adjoint of forward_euler did not converge"):
        assert not gradients(trajectory, [1.0]).converged_all
    with pytest.warns(ConvergenceWarning, match=r"the tangent of forward_euler did not converge"):
        tangent(trajectory, [1.0])
    with pytest.warns(ConvergenceWarning, match=r"the adjoint equation by rk4 did not converge"):
        assert not continuous_gradients(trajectory, [1.0], "rk4").converged_all


def test_linear_solves_of_tangents_and_of_the_adjoint_equation_are_reported() -> None:
    rng = np.random.default_rng(2)
    trajectory = integrate(ReluField(rng.normal(size=(9, 6)), rng.normal(size=(6, 9))), np.ones(6), h=0.2, steps=2)
    few = KrylovOptions(max_iterations=2)
    with pytest.warns(ConvergenceWarning, match=r"the tangent of implicit_euler did not converge"):
        tangent(trajectory, np.ones(6), krylov=few)
    with pytest.warns(ConvergenceWarning, match=r"the adjoint equation by implicit_euler did not converge"):
        continuous_gradients(trajectory, np.ones(6), krylov=few)


@pytest.mark.parametrize(
    ("x", "wanted"),
    [
        ([3.0, 4.0], 5.0),
        ([3e-200, 4e-200], 5e-200),
        ([3e200, -4e200], 5e200),
        ([1e-310, 0.0], 1e-310),
        ([0.0, 0.0], 0.0),
        ([np.inf, 1.0], np.inf),
        ([np.nan, np.inf], np.nan),
        ([1.7e308, 1.7e308], np.inf),
    ],
)
def test_norms_of_any_size(x: list[float], wanted: float) -> None:
    column: FloatArray = np.array(x)[:, np.newaxis]
    np.testing.assert_allclose(norms(column), [wanted], rtol=1e-12)
    np.testing.assert_allclose(norms(np.hstack([column, np.ones((2, 1))])), [wanted, np.sqrt(2)], rtol=1e-12)
    np.testing.assert_allclose(norms(column.T, axis=1), [wanted], rtol=1e-12)
