"""The linear solvers on systems I - h B D A: solutions, products, samples that fail, noise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support import relative
from support.doubles import Noisy, Systems
from support.solver_table import SOLVERS

from xbar_spice.errors import ConvergenceWarning, InvalidInputError
from xbar_spice.linear.operator import FloatArray
from xbar_spice.solve.adjoint.discrete import gradients
from xbar_spice.solve.fields.field import ActivationField, ReluField
from xbar_spice.solve.integrators.integration import integrate
from xbar_spice.solve.linear_solvers.krylov import KrylovOptions, solve_linear
from xbar_spice.solve.newton.newton import NewtonOptions, solve_implicit
from xbar_spice.solve.newton.noise import measured_noise


def symmetric_systems(seed: int, n: int, strength: float, batch: int = 5) -> Systems:
    """I + h A^T D A with h |A|^2 = strength, as B = -A^T makes them."""
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(2 * n, n))
    A *= np.sqrt(strength) / np.linalg.norm(A, 2)
    bits = rng.random((batch, 2 * n)) < 0.5
    return Systems(np.array([np.eye(n) + A.T @ (row[:, np.newaxis] * A) for row in bits]))


def twin(systems: Systems, error: float) -> Any:
    """The inverse of a model of the systems that is wrong by a part of them."""
    rng = np.random.default_rng(9)
    wrong = systems.matrices * (1.0 + error * rng.normal(size=systems.matrices.shape))
    inverse = np.linalg.inv(wrong)
    return lambda x, active: np.einsum("aij,ja->ia", inverse[active], x)


@pytest.mark.parametrize("method", SOLVERS)
@pytest.mark.parametrize("n", [1, 2, 17, 40])
@pytest.mark.parametrize("refine", [True, False])
def test_every_method_solves_a_symmetric_system(method: Any, n: int, refine: bool) -> None:
    systems = symmetric_systems(n, n, 0.8)
    rhs = np.random.default_rng(0).normal(size=(n, 5))
    rhs[:, 2] = 0.0
    result = solve_linear(systems, rhs, KrylovOptions(method=method), refine=refine, inverse=twin(systems, 0.01))
    assert result.converged.all()
    assert relative(result.x, systems.solution(rhs)) < 1e-13
    np.testing.assert_array_equal(result.iterations, systems.products)
    assert systems.products[2] == 0


@pytest.mark.parametrize("method", ["gmres", "bicgstab", "chord"])
@pytest.mark.parametrize("seed", range(5))
def test_unsymmetric_systems(method: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    systems = Systems(np.eye(30) - 0.6 * rng.normal(size=(4, 30, 30)) / np.sqrt(30))
    rhs = rng.normal(size=(30, 4))
    result = solve_linear(systems, rhs, KrylovOptions(method=method), inverse=twin(systems, 0.01))
    assert result.converged.all()
    assert relative(result.x, systems.solution(rhs)) < 1e-12
    left = np.linalg.norm(rhs - np.einsum("aij,ja->ia", systems.matrices, result.x), axis=0)
    assert (left <= 1e-13 * np.linalg.norm(rhs, axis=0)).all()


@pytest.mark.parametrize("method", ["gmres", "bicgstab", "cg", "chord"])
def test_stiff_symmetric_systems(method: Any) -> None:
    """At h |A|^2 = 1e4; Richardson's iteration diverges there and says so."""
    systems = symmetric_systems(1, 20, 1e4)
    rhs = np.random.default_rng(0).normal(size=(20, 5))
    result = solve_linear(systems, rhs, KrylovOptions(method=method), inverse=twin(systems, 1e-6))
    assert result.converged.all()
    left = np.linalg.norm(rhs - np.einsum("aij,ja->ia", systems.matrices, result.x), axis=0)
    size = 1e4 * np.linalg.norm(result.x, axis=0)
    assert (left <= 1e-14 * size).all()
    diverged = solve_linear(systems, rhs, KrylovOptions(method="richardson"))
    assert not diverged.converged.any()
    np.testing.assert_array_equal(diverged.x, 0.0)
    assert (diverged.iterations < 20).all()


def test_damping_widens_what_richardson_solves() -> None:
    systems = symmetric_systems(3, 10, 2.5)
    rhs = np.random.default_rng(0).normal(size=(10, 5))
    assert not solve_linear(systems, rhs, KrylovOptions(method="richardson")).converged.all()
    damped = solve_linear(systems, rhs, KrylovOptions(method="richardson", damping=0.4))
    assert damped.converged.all()
    assert relative(damped.x, systems.solution(rhs)) < 1e-13


