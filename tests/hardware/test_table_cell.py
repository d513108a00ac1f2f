"""Measured cells: every engine has the same interpolant, and tables that cannot be one are refused."""

from dataclasses import replace

import numpy as np
import pytest
from support import engine_or_skip, relative

import xbar_spice as xs
from xbar_spice.cosim import circuit_gradients, program_model
from xbar_spice.cosim.gradients.true_gradient import weight_gradients
from xbar_spice.cosim.run.cosimulation import solve_model
from xbar_spice.engines.nodal.sensitivity import Sensitivity
from xbar_spice.errors import DeviceError
from xbar_spice.hardware.reads import across_cells, read_ends
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


def test_a_curve_without_0_volts_is_led_through_the_origin():
    v = np.array([-0.5, -0.2, 0.1, 0.3, 0.5])
    cell = TableCell((1e-5, 1e-4), [v] * 2, [g * (v + 4 * v**3) for g in (1e-5, 1e-4)])
    assert cell.current(np.array(5e-5), np.array(0.0)) == 0
    assert cell.current(np.array(1e-4), v) == pytest.approx(1e-4 * (v + 4 * v**3), rel=1e-12)


def test_the_error_of_the_fit_is_that_of_what_was_left_out():
    coarse, fine = (sinh_table(np.linspace(-0.6, 0.6, n)).left_out() for n in (7, 25))
    assert coarse.voltage > 20 * fine.voltage > 0
    assert coarse.conductance == pytest.approx(0, abs=1e-12)  # the law is proportional to the conductance
    bent = TableCell((1e-5, 2e-5, 3e-5), [[0, 0.5]] * 3, [[0, 1e-6], [0, 5e-6], [0, 7e-6]])
    assert bent.left_out() == pytest.approx((0, 1 / 5))


CALLS = {
    "ideal": lambda crossbar, drive, side: _read("ideal", crossbar, drive, side),
    "nodal": lambda crossbar, drive, side: _read("nodal", crossbar, drive, side),
    "ngspice": lambda crossbar, drive, side: _read("ngspice", crossbar, drive, side),
    "sensitivity": Sensitivity,
    "inside": xs.solve_array,
    "deck": xs.netlist,
}


def _read(engine, crossbar, drive, side):
    with engine_or_skip(engine).program(crossbar) as session:
        return session.read(drive, side)


@pytest.mark.parametrize("side", ["rows", "cols"])
@pytest.mark.parametrize("who", CALLS)
def test_voltages_beyond_the_table_are_refused_everywhere(who, side):
    crossbar = xs.Crossbar(np.full((3, 3), 5e-5), 1.0, 1.0, 10.0, 10.0, device=CELL)
    CALLS[who](crossbar, np.array([0.55, 0.0, -0.55]), side)  # wires of little resistance: no cell sees 1.1 V
    with pytest.raises(DeviceError, match=r"known from -0.6 to 0.6 V: lower v_read, or measure further"):
        CALLS[who](crossbar, np.array([0.1, 0.0, -0.7]), side)


@pytest.mark.parametrize("side", ["rows", "cols"])
def test_a_table_of_two_polarities_counts_from_word_line_to_bit_line(side):
    v = np.linspace(-0.2, 0.6, 9)
    cell = TableCell((1e-6, 1e-4), [v] * 2, [g * v for g in (1e-6, 1e-4)])
    crossbar, sign = xs.Crossbar(np.full((2, 2), 5e-5), device=cell), 1.0 if side == "rows" else -1.0
    _read("nodal", crossbar, sign * np.array([0.6, -0.2]), side)
    with pytest.raises(DeviceError, match="lower v_read"):
        _read("nodal", crossbar, -sign * np.array([0.6, -0.2]), side)


def test_bounds_of_cell_voltages_hold(rng):
    for resistance in (0.0, 2.0, 300.0):
        crossbar = xs.Crossbar(rng.uniform(1e-6, 1.2e-4, (5, 4)), *[resistance] * 4, device=CELL)
        drive = rng.uniform(-0.25, 0.25, 5)
        low, high = across_cells(crossbar, read_ends(crossbar, "rows", drive))
        inside = xs.solve_array(crossbar, drive).cell_voltages
        assert low <= inside.min() <= inside.max() <= high
        assert high - low <= 2 * np.ptp(drive)


def test_conductances_beyond_the_table_are_refused_when_they_are_programmed(rng):
    with pytest.raises(DeviceError, match=r"knows no cell of 0\.0002 S"):
        xs.Design(device=CELL, g_max=2e-4)
    with pytest.raises(DeviceError, match="a programming error that stays there"):
        xs.map_weights(np.ones((3, 3)), xs.Design(device=CELL, programming="relative(programming=0.5)"), rng=rng)


def test_a_device_file_names_a_table(tmp_path):
    from xbar_spice.study.study_file import parse_study

    g, v = np.meshgrid(LEVELS, np.linspace(0, 0.6, 7))
    rows = "\n".join(f"{a},{b},{a * np.sinh(b)}" for a, b in zip(g.ravel(), v.ravel(), strict=True))
    (tmp_path / "iv.csv").write_text(f"conductance_S,volts,amperes\n{rows}\n")
    (tmp_path / "my.toml").write_text('law = "table"\nfile = "iv.csv"\nsource = "measured"\n')
    cell = xs.load_device(tmp_path / "my.toml")
    assert isinstance(cell, TableCell)
    circuit = {"device": str(tmp_path / "my.toml")}
    study = parse_study({"name": "measured", "model": {"weights": "w.npz"}, "circuit": circuit})
    assert study.points()[0][1].design().device == cell
    (tmp_path / "my.toml").write_text('law = "table"\nfile = "iv.csv"\nparameters = {a = 1}\n')
    with pytest.raises(DeviceError, match="has the keys source, law and file"):
        xs.load_device(tmp_path / "my.toml")


def test_the_true_gradient_of_measured_cells(dense):
    """Against central differences of the analog loss."""
    design = xs.Design(device=CELL, g_min=2e-6, g_max=1e-4, r_word=3.0, r_bit=2.0, r_driver=20.0, headroom=1.5)
    model = replace(dense.model, weight_range=(3.0, 2.0))

    def loss(A):
        changed = replace(model, A=A)
        chip = program_model(changed, design, "nodal", seed=1)
        with chip[0], chip[1]:
            return solve_model(replace(dense, model=changed), xs.ReluField(*chip), xs.SolverOptions()).loss

    A, B = program_model(model, design, "nodal", seed=1)
    with A, B:
        devices = circuit_gradients(replace(dense, model=model), (A, B)).devices
        true = weight_gradients((A, B), devices)["A"]
    direction = np.random.default_rng(3).standard_normal(model.A.shape)
    direction *= np.abs(model.A) > 1e-3  # the law has a corner at each measured conductance, not only at 0
    step = 1e-6
    slope = (loss(model.A + step * direction) - loss(model.A - step * direction)) / (2 * step)
    assert np.vdot(true, direction) == pytest.approx(slope, rel=1e-4, abs=1e-8)
