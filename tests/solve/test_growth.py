"""How fast differences grow along a run: the reference values, and the monitor on arrays."""

from __future__ import annotations

import numpy as np
import pytest
from support import relative, truth
from support.solver_table import FIELDS, numbers, start

import xbar_spice as xs
from xbar_spice.errors import InvalidInputError
from xbar_spice.solve.growth import propagator_norm
from xbar_spice.solve.integrators import Trajectory

CASES = truth("multilevel")


@pytest.fixture(scope="module")
def run() -> Trajectory:
    given = CASES["growth"]["inputs"]
    field = xs.ActivationField(given["A"], given["B"], "tanh")
    return xs.integrate(field, given["z0"], "forward_euler", h=given["h"], steps=given["N"])


def test_reference_values(run: Trajectory) -> None:
    case = CASES["growth"]
    found = xs.growth(run)
    assert relative(found.abscissa, case["spectral_abscissa_per_step"]) < 1e-12
    assert relative(found.numerical_abscissa, case["numerical_abscissa_per_step"]) < 1e-12
    assert relative(found.bound[-1], case["exp_sum_h_omega"]) < 1e-12
    np.testing.assert_array_equal(found.products, [5] * 6)
    norms = propagator_norm(run, 8, start=case["inputs"]["v"])
    assert relative(norms, case["power_iteration"]) < 1e-12
    assert norms[-1] < case["propagator_norm"] < found.bound[-1]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_few_products_estimate_it(run: Trajectory, count: int) -> None:
    case = CASES["growth"]["arnoldi_at_z0"]
    found = xs.growth(run, count, start=CASES["growth"]["inputs"]["v"])
    assert found.abscissa[0] == pytest.approx(case["ritz_abscissa"][count - 1], rel=1e-10)
    assert found.numerical_abscissa[0] == pytest.approx(case["field_of_values_lower_bound"][count - 1], rel=1e-10)
    np.testing.assert_array_equal(found.products, [count] * 6)


@pytest.mark.parametrize(("method", "kind"), [("rk4", "tanh"), ("implicit_euler", "relu"), ("verlet", "split")])
def test_every_method_and_field_at_the_state_where_a_step_begins(method: str, kind: str) -> None:
    make, parameters = FIELDS[kind]
    field, z0 = make(parameters), start(kind)
    trajectory = xs.integrate(field, z0, method, h=0.1, steps=2)
    exact = xs.growth(trajectory)
    assert exact.abscissa.shape == exact.bound.shape == (2, z0.shape[1])
    for sample in range(z0.shape[1]):
        at = field.evaluate(trajectory.z[1][:, [sample]])
        J = np.column_stack([field.jvp(at, unit[:, np.newaxis])[:, 0] for unit in np.eye(len(z0))])
        assert exact.abscissa[1, sample] == pytest.approx(np.linalg.eigvals(J).real.max(), rel=1e-9)
        assert exact.numerical_abscissa[1, sample] == pytest.approx(np.linalg.eigvalsh((J + J.T) / 2)[-1], rel=1e-9)
    for count in range(1, len(z0) + 1):  # Arnoldi, whose space is closed earlier where J is singular
        found = xs.growth(trajectory, count, seed=3)
        assert (found.numerical_abscissa <= exact.numerical_abscissa + 1e-12).all()
    assert relative(found.abscissa, exact.abscissa) < 1e-9


def test_a_decaying_matrix_grows_on_the_way() -> None:
    case = CASES["transient"]
    field = xs.LayerField(numbers(case["inputs"]["J"]), activation="identity")
    run = xs.integrate(field, [0.0, 1.0], "rk4", h=case["at_t"] / 16, steps=16)
    found = xs.growth(run)
    assert found.abscissa == pytest.approx(max(case["eigenvalues_real"]))
    assert found.numerical_abscissa == pytest.approx(case["numerical_abscissa"])
    norm = propagator_norm(run, 20)[-1]
    assert norm == pytest.approx(case["max_norm_exp_tJ_on_grid_0_05"], rel=1e-5)


def test_layers_on_arrays_are_looked_at_by_their_own_reads() -> None:
    rng = np.random.default_rng(0)
    design = xs.Design(r_word=20.0, r_bit=20.0, variation=xs.Variation(0.1))
    chips = [xs.program(rng.normal(size=(3, 3)), design, rng=rng) for _ in range(2)]
    run = xs.integrate(xs.Layers([xs.LayerField(K) for K in chips]), [1.0, 0.5, -0.5], "rk4", h=0.1, steps=2)
    found = xs.growth(run)
    for k, K in enumerate(chips):
        effective = np.column_stack([K.mv(unit[:, np.newaxis])[:, 0] for unit in np.eye(3)])
        J = (1 - np.tanh(effective @ run.z[k]) ** 2)[:, np.newaxis] * effective
        assert found.abscissa[k] == pytest.approx(np.linalg.eigvals(J).real.max(), rel=1e-9)
        K.close()


def test_what_does_not_fit_is_refused(run: Trajectory) -> None:
    with pytest.raises(InvalidInputError, match="products must be a whole number from 1 to 5, got 6; more products"):
        xs.growth(run, 6)
    with pytest.raises(InvalidInputError, match=r"start must be a vector of shape \(5,\)"):
        xs.growth(run, 2, start=np.zeros(5))
    field = xs.LayerField([[1e200]], activation="identity")
    lost = xs.integrate(field, [1e200], "rk4", h=1.0, steps=2, nonconvergence="ignore")
    assert xs.growth(lost).abscissa == pytest.approx([1e200, np.nan], nan_ok=True)
