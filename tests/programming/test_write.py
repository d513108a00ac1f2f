"""Programming by pulses: one pulse against reference values, both engines against each other, and the loop."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

import xbar_spice as xs
from xbar_spice.errors import DeviceError, InvalidInputError
from xbar_spice.hardware.dynamic import BehindTransistor, GatedCell
from xbar_spice.programming.pulses import FastPulses

TRUTH = json.loads((Path(__file__).parents[1] / "truth" / "dynamic_cells.json").read_text())
DEVICES = {"yakopcic_iii with eta 1e6": "yakopcic_fast", "stanford_gap, default set": "stanford_gap_dynamic"}
SHARES = {"V2": (0.5, 0.5), "V3": (1 / 3, 2 / 3), "float": (np.nan, np.nan)}


def pulse_of_reference(case):
    """Array, states and biases of a case; its lines have no segment before the first cell."""
    device, state = xs.load_device(DEVICES[case["model"]]), np.array(case["x0"])
    ohm = np.full((4, 5), case["r_segment"])
    ohm[:, 0] = 0.0
    r = case["r_driver"]
    crossbar = xs.Crossbar(device.conductance_of(state), r_word=ohm, r_bit=ohm.T, r_driver=r, r_sense=r, device=device)
    (row, col), (word, bit) = case["selected"], SHARES[case["scheme"]]
    left, top = np.full(4, word * case["V"]), np.full(4, bit * case["V"])
    left[row], top[col] = case["V"], 0.0
    return crossbar, state, xs.Biases(left=left, top=top)


@pytest.mark.parametrize("case", TRUTH["array_pulse"], ids=lambda case: f"{case['model'][:8]} {case['scheme']}")
def test_a_pulse_moves_an_array_as_the_reference_does(case):
    crossbar, state, biases = pulse_of_reference(case)
    found = FastPulses().apply(crossbar, state, biases, case["T"])
    np.testing.assert_allclose(found.state, case["x"], atol=1e-6)


def array(name="yakopcic_fast", shape=(4, 4), seed=0, **more):
    device = xs.load_device(name)
    low, high = device.conductance_range
    target = low + (high - low) * np.random.default_rng(seed).uniform(0.2, 0.8, shape)
    ohm = 2e-4 / high
    return xs.Crossbar(target, r_word=ohm, r_bit=ohm, r_driver=10 * ohm, r_sense=10 * ohm, device=device, **more)


@pytest.mark.parametrize("scheme", ["v/2", "v/3", "1t1r"])
def test_all_cells_reach_their_targets(scheme):
    crossbar = array(shape=(2, 3))
    found = xs.write_verify(crossbar, scheme=scheme, tolerance=0.02)
    low, high = crossbar.device.conductance_range
    assert (np.abs(found.conductance - crossbar.conductance) <= 0.02 * (high - low)).all()
    assert found.reached.all()
    assert (found.pulses > 0).all()
    assert found.energy > 0
    assert found.seconds > 0
    if scheme == "1t1r":
        assert not found.disturb.any()


def test_what_cannot_be_written_is_refused():
    with pytest.raises(DeviceError, match="cells with a state"):
        xs.write_verify(xs.Crossbar([[1e-5]]))
    with pytest.raises(InvalidInputError, match="scheme must be"):
        xs.write_verify(array(), scheme="V/4")
    with pytest.raises(InvalidInputError, match="options of write_verify are"):
        xs.write_verify(array(), volts=1.0)
    with pytest.raises(DeviceError, match="start"):
        xs.write_verify(array(), start=np.full((4, 4), 1.0))
    with pytest.raises(InvalidInputError, match="only scheme '1t1r' has"):
        xs.WriteVerify(v_gate=1.2)
    with pytest.raises(InvalidInputError, match="a larger v_gate"):
        xs.write_verify(array(), scheme="1t1r", v_gate=0.5)


def test_the_gate_says_how_much_of_a_pulse_arrives():
    crossbar = array(shape=(2, 2))
    wide, narrow, ideal = (
        xs.write_verify(crossbar, scheme="1t1r", tolerance=0.05, **more)
        for more in ({"v_gate": 3.0, "beta": 1e-2}, {"v_gate": 1.2, "beta": 5e-4}, {})
    )
    assert all(found.reached.all() and not found.disturb.any() for found in (wide, narrow, ideal))
    assert narrow.seconds > 1.2 * wide.seconds
    np.testing.assert_allclose(wide.conductance, ideal.conductance, rtol=0.02)


def test_a_design_reads_what_was_written():
    device = xs.load_device("yakopcic_fast")
    design = xs.Design(
        device=device, g_min=1e-5, g_max=1.2e-4, r_word=2.0, programming=xs.WriteVerify(tolerance=0.05, scheme="1t1r")
    )
    W = np.array([[1.0, -0.5]])
    with xs.program(W, design, engine="nodal") as W_hw:
        mapped = W_hw.mapped
        off = np.abs(mapped.drawn - mapped.target)
        assert 0 < off.max() <= 0.05 * (design.g_max - design.g_min)
        np.testing.assert_allclose(W_hw.to_dense(), W, atol=0.15)


PULSED = {  # a conductance as a part of the range, volts, seconds
    "vteam": (0.1, 0.1, 3e-7),
    "vteam_read": (0.3, -0.5, 1e-8),
    "yakopcic_i": (0.2, 0.4, 2e-4),
    "yakopcic_iii": (0.6, -0.8, 0.2),
    "yakopcic_fast": (0.3, 0.9, 1e-7),
    "stanford_gap_dynamic": (0.1, -1.0, 1e-6),
    "hp_joglekar": (0.02, 1.0, 0.05),
    "hp_biolek": (0.1, -1.0, 0.05),
    "hp_prodromakis": (0.02, 1.0, 0.1),
    "pershin": (0.5, 2.0, 2e-6),
}


@pytest.fixture(scope="module")
def simulator():
    from xbar_spice.programming.simulated import SimulatedPulses

    with SimulatedPulses() as pulses:
        yield pulses


@pytest.mark.ngspice
@pytest.mark.parametrize("name", PULSED)
def test_the_subcircuit_of_every_set_moves_as_its_law(name, simulator):
    part, volts, seconds = PULSED[name]
    device = xs.load_device(name)
    low, high = device.conductance_range
    r = 0.1 / high  # so that the voltage moves with the state
    crossbar = xs.Crossbar([[low + part * (high - low)]], r_driver=r, device=device)
    state = device.state_of(crossbar.conductance)
    biases = xs.Biases(left=[volts], bottom=[0.0])
    fast = FastPulses().apply(crossbar, state, biases, seconds)
    slow = simulator.apply(crossbar, state, biases, seconds)
    assert abs(fast.state - state).max() > 1e-3 * device.span
    np.testing.assert_allclose(slow.state, fast.state, atol=3e-5 * device.span)
    assert slow.energy == pytest.approx(fast.energy, rel=2e-3)


@pytest.mark.ngspice
@pytest.mark.parametrize("case", TRUTH["one_t_one_r_pulse"]["x_after"])
def test_a_pulse_behind_a_transistor_moves_a_cell_as_the_reference_does(case, simulator):
    volts, gate, before = (float(number) for number in re.findall(r"=(-?[\d.]+)", case))
    cell, state = xs.load_device("yakopcic_fast"), np.array([[before]])
    device = GatedCell(cell, BehindTransistor(cell.read_law, 2e-4, gate - 0.4))
    crossbar, biases = xs.Crossbar(cell.conductance_of(state), device=device), xs.Biases(left=[volts], bottom=[0.0])
    for engine in (FastPulses(), simulator):
        found = engine.apply(crossbar, state, biases, 2e-7)
        assert found.state == pytest.approx(TRUTH["one_t_one_r_pulse"]["x_after"][case], abs=2e-6)


FAMILIES = {  # options of a pass over 4 x 4 cells from the middle of their range
    "yakopcic_fast": {"scheme": "1t1r", "v_gate": 1.2},
    "vteam_read": {"scheme": "v/3"},
    "stanford_gap_dynamic": {"scheme": "v/2", "cycle_noise": 0.2},
    "pershin": {},
}


@pytest.mark.ngspice
@pytest.mark.parametrize("name", FAMILIES)
def test_both_engines_write_the_same(name):
    crossbar = array(name)
    low, high = crossbar.device.conductance_range
    start = np.full(crossbar.shape, 0.5 * (low + high))
    fast, slow = (
        xs.write_verify(
            crossbar, start, tolerance=0.1, engine=engine, together="row", passes=1, rng=np.random.default_rng(1),
            **FAMILIES[name],
        )
        for engine in ("fast", "ngspice")
    )  # fmt: skip
    np.testing.assert_array_equal(fast.pulses, slow.pulses)
    assert fast.pulses.sum() > 10
    np.testing.assert_allclose(fast.conductance, slow.conductance, atol=1e-4 * high)
    np.testing.assert_allclose(fast.disturb, slow.disturb, atol=1e-5 * high)
    assert fast.seconds == slow.seconds
    assert fast.energy == pytest.approx(slow.energy, rel=1e-3)


@pytest.mark.ngspice
def test_a_law_of_ones_own_is_written_by_both_engines():
    own = Path(__file__).parents[1] / "parts" / "soft_switch.py"
    device = xs.load_device(f"{own}:SoftSwitch(k=15.0)")
    crossbar = xs.Crossbar([[2e-5, 8e-5]], r_word=50.0, r_driver=100.0, device=device)
    fast, slow = (xs.write_verify(crossbar, engine=engine, tolerance=0.05) for engine in ("fast", "ngspice"))
    assert fast.reached.all()
    np.testing.assert_array_equal(fast.pulses, slow.pulses)
    np.testing.assert_allclose(fast.conductance, slow.conductance, rtol=1e-5)
