"""What the variation of each device does to the loss, against single changed devices and against drawn chips."""

from contextlib import ExitStack
from dataclasses import replace

import numpy as np
import pytest
from support import relative

from xbar_spice.cosim import Problem, SolverOptions, chip_loss, chip_losses, program_model, sensitivity_map
from xbar_spice.cosim.run.cosimulation import solve_model
from xbar_spice.engines.registry import get_engine
from xbar_spice.errors import InvalidInputError
from xbar_spice.hardware.cells import Sinh
from xbar_spice.hardware.read_noise import ReadNoise
from xbar_spice.hardware.variation import Variation
from xbar_spice.mapping.analog_matrix import AnalogMatrix
from xbar_spice.mapping.design import Design
from xbar_spice.solve.fields.field import ReluField
from xbar_spice.solve.linear_solvers.krylov import KrylovOptions
from xbar_spice.solve.newton.newton import NewtonOptions
from xbar_spice.train.losses import CrossEntropy, SquaredDistance
from xbar_spice.weights import Classifier, Model

TIGHT = SolverOptions(NewtonOptions(rtol=1e-13), KrylovOptions(rtol=1e-12))
WIRED = Design(r_word=20.0, r_bit=10.0, r_driver=50.0, r_sense=5.0, variation=Variation(programming=0.01))
DESIGNS = {
    "two arrays, tiles": replace(WIRED, tile=3),
    "one array": replace(WIRED, mapping="interleaved"),
    "nonlinear": replace(WIRED, device=Sinh(0.25)),
}


@pytest.fixture
def problem(rng):
    A, B = rng.standard_normal((5, 4)), rng.standard_normal((4, 5)) / 3
    model = Model(A, B, h=0.25, steps=2, method="forward_euler")
    classifier = Classifier(rng.standard_normal((3, 4)), rng.standard_normal(3))
    return Problem(model, rng.standard_normal((4, 3)), CrossEntropy(classifier, np.array([0, 2, 1])))


@pytest.fixture
def aimed(problem):
    """The same model, with the final states of the wanted chip as target: there Gauss-Newton's Hessian is exact."""
    return replace(problem, objective=SquaredDistance(final_states(problem, WIRED, {})))


def run(problem, design, changes):
    """On the chip as wanted, with the conductances of some matrices changed by (2, inputs, outputs) siemens."""
    with ExitStack() as opened:
        chip = []
        for matrix in program_model(problem.model, replace(design, variation=Variation()), "nodal"):
            arrays = tuple(
                replace(
                    array,
                    crossbar=replace(
                        array.crossbar,
                        conductance=array.crossbar.conductance
                        + (changes[matrix.name][array.devices] if matrix.name in changes else 0.0),
                    ),
                )
                for array in matrix.mapped.arrays
            )
            mapped = replace(matrix.mapped, arrays=arrays)
            bank = get_engine("nodal").program_bank(mapped.crossbars)
            chip.append(opened.enter_context(AnalogMatrix(np.zeros(mapped.shape), mapped, bank)))
        return solve_model(problem, ReluField(*chip), TIGHT)


def final_states(problem, design, changes):
    return run(problem, design, changes).trajectory.z[-1]


def one_device(part, place, change):
    changes = np.zeros_like(part.conductance)
    changes[place] = change
    return changes


@pytest.mark.parametrize("label", DESIGNS)
def test_slopes_and_curvatures_are_finite_differences_of_single_devices(problem, label):
    design = DESIGNS[label]
    found = sensitivity_map(problem, design, solver=TIGHT)
    weight, samples = problem.objective.classifier.weight, problem.z0.shape[1]
    p = np.exp(problem.objective.classifier.logits(final_states(problem, design, {})))
    p /= p.sum(axis=0)
    assert found.loss == pytest.approx(run(problem, design, {}).loss, rel=1e-12)
    for name, part in found.matrices.items():
        for place in ((0, 1, 2), (1, 3, 0), (1, 0, 3)):
            step = 1e-4 * part.conductance[place]
            ends = [run(problem, design, {name: one_device(part, place, move)}) for move in (step, -step)]
            assert part.slope[place] == pytest.approx((ends[0].loss - ends[1].loss) / (2 * step), rel=1e-5)
            scores = weight @ (ends[0].trajectory.z[-1] - ends[1].trajectory.z[-1]) / (2 * step)
            gauss_newton = ((p * scores**2).sum(axis=0) - (p * scores).sum(axis=0) ** 2).sum() / samples
            assert part.curvature[place] == pytest.approx(gauss_newton, rel=1e-5)


