"""A chip that learns: its devices stay, a step is the one made by hand, perfect arrays learn like digital matrices."""

from dataclasses import replace

import numpy as np
import pytest

from xbar_spice.cosim import Chip, program_model, weight_scales
from xbar_spice.engines.base import Bank, Engine
from xbar_spice.engines.nodal.engine import NodalEngine
from xbar_spice.errors import InvalidInputError
from xbar_spice.hardware.amplifier import Amplifier
from xbar_spice.hardware.cells import Sinh
from xbar_spice.hardware.read_noise import ReadNoise
from xbar_spice.hardware.variation import Variation
from xbar_spice.mapping.design import Design
from xbar_spice.mapping.matrix import map_weights
from xbar_spice.solve.adjoint.discrete import gradients
from xbar_spice.solve.fields.field import ReluField
from xbar_spice.solve.integrators.integration import integrate
from xbar_spice.streams import random_stream
from xbar_spice.train.descent import evaluate, loss_and_gradients
from xbar_spice.train.losses import softmax_cross_entropy
from xbar_spice.train.samples import Samples, Split
from xbar_spice.train.tasks import Schedule
from xbar_spice.train.training import tune
from xbar_spice.weights import Classifier, Kernels, Model, load_model, save_model

STATES, CLASSES = 6, 3
WIRED = Design(r_word=20.0, r_bit=20.0, r_driver=50.0, r_sense=20.0, headroom=2.0)
WORN = replace(WIRED, variation=Variation(programming=0.2, stuck_on=0.05, stuck_off=0.1))
SCHEDULE = Schedule(epochs=2, batch=20, jitter=0.0, learning_rate=0.02)


@pytest.fixture
def samples(rng):
    """Three clouds of points."""
    labels = np.arange(60) % CLASSES
    x = np.repeat(np.eye(CLASSES), STATES // CLASSES, axis=0)[:, labels] + 0.4 * rng.standard_normal((STATES, 60))
    return Samples(x, labels)


@pytest.fixture
def model(rng):
    A, B = 0.4 * rng.standard_normal((2, STATES, STATES))
    classifier = Classifier(rng.standard_normal((CLASSES, STATES)), np.zeros(CLASSES))
    return Model(A, B, h=0.2, steps=2, classifier=classifier)


def tuned(model, samples, schedule=SCHEDULE, **options):
    return tune(model, schedule, digits=Split(samples, samples.take(slice(0, 30))), **options)


def device_conductances(model, chip):
    A, B = program_model(model, chip.design, chip.engine, seed=chip.seed)
    with A, B:
        return [array.crossbar.conductance for matrix in (A, B) for array in matrix.mapped.arrays]


@pytest.mark.parametrize("gradient", ["hardware", "hybrid", "true"])
@pytest.mark.parametrize("engine", ["ideal", "nodal"])
def test_perfect_arrays_learn_like_digital_matrices(model, samples, gradient, engine):
    tight = replace(SCHEDULE, tolerance=1e-13)
    digital = tuned(model, samples, tight)
    found = tuned(model, samples, tight, processor=Chip(Design(headroom=2.0), engine, gradient=gradient))
    np.testing.assert_allclose(found.model.A, digital.model.A, rtol=0, atol=1e-9)
    np.testing.assert_allclose(found.model.B, digital.model.B, rtol=0, atol=1e-9)
    for ours, theirs in zip(found.history, digital.history, strict=True):
        assert ours.test.loss == pytest.approx(theirs.test.loss, abs=1e-9)
        assert ours.loss == pytest.approx(theirs.loss, abs=1e-9)


@pytest.mark.parametrize("gradient", ["hardware", "hybrid", "true"])
@pytest.mark.parametrize("design", [WIRED, WORN, replace(WORN, mapping="interleaved", tile=4)], ids=["w", "v", "t"])
def test_training_lowers_the_loss_on_the_chip(model, samples, gradient, design):
    chip = Chip(design, gradient=gradient)
    found = tuned(model, samples, replace(SCHEDULE, epochs=3), processor=chip)
    assert found.history[-1].test.loss < found.before.loss
    again = evaluate(found.model, samples.take(slice(0, 30)), processor=chip)
    assert again.loss == pytest.approx(found.history[-1].test.loss, rel=1e-4)


def test_a_step_is_the_one_made_by_hand(model, samples):
    """Reads forward, transposed reads backward; Adam's first step is the sign of the gradient."""
    chip = Chip(WORN, seed=4)
    start = chip.prepared(model)
    A, B = program_model(start, WORN, "nodal", seed=4)
    with A, B:
        trajectory = integrate(ReluField(A, B), samples.x, h=model.h, steps=model.steps)
        score = softmax_cross_entropy(model.classifier.weight, model.classifier.bias, trajectory.z[-1], samples.labels)
        wanted = gradients(trajectory, score.cotangent)
    found, slopes = loss_and_gradients(start, samples, processor=chip)
    assert found.loss == pytest.approx(score.loss, rel=1e-7)
    np.testing.assert_allclose(slopes["A"], wanted.A, rtol=0, atol=1e-6 * np.abs(wanted.A).max())
    np.testing.assert_allclose(slopes["B"], wanted.B, rtol=0, atol=1e-6 * np.abs(wanted.B).max())
    once = tuned(model, samples, replace(SCHEDULE, epochs=1, batch=60), processor=chip).model
    np.testing.assert_allclose(once.A, model.A - 0.02 * np.sign(wanted.A), atol=1e-5)


def test_the_three_gradients_differ_on_a_real_chip_and_the_true_one_is_that_of_the_loss(model, samples):
    start = Chip(WORN).prepared(model)
    slopes = {
        kind: loss_and_gradients(start, samples, processor=Chip(WORN, gradient=kind), tolerance=1e-12)[1]["A"]
        for kind in ("hardware", "hybrid", "true")
    }
    for one, other in (("hardware", "hybrid"), ("hardware", "true"), ("hybrid", "true")):
        assert np.linalg.norm(slopes[one] - slopes[other]) > 0.01 * np.linalg.norm(slopes["true"])
    step = 1e-5
    for index in ((0, 1), (3, 2), (5, 5)):
        move = np.zeros_like(model.A)
        move[index] = step
        ends = [
            evaluate(replace(start, A=start.A + sign * move), samples, processor=Chip(WORN), tolerance=1e-12).loss
            for sign in (1.0, -1.0)
        ]
        assert slopes["true"][index] == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-5, abs=1e-9)


