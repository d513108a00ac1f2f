"""Laws that every engine obeys, over a table of topologies, and the closed forms of `truth/crossbar.json`."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import relative, truth
from support.arrays import TERMINATIONS, WIRES, kirchhoff, name_of, random_array, transfer, transfers

from xbar_spice.engines.nodal.solution import solve_array
from xbar_spice.engines.registry import get_engine
from xbar_spice.errors import InvalidInputError
from xbar_spice.hardware.crossbar import Crossbar, Terminations

TRUTH = truth("crossbar")


@pytest.mark.parametrize("terminations", TERMINATIONS, ids=name_of)
def test_circuit_engines_agree(circuit_engine, terminations, rng):
    crossbars = [random_array(rng, wires, terminations) for wires in WIRES]
    for side, matrices in transfers(circuit_engine, crossbars).items():
        for crossbar, found in zip(crossbars, matrices, strict=True):
            assert relative(found, kirchhoff(crossbar, side)) < 1e-9, (crossbar, side)


@pytest.mark.parametrize("drive", ["single", "double"])
def test_transposed_read_at_the_same_ends_is_the_transposed_matrix(engine, drive, rng):
    crossbars = [random_array(rng, wires, Terminations(drive)) for wires in WIRES]
    found = transfers(engine, crossbars)
    for crossbar, forward, transposed in zip(crossbars, found["rows"], found["cols"], strict=True):
        assert relative(transposed, forward.T) < 1e-11, crossbar


def test_transposed_read_at_the_far_ends_is_not(circuit_engine, rng):
    crossbar = random_array(rng, (5, 5, 50, 25), Terminations(transposed="far_ends"), shape=(8, 8))
    assert relative(transfer(circuit_engine, crossbar, "cols"), transfer(circuit_engine, crossbar, "rows").T) > 1e-3


@pytest.mark.parametrize("side", ["rows", "cols"])
def test_superposition(engine, side, rng):
    crossbar = random_array(rng)
    first, second = rng.uniform(-0.2, 0.2, (2, crossbar.ports(side)))
    with engine.program(crossbar) as session:
        together = session.read(2.0 * first - second, side)
        assert relative(2.0 * session.read(first, side) - session.read(second, side), together) < 1e-11


@pytest.mark.parametrize("side", ["rows", "cols"])
def test_vanishing_parasitics_give_the_ideal_read(engine, side, rng):
    crossbar = random_array(rng, (0, 0, 0, 0))
    ideal = crossbar.conductance if side == "cols" else crossbar.conductance.T
    assert relative(transfer(engine, crossbar, side), ideal) < 1e-12


def test_wire_resistance_error_falls_linearly(circuit_engine, rng):
    conductance = 10 ** rng.uniform(-5, -4, (6, 6))
    crossbars = [Crossbar(conductance, r, r) for r in (1e-1, 1e-2, 1e-3)]
    errors = [relative(found, conductance.T) for found in transfers(circuit_engine, crossbars)["rows"]]
    assert errors[0] / errors[1] == pytest.approx(10, rel=0.02)
    assert errors[1] / errors[2] == pytest.approx(10, rel=0.02)


def test_scaling_resistances_and_conductances_against_each_other_changes_nothing(circuit_engine, rng):
    conductance = 10 ** rng.uniform(-5, -3, (4, 6))
    one = transfer(circuit_engine, Crossbar(conductance, 1, 2, 50, 25))
    ten = transfer(circuit_engine, Crossbar(conductance / 10, 10, 20, 500, 250))
    assert relative(10 * ten, one) < 1e-11


@pytest.mark.parametrize("side", ["rows", "cols"])
def test_a_batch_is_its_columns(engine, side, rng):
    crossbar = random_array(rng)
    drives = rng.uniform(-0.2, 0.2, (crossbar.ports(side), 7))
    with engine.program(crossbar) as session:
        together = session.read(drives, side)
        alone = np.stack([session.read(drive, side) for drive in drives.T], axis=1)
    assert together.shape == alone.shape
    assert relative(together, alone) < 1e-13


def test_arrays_of_a_bank_do_not_see_each_other(engine, rng):
    crossbars = [
        random_array(rng, wires, shape=shape) for wires, shape in zip(WIRES[::3], [(1, 1), (2, 5), (5, 2)], strict=True)
    ]
    drives = [rng.uniform(-0.2, 0.2, (crossbar.shape[0], 2)) for crossbar in crossbars]
    with engine.program_bank(crossbars) as bank:
        together = bank.read(drives)
    for crossbar, drive, found in zip(crossbars, drives, together, strict=True):
        with engine.program(crossbar) as session:
            assert relative(found, session.read(drive)) < 1e-12


def test_missing_cells_carry_no_current(engine):
    with engine.program(Crossbar([[0.0, 1e-4], [0.0, 0.0]], 1, 1, 5, 5)) as session:
        currents = session.read([0.2, 0.1])
    assert currents[0] == pytest.approx(0.0, abs=1e-18)
    assert currents[1] > 1e-5


@pytest.mark.parametrize("case", TRUTH["fixed_arrays"], ids=lambda case: case["name"].split(" (")[0])
def test_published_arrays(circuit_engine, case):
    conductance = np.array(case["G_uS"]) * 1e-6 if "G_uS" in case else 1 / np.arange(10.0, 201.0, 10.0).reshape(5, 4)
    crossbar = Crossbar(conductance, case["r_word"], case["r_bit"], case["r_driver"], case["r_sense"])
    with circuit_engine.program(crossbar) as session:
        assert session.read(case["V"]) == pytest.approx(case["I"], rel=1e-11)


@pytest.mark.parametrize("row", TRUTH["ladder_closed_form"]["rows"], ids=str)
def test_ladder_closed_form(circuit_engine, row):
    count, g, r, volts, r_driver, first, last, total = row
    crossbar = Crossbar(np.full((1, count), g), r_word=r, r_driver=r_driver)
    with circuit_engine.program(crossbar) as session:
        currents = session.read([volts])
    assert currents.sum() == pytest.approx(total, rel=1e-11)
    assert currents[[0, -1]] / g == pytest.approx([first, last], rel=1e-11)


@pytest.mark.parametrize("row", TRUTH["uniform_both_wires"]["rows"], ids=str)
def test_uniform_array_closed_form(circuit_engine, row):
    rows, cols, g, r_word, r_bit, volts, first, last = row
    with circuit_engine.program(Crossbar(np.full((rows, cols), g), r_word, r_bit)) as session:
        currents = session.read(np.full(rows, volts))
    assert currents[[0, -1]] == pytest.approx([first, last], rel=1e-10)


def test_double_sided_row_closed_form(circuit_engine):
    case = TRUTH["double_sided"]
    crossbar = Crossbar(np.full((1, case["N"]), case["g"]), r_word=case["r"], terminations=Terminations("double"))
    with circuit_engine.program(crossbar) as session:
        currents = session.read([case["V0"]])
    assert currents[31] / case["g"] == pytest.approx(case["V_32"], rel=1e-11)
    assert currents.sum() / (case["N"] * case["g"] * case["V0"]) == pytest.approx(case["sum_I_over_ideal"], rel=1e-11)


def test_first_order_formula_leaves_a_second_order_residual(rng):
    conductance = 10 ** rng.uniform(-5, -4, (5, 4))
    volts = rng.uniform(0.05, 0.2, 5)
    i, j = np.arange(1, 6), np.arange(1, 5)
    toward_driver = np.minimum.outer(j, j)
    toward_sense = np.minimum.outer(6 - i, 6 - i)

    def residual(r):
        word_drop = r * (conductance @ toward_driver) * volts[:, None]
        bit_drop = 2 * r * toward_sense @ (conductance * volts[:, None])
        formula = (conductance * (volts[:, None] - word_drop - bit_drop)).sum(axis=0)
        return np.abs(get_engine("nodal").program(Crossbar(conductance, r, 2 * r)).read(volts) - formula).max()

    assert residual(1.0) / residual(0.1) == pytest.approx(100, rel=0.05)


def test_cell_voltages_give_the_sense_currents(rng):
    crossbar = random_array(rng)
    drive = rng.uniform(0, 0.2, crossbar.shape[0])
    volts = solve_array(crossbar, drive).cell_voltages
    read = get_engine("nodal").program(crossbar).read(drive)
    assert relative((crossbar.conductance * volts).sum(axis=0), read) < 1e-12


shapes = st.tuples(st.integers(1, 6), st.integers(1, 6))
resistances = st.one_of(st.just(0.0), st.floats(1e-3, 1e3))


@given(
    shape=shapes,
    wires=st.tuples(resistances, resistances, resistances, resistances),
    terminations=st.sampled_from(TERMINATIONS),
    seed=st.integers(0, 2**32 - 1),
    side=st.sampled_from(["rows", "cols"]),
)
def test_nodal_engine_solves_kirchhoffs_laws(shape, wires, terminations, seed, side):
    crossbar = random_array(np.random.default_rng(seed), wires, terminations, shape)
    found, wanted = transfer(get_engine("nodal"), crossbar, side), kirchhoff(crossbar, side)
    assert np.abs(found - wanted).max() <= 1e-9 * np.abs(wanted).max()


@pytest.mark.parametrize(
    ("drive", "side", "message"),
    [
        (np.zeros(4), "rows", r"takes a drive of shape \(5,\) or \(5, batch\), got \(4, 1\)"),
        (np.zeros((5, 2, 2)), "rows", r"got \(5, 2, 2\)"),
        (np.full(5, np.nan), "rows", "finite"),
        (np.zeros(5), "columns", "side must be one of"),
    ],
)
def test_bad_drives_are_refused(engine, drive, side, message, rng):
    with engine.program(random_array(rng)) as session, pytest.raises(InvalidInputError, match=message):
        session.read(drive, side)


def test_a_closed_session_says_so(engine, rng):
    session = engine.program(random_array(rng))
    session.close()
    session.close()
    with pytest.raises(InvalidInputError, match="closed"):
        session.read(np.zeros(5))


def test_unknown_engine_lists_the_engines():
    with pytest.raises(InvalidInputError, match=r"'ideal', 'nodal', 'ngspice', .* got 'spectre'"):
        get_engine("spectre")
