"""Methods of several steps through layers: f is carried from layer to layer with the weights of its own step."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from support import relative, truth
from support.doubles import Recorded
from support.solver_table import FIELDS, changes, numbers, slope, start

from xbar_spice.linear.operator import FloatArray
from xbar_spice.parts import METHODS
from xbar_spice.solve.adjoint.continuous import continuous_gradients
from xbar_spice.solve.adjoint.discrete import gradients
from xbar_spice.solve.adjoint.memory import checkpointed_gradients
from xbar_spice.solve.adjoint.tangent import tangent
from xbar_spice.solve.fields.field import ActivationField, Field
from xbar_spice.solve.fields.layer_field import LayerField
from xbar_spice.solve.fields.systems import antisymmetric_field
from xbar_spice.solve.integrators.integration import integrate
from xbar_spice.solve.integrators.layers import Layers
from xbar_spice.solve.integrators.multistep import AB3, AM3
from xbar_spice.solve.linear_solvers.krylov import KrylovOptions
from xbar_spice.solve.newton.newton import NewtonOptions
from xbar_spice.train.losses import softmax_cross_entropy

CASES = truth("layers")
ROTATION = antisymmetric_field([[0.0, 2.0], [0.0, 0.0]], activation="identity")
COUNTS = [(1, 1), (1, 2), (4, 1), (7, 1), (3, 2), (2, 5)]


def various(layers: int, size: int = 3) -> list[Field]:
    rng = np.random.default_rng(layers)
    return [
        ActivationField(rng.normal(size=(4, size + 1)), rng.normal(size=(size, 4)) / 2, "tanh", bias=True)
        for _ in range(layers)
    ]


@pytest.mark.parametrize(
    ("name", "method", "build"),
    [
        ("layers_res", "forward_euler", lambda K, b: LayerField(K, b, "tanh")),
        ("layers_ab3_own", "ab3", lambda K, b: antisymmetric_field(K, b, "tanh")),
    ],
)
def test_reference_values(name: str, method: str, build: Callable[[FloatArray, FloatArray], Field]) -> None:
    case = CASES[name]
    given, expected = case["inputs"], case["grad_loss"]
    layers = Layers([build(numbers(K), numbers(b)) for K, b in zip(given["K"], given["b"], strict=True)])
    trajectory = integrate(layers, numbers(given["Y0"]), method, h=given["h"], steps=len(given["K"]))
    score = softmax_cross_entropy(numbers(given["W"]), numbers(given["mu"]), trajectory.z[-1], given["labels"])
    found = gradients(trajectory, score.cotangent)
    assert relative(trajectory.z[-1], numbers(case["Y_N"])) < 1e-12
    assert score.loss == pytest.approx(case["loss"], rel=1e-12)
    assert relative(found.z0, numbers(expected["Y0"])) < 1e-10
    for parameter in ("K", "b"):
        values = np.stack([found.parameters[f"{parameter}[{layer}]"] for layer in range(len(given["K"]))])
        assert relative(values, numbers(expected[parameter])) < 1e-10


def test_ab3_with_one_step_a_layer_is_of_order_two_in_weights_that_vary() -> None:
    case = CASES["layers_ab3_order"]

    def matrices(t: float) -> tuple[FloatArray, FloatArray]:
        return np.array([[0.0, 1.0 + np.sin(3 * t)], [-0.5, 0.3 * t]]), np.array([0.2 * np.cos(t), 0.1])

    def f(t: float, z: FloatArray) -> FloatArray:
        K, b = matrices(t)
        return np.asarray(np.tanh((K - K.T) @ z + b))

    exact, h = np.array([1.0, -0.5]), 2.0 / 400  # by RK4 with the weights at its stages
    for t in h * np.arange(400):
        k1 = f(t, exact)
        k2 = f(t + h / 2, exact + h / 2 * k1)
        k3 = f(t + h / 2, exact + h / 2 * k2)
        exact = exact + h / 6 * (k1 + 2 * k2 + 2 * k3 + f(t + h, exact + h * k3))

    def error(steps: int) -> float:
        layers = Layers([antisymmetric_field(*matrices(2.0 * step / steps)) for step in range(steps)])
        found = integrate(layers, [1.0, -0.5], "ab3", h=2.0 / steps, steps=steps)
        return float(np.abs(found.z[-1] - exact).max())

    found = [error(steps) for steps in case["N"]]
    assert found == pytest.approx(case["error"]["ab3_own"], rel=1e-5)
    assert all(coarse / finer > 3.8 for coarse, finer in pairwise(found))


def test_ab3_does_not_let_a_rotation_grow_through_layers() -> None:
    """Forward Euler, into which it falls if it starts afresh in each layer, makes more than 100 of it."""
    steps, h = 400, 0.1
    found = integrate(Layers([ROTATION] * steps), [0.12, 0.0], "ab3", h=h, steps=steps).z
    assert np.linalg.norm(found, axis=1).max() < 0.125
    np.testing.assert_array_equal(found, integrate(ROTATION, [0.12, 0.0], "ab3", h=h, steps=steps).z)
    euler = integrate(ROTATION, [0.12, 0.0], "forward_euler", h=h, steps=steps).z
    assert np.linalg.norm(euler[-1]) > 100.0


@pytest.mark.parametrize("method", METHODS.names)
@pytest.mark.parametrize("cuts", [1, 2, 6])
def test_equal_layers_are_one_field_bit_for_bit(method: str, cuts: int) -> None:
    build, parameters = FIELDS["hamiltonian"]
    z0 = start("hamiltonian")
    whole = integrate(build(parameters), z0, method, h=0.2, steps=6)
    cut = integrate(Layers([build(parameters) for _ in range(cuts)]), z0, method, h=0.2, steps=6)
    np.testing.assert_array_equal(cut.z, whole.z)
    one, parts = gradients(whole, np.ones(z0.shape)), gradients(cut, np.ones(z0.shape))
    assert relative(parts.z0, one.z0) < 1e-14
    total = parts.parameters["K"] if cuts == 1 else sum(parts.parameters[f"K[{j}]"] for j in range(cuts))
    assert relative(total, one.parameters["K"]) < 1e-14


@pytest.mark.parametrize("method", ["am3", "trapezoid", "implicit_euler"])
def test_what_a_solve_starts_from_goes_from_layer_to_layer_too(method: str) -> None:
    """The last two states, from which a step is extrapolated, and what the solve of the adjoint before added."""
    field, z0 = various(1)[0], np.random.default_rng(0).normal(size=(3, 2))
    options = {"newton": NewtonOptions(start="extrapolated"), "krylov": KrylovOptions(warm_start=True)}
    whole = integrate(field, z0, method, h=0.2, steps=6, **options)  # type: ignore[arg-type]
    cut = integrate(Layers([field] * 6), z0, method, h=0.2, steps=6, **options)  # type: ignore[arg-type]
    np.testing.assert_array_equal(cut.z, whole.z)
    np.testing.assert_array_equal(cut.newton_iterations, whole.newton_iterations)
    found, wanted = gradients(cut, z0), gradients(whole, z0)
    np.testing.assert_array_equal(found.z0, wanted.z0)
    np.testing.assert_array_equal(found.krylov_iterations, wanted.krylov_iterations)


@pytest.mark.parametrize("method", ["ab3", "am3", "trapezoid", "implicit_euler", "forward_euler"])
@pytest.mark.parametrize(("layers", "each"), COUNTS)
def test_layers_are_the_scheme_written_out(method: str, layers: int, each: int) -> None:
    """Every f(z_k) has the weights of the step that begins at z_k, an implicit term those of its step."""
    scheme, fields, h = METHODS.get(method), various(layers), 0.1
    steps, rows = layers * each, {"ab3": AB3.rows, "am3": AM3.rows}.get(method) or scheme.rows
    z = [np.random.default_rng(0).normal(size=(3, 2))]
    values: list[FloatArray] = []
    for k in range(steps):
        field = fields[k // each]
        values.append(field.evaluate(z[k]).value)
        row = rows[min(k, len(rows) - 1)]
        base = z[k] + h * sum(b * values[k + 1 - j] for j, b in enumerate(row) if j)
        after = base
        for _ in range(200 if row[0] else 0):
            after = base + h * row[0] * field.evaluate(after).value
        z.append(after)
    found = integrate(Layers(fields), z[0], method, h=h, steps=steps)
    assert relative(found.z, np.stack(z)) < 1e-13


@pytest.mark.parametrize("method", ["ab3", "am3", "trapezoid", "dopri5", "rk4"])
@pytest.mark.parametrize(("layers", "each"), COUNTS)
def test_adjoint_tangent_and_checkpoints_of_layers(method: str, layers: int, each: int) -> None:
    fields, steps, rng = Layers(various(layers)), layers * each, np.random.default_rng(1)
    z0, cotangent, dz = rng.normal(size=(3, 3, 2))
    trajectory = integrate(fields, z0, method, h=0.1, steps=steps)
    g = gradients(trajectory, cotangent)
    dp = changes(g.parameters)
    moved = tangent(trajectory, dz, dp)
    assert slope(g, dz, dp) == pytest.approx(float(np.sum(cotangent * moved)), rel=1e-12)
    for every in (1, 2, steps):
        lean = checkpointed_gradients(fields, z0, lambda z: cotangent, method, h=0.1, steps=steps, every=every)
        assert relative(lean.gradients.z0, g.z0) < 1e-13
        for name, wanted in g.parameters.items():
            assert relative(lean.gradients.parameters[name], wanted) < 1e-12
    parts = gradients(trajectory, cotangent, by="step").parameters
    for name, wanted in g.parameters.items():
        assert relative(parts[name].sum(axis=0), wanted) < 1e-12


@pytest.mark.parametrize("method", ["ab3", "am3"])
def test_gradients_of_layers_are_finite_differences(method: str) -> None:
    rng = np.random.default_rng(2)
    A, B, direction = 0.5 * rng.normal(size=(4, 5, 4)), 0.5 * rng.normal(size=(4, 4, 5)), rng.normal(size=(4, 5, 4))
    z0 = rng.normal(size=4)

    def last(moved: FloatArray) -> FloatArray:
        layers = Layers([ActivationField(a, b, "tanh") for a, b in zip(moved, B, strict=True)])
        return np.asarray(integrate(layers, z0, method, h=0.2, steps=4).z[-1])

    trajectory = integrate(
        Layers([ActivationField(a, b, "tanh") for a, b in zip(A, B, strict=True)]), z0, method, h=0.2, steps=4
    )
    found = gradients(trajectory, trajectory.z[-1])
    for layer in range(4):
        step = 1e-5 * direction * (np.arange(4) == layer)[:, None, None]
        difference = 0.5 * (np.sum(last(A + step) ** 2) - np.sum(last(A - step) ** 2)) / 2e-5
        assert np.vdot(found.parameters[f"A[{layer}]"], direction[layer]) == pytest.approx(difference, rel=1e-8)


def test_a_layer_has_the_steps_that_use_its_f_by_step() -> None:
    """Of the equal layers the parts of a step add up to the part that step has in the gradient of one field."""
    field, z0 = various(1)[0], np.ones(3)
    whole = gradients(integrate(field, z0, "ab3", h=0.2, steps=4), z0, by="step").A
    parts = gradients(integrate(Layers([field] * 4), z0, "ab3", h=0.2, steps=4), z0, by="step").parameters
    assert [len(parts[f"A[{layer}]"]) for layer in range(4)] == [3, 3, 2, 1]
    for step in range(4):
        mine = [
            parts[f"A[{layer}]"][step - layer] for layer in range(step + 1) if step - layer < len(parts[f"A[{layer}]"])
        ]
        assert relative(sum(mine), whole[step]) < 1e-13


def test_a_step_of_ab3_reads_once_in_every_layer() -> None:
    arrays = [Recorded(np.random.default_rng(seed).normal(size=(3, 3))) for seed in range(5)]
    trajectory = integrate(Layers([LayerField(array) for array in arrays]), np.ones(3), "ab3", h=0.1, steps=5)
    assert [len(array.reads) for array in arrays] == [1] * 5
    gradients(trajectory, np.ones(3))
    assert [array.count(direction="transposed") for array in arrays] == [1] * 5


@pytest.mark.parametrize("method", ["ab3", "am3", "trapezoid"])
def test_the_adjoint_equation_is_solved_through_layers_too(method: str) -> None:
    field = various(1)[0]
    whole = continuous_gradients(integrate(field, np.ones(3), "rk4", h=0.2, steps=6), np.ones(3), method)
    cut = continuous_gradients(integrate(Layers([field] * 6), np.ones(3), "rk4", h=0.2, steps=6), np.ones(3), method)
    np.testing.assert_array_equal(cut.z0, whole.z0)
    assert relative(sum(cut.parameters[f"A[{j}]"] for j in range(6)), whole.A) < 1e-14


def test_the_landscape_of_two_parameters() -> None:
    """Loss and gradient of Y <- Y + 10/N tanh(K(theta) Y), far too long steps of h lambda = -3 among them."""
    case = truth("multilevel")["landscape"]

    def matrix(t1: float, t2: float) -> FloatArray:
        return np.array([[-t1 - t2, t1, t2], [t2, -t1 - t2, t1], [t1, t2, -t1 - t2]])

    def of(theta: list[float], steps: int) -> tuple[float, FloatArray]:
        run = integrate(LayerField(matrix(*theta)), case["inputs"]["Y0"], "forward_euler", h=10.0 / steps, steps=steps)
        off = run.z[-1] - numbers(case["C"])
        slope = gradients(run, off).parameters["K"]
        return 0.5 * float(np.sum(off**2)), np.array(
            [np.sum(slope * matrix(1.0, 0.0)), np.sum(slope * matrix(0.0, 1.0))]
        )

    for point in case["points"]:
        for steps, loss in point["loss"].items():
            if int(steps) < 200:
                assert of(point["theta"], int(steps))[0] == pytest.approx(loss, rel=1e-9, abs=1e-12)
    for steps, gradient in case["gradient"].items():
        assert relative(of(case["inputs"]["gradient_at"], int(steps))[1], gradient) < 1e-9