def test_a_stuck_device_costs_what_the_second_order_says_as_far_as_that_reaches(aimed):
    part = sensitivity_map(aimed, WIRED, solver=TIGHT).matrices["A"]
    place = (0, 2, 1)
    errors = []
    for change in (4e-6, 2e-6):
        found = run(aimed, WIRED, {"A": one_device(part, place, change)}).loss
        errors.append(abs(found - part.stuck(part.conductance[place] + change)[place]) / found)
    assert errors[0] < 0.1
    assert errors[1] == pytest.approx(errors[0] / 2, rel=0.1)  # the first neglected order is the third


def test_predicted_standard_deviation_is_that_of_drawn_chips(problem):
    """300 losses tell their standard deviation to 4 %; at 1 % variation the loss is all but linear."""
    found = sensitivity_map(problem, WIRED)
    losses = chip_losses(problem, WIRED, range(300))
    assert losses.std(ddof=1) == pytest.approx(found.loss_std, rel=3 / np.sqrt(2 * 300))


def test_predicted_increase_is_that_of_drawn_chips(aimed):
    found = sensitivity_map(aimed, WIRED)
    losses = chip_losses(aimed, WIRED, range(300))
    assert found.loss_increase > 0
    assert losses.mean() == pytest.approx(found.loss_increase, abs=3 * losses.std() / np.sqrt(300))


def test_stuck_devices_count_by_their_probability(problem):
    design = replace(WIRED, variation=Variation(stuck_on=0.02, stuck_off=0.03))
    found = sensitivity_map(problem, design)
    for part in found.matrices.values():
        wanted = 0.02 * part.stuck(design.g_max) + 0.03 * part.stuck(design.g_min)
        assert relative(part.loss_increase, wanted) < 1e-12


def test_the_drift_is_the_loss_of_the_mean_chip(aimed):
    design = replace(WIRED, variation=Variation(stuck_on=1e-3, stuck_off=2e-3))
    found = sensitivity_map(aimed, design, solver=TIGHT)
    mean = {name: part.mean for name, part in found.matrices.items()}
    assert found.drift == pytest.approx(run(aimed, design, mean).loss, rel=0.05)
    alone = sum(part.loss_increase.sum() for part in found.matrices.values())
    assert found.loss_increase != pytest.approx(alone, rel=1e-6)  # the means of different devices go together


@pytest.mark.parametrize("label", DESIGNS)
def test_ranked_devices_are_where_they_say(problem, label):
    design = DESIGNS[label]
    found = sensitivity_map(problem, design)
    top = found.ranked(7)
    everything = np.sort(np.concatenate([part.loss_std.ravel() for part in found.matrices.values()]))[::-1]
    assert [device.loss_std for device in top] == pytest.approx(everything[:7])
    for device in top:
        part = found.matrices[device.matrix]
        (array,) = (array for array in part.mapped.arrays if array.name == device.array)
        assert array.crossbar.conductance[device.row, device.col] == device.conductance
        assert part.by_array(part.loss_std)[device.array][device.row, device.col] == device.loss_std
        assert device.sign == array.signs[device.col]
        assert device.weight == part.weights[array.outputs[device.col], array.inputs[device.row]]
    assert found.ranked(1, "loss_increase")[0].loss_increase == max(
        part.loss_increase.max() for part in found.matrices.values()
    )


