"""Word lines left open: every engine against dense equations, everything inside, and the derivatives."""

from dataclasses import replace

import numpy as np
import pytest
from support import relative
from support.arrays import TERMINATIONS, WIRES, kirchhoff, name_of, random_array, transfer, transfers

from xbar_spice.engines.nodal.engine import NodalEngine
from xbar_spice.engines.nodal.factor import FactorPreconditioner
from xbar_spice.engines.nodal.grid import place
from xbar_spice.engines.nodal.sensitivity import Change, Sensitivity
from xbar_spice.engines.nodal.solution import solve_array
from xbar_spice.engines.registry import get_engine
from xbar_spice.errors import InvalidInputError
from xbar_spice.hardware.cells import OneTransistorOneResistor, Sinh
from xbar_spice.hardware.crossbar import Crossbar, Terminations


def open_array(rng, wires=(1, 2, 50, 25), terminations=None, rows=(0, 3), shape=(6, 4)):
    """Lines 0 and 3 are open unless asked otherwise; line 3 has no cells."""
    crossbar = random_array(rng, wires, terminations, shape)
    conductance = crossbar.conductance.copy()
    conductance[3] = 0.0
    return replace(crossbar, conductance=conductance, open_rows=rows)


@pytest.mark.parametrize("terminations", TERMINATIONS, ids=name_of)
@pytest.mark.parametrize("wires", WIRES, ids=name_of)
@pytest.mark.parametrize("side", ["rows", "cols"])
@pytest.mark.parametrize("shape", [(6, 4), (4, 7)], ids=str)
def test_open_lines_float(wires, terminations, side, shape, rng):
    crossbar = open_array(rng, wires, terminations, (0, 1, 3), shape)
    wanted = kirchhoff(crossbar, side)
    for method in ("direct", "iterative", "auto"):
        engine = NodalEngine(method, 1e-12)
        assert relative(transfer(engine, crossbar, side), wanted) < 1e-11


@pytest.mark.parametrize("terminations", TERMINATIONS, ids=name_of)
def test_both_circuit_engines_let_lines_float(circuit_engine, terminations, rng):
    crossbars = [open_array(rng, wires, terminations) for wires in [(0, 0, 0, 0), (1, 2, 0, 0), (0, 2, 50, 25)]]
    for side, matrices in transfers(circuit_engine, crossbars).items():
        for crossbar, found in zip(crossbars, matrices, strict=True):
            assert relative(found, kirchhoff(crossbar, side)) < 1e-9, (crossbar, side)


def test_without_wires_an_open_line_does_nothing(engine, rng):
    crossbar = replace(open_array(rng, (0, 0, 0, 0)), open_rows=(0,))
    wanted = crossbar.conductance.copy()
    wanted[0] = 0.0
    assert relative(transfer(engine, crossbar), wanted.T) < 1e-9
    assert relative(transfer(engine, crossbar, "cols"), wanted) < 1e-9


def test_all_lines_open_carry_nothing(circuit_engine, rng):
    crossbar = open_array(rng, rows=range(6))
    assert np.abs(transfer(circuit_engine, crossbar)).max() < 1e-15
    assert not transfer(circuit_engine, crossbar, "cols").any()


@pytest.mark.ngspice
@pytest.mark.parametrize("side", ["rows", "cols"])
@pytest.mark.parametrize("device", [Sinh(0.1), OneTransistorOneResistor()], ids=str)
@pytest.mark.parametrize("drive", ["single", "double"])
def test_nonlinear_cells_on_floating_lines_agree_with_ngspice(device, side, drive, rng):
    crossbar = replace(open_array(rng, terminations=Terminations(drive), rows=(0, 4)), device=device)
    volts = rng.uniform(-0.3, 0.3, (crossbar.ports(side), 3))
    with get_engine("ngspice").program(crossbar) as session:
        wanted = session.read(volts, side)
    # ngspice stops a reltol of 1e-7 short for transistors
    limit = 1e-9 if isinstance(device, Sinh) else 1e-7
    assert relative(get_engine("nodal").program(crossbar).read(volts, side), wanted) < limit


