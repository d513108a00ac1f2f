"""Noise as diffusion: reference paths with their gradients, moments of the scheme, the noise of reads."""

from __future__ import annotations

import numpy as np
import pytest
from support import relative, truth

import xbar_spice as xs
from xbar_spice.errors import InvalidInputError
from xbar_spice.solve.adjoint.discrete import gradients
from xbar_spice.solve.integrators.integration import integrate
from xbar_spice.solve.integrators.layers import Layers

CASES = truth("steps")["cases"]
GIVEN = CASES["sde_path"]["inputs"]
A, B, TARGET = (np.array(GIVEN[name]) for name in ("A", "B", "target"))


def test_reference_paths() -> None:
    """With noise that is added, and with cells that fluctuate: there every read has its own matrices."""
    run = {"h": GIVEN["h"], "steps": GIVEN["N"]}
    added = xs.EulerMaruyama(GIVEN["sigma"], xi=GIVEN["xi"])
    factors = [
        (1 + GIVEN["eps"] * np.array(xi_A), 1 + GIVEN["eps"] * np.array(xi_B))
        for xi_A, xi_B in zip(GIVEN["xi_A"], GIVEN["xi_B"], strict=True)
    ]
    cells = Layers([xs.ReluField(A * of_A, B * of_B) for of_A, of_B in factors])
    for name, field, method in (("additive", xs.ReluField(A, B), added), ("cells", cells, "forward_euler")):
        wanted, trajectory = CASES["sde_path"][name], integrate(field, GIVEN["z0"], method, **run)
        assert relative(trajectory.z[-1], wanted["z_N"]) < 1e-12
        found = gradients(trajectory, trajectory.z[-1] - TARGET)
        assert relative(found.z0, wanted["gz0"]) < 1e-10
        if name == "additive":
            of = found.parameters
        else:
            of = {
                key: sum(found.parameters[f"{key}[{n}]"] * one[j] for n, one in enumerate(factors))
                for j, key in enumerate("AB")
            }
        assert relative(of["A"], wanted["gA"]) < 1e-10
        assert relative(of["B"], wanted["gB"]) < 1e-10


def test_paths_have_the_moments_of_the_scheme() -> None:
    case, many = CASES["sde_ou"], 4000
    given = case["inputs"]
    field = xs.LayerField([[-given["k"]]], activation="identity")
    for wanted in case["euler_maruyama"][:2]:
        method = xs.EulerMaruyama(given["sigma"], seed=1)
        z = integrate(field, np.full((1, many), given["z0"]), method, h=given["T"] / wanted["N"], steps=wanted["N"]).z
        deviation = np.sqrt(wanted["variance"])
        assert z[-1].mean() == pytest.approx(wanted["mean"], abs=5 * deviation / np.sqrt(many))
        assert z[-1].var() == pytest.approx(wanted["variance"], rel=5 * np.sqrt(2 / many))


def test_without_diffusion_it_is_forward_euler_and_a_seed_is_a_path() -> None:
    field, z0 = xs.ReluField(A, B), np.ones((3, 2))
    still = integrate(field, z0, xs.EulerMaruyama(0.0), h=0.1, steps=4).z
    np.testing.assert_array_equal(still, integrate(field, z0, "forward_euler", h=0.1, steps=4).z)
    paths = [integrate(field, z0, xs.EulerMaruyama(0.2, seed), h=0.1, steps=4).z for seed in (1, 1, 2)]
    np.testing.assert_array_equal(paths[0], paths[1])
    assert (paths[0][-1] != paths[2][-1]).all()
    with pytest.raises(InvalidInputError, match="xi must have shape"):
        integrate(field, z0, xs.EulerMaruyama(0.2, xi=np.ones((2, 3))), h=0.1, steps=4)


def test_covariance_of_reads() -> None:
    wanted, z = CASES["read_noise"]["covariance_of_f"], np.array(GIVEN["z0"])
    np.testing.assert_allclose(xs.f_covariance(xs.ReluField(A, B), z, GIVEN["eps"]), wanted, rtol=1e-10)
    rng, many = np.random.default_rng(0), 20_000
    of_A, of_B = ((1 + 1e-3 * rng.standard_normal((many, *W.shape))) * W for W in (A, B))
    values = np.einsum("snm,sm->sn", of_B, np.maximum(of_A @ z, 0.0))
    found = np.cov(values.T)
    assert relative(found, xs.f_covariance(xs.ReluField(A, B), z, 1e-3)) < 0.05
    with pytest.raises(InvalidInputError, match="got LayerField"):
        xs.f_covariance(xs.LayerField(np.eye(3)), z, 0.1)


def test_reads_of_fluctuating_cells_are_geometric_brownian_motion() -> None:
    """f = mu z of two cells: noise of |mu| sqrt(2) eps z in f is sigma z = that times sqrt(h), in Ito's sense."""
    case = CASES["sde_gbm"]
    given = case["inputs"]
    field = xs.ActivationField([[1.0]], [[given["mu"]]], "identity")
    for wanted in case["euler_maruyama"]:
        h = given["T"] / wanted["N"]
        eps = given["sigma"] / (abs(given["mu"]) * np.sqrt(2.0 * h))
        z = integrate(field, [given["z0"]], "forward_euler", h=h, steps=wanted["N"]).z[:, 0]
        assert z[-1] == pytest.approx(wanted["mean"], rel=1e-12)
        tenth = xs.f_covariance(field, [1.0], eps / 10)  # deviations beyond 2 are refused, and all are to first order
        growth = z[1] ** 2 / z[0] ** 2 + h**2 * 100.0 * tenth[0, 0]
        assert growth ** wanted["N"] == pytest.approx(wanted["second_moment"], rel=1e-12)


def test_variance_of_minibatches() -> None:
    case = CASES["sgd_variance"]
    rows = case["inputs"]["sample_gradients"]
    for batch, without, with_replacement in case["table_b_without_with_replacement"]:
        assert xs.batch_variance(rows, batch) == pytest.approx(without, rel=1e-12)
        assert xs.batch_variance(rows, batch, replacement=True) == pytest.approx(with_replacement, rel=1e-12)
    with pytest.raises(InvalidInputError, match="batch must be <= 8"):
        xs.batch_variance(rows, 9)