def test_places_are_counted_on_every_array(problem):
    """B is 4 x 5 in tiles of 3: of the tiles with fewer lines the last parts are the shorter ones."""
    found = sensitivity_map(problem, DESIGNS["two arrays, tiles"])
    total = np.zeros((2, 2))
    for part in found.matrices.values():
        for top, left in ((0, 0), (0, 3), (3, 0), (3, 3)):
            tile = (part.loss_std**2)[:, top : top + 3, left : left + 3].sum(axis=0)
            rows, cols = (-(-length // 2) for length in tile.shape)
            total += [
                [tile[:rows, :cols].sum(), tile[:rows, cols:].sum()],
                [tile[rows:, :cols].sum(), tile[rows:, cols:].sum()],
            ]
    assert found.variance_by_place(2) == pytest.approx(total / total.sum())
    assert found.variance_by_place(1) == pytest.approx(1)


def test_shares_of_the_variance_grow_to_one(problem):
    found = sensitivity_map(problem, WIRED)
    shares = [found.variance_share(part) for part in (0.0, 0.1, 0.5, 1.0)]
    assert shares == sorted(shares)
    assert shares[0] == 0
    assert shares[-1] == pytest.approx(1)
    assert shares[1] > 0.1
    with pytest.raises(InvalidInputError, match="part must be between 0 and 1, got 2"):
        found.variance_share(2)


def test_without_variation_nothing_is_to_be_feared(problem):
    found = sensitivity_map(problem, replace(WIRED, variation=Variation()))
    assert found.loss_std == 0
    assert found.loss_increase == 0
    assert found.variance_share(0.5) == 0


def test_a_chip_of_given_devices_is_the_one_that_was_drawn(problem):
    """Devices left out are as wanted, those given are as they are."""
    with ExitStack() as opened:
        drawn = {
            matrix.name: opened.enter_context(matrix) for matrix in program_model(problem.model, WIRED, "nodal", seed=5)
        }
        devices = {}
        for name, matrix in drawn.items():
            devices[name] = np.zeros((2, *matrix.shape[::-1]))
            for array in matrix.mapped.arrays:
                devices[name][array.devices] = array.crossbar.conductance
    (wanted,) = chip_losses(problem, WIRED, [5])
    assert chip_loss(problem, WIRED, devices) == pytest.approx(wanted, rel=1e-12)
    assert chip_loss(problem, WIRED, {}) == pytest.approx(sensitivity_map(problem, WIRED).loss, rel=1e-12)
    assert chip_loss(problem, WIRED, {"A": devices["A"]}) != pytest.approx(wanted, rel=1e-6)


def test_a_chip_of_given_devices_has_the_range_and_the_noise_of_its_design(problem):
    noisy = Design(r_word=5.0, r_bit=5.0, noise=ReadNoise(device=0.01))
    ranged = replace(problem, model=replace(problem.model, weight_range=(5.0, 7.0)))
    exact = replace(noisy, noise=ReadNoise())
    wanted = sensitivity_map(ranged, exact, solver=TIGHT).loss
    assert chip_loss(ranged, exact, {}, solver=TIGHT) == pytest.approx(wanted, rel=1e-9)
    assert chip_loss(ranged, noisy, {}) == chip_losses(ranged, noisy, [0])[0]
    assert chip_loss(ranged, noisy, {}) == pytest.approx(wanted, rel=0.2)
    assert chip_loss(ranged, noisy, {}) != chip_loss(ranged, noisy, {}, seed=1)


def test_tiles_that_are_left_out_have_no_devices_that_could_vary(problem):
    A = problem.model.A.copy()
    A[:2, :2] = 0.0
    sparse = replace(problem, model=replace(problem.model, A=A))
    found = sensitivity_map(sparse, Design(tile=2, skip_empty=True, variation=Variation(programming=0.1, stuck_on=0.1)))
    part = found.matrices["A"]
    for values in (part.conductance, part.mean, part.std, part.slope, part.curvature, part.stuck(1e-5), part.present):
        assert not values[:, :2, :2].any()
        assert values[:, 2:, :].any()
    # Nor do they count: of 2 x 20 devices of A the two tiles of the zeros, of 2 x 2, were never built.
    assert found.devices == 2 * (20 - 4) + 2 * 20
    assert found.variance_shares.shape == (found.devices,)
    assert found.variance_share(1.0) == pytest.approx(1.0)
    assert found.variance_share(4 / found.devices) == pytest.approx(found.variance_shares[:4].sum())
