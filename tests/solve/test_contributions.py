"""Split gradients: their parts add up, and each is the gradient of what it names."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from support import relative

from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.operator import FloatArray
from xbar_spice.parts import METHODS
from xbar_spice.solve.adjoint.continuous import continuous_gradients
from xbar_spice.solve.adjoint.discrete import gradients
from xbar_spice.solve.adjoint.memory import checkpointed_gradients, reversed_gradients
from xbar_spice.solve.fields.convolved import convolution_field
from xbar_spice.solve.fields.field import ActivationField, Field, ReluField
from xbar_spice.solve.fields.systems import antisymmetric_field, hamiltonian_field, parabolic_field
from xbar_spice.solve.integrators.integration import integrate
from xbar_spice.solve.integrators.layers import Layers
from xbar_spice.solve.integrators.multistep import AB3, AM3
from xbar_spice.solve.integrators.step_control import AdaptiveOptions
from xbar_spice.solve.linear_solvers.krylov import KrylovOptions
from xbar_spice.solve.newton.newton import NewtonOptions

STEPS, BATCH, H = 4, 3, 0.2
SPLITS = [("step",), ("sample",), ("step", "sample")]


def weights(*shape: int) -> FloatArray:
    return np.random.default_rng(sum(shape)).normal(size=shape) / 2


FIELDS: dict[str, Field] = {
    "relu": ReluField(weights(7, 6), weights(6, 7)),
    "tanh with bias": ActivationField(weights(7, 7), weights(6, 7), "tanh", bias=True),
    "convolution": convolution_field(weights(9), weights(9) / 2, (2, 3)),
    "antisymmetric": antisymmetric_field(weights(6, 6), weights(6)),
    "parabolic": parabolic_field(weights(7, 7), "tanh", bias=True),
    "hamiltonian": hamiltonian_field(weights(3, 3), weights(3)),
}
TABLE = [
    (method, name)
    for method, name in product(METHODS, FIELDS)
    if name
    in {"verlet": ["hamiltonian"], "leapfrog": ["parabolic"], "imex": ["parabolic"], "euler_maruyama": ["relu"]}.get(
        method.removeprefix("velocity_"), FIELDS
    )
]
# dopri5 starts each layer with a step of its own choice, after which the kinks of relu fall elsewhere in a step.
LAYERED = [
    (method, name)
    for method, name in TABLE
    if METHODS.get(method).one_step and (method, name) not in {("dopri5", "relu"), ("dopri5", "convolution")}
]


def run(field, method, z0=None, steps=STEPS):
    start = np.random.default_rng(1).normal(size=(6, BATCH)) if z0 is None else z0
    tight = {"newton": NewtonOptions(rtol=1e-13), "krylov": KrylovOptions(rtol=1e-13)}
    return integrate(field, start, method, h=H, steps=steps, adaptive=AdaptiveOptions(1e-7, 1e-7), **tight)


def cotangent(batch=BATCH):
    return np.random.default_rng(2).normal(size=(6, batch))


@pytest.mark.parametrize(("method", "name"), TABLE)
def test_parts_add_up(method, name):
    trajectory = run(FIELDS[name], method)
    whole = gradients(trajectory, cotangent())
    for by in SPLITS:
        split = gradients(trajectory, cotangent(), by=by)
        lead = tuple({"step": STEPS, "sample": BATCH}[axis] for axis in by)
        assert relative(split.z0, whole.z0) < 1e-13
        for parameter, total in whole.parameters.items():
            parts = split.parameters[parameter]
            assert parts.shape == (*lead, *total.shape)
            assert (np.abs(parts).reshape(np.prod(lead), -1).max(axis=1) > 0).all()
            assert relative(parts.sum(axis=tuple(range(len(lead)))), total) < 1e-13


@pytest.mark.parametrize(("method", "name"), TABLE)
def test_the_part_of_a_sample_is_the_gradient_of_that_sample_alone(method, name):
    whole = run(FIELDS[name], method)
    parts = gradients(whole, cotangent(), by="sample").parameters
    for sample in range(BATCH):
        alone = gradients(run(FIELDS[name], method, whole.z[0, :, sample]), cotangent()[:, sample]).parameters
        for parameter, wanted in alone.items():
            assert relative(parts[parameter][sample], wanted) < 1e-10


@pytest.mark.parametrize(("method", "name"), LAYERED)
def test_the_part_of_a_step_is_the_gradient_of_a_layer_of_its_own(method, name):
    """One layer for each step, all with the same weights."""
    parts = gradients(run(FIELDS[name], method), cotangent(), by="step").parameters
    layers = gradients(run(Layers([FIELDS[name]] * STEPS), method), cotangent()).parameters
    for parameter, values in parts.items():
        for step in range(STEPS):
            tolerance = 1e-4 if method == "dopri5" else 1e-11
            assert relative(values[step], layers[f"{parameter}[{step}]"]) < tolerance


@pytest.mark.parametrize(("method", "scheme"), [("ab3", AB3), ("am3", AM3)])
def test_steps_of_multistep_methods_are_finite_differences_of_weights_of_their_own(method, scheme):
    """The scheme written out, z_{k+1} = z_k + h sum_j b_j f(z_{k+1-j}; A_k), with one A for each step."""
    A, B, steps = weights(7, 6), weights(6, 7), 5
    z0 = np.random.default_rng(1).normal(size=6)

    def loss(matrices):
        z = [z0]
        for k in range(steps):
            row = scheme.rows[min(k, len(scheme.rows) - 1)]
            base = z[k] + H * sum(b * B @ np.tanh(matrices[k] @ z[k + 1 - j]) for j, b in enumerate(row) if j)
            after = base
            for _ in range(200):
                after = base + H * row[0] * B @ np.tanh(matrices[k] @ after)
            z.append(after)
        return float(cotangent()[:, 0] @ z[-1])

    trajectory = run(ActivationField(A, B, "tanh"), method, z0, steps)
    parts = gradients(trajectory, cotangent()[:, 0], by="step").A
    direction = weights(6, 7).T
    for step in range(steps):
        moved = [loss([A + e * direction * (k == step) for k in range(steps)]) for e in (1e-5, -1e-5)]
        assert np.vdot(parts[step], direction) == pytest.approx((moved[0] - moved[1]) / 2e-5, rel=1e-8)


@pytest.mark.parametrize("method", ["implicit_euler", "rk4", "velocity_verlet"])
@pytest.mark.parametrize("by", SPLITS)
def test_checkpoints_give_the_parts_of_a_stored_run_and_running_back_those_that_add_up(method, by):
    field, z0 = FIELDS["hamiltonian"], np.random.default_rng(1).normal(size=(6, BATCH))
    stored = gradients(integrate(field, z0, method, h=H, steps=5), cotangent(), by=by)
    arguments = {"h": H, "steps": 5, "by": by}
    lean = checkpointed_gradients(field, z0, lambda z: cotangent(), method, every=2, **arguments).gradients
    back = reversed_gradients(field, z0, lambda z: cotangent(), method, **arguments).gradients
    total = reversed_gradients(field, z0, lambda z: cotangent(), method, h=H, steps=5).gradients
    for name, wanted in stored.parameters.items():
        assert relative(lean.parameters[name], wanted) < 1e-12
        assert relative(back.parameters[name].sum(axis=tuple(range(len(by)))), total.parameters[name]) < 1e-12


@pytest.mark.parametrize("method", ["forward_euler", "implicit_euler", "trapezoid", "am3", "ab3"])
def test_parts_of_the_continuous_adjoint_add_up(method):
    trajectory = run(FIELDS["relu"], "rk4")
    whole = continuous_gradients(trajectory, cotangent(), method)
    for by in SPLITS:
        parts = continuous_gradients(trajectory, cotangent(), method, by=by)
        assert relative(parts.A.sum(axis=tuple(range(len(by)))), whole.A) < 1e-13


def test_layers_have_the_steps_that_use_them():
    layers = Layers([FIELDS["relu"], ReluField(weights(5, 6), weights(6, 5))])
    trajectory = run(layers, "forward_euler", steps=6)
    whole, parts = gradients(trajectory, cotangent()), gradients(trajectory, cotangent(), by=("step", "sample"))
    assert parts.parameters["A[0]"].shape == (3, BATCH, 7, 6)
    assert parts.parameters["A[1]"].shape == (3, BATCH, 5, 6)
    for name, total in whole.parameters.items():
        assert relative(parts.parameters[name].sum(axis=(0, 1)), total) < 1e-13


def test_a_single_state_has_no_axis_of_samples():
    trajectory = run(FIELDS["relu"], "rk4", np.ones(6))
    found = gradients(trajectory, np.ones(6), by=("step", "sample"))
    assert found.A.shape == (STEPS, 7, 6)
    assert relative(found.A.sum(axis=0), gradients(trajectory, np.ones(6), by="sample").A) < 1e-13


def test_a_lost_sample_has_zero_parts_and_leaves_the_others_alone():
    field = ReluField([[1.0]], [[1e200]])
    trajectory = integrate(field, [[-1.0, 1.0]], "forward_euler", h=1.0, steps=4, nonconvergence="ignore")
    found = gradients(trajectory, [[1.0, 1.0]], by="sample", nonconvergence="ignore")
    assert np.isfinite(found.A).all()
    assert not found.A[1].any()


def test_other_axes_are_refused():
    with pytest.raises(InvalidInputError, match=r"by must be one or several of \('step', 'sample'\), got 'steps'"):
        gradients(run(FIELDS["relu"], "rk4"), cotangent(), by="steps")
