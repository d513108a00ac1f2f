"""Decks written by hand, element by element and not from our templates, as the judge of every engine.

They say the same circuits in other words: other names, sources and laws of cells. `ngspice -b` runs the files as they
are; its results come as the exact numbers of a raw file instead of the six digits that it prints.
"""

import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from support import ENGINE_NAMES, engine_or_skip, relative

from xbar_spice.feedback import FeedbackSolver, OpAmp
from xbar_spice.hardware.amplifier import Amplifier
from xbar_spice.hardware.crossbar import Crossbar, Terminations
from xbar_spice.hardware.pulse import LineCapacitance, Pulse
from xbar_spice.mapping.analog_matrix import program
from xbar_spice.mapping.design import Design
from xbar_spice.mapping.matrix import map_weights
from xbar_spice.spice.device_models import load_device
from xbar_spice.spice.netlist import array_deck
from xbar_spice.transient import read_pulse

pytestmark = [
    pytest.mark.ngspice,
    pytest.mark.skipif(shutil.which("ngspice") is None, reason="the ngspice command is not installed"),
]

GOLDEN = Path(__file__).parents[1] / "golden"
WIRES = {"r_word": 3.0, "r_bit": 5.0, "r_driver": 100.0, "r_sense": 40.0}
FOUR_CELLS = [[100e-6, 20e-6], [50e-6, 80e-6]]
ONE_BIT_LINE = [[100e-6], [50e-6]]
AT_BIT_LINE = {"r_bit": 5.0, "r_sense": 40.0}
VOLTS = [0.2, -0.1]


def ends(**choices: str) -> Crossbar:
    """The array of `hand_wires.cir`, read at other ends."""
    return Crossbar(FOUR_CELLS, **WIRES, terminations=Terminations(**choices))


def bit_line(device: str = "ohmic", **more) -> Crossbar:
    """The array of the decks with two cells."""
    return Crossbar(ONE_BIT_LINE, **AT_BIT_LINE, device=load_device(device), **more)


class Read(NamedTuple):
    """A hand-written deck and the array that it means."""

    deck: str
    crossbar: Crossbar
    side: str = "rows"
    limit: float = 1e-11  # of linear circuits; Newton's method ends by the reltol of a deck


READS = [
    Read("hand_wires", ends()),
    Read("hand_double_drive", ends(drive="double")),
    Read("hand_far_ends", ends(transposed="far_ends"), "cols"),
    Read("hand_same_ends", ends(), "cols"),
    Read("hand_tia", bit_line(amplifier=Amplifier(10e3, 1e3))),
    Read("hand_tia_saturating", bit_line(amplifier=Amplifier(10e3, 1e3, 0.1)), limit=1e-10),
    Read("hand_1t1r", bit_line("neurosim_1t1r"), limit=1e-9),
    Read("hand_1s1r", bit_line("selector_1s1r"), limit=1e-10),
    Read("hand_sinh", bit_line("stanford_gap"), limit=1e-10),
]


def run(deck: str, folder: Path) -> list[float]:
    """What a hand-written deck saves of an operating point, in its order."""
    raw = folder / "out.raw"
    command = ["ngspice", "-b", "-r", str(raw), str(GOLDEN / f"{deck}.cir")]
    subprocess.run(command, capture_output=True, check=True, timeout=300)
    return read_raw(raw.read_bytes())


def read_raw(raw: bytes) -> list[float]:
    """The one point of a binary raw file, in the order of its `.save` cards."""
    head, _, numbers = raw.partition(b"Binary:\n")
    assert b"No. Points: 1" in head
    return np.frombuffer(numbers).tolist()


@pytest.fixture(params=["nodal", "ngspice"])
def name(request: pytest.FixtureRequest) -> str:
    """The engines that see the parasitics."""
    engine_or_skip(request.param)
    return request.param


