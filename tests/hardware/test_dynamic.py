"""Cells that move: every law against reference values of independent integrations, and what holds for any of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

import xbar_spice as xs
from xbar_spice.errors import DeviceError
from xbar_spice.hardware.dynamic import HpDrift, HpJoglekar, Pershin, StanfordGap, Vteam, Yakopcic, moved

TRUTH = json.loads((Path(__file__).parents[1] / "truth" / "dynamic_cells.json").read_text())
SETS = (
    "vteam", "vteam_read", "yakopcic_i", "yakopcic_iii", "yakopcic_fast", "stanford_gap_dynamic", "hp_joglekar",
    "hp_biolek", "hp_prodromakis", "pershin",
)  # fmt: skip

# Laws whose state is the one of the reference, or for which it is x of R = r_on x + r_off (1 - x).
DIRECT = {
    "vteam": (Vteam(), "x0", "x"),
    "yakopcic_i": (xs.load_device("yakopcic_i"), "x0", "x"),
    "yakopcic_iii": (xs.load_device("yakopcic_iii"), "x0", "x"),
    "stanford_gap": (StanfordGap(), "g0", "g"),
}
DRIFTS = {
    "hp_jog_p1": HpJoglekar(),
    "hp_jog_p2": HpJoglekar(p=2),
    "hp_bio_p2": HpDrift(),
    "hp_pro_p2": HpDrift("prodromakis"),
}


def of_boundary(device, x):
    """The state whose doped part is x."""
    return device.state_of(1.0 / (device.r_on * x + device.r_off * (1.0 - x)))


def boundary(device, state):
    return (device.r_off - 1.0 / device.conductance_of(state)) / (device.r_off - device.r_on)


@pytest.mark.parametrize("name", DIRECT)
def test_pulses_of_reference(name):
    device, before, after = DIRECT[name]
    for pulse in TRUTH[name]["pulses"]:
        state = moved(device, np.array(pulse[before]), np.array(pulse["V"]), pulse["T"])
        assert state == pytest.approx(pulse[after], rel=1e-8)


@pytest.mark.parametrize("name", DRIFTS)
def test_pulses_of_linear_drift(name):
    device = DRIFTS[name]
    for pulse in TRUTH[name]["pulses"]:
        state = moved(device, of_boundary(device, np.array(pulse["x0"])), np.array(pulse["V"]), pulse["T"])
        assert boundary(device, state) == pytest.approx(pulse["x"], rel=1e-8)


def test_pershin_follows_its_closed_form():
    case = TRUTH["pershin"]
    device = Pershin(case["rmin"], case["rmax"], case["alpha"], case["beta"], case["vt"])
    state = moved(device, device.state_of(np.array(1 / case["rinit"])), np.array(case["V"]), case["T"])
    assert 1 / device.conductance_of(state) == pytest.approx(case["R"], rel=1e-9)


@pytest.mark.parametrize("name", SETS)
def test_state_and_conductance_are_inverse(name):
    device = xs.load_device(name)
    siemens = np.linspace(*device.conductance_range, 9)[1:-1]
    np.testing.assert_allclose(device.conductance_of(device.state_of(siemens)), siemens, rtol=1e-12)
    small = 1e-6
    np.testing.assert_allclose(device.current(siemens, small) / small, siemens, rtol=1e-6)
    with pytest.raises(DeviceError, match="has states from"):
        device.state_of(np.array(2 * device.conductance_range[1]))


@given(
    name=st.sampled_from(SETS),
    part=st.floats(0.0, 1.0),
    volts=st.floats(-3.0, 3.0),
    decades=st.floats(-9.0, 1.0),
)
@settings(max_examples=60, deadline=None)
def test_states_stay_within_their_limits_and_move_on(name, part, volts, decades):
    device = xs.load_device(name)
    low, high = device.conductance_range
    start = device.state_of(np.array(low + part * (high - low)))
    try:
        there = moved(device, start, np.array(volts), 10.0**decades)
    except xs.XbarError:
        assert name == "stanford_gap_dynamic"  # runaway
        return
    assert device.limits[0] <= there <= device.limits[1]
    # It leaves any place that it can be brought to: no state is frozen.
    up, down = device.write_volts
    assert device.rate(there, np.array(up)) != 0 or device.rate(there, np.array(down)) != 0
    volt = down if device.conductance_of(there) > 0.5 * (low + high) else up
    assert device.rate(there, np.array(volt)) != 0


def test_other_parameters_against_an_independent_integration():
    yakopcic = Yakopcic(1e-4, 2e-4, 1.5, 0.3, 0.2, 50.0, 80.0, 0.4, 0.6, 2.0, 4.0)
    x, volts, seconds = 0.35, 0.6, 0.02

    def rate(_, state):
        (x,) = state
        fade = np.exp(-2.0 * (x - 0.4)) * ((0.4 - x) / 0.6 + 1.0) if x >= 0.4 else 1.0
        return [50.0 * (np.exp(volts) - np.exp(0.3)) * fade]

    found = solve_ivp(rate, (0, seconds), [x], rtol=1e-11, atol=1e-13, max_step=seconds / 200).y[0, -1]
    assert moved(yakopcic, np.array(x), np.array(volts), seconds) == pytest.approx(found, rel=1e-7)
    assert yakopcic.current(yakopcic.conductance_of(np.array(0.5)), -0.4) == pytest.approx(-1e-4 * np.sinh(0.6))
