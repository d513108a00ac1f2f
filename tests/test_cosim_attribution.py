"""Attribution: the values add up, and belong to the co-simulations of the designs they name."""

import json
from dataclasses import replace

import numpy as np
import pytest

from xbar_spice.cosim import Attribution, Problem, attribute, cosimulate
from xbar_spice.errors import InvalidInputError
from xbar_spice.mapping import Design
from xbar_spice.train.losses import SquaredDistance
from xbar_spice.variation import Variation
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


def test_an_ideal_design_has_nothing_to_attribute(problem):
    with pytest.raises(InvalidInputError, match="nothing to attribute"):
        attribute(problem, Design())


def test_an_unknown_measure_is_refused(attribution):
    with pytest.raises(InvalidInputError, match="measure must be one of 'state'"):
        attribution.total("energy")