@pytest.mark.parametrize("case", READS, ids=lambda case: case.deck)
def test_reads_are_those_of_a_deck_written_by_hand(case, name, tmp_path):
    currents = np.array(run(case.deck, tmp_path))
    if case.crossbar.amplifier.present:
        currents /= -case.crossbar.amplifier.r_feedback
    with engine_or_skip(name).program(case.crossbar) as session:
        assert relative(session.read(VOLTS, case.side), currents) < case.limit


@pytest.mark.parametrize("case", READS, ids=lambda case: case.deck)
def test_our_deck_says_the_same_circuit(case, tmp_path):
    deck = array_deck(case.crossbar, VOLTS, case.side)
    (tmp_path / "ours.cir").write_text(re.sub(r"^\.save .*\n", "", deck.text, flags=re.M))
    subprocess.run(
        ["ngspice", "-b", "-r", "ours.raw", "ours.cir"], cwd=tmp_path, capture_output=True, check=True, timeout=300
    )
    raw = (tmp_path / "ours.raw").read_bytes()
    names = re.findall(r"^\s*\d+\s+(\S+)\s+(?:voltage|current)$", raw.split(b"Binary:\n")[0].decode(), re.M)
    values = dict(zip(names, read_raw(raw), strict=True))
    found = np.zeros(case.crossbar.ports("cols" if case.side == "rows" else "rows"))
    for edge in case.crossbar.hookup(case.side).sensed:
        found += [values[terminal.result] for terminal in deck.at(0, edge)]
    assert relative(found, run(case.deck, tmp_path)) < case.limit


@pytest.mark.parametrize("name", ENGINE_NAMES)
def test_an_interleaved_pair_computes_the_product(name, tmp_path):
    plus, minus = run("hand_interleaved_pair", tmp_path)
    wanted = (plus - minus) / (99e-6 * 0.2)
    wires = {} if name == "ideal" else {"r_bit": 2.0, "r_sense": 10.0}
    engine_or_skip(name)
    with program([[0.5, -1.0]], Design(mapping="interleaved", **wires), engine=name) as product:
        found = product.mv([1.0, -0.5])
    assert relative(found, [wanted]) < (1e-11 if wires else 2e-3)  # the wires take a little
    assert wanted == pytest.approx(1.0, rel=2e-3)


@pytest.mark.parametrize("engine", ["modal", "ngspice"])
def test_a_pulse_charges_lines_as_in_a_deck_written_by_hand(engine, tmp_path):
    if engine == "ngspice":
        engine_or_skip(engine)
    command = ["ngspice", "-b", str(GOLDEN / "hand_pulse.cir")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    measured = {name: float(value) for name, value in re.findall(r"^(\w+)\s+=\s+(\S+)", done.stdout, re.M)}
    crossbar = Crossbar(ONE_BIT_LINE, r_bit=500.0, r_driver=1e3, r_sense=4e3)
    capacitance = LineCapacitance(c_word=1e-15, c_bit=0.2e-15, c_cell=0.1e-15)
    read = read_pulse(crossbar, VOLTS, Pulse(width=10e-12, rise=1e-12), capacitance, engine=engine)
    early, late = read.currents(np.array([2e-12, 11e-12]))[0]
    assert early == pytest.approx(measured["early"], rel=2e-3)
    assert late == pytest.approx(measured["late"], rel=1e-4)
    assert read.settled[0] * 11e-12 == pytest.approx(measured["charge"], rel=1e-3)
    assert read.energy().delivered == pytest.approx([measured["energy_a"], measured["energy_b"]], rel=1e-3)


def test_a_feedback_array_solves_what_its_hand_written_circuit_solves(name, tmp_path):
    volts = np.array(run("hand_feedback", tmp_path))
    mapped = map_weights([[2.0, 0.5], [0.25, 1.5]], Design(g_min=2e-6, g_max=100e-6))
    with FeedbackSolver(mapped, opamp=OpAmp(gain=1e8), engine=name) as solver:
        found = solver.solve([1.0, -0.6])
    assert relative(found, volts / 0.1) < 1e-9
    assert relative(found, np.linalg.solve([[2.0, 0.5], [0.25, 1.5]], [1.0, -0.6])) < 1e-6
