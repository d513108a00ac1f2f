"""Three gradients split by step and by sample: the parts add up, and each is a gradient of its own."""

import json
from contextlib import ExitStack
from dataclasses import replace

import pytest
from support import for_cells, relative

from xbar_spice.cosim import SolverOptions, circuit_gradients, program_model, three_gradients
from xbar_spice.hardware.cells import Sinh
from xbar_spice.hardware.variation import Variation
from xbar_spice.mapping.design import Design
from xbar_spice.solve.fields.field import ReluField
from xbar_spice.solve.integrators.integration import integrate
from xbar_spice.solve.integrators.layers import Layers
from xbar_spice.solve.linear_solvers.krylov import KrylovOptions
from xbar_spice.solve.newton.newton import NewtonOptions
from xbar_spice.train.losses import SquaredDistance

SEED = 3
TIGHT = SolverOptions(NewtonOptions(rtol=1e-13), KrylovOptions(rtol=1e-12))
WIRED = Design(r_word=20.0, r_bit=10.0, r_driver=50.0, r_sense=5.0)
DESIGNS = {
    "tiles, programming error, stuck": replace(
        WIRED, tile=3, variation=Variation(programming=0.1, stuck_on=0.05, stuck_off=0.1)
    ),
    "nonlinear": replace(WIRED, device=Sinh(0.25)),
}
KINDS = ["digital", "hardware", "hybrid", "effective", "true"]


@pytest.fixture
def convolution(convolution):
    return replace(convolution, model=replace(convolution.model, steps=3))


@pytest.mark.parametrize("label", DESIGNS)
def test_parts_of_every_gradient_add_up(dense, label):
    study = three_gradients(
        for_cells(dense, DESIGNS[label]), DESIGNS[label], seed=SEED, solver=TIGHT, by=("step", "sample"), step=None
    )
    for axis, length in (("step", 2), ("sample", 3)):
        for kind in KINDS:
            for name in ("A", "B"):
                parts = study.parts[axis][kind][name]
                assert len(parts) == length
                assert relative(parts.sum(axis=0), study.gradients[kind][name]) < 1e-9


def test_parts_of_kernels_add_up(convolution):
    study = three_gradients(convolution, WIRED, solver=TIGHT, by=("step", "sample"), step=None)
    for axis, length in (("step", 3), ("sample", 2)):
        for kind in KINDS:
            for name in ("a", "b"):
                parts = study.parts[axis][kind][name]
                assert parts.shape == (length, 9)
                assert relative(parts.sum(axis=0), study.gradients[kind][name]) < 1e-9
        for difference in study.record["by"][axis].values():
            assert len(difference["a"]) == length
    assert "descent" not in study.record
    json.dumps(study.record)


@pytest.mark.parametrize("label", DESIGNS)
def test_the_part_of_a_sample_is_its_gradient_alone(dense, label):
    problem, design = for_cells(dense, DESIGNS[label]), DESIGNS[label]
    parts = three_gradients(problem, design, seed=SEED, solver=TIGHT, by="sample", step=None).parts["sample"]
    samples = problem.z0.shape[1]
    for sample in range(samples):
        target = problem.objective.target[:, [sample]]
        alone = replace(problem, z0=problem.z0[:, [sample]], objective=SquaredDistance(target))
        wanted = three_gradients(alone, design, seed=SEED, solver=TIGHT, step=None).gradients
        for kind in KINDS:
            for name in ("A", "B"):
                assert relative(samples * parts[kind][name][sample], wanted[kind][name]) < 1e-8


def test_the_true_part_of_a_step_is_the_finite_difference_of_the_chip_of_that_step(dense):
    """Each step on a chip of its own, drawn alike; one weight of one chip moves."""
    design, move = DESIGNS["tiles, programming error, stuck"], 1e-5
    A, B = program_model(dense.model, design, "nodal", seed=SEED)
    on_chip = replace(dense.model, weight_range=(A.mapped.largest_weight, B.mapped.largest_weight))
    true = three_gradients(dense, design, seed=SEED, solver=TIGHT, by="step", step=None).parts["step"]["true"]

    def loss(moved_step, name, index, amount):
        with ExitStack() as opened:
            chips = []
            for step in range(dense.model.steps):
                W = getattr(dense.model, name).copy()
                W[index] += amount * (step == moved_step)
                chip = program_model(replace(on_chip, **{name: W}), design, "nodal", seed=SEED)
                chips.append(ReluField(*(opened.enter_context(matrix) for matrix in chip)))
            tight = {"newton": TIGHT.newton, "krylov": TIGHT.krylov}
            trajectory = integrate(Layers(chips), dense.z0, h=dense.model.h, steps=dense.model.steps, **tight)
        return dense.objective.evaluate(trajectory.z[-1]).loss

    for name in ("A", "B"):
        for index in ((0, 1), (3, 2)):
            for step in range(dense.model.steps):
                wanted = (loss(step, name, index, move) - loss(step, name, index, -move)) / (2 * move)
                assert true[name][step][index] == pytest.approx(wanted, rel=1e-6, abs=1e-10)


def test_device_gradients_split_like_the_others(dense):
    design = DESIGNS["nonlinear"]
    problem = for_cells(dense, design)
    A, B = program_model(problem.model, design, "nodal")
    found = circuit_gradients(problem, (A, B), TIGHT, by=("step", "sample"))
    for parts in found.parts.values():
        for name, total in found.devices.items():
            assert relative(parts.devices[name].sum(axis=0), total) < 1e-12
