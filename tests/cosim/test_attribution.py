"""Attribution: the values add up, and belong to the co-simulations of the designs they name."""

import json
from dataclasses import replace

import numpy as np
import pytest

from xbar_spice.cosim import Attribution, Problem, attribute, cosimulate, three_gradients
from xbar_spice.cosim.analysis.attribution import CLIPPED, SOURCES
from xbar_spice.errors import InvalidInputError
from xbar_spice.hardware.cells import Sinh
from xbar_spice.hardware.converters import Converters
from xbar_spice.hardware.crossbar import Terminations
from xbar_spice.hardware.read_noise import ReadNoise
from xbar_spice.hardware.variation import Variation
from xbar_spice.mapping.design import Design
from xbar_spice.train.losses import SquaredDistance
from xbar_spice.weights import Model

DESIGN = Design(
    tile=4, r_word=5.0, r_bit=5.0, r_driver=50.0, variation=Variation(programming=0.05, stuck_on=0.05, stuck_off=0.05)
)
MEASURES = ["state", "loss", "gradient of A", "gradient of B"]


@pytest.fixture
def problem(rng):
    A, B = rng.standard_normal((6, 5)), rng.standard_normal((5, 6)) / 3
    return Problem(Model(A, B, h=0.25, steps=2), rng.standard_normal((5, 3)), SquaredDistance(np.zeros((5, 3))))


@pytest.fixture
def attribution(problem):
    return attribute(problem, DESIGN, seed=2)


@pytest.mark.parametrize("measure", MEASURES)
def test_shapley_values_add_up_to_the_total(attribution, measure):
    total = attribution.total(measure) - attribution.none(measure)
    assert sum(attribution.shapley(measure).values()) == pytest.approx(total, rel=1e-13)


def test_values_are_those_of_the_designs_they_name(problem, attribution):
    def state(design):
        return cosimulate(problem, design, engine="nodal", seed=2).record["state"]["relative_error"]

    wires = Design(tile=4, r_word=5.0, r_bit=5.0)
    assert attribution.sources == ("wires", "drivers and sensing", "programming error", "stuck devices")
    assert attribution.total("state") == state(DESIGN)
    assert attribution.none("state") < 1e-12
    assert attribution.alone("state")["wires"] == state(wires)
    assert attribution.all_but("state")["wires"] == state(replace(DESIGN, r_word=0.0, r_bit=0.0))
    json.dumps(attribution.record)


def test_the_two_parts_of_the_gradient_s_error_are_those_of_the_three_gradients(problem):
    design = Design(tile=4, r_word=5.0, r_bit=5.0, r_sense=20.0, variation=Variation(programming=0.05))
    far = replace(design, terminations=Terminations(transposed="far_ends"))
    near, found = (attribute(problem, one, seed=2, split=True) for one in (design, far))
    assert set(found.errors) == {*MEASURES, "bias of A", "bias of B", "shift of A", "shift of B"}
    whole = three_gradients(problem, far, seed=2, step=None).record["differences"]
    for part in ("bias", "shift"):
        for name in ("A", "B"):
            measure = f"{part} of {name}"
            assert found.total(measure) == whole[part][name]["relative_error"]
            assert found.none(measure) < 1e-6
            total = found.total(measure) - found.none(measure)
            assert sum(found.shapley(measure).values()) == pytest.approx(total, rel=1e-12)
    # Reads of the other ends of the lines see other wires: that is bias, and no shift of the model.
    assert found.alone("bias of A")["wires"] > 1.2 * near.alone("bias of A")["wires"]
    assert found.total("shift of A") == pytest.approx(near.total("shift of A"), rel=1e-6)


def test_sources_that_do_not_interact_count_the_same_in_every_way():
    gains = np.array([1.0, 2.0, 4.0])
    errors = np.einsum("i...,i->...", np.indices((2, 2, 2)), gains)
    found = Attribution(("x", "y", "z"), {"error": errors}, {})
    assert list(found.shapley("error").values()) == pytest.approx(gains)
    assert list(found.alone("error").values()) == pytest.approx(gains)
    assert list(found.all_but("error").values()) == pytest.approx(7.0 - gains)


def test_shapley_values_of_a_known_game():
    """Two of three are needed: each counts a third."""
    errors = (np.indices((2, 2, 2)).sum(axis=0) >= 2).astype(float)
    assert list(Attribution(("x", "y", "z"), {"error": errors}, {}).shapley("error").values()) == pytest.approx(
        [1 / 3] * 3
    )


