"""The promise of the nodal engine: 1e-10 of each sense current, or 1e-15 of what cancels in it, however it is asked."""

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support import exact_network

from xbar_spice.engines.nodal.elimination import transfer_matrix
from xbar_spice.engines.nodal.engine import NodalEngine
from xbar_spice.engines.nodal.extended import Extended, exact
from xbar_spice.engines.nodal.grid import place
from xbar_spice.engines.nodal.refined import refine_linear
from xbar_spice.engines.nodal.sensitivity import Change, Sensitivity
from xbar_spice.engines.nodal.solution import solve_array
from xbar_spice.hardware.cells import Sinh
from xbar_spice.hardware.crossbar import Crossbar

WAYS = {
    "auto": lambda crossbar, drive, side: NodalEngine().program(crossbar).read(drive, side),
    "direct": lambda crossbar, drive, side: NodalEngine("direct").program(crossbar).read(drive, side),
    "iterative": lambda crossbar, drive, side: NodalEngine("iterative").program(crossbar).read(drive, side),
    "solve_array": lambda crossbar, drive, side: solve_array(crossbar, drive, side).sense_currents,
    "Sensitivity": lambda crossbar, drive, side: Sensitivity(crossbar, drive, side).currents[:, 0],
}

terminals = st.one_of(st.just(0.0), st.just(50.0), st.floats(4, 10).map(lambda power: 10.0**power))
wires = st.sampled_from([0.0, 1e-2, 1.0, 30.0])


@given(
    shape=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    resistances=st.tuples(wires, wires, terminals, terminals),
    decades=st.sampled_from([1, 5, 14]),
    lowest=st.sampled_from([0.1, -0.3]),
    open_rows=st.sampled_from([(), (0,)]),
    side=st.sampled_from(["rows", "cols"]),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=40)
def test_each_current_is_right_by_equations_of_50_digits(shape, resistances, decades, lowest, open_rows, side, seed):
    r_word, r_bit, r_driver, r_sense = resistances
    assume(r_word + r_driver > 0)
    assume(r_bit + r_sense > 0)
    rng = np.random.default_rng(seed)
    crossbar = Crossbar(10 ** rng.uniform(-2 - decades, -2, shape), *resistances, open_rows=open_rows)
    drive = rng.uniform(lowest, 0.3, crossbar.ports(side))
    wanted, gross = exact_network.currents(crossbar, drive, side, exact_network.Ohmic())
    for way, read in WAYS.items():
        assert exact_network.misses(read(crossbar, drive, side), wanted, gross) <= 1, way


@pytest.mark.parametrize(("r_driver", "r_sense"), [(0, 1e8), (0, 1e10), (1e7, 50), (1e9, 1e10)])
@pytest.mark.parametrize("decades", [1, 14])
def test_large_terminals_of_a_larger_array(r_driver, r_sense, decades, rng):
    crossbar = Crossbar(10 ** rng.uniform(-2 - decades, -2, (64, 64)), 1.0, 1.0, r_driver, r_sense)
    for drive in (rng.uniform(0.1, 0.3, 64), rng.uniform(-0.3, 0.3, 64)):
        wanted = WAYS["direct"](crossbar, drive, "rows")
        gross = np.abs(solve_array(crossbar, drive).cell_currents).sum(axis=0)
        allowed = np.maximum(1e-10 * np.abs(wanted), 1e-15 * gross)
        for way in ("auto", "iterative", "solve_array", "Sensitivity"):
            assert (np.abs(WAYS[way](crossbar, drive, "rows") - wanted) <= allowed).all(), way


