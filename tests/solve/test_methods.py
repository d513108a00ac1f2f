"""One table over methods, fields and linear solvers: the laws that all of their runs and gradients obey."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from support import relative, truth
from support.solver_table import (
    FIELDS,
    HOMOGENEOUS,
    IMPLICIT,
    KINKED,
    PAIRS,
    SOLVERS,
    SPLIT,
    changes,
    run,
    slope,
    start,
)

from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.operator import FloatArray
from xbar_spice.parts import METHODS
from xbar_spice.solve.adjoint.discrete import gradients
from xbar_spice.solve.adjoint.tangent import tangent
from xbar_spice.solve.fields.field import ActivationField, Field, ReluField
from xbar_spice.solve.fields.layer_field import LayerField
from xbar_spice.solve.fields.split import SplitField
from xbar_spice.solve.fields.systems import antisymmetric_field, hamiltonian_field
from xbar_spice.solve.integrators.integration import integrate
from xbar_spice.solve.integrators.layers import Layers
from xbar_spice.solve.integrators.step_control import AdaptiveOptions
from xbar_spice.solve.linear_solvers.krylov import KrylovOptions
from xbar_spice.solve.newton.newton import NewtonOptions


@pytest.mark.parametrize(("method", "name"), PAIRS)
def test_gradients_are_adjoint_to_the_tangent(method: str, name: str) -> None:
    """Forward products of the block system against transposed reads, along random changes."""
    parameters, z0 = FIELDS[name][1], start(name)
    trajectory = run(method, name, parameters, z0)
    rng = np.random.default_rng(4)
    cotangent, dz, dp = rng.normal(size=z0.shape), rng.normal(size=z0.shape), changes(parameters)
    g = gradients(trajectory, cotangent)
    assert g.converged_all
    moved = tangent(trajectory, dz, dp)
    assert slope(g, dz, dp) == pytest.approx(float(np.sum(cotangent * moved)), rel=1e-12, abs=1e-13)


@pytest.mark.parametrize(("method", "name"), PAIRS)
def test_gradients_are_those_of_finite_differences(method: str, name: str) -> None:
    """Central differences of whole runs along random changes, Richardson extrapolated; short ones near kinks."""
    parameters, z0 = FIELDS[name][1], start(name)
    step, tolerance = (1e-6, 1e-7) if name.startswith(KINKED) or method == "dopri5" else (1e-4, 1e-9)
    rng = np.random.default_rng(4)
    cotangent, dz, dp = rng.normal(size=z0.shape), rng.normal(size=z0.shape), changes(parameters)

    def loss(t: float) -> float:
        moved = {key: value + t * dp[key] for key, value in parameters.items()}
        return float(np.sum(cotangent * run(method, name, moved, z0 + t * dz).z[-1]))

    g = gradients(run(method, name, parameters, z0), cotangent)
    wide, narrow = ((loss(e) - loss(-e)) / (2.0 * e) for e in (2 * step, step))
    assert slope(g, dz, dp) == pytest.approx((4.0 * narrow - wide) / 3.0, rel=tolerance, abs=tolerance)


@pytest.mark.parametrize(("method", "name"), PAIRS)
def test_a_batch_is_its_samples(method: str, name: str) -> None:
    parameters, z0 = FIELDS[name][1], start(name)
    together = run(method, name, parameters, z0)
    cotangent = np.random.default_rng(4).normal(size=z0.shape)
    g = gradients(together, cotangent)
    alone = [run(method, name, parameters, z) for z in z0.T]
    single = [gradients(at, w) for at, w in zip(alone, cotangent.T, strict=True)]
    assert relative(together.z, np.stack([at.z for at in alone], axis=-1)) < 1e-13
    assert relative(g.z0, np.stack([at.z0 for at in single], axis=-1)) < 1e-12
    for key in g.parameters:
        assert relative(g.parameters[key], np.sum([at.parameters[key] for at in single], axis=0)) < 1e-12
    np.testing.assert_array_equal(together.evaluations, np.stack([at.evaluations for at in alone], axis=-1))
    np.testing.assert_array_equal(together.rejected, np.stack([at.rejected for at in alone], axis=-1))


@pytest.mark.parametrize(("method", "name"), [pair for pair in PAIRS if pair.values[1] in HOMOGENEOUS])
def test_homogeneity(method: str, name: str) -> None:
    """z_0^T dL/dz_0 = z_N^T dL/dz_N for each sample where sig(c s) = c sig(s) and there is no bias."""
    z0 = start(name)
    trajectory = run(method, name, FIELDS[name][1], z0)
    cotangent = np.random.default_rng(4).normal(size=z0.shape)
    g = gradients(trajectory, cotangent)
    wanted = np.sum(trajectory.z[-1] * cotangent, axis=0)
    assert np.abs(np.sum(z0 * g.z0, axis=0) - wanted).max() < 1e-13 * np.abs(wanted).max()


@pytest.mark.parametrize("method", [method for method in METHODS if "verlet" not in method])
@pytest.mark.parametrize("name", ["relu", "relu-bias", "identity", "abs"])
def test_scaling_of_hidden_units(method: str, name: str) -> None:
    """A hidden unit's input scaled up and its output down changes nothing, its bias included."""
    parameters, z0 = FIELDS[name][1], start(name)
    g = gradients(run(method, name, parameters, z0), np.ones(z0.shape))
    np.testing.assert_allclose(
        np.sum(g.A * parameters["A"], axis=1), np.sum(g.B * parameters["B"], axis=0), rtol=0, atol=1e-13
    )


