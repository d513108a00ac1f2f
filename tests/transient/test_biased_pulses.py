"""Pulses under any biases, over wires that differ: the modes against ngspice, and both against what they settle at."""

from dataclasses import replace

import numpy as np
import pytest
from support import engine_or_skip, relative

import xbar_spice as xs
from xbar_spice.errors import InvalidInputError, SingularCircuitError
from xbar_spice.hardware.biases import EDGES
from xbar_spice.transient import read_pulse

PULSE, HELD = xs.Pulse(width=4e-11, rise=2e-12), xs.LineCapacitance(c_word=2e-16, c_bit=3e-16, c_cell=1e-17)
TIMES = np.linspace(1e-12, PULSE.cycle, 40)  # at 0 s a capacitance at a driver takes what the simulator does not say


@pytest.fixture(scope="module")
def circuit():
    rng = np.random.default_rng(5)
    word = rng.uniform(0, 30, (3, 5))
    word[0, 1:3] = word[1, [0, -1]] = 0.0  # nodes that are one, and a line that touches its terminals
    crossbar = xs.Crossbar(10 ** rng.uniform(-5, -3.5, (3, 4)), word, rng.uniform(1, 40, 4), 0.0, 25.0)
    biases = xs.Biases(
        left=[0.6, 0.9, np.nan], right=[np.nan, np.nan, 0.6], bottom=[0.3, 0.0, np.nan, 0.3], top=[np.nan, 0.1, 0.3, 0],
        r_right=70.0,
    )  # fmt: skip
    return crossbar, biases


def test_modes_settle_at_the_biases_and_keep_the_energy(circuit):
    crossbar, biases = circuit
    read, stays = (
        read_pulse(crossbar, biases, PULSE, HELD),
        read_pulse(crossbar, biases, replace(PULSE, width=np.inf), HELD),
    )
    wanted, late = xs.solve_array(crossbar, biases).currents, stays.terminal_currents(np.array([1e-8]))
    for edge in EDGES:
        assert getattr(late, edge)[:, 0] == pytest.approx(getattr(wanted, edge), rel=1e-9, abs=1e-15)
    assert read.settled == pytest.approx([getattr(wanted, edge)[line] for edge, line in read.terminals], rel=1e-9)
    assert abs(read.energy().balance_error) < 1e-9
    assert np.isfinite(stays.settling_time(0.01, "largest"))


@pytest.mark.parametrize("device", [xs.Ohmic(), xs.Sinh(0.3)], ids=str)
def test_ngspice_finds_the_same_waveforms(circuit, device):
    engine_or_skip("ngspice")
    crossbar, biases = replace(circuit[0], device=device), circuit[1]
    read = read_pulse(crossbar, biases, PULSE, HELD, engine="ngspice", accuracy=1e-4)
    wanted = xs.solve_array(crossbar, biases).currents
    assert read.settled == pytest.approx([getattr(wanted, edge)[line] for edge, line in read.terminals], rel=1e-9)
    assert abs(read.energy().balance_error) < 1e-3
    if device.linear:
        exact = read_pulse(crossbar, biases, PULSE, HELD)
        found, sought = read.currents(TIMES), exact.currents(TIMES)
        assert np.abs(found - sought).max() < 1e-3 * np.abs(sought).max()
        assert relative(read.energy().delivered, exact.energy().delivered) < 1e-3


def test_what_a_pulse_cannot_be_is_refused(circuit):
    crossbar, biases = circuit
    with pytest.raises(InvalidInputError, match="a pulse has one set of voltages, got a batch of 2"):
        read_pulse(crossbar, replace(biases, left=np.ones((3, 2))), PULSE, HELD)
    with pytest.raises(SingularCircuitError, match="nothing holds"):
        read_pulse(replace(crossbar, conductance=np.zeros((3, 4))), xs.Biases(left=[0.1, np.nan, 0.2]), PULSE, HELD)
