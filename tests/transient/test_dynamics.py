"""Pulsed reads: closed forms, an independent integration, laws in time, and ngspice beside the modes."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from support import engine_or_skip, relative, truth

from xbar_spice.engines.nodal.solution import solve_array
from xbar_spice.engines.registry import get_engine
from xbar_spice.errors import ConvergenceError, DeviceError, InvalidInputError
from xbar_spice.hardware.cells import OneTransistorOneResistor, Polynomial, Sinh
from xbar_spice.hardware.crossbar import SIDES, Crossbar, Side, Terminations
from xbar_spice.hardware.pulse import LineCapacitance, Pulse
from xbar_spice.spice.device_models import load_device
from xbar_spice.transient import ModalRead, modal, read_pulse
from xbar_spice.transient.modes import excited_modes

LINE = truth("crossbar")["rc_line"]
HELD = LineCapacitance(c_word=2e-16, c_bit=3e-16, c_cell=1e-16)
PULSE = Pulse(width=2e-11, rise=1e-12)
STEP = Pulse(width=math.inf)
WIRED = (1.0, 2.0, 200.0, 50.0)
TERMINATIONS = [
    Terminations(drive, transposed)
    for drive in ("single", "double")
    for transposed in ("same_ends", "swapped_ends", "far_ends")
]


@pytest.fixture
def ngspice() -> None:
    engine_or_skip("ngspice")


def random_array(rng, shape=(5, 4), wires=WIRED, **options):
    conductance = 10 ** rng.uniform(-5, -3.5, shape)
    conductance[rng.random(shape) < 0.15] = 0.0
    return Crossbar(conductance, *wires, **options)


def rc_line(cells=LINE["N"], r=LINE["r"], g=1e-13, **options):
    """A word line whose cells tap its voltage: with bit lines of no resistance, current j is g V_j."""
    return Crossbar(np.full((1, cells), g), r_word=r, **options)


# --- closed forms -----------------------------------------------------------------------------------------------------


def test_rc_line_closed_form():
    read = read_pulse(rc_line(), [0.2], STEP, LineCapacitance(c_word=LINE["c"]))
    last = read.currents(np.array([LINE["elmore"]]))[-1] / read.settled[-1]
    assert last == pytest.approx(LINE["V_N_at_elmore"], rel=1e-9)


@pytest.mark.ngspice
def test_rc_line_closed_form_by_ngspice(ngspice):
    pulse = Pulse(width=10 * LINE["elmore"], rise=1e-3 * LINE["elmore"])
    read = read_pulse(rc_line(), [0.2], pulse, LineCapacitance(c_word=LINE["c"]), engine="ngspice", accuracy=1e-4)
    last = read.currents(np.array([LINE["elmore"] + pulse.rise / 2]))[-1] / read.settled[-1]
    assert last == pytest.approx(LINE["V_N_at_elmore"], rel=1e-4)


def test_rc_line_falls_behind_by_elmores_delay():
    read = read_pulse(rc_line(), [0.2], STEP, LineCapacitance(c_word=LINE["c"]))
    missing = np.trapezoid(1.0 - read.currents(read.times)[-1] / read.settled[-1], read.times)
    assert missing == pytest.approx(LINE["r"] * LINE["c"] * LINE["N"] * (LINE["N"] + 1) / 2, rel=1e-4)


def test_time_constants_of_a_loaded_line():
    cells, r, c, g = 12, 2.0, 2e-16, 1e-3
    read = read_pulse(rc_line(cells, r, g), [0.2], STEP, LineCapacitance(c_word=c))
    count = np.arange(1, cells + 1)
    eigenvalues = 2 - 2 * np.cos((2 * count - 1) * np.pi / (2 * cells + 1))
    assert isinstance(read, ModalRead)
    assert read.time_constants[::-1] == pytest.approx(c / (eigenvalues / r + g), rel=1e-9)


@pytest.mark.ngspice
@pytest.mark.parametrize("engine", ["modal", "ngspice"])
def test_energy_of_charging_a_capacitor_through_a_resistor(engine):
    if engine == "ngspice":
        engine_or_skip("ngspice")
    r, c, volts = 1e3, 1e-15, 0.2
    pulse = Pulse(width=30 * r * c, rise=0.5 * r * c)
    read = read_pulse(Crossbar([[0.0]], r_driver=r), [volts], pulse, LineCapacitance(c_word=c), engine=engine)
    # The current of a ramp is C V / T (1 - exp(-t / RC)) until T.
    x = r * c / pulse.rise
    heat = c * volts**2 * x * (1 - x * (1 - math.exp(-1 / x)))
    charged, done = read.energy(until=pulse.top_end), read.energy()
    tolerance = 1e-9 if engine == "modal" else 1e-3
    assert charged.stored == pytest.approx(0.5 * c * volts**2, rel=tolerance)
    assert charged.periphery == pytest.approx(heat, rel=tolerance)
    assert done.periphery == pytest.approx(2 * heat, rel=tolerance)
    assert done.total == pytest.approx(2 * heat, rel=tolerance)
    assert done.stored < 1e-12 * charged.stored


# --- an independent integration ---------------------------------------------------------------------------------------


def kirchhoff_in_time(crossbar, side, drive, pulse, held, t):
    """Sense currents at times t, and joule in cells, wires, periphery and from the sources, by an implicit Runge-Kutta
    method on equations that are put together element by element; every resistance is above 0."""
    rows, cols = crossbar.shape
    parts = {"cells": [], "wires": [], "periphery": []}
    parts["cells"] = [(("w", i, j), ("b", i, j), g) for (i, j), g in np.ndenumerate(crossbar.conductance) if g > 0]
    parts["wires"] = [(("w", i, j), ("w", i, j + 1), 1 / crossbar.r_word) for i in range(rows) for j in range(cols - 1)]
    parts["wires"] += [(("b", i, j), ("b", i + 1, j), 1 / crossbar.r_bit) for i in range(rows - 1) for j in range(cols)]
    farads = {("w", i, j): held.c_word for i in range(rows) for j in range(cols)}
    farads |= {("b", i, j): held.c_bit for i in range(rows) for j in range(cols)}
    nodes = {node: k for k, node in enumerate(farads)}
    hookup, pins = crossbar.hookup(side), {}
    near = {"left": lambda k: ("w", k, 0), "right": lambda k: ("w", k, cols - 1)}
    near |= {"top": lambda k: ("b", 0, k), "bottom": lambda k: ("b", rows - 1, k)}
    for edge in hookup.driven + hookup.sensed:
        of = "rows" if edge in ("left", "right") else "cols"
        segment, resistance = crossbar.segment_resistance(of), getattr(crossbar, crossbar.resistance_names(side)[of])
        for line in range(crossbar.ports(of)):
            pin = (edge, line)
            pins[pin] = (edge in hookup.driven, line)
            total = segment + resistance
            parts["wires"].append((pin, near[edge](line), segment / total**2))
            parts["periphery"].append((pin, near[edge](line), resistance / total**2))
    nodes |= {pin: len(nodes) + k for k, pin in enumerate(pins)}

    def laplacian(branches):
        matrix = np.zeros((len(nodes), len(nodes)))
        for a, b, value in branches:
            p, q = nodes[a], nodes[b]
            matrix[[p, q], [p, q]] += value
            matrix[[p, q], [q, p]] -= value
        return matrix

    by_part = {name: laplacian(branches) for name, branches in parts.items()}
    G, inner = sum(by_part.values()), len(farads)
    C = laplacian([(a, b, held.c_cell) for a, b, _ in parts["cells"]]) + np.diag([*farads.values()] + [0] * len(pins))
    at_pins = np.array([drive[line] if driven else 0.0 for driven, line in pins.values()])
    solve = np.linalg.inv(C[:inner, :inner])
    unit = pulse.rise  # seconds and joule as numbers of order 1
    scale = float(at_pins @ at_pins) * np.abs(G).max() * unit

    def voltages(time, state):
        shape = np.interp(time, [0, pulse.rise, pulse.top_end, pulse.end], [0, 1, 1, 0])
        return np.concatenate([state[:inner], at_pins * shape])

    def rate(time, state):
        e = voltages(time * unit, state)
        spent = [e @ part @ e for part in by_part.values()] + [e[inner:] @ (G @ e)[inner:]]
        return np.concatenate([-unit * (solve @ (G @ e)[:inner]), np.array(spent) * unit / scale])

    state, found = np.zeros(inner + 4), []
    for first, last in pairwise([0.0, pulse.rise, pulse.top_end, pulse.end, pulse.cycle]):
        inside = t[(t >= first) & (t < last)]
        run = solve_ivp(rate, (first / unit, last / unit), state, "Radau", [*(inside / unit), last / unit],
                        rtol=1e-9, atol=1e-12)  # fmt: skip
        found += [voltages(time, column) for time, column in zip(inside, run.y.T, strict=False)]
        state = run.y[:, -1]
    into = -(G @ np.array(found).T)[inner:]
    sensed = np.zeros((crossbar.ports("cols" if side == "rows" else "rows"), t.size))
    for (driven, line), current in zip(pins.values(), into, strict=True):
        if not driven:
            sensed[line] += current
    return sensed, state[inner:] * scale


@pytest.mark.parametrize("terminations", TERMINATIONS[::2], ids=lambda t: f"{t.drive}-{t.transposed}")
def test_modes_agree_with_an_implicit_runge_kutta_method(terminations, rng):
    side: Side = "rows" if terminations.transposed == "same_ends" else "cols"
    crossbar = random_array(rng, (3, 4), (3.0, 2.0, 200.0, 50.0), terminations=terminations)
    drive = rng.uniform(-0.2, 0.2, crossbar.ports(side))
    pulse = Pulse(width=3e-12, rise=5e-13, rest=2e-12)
    t = np.linspace(0, pulse.cycle, 40, endpoint=False)
    currents, joule = kirchhoff_in_time(crossbar, side, drive, pulse, HELD, t)
    read = read_pulse(crossbar, drive, pulse, HELD, side)
    energy = read.energy()
    assert relative(read.currents(t), currents) < 1e-7
    assert relative([energy.cells, energy.wires, energy.periphery, energy.total], joule) < 1e-7


def test_a_space_that_is_cut_short_gives_the_waveforms_of_the_whole(rng, monkeypatch):
    crossbar = random_array(rng, (14, 12), (5.0, 5.0, 1000.0, 100.0))
    drive = rng.uniform(0, 0.2, 14)
    short = ModalRead(crossbar, "rows", drive, PULSE, HELD)
    monkeypatch.setattr(modal, "excited_modes", lambda *given: excited_modes(*given, tolerance=0.0))
    whole = ModalRead(crossbar, "rows", drive, PULSE, HELD)
    assert short.time_constants.size < 0.5 * whole.time_constants.size
    assert relative(short.currents(short.times), whole.currents(short.times)) < 1e-8
    assert short.settling_times(1e-4) == pytest.approx(whole.settling_times(1e-4), rel=1e-6)
    assert [short.energy().cells, short.energy().wires, short.energy().periphery] == pytest.approx(
        [whole.energy().cells, whole.energy().wires, whole.energy().periphery], rel=1e-7
    )


# --- laws -------------------------------------------------------------------------------------------------------------

LINES = [(0, 0, 0, 0), (1, 0, 0, 0), (0, 2, 0, 10), (0, 0, 100, 0), (1, 2, 0, 0), (0, 0, 100, 20), WIRED]


@pytest.mark.parametrize(
    "held", [HELD, LineCapacitance(c_word=2e-16), LineCapacitance(c_cell=2e-16), LineCapacitance()]
)
@pytest.mark.parametrize("wires", LINES, ids=str)
@pytest.mark.parametrize("side", SIDES)
def test_energy_is_balanced_and_currents_settle_at_the_static_read(wires, side, held, rng):
    crossbar = random_array(rng, wires=wires)
    drive = rng.uniform(-0.2, 0.2, crossbar.ports(side))
    read = read_pulse(crossbar, drive, PULSE, held, side)
    for until in (0.5 * PULSE.rise, PULSE.rise, 5e-12, PULSE.top_end, PULSE.end, None):
        assert abs(read.energy(until).balance_error) < 1e-9
    static = get_engine("nodal").program(crossbar).read(drive, side)
    assert read.settled == pytest.approx(static, rel=1e-9, abs=1e-20)
    assert read.currents(np.array([0.999 * PULSE.top_end]))[:, 0] == pytest.approx(static, rel=1e-9, abs=1e-16)


def test_currents_superpose(rng):
    crossbar, t = random_array(rng), np.linspace(0, PULSE.cycle, 50)
    first, second = rng.uniform(-0.2, 0.2, (2, 5))
    one, other, both = (
        read_pulse(crossbar, drive, PULSE, HELD).currents(t) for drive in (first, second, 2 * first - second)
    )
    assert relative(2 * one - other, both) < 1e-8


def test_reciprocity_holds_at_every_moment(rng):
    crossbar, t = random_array(rng), np.linspace(0, PULSE.cycle, 50)
    forward = [read_pulse(crossbar, drive, PULSE, HELD).currents(t) for drive in np.eye(5)]
    backward = [read_pulse(crossbar, drive, PULSE, HELD, "cols").currents(t) for drive in np.eye(4)]
    assert relative(np.swapaxes(backward, 0, 1), forward) < 1e-8


def test_time_scales_with_resistance_times_capacitance(rng):
    crossbar, drive = random_array(rng), rng.uniform(0, 0.2, 5)
    slow = Crossbar(crossbar.conductance / 10, *(10 * r for r in WIRED))
    held = LineCapacitance(2 * HELD.c_word, 2 * HELD.c_bit, 2 * HELD.c_cell)
    one = read_pulse(crossbar, drive, PULSE, HELD)
    twenty = read_pulse(slow, drive, Pulse(20 * PULSE.width, 20 * PULSE.rise), held)
    assert twenty.settling_times(0.01) == pytest.approx(20 * one.settling_times(0.01), rel=1e-6)
    assert twenty.energy().total == pytest.approx(2 * one.energy().total, rel=1e-9)


def test_settling_takes_longer_on_longer_lines_and_to_a_finer_accuracy():
    def settling(cells, accuracy):
        crossbar = Crossbar(np.full((cells, cells), 2e-5), 1.0, 1.0, 500.0, 100.0)
        return read_pulse(crossbar, np.full(cells, 0.2), STEP, HELD).settling_time(accuracy)

    times = np.array([[settling(cells, accuracy) for accuracy in (0.1, 0.01, 1e-3)] for cells in (2, 4, 8, 16)])
    assert (np.diff(times, axis=0) > 0).all()
    assert (np.diff(times, axis=1) > 0).all()


def test_a_current_may_settle_right_before_the_drive_falls():
    """However long the drive stays on, the time is that of a drive that never falls, or infinite if it comes later."""
    line = Crossbar([[1e-4] * 16], r_word=2.0)
    held = LineCapacitance(c_word=2e-16)
    settled = read_pulse(line, [0.2], Pulse(width=math.inf, rise=1e-14), held).settling_time(0.01)
    for part in (0.5, 0.98, 0.9999, 1.0001, 1.001, 1.005, 1.01, 1.019, 1.03, 1.5):
        pulse = Pulse(width=part * settled - 1e-14, rise=1e-14)
        found = read_pulse(line, [0.2], pulse, held).settling_time(0.01)
        assert found == (math.inf if part < 1 else pytest.approx(settled, rel=1e-9))


def test_after_the_settling_time_a_current_stays_within_the_accuracy(rng):
    crossbar = random_array(rng)
    read = read_pulse(crossbar, rng.uniform(-0.2, 0.2, 5), PULSE, HELD)
    for reference in ("each", "largest"):
        size = np.abs(read.settled) if reference == "each" else np.abs(read.settled).max()
        for line, moment in enumerate(read.settling_times(0.01, reference)):
            off = np.abs(read.currents(np.linspace(moment, 0.99 * PULSE.top_end, 200))[line] - read.settled[line])
            before = np.abs(read.currents(np.array([0.99 * moment]))[line] - read.settled[line])
            allowed = 0.01 * np.broadcast_to(size, read.settled.shape)[line]
            assert off.max() <= allowed * (1 + 1e-9)
            assert before[0] > allowed


def test_a_pulse_that_is_too_short_never_settles():
    crossbar = Crossbar([[1e-4]], r_driver=1e3)
    read = read_pulse(crossbar, [0.2], Pulse(width=1e-13, rise=1e-14), LineCapacitance(c_word=1e-15))
    assert read.settling_times(0.01).tolist() == [math.inf]


def test_lines_that_carry_nothing():
    crossbar = Crossbar([[1e-4, 0.0], [1e-4, 0.0], [0.0, 0.0]], *WIRED, open_rows=(1, 2))
    read = read_pulse(crossbar, [0.2, 0.1, 0.1], PULSE, HELD)
    assert read.settling_times(0.01, "largest")[1] == 0.0
    assert read.energy().delivered[1:].tolist() == [0.0, 0.0]
    word, _ = read.voltages(np.array([PULSE.top_end]))
    assert 0 < word[1, 0, 0] < 0.2  # floats between the lines that its cells lead to
    assert not word[2].any()
    still = read_pulse(crossbar, np.zeros(3), PULSE, HELD)
    assert not still.currents(still.times).any()
    assert still.energy().balance_error == 0.0


def test_the_end_of_a_read_is_an_uncharged_array(rng):
    read = read_pulse(random_array(rng), rng.uniform(0, 0.2, 5), PULSE, HELD)
    end = np.array([PULSE.cycle])
    assert read.energy(until=PULSE.top_end).stored > 1e-18
    assert read.energy().stored < 1e-30
    assert np.abs(read.voltages(end)).max() < 1e-12
    assert np.abs(read.currents(end)).max() < 1e-15


def test_a_longer_read_costs_the_static_power_for_as_long(rng):
    crossbar, drive = random_array(rng), rng.uniform(0, 0.2, 5)
    short, long = (read_pulse(crossbar, drive, Pulse(width, 1e-12), HELD).energy() for width in (3e-11, 8e-11))
    stays = read_pulse(crossbar, drive, STEP, HELD)
    solution = solve_array(crossbar, drive)
    assert stays.energy(1.0).total - stays.energy(0.5).total == pytest.approx(0.5 * solution.source_power, rel=1e-9)
    assert long.total - short.total == pytest.approx(5e-11 * solution.source_power, rel=1e-7)
    assert long.cells - short.cells == pytest.approx(5e-11 * solution.cell_power.sum(), rel=1e-7)
    assert long.periphery - short.periphery == pytest.approx(5e-11 * solution.periphery_power, rel=1e-7)


def test_charge_that_comes_out_is_the_static_current_times_the_pulse(rng):
    # The lines are empty before and after, so what they took they gave back: to the drivers and to the terminals.
    read = read_pulse(random_array(rng), rng.uniform(0, 0.2, 5), PULSE, HELD)
    t = np.linspace(0, PULSE.cycle, 20001)
    charge = np.trapezoid(read.currents(t), t, axis=1)
    assert charge == pytest.approx(read.settled * (PULSE.width + PULSE.rise), rel=1e-5)


# --- ngspice ----------------------------------------------------------------------------------------------------------


@pytest.mark.ngspice
@pytest.mark.parametrize(
    ("wires", "terminations", "side"),
    [
        (WIRED, TERMINATIONS[0], "rows"),
        (WIRED, TERMINATIONS[5], "cols"),
        ((0, 2, 0, 10), TERMINATIONS[0], "cols"),
        ((0, 0, 100, 20), TERMINATIONS[1], "rows"),
    ],
    ids=str,
)
def test_ngspice_agrees_with_the_modes(ngspice, wires, terminations, side, rng):
    crossbar = random_array(rng, wires=wires, terminations=terminations, open_rows=(1,))
    drive = rng.uniform(0.05, 0.2, crossbar.ports(side))
    exact = read_pulse(crossbar, drive, PULSE, HELD, side)
    read = read_pulse(crossbar, drive, PULSE, HELD, side, engine="ngspice")
    t = np.linspace(0.3e-12, PULSE.cycle, 100, endpoint=False)
    t = t[np.abs(np.subtract.outer(t, [PULSE.rise, PULSE.top_end, PULSE.end])).min(axis=1) > 1e-13]
    assert read.settled == pytest.approx(exact.settled, rel=1e-9)
    assert relative(read.currents(t), exact.currents(t)) < 2e-3
    assert relative(read.source_currents(t), exact.source_currents(t)) < 2e-3
    for found, wanted in zip(read.voltages(t), exact.voltages(t), strict=True):
        assert np.abs(found - wanted).max() < 2e-3 * 0.2
    assert read.settling_times(0.01) == pytest.approx(exact.settling_times(0.01), rel=2e-3)
    for until in (5e-12, None):
        found, wanted = read.energy(until), exact.energy(until)
        parts = [(e.cells, e.wires, e.periphery, e.stored) for e in (found, wanted)]
        assert np.abs(np.subtract(*parts)).max() < 1e-4 * wanted.total
        assert relative(found.delivered, wanted.delivered) < 1e-4
        assert abs(found.balance_error) < 1e-4


@pytest.mark.ngspice
def test_ngspice_comes_nearer_to_the_modes_with_its_accuracy(ngspice, rng):
    crossbar, drive = random_array(rng), rng.uniform(0.05, 0.2, 5)
    exact = read_pulse(crossbar, drive, PULSE, HELD).settling_times(0.01)
    for accuracy in (1e-2, 1e-3, 1e-4):
        read = read_pulse(crossbar, drive, PULSE, HELD, engine="ngspice", accuracy=accuracy)
        assert read.settling_times(0.01) == pytest.approx(exact, rel=2 * accuracy)


@pytest.mark.ngspice
@pytest.mark.parametrize(
    "device", [Sinh(0.1), Polynomial(), OneTransistorOneResistor(), load_device("hfo2_milo2021")], ids=str
)
def test_energy_is_balanced_for_nonlinear_cells(ngspice, device, rng):
    crossbar = Crossbar(rng.uniform(5e-5, 2e-4, (4, 3)), *WIRED, device=device)
    drive = rng.uniform(0.05, 0.3, 4)
    read = read_pulse(crossbar, drive, PULSE, HELD, engine="ngspice")
    ohmic = read_pulse(Crossbar(crossbar.conductance, *WIRED), drive, PULSE, HELD)
    assert read.settled == pytest.approx(get_engine("nodal").program(crossbar).read(drive), rel=1e-7)
    assert abs(read.energy(5e-12).balance_error) < 1e-4
    assert abs(read.energy().balance_error) < 1e-4
    assert abs(read.energy().total / ohmic.energy().total - 1) > 1e-3
    assert read.settling_time(0.01) < PULSE.width


@pytest.mark.ngspice
def test_cells_that_are_all_but_ohmic_behave_like_ohmic_ones(ngspice, rng):
    crossbar, drive = random_array(rng), rng.uniform(0.05, 0.2, 5)
    bent = Crossbar(crossbar.conductance, *WIRED, device=Sinh(1e3))
    read, exact = (
        read_pulse(bent, drive, PULSE, HELD, engine="ngspice"),
        read_pulse(crossbar, drive, PULSE, HELD),
    )
    assert read.settling_times(0.01) == pytest.approx(exact.settling_times(0.01), rel=2e-3)
    assert read.energy().total == pytest.approx(exact.energy().total, rel=1e-4)


# --- what is refused --------------------------------------------------------------------------------------------------


def test_values_are_checked():
    with pytest.raises(InvalidInputError, match=r"width of a pulse must be >= 0 s, got -1"):
        Pulse(width=-1.0)
    with pytest.raises(InvalidInputError, match=r"rise of a pulse must be finite and >= 0 s, got inf"):
        Pulse(width=1.0, rise=math.inf)
    with pytest.raises(InvalidInputError, match=r"a rise or a width above 0 s"):
        Pulse(width=0.0)
    with pytest.raises(InvalidInputError, match=r"c_bit must be finite and >= 0 F, got -1e-15"):
        LineCapacitance(c_bit=-1e-15)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"drive": [0.1]}, InvalidInputError, r"one finite drive of shape \(5,\), got \(1,\)"),
        ({"drive": [np.nan] * 5}, InvalidInputError, "finite drive"),
        ({"engine": "spectre"}, InvalidInputError, "one of 'modal', 'ngspice', got 'spectre'"),
        ({"accuracy": 1e-3}, InvalidInputError, "takes no options, got accuracy"),
        ({"engine": "ngspice", "tolerance": 1}, InvalidInputError, "time_limit and netlists, got tolerance"),
        ({"engine": "ngspice", "pulse": STEP}, InvalidInputError, "rise and a finite width above 0 s"),
        ({"engine": "ngspice", "accuracy": 2.0}, InvalidInputError, "between 0 and 1, got 2"),
        ({"crossbar": Crossbar(np.full((5, 4), 1e-4), device=Sinh())}, DeviceError, "these are Sinh: use engine='ngsp"),
        (
            {"crossbar": Crossbar(np.full((5, 4), 1e-4)), "pulse": STEP},
            InvalidInputError,
            "step draws an infinite curr",
        ),
    ],
    ids=str,
)
def test_what_cannot_be_solved_says_why(changes, error, message, rng):
    given = {"crossbar": random_array(rng), "drive": np.ones(5), "pulse": PULSE, "capacitance": HELD}
    with pytest.raises(error, match=message):
        read_pulse(**(given | changes))


def test_what_cannot_be_answered_says_why(rng, monkeypatch):
    read = read_pulse(random_array(rng), np.ones(5), STEP, HELD)
    with pytest.raises(InvalidInputError, match="a drive that stays on needs a moment to stop at"):
        read.energy()
    with pytest.raises(InvalidInputError, match="until=-1"):
        read.energy(-1.0)
    with pytest.raises(InvalidInputError, match="until=1"):
        read_pulse(random_array(rng), np.ones(5), PULSE, HELD).energy(1.0)
    with pytest.raises(InvalidInputError, match="between 0 and 1, got 0"):
        read.settling_times(0.0)
    with pytest.raises(InvalidInputError, match="'each' or 'largest', got 'worst'"):
        read.settling_times(0.01, "worst")
    monkeypatch.setattr("xbar_spice.transient.modes.MOST_VECTORS", 5)
    with pytest.raises(ConvergenceError, match="do not converge with 5 vectors"):
        read_pulse(random_array(rng), np.ones(5), STEP, HELD)
