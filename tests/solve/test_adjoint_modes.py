"""Gradients from checkpoints, run back in time, and from the continuous adjoint, against the exact ones."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from support import relative
from support.doubles import Recorded

from xbar_spice.errors import ConvergenceError, ConvergenceWarning, InvalidInputError
from xbar_spice.linear.operator import FloatArray
from xbar_spice.parts import METHODS
from xbar_spice.solve.adjoint.continuous import continuous_gradients
from xbar_spice.solve.adjoint.discrete import Gradients, gradients
from xbar_spice.solve.adjoint.memory import checkpointed_gradients, reversed_gradients, stored_numbers
from xbar_spice.solve.fields.field import ActivationField, Field, ReluField
from xbar_spice.solve.fields.systems import hamiltonian_field, parabolic_field
from xbar_spice.solve.integrators.integration import integrate
from xbar_spice.solve.integrators.layers import Layers


def hamiltonian(seed: int = 0, n: int = 3) -> Field:
    rng = np.random.default_rng(seed)
    return hamiltonian_field(rng.normal(size=(n, n)), rng.normal(size=n))


def smooth(seed: int = 0, n: int = 4, m: int = 6) -> Field:
    rng = np.random.default_rng(seed)
    return ActivationField(rng.normal(size=(m, n)) / 2, rng.normal(size=(n, m)) / 2, "tanh")


def same(found: Gradients, wanted: Gradients) -> float:
    assert found.parameters.keys() == wanted.parameters.keys()
    errors = [relative(found.parameters[name], wanted.parameters[name]) for name in wanted.parameters]
    return max(relative(found.z0, wanted.z0), *errors)


def numbers(z0: FloatArray) -> FloatArray:
    """dL/dz_N of L = |z_N|^2 / 2."""
    return z0


@pytest.mark.parametrize("method", METHODS.names)
@pytest.mark.parametrize("every", [1, 2, 3, 5, 100])
def test_checkpoints_give_the_exact_gradients(method: str, every: int) -> None:
    """Whatever goes over a cut with the state: values of f that a method looks back to, the size of the next step."""
    field, z0 = hamiltonian(), np.random.default_rng(1).normal(size=(6, 2))
    whole = integrate(field, z0, method, h=0.1, steps=10)
    lean = checkpointed_gradients(field, z0, numbers, method, h=0.1, steps=10, every=every)
    assert relative(lean.z, whole.z[-1]) < 1e-14
    assert same(lean.gradients, gradients(whole, whole.z[-1])) < 2e-13


@pytest.mark.parametrize("method", ["rk4", "am3", "ab3", "dopri5"])
@pytest.mark.parametrize("every", [1, 3])
def test_checkpoints_of_layers_and_of_single_samples(method: str, every: int) -> None:
    layers = Layers([smooth(seed) for seed in range(3)])
    z0 = np.random.default_rng(1).normal(size=4)
    whole = integrate(layers, z0, method, h=0.1, steps=12)
    lean = checkpointed_gradients(layers, z0, numbers, method, h=0.1, steps=12, every=every)
    assert lean.z.shape == (4,)
    assert same(lean.gradients, gradients(whole, whole.z[-1])) < 2e-13


def test_running_layers_back() -> None:
    layers, z0 = Layers([smooth(seed) for seed in range(3)]), np.random.default_rng(1).normal(size=4)
    whole = integrate(layers, z0, "rk4", h=0.1, steps=3)
    back = reversed_gradients(layers, z0, numbers, "rk4", h=0.1, steps=3)
    assert back.drift < 1e-4
    assert same(back.gradients, gradients(whole, whole.z[-1])) < 1e-3


@pytest.mark.parametrize(
    ("method", "evaluations", "back"), [("implicit_euler", 1, 0), ("rk4", 4, 0), ("am3", 1, 1), ("ab3", 1, 2)]
)
def test_memory_is_what_the_formula_says(method: str, evaluations: int, back: int) -> None:
    """(N / k + 1) (1 + p) n + k (n + E) numbers for each sample, with E = evaluations (2 n + 2 m)."""
    n, m, batch, steps = 8, 32, 4, 100
    field, z0 = smooth(n=n, m=m), np.random.default_rng(1).normal(size=(n, batch))
    step = evaluations * (2 * n + 2 * m)
    for every in (5, 10, 20):
        lean = checkpointed_gradients(field, z0, numbers, method, h=0.01, steps=steps, every=every)
        formula = batch * ((steps / every + 1) * (1 + back) * n + every * (n + step))
        assert lean.peak == pytest.approx(formula, rel=0.15)
    (run,) = integrate(field, z0, method, h=0.01, steps=steps).runs
    assert stored_numbers(run) == pytest.approx(batch * steps * (n + step), rel=0.05)
    if not back:
        assert reversed_gradients(field, z0, numbers, method, h=0.01, steps=steps).peak < batch * 3 * (2 * n + step)


def test_memory_as_measured() -> None:
    """What Python holds at the peak: ten checkpoints take about a tenth of a stored run, running back less still."""
    field, z0 = smooth(n=16, m=64), np.random.default_rng(1).normal(size=(16, 32))

    def peak(action: Any) -> int:
        tracemalloc.start()
        action()
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    arguments: dict[str, Any] = {"h": 0.01, "steps": 100}
    stored = peak(lambda: gradients(integrate(field, z0, "rk4", **arguments), z0))
    lean = peak(lambda: checkpointed_gradients(field, z0, numbers, "rk4", every=10, **arguments))
    back = peak(lambda: reversed_gradients(field, z0, numbers, "rk4", **arguments))
    assert lean < 0.25 * stored
    assert back < 0.1 * stored


@pytest.mark.parametrize("method", ["verlet", "velocity_verlet"])
def test_reversible_methods_need_no_memory(method: str) -> None:
    field, z0 = hamiltonian(), np.random.default_rng(1).normal(size=(6, 3))
    whole = integrate(field, z0, method, h=0.1, steps=200)
    lean = reversed_gradients(field, z0, numbers, method, h=0.1, steps=200)
    assert lean.drift < 1e-11
    assert same(lean.gradients, gradients(whole, whole.z[-1])) < 1e-10


def test_running_a_contraction_back_is_wrong_without_bound_and_checkpoints_are_the_cure() -> None:
    rng = np.random.default_rng(1)
    field, z0 = parabolic_field(3.0 * rng.normal(size=(8, 4)) / 2), rng.normal(size=(4, 2))
    exact = integrate(field, z0, "rk4", h=0.02, steps=100)
    wanted = gradients(exact, np.ones((4, 2)))

    def ones(z: FloatArray) -> FloatArray:
        return np.ones_like(z)

    back = reversed_gradients(field, z0, ones, "rk4", h=0.02, steps=100)
    assert back.drift > 0.1 or not np.isfinite(back.drift)
    lean = checkpointed_gradients(field, z0, ones, "rk4", h=0.02, steps=100, every=10)
    assert same(lean.gradients, wanted) < 1e-13


def test_drift_of_methods_that_are_not_reversible_shrinks_with_the_step() -> None:
    field, z0 = smooth(), np.random.default_rng(1).normal(size=(4, 2))
    for method, order in (
        ("implicit_euler", 1),
        ("trapezoid", None),
        ("rk4", 5),
    ):  # of a method of even order p the way back undoes one order more
        coarse, fine = (
            reversed_gradients(field, z0, numbers, method, h=1.0 / steps, steps=steps).drift for steps in (10, 20)
        )
        if order is None:
            assert coarse < 1e-12  # the trapezoidal rule runs back on its own steps
        else:
            assert np.log2(coarse / fine) == pytest.approx(order, abs=0.6)


@pytest.mark.parametrize(
    ("forward", "backward", "order"),
    [
        ("forward_euler", "forward_euler", 1),
        ("implicit_euler", "implicit_euler", 1),
        ("implicit_euler", "forward_euler", 1),
        ("rk4", "trapezoid", 2),
        ("rk4", "am3", 3),
        ("rk4", "ab3", 2),
        ("rk4", "rk4", 4),
        ("ab3", "rk4", 2),
        ("implicit_euler", "rk4", 1),
    ],
)
def test_the_continuous_adjoint_is_wrong_by_its_order(forward: str, backward: str, order: int) -> None:
    """Exact only as h -> 0: the gap to the exact discrete gradient falls with the order of the worse method."""
    field, z0 = smooth(), np.random.default_rng(1).normal(size=(4, 2))
    gaps = []
    for steps in (40, 80):
        trajectory = integrate(field, z0, forward, h=2.0 / steps, steps=steps)
        exact = gradients(trajectory, np.ones((4, 2)))
        gaps.append(same(continuous_gradients(trajectory, np.ones((4, 2)), backward), exact))
    assert gaps[0] > 1e-8
    assert np.log2(gaps[0] / gaps[1]) == pytest.approx(order, abs=0.25)


def test_implicit_euler_on_the_adjoint_equation_has_a_visible_gap_where_the_exact_adjoint_has_none() -> None:
    """B relu(A z) with activation switches, h |A| |B| of a few: tens of percent, against rounding."""
    rng = np.random.default_rng(3)
    A = rng.normal(size=(8, 4))
    field, z0 = ReluField(A, -A.T), rng.normal(size=(4, 3))
    trajectory = integrate(field, z0, h=0.2, steps=10)
    gap = same(continuous_gradients(trajectory, np.ones((4, 3))), gradients(trajectory, np.ones((4, 3))))
    assert gap > 0.1


def test_continuous_adjoint_of_layers_and_single_samples() -> None:
    layers = Layers([smooth(seed) for seed in range(2)])
    trajectory = integrate(layers, np.ones(4), "rk4", h=0.01, steps=100)
    exact, found = gradients(trajectory, np.ones(4)), continuous_gradients(trajectory, np.ones(4), "trapezoid")
    assert found.z0.shape == (4,)
    assert found.converged.shape == (100,)
    assert same(found, exact) < 1e-3


def test_what_cannot_be_done_is_named() -> None:
    field = smooth()
    with pytest.raises(InvalidInputError, match=r"ab3 steps from several points.* forward_euler, .* checkpointed"):
        reversed_gradients(field, np.ones(4), numbers, "ab3", h=0.1, steps=4)
    with pytest.raises(InvalidInputError, match="every must be at least one step, got 0"):
        checkpointed_gradients(field, np.ones(4), numbers, "rk4", h=0.1, steps=4, every=0)
    with pytest.raises(InvalidInputError, match="cotangent must have the shape of z0"):
        checkpointed_gradients(field, np.ones(4), lambda z: np.ones(3), "rk4", h=0.1, steps=4, every=2)
    with pytest.raises(InvalidInputError, match=r"by one of forward_euler, .*, rk4; got dopri5"):
        continuous_gradients(integrate(field, np.ones(4), "dopri5", h=0.1, steps=2), np.ones(4))
    blowing = ReluField([[1.0]], [[1e200]])
    with (
        pytest.warns(ConvergenceWarning, match="forward_euler with h = 1 did not converge"),
        pytest.raises(InvalidInputError, match="cotangent must be finite"),
    ):
        checkpointed_gradients(blowing, [1.0], numbers, "forward_euler", h=1.0, steps=4, every=2)
    with pytest.raises(ConvergenceError, match="forward_euler with h = 1 did not converge for 1 of 1 samples"):
        reversed_gradients(blowing, [1.0], numbers, "forward_euler", h=1.0, steps=4, nonconvergence="raise")


def test_a_warning_points_at_the_caller() -> None:
    blowing = ReluField([[1.0]], [[1e200]])
    with pytest.warns(ConvergenceWarning) as caught, pytest.raises(InvalidInputError):
        reversed_gradients(blowing, [1.0], numbers, "forward_euler", h=1.0, steps=4)
    assert caught[0].filename == __file__


@pytest.mark.parametrize("run", [checkpointed_gradients, reversed_gradients])
def test_a_second_run_that_goes_wrong_is_reported(run: Any) -> None:
    """An array that dies after the first run of four steps."""

    class Dying(Recorded):
        def _forward(self, x: FloatArray) -> FloatArray:
            return super()._forward(x) * (1.0 if len(self.reads) <= 4 else np.nan)

    field = ReluField(Dying(np.eye(3)), -0.1 * np.eye(3))
    every = {"every": 2} if run is checkpointed_gradients else {}
    with pytest.warns(ConvergenceWarning) as caught:
        found = run(field, np.ones(3), numbers, "forward_euler", h=0.1, steps=4, **every)
    assert any("the second run of forward_euler did not converge" in str(warning.message) for warning in caught)
    assert np.isfinite(found.z).all()
