"""Converters: laws of the staircase, and what it does to drives, currents and products."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import relative

from xbar_spice.cosim import Problem, cosimulate, three_gradients
from xbar_spice.engines.ideal import IdealEngine
from xbar_spice.errors import InvalidInputError
from xbar_spice.hardware.converters import Converters, level_spacing, quantise
from xbar_spice.mapping.analog_matrix import program
from xbar_spice.mapping.design import Design
from xbar_spice.mapping.matrix import map_weights
from xbar_spice.train.losses import SquaredDistance
from xbar_spice.weights import Model

BITS = st.integers(2, 24)
VALUES = st.lists(st.floats(-3.0, 3.0), min_size=1, max_size=20).map(np.array)
MAPPINGS = ["differential", "interleaved"]


@pytest.fixture
def weights(rng):
    return rng.standard_normal((5, 7))


@given(VALUES, BITS)
def test_laws_of_the_staircase(values, bits):
    found = quantise(values, 1.3, bits)
    assert (quantise(found, 1.3, bits) == found).all()
    assert (quantise(-values, 1.3, bits) == -found).all()
    assert (np.diff(quantise(np.sort(values), 1.3, bits)) >= 0).all()
    inside = np.abs(values) <= 1.3
    assert (np.abs(found - values)[inside] <= level_spacing(1.3, bits) / 2 * (1 + 1e-9)).all()
    assert (found[~inside] == 1.3 * np.sign(values[~inside])).all()


@pytest.mark.parametrize("bits", [2, 3, 8, 16, 32])
def test_zero_and_both_ends_are_levels(bits):
    ends = np.array([-0.2, 0.0, 0.2])
    assert (quantise(ends, 0.2, bits) == ends).all()
    assert not np.signbit(quantise(np.array([-1e-12]), 0.2, bits)).any()


def test_there_are_two_to_the_bits_less_one_levels():
    assert np.unique(quantise(np.linspace(-1, 1, 10001), 1.0, 4)).size == 15


@pytest.mark.parametrize("kind", ["dac_bits", "adc_bits"])
@pytest.mark.parametrize("mapping", MAPPINGS)
def test_error_halves_with_every_bit(kind, mapping, weights, rng):
    x, y = rng.standard_normal((7, 200)), rng.standard_normal((5, 200))
    errors = []
    for bits in (6, 8, 10, 12):
        converters = Converters(**{kind: bits})
        with program(weights, engine="ideal", mapping=mapping, tile=4, converters=converters) as analog:
            found = ((analog.mv(x), weights @ x), (analog.T.mv(y), weights.T @ y))
            errors.append([np.linalg.norm(product - exact) for product, exact in found])
    fall = np.array(errors[:-1]) / np.array(errors[1:])
    assert fall == pytest.approx(np.full_like(fall, 4.0), rel=0.15)


@pytest.mark.parametrize(
    "converters",
    [Converters(dac_bits=6)]
    + [Converters(bits, 7, subtraction=subtraction) for bits in (None, 6) for subtraction in ("digital", "analog")],
    ids=repr,
)
@pytest.mark.parametrize("mapping", MAPPINGS)
def test_spread_is_the_size_of_the_errors(converters, mapping, weights, rng):
    x = rng.standard_normal((7, 2000))
    with program(weights, engine="ideal", mapping=mapping, tile=4, converters=converters) as analog:
        size = np.sqrt(((analog.mv(x) - weights @ x) ** 2).mean(axis=1))
        assert size == pytest.approx(np.sqrt((analog.spread(x) ** 2).mean(axis=1)), rel=0.15)


def test_drives_are_levels_of_the_dac(weights, rng):
    mapped = map_weights(weights, Design(v_read=0.3, converters=Converters(dac_bits=3)))
    for side, inputs in (("rows", 7), ("cols", 5)):
        for volts in mapped.drives(rng.standard_normal((inputs, 50)), side):
            assert np.allclose(volts / 0.1, np.rint(volts / 0.1))
            assert np.abs(volts).max() == pytest.approx(0.3)


@pytest.mark.parametrize("side", ["forward", "transposed"])
@pytest.mark.parametrize("mapping", MAPPINGS)
def test_every_line_of_every_tile_is_converted_before_the_sum(side, mapping, weights):
    """By hand: the currents of the ideal arrays, each quantised over what its line could carry, then added."""
    bits, part = 5, 0.4
    design = Design(mapping=mapping, tile=3, converters=Converters(adc_bits=bits, adc_range=part))
    x = np.linspace(-1.0, 0.8, 7 if side == "forward" else 5)[:, np.newaxis]
    mapped = map_weights(weights, design)
    rows = side == "forward"
    drives = mapped.drives(x, "rows" if rows else "cols")
    total = np.zeros(5 if rows else 7)
    for array, volts in zip(mapped.arrays, drives, strict=True):
        conductance = array.crossbar.conductance if rows else array.crossbar.conductance.T
        top = part * conductance.shape[0] * design.g_max * design.v_read
        step = top / 15
        converted = np.clip(np.round(conductance.T @ volts[:, 0] / step), -15, 15) * step
        np.add.at(total, array.outputs if rows else array.inputs, array.signs * converted if rows else converted)
    with program(weights, design, engine="ideal") as analog:
        found = (analog if rows else analog.T).mv(x)[:, 0]
    scale = mapped.siemens_per_weight * mapped.volts_per_unit(x)[0]
    assert relative(found, total / scale) < 1e-12


@pytest.mark.parametrize("mapping", MAPPINGS)
def test_analog_subtraction_halves_the_conversions_and_lowers_the_error(mapping, rng):
    weights, x = rng.standard_normal((20, 30)), rng.standard_normal((30, 100))
    errors = {}
    for subtraction in ("digital", "analog"):
        converters = Converters(adc_bits=8, adc_reference="devices", subtraction=subtraction)
        with program(weights, engine="ideal", mapping=mapping, converters=converters, g_min=2e-5) as analog:
            errors[subtraction] = relative(analog.mv(x), weights @ x)
    assert errors["analog"] < 0.9 * errors["digital"]


@pytest.mark.parametrize("side", ["forward", "transposed"])
def test_a_calibrated_adc_never_clips_and_a_short_one_does(side, weights):
    """The input that drives one line hardest: at full scale it is a level of the calibrated ADC."""
    wanted = weights if side == "forward" else weights.T
    x = np.sign(wanted[1])[:, np.newaxis]
    for subtraction in ("digital", "analog"):
        for part, clipped in ((1.0, False), (0.3, True)):
            converters = Converters(adc_bits=14, adc_range=part, adc_reference="devices", subtraction=subtraction)
            with program(weights, engine="ideal", converters=converters) as analog:
                found = (analog if side == "forward" else analog.T).mv(x)
            assert (relative(found, wanted @ x) > 0.1) == clipped


def test_silence_stays_silent(weights):
    converters = Converters(dac_bits=4, adc_bits=4, adc_reference="devices")
    with program(weights, converters=converters, r_word=1.0) as analog:
        assert (analog.mv(np.zeros(7)) == 0).all()
        assert (analog.T.mv(np.zeros(5)) == 0).all()


def test_exact_converters_change_no_bit(weights, rng):
    x = rng.standard_normal((7, 3))
    assert (program(weights, r_word=1.0).mv(x) == program(weights, r_word=1.0, converters=Converters()).mv(x)).all()
    assert Converters().ideal


def test_engines_answer_for_the_very_levels(weights):
    """What an engine is asked for are DAC levels; what it answers is not quantised."""
    mapped = map_weights(weights, Design(converters=Converters(dac_bits=2, adc_bits=2)))
    drives = mapped.drives(np.linspace(-1, 1, 7)[:, np.newaxis], "rows")
    with IdealEngine().program_bank(mapped.crossbars) as bank:
        currents = bank.read(drives, "rows")
    expected = [array.crossbar.conductance.T @ volts for array, volts in zip(mapped.arrays, drives, strict=True)]
    assert all(relative(*pair) < 1e-13 for pair in zip(currents, expected, strict=True))


def test_gradients_pass_straight_through(rng):
    """The true gradient of a quantised chip goes to that of an exact one as 2^-bits."""
    A, B = rng.standard_normal((6, 5)), rng.standard_normal((5, 6)) / 3
    model = Model(A, B, h=0.25, steps=2, method="forward_euler")
    problem = Problem(model, rng.standard_normal((5, 3)), SquaredDistance(np.zeros((5, 3))))
    designs = [Design(r_word=1.0, converters=Converters(bits, bits)) for bits in (None, 10, 20)]
    exact, coarse, fine = (three_gradients(problem, design).gradients["true"]["A"] for design in designs)
    assert 1e-4 < relative(coarse, exact) < 3e-2
    assert relative(fine, exact) < 3e-5


@pytest.mark.parametrize("bits", [5, 8])
def test_a_model_is_solved_as_far_as_the_converters_let_it(bits, rng):
    """Quantised reads make the residual a staircase; the run stops at its steps and counts as converged."""
    A, B = rng.standard_normal((16, 12)) / 3, rng.standard_normal((12, 16)) / 3
    problem = Problem(Model(A, B, h=0.25, steps=3), rng.standard_normal((12, 4)), SquaredDistance(np.zeros((12, 4))))
    converters = Converters(dac_bits=bits, adc_bits=bits, adc_reference="devices")
    record = cosimulate(problem, Design(tile=8, converters=converters), engine="ideal").record
    assert record["convergence"]["analog"]["converged"]
    assert record["convergence"]["analog"]["worst_residual"] < 3 * record["noise"]
    assert record["state"]["relative_error"] < 10 * record["noise"]


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"dac_bits": 1}, "dac_bits must be a whole number from 2 to 32"),
        ({"adc_bits": 33}, "adc_bits must be a whole number from 2 to 32"),
        ({"adc_bits": 2.5}, "adc_bits must be a whole number"),
        ({"adc_range": 0.0}, "adc_range must be finite and > 0"),
        ({"adc_reference": "max"}, "adc_reference must be one of 'window', 'devices', 'calibration', got 'max'"),
        ({"subtraction": "none"}, "subtraction must be one of 'digital', 'analog', got 'none'"),
    ],
)
def test_bad_converters_are_refused(values, text):
    with pytest.raises(InvalidInputError, match=text):
        Converters(**values)