ORDERS = {
    "forward_euler": 1,
    "implicit_euler": 1,
    "trapezoid": 2,
    "am3": 3,
    "ab3": 2,
    "rk4": 4,
    "verlet": 1,
    "velocity_verlet": 2,
}


@pytest.mark.parametrize("method", ORDERS)
@pytest.mark.parametrize("name", ["tanh", "hamiltonian"])
def test_order_of_convergence(method: str, name: str) -> None:
    if "verlet" in method:
        name = "hamiltonian" if name == "tanh" else "split"
    field, z0 = FIELDS[name][0](FIELDS[name][1]), start(name)
    exact = reference(field, z0, 2.0)
    errors = [np.linalg.norm(integrate(field, z0, method, h=2.0 / n, steps=n).z[-1] - exact) for n in (80, 160)]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(ORDERS[method], abs=0.15)


def reference(field: Field, z0: FloatArray, end: float) -> FloatArray:
    """SciPy's answer to rounding, one sample after the other."""

    def right(_: float, z: FloatArray) -> FloatArray:
        return field.evaluate(z[:, np.newaxis]).value[:, 0]

    ends = [solve_ivp(right, (0.0, end), z, method="DOP853", rtol=1e-13, atol=1e-14).y[:, -1] for z in z0.T]
    return np.stack(ends, axis=1)


@pytest.mark.parametrize(
    ("name", "method", "solver"),
    [
        pytest.param(name, method, solver, id=f"{name}-{method}-{solver}")
        for name in ("relu", "tanh", "antisymmetric", "parabolic", "hamiltonian", "split", "convolution-channels")
        for method in IMPLICIT
        for solver in SOLVERS
        if solver != "cg" or name == "parabolic"  # cg is for symmetric systems, B = -A^T
    ],
)
def test_linear_solvers_agree(name: str, method: str, solver: Any) -> None:
    """Every linear solver gives the trajectory and the gradients of GMRES, read for read the same code around it."""
    build, parameters = FIELDS[name]
    z0 = start(name)
    field, rng = build(parameters), np.random.default_rng(6)
    perturbed = {key: value * (1 + 0.01 * rng.normal(size=value.shape)) for key, value in parameters.items()}
    field.twin = build(perturbed)
    expected = gradients(run(method, name, parameters, z0), np.ones(z0.shape))
    trajectory = integrate(field, z0, method, h=0.15, steps=5, krylov=KrylovOptions(method=solver))
    assert trajectory.converged_all
    found = gradients(trajectory, np.ones(z0.shape))
    assert found.converged_all
    assert relative(trajectory.z, run(method, name, parameters, z0).z) < 1e-12
    assert relative(found.z0, expected.z0) < 1e-12
    for key, value in expected.parameters.items():
        assert relative(found.parameters[key], value) < 1e-12


