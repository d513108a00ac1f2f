"""The gradients of the analog loss, checked by finite differences of single weights, kernel taps and devices."""

import json
from dataclasses import replace

import numpy as np
import pytest
from support import engine_or_skip, for_cells, relative
from support.solver_table import PREPARED

from xbar_spice.cosim import (
    SolverOptions,
    circuit_gradients,
    program_model,
    three_gradients,
)
from xbar_spice.cosim.gradients.read_derivative import ReadDerivative
from xbar_spice.cosim.gradients.three_gradients import adjoint_mismatch
from xbar_spice.cosim.run.cosimulation import solve_model
from xbar_spice.hardware.cells import Ohmic, Sinh
from xbar_spice.hardware.crossbar import Terminations
from xbar_spice.hardware.variation import Variation
from xbar_spice.mapping.analog_matrix import AnalogMatrix, program
from xbar_spice.mapping.design import Design
from xbar_spice.mapping.matrix import map_weights
from xbar_spice.solve.fields.field import ReluField
from xbar_spice.solve.linear_solvers.krylov import KrylovOptions
from xbar_spice.solve.newton.newton import NewtonOptions

SEED = 3
TIGHT = SolverOptions(NewtonOptions(rtol=1e-13), KrylovOptions(rtol=1e-12))
WIRED = Design(r_word=20.0, r_bit=10.0, r_driver=50.0, r_sense=5.0)
DESIGNS = {
    "two arrays": WIRED,
    "one array, tiles": replace(WIRED, mapping="interleaved", tile=3),
    "far ends": replace(WIRED, terminations=Terminations(transposed="far_ends")),
    "swapped ends": replace(WIRED, terminations=Terminations(transposed="swapped_ends")),
    "programming error, stuck": replace(WIRED, variation=Variation(programming=0.1, stuck_on=0.05, stuck_off=0.1)),
    "nonlinear": replace(WIRED, device=Sinh(0.25), tile=3),
    "two rows at a time": replace(WIRED, active_rows=2),
}


def analog_loss(problem, design, model, engine="nodal"):
    """The loss of other weights on the chip that the problem's model was programmed into."""
    before = [map_weights(W, design, rng=np.random.default_rng(0)) for W in (problem.model.A, problem.model.B)]
    on_chip = replace(model, weight_range=tuple(mapped.largest_weight for mapped in before))
    A, B = program_model(on_chip, design, engine, seed=SEED)
    with A, B:
        return solve_model(replace(problem, model=model), ReluField(A, B), TIGHT).loss


def weight_difference(problem, design, name, index, step, engine="nodal"):
    """Central difference of the analog loss over one weight."""
    losses = []
    for move in (step, -step):
        W = getattr(problem.model, name).copy()
        W[index] += move
        losses.append(analog_loss(problem, design, replace(problem.model, **{name: W}), engine))
    return (losses[0] - losses[1]) / (2 * step)


def below_the_largest(W):
    """Indices of some weights, without the largest one, which cannot grow."""
    largest = np.unravel_index(np.abs(W).argmax(), W.shape)
    return [index for index in np.ndindex(W.shape) if index != largest][::3]


@pytest.mark.parametrize("label", DESIGNS)
def test_true_gradient_is_the_finite_difference_of_single_weights(dense, label):
    design = DESIGNS[label]
    problem = for_cells(dense, design)
    true = three_gradients(problem, design, seed=SEED, solver=TIGHT).gradients["true"]
    for name in ("A", "B"):
        indices = below_the_largest(getattr(problem.model, name))
        wanted = [weight_difference(problem, design, name, index, 1e-5) for index in indices]
        assert relative([true[name][index] for index in indices], wanted) < 1e-8


@pytest.mark.parametrize("cells", [Ohmic(), Sinh(0.25)], ids=["ohmic", "sinh"])
@pytest.mark.parametrize("mapping", ["differential", "interleaved"])
def test_true_gradient_reaches_into_tiles_that_were_left_out(dense, mapping, cells):
    """A zero weight in a tile that was not built has the mean of its one-sided derivatives: moved, it builds its tile.

    The last two lie in tiles that are there; one of them is zero, too.
    """
    design = replace(WIRED, device=cells, mapping=mapping, tile=2, skip_empty=True)
    A = dense.model.A.copy()
    A[:2, :2] = A[2:4, 2:4] = A[2, 1] = 0.0
    problem = for_cells(replace(dense, model=replace(dense.model, A=A)), design)
    study = three_gradients(problem, design, seed=SEED, solver=TIGHT, step=None)
    indices = [(0, 0), (0, 1), (1, 1), (2, 3), (3, 2), (2, 1), (4, 1)]
    wanted = [weight_difference(problem, design, "A", index, 1e-5) for index in indices]
    assert relative([study.gradients["true"]["A"][index] for index in indices], wanted) < 1e-6
    assert np.abs(wanted[:3]).min() > 0.01 * np.abs(wanted).max()


def test_true_gradient_is_the_finite_difference_of_kernel_taps(convolution):
    true = three_gradients(convolution, WIRED, solver=TIGHT).gradients["true"]
    kernels, step = convolution.model.kernels, 1e-5
    for name in ("a", "b"):
        taps = np.flatnonzero(np.abs(getattr(kernels, name)) < np.abs(getattr(kernels, name)).max())[::2]
        wanted = []
        for tap in taps:
            losses = []
            for move in (step, -step):
                moved = getattr(kernels, name).copy()
                moved[tap] += move
                A, B = replace(kernels, **{name: moved}).matrices()
                model = replace(convolution.model, A=A, B=B, kernels=None)
                losses.append(analog_loss(convolution, WIRED, model))
            wanted.append((losses[0] - losses[1]) / (2 * step))
        assert relative(true[name][taps], wanted) < 1e-7


