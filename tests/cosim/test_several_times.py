"""Losses of the states at several times: gradients on arrays and on digital matrices, of every kind of method."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest

import xbar_spice as xs
from xbar_spice.cosim.run import Run, program_model, solve_model
from xbar_spice.cosim.run.programming import field_on
from xbar_spice.errors import InvalidInputError, StudyError

TIGHT = xs.SolverOptions(
    xs.NewtonOptions(rtol=1e-12), xs.KrylovOptions(rtol=1e-12), xs.AdaptiveOptions(rtol=1e-9, atol=1e-12)
)
WIRED = xs.Design(r_word=20.0, r_bit=20.0, headroom=2.0)
rng = np.random.default_rng(2)
X, TIMES = rng.standard_normal((3, 4)), np.array([0.0, 0.2, 0.5])
TARGETS = rng.standard_normal((3, len(TIMES), 4))
DATA = xs.Data(X, targets=TARGETS, times=TIMES)
ACTIVATION = xs.ActivationField(
    rng.standard_normal((5, 4)), rng.standard_normal((4, 5)) / 2, "tanh", bias=rng.random(5)
)
SPLIT = xs.hamiltonian_field(rng.standard_normal((2, 2)), rng.standard_normal(2))


def model_of(method: str) -> xs.Model:
    field = SPLIT if "verlet" in method else ACTIVATION
    return xs.Model(field=field, h=0.1, steps=6, method=method, weight_range=(4.0,) * len(field.operators))


def assert_gradients(run: Run, model: xs.Model, data: xs.Data, names: Iterable[str]) -> None:
    """They are the central differences of the loss."""
    for name in names:
        value = X.T if name == "z0" else model.tensors[name]
        direction = np.random.default_rng(0).standard_normal(value.shape)
        ends = []
        for step in (1e-5, -1e-5):
            given = replace(data, x=(value + step * direction).T) if name == "z0" else data
            moved = model if name == "z0" else model.with_tensors({name: value + step * direction})
            ends.append(solve_model(xs.make_problem(moved, data=given), moved.field, TIGHT).loss)
        expected = (ends[0] - ends[1]) / 2e-5
        assert np.vdot(run.parameters[name], direction) == pytest.approx(expected, rel=1e-6, abs=1e-8), name


@pytest.mark.parametrize(
    "method",
    ["forward_euler", "implicit_euler", "trapezoid", "rk4", "ab3", "am3", "verlet", "velocity_verlet", "dopri5"],
)
def test_gradients_are_those_of_the_loss(method: str) -> None:
    model = model_of(method)
    problem = xs.make_problem(model, data=DATA)
    matrices = program_model(model, WIRED, "ideal", seed=0)
    run = solve_model(problem, field_on(model, matrices), TIGHT)
    states = run.trajectory.z[[0, 2, 5]].transpose(2, 0, 1)
    assert run.loss == pytest.approx(0.5 * ((states - TARGETS) ** 2).sum() / 3, rel=1e-12)
    plain = xs.integrate(model.field, problem.z0, method, h=0.1, steps=6, newton=TIGHT.newton, adaptive=TIGHT.adaptive)
    np.testing.assert_allclose(run.trajectory.z, plain.z, rtol=1e-9)  # stops change nothing
    assert_gradients(run, model, DATA, [*model.tensors, "z0"])


def test_on_arrays_with_the_true_gradient() -> None:
    problem = xs.make_problem(model_of("rk4"), data=DATA)
    found = xs.three_gradients(problem, WIRED, seed=1, solver=TIGHT)
    measured = found.record["descent"]["true"]
    assert measured["measured"] == pytest.approx(measured["expected"], rel=0.05)
    record = xs.cosimulate(problem, WIRED, engine="nodal", seed=1, solver=TIGHT).record
    assert 0.0 < record["loss"]["relative_error"] < 0.2


BETWEEN = replace(DATA, times=np.array([0.07, 0.3, 0.53]))


@pytest.mark.parametrize("method", ["implicit_euler", "ab3", "verlet", "dopri5", "rk4"])
def test_a_loss_at_any_times(method: str) -> None:
    """Off the grid, on it, and forwards as backwards: the gradients are those of the loss, and exact on arrays."""
    model = replace(model_of(method), h=-0.1) if method == "rk4" else model_of(method)
    problem = replace(xs.make_problem(model, data=BETWEEN), time_gradients=method == "rk4")
    run = solve_model(problem, model.field, TIGHT)
    plain = xs.integrate(
        model.field, problem.z0, method, h=model.h, steps=6, newton=TIGHT.newton, adaptive=TIGHT.adaptive
    )
    states = np.stack([plain.state(np.sign(model.h) * time) for time in BETWEEN.times]).transpose(2, 0, 1)
    assert run.loss == pytest.approx(0.5 * ((states - TARGETS) ** 2).sum() / 3, rel=1e-9)
    assert_gradients(run, model, BETWEEN, [*model.field.operators, "z0"])


def test_layers_between_grid_points_are_read_with_their_own_weights() -> None:
    """On arrays, rewritten or not, with the true gradient; the cubic reads f at the end of a layer anew."""
    layers = xs.Layers([xs.LayerField(rng.standard_normal((3, 3)), np.zeros(3), "tanh") for _ in range(3)])
    data = xs.Data(X[:, :3], targets=TARGETS[..., :3], times=np.array([0.05, 0.17, 0.3]))
    problem = xs.make_problem(xs.Model(field=layers, h=0.1, steps=3, method="ab3"), data=data)
    apart = xs.cosimulate(problem, WIRED, engine="nodal", solver=TIGHT)
    found = xs.cosimulate(problem, replace(WIRED, rewritten=True), engine="nodal", solver=TIGHT)
    assert (found.gradients["K"] == apart.gradients["K"]).all()
    writes = found.record.writes["K"]
    assert (writes.forward, writes.adjoint) == (5, 5)  # each way three layers, and f at the ends of the first two
    descent = xs.three_gradients(problem, WIRED, solver=TIGHT).record["descent"]["true"]
    assert descent["measured"] == pytest.approx(descent["expected"], rel=0.05)


def test_times_are_those_of_the_run() -> None:
    model = xs.Model(field=ACTIVATION, grid=[0.0, 0.2, 0.5, 0.55], method="rk4")
    assert isinstance(xs.make_problem(model, data=DATA).objective, xs.SquaredDistances)
    with pytest.raises(InvalidInputError, match=r"time 0\.5 is beyond the model's run, which ends at 0\.4"):
        xs.make_problem(replace(model, grid=None, h=0.2, steps=2), data=DATA)
    waves = xs.Model(field=ACTIVATION, h=0.15, steps=6, method="leapfrog")
    with pytest.raises(InvalidInputError, match=r"time 0\.2 is no point of the model's grid, and leapfrog has no"):
        xs.make_problem(waves, data=DATA)
    with pytest.raises(InvalidInputError, match=r"it solves d\^2z/dt\^2 = f"):
        xs.integrate(ACTIVATION, X.T, "leapfrog", h=0.1, steps=4, between=[0.15])
    with pytest.raises(StudyError, match="targets need as many entries as the model has states, 4"):
        xs.make_problem(model, data=xs.Data(X, targets=TARGETS[..., :2], times=TIMES))
    trajectory = xs.integrate(ACTIVATION, X.T, h=0.1, steps=4, stops=[2])
    with pytest.raises(InvalidInputError, match="at has grid point 3: give it to integrate as one of its stops"):
        xs.gradients(trajectory, np.zeros((4, 3)), at={2: np.ones((4, 3)), 3: np.ones((4, 3))})
