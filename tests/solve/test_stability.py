"""What is said of methods beyond their limit of stability, and what to try where a run ended badly."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

from xbar_spice.errors import ConvergenceWarning, StabilityWarning
from xbar_spice.linear.operator import FloatArray
from xbar_spice.parts import METHODS
from xbar_spice.solve.adjoint.memory import checkpointed_gradients
from xbar_spice.solve.fields.field import ActivationField, ReluField
from xbar_spice.solve.integrators.integration import integrate
from xbar_spice.solve.integrators.layers import Layers
from xbar_spice.solve.integrators.multistep import AB3, AM3, FORWARD_EULER, IMPLICIT_EULER, TRAPEZOID
from xbar_spice.solve.linear_solvers.krylov import KrylovOptions, solve_linear


def stiff(*rates: float) -> ActivationField:
    """Dz/dt = -rate z for each state, mixed by a rotation."""
    turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(len(rates), len(rates))))
    return ActivationField(np.diag(rates) @ turn.T, -turn, "identity")


START = np.random.default_rng(1).normal(size=(4, 3))


@pytest.mark.parametrize(
    ("scheme", "stable", "unstable"),
    [
        (AM3, (-5.9, -0.1, 0.3j), (-6.2, -1e6, -0.1 + 2j)),
        (AB3, (-0.5, 0.5j), (-0.6, 1j)),
        (FORWARD_EULER, (-1.9,), (-2.1, 1j)),
        (TRAPEZOID, (-0.1, -1e6, 5j), ()),
        (IMPLICIT_EULER, (-0.1, -1e6, 5j), ()),
    ],
)
def test_limits_of_stability_are_those_of_the_books(scheme: Any, stable: Any, unstable: Any) -> None:
    assert not scheme.amplifies(stable).any()
    assert scheme.amplifies(unstable).all()
    assert not scheme.amplifies(3.0)  # the equation itself lets it grow


@pytest.mark.parametrize("rate", [8.0, 50.0, 1e4])
def test_am3_says_that_it_amplifies_what_the_equation_damps(rate: float) -> None:
    field = stiff(rate, 1.0, 0.5, 0.1)
    with pytest.warns(
        StabilityWarning, match=r"am3 with h = 1 is unstable for 3 of 3 samples.* about -.*implicit_euler"
    ):
        found = integrate(field, START, "am3", h=1.0, steps=12)
    assert np.linalg.norm(found.z[-1]) > np.linalg.norm(found.z[-2])
    seen = found.report.unstable
    assert np.all(seen[0] == 0.0)  # the trapezoid starts it
    assert np.abs(seen).max() == pytest.approx(rate, rel=1e-6)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        integrate(Layers([field] * 12), START, "am3", h=1.0, steps=12)
    assert [warning.category for warning in caught] == [StabilityWarning]  # once for a run
    with pytest.warns(StabilityWarning):
        checkpointed_gradients(field, START, np.ones_like, "am3", h=1.0, steps=4, every=2)


@pytest.mark.parametrize(
    ("method", "rates"),
    [("am3", (5.5, 1.0, 0.5, 0.1)), ("trapezoid", (1e4, 1.0, 0.5, 0.1)), ("implicit_euler", (1e4, 1.0, 0.5, 0.1))],
)
def test_within_the_limit_nothing_is_said(method: str, rates: tuple[float, ...]) -> None:
    integrate(stiff(*rates), START, method, h=1.0, steps=4)  # warnings are errors


def test_the_trapezoid_does_not_damp_what_implicit_euler_damps() -> None:
    def left(method: str) -> float:
        found: FloatArray = integrate(stiff(1e4, 1.0, 1.0, 1.0), START, method, h=1.0, steps=10).z
        return float(np.linalg.norm(found[-1]) / np.linalg.norm(found[0]))

    assert left("trapezoid") > 0.1
    assert left("implicit_euler") < 1e-2


def test_the_estimate_takes_no_product_and_changes_no_solution() -> None:
    matrices = np.eye(6) + np.diag([20.0, 3.0, 1.0, 0.5, 0.2, -0.5])
    calls = []

    def product(x: FloatArray, samples: Any) -> FloatArray:
        calls.append(samples)
        return np.asarray(matrices @ x)

    plain = solve_linear(product, np.ones((6, 2)), KrylovOptions())
    spent = len(calls)
    watched = solve_linear(product, np.ones((6, 2)), KrylovOptions(), watch=True)
    assert len(calls) == 2 * spent
    np.testing.assert_array_equal(watched.x, plain.x)
    assert plain.stiffest is None
    assert watched.stiffest == pytest.approx([-20.0, -20.0], rel=1e-8)


@pytest.mark.parametrize("method", METHODS.names)
def test_the_hint_is_that_of_the_method(method: str) -> None:
    """An explicit step that overflows may be unstable; an implicit one needs more iterations, not another method."""
    blowing = ReluField([[1.0]], [[1e200]])
    if "verlet" in method:
        assert METHODS.get(method).hint == METHODS.get("rk4").hint
        return
    with pytest.warns(ConvergenceWarning) as caught:
        integrate(blowing, [1e200], method, h=1e-2, steps=3)
    text = str(caught[0].message)
    assert ("an implicit method" in text) == (method in ("forward_euler", "ab3", "rk4", "dopri5"))
    assert ("smaller h" in text) == (method != "dopri5")
