"""The ngspice engine and the deck by hand find the same currents, or neither finds any."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from support import engine_or_skip, run_by_hand

from xbar_spice.engines.ngspice.engine import NgspiceEngine
from xbar_spice.engines.ngspice.supervised_circuit import ResidentProcess
from xbar_spice.errors import InvalidInputError, NonConvergenceError, SimulationError, SingularCircuitError
from xbar_spice.hardware.amplifier import Amplifier
from xbar_spice.hardware.cells import (
    Device,
    Ohmic,
    OneSelectorOneResistor,
    OneTransistorOneResistor,
    Polynomial,
    Sinh,
    SubcircuitCell,
)
from xbar_spice.hardware.crossbar import Crossbar
from xbar_spice.hardware.subcircuit import Subcircuit
from xbar_spice.mapping.matrix import Design
from xbar_spice.spice.netlist import array_deck, netlist

pytestmark = [
    pytest.mark.ngspice,
    pytest.mark.skipif(shutil.which("ngspice") is None, reason="no command `ngspice` on this machine"),
]

V = np.array([0.1, 0.2])
WIRES = {"r_word": 1.0, "r_bit": 2.0, "r_driver": 50.0, "r_sense": 50.0}


def cell(body: str) -> SubcircuitCell:
    return SubcircuitCell(Subcircuit("cell", f".subckt cell p n g=1e-4\n{body}\n.ends\n"))


def threshold(volts: float, first: str, second: str) -> str:
    v = f"v({first},{second})"
    return f"B{first}{second} {first} {second} I=g*(max({v}-{volts},0)-max(-{v}-{volts},0))"


# A generic op-amp in the manner of public models, with its rails: bipolar inputs, clamps, inner gains and amperes.
MACRO_MODEL = """\
.subckt op5 p n vp vn out
Rin p n 1e9
Ie e vm 2e-3
Vm vm vn 0
Ra vp a 30
Rb vp b 30
Qa a n e1 QX
Qb b y e2 QX
Re1 e1 e 5
Re2 e2 e 5
.model QX NPN(bf=1e+08)
Eos y p cm 0 1
Rm1 vp ref 20k
Rm2 ref vn 20k
Eref r 0 ref 0 1
Ecmi ci r ref 0 1
Rcm1 ci cm 1meg
Rcm2 cm 0 1
G1 r g a b 0.1
Rg g r 1e7
D1 g h DX
Vh vp h 1.2
D2 l2 g DX
Vl l2 vn 1.2
.model DX D(is=1e-15)
Ez z1 r g ref 1e6
Rz1 z1 z2 1
Rz2 z2 r 1e-6
G5 r t z2 ref 1
Rt1 t vp 1
Rt2 t vn 1
Go1 q vp vp t 5e-3
Go2 vn q t vn 5e-3
Ro1 vp q 200
Ro2 q vn 200
Ro q out 0.1
.ends
.subckt tia in out
Vp vp 0 15
Vn vn 0 -15
Xo 0 in vp vn out op5
.ends
"""
TWO_THRESHOLDS = cell(threshold(0.02, "p", "m") + "\n" + threshold(0.02, "m", "n"))
CELLS: dict[str, Device] = {
    "two thresholds in series": TWO_THRESHOLDS,
    "a threshold beside a diode": cell("D1 p m dx\n.model dx d(is=1e-9)\n" + threshold(0.01, "m", "n")),
    "a law without slope at 0 V": cell("B1 p m I=g*v(p,m)*v(p,m)*v(p,m)\nB2 m n I=g*v(m,n)*v(m,n)*v(m,n)"),
    "a law that is not defined at 0 V": cell("B1 p n I=g*v(p,n)*(1 + 0.02*log(abs(v(p,n))))"),
    "a law that divides by the voltage": cell("B1 p n I=g*1e-6/v(p,n)"),
    "sinh at 45 v0": Sinh(0.2 / 45),
    "sinh at 300 v0": Sinh(0.2 / 300),
    "sinh at 3000 v0": Sinh(0.2 / 3000),
    "a transistor": OneTransistorOneResistor(),
}


def refused_by_hand(deck: str, folder: Path) -> bool:
    (folder / "read.cir").write_text(deck)
    return subprocess.run(["ngspice", "-b", "read.cir"], cwd=folder, capture_output=True, check=False).returncode != 0


@pytest.mark.parametrize("wires", [{}, WIRES], ids=["ideal wires", "wires"])
@pytest.mark.parametrize("device", CELLS.values(), ids=CELLS)
def test_the_engine_finds_what_the_deck_finds(device: Device, wires: dict[str, float], tmp_path: Path) -> None:
    engine_or_skip("ngspice")
    crossbar = Crossbar(np.array([[1e-4, 5e-5], [2e-5, 1e-4]]), device=device, **wires)
    with NgspiceEngine(failures=tmp_path / "failed").program(crossbar) as session:
        try:
            found = session.read(V)
        except SimulationError:
            assert refused_by_hand(netlist(crossbar, V), tmp_path)
            return
    (tmp_path / "read.cir").write_text(netlist(crossbar, V))
    printed = run_by_hand(tmp_path / "read.cir")
    np.testing.assert_allclose(found, [printed["vbottom0"], printed["vbottom1"]], rtol=2e-6)


def test_what_conducts_nothing_at_0_volt_is_read_where_it_conducts() -> None:
    engine_or_skip("ngspice")
    with NgspiceEngine().program(Crossbar(np.full((2, 2), 1e-4), device=TWO_THRESHOLDS)) as session:
        np.testing.assert_allclose(session.read(V), 1.1e-5, rtol=1e-6)
        batch = session.read(np.outer(V, [1.0, -1.0, 2.0]))
    np.testing.assert_allclose(batch[0], [1.1e-5, -1.1e-5, 1e-4 * (0.08 + 0.18)], rtol=1e-6)


def test_a_circuit_with_several_solutions_is_read_without_regard_to_the_reads_before(tmp_path: Path) -> None:
    """The current of B falls between 0.1 and 0.3 V, so that the resistor in series meets it three times."""
    engine_or_skip("ngspice")
    several = cell("B1 p m I=g*(10*v(p,m)-60*v(p,m)*v(p,m)+100*v(p,m)*v(p,m)*v(p,m))\nR1 m n {1/g}")
    crossbar = Crossbar(np.full((1, 1), 1e-4), device=several)
    volts = np.linspace(0.0, 0.8, 41)[np.newaxis]
    with NgspiceEngine().program(crossbar) as session:
        rising, falling = session.read(volts), session.read(volts[:, ::-1])[:, ::-1]
    np.testing.assert_array_equal(rising, falling)
    for k in (10, 20, 30):
        (tmp_path / "read.cir").write_text(netlist(crossbar, volts[:, k]))
        assert run_by_hand(tmp_path / "read.cir")["vbottom0"] == pytest.approx(rising[0, k], rel=2e-6)


def test_a_law_whose_current_falls_may_have_several_solutions() -> None:
    falls = Polynomial(square=(2e-4,), cube=(1e-4,), g_range=(1e-5, 2e-4))
    rises = Polynomial(square=(1e-5,), cube=(1e-4,), g_range=(1e-5, 2e-4))
    assert not array_deck(Crossbar([[5e-5]], device=falls)).unique
    assert not array_deck(Crossbar([[5e-5]], device=TWO_THRESHOLDS)).unique
    for device in (rises, Sinh(1e-3), OneTransistorOneResistor(), OneSelectorOneResistor(), Ohmic()):
        assert array_deck(Crossbar([[5e-5, 0.0]], device=device)).unique


@pytest.mark.parametrize("shape", [(4, 2), (8, 8)])
def test_an_op_amp_of_many_parts_converges_and_is_right_to_1e_minus_5(
    shape: tuple[int, int], rng: np.random.Generator, tmp_path: Path
) -> None:
    engine_or_skip("ngspice")
    amplifier = Amplifier(r_feedback=1e4, opamp=Subcircuit("tia", MACRO_MODEL))
    crossbar = Crossbar(rng.uniform(1e-6, 1e-5, shape), amplifier=amplifier)
    volts = rng.uniform(-0.3, 0.3, (shape[0], 5))
    with NgspiceEngine().program(crossbar) as session:
        found = session.read(volts)
    ideal = crossbar.conductance.T @ volts
    assert np.abs(found - ideal).max() < 1e-5 * np.abs(ideal).max()
    (tmp_path / "read.cir").write_text(netlist(crossbar, volts[:, 0]))
    printed = run_by_hand(tmp_path / "read.cir")
    by_hand = [-printed[f"out_bottom{k}"] / 1e4 for k in range(shape[1])]
    np.testing.assert_allclose(found[:, 0], by_hand, rtol=1e-5, atol=1e-6 * np.abs(ideal).max())


def test_tolerances_go_by_the_kind_of_cell_and_stand_in_the_deck() -> None:
    opamp = Amplifier(r_feedback=1e4, opamp=Subcircuit("tia", MACRO_MODEL))
    kinds = {
        "reltol=1e-10 vntol=1e-13 abstol=1e-18\n": {"device": Sinh()},
        "reltol=1e-09 vntol=1e-12 abstol=1e-15 gmin=1e-18\n": {"device": OneTransistorOneResistor()},
        "reltol=1e-06 vntol=1e-09 abstol=1e-12 gmin=1e-15\n": {"amplifier": opamp},
        "reltol=1e-05 vntol=1e-08 abstol=1e-13\n": {"device": Sinh(), "reltol": 1e-5},
        "reltol=0.0001 vntol=1e-07 abstol=1e-10 gmin=1e-15\n": {"amplifier": opamp, "reltol": 1e-4},
    }
    for options, kind in kinds.items():
        assert f".options {options}" in netlist(Design(**kind).crossbar([[1e-4]])), kind
    assert "reltol" not in netlist(Crossbar([[1e-4]]))


@pytest.mark.parametrize("reltol", [0.0, 1.0, -1e-6, float("nan")])
def test_a_tolerance_lies_between_0_and_1(reltol: float) -> None:
    with pytest.raises(InvalidInputError, match="reltol must be finite and > 0 and < 1"):
        Design(reltol=reltol)


FAILURES = {
    "a law that is not a number": (cell("B1 p n I=g*sqrt(v(p,n)-0.3)"), NonConvergenceError, "out of range for sqrt"),
    "sinh beyond all numbers": (Sinh(1e-4), NonConvergenceError, "out of range for sinh"),
    "a resistance that is not a number": (cell("R1 p n {sqrt(-g)}"), SimulationError, "Error on line"),
    "a node that floats": (cell("R1 p n {1/g}\nR2 q s 1k"), SingularCircuitError, "singular matrix"),
    "no such model": (cell("D1 p n nothere\nR1 p n {1/g}"), SimulationError, "nothere"),
}


@pytest.mark.parametrize(("device", "error", "message"), FAILURES.values(), ids=FAILURES)
def test_the_command_of_an_error_shows_the_same_failure(
    device: Device, error: type[SimulationError], message: str, tmp_path: Path
) -> None:
    engine_or_skip("ngspice")
    folder = tmp_path / "it's a folder"
    engine = NgspiceEngine(failures=folder)
    crossbar = Crossbar(np.full((2, 2), 1e-4), device=device)
    with engine.program(crossbar) as session, pytest.raises(SimulationError, match=message) as caught:
        session.read(V)
    assert type(caught.value) is error
    headline, command = re.search(r"ngspice failed: (.*)[\s\S]*to reproduce: (.*)", str(caught.value)).groups()
    done = subprocess.run(shlex.split(command), cwd=tmp_path, capture_output=True, text=True, check=False)
    # The library counts the lines of a deck otherwise than the command.
    assert re.sub(r"line \d+", "line", headline) in re.sub(r"line \d+", "line", done.stdout + done.stderr)


# All that finds a way here is the transient analysis; with a capacitor its end is none of the circuit's own equations.
ONLY_SETTLES = """\
* title
Va a 0 0
R1 a b 1k
B1 b 0 I=1e-3*tanh(10*(v(b)-0.5))
{more}
.options itl1=1 itl2=1 itl6=1 gminsteps=0 reltol=1e-6
.op
.end
"""


def test_where_a_transient_analysis_ends_is_a_solution_where_nothing_is_stored(tmp_path: Path) -> None:
    engine_or_skip("ngspice")
    with ResidentProcess(ONLY_SETTLES.format(more="*"), ["Va"], nodes=["b"]) as circuit:
        into, volts = circuit.read(np.array([[1.2]]))[:, 0]
    assert into == pytest.approx(-1e-3 * np.tanh(10 * (volts - 0.5)), rel=1e-5)
    stores = ONLY_SETTLES.format(more="C1 b 0 1m")
    with (
        ResidentProcess(stores, ["Va"], nodes=["b"], failures=tmp_path) as circuit,
        pytest.raises(NonConvergenceError, match="need not have settled; try a larger reltol"),
    ):
        circuit.read(np.array([[1.2]]))


def test_a_result_that_is_not_there_is_a_failure(tmp_path: Path) -> None:
    engine_or_skip("ngspice")
    deck = "* title\nVa a 0 0\nR1 a 0 1k\n.op\n.end\n"
    with (
        ResidentProcess(deck, ["Va"], nodes=["nowhere"], failures=tmp_path) as circuit,
        pytest.raises(SimulationError, match="nowhere"),
    ):
        circuit.read(np.ones((1, 1)))
