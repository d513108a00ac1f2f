"""Steps with a fixed implicit part, and leapfrog: reference values, L on an array, orders and stability."""

from __future__ import annotations

import numpy as np
import pytest
from support import relative, truth

import xbar_spice as xs
from xbar_spice.errors import InvalidInputError
from xbar_spice.solve.adjoint.discrete import gradients
from xbar_spice.solve.fields.field import ReluField
from xbar_spice.solve.fields.layer_field import LayerField
from xbar_spice.solve.fields.systems import parabolic_field
from xbar_spice.solve.integrators.integration import integrate
from xbar_spice.solve.integrators.layers import Layers

CASES = truth("steps")["cases"]


def stencil_matrix(stencil: tuple[float, ...], n: int) -> np.ndarray:
    shift = np.roll(np.eye(n), 1, axis=0)
    powers = [np.linalg.matrix_power(shift, j) for j in range(len(stencil))]
    return stencil[0] * powers[0] + sum(s * (p + p.T) for s, p in zip(stencil[1:], powers[1:], strict=True))


def test_imex_of_the_reference_by_stencil_by_matrix_and_on_an_array() -> None:
    case = CASES["imex"]
    given = case["inputs"]
    field, run = ReluField(given["A"], given["B"]), {"h": given["h"], "steps": given["N"]}
    L, target = stencil_matrix(given["stencil"], 6), np.array(given["target"])
    with xs.program(L, xs.Design(), engine="ideal") as array:
        for method, tight in (
            (xs.Imex(given["stencil"], trained=True), 1e-10),
            (xs.Imex(matrix=L, trained=True), 1e-10),
            (xs.Imex(matrix=array, trained=True), 1e-6),
        ):
            krylov = xs.Gmres(rtol=1e-10)
            trajectory = integrate(field, given["z0"], method, **run, krylov=krylov)
            assert trajectory.converged_all
            assert relative(trajectory.z[-1], case["z_N"]) < tight
            found = gradients(trajectory, trajectory.z[-1] - target)
            assert relative(found.z0, case["gz0"]) < tight
            assert relative(found.parameters["A"], case["gA"]) < tight
            assert relative(found.parameters["B"], case["gB"]) < tight
            of_L = found.parameters["L"]
            if of_L.ndim == 2:
                units = [stencil_matrix(tuple(unit), 6) for unit in np.eye(2)]
                of_L = np.array([np.vdot(of_L, unit) for unit in units])
            assert relative(of_L, case["g_stencil"]) < tight
    assert trajectory.krylov_iterations.min() > 0


def test_leapfrog_of_the_reference_with_weights_per_step() -> None:
    case = CASES["leapfrog"]
    given = case["inputs"]
    layers = Layers(
        [parabolic_field(K, given["activation"], bias=b) for K, b in zip(given["K"], given["b"], strict=True)]
    )
    trajectory = integrate(layers, given["Y0"], "leapfrog", h=given["h"], steps=given["N"])
    assert relative(trajectory.z[-1], case["Y_N"]) < 1e-12
    found = gradients(trajectory, trajectory.z[-1] - np.array(given["target"]))
    assert relative(found.z0, case["gY0"]) < 1e-10
    for parameter, key in (("K", "gK"), ("bias", "gb")):
        values = [found.parameters[f"{parameter}[{layer}]"] for layer in range(given["N"])]
        assert relative(np.stack(values), case[key]) < 1e-10


def test_the_tangent_of_imex_has_the_change_of_the_matrix() -> None:
    rng = np.random.default_rng(0)
    field, z0 = LayerField(rng.normal(size=(6, 6))), rng.normal(size=(6, 2))
    method = xs.Imex((2.0, -0.5, 0.2), (3,), trained=True)  # two channels of three
    trajectory = integrate(field, z0, method, h=0.3, steps=4)
    cotangent, dz, dK, dL = (rng.normal(size=size) for size in ((6, 2), (6, 2), (6, 6), 3))
    found = gradients(trajectory, cotangent)
    expected = np.vdot(found.z0, dz) + np.vdot(found.parameters["K"], dK) + np.vdot(found.parameters["L"], dL)
    assert np.vdot(cotangent, xs.tangent(trajectory, dz, {"K": dK, "L": dL})) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("method", "order"), [("leapfrog", 1), (xs.Leapfrog(first=0.5), 2), ("imex", 1)])
def test_order_of_convergence(method: str | xs.Method, order: int) -> None:
    """Of y'' = -y from rest, and of z' = -z."""
    field = LayerField([[-1.0]], activation="identity")
    exact = np.exp(-1.0) if method == "imex" else np.cos(1.0)
    errors = [abs(integrate(field, [1.0], method, h=1 / n, steps=n).z[-1, 0] - exact) for n in (40, 80)]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.05)


def test_imex_is_stable_at_any_step_with_half_of_what_damps() -> None:
    field = LayerField([[-10.0]], activation="identity")
    for share, grows in ((0.5, False), (0.49, True)):
        z = integrate(field, [1.0], xs.Imex((10.0 * share,)), h=1e3, steps=100).z
        assert (abs(z[-1, 0]) > 1.0) == grows


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"matrix": np.ones((2, 3))}, "matrix must be square"),
        ({"matrix": np.eye(3)}, "must be 2 x 2"),
        ({"shape": (3,)}, "set shape of imex"),
        ({"stencil": ()}, "stencil must be"),
    ],
)
def test_what_imex_cannot_be_is_refused(options: dict, text: str) -> None:
    with pytest.raises(InvalidInputError, match=text):
        integrate(LayerField(np.eye(2)), [1.0, 2.0], xs.Imex(**options), h=0.1, steps=1)
