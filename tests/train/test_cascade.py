"""Regularisers against their reference values, L-BFGS on all samples, and training on finer and finer grids."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support import relative, truth
from support.solver_table import numbers

import xbar_spice as xs
from xbar_spice.errors import InvalidInputError
from xbar_spice.train.cascade import cascade, fit
from xbar_spice.train.descent import epochs, evaluate, loss_and_gradients
from xbar_spice.train.regulariser import Regulariser
from xbar_spice.train.samples import Samples, Split

CASES = truth("multilevel")
LEVELS = CASES["multilevel"]


def model_of(given: dict[str, Any], h: float, **others: Any) -> xs.Model:
    layers = xs.Layers([xs.LayerField(K, b) for K, b in zip(given["K"], given["b"], strict=True)])
    classifier = xs.Classifier(given["W"], given["mu"])
    return xs.Model(field=layers, h=h, steps=len(given["K"]), method="forward_euler", classifier=classifier, **others)


def test_penalties_and_their_gradients() -> None:
    case = CASES["layers_res"]
    given = case["inputs"]
    model = model_of(given, given["h"])
    smooth, decay = Regulariser(given["alpha_time"]), Regulariser(decay=given["beta_decay"])
    assert smooth.value(model) == pytest.approx(case["reg_time"], rel=1e-12)
    assert decay.value(model) == pytest.approx(case["reg_decay"], rel=1e-12)
    both = Regulariser(given["alpha_time"], given["beta_decay"]).gradients(model)
    assert relative(both["K"], case["grad_reg"]["K"]) < 1e-12
    assert relative(both["bias"], case["grad_reg"]["b"]) < 1e-12
    assert relative(both["classifier.weight"], given["beta_decay"] * numbers(given["W"])) < 1e-12


@pytest.mark.parametrize("how", ["constant", "linear"])
def test_penalties_of_levels_compare(how: Any) -> None:
    given, wanted = LEVELS["inputs"], LEVELS["results"]["res"]
    coarse = model_of(given, given["T"] / given["N"])
    fine = xs.prolong(coarse, how)
    ends = 0.5 * sum(float(np.sum(numbers(given[name]) ** 2)) for name in ("W", "mu"))  # not in the reference
    for model, of in ((coarse, "before"), (fine, how)):
        assert Regulariser(1.0).value(model) == pytest.approx(wanted[of]["R_time"], rel=1e-12)
        assert Regulariser(decay=1.0).value(model) == pytest.approx(wanted[of]["R_decay"] + ends, rel=1e-12)


@pytest.fixture(scope="module")
def rings() -> Samples:
    rng = np.random.default_rng(0)
    angle, radius = 2 * np.pi * rng.random(60), np.repeat([0.5, 1.5], 30) + 0.1 * rng.random(60)
    return Samples(radius * np.stack([np.cos(angle), np.sin(angle)]), np.repeat([0, 1], 30))


def ring_model() -> xs.Model:
    K = np.random.default_rng(1).normal(size=(2, 2))
    layers = xs.Layers([xs.hamiltonian_field(K, np.zeros(2)) for _ in range(2)])
    encoder = xs.Encoder(np.eye(4, 2))
    ends = {"encoder": encoder, "classifier": xs.Classifier(np.zeros((2, 4)), np.zeros(2))}
    return xs.Model(field=layers, h=2.0, steps=2, method="verlet", frozen=("encoder.weight", "encoder.bias"), **ends)


def test_levels_go_on_from_each_other(rings: Samples) -> None:
    penalty = Regulariser(1e-4, 1e-4)
    levels = cascade(ring_model(), rings, 3, "linear", penalty, iterations=15)
    assert [level.model.steps for level in levels] == [2, 4, 8]
    assert [level.model.h for level in levels] == [2.0, 1.0, 0.5]
    for level in levels:
        assert level.history[-1] < level.refitted + penalty.value(level.model)
        assert level.steps == 2 * level.evaluations * level.model.steps
        assert level.nfe == ((2.0 * level.model.steps,) * 2,) * len(level.history)  # a Verlet step has two parts
        np.testing.assert_array_equal(level.model.tensors["encoder.weight"], np.eye(4, 2))
    assert levels[1].prolonged == pytest.approx(evaluate(xs.prolong(levels[0].model, "linear"), rings).loss, rel=1e-12)
    assert all(level.refitted < level.prolonged for level in levels)
    assert evaluate(levels[-1].model, rings).accuracy == 1.0


def test_a_fit_ends_where_the_gradient_vanishes(rings: Samples) -> None:
    penalty = Regulariser(1e-2, 1e-2)
    found = fit(ring_model(), rings, penalty, iterations=200)
    slopes, pulled = loss_and_gradients(found.model, rings)[1], penalty.gradients(found.model)
    assert max(np.abs(slopes[name] + pulled[name]).max() for name in slopes) < 1e-4


def test_a_fit_that_finds_no_way_down_stays_where_it_was(rings: Samples) -> None:
    """Each point has its opposite in the same class, and the classifier is zero: no parameter has a slope."""
    stuck = fit(ring_model(), Samples(np.hstack([rings.x, -rings.x]), np.tile(rings.classes, 2)), iterations=5)
    assert not stuck.history
    assert stuck.loss == stuck.refitted == pytest.approx(np.log(2.0), rel=1e-12)


def test_schedules_smooth_weights_in_time(rings: Samples) -> None:
    def jumps(smoothness: float) -> float:
        schedule = xs.Schedule(epochs=5, batch=60, jitter=0.0, learning_rate=0.01, smoothness=smoothness)
        rng = np.random.default_rng(0)
        *_, (last, model) = epochs(schedule, xs.prolong(ring_model()), Split(rings, rings), rng)
        assert last.evaluations == 2 * model.steps  # of the two parts of a Verlet step
        return float(np.abs(np.diff(model.tensors["K"], axis=0)).max())

    assert jumps(1.0) < 0.5 * jumps(0.0)


def test_what_does_not_fit_is_refused(rings: Samples) -> None:
    with pytest.raises(InvalidInputError, match="smoothness must be finite and >= 0"):
        Regulariser(-1.0)
    with pytest.raises(InvalidInputError, match="levels must be a whole number from 1"):
        cascade(ring_model(), rings, 0)
