"""Measured cells: every engine has the same interpolant, and tables that cannot be one are refused."""

import numpy as np
import pytest
from support import engine_or_skip, relative

import xbar_spice as xs
from xbar_spice.engines.nodal.sensitivity import Sensitivity
from xbar_spice.errors import DeviceError
from xbar_spice.hardware.table_cell import TableCell

LEVELS = (1e-6, 2e-5, 6e-5, 1.2e-4)


def sinh_table(volts=None, levels=LEVELS, v0=0.3):
    v = np.linspace(-0.6, 0.6, 13) if volts is None else np.asarray(volts)
    return TableCell(levels, [v] * len(levels), [g * v0 * np.sinh(v / v0) for g in levels])


CELL = sinh_table()


def test_measured_points_are_met_exactly_and_the_law_between_them_nearly():
    v = np.linspace(-0.6, 0.6, 13)
    for g in LEVELS:
        assert CELL.current(np.array(g), v) == pytest.approx(g * 0.3 * np.sinh(v / 0.3), rel=1e-12, abs=1e-18)
    fine = np.linspace(-0.6, 0.6, 101)
    assert relative(CELL.current(np.array(4e-5), fine), 4e-5 * 0.3 * np.sinh(fine / 0.3)) < 0.01


def test_slopes_are_those_of_the_current():
    rng = np.random.default_rng(0)
    g, v, step = rng.uniform(1e-6, 1.2e-4, 500), rng.uniform(-0.7, 0.7, 500), 1e-7
    slope = (CELL.current(g, v + step) - CELL.current(g, v - step)) / (2 * step)
    assert CELL.differential_conductance(g, v) == pytest.approx(slope, rel=1e-5, abs=1e-10)
    rise = (CELL.current(g * 1.000001, v) - CELL.current(g, v)) / (1e-6 * g)
    inside = g * 1.000001 <= LEVELS[-1]
    assert CELL.conductance_sensitivity(g, v)[inside] == pytest.approx(rise[inside], rel=1e-4, abs=1e-7)


def test_monotone_in_voltage_and_conductance():
    v, g = np.linspace(-0.6, 0.6, 400), np.linspace(1e-6, 1.2e-4, 60)
    currents = CELL.current(g[:, np.newaxis], v)
    assert (np.diff(currents, axis=1) >= 0).all()
    assert (np.diff(np.sign(v) * currents, axis=0) >= 0).all()


def test_one_polarity_is_mirrored_and_says_so():
    half = sinh_table(np.linspace(0, 0.6, 7))
    assert half.mirrored
    assert "mirrored" in repr(half)
    assert not CELL.mirrored
    v = np.linspace(-0.6, 0.6, 50)
    assert half.current(np.array(3e-5), v) == pytest.approx(CELL.current(np.array(3e-5), v), rel=1e-12, abs=1e-18)


@pytest.mark.ngspice
@pytest.mark.parametrize("side", ["rows", "cols"])
def test_engines_agree(side, rng):
    engine = engine_or_skip("ngspice")
    conductance = rng.uniform(1e-6, 1.2e-4, (6, 5))
    conductance[2, 3] = 0.0
    crossbar = xs.Crossbar(conductance, 2.0, 3.0, 50.0, 25.0, device=CELL)
    drive = rng.uniform(-0.5, 0.5, (crossbar.ports(side), 4))
    drive *= 0.5 / (drive.max(axis=0) - drive.min(axis=0)).max()
    with engine.program(crossbar) as one, xs.get_engine("nodal").program(crossbar) as other:
        assert relative(one.read(drive, side), other.read(drive, side)) < 1e-7


def test_sensitivities_are_those_of_differences(rng):
    conductance = rng.uniform(5e-6, 1e-4, (4, 3))
    crossbar = xs.Crossbar(conductance, 5.0, 5.0, 50.0, 25.0, device=CELL)
    drive, weight = rng.uniform(0, 0.5, 4), rng.standard_normal(3)
    found = Sensitivity(crossbar, drive).vjp(weight).conductance
    direction, step = 1e-6 * rng.standard_normal((4, 3)), 1e-2

    def value(t):
        moved = xs.Crossbar(conductance + t * direction, 5.0, 5.0, 50.0, 25.0, device=CELL)
        with xs.get_engine("nodal").program(moved) as session:
            return weight @ session.read(drive)

    assert np.vdot(found, direction) == pytest.approx((value(step) - value(-step)) / (2 * step), rel=1e-5)


def test_a_csv_as_a_user_would_bring_it(tmp_path):
    rows = [(g, v, g * v * (1 + v * v)) for g in (1e-5, 1e-4) for v in (0.5, 0.0, 0.25)]
    text = "conductance_S,volts,amperes,note\n" + "".join(f"{g},{v},{i},x\n" for g, v, i in rows)
    (tmp_path / "iv.csv").write_text(text)
    cell = TableCell.from_csv(tmp_path / "iv.csv")
    assert cell.current(np.array(1e-4), np.array(0.5)) == pytest.approx(1e-4 * 0.5 * 1.25)
    with xs.program([[1.0, -0.5]], xs.Design(device=cell, g_min=1e-5, g_max=1e-4, v_read=0.4)) as matrix:
        assert matrix.mv([1.0, 1.0]).shape == (1,)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: sinh_table(levels=(1e-5,)), "conductance must be a sequence with at least 2"),
        (lambda: TableCell((1e-5, 1e-4), [[0, 0.1]] * 2, [[0, 1e-6], [0, np.nan]]), "amperes must be"),
        (lambda: TableCell((1e-5, 1e-4), [[0, 0.1, 0.1]] * 2, [[0, 1e-6, 2e-6]] * 2), "0.1 V twice"),
        (lambda: TableCell((1e-5, 1e-4), [[0, 0.1, 0.2]] * 2, [[0, 2e-6, 1e-6]] * 2), "current falls at 0.2 V"),
        (lambda: TableCell((1e-5, 1e-4), [[0, 0.1]] * 2, [[1e-6, 2e-6]] * 2), "no current at 0 V"),
        (lambda: TableCell((1e-5, 1e-4), [[0, 0.1]] * 2, [[0, 2e-6], [0, 1e-6]]), "must not fall with the conductance"),
        (lambda: TableCell((1e-5, 1e-4), [[0, 0.1], [0, 0.2]], [[0, 1e-6], [0, 1e-5]]), "end at the same voltages"),
        (lambda: TableCell((1e-5, 1e-4), [[0, 0.1]], [[0, 1e-6]]), "as many curves"),
        (lambda: CELL.current(np.array([2e-4]), np.array([0.1])), "knows no cell of 0.0002 S"),
    ],
)
def test_tables_that_are_no_cell_are_refused(make, message):
    with pytest.raises(DeviceError, match=message):
        make()