@pytest.mark.parametrize("method", SOLVERS)
def test_a_sample_that_fails_leaves_the_others_alone(method: Any) -> None:
    systems = symmetric_systems(2, 12, 0.8)
    good = twin(systems, 0.01)
    rhs = np.random.default_rng(0).normal(size=(12, 5))
    systems.matrices[1] = np.nan
    systems.matrices[3] = 0.0  # singular
    rhs[0, 4] = np.inf
    result = solve_linear(systems, rhs, KrylovOptions(method=method, max_iterations=60), inverse=good)
    np.testing.assert_array_equal(result.converged, [True, False, True, False, False])
    assert np.isfinite(result.x).all()
    assert systems.products[4] == 0
    alone = Systems(systems.matrices[[0, 2]])
    assert relative(result.x[:, [0, 2]], alone.solution(rhs[:, [0, 2]])) < 1e-13


@pytest.mark.parametrize("method", ["gmres", "bicgstab", "cg", "richardson"])
def test_limits_and_tolerances_are_kept(method: Any) -> None:
    systems = symmetric_systems(4, 40, 0.9)
    rhs = np.random.default_rng(0).normal(size=(40, 5))
    few = solve_linear(systems, rhs, KrylovOptions(method=method, max_iterations=4))
    assert not few.converged.any()
    assert systems.products.max() <= 4
    asked = np.geomspace(1e-1, 1e-5, 5)
    result = solve_linear(systems, rhs, KrylovOptions(method=method), rtol=asked)
    left = np.linalg.norm(rhs - np.einsum("aij,ja->ia", systems.matrices, result.x), axis=0)
    assert (left <= 1.01 * asked * np.linalg.norm(rhs, axis=0)).all()
    assert result.iterations[0] < result.iterations[-1]


def test_cg_needs_the_fewest_products_without_memory_and_refuses_unsymmetric_systems() -> None:
    systems = symmetric_systems(5, 40, 5.0)
    rhs = np.random.default_rng(0).normal(size=(40, 5))
    products = {
        method: solve_linear(systems, rhs, KrylovOptions(method=method, rtol=1e-8)).iterations.sum()
        for method in ("gmres", "bicgstab", "cg")
    }
    assert products["gmres"] <= products["cg"] < products["bicgstab"]
    rng = np.random.default_rng(1)
    skewed = Systems(systems.matrices + 0.05 * rng.normal(size=systems.matrices.shape) / 40)
    with pytest.raises(InvalidInputError, match=r"cg needs a symmetric matrix .* asymmetry of .*e-0"):
        solve_linear(skewed, rhs, KrylovOptions(method="cg"))
    allowed = solve_linear(skewed, rhs, KrylovOptions(method="cg", rtol=1e-2))
    assert allowed.converged.all()


def test_bicgstab_hands_what_breaks_down_to_gmres() -> None:
    """A rotation by a quarter turn: the first denominator of the recurrence vanishes."""
    quarter = Systems(np.array([[[0.0, -1.0], [1.0, 0.0]], [[2.0, 0.0], [0.0, 2.0]]]))
    result = solve_linear(quarter, np.ones((2, 2)), KrylovOptions(method="bicgstab", max_iterations=50))
    np.testing.assert_array_equal(result.converged, [True, True])
    np.testing.assert_allclose(result.x, [[1.0, 0.5], [-1.0, 0.5]], rtol=1e-15)
    assert result.iterations[0] == quarter.products[0] <= 8


def _non_normal(kind: str, n: int, rng: np.random.Generator) -> FloatArray:
    square = rng.normal(size=(n, n))
    match kind:
        case "skew":
            return np.asarray(np.eye(n) + 5.0 * (square - square.T))
        case "cyclic":
            return np.roll(np.eye(n), 1, axis=1)
        case "orthogonal":
            return np.asarray(np.linalg.qr(square)[0])
        case "triangular":
            return np.asarray(np.eye(n) - np.triu(square, 1))
        case _:  # I - h J with eigenvalues all around zero
            return np.asarray(np.eye(n) - 10.0 * square / np.sqrt(n))


