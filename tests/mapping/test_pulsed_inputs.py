"""Bit-serial inputs and calibrated ADCs."""

import numpy as np
import pytest
from support import relative

import xbar_spice as xs
from xbar_spice.errors import IdleSettingError, InvalidInputError
from xbar_spice.hardware.converters import pulses, quantise

MAPPINGS = [xs.Differential(), xs.Interleaved(), xs.SignedRows(), xs.Offset(), xs.Offset("digital"), xs.BitSliced(4, 2)]
WIRES = {"r_word": 2.0, "r_bit": 3.0, "r_driver": 50.0, "r_sense": 50.0}


@pytest.mark.parametrize("bits", [2, 3, 8, 16])
def test_pulses_add_up_to_the_level(bits, rng):
    values = np.append(rng.uniform(-1.2, 1.2, 200), [-1.0, 0.0, 1.0])
    pulse, parts = pulses(values, 0.7, bits)
    assert set(np.unique(pulse)) <= {0.0, 0.7}
    assert parts @ pulse == pytest.approx(quantise(values, 0.7, bits), rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("side", ["rows", "cols"])
@pytest.mark.parametrize("mapping", MAPPINGS, ids=repr)
def test_bit_serial_reads_are_those_of_a_dac_for_linear_cells(mapping, side, rng):
    W, x = rng.standard_normal((4, 6)), rng.standard_normal((6 if side == "rows" else 4, 3))
    found = {}
    for way in ("dac", "bit_serial"):
        design = xs.Design(mapping=mapping, tile=4, converters=xs.Converters(dac_bits=6, input=way), **WIRES)
        trace = xs.ReadTrace()
        with xs.program(W, design, trace=trace) as matrix:
            found[way] = (matrix if side == "rows" else matrix.T).mv(x)
        assert [record.pulses for record in trace] == [6 if way == "bit_serial" else 1]
    assert relative(found["bit_serial"], found["dac"]) < 1e-8


def test_bit_serial_reads_of_nonlinear_cells_are_linear_in_the_input(rng):
    """Every pulse has the same height, so that only the devices' values at that height count."""
    design = xs.Design(device=xs.Sinh(0.1), converters=xs.Converters(dac_bits=8, input="bit_serial"))
    with xs.program([[1.0, -0.4]], design, engine="ideal") as matrix:
        one, other = matrix.mv(np.array([[127.0, 127.0], [127.0, 1.0]])).T
        both = matrix.mv(np.array([127.0, 64.0]))
    assert both == pytest.approx(other + (one - other) * 63 / 126, rel=1e-9)


def test_each_pulse_is_noisy_and_the_spread_says_so(rng):
    converters = xs.Converters(dac_bits=4, input="bit_serial")
    design = xs.Design(noise=xs.ReadNoise(sense=1e-6), converters=converters)
    x = np.array([7.0, -5.0, 3.0])
    with xs.program(rng.standard_normal((2, 3)), design, noise_rng=rng) as matrix:
        reads = matrix.mv(np.tile(x[:, np.newaxis], 4000))
        spread = matrix.spread(x[:, np.newaxis])[:, 0]
    exact = np.sqrt(reads.var(axis=1))
    assert (exact < spread).all()  # which also counts the rounding of the inputs
    assert exact == pytest.approx(spread, rel=0.35)


@pytest.mark.parametrize("subtraction", ["digital", "analog"])
@pytest.mark.parametrize("side", ["rows", "cols"])
def test_calibrated_ranges_fit_what_was_read(side, subtraction, rng):
    W, x = rng.standard_normal((5, 40)) * np.linspace(0.02, 1, 5)[:, np.newaxis], rng.standard_normal((40, 30))
    y = x if side == "rows" else W @ x
    errors = {}
    for reference, shared in (
        ("window", "array"),
        ("devices", "line"),
        ("calibration", "array"),
        ("calibration", "line"),
    ):
        converters = xs.Converters(adc_bits=7, adc_reference=reference, adc_shared=shared, subtraction=subtraction)
        inputs = x if reference == "calibration" else None
        with xs.program(W, xs.Design(converters=converters), calibration=inputs) as matrix:
            read, exact = (matrix.mv(y), W @ y) if side == "rows" else (matrix.T.mv(y), W.T @ y)
            errors[reference, shared] = relative(read, exact)
    assert errors["calibration", "array"] < 0.5 * errors["window", "array"]
    assert errors["calibration", "line"] <= 1.05 * errors["calibration", "array"]


def test_a_calibrated_adc_clips_beyond_its_range():
    converters = xs.Converters(adc_bits=8, adc_reference="calibration", subtraction="analog")
    with xs.program(np.ones((1, 4)), xs.Design(converters=converters), calibration=[[1.0], [0], [0], [0]]) as matrix:
        assert matrix.mv([1.0, 0, 0, 0]) == pytest.approx([1.0], rel=1e-9)
        assert matrix.mv([1.0, 1.0, 1.0, 1.0]) == pytest.approx([1.0], rel=1e-9)
    with pytest.raises(InvalidInputError, match=r"calibration must have shape \(4, batch\)"):
        xs.program(np.ones((1, 4)), xs.Design(converters=converters), calibration=[[1.0]])
    with pytest.raises(InvalidInputError, match=r"calibration has no effect without Converters"):
        xs.program(np.ones((1, 4)), xs.Design(converters=xs.Converters(adc_bits=8)), calibration=np.eye(4))


@pytest.mark.parametrize(
    ("options", "message"),
    [({"input": "bit_serial"}, "without dac_bits"), ({"adc_shared": "line"}, "without adc_bits")],
)
def test_settings_without_effect_are_refused(options, message):
    with pytest.raises(IdleSettingError, match=message):
        xs.Converters(**options)


def test_bit_serial_true_gradients_are_for_linear_cells(dense):
    converters = xs.Converters(dac_bits=8, input="bit_serial")
    found = xs.three_gradients(dense, xs.Design(converters=converters), engine="nodal").record
    assert found
    with pytest.raises(InvalidInputError, match=r"bit-serial reads of .*Sinh.* have no derivative"):
        xs.three_gradients(dense, xs.Design(converters=converters, device=xs.Sinh()), engine="nodal")
