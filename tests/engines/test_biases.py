"""Biases: any voltage behind any resistance at every end, against dense equations, closed forms and ngspice."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import dense_network, engine_or_skip, relative, truth

import xbar_spice as xs
from xbar_spice.errors import InvalidInputError, SingularCircuitError
from xbar_spice.hardware.amplifier import Amplifier
from xbar_spice.hardware.biases import EDGES, held_lines
from xbar_spice.hardware.reads import read_biases

DEVICES = [xs.Ohmic(), xs.Sinh(0.25), xs.OneTransistorOneResistor(), xs.OneSelectorOneResistor(1e-6, 0.1)]
SCHEMES = ("V/2", "V/3", "floating", "grounded")


def terminals(crossbar, biases):
    """Volts and ohm of every connected end, by (edge, line), read from the value field by field."""
    found = {}
    for edge in EDGES:
        lines = crossbar.shape[0 if edge in ("left", "right") else 1]
        volts, ohms = getattr(biases, edge), getattr(biases, f"r_{edge}")
        if volts is None:
            continue
        if ohms is None:
            ohms = crossbar.r_driver if edge in ("left", "right") else crossbar.r_sense
        for line, (v, r) in enumerate(zip(np.broadcast_to(volts, lines), np.broadcast_to(ohms, lines), strict=True)):
            if not np.isnan(v):
                found[edge, line] = (v, r)
    return found


def compare(crossbar, biases, currents, limit=1e-9):
    """Every terminal's current against the dense equations, relative to the largest one of its array."""
    wanted, volts = dense_network.solve(crossbar, terminals(crossbar, biases))
    size = max(map(abs, wanted.values()))
    for edge in EDGES:
        for line, found in enumerate(getattr(currents, edge)):
            expected = wanted.get((edge, line), 0.0)
            assert abs(found - expected) <= limit * max(abs(expected), 1e-5 * size) + 1e-16, (
                edge,
                line,
                found,
                expected,
            )
    return volts


