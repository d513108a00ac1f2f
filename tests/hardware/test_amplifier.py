"""Transimpedance amplifiers: closed forms, laws, and the nodal engine against ngspice over a table of circuits."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from support import engine_or_skip, relative, truth

from xbar_spice.cosim.gradients.read_derivative import ReadDerivative
from xbar_spice.engines.nodal.engine import NodalEngine
from xbar_spice.engines.nodal.sensitivity import Change, Sensitivity
from xbar_spice.engines.nodal.solution import solve_array
from xbar_spice.errors import InvalidInputError
from xbar_spice.hardware.amplifier import Amplifier
from xbar_spice.hardware.cells import Ohmic, OneSelectorOneResistor, OneTransistorOneResistor, Sinh
from xbar_spice.hardware.crossbar import Crossbar, Terminations
from xbar_spice.hardware.subcircuit import Subcircuit
from xbar_spice.mapping.compensation import compensate
from xbar_spice.mapping.design import Design
from xbar_spice.mapping.matrix import map_weights
from xbar_spice.spice.device_models import load_opamp

LINEAR = Amplifier(r_feedback=1e4, gain=200.0)
SATURATING = [Amplifier(1e4, 1e4, 0.1), Amplifier(2e3, 20.0, 0.02), Amplifier(1e4, 1e6, 0.05)]
TERMINATIONS = [
    Terminations(),
    Terminations(transposed="far_ends"),
    Terminations("double"),
    Terminations("double", "swapped_ends"),
]
WIRES = [(0, 0, 0, 0), (20, 30, 50, 25)]
CIRCUITS = list(product(WIRES, TERMINATIONS))
CELLS = [Ohmic(), Sinh(0.2), OneSelectorOneResistor(), OneTransistorOneResistor()]


def name_of(value):
    if isinstance(value, Terminations):
        return f"{value.drive}-{value.transposed}"
    if isinstance(value, Amplifier):
        return f"gain{value.gain:g}-limit{value.saturation}"
    return type(value).__name__ if hasattr(value, "current") else str(value)


def array(rng, amplifier, wires=(20, 30, 50, 25), terminations=None, device=None):
    conductance = 10 ** rng.uniform(-5, -3.5, (5, 4))
    conductance[1, 2] = 0.0
    return Crossbar(
        conductance,
        *wires,
        amplifier=amplifier,
        terminations=terminations or Terminations(),
        device=device or Ohmic(),
    )


def read(engine, crossbar, volts, side="rows"):
    with engine.program(crossbar) as session:
        return session.read(volts, side)


def test_closed_form_of_a_column(circuit_engine):
    case = truth("crossbar")["tia"]
    conductance = np.array(case["G_uS"])[:, None] * 1e-6
    crossbar = Crossbar(conductance, amplifier=Amplifier(case["R_f"], case["A"]))
    output = -case["R_f"] * read(circuit_engine, crossbar, case["V"])[0]
    assert output == pytest.approx(case["V_out"], rel=1e-12)


def assert_engines_agree(crossbars, rng):
    """Both directions, all arrays in one deck."""
    with engine_or_skip("ngspice").program_bank(crossbars) as spice, NodalEngine().program_bank(crossbars) as nodal:
        for side in ("rows", "cols"):
            drives = [rng.uniform(-0.4, 0.4, (crossbar.ports(side), 3)) for crossbar in crossbars]
            for found, wanted in zip(nodal.read(drives, side), spice.read(drives, side), strict=True):
                assert relative(found, wanted) < 1e-9


@pytest.mark.ngspice
@pytest.mark.parametrize("device", CELLS, ids=name_of)
def test_linear_amplifiers_agree_with_ngspice(device, rng):
    assert_engines_agree([array(rng, LINEAR, *circuit, device) for circuit in CIRCUITS], rng)


@pytest.mark.ngspice
@pytest.mark.parametrize(
    ("amplifier", "device"), list(zip([*SATURATING, SATURATING[0]], CELLS, strict=True)), ids=name_of
)
def test_saturating_amplifiers_agree_with_ngspice(amplifier, device, rng):
    assert_engines_agree([array(rng, amplifier, *circuit, device) for circuit in CIRCUITS[3:7]], rng)


def test_a_linear_amplifier_is_its_input_resistance_and_its_share(circuit_engine, rng):
    amplified = [array(rng, LINEAR, terminations=ends) for ends in TERMINATIONS]
    loaded = [replace(crossbar, amplifier=Amplifier(), r_sense=25 + 1e4 / 201) for crossbar in amplified]
    volts = [rng.uniform(-0.4, 0.4, (5, 2))] * len(TERMINATIONS)
    with circuit_engine.program_bank(amplified) as bank, circuit_engine.program_bank(loaded) as reference:
        for found, wanted in zip(bank.read(volts), reference.read(volts), strict=True):
            assert relative(found, 200 / 201 * wanted) < 1e-11


def test_an_output_never_exceeds_its_limits_and_follows_below_them(circuit_engine):
    crossbar = Crossbar([[1e-4]], amplifier=Amplifier(1e4, 1e5, 0.1))
    outputs = 1e4 * read(circuit_engine, crossbar, [[-3.0, -0.2, -0.05, 0.0, 0.05, 0.2, 3.0]])[0]
    assert np.all(np.abs(outputs) < 0.1)
    assert outputs == pytest.approx([-0.1, -0.1, -0.05, 0.0, 0.05, 0.1, 0.1], abs=2e-5)


def test_limits_that_are_far_away_change_nothing(rng):
    volts = rng.uniform(-0.1, 0.1, 5)
    free, far = (
        read(NodalEngine(), array(np.random.default_rng(1), Amplifier(1e4, 1e4, top)), volts) for top in (None, 1e4)
    )
    assert relative(far, free) < 1e-9


@pytest.mark.parametrize("amplifier", SATURATING, ids=name_of)
def test_the_law_of_the_op_amp(amplifier, rng):
    current = rng.uniform(-4, 4, 50) * amplifier.saturation / amplifier.r_feedback
    step = 1e-6 * amplifier.saturation / amplifier.r_feedback
    slope = (amplifier.returned(current + step) - amplifier.returned(current - step)) / (2 * step)
    assert amplifier.returned_slope(current) == pytest.approx(slope, rel=1e-4, abs=1e-6)
    output = -amplifier.r_feedback * amplifier.returned(current)
    assert amplifier.input_voltage(current) - output == pytest.approx(amplifier.r_feedback * current, rel=1e-12)
    small = np.array([1e-6 * step])
    assert amplifier.returned(small) / small == pytest.approx([amplifier.gain / (1 + amplifier.gain)], rel=1e-9)


def test_reciprocity_holds_but_for_the_input_resistance(circuit_engine, rng):
    def mismatch(gain):
        crossbar = array(rng, Amplifier(1e4, gain))
        forward = read(circuit_engine, crossbar, np.eye(5))
        return relative(read(circuit_engine, crossbar, np.eye(4), "cols"), forward.T)

    assert 1e-3 < mismatch(1e2) < 1e-1
    assert mismatch(1e9) < 1e-7


@pytest.mark.ngspice
def test_open_lines_have_no_amplifier(rng):
    amplified = [array(rng, amplifier, terminations=Terminations("double")) for amplifier in (LINEAR, SATURATING[0])]
    assert_engines_agree([replace(crossbar, open_rows=(1, 3)) for crossbar in amplified], rng)


@pytest.mark.parametrize("side", ["rows", "cols"])
@pytest.mark.parametrize("device", [Ohmic(), Sinh(0.2)], ids=name_of)
def test_sensitivities_are_finite_differences(device, side, rng):
    crossbar = array(rng, LINEAR, device=device)
    volts = rng.uniform(-0.3, 0.3, (crossbar.ports(side), 2))
    change = Change(crossbar.conductance * rng.uniform(-1, 1, (5, 4)), *rng.uniform(-10, 10, 4))

    def shifted(step):
        names = ("r_word", "r_bit", "r_driver", "r_sense")
        values = {name: getattr(crossbar, name) + step * getattr(change, name) for name in names}
        moved = replace(crossbar, conductance=crossbar.conductance + step * change.conductance, **values)
        return read(NodalEngine("iterative", 1e-13), moved, volts, side)

    operator = Sensitivity(crossbar, volts, side, tolerance=1e-12)
    slope = (shifted(1e-4) - shifted(-1e-4)) / 2e-4
    assert relative(operator.currents, shifted(0.0)) < 1e-10
    assert relative(operator.jvp(change), slope) < 1e-6
    weights = rng.normal(size=slope.shape)
    gradient = operator.vjp(weights)
    along = (gradient.conductance * change.conductance).sum() + sum(
        getattr(gradient, name) * getattr(change, name) for name in ("r_word", "r_bit", "r_driver", "r_sense")
    )
    assert along == pytest.approx((weights * slope).sum(), rel=1e-5)


def test_the_inside_of_an_array_balances(rng):
    crossbar = array(rng, LINEAR)
    volts = rng.uniform(0, 0.3, 5)
    inside = solve_array(crossbar, volts)
    assert relative(inside.sense_currents, read(NodalEngine(), crossbar, volts)) < 1e-9
    spent = inside.cell_power.sum() + inside.word_wire_power.sum() + inside.bit_wire_power.sum()
    assert inside.source_power == pytest.approx(spent + inside.periphery_power, rel=1e-9)


def test_compensation_undoes_the_amplifiers_too(rng):
    crossbar = array(rng, Amplifier(1e3, 100.0), wires=(1, 1, 5, 5))
    wanted = np.full((5, 4), 5e-5)
    found = compensate(crossbar, wanted, 1e-6, 1e-3)
    assert relative(read(NodalEngine(), found.crossbar, np.eye(5)).T, wanted) < 1e-8


def test_the_derivative_of_a_read_knows_the_amplifiers(rng):
    weights = rng.normal(size=(3, 4))
    mapped = map_weights(weights, Design(r_word=5.0, r_bit=5.0, amplifier=LINEAR))
    x = rng.normal(size=4)
    with NodalEngine().program_bank(mapped.crossbars) as bank:
        inputs = np.stack([x + 1e-5, x - 1e-5], axis=1)
        above, below = mapped.products(bank.read(mapped.drives(inputs, "rows")), inputs, "rows").T
    assert ReadDerivative(mapped).jacobian(x).sum(axis=1) == pytest.approx((above - below) / 2e-5, rel=1e-6)


OWN = Amplifier(1e4, opamp=load_opamp("loaded"))


@pytest.mark.ngspice
def test_an_op_amp_of_ones_own_with_ideal_ports_is_the_shipped_one(rng):
    text = ".subckt mine in out a=10\nE1 out 0 0 in {a}\n.ends\n"
    crossbar = array(rng, Amplifier(1e4, opamp=Subcircuit("mine", text, (("a", 200.0),))))
    volts = rng.uniform(-0.4, 0.4, (5, 2))
    expected = read(NodalEngine(), replace(crossbar, amplifier=LINEAR), volts)
    assert relative(read(engine_or_skip("ngspice"), crossbar, volts), expected) < 1e-9


@pytest.mark.ngspice
def test_an_op_amp_with_resistances_obeys_kirchhoff():
    conductance, gain, r_in, r_out, r_feedback, volts = 1e-4, 1e4, 1e6, 100.0, 1e4, 0.2
    crossbar = Crossbar([[conductance]], amplifier=OWN)
    system = [
        [conductance + 1 / r_in + 1 / r_feedback, -1 / r_feedback],
        [-1 / r_feedback + gain / r_out, 1 / r_feedback + 1 / r_out],
    ]
    output = np.linalg.solve(system, [conductance * volts, 0.0])[1]
    assert -r_feedback * read(engine_or_skip("ngspice"), crossbar, [volts])[0] == pytest.approx(output, rel=1e-11)


@pytest.mark.parametrize(
    "use",
    [
        lambda crossbar: read(NodalEngine(), crossbar, np.ones(5)),
        lambda crossbar: Sensitivity(crossbar, np.ones(5)),
        lambda crossbar: solve_array(crossbar, np.ones(5)),
    ],
    ids=["read", "sensitivity", "inside"],
)
def test_what_only_ngspice_knows_is_refused(use, rng):
    with pytest.raises(InvalidInputError, match=r"loaded.*ngspice|linear amplifiers"):
        use(array(rng, OWN))


@pytest.mark.parametrize(
    "use",
    [
        lambda amplifier, rng: compensate(array(rng, amplifier), np.ones((5, 4)), 1e-6, 1e-3),
        lambda amplifier, rng: ReadDerivative(map_weights(np.ones((2, 2)), Design(amplifier=amplifier))),
    ],
    ids=["compensation", "derivative"],
)
def test_what_needs_linear_amplifiers_says_so(use, rng):
    with pytest.raises(InvalidInputError, match="linear"):
        use(SATURATING[0], rng)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"r_feedback": -1.0}, r"r_feedback must be finite and >= 0 ohm.*-1\.0"),
        ({"gain": 0.0}, r"gain of an amplifier must be finite and > 0, got 0\.0"),
        ({"gain": np.inf}, "gain"),
        ({"saturation": -0.5}, r"saturation must be finite and > 0 V, or None, got -0\.5"),
        ({"gain": 5.0, "opamp": OWN.opamp}, "either an op-amp of your own or gain and saturation"),
        ({"opamp": Subcircuit("three", ".subckt three a b c\nR1 a b 1\n.ends")}, r"two pins.*three has 3 \(a b c\)"),
    ],
)
def test_senseless_values_are_refused(values, message):
    with pytest.raises(InvalidInputError, match=message):
        Amplifier(**values)
