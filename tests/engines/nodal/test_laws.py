"""Cells with a law of their own under the nodal engine: falling, steep, silent, wrong, and on lines that float."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support import engine_or_skip, exact_network, relative

from xbar_spice.engines.nodal.engine import NodalEngine
from xbar_spice.engines.nodal.sensitivity import Change, Sensitivity
from xbar_spice.engines.nodal.solution import solve_array
from xbar_spice.engines.registry import get_engine
from xbar_spice.errors import ConvergenceWarning, DeviceError, InvalidInputError, SingularCircuitError
from xbar_spice.hardware.amplifier import Amplifier
from xbar_spice.hardware.cells import Device, OneTransistorOneResistor, Polynomial, Sinh
from xbar_spice.hardware.crossbar import Crossbar

FALLING = Polynomial(square=(2e-4,), cube=(1e-4,), g_range=(1e-5, 2e-4))


class Law(Device):
    """A law from two functions of conductance and voltage."""

    linear = False
    template = "none"

    def __init__(self, current, slope):
        self._current, self._slope = current, slope

    def __repr__(self):
        return "Law()"

    def current(self, conductance, voltage):
        return self._current(conductance, voltage)

    def differential_conductance(self, conductance, voltage):
        return self._slope(conductance, voltage)


def threshold(volts):
    """Nothing up to a threshold, beyond it a slope of G."""
    return Law(lambda g, v: g * np.sign(v) * np.maximum(np.abs(v) - volts, 0.0), lambda g, v: g * (np.abs(v) > volts))


def hump(volts=0.3):
    """Up to a hump, down behind it, and up again, as a tunnel diode."""

    def current(g, v):
        x = v / volts
        return g * volts * (x + 5 * x * np.exp(-4 * x**2) + 0.1 * x**3)

    def slope(g, v):
        x = v / volts
        return g * (1 + 5 * np.exp(-4 * x**2) * (1 - 8 * x**2) + 0.3 * x**2)

    return Law(current, slope)


def ways(crossbar, drive, side):
    """The same sense currents, however they are asked for."""
    yield NodalEngine().program(crossbar).read(drive, side)
    yield solve_array(crossbar, drive, side).sense_currents
    yield Sensitivity(crossbar, drive, side).currents[:, 0]


@pytest.mark.ngspice
@pytest.mark.parametrize(("side", "volts"), [("rows", -0.5), ("cols", 0.5)])
def test_falling_currents_are_those_of_ngspice(side, volts):
    crossbar = Crossbar(np.full((16, 16), 5e-5), 2, 2, 100, 50, device=FALLING)
    drive = np.full(16, volts)
    with engine_or_skip("ngspice").program(crossbar) as session:
        wanted = session.read(drive, side)
    for found in ways(crossbar, drive, side):
        assert relative(found, wanted) < 1e-9


@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    resistances=st.tuples(*[st.sampled_from([1.0, 50.0])] * 2, *[st.sampled_from([0.0, 100.0, 1e3, 1e8])] * 2),
    law=st.one_of(
        st.tuples(st.floats(-3e-4, 3e-4), st.floats(5e-5, 3e-4)), st.sampled_from([0.01, 0.1]).map(lambda v0: (v0,))
    ),
    open_rows=st.sampled_from([(), (0,)]),
    size=st.sampled_from([0.1, 0.5]),
    side=st.sampled_from(["rows", "cols"]),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=30)
def test_every_solution_found_is_one_by_equations_of_50_digits(shape, resistances, law, open_rows, size, side, seed):
    rng = np.random.default_rng(seed)
    if len(law) == 1:
        device, exact = Sinh(*law), exact_network.Sinh(*law)
    else:
        device, exact = Polynomial((law[0],), (law[1],), (1e-9, 1e-2)), exact_network.Cubic(*law)
    crossbar = Crossbar(10 ** rng.uniform(-5, -4, shape), *resistances, device=device, open_rows=open_rows)
    drive = rng.uniform(-size, size, crossbar.ports(side))
    try:
        inside = solve_array(crossbar, drive, side)
    except ConvergenceWarning:
        assume(False)
    wanted, gross = exact_network.currents(crossbar, drive, side, exact, inside.cell_voltages)
    for found in ways(crossbar, drive, side):
        assert exact_network.misses(found, wanted, gross) <= 10


@pytest.mark.parametrize("terminals", [(100, 50), (1000, 1000), (0, 50)], ids=str)
@pytest.mark.parametrize("ratio", [45, 60, 80, 100, 1000])
def test_steep_cells(ratio, terminals, rng):
    crossbar = Crossbar(10 ** rng.uniform(-5, -4, (4, 3)), 1, 1, *terminals, device=Sinh(0.01))
    drive = 0.01 * ratio * rng.uniform(-1, 1, 4)
    inside = solve_array(crossbar, drive)
    wanted, _ = exact_network.currents(crossbar, drive, "rows", exact_network.Sinh(0.01), inside.cell_voltages)
    for found in ways(crossbar, drive, "rows"):
        assert np.abs(found / wanted.astype(float) - 1).max() < 1e-9


@pytest.mark.ngspice
def test_steep_cells_agree_with_ngspice_where_that_finds_the_solution(rng):
    crossbar = Crossbar(10 ** rng.uniform(-5, -4, (8, 8)), 1, 1, 100, 50, device=Sinh(0.01))
    drive = rng.uniform(-0.45, 0.45, 8)
    with engine_or_skip("ngspice").program(crossbar) as session:
        assert relative(NodalEngine().program(crossbar).read(drive), session.read(drive)) < 1e-9


@pytest.mark.parametrize("open_rows", [(), (0, 2)])
def test_cells_that_do_not_conduct_make_no_circuit_singular(open_rows, rng):
    crossbar = Crossbar(np.full((4, 4), 1e-4), 1, 1, 0, 50, device=threshold(0.1), open_rows=open_rows)
    drive = np.array([0.3, 0.05, -0.05, 0.5])
    for side in ("rows", "cols"):
        found = NodalEngine().program(crossbar).read(drive, side)
        assert np.isfinite(found).all()
        assert relative(Sensitivity(crossbar, drive, side).currents[:, 0], found) < 1e-9


SLIPS = {
    "factor": lambda g, v: g + g * v**2,
    "sign": lambda g, v: -g - 3 * g * v**2,
    "term left out": lambda g, v: g + 0 * v,
    "not a number": lambda g, v: np.nan * g * v,
}


@pytest.mark.parametrize("slope", SLIPS.values(), ids=SLIPS)
def test_a_slip_in_the_slope_is_found(slope):
    crossbar = Crossbar(np.full((3, 3), 5e-5), 1, 1, 100, 50, device=Law(lambda g, v: g * v + g * v**3, slope))
    reads = [
        lambda: NodalEngine().program(crossbar).read(np.full(3, 0.3)),
        lambda: NodalEngine().program_bank([crossbar] * 2).read([np.full((3, 1), 0.3)] * 2),
        lambda: solve_array(crossbar, np.full(3, 0.3)),
        lambda: Sensitivity(crossbar, np.full(3, 0.3)),
    ]
    for read in reads:
        with pytest.raises(DeviceError, match=r"Law\(\) does not fit its current: at 5e-05 S and .* V it gives .* S"):
            read()


def test_a_law_is_looked_at_once_for_each_device_and_session():
    calls = []

    def slope(g, v):
        calls.append(v.shape)
        return g + 3 * g * v**2

    crossbar = Crossbar(np.full((3, 3), 5e-5), 1, 1, 100, 50, device=Law(lambda g, v: g * v + g * v**3, slope))
    session = NodalEngine().program(crossbar)
    session.read(np.full(3, 0.3))
    tables = [shape for shape in calls if len(shape) == 2]
    session.read(np.full(3, -0.2))
    assert len(tables) == len([shape for shape in calls if len(shape) == 2]) == 1


def test_right_laws_with_corners_pass(rng):
    crossbar = Crossbar(10 ** rng.uniform(-5, -4, (3, 3)), 1, 1, 100, 50, device=threshold(0.1))
    assert np.isfinite(NodalEngine().program(crossbar).read([0.1, -0.3, 0.2])).all()


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("engine", ["nodal", "ideal"])
def test_a_law_without_numbers_is_named(engine, value):
    law = Law(lambda g, v: np.where(np.abs(v) > 0.2, value, g * v), lambda g, v: g + 0 * v)
    crossbar = Crossbar(np.full((3, 3), 5e-5), 1, 1, 100, 50, device=law)
    with pytest.raises(DeviceError, match=r"Law\(\) gives a current of (nan|inf) at 0\.\d+ V and 5e-05 S"):
        get_engine(engine).program(crossbar).read(np.full(3, 0.3))


def test_a_law_that_never_gives_a_number_is_named():
    crossbar = Crossbar(np.full((3, 3), 5e-5), device=Law(lambda g, v: np.nan * g * v, lambda g, v: g + 0 * v))
    with pytest.raises(DeviceError, match="gives a current of nan at"):
        solve_array(crossbar, np.full(3, 0.3))


def test_a_law_that_is_not_elementwise_is_refused():
    crossbar = Crossbar(np.full((3, 3), 5e-5), device=Law(lambda g, v: 1.0, lambda g, v: g + 0 * v))
    with pytest.raises(DeviceError, match="works elementwise"):
        NodalEngine().program(crossbar).read(np.full(3, 0.3))


def test_numbers_beyond_the_range_of_floats_need_not_be_met(rng):
    crossbar = Crossbar(10 ** rng.uniform(-5, -4, (4, 4)), 1, 1, 100, 50, device=Sinh(1e-3))
    assert np.isfinite(NodalEngine().program(crossbar).read(np.full(4, 5.0))).all()  # 5 V are 5000 v0


@pytest.mark.parametrize("ohm", [5e3, 5e4])
def test_room_for_several_states_is_said(ohm):
    crossbar = Crossbar(np.full((4, 4), 5e-5), 1, 1, ohm, ohm, device=hump())
    with pytest.warns(ConvergenceWarning, match="leave room for more than one state"):
        NodalEngine().program(crossbar).read(np.full(4, 0.4))
    with pytest.warns(ConvergenceWarning, match=r"Law\(\) have slopes down to -.* S up to 0.4 V"):
        solve_array(crossbar, np.full(4, 0.4))


def test_a_single_state_of_falling_cells_is_proven_and_silent():
    crossbar = Crossbar(np.full((4, 4), 5e-5), 1, 1, 100, 50, device=hump())
    first, *others = ways(crossbar, np.full(4, 0.16), "rows")
    assert all(relative(other, first) < 1e-9 for other in others)
    inside = solve_array(crossbar, np.full(4, 0.16))
    assert (crossbar.device.differential_conductance(crossbar.conductance, inside.cell_voltages) < 0).any()


def test_falling_cells_into_amplifiers(rng):
    plain = Crossbar(10 ** rng.uniform(-4.5, -4, (4, 3)), 2, 2, 100, 50, device=FALLING)
    drive = rng.uniform(-0.5, -0.3, 4)
    # An amplifier far from its limits is its input resistance.
    behind = Crossbar(
        plain.conductance, 2, 2, 100, 50 - 1e-3, device=FALLING, amplifier=Amplifier(10.0, 9999.0, saturation=10.0)
    )
    wanted = NodalEngine().program(plain).read(drive)
    assert relative(NodalEngine().program(behind).read(drive) / 0.9999, wanted) < 1e-7


def test_derivatives_of_falling_cells_by_finite_differences(rng):
    crossbar = Crossbar(10 ** rng.uniform(-4.5, -4, (4, 3)), 2, 2, 100, 50, device=FALLING)
    drive, step = rng.uniform(-0.6, -0.3, 4), 1e-4
    operator = Sensitivity(crossbar, drive)
    change = Change(crossbar.conductance * rng.uniform(-1, 1, crossbar.shape))

    def moved(factor):
        near = Crossbar(crossbar.conductance + factor * change.conductance, 2, 2, 100, 50, device=FALLING)
        return NodalEngine(tolerance=1e-13).program(near).read(drive)

    found = operator.jvp(change)[:, 0]
    assert relative(found, (moved(step) - moved(-step)) / (2 * step)) < 1e-6
    weights = rng.normal(size=3)
    assert (operator.vjp(weights).conductance * change.conductance).sum() == pytest.approx(weights @ found, rel=1e-9)


@pytest.mark.parametrize("ohm", [0.0, 1e-3, 1.0])
@pytest.mark.filterwarnings("ignore::xbar_spice.errors.DesignWarning")  # no matter where the law was fitted
@pytest.mark.parametrize("device", [Sinh(0.1), Polynomial(), OneTransistorOneResistor(v_gate=5.0)], ids=repr)
@pytest.mark.parametrize("open_rows", [(0,), (1, 3)])
def test_open_lines_find_their_level(ohm, device, open_rows, rng):
    crossbar = Crossbar(10 ** rng.uniform(-5, -4, (4, 3)), ohm, ohm, device=device, open_rows=open_rows)
    drive = rng.uniform(-0.5, 0.5, 3)
    inside = solve_array(crossbar, drive, "cols")
    law = device.current(crossbar.conductance, inside.cell_voltages)
    size = np.abs(law).max()
    assert np.abs(law - inside.cell_currents).max() < 1e-9 * size
    assert np.abs(inside.cell_currents[list(open_rows)].sum(axis=1)).max() < 1e-10 * size
    assert not inside.sense_currents[list(open_rows)].any()
    assert inside.source_power == pytest.approx(
        inside.cell_power.sum() + inside.word_wire_power.sum() + inside.bit_wire_power.sum(), rel=1e-9
    )
    for found in ways(crossbar, drive, "cols"):
        assert relative(found, inside.sense_currents) < 1e-9


def test_an_open_line_of_two_sinh_cells():
    crossbar = Crossbar([[3e-5, 1e-5], [2e-5, 5e-5]], device=Sinh(0.1), open_rows=(0,))
    inside = solve_array(crossbar, [0.5, -0.3], "cols")
    assert inside.word_voltages[0] == pytest.approx(0.154885911, abs=1e-9)
    assert inside.sense_currents[0] == 0.0


@pytest.mark.parametrize("side", ["rows", "cols"])
def test_an_open_row_beside_a_bit_line_without_cells(side, rng):
    for _ in range(20):
        conductance = 10 ** rng.uniform(-6, -3, (4, 3))
        conductance[:, rng.integers(3)] = 0.0
        ends = rng.choice([0, 1.0, 50.0], 4)
        open_rows, whole = (0, 2), np.delete(conductance, np.flatnonzero(~conductance.any(axis=0)), axis=1)
        drive = rng.uniform(-0.3, 0.3, 4 if side == "rows" else 3)
        crossbar = Crossbar(conductance, *ends, open_rows=open_rows)
        first, *others = ways(crossbar, drive, side)
        assert all(np.abs(other - first).max() <= 1e-9 * np.abs(first).max() for other in others)
        if side == "rows" and not ends[0]:  # without wires the empty line may as well be left out
            kept = first[conductance.any(axis=0)]
            assert relative(kept, NodalEngine().program(Crossbar(whole, *ends, open_rows=open_rows)).read(drive)) < 1e-9


def test_a_line_that_nothing_holds_is_refused_by_name():
    crossbar = Crossbar(np.full((3, 3), 1e-4), 1, 1, 0, 50, device=threshold(0.1), open_rows=(1,))
    drive = np.full(3, 0.05)
    with pytest.raises(SingularCircuitError, match=r"open word lines \[1\] have no level"):
        solve_array(crossbar, drive, "cols")
    assert not NodalEngine().program(crossbar).read(drive, "cols").any()


BAD = {
    "NaN": (np.full((2, 2), np.nan), {}),
    "infinity": (np.full((2, 2), np.inf), {}),
    "shape": (np.zeros((2, 3)), {}),
    "complex": (np.ones((2, 2)) * 1j, {}),
    "text": ([["1", "2"], ["3", "4"]], {}),
    "masked": (np.ma.masked_array(np.ones((2, 2)), mask=np.eye(2)), {}),
    "resistance": (np.zeros((2, 2)), {"r_word": np.nan}),
    "resistance of another kind": (np.zeros((2, 2)), {"r_sense": "1"}),
}


@pytest.mark.parametrize(("conductance", "resistances"), BAD.values(), ids=BAD)
def test_changes_are_looked_at(conductance, resistances):
    operator = Sensitivity(Crossbar(np.full((2, 2), 1e-4), 1, 1), [0.1, 0.2])
    with pytest.raises(InvalidInputError, match="must "):
        operator.jvp(Change(conductance, **resistances))


@pytest.mark.parametrize("weights", [[np.nan, 1.0], [1j, 1.0], ["a", "b"], [1.0, 2.0, 3.0], None])
def test_weights_are_looked_at(weights):
    operator = Sensitivity(Crossbar(np.full((2, 2), 1e-4), 1, 1), [0.1, 0.2])
    with pytest.raises(InvalidInputError, match="weights must"):
        operator.vjp(weights)
    with pytest.raises(InvalidInputError, match="weights must"):
        operator.conductance_gradients(weights)


@pytest.mark.parametrize("drive", [[0.1, np.nan], [0.1j, 0.0], ["0.1", "0"], np.ma.masked_array([0.1, 0.2], [0, 1])])
def test_drives_are_looked_at(drive):
    crossbar = Crossbar(np.full((2, 2), 1e-4), 1, 1)
    for read in (NodalEngine().program(crossbar).read, lambda volts: solve_array(crossbar, volts)):
        with pytest.raises(InvalidInputError, match="drive must be an array of "):
            read(drive)
    with pytest.raises(InvalidInputError, match="jvp takes a Change, got"):
        Sensitivity(crossbar, [0.1, 0.2]).jvp(np.ones((2, 2)))