@pytest.mark.parametrize("decades", [2, 7])
def test_many_floating_lines_of_a_larger_array(decades, rng):
    conductance = 10 ** rng.uniform(-3 - decades, -3, (40, 30))
    crossbar = Crossbar(conductance, 1.0, 2.0, 100.0, 50.0, open_rows=tuple(range(0, 40, 2)))
    for side in ("rows", "cols"):
        found = transfer(get_engine("nodal"), crossbar, side)
        wanted = kirchhoff(crossbar, side)
        known = wanted != 0
        assert np.abs(found[known] / wanted[known] - 1).max() < 1e-8


@pytest.mark.parametrize("terminations", [Terminations(), Terminations("double")], ids=name_of)
@pytest.mark.parametrize("wires", WIRES, ids=name_of)
def test_the_sparse_factor_knows_floating_lines(wires, terminations, rng):
    crossbar = open_array(rng, wires, terminations)
    grid, placement = place(crossbar, "rows")
    ideal = grid.conductance * placement.drive_to_grid(np.eye(6))
    currents = ideal - grid.conductance * FactorPreconditioner(grid).solve(ideal)
    found = placement.from_sense(currents.sum(axis=1 + placement.sense_axis))
    assert relative(found, kirchhoff(crossbar, "rows")) < 1e-9


@pytest.mark.parametrize("terminations", TERMINATIONS, ids=name_of)
@pytest.mark.parametrize("side", ["rows", "cols"])
def test_everything_inside_obeys_kirchhoff_and_tellegen(terminations, side, rng):
    crossbar = replace(open_array(rng, terminations=terminations), device=Sinh(0.2))
    volts = rng.uniform(0.1, 0.3, crossbar.ports(side))
    solution = solve_array(crossbar, volts, side, tolerance=1e-12)
    assert np.abs(solution.word_currents[list(crossbar.open_rows)][:, [0, -1]]).max() < 1e-16
    law = crossbar.device.current(crossbar.conductance, solution.cell_voltages)
    assert relative(solution.cell_currents, law) < 1e-9
    drops = -np.diff(solution.word_voltages, axis=1)
    assert relative(crossbar.r_word * solution.word_currents[:, 1:-1], drops) < 1e-9
    wires = solution.word_wire_power.sum() + solution.bit_wire_power.sum()
    total = solution.cell_power.sum() + wires + solution.periphery_power
    assert abs(total / solution.source_power - 1) < 1e-9


@pytest.mark.parametrize("terminations", TERMINATIONS, ids=name_of)
@pytest.mark.parametrize("side", ["rows", "cols"])
def test_derivatives_by_finite_differences(terminations, side, rng):
    crossbar = replace(open_array(rng, terminations=terminations), device=Sinh(0.2))
    volts = rng.uniform(0.1, 0.3, (crossbar.ports(side), 2))
    slope = Sensitivity(crossbar, volts, side, tolerance=1e-12)
    change = Change(rng.uniform(-1e-6, 1e-6, crossbar.shape) * (crossbar.conductance > 0), 0.1, 0.2, 3.0, 2.0)
    moved = slope.jvp(change)

    def currents(step):
        names = ("r_word", "r_bit", "r_driver", "r_sense")
        changed = {name: getattr(crossbar, name) + step * getattr(change, name) for name in names}
        near = replace(crossbar, conductance=crossbar.conductance + step * change.conductance, **changed)
        return NodalEngine(tolerance=1e-13).program(near).read(volts, side)

    step = 1e-3
    assert relative(moved, (currents(step) - currents(-step)) / (2 * step)) < 1e-6
    weights = rng.normal(size=moved.shape)
    back = slope.vjp(weights)
    product = (back.conductance * change.conductance).sum() + sum(
        getattr(back, name) * getattr(change, name) for name in ("r_word", "r_bit", "r_driver", "r_sense")
    )
    assert abs(product / (weights * moved).sum() - 1) < 1e-8


def test_lines_that_do_not_exist_are_refused():
    with pytest.raises(InvalidInputError, match="open_rows must be a sequence, each a whole number from 0 to 1"):
        Crossbar([[1e-4], [1e-4]], open_rows=(2,))
