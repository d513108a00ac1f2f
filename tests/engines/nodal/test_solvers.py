"""The methods of the nodal engine against each other and against dense equations, on friendly and hostile arrays."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.arrays import TERMINATIONS, WIRES, kirchhoff, name_of, random_array

from xbar_spice.engines.nodal.dissection import dissected_transfer
from xbar_spice.engines.nodal.elimination import transfer_matrix
from xbar_spice.engines.nodal.engine import NodalEngine
from xbar_spice.engines.nodal.factor import FactorPreconditioner
from xbar_spice.engines.nodal.grid import place
from xbar_spice.engines.nodal.line import Line
from xbar_spice.engines.nodal.recurrences import BLOCK, Recurrence
from xbar_spice.engines.nodal.solution import solve_array
from xbar_spice.engines.nodal.spectral import WHOLE_TO, SpectralPreconditioner
from xbar_spice.engines.registry import get_engine
from xbar_spice.errors import InvalidInputError
from xbar_spice.hardware.cells import OneTransistorOneResistor, Sinh
from xbar_spice.hardware.crossbar import Crossbar, Terminations

LINES = [
    Line(cells, *wire)
    for cells in (1, 2, 7, 40)
    for wire in [(1, 1), (1, 101), (1e-6, 1e4), (1, 1, True), (2, 500, True), (0, 5), (0, 5, True), (0, 0)]
]


def resistance_matrix(line):
    """Z by its definition: common path to the terminal, less what the far terminal takes away."""
    places = line.terminal + line.segment * np.arange(line.cells)
    common = np.minimum.outer(places, places)
    return common - np.outer(places, places) / (places[-1] + line.terminal) if line.double else common


def worst(found, wanted):
    return np.max(np.abs(found - wanted) / np.maximum(np.abs(wanted), 1e-300))


@pytest.mark.parametrize("line", LINES, ids=str)
def test_a_line_is_its_resistance_matrix(line, rng):
    wanted = resistance_matrix(line)
    size = max(np.abs(wanted).max(), 1e-300) * line.cells
    zeta, modes = line.modes()
    assert np.abs(modes.T @ modes - np.eye(line.cells)).max() < 1e-12
    assert np.abs((modes * zeta) @ modes.T - wanted).max() < 1e-12 * size
    assert wanted.diagonal().max() <= line.span * (1 + 1e-12)
    currents = rng.normal(size=(2, line.cells, line.cells))
    for axis, drops in ((1, wanted @ currents), (2, currents @ wanted)):
        out = np.zeros_like(currents)
        line.add_drops(currents, axis, out, np.empty_like(currents))
        assert np.abs(out - drops).max() < 1e-12 * size


@pytest.mark.parametrize("terminations", TERMINATIONS, ids=name_of)
@pytest.mark.parametrize("wires", WIRES, ids=name_of)
@pytest.mark.parametrize("side", ["rows", "cols"])
@pytest.mark.parametrize("shape", [(5, 3), (3, 6)], ids=str)
def test_both_methods_solve_kirchhoffs_laws(wires, terminations, side, shape, rng):
    crossbar = random_array(rng, wires, terminations, shape)
    wanted = kirchhoff(crossbar, side)
    for method in ("direct", "iterative"):
        found = NodalEngine(method, 1e-12).program(crossbar).read(np.eye(crossbar.ports(side)), side)
        assert np.abs(found - wanted).max() < 1e-11 * np.abs(wanted).max()


@pytest.mark.parametrize("terminations", [Terminations(), Terminations("double")], ids=name_of)
@pytest.mark.parametrize("wires", WIRES, ids=name_of)
def test_the_sparse_factor_is_exact(wires, terminations, rng):
    crossbar = random_array(rng, wires, terminations)
    grid, placement = place(crossbar, "rows")
    drive = np.eye(5)
    ideal = grid.conductance * placement.drive_to_grid(drive)
    currents = ideal - grid.conductance * FactorPreconditioner(grid).solve(ideal)
    found = placement.from_sense(currents.sum(axis=1 + placement.sense_axis))
    wanted = kirchhoff(crossbar, "rows")
    assert np.abs(found - wanted).max() < 1e-11 * np.abs(wanted).max()


@pytest.mark.parametrize("wires", WIRES, ids=name_of)
def test_the_spectral_preconditioner_is_exact_where_rows_are_uniform(wires, rng):
    conductance = np.repeat(10 ** rng.uniform(-5, -3, (7, 1)), 4, axis=1)
    grid, _ = place(Crossbar(conductance, *wires), "rows")
    residual = rng.normal(size=(2, 7, 4))
    volts, _ = SpectralPreconditioner(grid, np.float64)(residual)
    currents = residual - grid.conductance * volts
    assert np.abs(grid.drops(currents, np.empty_like(currents), np.empty_like(currents)) - volts).max() < 1e-11 * max(
        np.abs(volts).max(), 1e-12
    )


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("terminations", TERMINATIONS, ids=name_of)
def test_conjugate_gradients_know_what_is_solved_where_modes_are_left_out(terminations, dtype, rng):
    """Of long lines; the answer is exact for what the preconditioner says, which is about what it was asked."""
    grid, _ = place(Crossbar(np.ones((130, WHOLE_TO + 1)), r_word=1.0, r_bit=2.0, terminations=terminations), "rows")
    grid = replace(grid, conductance=10 ** rng.uniform(-5, -3, (grid.shape[0], 1)) * grid.conductance)
    residual = rng.normal(size=(2, *grid.shape)).astype(dtype)
    volts, solved = SpectralPreconditioner(grid, dtype)(residual)
    assert 0 < np.abs(solved - residual).max() < 0.2 * np.abs(residual).max()
    currents = (solved - grid.conductance * volts).astype(np.float64)
    drops = grid.drops(currents, np.empty_like(currents), np.empty_like(currents))
    assert np.abs(drops - volts).max() < 1e5 * np.finfo(dtype).eps * np.abs(volts).max()
    whole, same = SpectralPreconditioner(grid, dtype, whole=True)(residual)
    assert same is residual
    assert np.abs(whole - volts).max() < 0.2 * np.abs(volts).max()


@pytest.mark.parametrize("axis", [1, 2])
@pytest.mark.parametrize("cells", [1, 2, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 3])
def test_recurrences_in_blocks_are_those_cell_by_cell(cells, axis, rng):
    factors = rng.choice([0.0, 1.0, 0.3], cells - 1) * rng.uniform(0.5, 1.0, cells - 1)
    values = rng.normal(size=(2, cells, 3) if axis == 1 else (2, 3, cells))
    for method, order in (("forward", 1), ("backward", -1)):
        found, wanted = values.copy(), np.moveaxis(values, axis, 0)[::order].copy()
        getattr(Recurrence(factors, np.float64), method)(found, axis)
        for cell, factor in enumerate(factors[::order], start=1):
            wanted[cell] += factor * wanted[cell - 1]
        assert np.abs(np.moveaxis(found, axis, 0)[::order] - wanted).max() < 1e-13


def hostile(kind, rng, shape):
    wide = 10 ** rng.uniform(-9, -2, shape)
    match kind:
        case "largest":
            return np.full(shape, 1e-3)
        case "dead row":
            return np.where(np.arange(shape[0])[:, None] == shape[0] // 2, 1e-9, 1e-3) * np.ones(shape)
        case "missing lines":
            wide[shape[0] // 2] = wide[:, shape[1] // 3] = 0.0
            return wide
        case "sparse":
            return np.where(rng.random(shape) < 0.7, 0.0, wide)
        case _:
            return wide


@pytest.mark.parametrize("side", ["rows", "cols"])
@pytest.mark.parametrize("resistance", [1e-6, 1.0, 1e2, 1e4])
@pytest.mark.parametrize("kind", ["largest", "dead row", "missing lines", "sparse", "wide"])
def test_hostile_arrays(kind, resistance, side, rng):
    for shape, terminations in product(
        [(24, 24), (1, 40), (40, 1), (30, 11)], [Terminations(), Terminations("double")]
    ):
        crossbar = Crossbar(hostile(kind, rng, shape), resistance, 2 * resistance, terminations=terminations)
        volts = rng.uniform(0.05, 0.2, (crossbar.ports(side), 2))
        wanted = kirchhoff(crossbar, side) @ volts
        found = NodalEngine().program(crossbar).read(volts, side)
        # Dense equations lose the digits that stand between the wires' and the cells' conductances.
        lost = 1e-7 if resistance < 1e-3 else 1e-9
        assert np.abs(found - wanted).max() <= lost * np.abs(wanted).max()
        inside = solve_array(crossbar, volts[:, 0], side).sense_currents
        assert np.abs(inside - found[:, 0]).max() <= 1e-9 * np.abs(found).max()


@pytest.mark.parametrize(("shape", "r"), [((60, 200), 1.0), ((200, 200), 5.0), ((256, 100), 0.1)])
def test_methods_agree_on_every_sense_current_of_larger_arrays(shape, r, rng):
    crossbar = Crossbar(10 ** rng.uniform(-5, -3, shape), r, 2 * r, 100, 20)
    volts = rng.uniform(0, 0.2, (shape[0], 2))
    direct = NodalEngine("direct").program(crossbar).read(volts)
    assert worst(NodalEngine("iterative").program(crossbar).read(volts), direct) < 1e-9
    assert worst(NodalEngine("iterative", 1e-12).program(crossbar).read(volts), direct) < 1e-11


def test_mixed_precision_reaches_the_tolerance(rng):
    crossbar = Crossbar(10 ** rng.uniform(-5, -3, (220, 220)), 2, 2)
    volts = rng.uniform(-0.2, 0.2, (220, 3))
    session = NodalEngine("iterative", 1e-11).program(crossbar)
    assert worst(session.read(volts), NodalEngine("direct").program(crossbar).read(volts)) < 1e-8


@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 9), cols=st.integers(1, 9), decades=st.floats(0, 7))
def test_transfer_matrices_are_passive(seed, rows, cols, decades):
    rng = np.random.default_rng(seed)
    conductance = 1e-2 * 10 ** -rng.uniform(0, decades + 1e-9, (rows, cols))
    grid, _ = place(Crossbar(conductance, *10 ** rng.uniform(-6, 4, 2)), "rows")
    transfer = transfer_matrix(grid)
    assert (transfer >= 0).all()
    assert (transfer.sum(axis=0) <= grid.conductance.sum(axis=0) * (1 + 1e-12)).all()


@settings(max_examples=25)
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    exponents=st.tuples(st.floats(-9, 7), st.floats(-9, 7)),
    decades=st.floats(0, 7),
    missing=st.sampled_from([0.0, 0.5, 1.0]),
    terminations=st.sampled_from([Terminations(), Terminations("double")]),
)
def test_dissection_and_elimination_agree_on_every_entry(seed, shape, exponents, decades, missing, terminations):
    rng = np.random.default_rng(seed)
    conductance = 1e-2 * 10 ** -rng.uniform(0, decades + 1e-9, shape)
    conductance *= rng.uniform(size=shape) >= missing
    grid, _ = place(Crossbar(conductance, *10.0 ** np.array(exponents), 50, 20, terminations=terminations), "rows")
    found, wanted = dissected_transfer(grid), transfer_matrix(grid)
    assert (np.abs(found - wanted) <= 1e-11 * wanted + 1e-250).all()


@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    wires=st.sampled_from(WIRES),
    terminations=st.sampled_from(TERMINATIONS),
    side=st.sampled_from(["rows", "cols"]),
    device=st.sampled_from([None, Sinh(0.2)]),
)
def test_solutions_obey_kirchhoff_and_tellegen(seed, shape, wires, terminations, side, device):
    rng = np.random.default_rng(seed)
    crossbar = random_array(rng, wires, terminations, shape)
    if device is not None:
        crossbar = Crossbar(crossbar.conductance, *wires, device=device, terminations=terminations)
    drive = rng.uniform(-0.2, 0.2, crossbar.ports(side))
    state = solve_array(crossbar, drive, side)
    size = np.abs(state.cell_currents).max() + 1e-30
    assert np.abs(-np.diff(state.word_currents, axis=1) - state.cell_currents).max() <= 1e-9 * size * shape[1]
    assert np.abs(np.diff(state.bit_currents, axis=0) - state.cell_currents).max() <= 1e-9 * size * shape[0]
    assert crossbar.device.current(crossbar.conductance, state.cell_voltages) == pytest.approx(
        state.cell_currents, abs=1e-9 * size
    )
    spent = state.cell_power.sum() + state.word_wire_power.sum() + state.bit_wire_power.sum() + state.periphery_power
    assert state.source_power == pytest.approx(spent, rel=1e-8, abs=1e-20)
    read = get_engine("nodal").program(crossbar).read(drive, side)
    assert np.abs(state.sense_currents - read).max() <= 1e-8 * np.abs(read).max() + 1e-25
    row, col = state.worst_cell
    assert 0 <= row < shape[0]
    assert 0 <= col < shape[1]


def test_options_reach_the_engine_by_name():
    engine = get_engine("nodal", method="iterative", tolerance=1e-6)
    assert (engine.method, engine.tolerance) == ("iterative", 1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "magic"}, "'auto', 'direct', 'iterative', got 'magic'"),
        ({"tolerance": 0}, "tolerance"),
        ({"speed": 1}, "speed"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(InvalidInputError, match=message):
        get_engine("nodal", **options)


def test_a_configured_engine_takes_no_options():
    with pytest.raises(InvalidInputError, match="configured already"):
        get_engine(NodalEngine(), method="direct")


def test_an_empty_batch_gives_empty_currents(rng):
    assert NodalEngine().program(random_array(rng)).read(np.zeros((5, 0))).shape == (3, 0)


@pytest.mark.parametrize("device", [Sinh(0.4), Sinh(0.08), OneTransistorOneResistor(beta=2e-3)], ids=repr)
@pytest.mark.parametrize("side", ["rows", "cols"])
def test_a_bank_of_nonlinear_arrays_reads_as_each_array_alone(device, side, rng):
    """Small arrays with the same lines are solved as one batch; another size and larger arrays are not."""
    shapes = [(6, 8), (6, 8), (6, 8), (5, 8), (70, 80)]
    arrays = [
        Crossbar(10 ** rng.uniform(-6, -4, shape), r_word=1.0, r_bit=2.0, r_driver=50.0, r_sense=20.0, device=device)
        for shape in shapes
    ]
    drives = [rng.uniform(-0.3, 0.3, (array.ports(side), 3)) for array in arrays]
    with NodalEngine(tolerance=1e-11).program_bank(arrays) as bank:
        together = bank.read(drives, side)
    for array, volts, found in zip(arrays, drives, together, strict=True):
        alone = NodalEngine(tolerance=1e-11).program(array).read(volts, side)
        assert np.abs(found - alone).max() < 1e-9 * np.abs(alone).max()
        exact = solve_array(array, volts[:, 0], side, tolerance=1e-11).sense_currents
        assert np.abs(found[:, 0] - exact).max() < 1e-9 * np.abs(exact).max()
