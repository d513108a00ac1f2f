"""Losses of the states at several times: gradients on arrays and on digital matrices, of every kind of method."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import xbar_spice as xs
from xbar_spice.cosim.run import program_model, solve_model
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
    for tensor, value in {**model.tensors, "z0": X.T}.items():
        direction = np.random.default_rng(0).standard_normal(value.shape)
        ends = []
        for step in (1e-5, -1e-5):
            data = DATA if tensor != "z0" else replace(DATA, x=(value + step * direction).T)
            moved = model if tensor == "z0" else model.with_tensors({tensor: value + step * direction})
            ends.append(solve_model(xs.make_problem(moved, data=data), moved.field, TIGHT).loss)
        expected = (ends[0] - ends[1]) / 2e-5
        assert np.vdot(run.parameters[tensor], direction) == pytest.approx(expected, rel=1e-6, abs=1e-8), tensor


def test_on_arrays_with_the_true_gradient() -> None:
    problem = xs.make_problem(model_of("rk4"), data=DATA)
    found = xs.three_gradients(problem, WIRED, seed=1, solver=TIGHT)
    measured = found.record["descent"]["true"]
    assert measured["measured"] == pytest.approx(measured["expected"], rel=0.05)
    record = xs.cosimulate(problem, WIRED, engine="nodal", seed=1, solver=TIGHT).record
    assert 0.0 < record["loss"]["relative_error"] < 0.2


def test_times_are_points_of_the_grid() -> None:
    model = xs.Model(field=ACTIVATION, grid=[0.0, 0.2, 0.5, 0.55], method="rk4")
    assert isinstance(xs.make_problem(model, data=DATA).objective, xs.SquaredDistances)
    with pytest.raises(InvalidInputError, match=r"time 0\.2 is no point of the model's grid: it lies behind 0, and"):
        xs.make_problem(replace(model, grid=None, h=0.25, steps=2), data=DATA)
    with pytest.raises(StudyError, match="targets need as many entries as the model has states, 4"):
        xs.make_problem(model, data=xs.Data(X, targets=TARGETS[..., :2], times=TIMES))
    trajectory = xs.integrate(ACTIVATION, X.T, h=0.1, steps=4, stops=[2])
    with pytest.raises(InvalidInputError, match="at has grid point 3: give it to integrate as one of its stops"):
        xs.gradients(trajectory, np.zeros((4, 3)), at={2: np.ones((4, 3)), 3: np.ones((4, 3))})