@pytest.mark.parametrize("device", [Ohmic(), Sinh(0.25)], ids=["ohmic", "sinh"])
def test_device_gradient_is_the_finite_difference_of_single_devices(dense, device):
    design = replace(WIRED, device=device, tile=3)
    problem = for_cells(dense, design)
    A, B = program_model(problem.model, design, "nodal")
    devices = circuit_gradients(problem, (A, B), TIGHT).devices["A"]
    for number in (0, 3):
        array = A.mapped.arrays[number]
        step = 1e-4 * array.crossbar.conductance[1, 1]
        losses = [
            solve_model(problem, ReluField(with_device(A, number, move), B), TIGHT).loss for move in (step, -step)
        ]
        found = devices[array.devices][1, 1]
        assert found == pytest.approx((losses[0] - losses[1]) / (2 * step), rel=1e-5)


def with_device(matrix, number, move):
    """The matrix with one device of one array changed."""
    arrays = list(matrix.mapped.arrays)
    conductance = arrays[number].crossbar.conductance.copy()
    conductance[1, 1] += move
    arrays[number] = replace(arrays[number], crossbar=replace(arrays[number].crossbar, conductance=conductance))
    mapped = replace(matrix.mapped, arrays=tuple(arrays))
    return AnalogMatrix(np.zeros(mapped.shape), mapped, engine_or_skip("nodal").program_bank(mapped.crossbars))


def test_a_weight_on_stuck_devices_has_no_gradient(dense):
    design = replace(WIRED, variation=Variation(stuck_off=1.0))
    true = three_gradients(dense, design, seed=SEED).gradients["true"]
    assert not true["A"].any()
    assert not true["B"].any()


def test_same_ends_give_the_exact_gradient_of_the_effective_model_and_far_ends_do_not(dense):
    near = three_gradients(dense, WIRED, solver=TIGHT).record
    far = three_gradients(dense, DESIGNS["far ends"], solver=TIGHT).record
    for name in ("A", "B", "z0"):
        assert near["differences"]["transpose"][name]["relative_error"] < 1e-9
        assert far["differences"]["transpose"][name]["relative_error"] > 1e-3
    assert near["adjoint_mismatch"]["A"] < 1e-9
    assert far["adjoint_mismatch"]["A"] > 1e-3


def test_ideal_arrays_make_all_gradients_equal(dense):
    study = three_gradients(dense, Design(), solver=TIGHT)
    for name, wanted in study.gradients["digital"].items():
        for kind in ("hardware", "hybrid", "effective", "true"):
            assert relative(study.gradients[kind][name], wanted) < 1e-9, (kind, name)


def test_expected_and_measured_descent_agree_and_no_direction_beats_the_true_one(dense):
    record = three_gradients(dense, WIRED, solver=TIGHT, step=1e-5).record
    descent = record["descent"]
    for found in descent.values():
        assert found["measured"] == pytest.approx(found["expected"], rel=0.05)
        assert found["expected"] <= descent["true"]["expected"] * (1 + 1e-12)
    json.dumps(record)


def test_reads_scale_with_their_input(rng):
    """Inputs are scaled to the read voltage, so that J(x) x = y(x) even for nonlinear cells."""
    W, x = rng.standard_normal((4, 5)), rng.standard_normal(5)
    with program(W, WIRED, device=Sinh(0.2)) as matrix:
        assert ReadDerivative(matrix.mapped).jacobian(x) @ x == pytest.approx(matrix.mv(x), rel=1e-8)


def test_derivative_of_a_nonlinear_read_is_its_finite_difference(rng):
    W, x, step = rng.standard_normal((4, 5)), rng.standard_normal(5), 1e-5
    with program(W, WIRED, device=Sinh(0.2)) as matrix:
        found = ReadDerivative(matrix.mapped).jacobian(x)
        wanted = [(matrix.mv(x + move) - matrix.mv(x - move)) / (2 * step) for move in step * np.eye(5)]
        assert relative(found, np.transpose(wanted)) < 1e-7


def test_mismatch_of_exact_transposes_is_rounding(rng):
    with program(rng.standard_normal((6, 5)), engine="ideal") as matrix:
        assert adjoint_mismatch(matrix, rng) < 1e-14


def test_new_weights_on_one_chip_keep_its_scale_and_are_clipped():
    old = map_weights([[1.0, -2.0]])
    new = map_weights([[4.0, -1.0]], siemens_per_weight=old.siemens_per_weight)
    assert new.siemens_per_weight == old.siemens_per_weight
    assert new.crossbars[0].conductance[0, 0] == old.design.g_max
    assert new.crossbars[1].conductance[1, 0] == pytest.approx(
        old.design.g_min + (old.design.g_max - old.design.g_min) / 2
    )


@pytest.mark.parametrize("method", PREPARED)
def test_gradients_do_not_ask_for_a_twin_or_a_circuit(dense, method):
    """Where a field has none, GMRES solves: the three gradients are those of one arrays' own systems anyway."""
    wanted = three_gradients(dense, WIRED, solver=TIGHT, step=None).gradients
    asked = replace(TIGHT, krylov=replace(TIGHT.krylov, method=method))
    found = three_gradients(dense, WIRED, solver=asked, step=None).gradients
    for kind, by_name in wanted.items():
        for name, values in by_name.items():
            np.testing.assert_array_equal(found[kind][name], values)