def test_sampled_orders_estimate_the_shapley_values_and_add_up():
    """A game with interactions: the estimate adds up exactly, and lies within a few standard errors of the value."""
    places = np.indices((2,) * 6).reshape(6, -1)
    game = (places.T @ np.arange(1.0, 7.0)) ** 1.5 + 5 * places[0] * places[5]
    errors = {"error": game.reshape((2,) * 6)}
    names = tuple("uvwxyz")
    exact = Attribution(names, errors, {})
    rng = np.random.default_rng(0)
    drawn = [tuple(rng.permutation(6).tolist()) for _ in range(20)]
    sampled = Attribution(names, errors, {}, tuple(order for one in drawn for order in (one, one[::-1])))
    assert sum(sampled.shapley("error").values()) == pytest.approx(exact.total("error"))
    deviation = np.subtract(*(list(found.shapley("error").values()) for found in (sampled, exact)))
    spread = np.array(list(sampled.shapley_error("error").values()))
    assert (np.abs(deviation) < 4 * spread + 1e-12).all()
    assert spread.max() < 0.1 * exact.total("error")
    assert set(exact.shapley_error("error").values()) == {0.0}


FULL = replace(
    DESIGN,
    device=Sinh(0.3),
    noise=ReadNoise(device=0.02, sense=1e-8),
    converters=Converters(dac_bits=7, adc_bits=8, adc_reference="devices"),
)


def test_all_sources_add_up(problem):
    """Seven sources along four orders."""
    explicit = replace(problem, model=replace(problem.model, method="forward_euler"))
    counts = []
    found = attribute(explicit, FULL, seed=2, orders=4, on_run=lambda done, of: counts.append((done, of)))
    assert found.sources == tuple(name for name in SOURCES if name not in ("drift", "fixed point"))
    runs = found.conditions["runs"]
    assert runs < 2**7
    assert counts == [(done, runs) for done in range(1, runs + 1)]
    for measure in MEASURES:
        total = found.total(measure) - found.none(measure)
        assert sum(found.shapley(measure).values()) == pytest.approx(total, rel=1e-12)
        assert min(found.alone(measure).values()) > found.none(measure)
    assert found.record["orders"] == 4
    json.dumps(found.record)


@pytest.mark.parametrize("measure", MEASURES)
def test_clipped_weights_are_a_source_like_any_other(problem, measure):
    """A model whose weights have grown beyond the range of its chip: the values add up to the whole error."""
    held = 0.7 * np.abs(problem.model.A).max(), 0.9 * np.abs(problem.model.B).max()
    clipped = replace(problem, model=replace(problem.model, weight_range=held))
    found = attribute(clipped, DESIGN, seed=2)
    assert found.sources[-1] == CLIPPED
    assert found.none(measure) < 1e-7
    assert sum(found.shapley(measure).values()) == pytest.approx(found.total(measure), abs=1e-7)
    assert found.alone(measure)[CLIPPED] > 0.01
    if measure == "state":
        alone = cosimulate(clipped, Design(), engine="ideal").record["state"]["relative_error"]
        assert found.alone(measure)[CLIPPED] == pytest.approx(alone, rel=1e-6)


def test_weights_within_their_range_are_no_source(problem):
    held = tuple(float(np.abs(W).max()) for W in (problem.model.A, problem.model.B))
    exact = replace(problem, model=replace(problem.model, weight_range=held))
    assert CLIPPED not in attribute(exact, DESIGN, seed=2).sources


@pytest.mark.parametrize("orders", [None, 4])
def test_a_single_source_is_the_whole(problem, orders):
    found = attribute(problem, Design(r_word=5.0, r_bit=5.0), orders=orders)
    assert found.sources == ("wires",)
    for measure in MEASURES:
        assert found.shapley(measure)["wires"] == pytest.approx(found.total(measure) - found.none(measure), rel=1e-12)
    json.dumps(found.record)


def test_runs_side_by_side_find_the_same(problem):
    design = Design(variation=Variation(programming=0.1), noise=ReadNoise(device=0.05))
    alone, together = (attribute(problem, design, seed=2, jobs=jobs) for jobs in (1, 2))
    assert alone.record == together.record


def test_a_nonlinear_source_is_the_difference_of_its_cells():
    """Without any wire a sinh cell errs by sinh(V / v0) v0 / V - 1, about V^2 / (6 v0^2), in one read of one weight."""
    weight = Model([[1.0]], [[0.5]], h=0.1, steps=1, method="forward_euler")
    one = Problem(weight, np.array([[1.0]]), SquaredDistance(np.zeros((1, 1))))
    found = attribute(one, Design(device=Sinh(0.4), v_read=0.1))
    excess = 0.4 / 0.1 * np.sinh(0.1 / 0.4)
    # Plus and minus cell, at g_max and g_min, both carry the excess, and so does each of the two reads.
    assert found.alone("state")["nonlinear cells"] == pytest.approx(0.05 * (excess**2 - 1) / 1.05, rel=1e-9)


@pytest.mark.parametrize(
    ("options", "text"), [({"orders": 3}, "orders must be None or an even"), ({"jobs": 0}, "jobs")]
)
def test_bad_numbers_are_refused(problem, options, text):
    with pytest.raises(InvalidInputError, match=text):
        attribute(problem, DESIGN, **options)


def test_an_ideal_design_has_nothing_to_attribute(problem):
    with pytest.raises(InvalidInputError, match="nothing to attribute"):
        attribute(problem, Design())


def test_an_unknown_measure_is_refused(attribution):
    with pytest.raises(InvalidInputError, match="measure must be one of 'state'"):
        attribution.total("energy")
