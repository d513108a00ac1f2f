"""Programming error and stuck devices."""

from itertools import product

import numpy as np
import pytest

from xbar_spice.errors import InvalidInputError
from xbar_spice.hardware.variation import Variation
from xbar_spice.streams import random_stream

TARGET = np.full((400, 500), 5e-5)
WINDOW = (1e-6, 1e-4)


def programmed(variation, target, g_min, g_max, rng):
    return variation.program(target, g_min, g_max, rng).conductance


def test_gaussian_error_has_the_given_relative_spread(rng):
    ratio = programmed(Variation(programming=0.05), TARGET, *WINDOW, rng) / TARGET
    assert ratio.mean() == pytest.approx(1.0, abs=5e-4)
    assert ratio.std() == pytest.approx(0.05, rel=0.01)


def test_lognormal_error_is_normal_in_the_logarithm(rng):
    logarithm = np.log(programmed(Variation(programming=0.3, distribution="lognormal"), TARGET, *WINDOW, rng) / TARGET)
    assert logarithm.mean() == pytest.approx(0.0, abs=3e-3)
    assert logarithm.std() == pytest.approx(0.3, rel=0.01)


def test_conductance_never_becomes_negative(rng):
    assert programmed(Variation(programming=2.0), TARGET, *WINDOW, rng).min() == 0.0


def test_stuck_devices_come_at_their_rates(rng):
    found = programmed(Variation(stuck_on=0.1, stuck_off=0.02), TARGET, *WINDOW, rng)
    assert (found == WINDOW[1]).mean() == pytest.approx(0.1, abs=0.003)
    assert (found == WINDOW[0]).mean() == pytest.approx(0.02, abs=0.002)


@pytest.mark.parametrize("distribution", ["gaussian", "lognormal"])
def test_slopes_say_how_devices_follow_their_targets(distribution):
    """The same draws for targets that differ a little; stuck devices do not move."""
    variation = Variation(0.3, distribution, stuck_on=0.1, stuck_off=0.1)
    target = np.linspace(2e-6, 5e-5, 200)
    one, other = (variation.program(t, *WINDOW, np.random.default_rng(2)) for t in (target, 1.5 * target))
    difference = (other.conductance - one.conductance) / (0.5 * target)
    assert one.slope == pytest.approx(difference, rel=1e-12, abs=1e-15)
    assert ((one.slope == 0) == np.isin(one.conductance, WINDOW)).all()
    assert (one.slope == 0).any()


def test_switching_one_effect_on_does_not_move_the_other():
    noisy = programmed(Variation(programming=0.05), TARGET, *WINDOW, np.random.default_rng(1))
    both = programmed(Variation(programming=0.05, stuck_on=0.1), TARGET, *WINDOW, np.random.default_rng(1))
    untouched = both != WINDOW[1]
    assert (both[untouched] == noisy[untouched]).all()


def test_nothing_random_needs_no_generator():
    assert programmed(Variation(), TARGET, *WINDOW, None) is TARGET
    with pytest.raises(InvalidInputError, match=r"pass rng=numpy\.random\.default_rng"):
        programmed(Variation(programming=0.1), TARGET, *WINDOW, None)


@pytest.mark.parametrize(
    "values",
    [
        {"programming": -0.1},
        {"programming": np.nan},
        {"distribution": "cauchy"},
        {"stuck_on": 0.7, "stuck_off": 0.4},
        {"stuck_off": -0.1},
    ],
)
def test_bad_statistics_are_refused(values):
    with pytest.raises(InvalidInputError, match=next(iter(values))):
        Variation(**values)


def test_streams_are_found_by_seed_and_name():
    first = random_stream(3, "devices", "A").random(4)
    assert (random_stream(3, "devices", "A").random(4) == first).all()
    assert (random_stream(3, "devices", "B").random(4) != first).any()
    assert (random_stream(4, "devices", "A").random(4) != first).any()
    with pytest.raises(InvalidInputError, match="seed must be a whole number >= 0, got -1"):
        random_stream(-1)


@pytest.mark.parametrize(
    ("distribution", "programming"), [("gaussian", 0.0), *product(["gaussian", "lognormal"], [0.1, 0.8])]
)
@pytest.mark.parametrize("stuck", [(0.0, 0.0), (0.05, 0.1)])
def test_moments_are_those_of_many_draws(distribution, programming, stuck):
    """0.8 cuts a tenth of the gaussian devices at 0 S."""
    variation = Variation(programming, distribution, *stuck)
    target, draws = np.array([[2e-6], [5e-5]]), 100_000
    mean, std = variation.moments(target, 1e-6, 1e-4)
    drawn = programmed(variation, np.repeat(target, draws, axis=1), 1e-6, 1e-4, np.random.default_rng(0))
    spread = drawn.std(axis=1, keepdims=True)
    assert (np.abs(drawn.mean(axis=1, keepdims=True) - mean) <= 4 * spread / np.sqrt(draws) + 1e-18).all()
    assert spread == pytest.approx(std, rel=0.03, abs=1e-12)


def test_variation_in_words():
    assert str(Variation()) == "none"
    both = Variation(programming=0.05, stuck_off=0.002)
    assert str(both) == "gaussian programming error of 5 %, 0.2 % of the devices stuck at g_min"
    assert str(Variation(stuck_on=0.01)) == "1 % of the devices stuck at g_max"
