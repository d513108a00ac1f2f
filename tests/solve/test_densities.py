"""Densities along flows: reference values, gradients against differences, and laws over fields, methods and arrays."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
from support import relative, truth

import xbar_spice as xs
from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.operator import as_operator
from xbar_spice.solve.fields.field import Field
from xbar_spice.solve.fields.residual import ResidualField
from xbar_spice.solve.fields.systems import antisymmetric_field, hamiltonian_field, parabolic_field
from xbar_spice.solve.integrators.layers import Layers

CASES = truth("flows")["cases"]
BY = ("determinant", "trace")
X = np.array([[0.3, -0.7], [1.1, 0.4], [-0.2, 0.9]])


def numbers(rows: int, columns: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([rows, columns, seed]).normal(size=(rows, columns)) / np.sqrt(columns)


def biased(seed: int = 0) -> Field:
    A, B = numbers(4, 3, seed), numbers(2, 4, seed)
    return xs.ActivationField(A, B, "tanh", bias=True, output_bias=[0.2, -0.1])


FIELDS: dict[str, Callable[[], Field | Layers]] = {
    "tanh": biased,
    "digital bias": lambda: xs.ActivationField(numbers(4, 2), numbers(2, 4), "gelu", bias=numbers(1, 4)[0]),
    "layer": lambda: xs.LayerField(numbers(2, 2), [0.1, -0.3], "softplus", sign=-1),
    "antisymmetric": lambda: antisymmetric_field(numbers(2, 2), [0.3, 0.1], "sigmoid"),
    "parabolic": lambda: parabolic_field(numbers(4, 3), "silu", bias=True),
    "layers": lambda: Layers([biased(1), biased(2)]),
}
GRADIENTS = [
    *product(FIELDS, ("forward_euler", "implicit_euler"), BY),
    ("layer", "trapezoid", "determinant"),
    ("layers", "ab3", "trace"),
    ("parabolic", "dopri5", "trace"),
    ("tanh", "rk4", "hutchinson"),
]


@pytest.mark.parametrize("name", ["flow_relu", "flow_tanh"])
def test_reference_values(name: str) -> None:
    case = CASES[name]
    given = case["inputs"]
    field, x = xs.ActivationField(given["A"], given["B"], name.removeprefix("flow_")), np.array(given["X"]).T
    run = {"h": given["h"], "steps": given["N"]}
    for by, key, added in (("determinant", "exact", "log_det"), ("trace", "trace", "trace_integral")):
        found = xs.density_gradients(field, x, **run, by=by, weights=np.full(len(x), -1.0 / len(x)))
        base = -0.5 * np.sum(np.square(case["z_N"]), axis=0) - 0.5 * x.shape[1] * np.log(2 * np.pi)
        np.testing.assert_allclose(xs.log_density(field, x, **run, by=by), base + case[added], rtol=1e-12)
        assert -found.log_density.mean() == pytest.approx(case[f"loss_{key}"], rel=1e-12)
        for wanted, values in ((p, found.parameters[p]) for p in "AB"):
            assert relative(values, case[f"grad_{key}"][wanted]) < 1e-12
        assert relative(found.x.T, case[f"grad_{key}"]["X"]) < 1e-12
    np.testing.assert_allclose(xs.inverse_flow(field, np.transpose(case["z_N"]), **run), x, atol=1e-7)
    for steps, gap in case["gap_logdet_trace_by_N"][:3]:
        values = [xs.log_density(field, x, h=1.0 / steps, steps=steps, by=by) for by in BY]
        assert np.abs(values[0] - values[1]).max() == pytest.approx(gap, rel=1e-9)


def test_by_the_determinant_a_flow_has_mass_one() -> None:
    given, side = CASES["flow_mass_2d"]["inputs"], np.linspace(-9, 9, 301)
    middle = 0.5 * (side[1:] + side[:-1])
    plane = np.stack(np.meshgrid(middle, middle), axis=-1).reshape(-1, 2)
    field = xs.ReluField(given["A"], given["B"])
    for result in CASES["flow_mass_2d"]["results"][::3]:
        for by, key in (("determinant", "mass_logdet"), ("trace", "mass_trace")):
            values = xs.log_density(field, plane, h=result["h"], steps=result["N"], by=by)
            assert np.exp(values).sum() * np.diff(side)[0] ** 2 == pytest.approx(result[key], abs=2e-3)
    folded = xs.density_gradients(field, plane[::97], h=3.0, steps=1)
    assert folded.least_determinant is not None
    assert folded.least_determinant.min() < 0.0


@pytest.mark.parametrize(("name", "method", "by"), GRADIENTS)
def test_gradients_are_those_of_the_discrete_scheme(name: str, method: str, by: str) -> None:
    field, rng = FIELDS[name](), np.random.default_rng(1)
    weights = np.array([1.0, -0.5, 2.0])
    exact = {"h": 0.25, "steps": 4, "by": by}

    def value(moved: Field | Layers, x: np.ndarray) -> float:
        draw = np.random.default_rng(3)
        return float(weights @ xs.log_density(moved, x, method, **exact, rng=draw, probes=2))

    found = xs.density_gradients(field, X, method, **exact, rng=np.random.default_rng(3), probes=2, weights=weights)
    assert float(weights @ found.log_density) == pytest.approx(value(field, X), rel=1e-12)
    eps, dx = 1e-5, rng.normal(size=X.shape)
    changes = {key: rng.normal(size=operator.shape) for key, operator in field.operators.items()}

    def moved(sign: float) -> Field | Layers:
        return field.replaced(
            {key: as_operator(op.to_dense() + sign * eps * changes[key]) for key, op in field.operators.items()}
        )

    slope = (value(moved(1.0), X + eps * dx) - value(moved(-1.0), X - eps * dx)) / (2 * eps)
    expected = np.vdot(found.x, dx) + sum(np.vdot(found.parameters[key], change) for key, change in changes.items())
    assert expected == pytest.approx(slope, rel=2e-6, abs=2e-6)


def test_gradients_of_biases() -> None:
    field, bias = FIELDS["digital bias"](), numbers(1, 4)[0]
    for by in BY:
        found = xs.density_gradients(field, X, h=0.25, steps=3, by=by).parameters["bias"]
        steps = [
            [xs.log_density(field.replaced({"bias": bias + e * s}), X, h=0.25, steps=3, by=by).sum() for s in (1, -1)]
            for e in 1e-5 * np.eye(4)
        ]
        np.testing.assert_allclose(found, [(up - down) / 2e-5 for up, down in steps], rtol=1e-6)


@pytest.mark.parametrize(
    ("method", "by"), [*product(("forward_euler", "rk4"), BY), ("trapezoid", "determinant"), ("rk4", "hutchinson")]
)
def test_products_of_any_field_give_what_its_matrices_give(method: str, by: str) -> None:
    K, b = numbers(2, 2), [0.3, -0.1]
    values = [
        xs.log_density(field, X, method, h=0.5, steps=2, by=by, rng=np.random.default_rng(0), probes=3)
        for field in (xs.LayerField(K, b), ResidualField("tanh", K1=K, b1=b))
    ]
    np.testing.assert_allclose(*values, rtol=1e-10)


def test_verlet_changes_no_volume() -> None:
    field = hamiltonian_field(numbers(1, 1), [0.2])
    run = {"h": 0.5, "steps": 3}
    z = xs.integrate(field, X.T, "verlet", **run).z[-1]
    for by in BY:
        found = xs.density_gradients(field, X, "verlet", **run, by=by)
        np.testing.assert_allclose(found.log_density, -0.5 * np.sum(z**2, axis=0) - np.log(2 * np.pi))
        np.testing.assert_allclose(xs.log_density(field, X, "verlet", **run, by=by), found.log_density)
    np.testing.assert_allclose(xs.inverse_flow(field, z.T, "verlet", **run), X)


def test_hutchinson_has_no_bias_and_the_variance_of_its_formula() -> None:
    case = CASES["flow_relu"]
    given, wanted = case["inputs"], case["hutchinson"]
    field, x = xs.ReluField(given["A"], given["B"]), np.repeat(np.transpose(given["X"])[:1], 4096, axis=0)
    exact = xs.log_density(field, x[:1], h=1.0, steps=1, by="trace")
    found = xs.log_density(field, x, h=1.0, steps=1, by="hutchinson", rng=np.random.default_rng(0)) - exact
    traces = found + wanted["trace"]
    assert np.abs(traces - wanted["value"]).min() < 1e-12
    assert traces.mean() == pytest.approx(wanted["trace"], abs=5 * np.sqrt(wanted["variance_rademacher"] / 4096))
    assert traces.var() == pytest.approx(wanted["variance_rademacher"], rel=0.1)


def test_on_arrays_it_is_the_density_of_what_their_circuits_make_of_the_weights() -> None:
    A, B = numbers(4, 2), numbers(2, 4)
    design = xs.Design(r_word=50.0, r_bit=50.0)
    with xs.program(A, design) as A_hw, xs.program(B, design) as B_hw:
        analog = xs.ActivationField(A_hw, B_hw, "tanh")
        effective = xs.ActivationField(A_hw.to_dense(), B_hw.to_dense(), "tanh")
        for by in BY:
            values = [xs.log_density(field, X, h=0.25, steps=4, by=by) for field in (analog, effective)]
            np.testing.assert_allclose(*values, rtol=1e-9)
            assert relative(values[0], xs.log_density(xs.ActivationField(A, B, "tanh"), X, h=0.25, steps=4)) > 1e-3
        found, wanted = (xs.density_gradients(field, X, h=0.25, steps=4) for field in (analog, effective))
        assert relative(found.parameters["A"], wanted.parameters["A"]) < 1e-9
        np.testing.assert_allclose(
            xs.inverse_flow(analog, X, h=0.25, steps=4), xs.inverse_flow(effective, X, h=0.25, steps=4), rtol=1e-6
        )


@pytest.mark.parametrize(
    ("field", "options", "text"),
    [
        (biased(), {"method": "ab3"}, "a method of one step"),
        (biased(), {"by": "hutchinson"}, "give rng"),
        (biased(), {"by": "hutchinson", "method": "dopri5", "rng": np.random.default_rng(0)}, "take forward_euler"),
        (biased(), {"x": [1.0, 2.0]}, r"x must have shape \(samples, 2\)"),
        (ResidualField("tanh", K1=numbers(2, 2)), {"by": "trace", "method": "implicit_euler"}, "has no derivative"),
    ],
)
def test_what_has_no_density_is_refused(field: Field, options: dict, text: str) -> None:
    with pytest.raises(InvalidInputError, match=text):
        xs.log_density(field, **{"x": X, "h": 0.5, "steps": 2} | options)


def test_what_has_no_gradient_is_refused() -> None:
    bent = xs.Activation("bent", np.sin, lambda s, r: np.cos(s))
    for field, method, text in (
        (xs.LayerField(numbers(2, 2), activation=bent), "forward_euler", "second derivative"),
        (ResidualField("tanh", K1=numbers(2, 2)), "forward_euler", "of the form"),
        (biased(), "rk4", "no gradient of its determinant"),
    ):
        with pytest.raises(InvalidInputError, match=text):
            xs.density_gradients(field, X, method, h=0.5, steps=2)
