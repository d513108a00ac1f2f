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


def fading(x, towards_high, low=0.0, high=1.0):
    """What ends a motion within a thousandth of the range before a limit."""
    left = high - x if towards_high else x - low
    return min(1.0, max(0.0, left / (1e-3 * (high - low))))


def vteam(x, v, p):
    if v > p.v_off:
        return p.k_off / p.d * (v / p.v_off - 1) ** p.a_off * fading(x, True)
    return p.k_on / p.d * (v / p.v_on - 1) ** p.a_on * fading(x, False) if v < p.v_on else 0.0


def yakopcic(x, v, p):
    g = p.ap * (np.exp(v) - np.exp(p.vp)) if v > p.vp else -p.an * (np.exp(-v) - np.exp(p.vn)) if v < -p.vn else 0.0
    if p.eta * g > 0:
        return p.eta * g * (np.exp(-p.alp * (x - p.xp)) * ((p.xp - x) / (1 - p.xp) + 1) if x >= p.xp else 1.0)
    return p.eta * g * (np.exp(p.aln * (x + p.xn - 1)) * x / (1 - p.xn) if x <= 1 - p.xn else 1.0)


def stanford(g, v, p):
    kelvin = p.t0 + p.rth * abs(v * p.i0 * np.exp(-g / p.g0) * np.sinh(v / p.v0))
    kt = 1.380649e-23 / 1.602176634e-19 * kelvin
    motion = -p.vel * np.exp(-p.ea / kt) * np.sinh((p.gam0 - p.beta * g**3) * p.a0 * v / (p.tox * kt))
    return motion * fading(g, motion > 0, p.gap_min, p.gap_max)


def drift(x, v, p, window):
    return p.mu * p.r_on / p.d**2 * v / (p.r_on * x + p.r_off * (1 - x)) * window


def joglekar(x, v, p):
    return drift(x, v, p, 1 - (2 * x - 1) ** (2 * p.p))


def biolek(x, v, p):
    return drift(x, v, p, 1 - (x - (v < 0)) ** (2 * p.p))


def prodromakis(x, v, p):
    return drift(x, v, p, 1 - ((x - 0.5) ** 2 + 0.75) ** p.p)


def pershin(x, v, p):
    motion = (p.beta * v + 0.5 * (p.alpha - p.beta) * (abs(v + p.vt) - abs(v - p.vt))) / (p.r_max - p.r_min)
    return motion * fading(x, motion > 0)


OTHERS = (  # a law with other parameters than the published ones, its rate once more, and volts and seconds of pulses
    (Vteam(2e3, 5e4, 1e-9, -2.0, 1e-2, 2.5, 1.5, -0.5, 0.4), vteam, ((0.9, 2e-8), (-1.1, 2e-10))),
    (Yakopcic(1e-4, 2e-4, 1.5, 0.3, 0.2, 50.0, 80.0, 0.4, 0.6, 2.0, 4.0), yakopcic, ((0.6, 0.02), (-0.5, 0.01))),
    (Yakopcic(1e-4, 1e-4, 3.0, 0.5, 0.6, 9.0, 4.0, 0.7, 0.2, 0.5, 1.0, -1e3), yakopcic, ((1.0, 4e-5), (-1.2, 6e-5))),
    (
        StanfordGap(0.3, 0.4, 2e-4, 1e3, 17.0, 1.1, 10.0, 4e9, 0.7, 0.3, 330.0, 0.1, 1.5), stanford,
        ((1.0, 2e-7), (-0.8, 9e-7)),
    ),
    (HpJoglekar(200.0, 5e3, 2e-8, 3e-14, 3), joglekar, ((1.5, 0.02), (-0.8, 0.04))),
    (HpDrift("biolek", 300.0, 2e4, 9e-9, 2e-14, 4), biolek, ((0.7, 0.03), (-1.3, 0.02))),
    (HpDrift("prodromakis", 150.0, 9e3, 1.2e-8, 1e-14, 5), prodromakis, ((1.1, 0.05), (-0.9, 0.2))),
    (Pershin(5e2, 2e4, 1e7, -3e9, 0.8), pershin, ((1.5, 1e-6), (-1.2, 2e-6), (0.5, 1e-4))),
)  # fmt: skip


@pytest.mark.parametrize(("device", "rate", "pulses"), OTHERS, ids=lambda part: getattr(part, "__name__", None))
def test_other_parameters_against_an_independent_integration(device, rate, pulses):
    low, high = device.conductance_range
    state = device.state_of(np.linspace(low, high, 4)[1:-1])
    for volts, seconds in pulses:
        found = moved(device, state, np.full(state.shape, volts), seconds)
        as_x = boundary if rate is joglekar else (lambda _, x: x)
        for before, after in zip(as_x(device, state), as_x(device, found), strict=True):
            solved = solve_ivp(
                lambda _, x, volts=volts: [rate(x[0], volts, device)], (0, seconds), [before], "Radau", rtol=1e-8,
                atol=1e-10, max_step=seconds / 5,
            ).y[0, -1]  # fmt: skip
            assert abs(after - before) > 1e-4
            assert after == pytest.approx(solved, abs=1e-6 * (device.span if rate is not joglekar else 1.0))


def test_currents_of_either_sign():
    yakopcic = Yakopcic(1e-4, 2e-4, 1.5)
    assert yakopcic.current(yakopcic.conductance_of(np.array(0.5)), -0.4) == pytest.approx(-1e-4 * np.sinh(0.6))
