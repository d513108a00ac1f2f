"""Steps back in time and of unequal lengths, and gradients by their lengths: reference values, laws over methods."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from support import relative, truth

import xbar_spice as xs
from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.operator import as_operator
from xbar_spice.solve.adjoint import continuous_gradients, tangent
from xbar_spice.solve.fields import ActivationField
from xbar_spice.solve.integrators import DormandPrince, Grid, LinearMultistep, RungeKutta, SolveOptions, Tableau
from xbar_spice.solve.integrators.integration import Trajectory, chained_runs

CASES = truth("times")["cases"]
GIVEN = CASES["augmented"]["inputs"]
FIELD = ActivationField(GIVEN["A"], GIVEN["B"], "tanh")
Z0 = np.array(GIVEN["z0"])
TIGHT = {"newton": xs.NewtonOptions(rtol=1e-13), "adaptive": xs.AdaptiveOptions(rtol=0.5)}
SPLIT = xs.hamiltonian_field([[0.5, -0.3], [0.2, 0.4]], [0.1, -0.2])
METHODS = ["forward_euler", "implicit_euler", "trapezoid", "am3", "ab3", "rk4", "dopri5", "verlet", "velocity_verlet"]
GRID = np.array([0.0, 0.2, 0.5, 0.55, 0.9, 1.2])


def problem(method: str) -> tuple[xs.Field, np.ndarray]:
    return (SPLIT, np.array([0.1, 0.2, 0.3, -0.4])) if "verlet" in method else (FIELD, Z0)


@pytest.mark.parametrize("method", ["forward_euler", "implicit_euler", "rk4"])
def test_the_gradient_by_h_of_the_reference(method: str) -> None:
    case = CASES["dL_dh"]
    run = xs.integrate(FIELD, Z0, method, h=case["inputs"]["h"], steps=case["inputs"]["N"], **TIGHT)
    assert relative(run.z[-1], case[method]["z_N"]) < 1e-10
    found = xs.gradients(run, run.z[-1] - case["inputs"]["target"])
    assert found.h == pytest.approx(case[method]["dL_dh"], rel=1e-10)


def test_gradients_by_observation_times_of_the_reference() -> None:
    """Two steps between two times: a point halfway between them moves by half as much as they do."""
    times, targets = np.array(GIVEN["t"]), np.array(GIVEN["targets"])
    case = CASES["augmented"]["rk4"][0]["discrete"]
    grid = np.interp(np.arange(7) / 2, np.arange(4), times)
    run = xs.integrate(FIELD, Z0, "rk4", grid=grid, stops=(2, 4))
    found = xs.gradients(
        run, run.z[6] - targets[2], at={k: run.z[k] - y for k, y in zip((2, 4), targets[:2], strict=True)}
    )
    by_time = [found.times @ np.interp(np.arange(7) / 2, np.arange(4), one) for one in np.eye(4)]
    assert relative(by_time, case["gt"]) < 1e-10
    assert relative(found.A, case["gA"]) < 1e-10
    assert relative(found.z0, case["gz0"]) < 1e-10


@pytest.mark.parametrize("grid", [GRID, -GRID], ids=["forwards", "backwards"])
@pytest.mark.parametrize("method", METHODS)
def test_gradients_by_times_are_differences_of_the_loss(method: str, grid: np.ndarray) -> None:
    field, z0 = problem(method)

    def end(grid: np.ndarray) -> np.ndarray:
        return xs.integrate(field, z0, method, grid=grid, **TIGHT).z[-1]

    run = xs.integrate(field, z0, method, grid=grid, **TIGHT)
    w = run.z[-1] - 1.0
    found = xs.gradients(run, w, krylov=xs.Gmres(rtol=1e-13))
    direction = np.cos(np.arange(6.0))
    up, down = (end(grid + size * direction) for size in (1e-5, -1e-5))
    assert found.times @ direction == pytest.approx(np.vdot(w, up - down) / 2e-5, rel=1e-6)
    assert found.h == pytest.approx(found.lengths.sum())
    changes = dict(found.parameters)
    moved = tangent(run, z0, changes, krylov=xs.Gmres(rtol=1e-13))
    expected = found.z0 @ z0 + sum(np.vdot(one, one) for one in changes.values())
    assert np.vdot(w, moved) == pytest.approx(expected, rel=1e-9)  # the adjoint is that of unequal steps
    assert set(continuous_gradients(run, w, "rk4").parameters) == set(changes)


PAIR = RungeKutta(  # Dormand and Prince's step of a fixed size
    Tableau(
        (
            (),
            (1 / 5,),
            (3 / 40, 9 / 40),
            (44 / 45, -56 / 15, 32 / 9),
            (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
            (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
        ),
        (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
    )
)


def test_states_between_points_are_those_of_the_reference() -> None:
    case = CASES["dense_output"]
    run = xs.integrate(FIELD, Z0, PAIR, h=case["inputs"]["h"], steps=1)
    assert relative(run.z[1], case["z1"]) < 1e-10
    found = [run.state(case["inputs"]["h"] * part) for part in case["inputs"]["theta"]]
    assert relative(found, case["cubic_hermite"]) < 1e-10
    options, first = SolveOptions(adaptive=xs.AdaptiveOptions(atol=1e6)), np.array([case["inputs"]["h"]])
    runs = chained_runs(DormandPrince(), [(FIELD, Grid(first[0], 1))], Z0[:, np.newaxis], options, (first,))
    own = Trajectory("dopri5", DormandPrince(), runs, options, batched=False)
    assert relative(own.z[1], case["z1"]) < 1e-10
    found = [own.state(first[0] * part) for part in case["inputs"]["theta"]]
    assert relative(found, case["dopri5_quartic"]) < 1e-10
    w, time = np.array(case["inputs"]["cotangent"]), first[0] * case["inputs"]["gradient_at_theta"]
    slopes = xs.gradients(own, 0 * w, between={time: w})
    for name in ("A", "B"):
        assert relative(slopes.parameters[name], case["gradient"][name]) < 1e-10
    assert relative(slopes.z0, case["gradient"]["z0"]) < 1e-10
    with pytest.raises(InvalidInputError, match=r"time 0\.6 is beyond the run, which goes from 0 to 0\.5"):
        run.state(0.6)


@pytest.mark.parametrize("way", [1.0, -1.0])
def test_states_within_adaptive_steps_are_of_order_four_and_take_no_read(way: float) -> None:
    """Each sample has steps of its own, several between two points, and back in time as well."""
    starts = np.outer(Z0, [1.0, 0.1, 10.0])
    trace = xs.ReadTrace()
    A, B = (xs.program(W, engine="ideal", name=name, trace=trace) for name, W in (("A", GIVEN["A"]), ("B", GIVEN["B"])))
    run = xs.integrate(ActivationField(A, B, "tanh"), starts, "dopri5", h=way * 0.5, steps=2)
    fine = xs.integrate(FIELD, starts, "rk4", h=way * 0.01, steps=100)
    made = len(trace)
    found = np.stack([run.state(way * 0.01 * k) for k in range(0, 101, 7)])
    assert len(trace) == made
    assert (np.abs(found - fine.z[::7]).max(axis=(0, 1)) < 2e-6 * np.abs(fine.z).max(axis=(0, 1))).all()
    counts = {len(taken) for taken in run.runs[0].substeps}
    assert max(counts) > 1


@pytest.mark.parametrize("method", ["implicit_euler", "ab3", "rk4", "dopri5", "velocity_verlet"])
def test_a_loss_may_look_between_points(method: str) -> None:
    """Forwards and backwards; also the last step, and two times of one step."""
    field, z0 = problem(method)
    times, w, way = (0.1, 0.6, 0.7, 1.1), np.ones_like(z0), np.cos(np.arange(len(z0)))
    last = {"krylov": xs.Gmres(rtol=1e-13)}

    def loss(z0: np.ndarray, grid: np.ndarray, field: xs.Field = field) -> float:
        run = xs.integrate(field, z0, method, grid=grid, **TIGHT)
        parts = [(time - a) / (b - a) for time in times for a, b in pairwise(GRID) if a < time <= b]
        steps = [k for time in times for k, (a, b) in enumerate(pairwise(GRID)) if a < time <= b]
        return sum(w @ run.state(grid[k] + x * (grid[k + 1] - grid[k])) for k, x in zip(steps, parts, strict=True))

    run = xs.integrate(field, z0, method, grid=GRID, between=times, **TIGHT)
    found = xs.gradients(run, 0 * w, between=dict.fromkeys(times, w), **last)
    assert found.z0 @ way == pytest.approx((loss(z0 + 1e-5 * way, GRID) - loss(z0 - 1e-5 * way, GRID)) / 2e-5, rel=1e-6)
    moved = np.array([0.0, 1.0, -1.0, 0.5, 2.0, -0.5])
    expected = (loss(z0, GRID + 1e-5 * moved) - loss(z0, GRID - 1e-5 * moved)) / 2e-5
    assert found.times @ moved == pytest.approx(expected, rel=1e-6)
    for name, operator in field.operators.items():
        up, down = (field.replaced({name: as_operator(operator.to_dense() + size)}) for size in (1e-5, -1e-5))
        expected = (loss(z0, GRID, up) - loss(z0, GRID, down)) / 2e-5
        assert found.parameters[name].sum() == pytest.approx(expected, rel=1e-6)
    with pytest.raises(InvalidInputError, match="integrate was not told"):
        xs.gradients(xs.integrate(field, z0, method, h=0.5, steps=3), w, between={0.6: w})


@pytest.mark.parametrize(("method", "order"), [("ab3", 2), ("am3", 3)])  # forward Euler starts the one
def test_methods_of_adams_keep_their_order_over_unequal_steps(method: str, order: int) -> None:
    exact = xs.integrate(FIELD, Z0, "rk4", h=1 / 100, steps=100).z[-1]

    def error(count: int) -> float:
        t = np.linspace(0.0, 1.0, count + 1)
        grid = t + 0.1 / count * np.sin(40 * t) * (t > 0)
        grid[-1] = 1.0
        return relative(xs.integrate(FIELD, Z0, method, grid=grid, **TIGHT).z[-1], exact)

    assert np.log2(error(16) / error(32)) > order - 0.4


@pytest.mark.parametrize("method", ["verlet", "velocity_verlet", "rk4", "ab3", "implicit_euler", "leapfrog"])
def test_a_run_back_in_time_leads_back(method: str) -> None:
    field, z0 = problem(method)
    if method == "leapfrog":  # at rest at either end: even in time
        there = xs.integrate(field, z0, method, h=0.1, steps=3).z
        np.testing.assert_array_equal(xs.integrate(field, z0, method, h=-0.1, steps=3).z, there)
        return
    errors = []
    for steps in (10, 20):
        there = xs.integrate(field, z0, method, h=1 / steps, steps=steps, **TIGHT)
        back = xs.integrate(field, there.z[-1], method, h=-1 / steps, steps=steps, **TIGHT)
        errors.append(relative(back.z[-1], z0))
    assert errors[1] < 1e-13 or errors[0] / errors[1] > 1.8
    assert back.t[-1] == pytest.approx(-1.0)


def test_what_has_no_gradient_by_times_says_so() -> None:
    same = xs.integrate(FIELD, Z0, "leapfrog", h=0.2, steps=3)
    found = xs.gradients(same, np.ones(3))
    up, down = (xs.integrate(FIELD, Z0, "leapfrog", h=0.2 + e, steps=3).z[-1].sum() for e in (1e-6, -1e-6))
    assert found.h == pytest.approx((up - down) / 2e-6, rel=1e-7)
    with pytest.raises(InvalidInputError, match="steps of one length only: take the gradient with respect to h"):
        _ = found.times
    own = LinearMultistep(((0.0, 1.0), (0.0, 2.0, -1.0)))  # no method of Adams'
    assert not own.uneven
    run = xs.integrate(FIELD, Z0, "rk4", grid=GRID)
    with pytest.raises(InvalidInputError, match="cannot look back over; take one of Adams'"):
        continuous_gradients(run, np.ones(3), own)


@pytest.mark.parametrize("backwards", [False, True])
def test_a_model_on_arrays_has_gradients_by_times(backwards: bool) -> None:
    """The hardware's and the true gradient against differences of the analog loss, over a grid of unequal steps."""
    grid = -GRID[:4] if backwards else GRID[:4]
    model = xs.Model(field=FIELD, grid=grid, method="ab3")
    data = xs.Data(x=np.stack([Z0, -Z0]), targets=np.ones((2, 2, 3)), times=np.array([0.5, 0.55]))
    design = xs.Design(r_word=5.0, r_bit=5.0)
    asked = xs.make_problem(model, data=data, samples=2, time_gradients=True)
    found = xs.three_gradients(asked, design, step=None)

    def loss(grid: np.ndarray) -> float:
        moved = xs.Model(field=FIELD, grid=grid, method="ab3")
        seen = xs.Data(x=data.x, targets=data.targets, times=np.abs(grid[2:]))
        return xs.cosimulate(xs.make_problem(moved, data=seen, samples=2), design, engine="nodal").record.loss.analog

    direction = np.array([0.0, 1.0, -0.5, 2.0])
    up, down = (loss(grid + size * direction) for size in (1e-5, -1e-5))
    assert found.gradients["true"]["times"] @ direction == pytest.approx((up - down) / 2e-5, rel=1e-6)
    assert set(found.record.differences["bias"]) >= {"h", "times"}
    analog = xs.cosimulate(asked, design, engine="nodal")
    assert relative(analog.gradients["h"], found.gradients["hardware"]["h"]) < 1e-12