@pytest.mark.parametrize("forcing", ["tight", "eisenstat-walker"])
@pytest.mark.parametrize("guess", ["last", "extrapolated"])
@pytest.mark.parametrize("warm_start", [False, True])
@pytest.mark.parametrize("name", ["relu", "tanh", "hamiltonian"])
def test_ways_to_start_and_to_stop_reach_the_same_solution(
    name: str, forcing: Any, guess: Any, warm_start: bool
) -> None:
    parameters, z0 = FIELDS[name][1], start(name)
    options = {
        "newton": NewtonOptions(forcing=forcing, start=guess),
        "krylov": KrylovOptions(warm_start=warm_start),
    }
    plain = run("implicit_euler", name, parameters, z0)
    other = run("implicit_euler", name, parameters, z0, **options)
    assert other.converged_all
    assert relative(other.z, plain.z) < 1e-12
    wanted, found = gradients(plain, np.ones(z0.shape)), gradients(other, np.ones(z0.shape))
    assert relative(found.z0, wanted.z0) < 1e-12


@pytest.mark.parametrize("case", [c for c in truth("neural_ode")["cases"] if "K" in c], ids=lambda c: c["name"])
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_verlet_reference_values(case: dict[str, Any], activation: str) -> None:
    expected, steps = case["results"][activation], case["steps"]
    layers = Layers([hamiltonian_field(K, b, activation) for K, b in zip(case["K"], case["b"], strict=True)])
    k = len(case["y0"])
    trajectory = integrate(layers, [*case["y0"], *np.zeros(k)], "verlet", h=case["h"], steps=steps)
    y, z = trajectory.z[-1, :k], trajectory.z[-1, k:]
    g = gradients(trajectory, [*(y - case["target"]), *np.zeros(k)])
    found = {
        "Y_N": y,
        "Z_last": z,
        "loss": 0.5 * np.sum((y - case["target"]) ** 2),
        "grad_K": np.stack([g.parameters[f"K[{j}]"] for j in range(steps)]),
        "grad_b": np.stack([g.parameters[f"b[{j}]"] for j in range(steps)]),
        "grad_y0": g.z0[:k],
    }
    for key, value in found.items():
        np.testing.assert_allclose(value, np.array(expected[key], dtype=float), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    "method", [method for method in METHODS if METHODS.get(method).one_step and method != "dopri5"]
)
def test_layers_of_one_field_are_that_field(method: str) -> None:
    build, parameters = FIELDS["hamiltonian"]
    field, z0 = build(parameters), start("hamiltonian")
    whole = integrate(field, z0, method, h=0.2, steps=6)
    cut = integrate(Layers([field] * 3), z0, method, h=0.2, steps=6)
    assert relative(cut.z, whole.z) < 1e-14
    one, parts = gradients(whole, np.ones(z0.shape)), gradients(cut, np.ones(z0.shape))
    assert relative(parts.z0, one.z0) < 1e-13
    assert relative(sum(parts.parameters[f"K[{j}]"] for j in range(3)), one.parameters["K"]) < 1e-13


