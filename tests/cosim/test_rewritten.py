"""One set of arrays for the weights of all steps: what all writes share, what each draws anew, how many there are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support import relative

import xbar_spice as xs
from xbar_spice.cosim.run import program_model
from xbar_spice.errors import InvalidInputError
from xbar_spice.report.quantities import columns_of

WIRED = xs.Design(r_word=10.0, r_bit=10.0, r_driver=50.0, r_sense=20.0)
ERROR = xs.Variation(programming=0.05, stuck_off=0.1)
LAYERS = 4


def layered(build: str, rng: np.random.Generator, layers: int = LAYERS, width: int = 3) -> xs.Layers:
    K = [rng.normal(size=(width, width)) / 2 for _ in range(layers)]
    if build == "layer":
        return xs.Layers([xs.LayerField(one, np.zeros(width), "tanh") for one in K])
    if build == "hamiltonian":
        return xs.Layers([xs.hamiltonian_field(one, np.zeros(width)) for one in K])
    return xs.Layers([xs.ActivationField(one, one[::-1] / 2, "tanh") for one in K])


def problem_of(field: xs.Layers, method: str, steps: int = LAYERS) -> xs.Problem:
    rng = np.random.default_rng(1)
    model = xs.Model(field=field, h=0.25, steps=steps, method=method)
    return xs.Problem(model, rng.normal(size=(field.states, 2)), xs.SquaredDistance(rng.normal(size=(field.states, 2))))


CASES = [
    ("layer", "ab3", LAYERS, ("K",)),
    ("layer", "implicit_euler", 2 * LAYERS, ("K",)),
    ("hamiltonian", "verlet", LAYERS, ("K",)),
    ("activation", "rk4", LAYERS, ("A", "B")),
]


@pytest.mark.parametrize(("build", "method", "steps", "names"), CASES)
def test_exact_writes_are_one_array_a_step_and_are_counted(build, method, steps, names, rng):
    """L writes forwards and L - 1 back: the way back begins with what the last step has left."""
    problem, design = problem_of(layered(build, rng), method, steps), replace(WIRED, tile=2)
    apart = xs.cosimulate(problem, design, engine="nodal")
    found = xs.cosimulate(problem, replace(design, rewritten=True), engine="nodal")
    assert (found.z == apart.z).all()
    assert all((found.gradients[name] == values).all() for name, values in apart.gradients.items())
    assert apart.record.writes is None
    assert set(found.record.writes) == set(names)
    for name, writes in found.record.writes.items():
        assert (writes.forward, writes.adjoint) == (LAYERS, LAYERS - 1)
        at = {
            m: [xs.map_weights(problem.model.matrices[f"{m}[{k}]"], design).target for k in range(LAYERS)]
            for m in names
        }
        moved = sum(np.count_nonzero(a != b) for a, b in zip(at[name], at[name][1:], strict=False))
        assert writes.devices == at[name][0].size + 2 * moved
    in_table, totals = columns_of(found.record), found.record.writes.values()
    assert in_table["writes"] == in_table["writes.forward"] + in_table["writes.adjoint"]
    assert in_table["writes.devices"] == sum(one.devices for one in totals)
    columns = found.trace.columns()
    assert sum(columns["writes"]) == sum(one.forward + one.adjoint for one in found.record.writes.values())
    assert len(found.trace) == len(apart.trace)
    assert sum(apart.trace.columns()["writes"]) == 0


@pytest.mark.parametrize("ways", [1, 2])
def test_refining_time_takes_no_write(ways, rng):
    """Consecutive steps of equal devices are one write, by whatever digital factor their weights differ."""
    coarse = problem_of(layered("layer", rng), "ab3")
    design = replace(WIRED, rewritten=True, variation=ERROR, cycle=xs.Variation(programming=0.02))
    counts = xs.cosimulate(coarse, design, engine="ideal", seed=2).record.writes
    fine = xs.prolong(coarse.model, "constant")
    if ways == 2:
        K = fine.tensors["K"]
        fine = fine.with_tensors({"K": K * np.where(np.arange(len(K)) % 2, 0.5, 1.0)[:, None, None]})
    found = xs.cosimulate(replace(coarse, model=fine), design, engine="ideal", seed=2)
    assert found.record.writes == counts
    steps = [name for name, wrote in zip(*map(found.trace.columns().get, ("matrix", "writes")), strict=True) if wrote]
    assert steps == ["K[0]", "K[2]", "K[4]", "K[6]", "K[5]", "K[3]", "K[1]"]


def devices(problem: xs.Problem, design: xs.Design, seed: int = 3) -> list[np.ndarray]:
    """What the arrays of each step were relative to their targets, as the way forward writes them."""
    made = program_model(problem.model, design, "ideal", seed=seed)
    return [np.asarray(one.mapped.drawn) / np.asarray(one.mapped.target) for one in made]


def test_defects_stay_and_what_a_write_adds_does_not(rng):
    problem = problem_of(layered("layer", rng), "ab3")
    shared = replace(WIRED, rewritten=True, variation=xs.Variation(programming=0.05))
    factors = devices(problem, shared)
    assert all(relative(one, factors[0]) < 1e-14 for one in factors)
    apart = devices(problem, replace(shared, rewritten=False))
    assert relative(apart[1], apart[0]) > 0.01
    cycle = replace(shared, cycle=xs.Variation(programming=0.02))
    anew = [one / factor for one, factor in zip(devices(problem, cycle), factors, strict=True)]
    assert all(0.005 < relative(one, anew[0]) < 0.1 for one in anew[1:])
    stuck = replace(WIRED, rewritten=True, variation=xs.Variation(stuck_off=0.3))
    places = [one.mapped.slope == 0 for one in program_model(problem.model, stuck, "ideal", seed=3)]
    assert places[0].any()
    assert all((one == places[0]).all() for one in places)


def test_the_way_back_meets_other_devices_and_the_true_gradient_those_of_the_way_forward(rng):
    problem = problem_of(layered("layer", rng), "ab3")
    design = replace(WIRED, variation=ERROR, cycle=xs.Variation(programming=0.05), headroom=2.0)
    found = xs.three_gradients(problem, replace(design, rewritten=True), seed=3, step=None)
    again = xs.three_gradients(problem, replace(design, rewritten=True), seed=3, step=None)
    hardware, true = found.gradients["hardware"]["K"], found.gradients["true"]["K"]
    assert (hardware == again.gradients["hardware"]["K"]).all()
    last = LAYERS - 1  # whose way back begins with what the way forward has left
    assert relative(found.gradients["effective"]["K"][last], hardware[last]) < 0.01
    assert relative(found.gradients["effective"]["K"][0], hardware[0]) > 0.005
    scale = tuple(2.0 * problem.model.largest(name) for name in problem.model.operators)
    direction = np.random.default_rng(0).normal(size=true.shape)

    def loss(step: float) -> float:
        model = problem.model.with_tensors({"K": problem.model.tensors["K"] + step * direction})
        moved = replace(problem, model=replace(model, weight_range=scale))
        return xs.cosimulate(moved, replace(design, rewritten=True), engine="nodal", seed=3).record.loss.analog

    assert relative((loss(1e-5) - loss(-1e-5)) / 2e-5, np.vdot(true, direction)) < 1e-5


def test_pulses_start_from_what_the_arrays_hold():
    both = xs.Layers([xs.LayerField([[K]], np.zeros(1), "tanh") for K in (0.5, -0.4)])
    problem = problem_of(both, "ab3", 2)
    pulses = xs.WriteVerify(tolerance=0.25)
    design = xs.Design(
        rewritten=True, programming=pulses, device=xs.load_device("yakopcic_fast"), r_word=2.0, r_bit=2.0
    )
    record = xs.cosimulate(problem, design, engine="nodal").record
    assert record.writes["K"].forward == 2
    first, second = (xs.map_weights(problem.model.matrices[f"K[{k}]"], design) for k in range(2))
    after = xs.map_weights(problem.model.matrices["K[1]"], design, before=first.drawn)
    back = xs.map_weights(problem.model.matrices["K[0]"], design, before=after.drawn)
    total = first.cost + after.cost + back.cost
    assert record.programming == {"K": total}
    assert after.cost.pulses != second.cost.pulses
    nothing = xs.map_weights(problem.model.matrices["K[1]"], design, before=after.drawn)
    assert nothing.cost.pulses == 0
    assert np.array_equal(nothing.drawn, after.drawn)


@pytest.mark.parametrize(
    ("change", "said"),
    [({"order": "conductance"}, "order='conductance'"), ({"conductances": "chip.npz"}, "measured")],
)
def test_what_cannot_be_rewritten_is_refused(change, said):
    with pytest.raises(InvalidInputError, match=said):
        xs.Design(rewritten=True, **change)


def test_a_sensitivity_map_and_a_feedback_circuit_refuse_shared_arrays(rng):
    problem = problem_of(layered("activation", rng), "implicit_euler")
    with pytest.raises(InvalidInputError, match="rewritten=False"):
        xs.sensitivity_map(problem, xs.Design(rewritten=True))
    with pytest.raises(InvalidInputError, match="rewritten=False"):
        xs.cosimulate(problem, xs.Design(rewritten=True), engine="ideal", solver=xs.SolverOptions(krylov="feedback"))
