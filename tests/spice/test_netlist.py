"""Decks: golden text, plain SPICE, names, and what they give when run by hand."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from support import run_by_hand

from xbar_spice.engines.registry import get_engine
from xbar_spice.errors import InvalidInputError
from xbar_spice.hardware.amplifier import Amplifier
from xbar_spice.hardware.cells import Sinh
from xbar_spice.hardware.crossbar import Crossbar, Terminations
from xbar_spice.hardware.pulse import LineCapacitance, Pulse
from xbar_spice.spice.device_models import device_names, load_device, load_opamp
from xbar_spice.spice.netlist import array_deck, bank_deck, line_nodes, netlist
from xbar_spice.spice.pulse_netlist import pulse_deck
from xbar_spice.spice.render import number, render
from xbar_spice.transient import read_pulse

GOLDEN = Path(__file__).parents[1] / "golden"
SMALL = Crossbar([[1e-4, 2e-4], [3e-4, 0.0]], r_word=1.0, r_bit=2.0, r_driver=50.0, r_sense=25.0)
IDEAL_LINES = Crossbar([[1e-4, 2e-4]])
PULSE, HELD = Pulse(width=1e-11, rise=1e-12), LineCapacitance(c_word=2e-16, c_bit=3e-16, c_cell=1e-16)
AMPLIFIED = Crossbar([[1e-4, 2e-4]], r_bit=2.0, amplifier=Amplifier(1e4, 1e4, 0.1), device=load_device("selector_1s1r"))

needs_ngspice = pytest.mark.skipif(shutil.which("ngspice") is None, reason="the ngspice command is not installed")


def written(deck: str, folder: Path) -> Path:
    path = folder / "deck.cir"
    path.write_text(deck)
    return path


def test_array_deck_is_the_golden_file():
    deck = netlist(SMALL, [0.1, 0.2], title="two by two", comments={"weights": "none", "seed": 7})
    assert deck == (GOLDEN / "array_2x2.cir").read_text()


def test_bank_deck_is_the_golden_file():
    deck = bank_deck([SMALL, IDEAL_LINES], "cols", drives=[[0.1, 0.2], [0.3, -0.1]], title="two arrays")
    assert deck.text == (GOLDEN / "bank_transposed.cir").read_text()


def test_pulse_deck_is_the_golden_file():
    deck = pulse_deck(SMALL, [0.1, 0.2], PULSE, HELD, title="two by two", comments={"seed": 7})
    assert deck.text == (GOLDEN / "pulse_2x2.cir").read_text()


@pytest.mark.ngspice
@needs_ngspice
@pytest.mark.parametrize("crossbar", [SMALL, Crossbar([[1e-4, 2e-4], [3e-4, 0.0]], r_bit=2.0)], ids=["wired", "ideal"])
@pytest.mark.parametrize("side", ["rows", "cols"])
def test_pulse_deck_run_by_hand_measures_energies_charges_and_currents(side, crossbar, tmp_path):
    deck = written(pulse_deck(crossbar, [0.1, 0.2], PULSE, HELD, side).text, tmp_path)
    done = subprocess.run(["ngspice", "-b", deck], capture_output=True, text=True, check=True, timeout=300)
    measured = {name: float(value) for name, value in re.findall(r"^(\w+)\s+=\s+(\S+)", done.stdout, re.M)}
    read = read_pulse(crossbar, [0.1, 0.2], PULSE, HELD, side)
    driven, sensed = ("left", "bottom") if side == "rows" else ("bottom", "left")
    for line in range(2):
        assert measured[f"energy_{driven}{line}"] == pytest.approx(read.energy().delivered[line], rel=1e-3)
        assert measured[f"current_{sensed}{line}"] == pytest.approx(read.settled[line], rel=1e-4)
        charge = read.settled[line] * (PULSE.width + PULSE.rise)
        assert measured[f"charge_{sensed}{line}"] == pytest.approx(charge, rel=1e-3)


def test_line_nodes_are_nodes_of_the_deck():
    for crossbar in (SMALL, IDEAL_LINES, Crossbar([[1e-4, 2e-4]], r_bit=1.0, r_driver=5.0)):
        for side in ("rows", "cols"):
            words = netlist(crossbar, side=side).split()
            for name in {name for lines in line_nodes(crossbar, side) for row in lines for name in row}:
                assert name in words


def test_amplified_deck_is_the_golden_file():
    assert (
        bank_deck([AMPLIFIED], drives=[[0.2]], title="amplifiers").text == (GOLDEN / "bank_amplified.cir").read_text()
    )


@pytest.mark.ngspice
@needs_ngspice
def test_amplified_deck_run_by_hand_gives_the_nodal_read():
    printed = run_by_hand(GOLDEN / "bank_amplified.cir")
    found = [-printed[f"out_a0_bottom{line}"] / 1e4 for line in range(2)]
    assert found == pytest.approx(get_engine("nodal").program(AMPLIFIED).read([0.2]), rel=1e-5)


@pytest.mark.ngspice
@needs_ngspice
@pytest.mark.parametrize("side", ["rows", "cols"])
@pytest.mark.parametrize("transposed", ["same_ends", "swapped_ends", "far_ends"])
def test_deck_run_by_hand_gives_the_nodal_currents(side, transposed, tmp_path, rng):
    crossbar = Crossbar(
        10 ** rng.uniform(-5, -3, (3, 4)), 1, 2, 50, 25, terminations=Terminations("double", transposed)
    )
    volts = rng.uniform(-0.2, 0.2, crossbar.ports(side))
    deck = array_deck(crossbar, volts, side)
    printed = run_by_hand(written(deck.text, tmp_path))
    sensed = [deck.sources(0, edge) for edge in crossbar.hookup(side).sensed]
    currents = np.sum([[printed[name.lower()] for name in names] for names in sensed], axis=0)
    assert currents == pytest.approx(get_engine("nodal").program(crossbar).read(volts, side), rel=1e-5)


@pytest.mark.ngspice
@needs_ngspice
def test_bank_deck_run_by_hand_gives_the_currents_of_every_array(tmp_path):
    deck = bank_deck([SMALL, IDEAL_LINES], drives=[[0.1, 0.2], [0.3]])
    printed = run_by_hand(written(deck.text, tmp_path))
    for index, (crossbar, volts) in enumerate([(SMALL, [0.1, 0.2]), (IDEAL_LINES, [0.3])]):
        currents = [printed[name.lower()] for name in deck.sources(index, "bottom")]
        assert currents == pytest.approx(get_engine("nodal").program(crossbar).read(volts), rel=1e-5)


def every_deck():
    """A deck of every cell with every amplifier, and every cell in a pulse."""
    amplifiers = [
        Amplifier(),
        Amplifier(1e4),
        Amplifier(1e4, saturation=0.1),
        Amplifier(1e4, opamp=load_opamp("loaded")),
    ]
    for name in device_names():
        cells = {"conductance": [[1e-4, 2e-4]], "r_bit": 2.0, "device": load_device(name)}
        yield f"{name}, pulse", Crossbar(**cells), pulse_deck(Crossbar(**cells), [0.2], PULSE, HELD).text
        for amplifier in amplifiers:
            crossbar = Crossbar(**cells, amplifier=amplifier)
            yield f"{name}, {amplifier}", crossbar, netlist(crossbar, [0.2])
            yield f"{name}, {amplifier}, bank", crossbar, bank_deck([SMALL, crossbar, crossbar]).text


def test_a_deck_gives_every_option_once_and_stops_where_its_cells_let_it():
    for what, crossbar, deck in every_deck():
        given = re.findall(r"(\w+)=(\S+)", " ".join(re.findall(r"^\.options (.*)$", deck, re.M)))
        options = dict(given)
        assert len(options) == len(given), what
        macro_model = crossbar.amplifier.opamp is not None
        junctions = crossbar.device.junctions or macro_model
        assert ("gmin" in options) == junctions, what
        at_rest = None if crossbar.linear else "1e-06" if macro_model else "1e-09" if junctions else "1e-10"
        assert options.get("reltol") == ("1e-06" if "pulse" in what else at_rest), what


def test_a_deck_is_tidy():
    for what, _, deck in every_deck():
        assert deck.isascii(), what
        assert "\n\n\n" not in deck, what
        assert not re.search(r"\n\n\.end|[ \t]$|\d\.0\b(?!\d)", deck, re.M), what
        assert re.findall(r"^\.subckt (\w+)", deck, re.M) == re.findall(r"^\.ends (\w+)$", deck, re.M), what


@pytest.mark.parametrize(
    ("deck", "analysis"),
    [
        (netlist(SMALL), ".op"),
        (bank_deck([SMALL, IDEAL_LINES]).text, ".op"),
        (pulse_deck(SMALL, [0.1, 0.2], PULSE, HELD).text, ".tran"),
    ],
)
def test_a_deck_is_plain_spice(deck, analysis):
    lines = deck.splitlines()
    assert ".control" not in deck
    assert [line.split()[0] for line in lines if line.startswith((".op", ".tran")) and "options" not in line] == [
        analysis
    ]
    assert lines[-1] == ".end"
    assert deck.endswith(".end\n")
    assert all(len(line.split()) == 2 for line in lines if line.startswith(".save"))


def test_the_same_array_gives_the_same_text():
    assert netlist(SMALL, [0.1, 0.2]) == netlist(SMALL, [0.1, 0.2])


def test_numbers_read_back_exactly(rng):
    values = 10 ** rng.uniform(-12, 12, 100)
    assert [float(number(value)) for value in values] == values.tolist()
    assert [number(np.float64(value)) for value in (0.1, 50.0, -2.0, 1e16)] == ["0.1", "50", "-2", "1e+16"]


def test_a_missing_cell_has_no_element():
    assert not re.search(r"^R1_1 ", netlist(SMALL), re.M)


def test_comments_cannot_become_spice():
    deck = netlist(SMALL, title="x\n.control", comments={"file\nR9 a 0 1": "name\r\n.include /etc/passwd"})
    assert all(line.startswith("*") for line in deck.splitlines()[:4])
    assert not re.search(r"^(R9|\.include|\.control)", deck, re.M)


def test_user_templates_come_first(tmp_path):
    (tmp_path / "array.cir.j2").write_text("* mine, {{ arrays[0].rows }} rows\n.end\n")
    assert netlist(SMALL, netlists=[tmp_path]) == "* mine, 2 rows\n.end\n"


def test_a_template_error_names_file_and_line(tmp_path):
    (tmp_path / "array.cir.j2").write_text("* fine\n{{ nonsense }}\n")
    with pytest.raises(InvalidInputError, match=r"array\.cir\.j2.*'nonsense' is undefined"):
        netlist(SMALL, netlists=[tmp_path])
    with pytest.raises(InvalidInputError, match="cannot render netlist template 'missing'"):
        render("missing", {})


@pytest.mark.parametrize(
    "text",
    [
        "{{ device.__class__.__mro__ }}",
        "{{ ''.__class__.__base__.__subclasses__() }}",
        "{{ [].append(1) }}",
        "{{ '{0.__class__}'.format(device) }}",
        "{{ render.__globals__ }}",
        "{{ self.__init__.__globals__ }}",
        "{{ cycler.__init__.__globals__.os.system('true') }}",
        "{% for i in range(10 ** 9) %}{% endfor %}",
        "{% include '../secret' %}",
        "{% include '/etc/passwd' %}",
        "{{ 1 / 0 }}",
        "{{ 'a' + 1 }}",
        "{{ unknown }}",
    ],
)
def test_a_template_of_the_users_runs_in_a_sandbox(text, tmp_path):
    (tmp_path / "secret").write_text("secret")
    folder = tmp_path / "netlists"
    folder.mkdir()
    (folder / "mine.cir.j2").write_text(text)
    with pytest.raises(InvalidInputError, match=r"cannot render netlist template 'mine\.cir\.j2'"):
        render("mine.cir.j2", {"device": Sinh(0.1), "render": render}, netlists=[folder])


def test_a_template_is_a_file_of_text(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "latin").write_bytes(b"* 1 \xb5A")
    (tmp_path / "device").symlink_to("/dev/zero")
    (tmp_path / "folder").mkdir()
    for name, text in (
        ("pipe", "a named pipe"),
        ("latin", "not UTF-8"),
        ("device", "a device"),
        ("folder", "a folder"),
    ):
        with pytest.raises(InvalidInputError, match=rf"cannot read the netlist template .*{name}: .*{text}"):
            render(name, {}, netlists=[tmp_path])


def test_an_edited_template_is_read_again(tmp_path):
    path = tmp_path / "mine"
    path.write_text("a")
    os.utime(path, (1, 1))
    assert render("mine", {}, netlists=[tmp_path]) == "a"
    path.write_text("b")
    assert render("mine", {}, netlists=[tmp_path]) == "b"


def test_a_deck_is_one_read():
    with pytest.raises(InvalidInputError, match=r"drive of shape \(2,\), got shape \(2, 3\)"):
        netlist(SMALL, np.zeros((2, 3)))