@pytest.mark.parametrize("rtol", [1e-15, 1e-8])
@pytest.mark.parametrize("kind", ["skew", "cyclic", "orthogonal", "triangular", "random"])
def test_bicgstab_of_non_normal_systems_is_solved_and_its_residual_is_the_true_one(kind: str, rtol: float) -> None:
    rng = np.random.default_rng(0)
    systems = Systems(np.stack([_non_normal(kind, 24, rng) for _ in range(4)]))
    rhs = np.eye(24)[:, :4]
    result = solve_linear(systems, rhs, KrylovOptions(method="bicgstab", rtol=rtol))
    true = np.linalg.norm(rhs - systems(result.x, np.arange(4)), axis=0)
    size = np.linalg.norm(systems.matrices, axis=(1, 2), ord=2) * np.linalg.norm(result.x, axis=0)
    assert result.converged.all()
    assert np.all(true <= np.maximum(rtol, 1e-15 * size))
    assert np.all(np.abs(result.residual - true) <= 1e-15 * size)


def test_what_no_budget_is_left_to_measure_is_not_called_converged() -> None:
    """CG needs one product for twice the identity, and one for the true residual."""
    double = Systems(np.array([2.0 * np.eye(3)]))
    for products, converged in ((1, False), (2, True), (50, True)):
        options = KrylovOptions(method="cg", max_iterations=products)
        found = solve_linear(double, np.ones((3, 1)), options)
        assert found.converged.all() == converged
        assert found.iterations[0] <= products


@pytest.mark.parametrize("method", ["implicit_euler", "trapezoid"])
def test_gradients_by_bicgstab_of_a_field_that_turns_are_those_by_gmres(method: str) -> None:
    rng = np.random.default_rng(0)
    square = 4.0 * rng.normal(size=(12, 12))
    field, z0 = ActivationField(square - square.T, np.eye(12), "identity"), rng.normal(size=(12, 3))
    found = {}
    for solver in ("gmres", "bicgstab"):
        trajectory = integrate(field, z0, method, h=1.0, steps=3, krylov=KrylovOptions(method=solver))
        found[solver] = gradients(trajectory, z0)
        assert trajectory.converged_all
        assert found[solver].converged_all
    assert relative(found["bicgstab"].z0, found["gmres"].z0) < 1e-12


@pytest.mark.parametrize("method", SOLVERS)
def test_a_good_start_saves_products_and_a_bad_one_does_no_harm(method: Any) -> None:
    systems = symmetric_systems(6, 30, 0.9)
    rhs = np.random.default_rng(0).normal(size=(30, 5))
    exact = systems.solution(rhs)
    options, inverse = KrylovOptions(method=method, rtol=1e-10), twin(systems, 0.01)
    cold = solve_linear(systems, rhs, options, inverse=inverse)
    near = exact * (1.0 + 1e-6 * np.random.default_rng(1).normal(size=exact.shape))
    warm = solve_linear(systems, rhs, options, start=near, inverse=inverse)
    assert warm.iterations.sum() < cold.iterations.sum()
    for start in (near, exact, 1e3 * np.ones_like(rhs)):
        found = solve_linear(systems, rhs, options, start=start, inverse=inverse)
        assert found.converged.all()
        assert relative(found.x, exact) < 1e-9


def test_chord_spends_a_fraction_of_the_reads() -> None:
    """A twin that is wrong by one per cent: Newton's steps without products, the adjoint's in a few."""
    rng = np.random.default_rng(0)
    A, B, z0 = rng.normal(size=(24, 16)), rng.normal(size=(16, 24)), rng.normal(size=(16, 4))
    h = 1.0 / float(np.linalg.norm(A, 2) * np.linalg.norm(B, 2))
    reads = {}
    for method in ("gmres", "chord"):
        field = ReluField(A, B)
        field.twin = ReluField(A * (1 + 0.01 * rng.normal(size=A.shape)), B)
        krylov = KrylovOptions(method=method, rtol=1e-10)
        trajectory = integrate(field, z0, h=h, steps=4, newton=NewtonOptions(rtol=1e-10), krylov=krylov)
        g = gradients(trajectory, np.ones((16, 4)))
        assert trajectory.converged_all
        assert g.converged_all
        reads[method] = (trajectory.krylov_iterations + trajectory.evaluations + g.krylov_iterations).sum()
        if method == "chord":
            assert trajectory.krylov_iterations.sum() == 0
    assert reads["chord"] < 0.7 * reads["gmres"]