@st.composite
def circuits(draw):
    """An array of any wires, cells that may be missing, and biases."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    rows, cols = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    conductance = 10 ** rng.uniform(-6, -3.5, (rows, cols))
    conductance[rng.random((rows, cols)) < draw(st.sampled_from([0.0, 0.3]))] = 0.0

    def segments(each_line, each_segment):
        kind = draw(st.sampled_from(["none", "one", "line", "segment", "some"]))
        ohms = rng.uniform(0.1, 20, each_segment)
        if kind == "some":
            ohms[rng.random(each_segment) < 0.5] = 0.0
        return {"none": 0.0, "one": 2.5, "line": rng.uniform(0.1, 20, each_line)}.get(kind, ohms)

    crossbar = xs.Crossbar(
        conductance,
        r_word=segments(rows, (rows, cols + 1)),
        r_bit=segments(cols, (rows + 1, cols)),
        r_driver=30.0,
        r_sense=20.0,
        device=draw(st.sampled_from(DEVICES)),
    )
    values = {}
    for edge, lines in zip(EDGES, (rows, rows, cols, cols), strict=True):
        volts = rng.uniform(-0.6, 0.6, lines)
        volts[rng.random(lines) < draw(st.sampled_from([0.0, 0.4, 1.0]))] = np.nan
        values[edge] = volts
        kind = draw(st.sampled_from(["default", "one", "line"]))
        values[f"r_{edge}"] = {"default": None, "one": 75.0}.get(kind, rng.uniform(1, 300, lines))
    if all(np.isnan(values[edge]).all() for edge in EDGES):
        values["left"][0] = 0.4
    return crossbar, xs.Biases(**values)


@given(circuits())
def test_the_nodal_engine_solves_any_biases(circuit):
    crossbar, biases = circuit
    with xs.get_engine("nodal").program(crossbar) as session:
        if not all(lines.all() for lines in held_lines(biases.ends(crossbar), crossbar.conductance > 0)):
            with pytest.raises(SingularCircuitError, match="nothing holds"):
                session.bias(biases)
            return
        currents = session.bias(biases)
    volts = compare(crossbar, biases, currents)
    inside = xs.solve_array(crossbar, biases)
    present = crossbar.conductance > 0
    assert np.abs(inside.cell_voltages - volts)[present].max(initial=0.0) < 1e-9
    spent = inside.cell_power.sum() + inside.word_wire_power.sum() + inside.bit_wire_power.sum()
    assert abs(spent + inside.periphery_power - inside.source_power) <= 1e-9 * max(inside.source_power, 1e-12)


@pytest.mark.parametrize("name", sorted(truth("biases")))
@pytest.mark.parametrize("engine", ["nodal", "ngspice"])
def test_reference_circuits(name, engine):
    """Terminals touch the first cells; sneak paths have wires of 1e-6 ohm, whose reference is good to 1e-6."""
    case = truth("biases")[name]
    rows, cols = case["M"], case["N"]
    word = np.repeat(np.array(case["r_word"])[:, np.newaxis], cols + 1, axis=1)
    bit = np.repeat(np.array(case["r_bit"])[np.newaxis], rows + 1, axis=0)
    word[:, [0, -1]] = bit[[0, -1]] = 0.0
    device = xs.Ohmic() if case["law"] == "ohm" else xs.Sinh(case["V0"])
    values = {}
    for letter, edge in zip("LRTB", EDGES, strict=True):
        ends = case["terminals"].get(letter)
        if ends:
            values[edge] = [np.nan if volts is None else volts for volts, _ in ends]
            values[f"r_{edge}"] = [ohm for _, ohm in ends]
    crossbar = xs.Crossbar(case["G"], word, bit, device=device)
    limit = 1e-6 if name.startswith("sneak") else 1e-9
    with engine_or_skip(engine).program(crossbar) as session:
        currents = session.bias(xs.Biases(**values))
    for end, wanted in case["currents_into_array"].items():
        edge = EDGES["LRTB".index(end[0])]
        assert -getattr(currents, edge)[int(end[1:])] == pytest.approx(wanted, rel=limit)
    inside = xs.solve_array(crossbar, xs.Biases(**values))
    assert inside.cell_voltages == pytest.approx(np.array(case["cell_voltage"]), abs=1e-9)


@pytest.mark.parametrize("size", [2, 3, 8])
def test_sneak_paths_have_their_closed_form(size):
    """One cell of R ohm among cells of r: in parallel the sneak path r / (n - 1) + r / (n - 1)^2 + r / (n - 1)."""
    R, r, n = 1e6, 1e3, size
    conductance = np.full((n, n), 1 / r)
    conductance[0, 0] = 1 / R
    crossbar = xs.Crossbar(conductance)
    volts = np.full(n, np.nan)
    left, bottom = volts.copy(), volts.copy()
    left[0], bottom[0] = 0.2, 0.0
    currents = xs.solve_array(crossbar, xs.Biases(left=left, bottom=bottom)).currents
    sneak = 2 * r / (n - 1) + r / (n - 1) ** 2
    assert currents.bottom[0] == pytest.approx(0.2 / R + 0.2 / sneak, rel=1e-12)
    assert currents.left[0] == pytest.approx(-currents.bottom[0], rel=1e-12)
    grounded = xs.solve_array(crossbar, xs.half_select(crossbar, (0, 0), 0.2, "grounded")).currents
    assert grounded.bottom[0] == pytest.approx(0.2 / R, rel=1e-12)


@pytest.mark.parametrize("device", DEVICES, ids=lambda device: type(device).__name__)
def test_ngspice_agrees_under_every_scheme(device, rng):
    crossbar = xs.Crossbar(
        10 ** rng.uniform(-5.5, -4, (4, 5)),
        r_word=rng.uniform(0, 5, (4, 6)),
        r_bit=rng.uniform(0, 5, 5),
        r_driver=50.0,
        r_sense=20.0,
        device=device,
    )
    schemes = [replace(xs.half_select(crossbar, (2, 3), 0.9, name), r_left=[20, 40, 60, 80]) for name in SCHEMES]
    found = []
    for name in ("nodal", "ngspice"):
        with engine_or_skip(name).program(crossbar) as session:
            found.append([session.bias(biases) for biases in schemes])
    limit = 1e-7 if device.junctions else 1e-9
    for nodal, ngspice in zip(*found, strict=True):
        size = max(np.abs(getattr(nodal, edge)).max() for edge in EDGES)
        for edge in EDGES:
            assert getattr(nodal, edge) == pytest.approx(getattr(ngspice, edge), rel=limit, abs=1e-2 * limit * size)


@pytest.mark.parametrize("device", [xs.Ohmic(), xs.Sinh(0.2)], ids=str)
def test_a_batch_is_its_columns(circuit_engine, device, rng):
    crossbar = xs.Crossbar(rng.uniform(1e-5, 1e-4, (3, 4)), r_word=2.0, r_bit=[1.0, 2.0, 3.0, 4.0], device=device)
    volts = rng.uniform(-0.3, 0.3, (3, 5))
    volts[1] = np.nan
    with circuit_engine.program(crossbar) as session:
        together = session.bias(xs.Biases(left=volts, bottom=0.1, right=[0.1, np.nan, np.nan], r_right=70.0))
        assert together.bottom.shape == (4, 5)
        assert not together.left[1].any()
        assert not together.top.any()
        for column in range(5):
            alone = session.bias(
                xs.Biases(left=volts[:, column], bottom=0.1, right=[0.1, np.nan, np.nan], r_right=70.0)
            )
            for edge in EDGES:
                assert relative(getattr(together, edge)[:, column], getattr(alone, edge)) < 1e-9


@pytest.mark.parametrize("sense", ["single", "double"])
@pytest.mark.parametrize("drive", ["single", "double"])
@pytest.mark.parametrize("transposed", ["same_ends", "swapped_ends", "far_ends"])
@pytest.mark.parametrize("amplifier", [Amplifier(), Amplifier(1e4, 99.0)], ids=["sources", "amplifiers"])
def test_a_read_is_a_case_of_biases(drive, sense, transposed, amplifier, rng):
    crossbar = xs.Crossbar(
        rng.uniform(1e-5, 1e-4, (4, 3)), 2.0, 3.0, 50.0, 20.0, xs.Sinh(0.2),
        xs.Terminations(drive, transposed, sense), (1,), amplifier,
    )  # fmt: skip
    with xs.get_engine("nodal").program(crossbar) as session:
        for side in ("rows", "cols"):
            volts = rng.uniform(-0.2, 0.2, crossbar.ports(side))
            currents = session.bias(read_biases(crossbar, volts, side))
            sensed = sum(getattr(currents, edge) for edge in crossbar.hookup(side).sensed)
            assert relative(sensed, session.read(volts, side)) < 1e-9


@pytest.mark.parametrize("device", [xs.Ohmic(), xs.Sinh(0.2)], ids=str)
def test_reads_of_uneven_wires(circuit_engine, device, rng):
    crossbar = xs.Crossbar(
        rng.uniform(1e-5, 1e-4, (4, 3)), rng.uniform(0, 5, (4, 4)), rng.uniform(0, 5, (5, 3)), 50.0, 20.0, device
    )
    with circuit_engine.program(crossbar) as session:
        for side in ("rows", "cols"):
            volts = rng.uniform(-0.3, 0.3, crossbar.ports(side))
            driven, sensed = ("left", "bottom") if side == "rows" else ("bottom", "left")
            ohms = {"left": 50.0, "bottom": 20.0}
            ends = {(driven, k): (v, ohms[driven]) for k, v in enumerate(volts)}
            lines = crossbar.ports("cols" if side == "rows" else "rows")
            ends |= {(sensed, k): (0.0, ohms[sensed]) for k in range(lines)}
            wanted, _ = dense_network.solve(crossbar, ends)
            assert relative(session.read(volts, side), [wanted[sensed, k] for k in range(lines)]) < 1e-9


@pytest.mark.parametrize("amplifier", [Amplifier(), Amplifier(1e4, 99.0)], ids=["sources", "amplifiers"])
def test_the_transfer_matrix_of_uneven_wires_takes_over(amplifier, rng):
    crossbar = xs.Crossbar(
        rng.uniform(1e-5, 1e-4, (4, 3)), rng.uniform(0, 5, (4, 4)), rng.uniform(0, 5, (5, 3)), 50.0, 20.0,
        open_rows=(2,), amplifier=amplifier,
    )  # fmt: skip
    with xs.get_engine("nodal").program_bank([crossbar]) as bank:
        for side in ("rows", "cols"):
            volts = rng.uniform(-0.3, 0.3, (crossbar.ports(side), 9))
            few = bank.read([volts[:, :1]], side)[0]
            assert bank.transfers(side) is None
            many = bank.read([volts], side)[0]
            assert relative(many[:, :1], few) < 1e-9
            (transfer,) = bank.transfers(side)
            assert relative(many, (transfer.T if side == "rows" else transfer) @ crossbar.applied(volts, side)) < 1e-12


def test_equal_segments_are_the_circuit_of_one_number(rng):
    conductance = rng.uniform(1e-5, 1e-4, (4, 3))
    even = xs.Crossbar(conductance, 2.0, 3.0)
    for word, bit in ((np.full(4, 2.0), np.full(3, 3.0)), (np.full((4, 4), 2.0), np.full((5, 3), 3.0))):
        same = xs.Crossbar(conductance, word, bit)
        assert same.even
        assert (same.r_word, same.r_bit) == (even.r_word, even.r_bit)


def test_a_held_line_is_sensed_by_an_amplifier_at_its_level():
    crossbar = xs.Crossbar([[1e-4, 2e-4]], amplifier=Amplifier(1e4, 99.0), r_sense=10.0)
    held = xs.Biases(left=0.3, bottom=0.1, amplified=["bottom"])
    currents = xs.solve_array(crossbar, held).currents
    load = 10.0 + 100.0
    assert currents.bottom == pytest.approx(0.99 * 0.2 / (load + 1 / np.array([1e-4, 2e-4])), rel=1e-12)
    grounded = xs.Biases(left=0.3, bottom=0.0, amplified=["bottom"])
    with engine_or_skip("ngspice").program(crossbar) as session:
        levels = [grounded, held, replace(held, bottom=[0.1, 0.2]), replace(held, bottom=[[0.1, 0.2], [0.1, 0.05]])]
        by_ngspice = {biases: session.bias(biases) for biases in levels}
    for biases, found in by_ngspice.items():
        nodal = xs.get_engine("nodal").program(crossbar).bias(biases)
        assert nodal.bottom == pytest.approx(found.bottom, rel=1e-9)
        assert nodal.left == pytest.approx(found.left, rel=1e-9)
    assert "Vlevel_bottom1 bottom1 in_bottom1 DC 0.1" in xs.netlist(crossbar, held)
    ideal = xs.get_engine("ideal").program(crossbar)
    assert ideal.bias(grounded).bottom == pytest.approx(ideal.read([0.3]))
    with pytest.raises(InvalidInputError, match="take a crossbar with amplifier"):
        xs.solve_array(xs.Crossbar([[1e-4]]), held)


@pytest.mark.parametrize(
    ("device", "batch", "saturation"),
    [*((device, batch, None) for device in DEVICES for batch in (1, 3)), (DEVICES[0], 2, 0.12), (DEVICES[1], 1, 0.12)],
    ids=str,
)
def test_derivatives_by_finite_differences(device, batch, saturation, rng):
    rows, cols = 4, 3
    volts = rng.uniform(-0.4, 0.4, (rows, batch))
    volts[2] = np.nan
    values = {
        "conductance": rng.uniform(1e-5, 1e-4, (rows, cols)),
        "r_word": rng.uniform(1, 5, (rows, cols + 1)),
        "r_bit": rng.uniform(1, 5, (rows + 1, cols)),
        "r_left": rng.uniform(10, 90, rows),
        "r_bottom": rng.uniform(10, 90, cols),
        "left": volts,
        "bottom": rng.uniform(0, 0.1, cols),
        "r_feedback": np.array(1e4),
        "gain": np.array(99.0),
    }
    if saturation:
        values["saturation"] = np.array(saturation)

    def circuit(at):
        amplifier = Amplifier(*[float(at[name]) for name in ("r_feedback", "gain", "saturation") if name in at])
        crossbar = xs.Crossbar(at["conductance"], at["r_word"], at["r_bit"], device=device, amplifier=amplifier)
        ends = {"left": at["left"], "bottom": at["bottom"], "r_left": at["r_left"], "r_bottom": at["r_bottom"]}
        return crossbar, xs.Biases(**ends, top=[np.nan, 0.05, np.nan], r_top=30.0, amplified=["bottom"])

    weights = {"left": rng.normal(size=(rows, batch)), "bottom": rng.normal(size=cols), "top": 0.5}
    slope = xs.BiasSensitivity(*circuit(values), tolerance=1e-12)
    found = slope.vjp(**weights)

    def sum_of(currents):
        at_bottom = weights["bottom"][:, np.newaxis] * currents.bottom
        return (weights["left"] * currents.left).sum() + at_bottom.sum() + 0.5 * currents.top.sum()

    gradients = vars(found) | {f"r_{edge}": found.ohms[edge] for edge in ("left", "bottom")}
    gradients |= {"left": found.volts["left"], "bottom": found.volts["bottom"].sum(axis=1)}
    for name, value in values.items():
        step = 1e-4 * rng.normal(size=value.shape) * np.nan_to_num(value)
        near = [
            sum_of(xs.BiasSensitivity(*circuit(values | {name: value + sign * step}), tolerance=1e-13).currents)
            for sign in (1, -1)
        ]
        wanted, change = (near[0] - near[1]) / 2, (gradients[name] * step).sum()
        assert change == pytest.approx(wanted, rel=2e-6, abs=1e-13), name
        way = {"r_left": {"ohms": {"left": step}}, "r_bottom": {"ohms": {"bottom": step}}}
        way |= {edge: {"volts": {edge: step}} for edge in ("left", "bottom")}
        moved = slope.jvp(**way.get(name, {name: step if step.ndim else float(step)}))
        assert sum_of(moved) == pytest.approx(change, rel=1e-8), name
    for refused in (lambda: slope.vjp(left=np.ones(7)), lambda: slope.jvp(volts={"left": np.ones(7)})):
        with pytest.raises(InvalidInputError, match="at the left must be one number"):
            refused()


@pytest.mark.parametrize("device", [xs.Ohmic(), xs.Sinh(0.2)], ids=str)
def test_amplifiers_that_saturate_stand_at_any_ends(device, rng):
    """Against ngspice, and against the reads that the grid solves; the last array is one that no grid fits."""
    amplifier = Amplifier(2e4, 50.0, saturation=0.05)
    crossbar = xs.Crossbar(rng.uniform(1e-5, 1e-4, (4, 3)), 2.0, 3.0, 50.0, 20.0, device, amplifier=amplifier)
    read = read_biases(crossbar, np.array([0.3, -0.1, 0.2, 0.02]), "rows")
    both = xs.Biases(left=[0.3, 0.2, np.nan, 0.1], bottom=0.05, top=[np.nan, 0.05, 0.05], right=[np.nan] * 3 + [0.05],
                     amplified=["top", "bottom", "right"])  # fmt: skip
    inside = xs.solve_array(crossbar, both)
    spent = inside.cell_power.sum() + inside.word_wire_power.sum() + inside.bit_wire_power.sum()
    assert spent + inside.periphery_power == pytest.approx(inside.source_power, rel=1e-9)
    assert np.abs(inside.currents.bottom * amplifier.r_feedback).max() < 0.05
    double = replace(crossbar, terminations=xs.Terminations("double", sense="double"))
    for name in ("nodal", "ngspice"):
        with engine_or_skip(name).program(crossbar) as session:
            assert xs.solve_array(crossbar, read).currents.bottom == pytest.approx(
                session.read([0.3, -0.1, 0.2, 0.02]), rel=1e-8
            )
            found = session.bias(both)
            for edge in EDGES:
                assert getattr(inside.currents, edge) == pytest.approx(getattr(found, edge), rel=1e-8, abs=1e-16)
    reads = [engine_or_skip(name).program(double).read([0.3, -0.1, 0.2, 0.02]) for name in ("nodal", "ngspice")]
    assert reads[0] == pytest.approx(reads[1], rel=1e-8)


def test_lines_that_lead_nowhere_carry_nothing(circuit_engine):
    """A driven word line whose only cell is at a floating bit line without any other, behind wires."""
    crossbar = xs.Crossbar([[1e-4, 0.0], [0.0, 1e-4], [0.0, 2e-5]], 3.0, 5.0, 50.0, 20.0)
    with circuit_engine.program(crossbar) as session:
        found = session.bias(xs.Biases(left=[0.3, 0.2, np.nan], bottom=[np.nan, 0.0]))
    assert abs(found.left[0]) < 1e-16
    assert found.bottom[1] == pytest.approx(0.2 / (50.0 + 3.0 + 3.0 + 1e4 + 5.0 + 5.0 + 20.0), rel=1e-9)


@pytest.mark.parametrize("device", DEVICES, ids=lambda device: type(device).__name__)
def test_everything_floats_at_the_level_of_a_single_terminal(device, rng):
    conductance = rng.uniform(1e-6, 1e-4, (4, 3)) * (rng.random((4, 3)) < 0.8)
    conductance[:, 1], conductance[0] = 5e-5, 1e-5
    crossbar = xs.Crossbar(conductance, rng.uniform(0, 20, (4, 4)), 0.0, 30.0, 20.0, device)
    inside = xs.solve_array(crossbar, xs.Biases(top=[np.nan, 0.385, np.nan]))
    assert np.abs(inside.cell_currents).max() < 1e-20
    assert inside.word_voltages == pytest.approx(0.385, rel=1e-12)


LOOSE = xs.Crossbar([[1e-4, 0.0, 0.0], [0.0, 1e-4, 1e-4], [0.0, 0.0, 0.0]], r_word=1.0)


def test_parts_without_a_terminal_are_refused_by_name(engine):
    with engine.program(LOOSE) as session:
        with pytest.raises(SingularCircuitError, match="nothing holds word lines 1, 2 and bit lines 1, 2"):
            session.bias(xs.Biases(left=[0.1, np.nan, np.nan], bottom=[0.0, np.nan, np.nan]))
        assert session.bias(xs.Biases(left=[0.1, np.nan, 0.0], bottom=[np.nan, 0.0, np.nan])).bottom[1] == 0.0
    with pytest.raises(SingularCircuitError, match="word line 2"):
        xs.solve_array(LOOSE, xs.Biases(left=[0.1, 0.1, np.nan], bottom=0.0))


@pytest.mark.parametrize("device", DEVICES, ids=lambda device: type(device).__name__)
def test_ideal_biases_are_those_of_an_array_without_resistance(device, rng):
    conductance = rng.uniform(1e-5, 1e-4, (4, 3))
    biases = xs.Biases(left=[0.3, np.nan, -0.1, np.nan], right=[np.nan, 0.2, np.nan, np.nan], top=[0.0, np.nan, 0.1])
    crossbar = xs.Crossbar(conductance, 2.0, 3.0, 50.0, 20.0, device)
    ideal = xs.get_engine("ideal").program(crossbar).bias(biases)
    nodal = xs.get_engine("nodal").program(xs.Crossbar(conductance, device=device)).bias(biases)
    limit = 1e-12 if device.linear else 1e-9
    for edge in EDGES:
        assert getattr(ideal, edge) == pytest.approx(getattr(nodal, edge), rel=limit, abs=1e-6 * limit)
    if not device.linear:
        return
    both = xs.get_engine("ideal").program(crossbar).bias(xs.Biases(left=0.1, right=0.1, bottom=0.0))
    assert both.left == pytest.approx(both.right)
    assert both.left + both.right == pytest.approx(-0.1 * conductance.sum(axis=1))
    with pytest.raises(InvalidInputError, match="word lines 0, 1, 2, 3 would have one at either end"):
        xs.get_engine("ideal").program(crossbar).bias(xs.Biases(left=0.1, right=0.2, bottom=0.0))


def test_a_line_between_two_sources_without_resistance_is_refused(circuit_engine):
    both = xs.Biases(left=0.1, right=0.1, bottom=0.0)
    with (
        circuit_engine.program(xs.Crossbar([[1e-4], [1e-4]])) as session,
        pytest.raises(SingularCircuitError, match="word lines 0, 1 join two terminals without any resistance"),
    ):
        session.bias(both)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"left": [0.1, 0.2, 0.3]}, "left takes one value for each of the 2 word lines, got shape \\(3,\\)"),
        ({"top": 0.1, "r_top": [1.0, 2.0]}, "r_top takes one value for each of the 3 bit lines"),
        ({"left": np.inf}, "left must be one number, .*infinity"),
        ({"left": 0.1, "r_left": -1.0}, "r_left must be one number, .*>= 0 ohm"),
        ({"left": "0.1"}, "left must be one number, .*a text is no array"),
        ({"left": [[0.1, np.nan], [0.1, 0.1]]}, "open for all vectors of a batch or for none"),
        ({"left": np.ones((2, 3)), "top": np.ones((3, 2))}, "one batch for all edges"),
        ({"left": 0.1, "amplified": ["middle"]}, "amplified must be a sequence"),
    ],
)
def test_what_is_no_bias_is_refused(values, text):
    with pytest.raises(InvalidInputError, match=text):
        xs.solve_array(xs.Crossbar(np.full((2, 3), 1e-4)), xs.Biases(**values))


@pytest.mark.parametrize(
    ("wires", "text"),
    [
        ({"r_word": [1.0, 2.0, 3.0]}, "r_word must be one number, of shape \\(2,\\) .* or \\(2, 4\\)"),
        ({"r_bit": [1.0, 2.0]}, "r_bit must be one number, of shape \\(3,\\) .* or \\(3, 3\\)"),
        ({"r_bit": [1.0, -2.0, 1.0]}, "r_bit must be .*>= 0 ohm, .*there is -2"),
        ({"r_word": -1.0}, "r_word must be finite and >= 0 ohm, got -1.0"),
    ],
)
def test_wires_of_another_shape_are_refused(wires, text):
    with pytest.raises(InvalidInputError, match=text):
        xs.Crossbar(np.full((2, 3), 1e-4), **wires)