def test_the_seed_is_the_chip_and_its_curve(model, samples):
    first, again, other = (tuned(model, samples, processor=Chip(WORN, seed=seed)) for seed in (1, 1, 2))
    assert (first.before, first.history) == (again.before, again.history)
    np.testing.assert_array_equal(first.model.A, again.model.A)
    assert first.history != other.history


def test_devices_keep_their_errors_and_the_chip_its_scale(model, samples):
    chip = Chip(WORN, seed=3)
    start = chip.prepared(model)
    assert start.weight_range == (2.0 * np.abs(model.A).max(), 2.0 * np.abs(model.B).max())
    end = tuned(model, samples, processor=chip).model
    assert end.weight_range == start.weight_range
    assert chip.prepared(end) is end
    rng = random_stream(3, "devices", "A")
    shape = (2, STATES, STATES)
    factors = np.maximum(1 + 0.2 * rng.standard_normal(shape), 0)
    lot = rng.random(shape)
    stuck = (lot < 0.05) | (lot >= 0.9)
    for stage in (start, end):
        k = (WORN.g_max - WORN.g_min) / start.weight_range[0]
        target = WORN.g_min + k * np.maximum(np.stack([stage.A.T, -stage.A.T]), 0)
        found = np.stack(device_conductances(stage, chip)[:2])
        np.testing.assert_allclose(found[~stuck], (target * factors)[~stuck], rtol=1e-12)
        assert set(found[stuck]) <= {WORN.g_min, WORN.g_max}
    assert not np.array_equal(start.A, end.A)


class Counting(Engine):
    """The nodal engine; notes the vectors of every read."""

    name = "counting"

    def __init__(self) -> None:
        self.vectors = 0

    def program_bank(self, crossbars):
        return CountedBank(self, crossbars)