def test_a_warm_start_of_the_adjoint_saves_products() -> None:
    rng = np.random.default_rng(0)
    A, B, z0 = rng.normal(size=(24, 16)), rng.normal(size=(16, 24)), rng.normal(size=(16, 4))
    h = 0.3 / float(np.linalg.norm(A, 2) * np.linalg.norm(B, 2))
    field = ActivationField(A, B, "tanh")
    trajectory = integrate(field, z0, h=h, steps=20)
    cold, warm = (
        gradients(trajectory, np.ones((16, 4)), krylov=KrylovOptions(rtol=1e-4, warm_start=start))
        for start in (False, True)
    )
    assert warm.converged_all
    assert warm.krylov_iterations.sum() < cold.krylov_iterations.sum()
    assert relative(warm.A, cold.A) < 1e-3


def test_forcing_terms_spend_fewer_products_on_a_smooth_field() -> None:
    rng = np.random.default_rng(1)
    A, B, base = rng.normal(size=(48, 32)), rng.normal(size=(32, 48)), rng.normal(size=(32, 6))
    c = 3.0 / float(np.linalg.norm(A, 2) * np.linalg.norm(B, 2))
    field = ActivationField(A, B, "tanh")
    tight = solve_implicit(field, base, c, base)
    loose = solve_implicit(field, base, c, base, NewtonOptions(forcing="eisenstat-walker"))
    assert tight.converged.all()
    assert loose.converged.all()
    assert relative(loose.evaluation.z, tight.evaluation.z) < 1e-12
    assert loose.krylov_iterations.sum() < tight.krylov_iterations.sum()


def test_noise_aware_newton_stops_where_the_noise_begins() -> None:
    """Known noise ends the iteration at |F| of about the noise, with a fraction of the reads, and counts as solved."""
    rng = np.random.default_rng(2)
    A, B, base = rng.normal(size=(24, 16)), rng.normal(size=(16, 24)), rng.normal(size=(16, 6))
    c = 1.0 / float(np.linalg.norm(A, 2) * np.linalg.norm(B, 2))
    exact = solve_implicit(ReluField(A, B), base, c, base)

    def noisy() -> tuple[ReluField, Noisy]:
        first = Noisy(A, 1e-3, 1)
        return ReluField(first, Noisy(B, 1e-3, 2)), first

    field, _ = noisy()
    noise = measured_noise(field, base)
    assert 0.5e-3 < noise < 3e-3
    assert measured_noise(ReluField(A, B), base) < 1e-15
    field, plain = noisy()
    assert not solve_implicit(field, base, c, base).converged.any()
    field, aware = noisy()
    result = solve_implicit(field, base, c, base, NewtonOptions(noise=noise))
    assert result.converged.all()
    assert relative(result.evaluation.z, exact.evaluation.z) < 1e-2
    assert aware.reads < 0.5 * plain.reads
    with pytest.raises(InvalidInputError, match="at least 2 evaluations, got repeats = 1"):
        measured_noise(field, base, repeats=1)


def test_nonconvergence_of_each_sample_is_reported_by_every_method() -> None:
    rng = np.random.default_rng(5)
    A, z0 = rng.normal(size=(12, 6)), rng.normal(size=(6, 3))
    field = ReluField(A, -A.T)
    field.twin = ReluField(A, -3.0 * A.T)
    trajectory = integrate(field, z0, h=0.5, steps=2)
    for method in SOLVERS:
        few = KrylovOptions(method=method, max_iterations=2)
        with pytest.warns(ConvergenceWarning, match="the adjoint of implicit_euler did not converge"):
            g = gradients(trajectory, np.ones((6, 3)), krylov=few)
        assert g.converged.shape == (2, 3)
        assert not g.converged.any()
        assert (g.residuals > 0.0).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"method": "qmr"},
            r"must be one of 'gmres', 'bicgstab', 'cg', 'richardson', 'chord', 'feedback', .*got 'qmr'",
        ),
        ({"damping": 0.0}, r"damping must be in \(0, 1\], got 0"),
        ({"damping": 1.5}, r"damping must be in \(0, 1\], got 1.5"),
    ],
)
def test_bad_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        KrylovOptions(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"forcing": "loose"}, "forcing must be one of 'tight', 'eisenstat-walker', got 'loose'"),
        ({"start": "zero"}, "start must be one of 'last', 'extrapolated', got 'zero'"),
        ({"noise": -1e-3}, "noise of Newton's method must be in"),
    ],
)
def test_bad_newton_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        NewtonOptions(**options)