@pytest.mark.parametrize("method", ["forward_euler", "am3", "ab3", "rk4", "dopri5", "implicit_euler"])
def test_gradients_of_layers(method: str) -> None:
    """Different widths; each layer's parameters under its own name, adjoint to the tangent."""
    rng = np.random.default_rng(1)
    layers = Layers([ReluField(rng.normal(size=(m, 3)), rng.normal(size=(3, m)) / 3) for m in (2, 5, 4)])
    z0, cotangent, dz = rng.normal(size=(3, 3, 2))
    trajectory = integrate(layers, z0, method, h=0.1, steps=9)
    g = gradients(trajectory, cotangent)
    dp = changes(g.parameters)
    moved = tangent(trajectory, dz, dp)
    assert slope(g, dz, dp) == pytest.approx(float(np.sum(cotangent * moved)), rel=1e-12)


def test_residual_blocks_are_forward_euler_with_unit_steps() -> None:
    rng = np.random.default_rng(2)
    K, b, y = rng.normal(size=(3, 4, 4)), rng.normal(size=(3, 4)), rng.normal(size=4)
    blocks = Layers([LayerField(k, c, "relu") for k, c in zip(K, b, strict=True)])
    found = integrate(blocks, y, "forward_euler", h=1.0, steps=3).z[-1]
    for k, c in zip(K, b, strict=True):
        y = y + np.maximum(k @ y + c, 0.0)
    np.testing.assert_allclose(found, y, rtol=1e-14)


def test_a_bias_is_an_extra_state_that_stays_one() -> None:
    rng = np.random.default_rng(3)
    A, B, z0 = rng.normal(size=(5, 4)), 0.3 * rng.normal(size=(3, 5)), rng.normal(size=(3, 2))
    field = ActivationField(A, B, bias=True)
    extended = ReluField(A, np.vstack([B, np.zeros((1, 5))]))
    for method in ("implicit_euler", "rk4", "am3"):
        plain = integrate(field, z0, method, h=0.1, steps=4)
        wide = integrate(extended, np.vstack([z0, np.ones((1, 2))]), method, h=0.1, steps=4)
        assert relative(wide.z[:, :3], plain.z) < 1e-13
        g, h = gradients(plain, np.ones((3, 2))), gradients(wide, np.vstack([np.ones((3, 2)), np.zeros((1, 2))]))
        assert relative(h.A, g.A) < 1e-12
        assert relative(h.B[:3], g.B) < 1e-12


@pytest.mark.parametrize("rtol", [1e-4, 1e-7, 1e-10])
@pytest.mark.parametrize("name", ["tanh", "hamiltonian"])
def test_dopri5_keeps_its_tolerance(name: str, rtol: float) -> None:
    field, z0 = FIELDS[name][0](FIELDS[name][1]), start(name)
    found = integrate(field, z0, "dopri5", h=2.0, steps=2, adaptive=AdaptiveOptions(rtol=rtol, atol=rtol))
    assert relative(found.z[-1], reference(field, z0, 4.0)) < 50 * rtol
    assert found.converged_all


def test_dopri5_counts_its_evaluations_and_rejects() -> None:
    """A flow that becomes 100 times faster on the way: six evaluations per attempt, one for the start."""
    calls = 0

    class Counted(ActivationField):
        def evaluate(self, z: FloatArray) -> Any:
            nonlocal calls
            calls += z.shape[1]
            return super().evaluate(z)

    field = Counted([[0.0, 1.0], [0.0, 0.0]], [[100.0, 0.0], [1.0, 1.0]], "softplus")
    z0 = np.array([[0.0, 1.0], [-20.0, 3.0]])
    found = integrate(field, z0, "dopri5", h=5.0, steps=6)
    assert calls == found.evaluations.sum()
    assert found.rejected.sum() > 0
    np.testing.assert_array_equal((found.evaluations.sum(axis=0) - 1) % 6, 0)
    assert found.evaluations[:, 0].sum() != found.evaluations[:, 1].sum()