class CountedBank(Bank):
    def __init__(self, engine, crossbars):
        super().__init__(crossbars)
        self._engine, self._bank = engine, NodalEngine().program_bank(crossbars)

    def _read(self, drives, side):
        self._engine.vectors += drives[0].shape[1]
        return self._bank.read(drives, side)


NOISY = replace(WORN, noise=ReadNoise(device=0.02))


@pytest.mark.parametrize("gradient", ["hardware", "hybrid", "true"])
def test_every_occasion_has_its_own_read_noise_on_the_same_devices(model, samples, gradient):
    chip = Chip(NOISY, seed=2, gradient=gradient)
    start = chip.prepared(model)
    one, again, other = (loss_and_gradients(start, samples, processor=chip, occasion=name) for name in "aab")
    assert one[0].loss == again[0].loss
    assert one[0].loss != other[0].loss
    for name in ("A", "B"):
        np.testing.assert_array_equal(one[1][name], again[1][name])
        assert not np.array_equal(one[1][name], other[1][name])
    exact = loss_and_gradients(start, samples, processor=replace(chip, design=WORN))[1]["A"]
    assert 0 < np.linalg.norm(one[1]["A"] - exact) < 0.1 * np.linalg.norm(exact)


def test_training_sees_another_noise_in_every_minibatch(model, samples):
    """The same samples and weights twice; without a learning rate to speak of, only the noise tells epochs apart."""
    still = replace(SCHEDULE, batch=60, learning_rate=1e-15)
    quiet, noisy = (
        [epoch.loss for epoch in tuned(model, samples, still, processor=Chip(design)).history]
        for design in (WORN, NOISY)
    )
    assert quiet[0] == pytest.approx(quiet[1], rel=1e-6)
    assert abs(noisy[0] - noisy[1]) > 1e-5 * noisy[0]


def test_no_read_is_wasted_on_following_the_noise(model, samples):
    """Warnings are errors here, too: noise is no failure to converge."""
    vectors = {}
    for name, design in (("exact", WORN), ("noisy", NOISY)):
        engine = Counting()
        chip = Chip(design, engine)
        loss_and_gradients(chip.prepared(model), samples, processor=chip)
        vectors[name] = engine.vectors
    assert vectors["noisy"] < 0.85 * vectors["exact"]


def test_the_noise_of_an_implicit_step_is_known_of_worn_chips_too(model, samples):
    """Stuck devices make products, and with them the noise, several times as large as the weights tell."""
    chip = Chip(NOISY, seed=3)
    start = chip.prepared(model)
    with chip.programmed(start) as programmed:
        for z in samples.x[:, :20].T[:, :, np.newaxis]:
            values = np.stack([programmed.field.evaluate(z).value for _ in range(300)])
            deviation = np.sqrt(((values - values.mean(axis=0)) ** 2).sum(axis=1).mean())
            assert programmed.noise(z) == pytest.approx(model.h * deviation / np.linalg.norm(z), rel=0.35)


def test_weights_beyond_the_range_stay_at_the_highest_conductance(model):
    start = Chip(WIRED).prepared(model)
    grown = replace(start, A=10.0 * start.A)
    assert max(found.max() for found in device_conductances(grown, Chip(WIRED))) == WIRED.g_max
    largest = np.abs(start.A).max()
    half = device_conductances(start, Chip(WIRED))[0 if start.A.max() == largest else 1].max()
    assert half == pytest.approx(WIRED.g_min + (WIRED.g_max - WIRED.g_min) / 2)


def test_the_classifier_alone_leaves_the_arrays(model, samples):
    found = tuned(model, samples, replace(SCHEDULE, trained="classifier"), processor=Chip(WORN))
    np.testing.assert_array_equal(found.model.A, model.A)
    np.testing.assert_array_equal(found.model.B, model.B)
    assert found.history[-1].test.loss < found.before.loss


def test_digital_training_is_deployed_after_every_epoch(model, samples):
    chip = Chip(WORN)
    found = tuned(model, samples, deployed_on=chip)
    digital = tuned(model, samples)
    np.testing.assert_array_equal(found.model.A, digital.model.A)
    held_back = samples.take(slice(0, 30))
    assert found.history[-1].test == evaluate(found.model, held_back, processor=chip, tolerance=SCHEDULE.tolerance)
    assert found.history[-1].test.loss != pytest.approx(digital.history[-1].test.loss, rel=1e-3)