@pytest.mark.parametrize(("cells", "wire"), [(96, 2500.0), (128, 1200.0)])
def test_lines_that_lose_all_they_carry_are_right_without_a_factor(cells, wire, rng, monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError("conjugate gradients did not trust their residual")

    monkeypatch.setattr("xbar_spice.engines.nodal.solver.refine_linear", refuse)
    monkeypatch.setattr("xbar_spice.engines.nodal.solver.FactorPreconditioner", refuse)
    crossbar = Crossbar(10 ** rng.uniform(-5, -3, (cells, cells)), wire, wire)
    drive = rng.uniform(0.0, 0.2, cells)
    wanted = WAYS["direct"](crossbar, drive, "rows")
    assert (np.abs(WAYS["iterative"](crossbar, drive, "rows") - wanted) <= 1e-10 * wanted).all()


def test_elimination_keeps_its_digits_behind_large_terminals(rng):
    for _ in range(5):
        crossbar = Crossbar(10 ** rng.uniform(-16, -2, (4, 4)), 1e-4, 1e-4, 1e9, 1e10)
        grid, placement = place(crossbar, "rows")
        found = placement.from_sense(placement.drive_to_grid(np.eye(4))[:, :, 0] @ transfer_matrix(grid)).T
        for line, unit in enumerate(np.eye(4)):
            wanted, _ = exact_network.currents(crossbar, unit, "rows", exact_network.Ohmic())
            assert np.abs(found[line] / wanted.astype(float) - 1).max() < 1e-13


@pytest.mark.parametrize("side", ["rows", "cols"])
@pytest.mark.parametrize(("r_driver", "r_sense"), [(0.0, 1e8), (1e8, 50.0), (1e9, 1e9), (100.0, 1e5)])
def test_derivatives_behind_large_terminals(r_driver, r_sense, side, rng):
    crossbar = Crossbar(10 ** rng.uniform(-6, -4, (4, 3)), 1.0, 2.0, r_driver, r_sense)
    drive = rng.uniform(0.1, 0.3, crossbar.ports(side))
    operator = Sensitivity(crossbar, drive, side)
    change = Change(crossbar.conductance * rng.uniform(-1, 1, crossbar.shape), 0.1, 0.2, 0.3 * r_driver, 0.2 * r_sense)
    step = Decimal("1e-12")  # of 50 digits

    def moved(factor):
        near = _Exact(crossbar)
        for name in ("r_word", "r_bit", "r_driver", "r_sense", "conductance"):
            start, direction = (exact_network.EXACT(getattr(of, name)) for of in (crossbar, change))
            setattr(near, name, np.asarray(start + factor * direction)[()])
        return exact_network.currents(near, drive, side, exact_network.Ohmic())[0]

    wanted = ((moved(step) - moved(-step)) / (2 * step)).astype(float)
    found = operator.jvp(change)[:, 0]
    assert np.abs(found / wanted - 1).max() < 1e-8
    weights = rng.normal(size=found.shape)
    back = operator.vjp(weights)
    product = (back.conductance * change.conductance).sum() + sum(
        getattr(back, name) * getattr(change, name) for name in ("r_word", "r_bit", "r_driver", "r_sense")
    )
    assert abs(product / (weights * wanted).sum() - 1) < 1e-7


class _Exact:
    """An array whose values are decimal numbers."""

    open_rows = ()

    def __init__(self, crossbar):
        self.shape = crossbar.shape


@pytest.mark.parametrize("r_sense", [1e6, 1e8, 1e10])
def test_nonlinear_cells_behind_large_terminals(r_sense, rng):
    crossbar = Crossbar(10 ** rng.uniform(-6, -4, (4, 3)), 1.0, 1.0, 100.0, r_sense, device=Sinh(0.1))
    drive = rng.uniform(-0.3, 0.3, 4)
    inside = solve_array(crossbar, drive)
    wanted, gross = exact_network.currents(crossbar, drive, "rows", exact_network.Sinh(0.1), inside.cell_voltages)
    for way, read in WAYS.items():
        assert exact_network.misses(read(crossbar, drive, "rows"), wanted, gross) <= 1, way


def test_what_is_inside_fits_together_behind_large_terminals(rng):
    crossbar = Crossbar(10 ** rng.uniform(-6, -4, (20, 16)), 1.0, 1.0, 0.0, 1e10)
    inside = solve_array(crossbar, rng.uniform(0.1, 0.3, 20))
    law = crossbar.conductance * inside.cell_voltages
    assert np.abs(law - inside.cell_currents).max() <= 1e-9 * np.abs(law).max()
    assert np.abs(inside.bit_voltages[-1] / (1e10 + 1.0) / inside.sense_currents - 1).max() < 1e-9


def test_refinement_says_when_it_cannot(rng):
    grid, placement = place(Crossbar(10 ** rng.uniform(-16, -2, (5, 5)), 1e-7, 1e-7, 1e9, 1e10), "rows")
    drive = placement.drive_to_grid(rng.uniform(0.1, 0.3, (5, 1)))
    assert not refine_linear(grid, np.zeros((1, 5, 5)), drive, 1e-10).converged.any()


numbers = st.floats(1e-20, 1e20).flatmap(lambda size: st.sampled_from([size, -size]))


@given(first=numbers, second=numbers, third=numbers)
def test_extended_numbers_keep_30_digits(first, second, third):
    a, b = exact(np.array([first])) + exact(np.array([third])), exact(np.array([second]))
    ours, theirs = [Decimal(first) + Decimal(third), Decimal(second)], [a, b]

    def value(number: Extended) -> Decimal:
        return Decimal(float(number.high[0])) + Decimal(float(number.low[0]))

    size = max(abs(ours[0]), Decimal("1e-16") * max(abs(Decimal(first)), abs(Decimal(third))))
    assert abs(value(theirs[0]) - ours[0]) <= Decimal("1e-30") * max(abs(Decimal(first)), abs(Decimal(third)))
    assert abs(value(a * b) - value(a) * ours[1]) <= Decimal("1e-30") * size * abs(ours[1])
    assert abs(value(a / b) - value(a) / ours[1]) <= Decimal("1e-30") * size / abs(ours[1])