def test_dopri5_reports_a_sample_that_blows_up_and_the_others_are_exact() -> None:
    field = ReluField([[1.0]], [[1.0]])  # dz/dt = relu(z)
    z0 = np.array([[1e300, -1.0]])
    found = integrate(field, z0, "dopri5", h=50.0, steps=2, nonconvergence="ignore")
    np.testing.assert_array_equal(found.converged[:, 1], True)
    assert not found.converged[:, 0].any()
    assert found.z[-1, 0, 1] == -1.0
    short = AdaptiveOptions(max_attempts=3)
    few = integrate(field, [1.0], "dopri5", h=50.0, steps=1, adaptive=short, nonconvergence="ignore")
    assert not few.converged_all


@pytest.mark.parametrize("method", ["verlet", "velocity_verlet"])
@pytest.mark.parametrize("name", SPLIT)
def test_verlet_runs_back_to_where_it_started(method: str, name: str) -> None:
    from xbar_spice.solve.integrators.method import Grid, SolveOptions

    field, z0 = FIELDS[name][0](FIELDS[name][1]), start(name)
    z = integrate(field, z0, method, h=0.1, steps=50).z[-1]
    for k in range(49, -1, -1):
        z = METHODS.get(method).reverse(field, z, Grid(0.1, 1, k), SolveOptions())
    assert relative(z, z0) < 1e-13


def test_velocity_verlet_keeps_the_energy() -> None:
    """|y|^2 + |z|^2 of an oscillator over a thousand periods; forward Euler makes it grow without end."""
    field = hamiltonian_field([[1.0]], activation="identity")
    z = integrate(field, [1.0, 0.0], "velocity_verlet", h=0.1, steps=20000).z
    assert np.abs(np.sum(z**2, axis=1) - 1.0).max() < 0.01
    assert np.sum(integrate(field, [1.0, 0.0], "forward_euler", h=0.1, steps=2000).z[-1] ** 2) > 1e6


def test_wrong_combinations_are_named() -> None:
    field = ReluField(np.eye(2), np.eye(2))
    with pytest.raises(InvalidInputError, match=r"need a SplitField, such as hamiltonian_field.*got ReluField"):
        integrate(field, np.ones(2), "verlet", h=0.1, steps=1)
    with pytest.raises(InvalidInputError, match="chord needs a digital twin"):
        integrate(field, np.ones(2), h=0.1, steps=1, krylov=KrylovOptions(method="chord"))
    rng = np.random.default_rng(0)
    rough = ReluField(rng.normal(size=(6, 4)), rng.normal(size=(4, 6)))
    with pytest.raises(InvalidInputError, match=r"cg needs a symmetric matrix.*choose gmres"):
        integrate(rough, np.ones(4), h=0.1, steps=1, krylov=KrylovOptions(method="cg"))
    with pytest.raises(InvalidInputError, match="multiple of the number of layers, 2, got 3"):
        integrate(Layers([field, field]), np.ones(2), h=0.1, steps=3)
    with pytest.raises(InvalidInputError, match="states of one length"):
        Layers([field, ReluField(np.eye(3), np.eye(3))])
    with pytest.raises(InvalidInputError, match="states of one length"):
        Layers([])
    with pytest.raises(InvalidInputError, match="velocity must lead from z to y"):
        SplitField(LayerField(np.ones((2, 3))), LayerField(np.ones((2, 3))))
    with pytest.raises(InvalidInputError, match=r"activation must be one of relu.*got 'rleu'"):
        ActivationField(np.eye(2), np.eye(2), "rleu")
    with pytest.raises(InvalidInputError, match="square K"):
        antisymmetric_field(np.ones((2, 3)))
    with pytest.raises(InvalidInputError, match=r"b must be finite and of shape \(2,\)"):
        LayerField(np.eye(2), np.ones(3))
    with pytest.raises(InvalidInputError, match="no layer has the parameters K"):
        tangent(integrate(Layers([field, field]), np.ones(2), h=0.1, steps=2), np.ones(2), {"K": np.eye(2)})