def test_kernels_stay_kernels(samples, rng):
    kernels = Kernels(0.3 * rng.standard_normal(9), 0.3 * rng.standard_normal(9), (2, 3))
    classifier = Classifier(rng.standard_normal((CLASSES, STATES)), np.zeros(CLASSES))
    start = Model.from_kernels(kernels, h=0.2, steps=2, classifier=classifier)
    found = tuned(start, samples, processor=Chip(WORN))
    assert found.model.kernels is not None
    assert found.history[-1].test.loss < found.before.loss


def test_a_tuned_model_finds_its_chip_again_from_its_file(model, samples, tmp_path):
    chip = Chip(WORN, seed=5)
    found = tuned(model, samples, processor=chip)
    save_model(tmp_path / "tuned.npz", found.model)
    read = load_model(tmp_path / "tuned.npz")
    assert read.weight_range == found.model.weight_range
    held_back = samples.take(slice(0, 30))
    assert evaluate(read, held_back, processor=chip, tolerance=1e-5) == found.history[-1].test
    scales = weight_scales(read, WORN)
    assert scales["A"] == pytest.approx((WORN.g_max - WORN.g_min) / (2.0 * np.abs(model.A).max()))
    assert weight_scales(model, WORN) == {}


def test_compensation_undoes_the_wires_of_a_deployed_model(model, samples):
    digital = evaluate(model, samples).loss
    plain, undone = (
        evaluate(chip.prepared(model), samples, processor=chip).loss
        for chip in (Chip(WIRED), Chip(replace(WIRED, compensated=True)))
    )
    assert abs(undone - digital) < 0.05 * abs(plain - digital)


def test_training_compensated_arrays_lowers_the_loss(model, samples):
    found = tuned(model, samples, processor=Chip(replace(WORN, compensated=True)))
    assert found.history[-1].test.loss < found.before.loss


@pytest.mark.parametrize("mapping", ["differential", "interleaved"])
def test_compensated_conductances_are_those_of_every_tile(rng, mapping):
    W = rng.standard_normal((7, 5))
    design = Design(mapping=mapping, tile=3, r_word=50.0, r_bit=50.0, r_driver=200.0, headroom=2.0, compensated=True)
    found = map_weights(W, design)
    wanted = map_weights(W, replace(design, compensated=False))
    left = plain = 0.0
    for array, target in zip(found.arrays, wanted.arrays, strict=True):
        ideal = target.crossbar.conductance
        assert np.abs(effective(array) - ideal).max() <= 1e-3 * ideal.max()
        left += np.linalg.norm(effective(array) - ideal)
        plain += np.linalg.norm(effective(target) - ideal)
    assert left < 0.1 * plain


def effective(array):
    """(rows, cols) transfer matrix, siemens."""
    with NodalEngine().program(array.crossbar) as session:
        return session.read(np.eye(array.crossbar.shape[0])).T


def test_what_a_chip_refuses(model, samples):
    with pytest.raises(InvalidInputError, match="'hardware', 'hybrid', 'true', got 'digital'"):
        Chip(WIRED, gradient="digital")
    with pytest.raises(InvalidInputError, match="compensated"):
        Chip(replace(WIRED, compensated=True), gradient="true")
    with pytest.raises(InvalidInputError, match=r"Chip\.prepared"), Chip(WIRED).programmed(model):
        pass
    with pytest.raises(InvalidInputError, match="no classifier"):
        tuned(replace(model, classifier=None), samples, processor=Chip(WIRED))
    with pytest.raises(InvalidInputError, match="seed must be a whole number >= 0"):
        tuned(model, samples, seed=-1)
    with pytest.raises(InvalidInputError, match="length 5"):
        tuned(model, Samples(np.zeros((5, 40)), np.zeros(40, dtype=int)))
    with pytest.raises(InvalidInputError, match="headroom must be finite and >= 1"):
        Design(headroom=0.5)
    with pytest.raises(InvalidInputError, match="only linear cells"):
        Design(compensated=True, device=Sinh())
    with pytest.raises(InvalidInputError, match="only linear cells with linear amplifiers"):
        Design(compensated=True, amplifier=Amplifier(r_feedback=1e4, saturation=1.0))
