"""Gate lines beside word lines: rows that are selected and rows that are off, against dense equations and ngspice."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import root
from support import engine_or_skip

import xbar_spice as xs
from xbar_spice.errors import InvalidInputError, SingularCircuitError
from xbar_spice.hardware.biases import EDGES
from xbar_spice.transient import read_pulse

CELL = xs.OneTransistorOneResistor(beta=8e-4, v_threshold=0.45)
GATES = [1.5, 0.0, 0.9, 0.6]


@pytest.fixture
def circuit(rng):
    crossbar = xs.Crossbar(
        rng.uniform(2e-5, 2e-4, (4, 3)), 15.0, rng.uniform(10, 300, (5, 3)), 40.0, 200.0, device=CELL
    )
    return crossbar, xs.Biases(
        left=[0.9, 0.5, 0.3, -0.2], bottom=[0.0, 0.4, 0.9], right=[np.nan, 0.5, 0, 0], gates=GATES
    )


def dense(crossbar, biases):
    """Amperes into the terminals by all node voltages at once; the transistor as two equal halves, drain and source."""
    rows, cols = crossbar.shape
    down, overdrive = np.asarray(crossbar.r_bit), np.array(biases.gates) - CELL.v_threshold

    def missing(x):
        w, b, d = x.reshape(3, rows, cols)
        through = crossbar.conductance * (w - d)
        halves = [np.maximum(overdrive[:, np.newaxis] - at, 0.0) ** 2 for at in (b, d)]
        along = np.zeros((rows, cols + 1))
        along[:, 1:-1] = (w[:, :-1] - w[:, 1:]) / crossbar.r_word
        along[:, 0] = (biases.left - w[:, 0]) / (crossbar.r_driver + crossbar.r_word)
        held = ~np.isnan(biases.right)
        along[held, -1] = (w[held, -1] - biases.right[held]) / (crossbar.r_driver + crossbar.r_word)
        below = np.zeros((rows + 1, cols))
        below[1:-1] = (b[:-1] - b[1:]) / down[1:-1]
        below[-1] = (b[-1] - biases.bottom) / (crossbar.r_sense + down[-1])
        left = along[:, :-1] - along[:, 1:] - through, below[:-1] - below[1:] + through
        return np.stack([*left, through - 0.5 * CELL.beta * (halves[0] - halves[1])]).ravel() * 1e4, along, below

    start = np.stack([np.broadcast_to(biases.left[:, np.newaxis], (rows, cols)), *[np.zeros((rows, cols))] * 2])
    found = root(lambda x: missing(x)[0], start.ravel(), method="lm", tol=1e-15, options={"maxiter": 20000})
    rest, along, below = missing(found.x)
    assert np.abs(rest).max() < 1e-13
    return {"left": -along[:, 0], "right": along[:, -1], "bottom": below[-1]}


def test_rows_are_selected_by_their_gate_lines(circuit):
    crossbar, biases = circuit
    inside = xs.solve_array(crossbar, biases)
    for edge, wanted in dense(crossbar, biases).items():
        assert getattr(inside.currents, edge) == pytest.approx(wanted, rel=1e-9, abs=1e-15)
    assert not inside.cell_currents[1].any()  # its gates are off, and what passes its word line passes no cell
    with engine_or_skip("ngspice").program(crossbar) as session:
        found = session.bias(biases)
    for edge in EDGES:
        assert getattr(inside.currents, edge) == pytest.approx(getattr(found, edge), rel=1e-7, abs=1e-13)
    spent = inside.cell_power.sum() + inside.word_wire_power.sum() + inside.bit_wire_power.sum()
    assert spent + inside.periphery_power == pytest.approx(inside.source_power, rel=1e-9)


def test_amplifiers_that_saturate_sense_selected_rows(circuit):
    crossbar = replace(circuit[0], amplifier=xs.Amplifier(2e4, 50.0, saturation=0.3))
    biases = xs.Biases(left=[0.9, 0.5, 0.3, -0.2], bottom=0.1, gates=GATES, amplified=["bottom"])
    found = engine_or_skip("ngspice").program(crossbar).bias(biases)
    assert xs.solve_array(crossbar, biases).currents.bottom == pytest.approx(found.bottom, rel=1e-7)


def test_gates_above_bit_lines_at_0_volts_are_gate_lines(circuit):
    """Without resistance in the bit lines both kinds of gate are one."""
    crossbar = replace(circuit[0], r_bit=0.0, r_sense=0.0)
    read = xs.Biases(left=[0.2, -0.1, 0.15, 0.05], bottom=0.0)
    plain, gated = (xs.solve_array(crossbar, b).currents for b in (read, replace(read, gates=CELL.v_gate)))
    assert gated.bottom == pytest.approx(plain.bottom, rel=1e-10)
    ideal = xs.get_engine("ideal").program(crossbar)
    wireless = xs.solve_array(replace(crossbar, r_word=0.0, r_driver=0.0), replace(read, gates=GATES)).currents
    assert ideal.bias(replace(read, gates=GATES)).bottom == pytest.approx(wireless.bottom, rel=1e-10)


def test_a_pulse_of_programming_meets_its_row(circuit):
    engine_or_skip("ngspice")
    crossbar, biases = circuit
    held = xs.LineCapacitance(2e-16, 3e-16)
    read = read_pulse(crossbar, biases, xs.Pulse(2e-11, 2e-12), held, engine="ngspice", accuracy=1e-3)
    inside = xs.solve_array(crossbar, biases).currents
    assert read.settled == pytest.approx([getattr(inside, edge)[line] for edge, line in read.terminals], rel=1e-6)
    assert abs(read.energy().balance_error) < 5e-3


@pytest.mark.parametrize(
    "amplifier", [xs.Amplifier(), xs.Amplifier(2e4, 50.0, saturation=0.3)], ids=["sources", "limits"]
)
def test_derivatives_by_finite_differences(circuit, amplifier, rng):
    crossbar, biases = (
        replace(circuit[0], amplifier=amplifier),
        replace(circuit[1], bottom=0.1, left=[0.9, np.nan, 0.3, 0]),
    )
    biases = replace(biases, right=[np.nan, 0.5, 0, 0], amplified=["bottom"] if amplifier.present else [])
    slope = xs.BiasSensitivity(crossbar, biases, tolerance=1e-12)
    weights = {"left": rng.normal(size=4), "bottom": rng.normal(size=3)}
    found = slope.vjp(**weights)
    steps = {
        "conductance": crossbar.conductance * rng.normal(size=(4, 3)),
        "r_bit": crossbar.r_bit * rng.normal(size=(5, 3)),
        "gates": rng.normal(size=4) * np.array([1, 0, 1, 1]),  # the gate at 0 V stays below its threshold
    }

    def weighted(name, size):
        array, under = crossbar, biases
        if name == "gates":
            under = replace(biases, gates=np.array(GATES) + size * steps[name])
        else:
            array = replace(crossbar, **{name: getattr(crossbar, name) + size * steps[name]})
        currents = xs.solve_array(array, under, tolerance=1e-13).currents
        return currents.left @ weights["left"] + currents.bottom @ weights["bottom"]

    for name, step in steps.items():
        wanted = (weighted(name, 1e-5) - weighted(name, -1e-5)) / 2e-5
        assert (getattr(found, name) * step).sum() == pytest.approx(wanted, rel=1e-5), name
        moved = slope.jvp(**{name: step})
        assert moved.left @ weights["left"] + moved.bottom @ weights["bottom"] == pytest.approx(wanted, rel=1e-5), name


def test_what_gate_lines_cannot_do_is_refused(circuit):
    crossbar, biases = circuit
    with pytest.raises(InvalidInputError, match="gate lines take cells with a transistor, got Ohmic"):
        xs.solve_array(replace(crossbar, device=xs.Ohmic()), biases)
    with pytest.raises(InvalidInputError, match="one for each of the 4 word lines"):
        xs.solve_array(crossbar, replace(biases, gates=[1.0, 1.0]))
    with pytest.raises(SingularCircuitError, match=r"nothing holds word line 1: .* that conduct at these voltages"):
        xs.solve_array(crossbar, replace(biases, left=[0.9, np.nan, 0.3, -0.2], right=None))
