"""Arrays read through ngspice: signs, directions, banks; the laws that all engines share are in test_engines_laws."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from support import assert_same_bits, engine_or_skip, relative, run_by_hand
from support.pauses import PATIENCE

from xbar_spice.engines.ideal import IdealEngine
from xbar_spice.engines.ngspice.characterised import CharacterisedBank
from xbar_spice.engines.ngspice.engine import NgspiceBank, NgspiceEngine, share
from xbar_spice.engines.ngspice.installation import describe
from xbar_spice.engines.ngspice.locate import LIBRARY_VARIABLE, find_library
from xbar_spice.errors import CharacterisationError, EngineUnavailableError, InvalidInputError, SimulationError
from xbar_spice.hardware.cells import Sinh
from xbar_spice.hardware.crossbar import Crossbar, Side, Terminations
from xbar_spice.mapping.analog_matrix import program
from xbar_spice.mapping.trace import ReadTrace
from xbar_spice.spice.netlist import array_deck, bank_deck
from xbar_spice.spice.resources import search_path

SIDES: tuple[Side, Side] = ("rows", "cols")
WIRED: dict[str, Any] = {"r_word": 1.0, "r_bit": 2.0, "r_driver": 50.0, "r_sense": 25.0}
TERMINATIONS = [
    Terminations(drive=drive, transposed=transposed)
    for drive in ("single", "double")
    for transposed in ("same_ends", "swapped_ends", "far_ends")
]


@pytest.fixture
def ngspice() -> NgspiceEngine:
    engine = engine_or_skip("ngspice")
    assert isinstance(engine, NgspiceEngine)
    return engine


def arrays(rng: np.random.Generator, *shapes: tuple[int, int], **options: Any) -> list[Crossbar]:
    return [Crossbar(10 ** rng.uniform(-5, -3, shape), **(WIRED | options)) for shape in shapes]


@pytest.mark.ngspice
@pytest.mark.parametrize("side", SIDES)
def test_current_into_the_sense_terminal_is_positive(
    ngspice: NgspiceEngine, rng: np.random.Generator, side: Side
) -> None:
    crossbar = Crossbar(10 ** rng.uniform(-5, -3, (3, 4)))
    volts = rng.uniform(-0.5, 0.5, crossbar.ports(side))
    with ngspice.program(crossbar) as session, IdealEngine().program(crossbar) as ideal:
        assert relative(session.read(volts, side), ideal.read(volts, side)) < 1e-12


@pytest.mark.ngspice
def test_both_directions_share_a_circuit_if_it_is_the_same(ngspice: NgspiceEngine, rng: np.random.Generator) -> None:
    for transposed, processes in (("same_ends", 1), ("far_ends", 2)):
        (crossbar,) = arrays(rng, (3, 3), terminations=Terminations(transposed=transposed))
        with ngspice.program_bank([crossbar]) as bank:
            for side in SIDES:
                bank.read([np.ones((3, 1))], side)
            assert isinstance(bank, NgspiceBank)
            pids = {process.pid for process in bank.processes}
            assert len(pids) == processes


@pytest.mark.ngspice
def test_two_banks_side_by_side_are_bit_identical(ngspice: NgspiceEngine, rng: np.random.Generator) -> None:
    crossbars = arrays(rng, (8, 8), (8, 6))
    drives = [rng.uniform(-0.5, 0.5, (8, 5)) for _ in crossbars]
    with ngspice.program_bank(crossbars) as one, ngspice.program_bank(crossbars) as other:
        other.read([drive[:, :2] for drive in drives])  # what a bank was asked before makes no difference
        for first, second in zip(one.read(drives), other.read(drives), strict=True):
            np.testing.assert_array_equal(first, second)


@pytest.mark.ngspice
def test_a_batch_is_its_single_reads_bit_for_bit(ngspice: NgspiceEngine, rng: np.random.Generator) -> None:
    (crossbar,) = arrays(rng, (9, 5))
    volts = rng.uniform(-0.5, 0.5, (9, 20))
    with ngspice.program(crossbar) as session:
        batch = session.read(volts)
        assert_same_bits(batch, np.column_stack([session.read(vector) for vector in volts.T]))
        assert session.read(volts[:, :0]).shape == (5, 0)


@pytest.mark.ngspice
def test_workers_side_by_side_give_what_one_gives_bit_for_bit(ngspice: NgspiceEngine, rng: np.random.Generator) -> None:
    crossbars = arrays(rng, (8, 8), (8, 6), (5, 8), (1, 3))
    with (
        NgspiceEngine(workers=1).program_bank(crossbars) as one,
        NgspiceEngine(workers=3).program_bank(crossbars) as three,
    ):
        for side in SIDES:
            drives = [rng.uniform(-0.5, 0.5, (crossbar.ports(side), 5)) for crossbar in crossbars]
            for found, wanted in zip(three.read(drives, side), one.read(drives, side), strict=True):
                assert_same_bits(found, wanted)
        assert isinstance(three, NgspiceBank)
        workers = [process.pid for process in three.processes]
    assert len(set(workers)) == 3
    assert not any(psutil.pid_exists(pid) for pid in workers)


@pytest.mark.ngspice
def test_one_of_several_workers_may_be_lost(ngspice: NgspiceEngine, rng: np.random.Generator) -> None:
    crossbars = arrays(rng, (4, 4), (4, 4))
    with NgspiceEngine(workers=2).program_bank(crossbars) as bank:
        drives = [np.ones((4, 3))] * 2
        before = bank.read(drives)
        assert isinstance(bank, NgspiceBank)
        lost = bank.processes[1].pid
        assert lost is not None
        os.kill(lost, signal.SIGKILL)
        np.testing.assert_array_equal(bank.read(drives), before)


@pytest.mark.ngspice
def test_ctrl_c_ends_all_workers_in_the_middle_of_a_read(ngspice: NgspiceEngine) -> None:
    program_text = (
        "import os, signal, threading, numpy as np, xbar_spice as xs\n"
        "from support.pauses import Pauses\n"
        "pauses = Pauses('read')\n"
        "def interrupt():\n"
        "    pauses.wait(), pauses.wait()\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        # in the background of a shell Ctrl-C would be ignored
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "rng = np.random.default_rng(1)\n"
        "xbars = [xs.Crossbar(10 ** rng.uniform(-5, -3, (8, 8)), r_word=1.0, r_bit=2.0) for _ in range(4)]\n"
        "with xs.get_engine('ngspice', workers=2).program_bank(xbars) as bank:\n"
        "    bank.read([np.ones((8, 1))] * 4)\n"
        "    print(*(process.pid for process in bank.processes), flush=True)\n"
        "    threading.Thread(target=interrupt).start()\n"
        "    bank.read([np.ones((8, 100))] * 4)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program_text],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert "KeyboardInterrupt" in done.stderr.splitlines()[-1]
    assert done.returncode == -signal.SIGINT
    workers = [int(pid) for pid in done.stdout.split()]
    assert len(workers) == 2
    assert not any(psutil.pid_exists(pid) for pid in workers)


@pytest.mark.parametrize("workers", [None, 1, 2, 5])
def test_every_array_has_one_worker(workers: int | None) -> None:
    cells = [1024, 4, 700, 700, 64]
    groups = share(cells, workers)
    assert sorted(index for group in groups for index in group) == list(range(5))
    loads = [sum(cells[index] for index in group) for group in groups]
    assert max(loads) <= max(*cells, 2 * sum(cells) / len(groups))
    if workers is not None:
        assert len(groups) == workers


# --- what comes from outside is never a command -----------------------------------------------------------------------

ODD = "a title\n.control\nshell touch hacked\n.endc\nV9 1 0 5 \x1b; $(touch hacked) `touch hacked` \u2028 'q\" {x}"


@pytest.mark.ngspice
@pytest.mark.skipif(shutil.which("ngspice") is None, reason="no command `ngspice` on this machine")
def test_titles_and_comments_are_never_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    deck = array_deck(Crossbar([[1e-4]], r_word=1.0), [0.5], title=ODD, comments={ODD: ODD})
    plain = array_deck(Crossbar([[1e-4]], r_word=1.0), [0.5])
    assert len(deck.text.splitlines()) == len(plain.text.splitlines()) + 1
    (tmp_path / "odd.cir").write_text(deck.text)
    (tmp_path / "plain.cir").write_text(plain.text)
    assert run_by_hand(tmp_path / "odd.cir") == run_by_hand(tmp_path / "plain.cir") != {}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["odd.cir", "plain.cir"]


@pytest.mark.parametrize("name", ["a\n.control", "a;b", "a b", "1a", "", "a$b", "ä"])
def test_names_of_arrays_are_plain_words(name: str) -> None:
    with pytest.raises(InvalidInputError, match="name"):
        bank_deck([Crossbar([[1e-4]])], names=[name])


@pytest.mark.ngspice
@pytest.mark.parametrize("folder", ["with space;quo'te\"s", "$(touch hacked)\nline"])
def test_folders_may_have_any_name(ngspice: NgspiceEngine, folder: str, tmp_path: Path) -> None:
    place = tmp_path / folder
    (place / "cells").mkdir(parents=True)
    shutil.copy(search_path("netlists")[0] / "cells" / "ohmic.cir.j2", place / "cells")
    with NgspiceEngine(netlists=(place,), failures=place).program(Crossbar([[1e-4]])) as session:
        assert session.read([1.0]) == pytest.approx([1e-4], rel=1e-12)
    (place / "cells" / "ohmic.cir.j2").write_text(
        "{% macro models() %}{% endmacro %}"
        "{% macro element(name, p, n, conductance, device) %}R{{ name }} {{ p }} nowhere{% endmacro %}"
    )
    broken = NgspiceEngine(netlists=(place,), failures=place / "failed").program(Crossbar([[1e-4]], r_bit=1.0))
    with broken as session, pytest.raises(SimulationError) as caught:
        session.read([1.0])
    command = re.search(r"to reproduce: (.*?)\n  the simulator's", str(caught.value), re.S)
    assert command is not None
    _, _, deck = shlex.split(command[1])
    assert Path(deck).parent == place / "failed"
    assert Path(deck).is_file()


def test_the_same_seed_gives_the_same_deck_byte_for_byte() -> None:
    program_text = (
        "import hashlib, numpy as np, xbar_spice as xs\n"
        "from xbar_spice.mapping.design import Design\n"
        "from xbar_spice.mapping.matrix import map_weights\n"
        "from xbar_spice.spice.netlist import bank_deck\n"
        "from xbar_spice.streams import random_stream\n"
        "design = Design(tile=3, r_word=1.0, variation=xs.Variation(programming=0.1, stuck_on=0.1))\n"
        "weights = np.random.default_rng(5).standard_normal((4, 7))\n"
        "mapped = map_weights(weights, design, rng=random_stream(3, 'devices', 'A'))\n"
        "print(hashlib.sha256(bank_deck(mapped.crossbars).text.encode()).hexdigest())\n"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", program_text],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1


@pytest.mark.ngspice
def test_two_programs_side_by_side_read_the_same_bits(ngspice: NgspiceEngine) -> None:
    program_text = (
        "import numpy as np, xbar_spice as xs\n"
        "rng = np.random.default_rng(1)\n"
        "xbar = xs.Crossbar(10 ** rng.uniform(-5, -3, (12, 9)), r_word=1.0, r_bit=2.0, r_driver=50.0)\n"
        "with xs.get_engine('ngspice').program(xbar) as session:\n"
        "    print(session.read(rng.uniform(-0.5, 0.5, (12, 40))).tobytes().hex())\n"
    )
    programs = [
        subprocess.Popen([sys.executable, "-c", program_text], stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    first, second = (each.communicate(timeout=300)[0] for each in programs)
    assert [each.returncode for each in programs] == [0, 0]
    assert first == second
    assert len(first) == 16 * 9 * 40 + 1


# --- characterised reads ----------------------------------------------------------------------------------------------


@pytest.mark.ngspice
@pytest.mark.parametrize("terminations", TERMINATIONS[::4], ids=lambda t: f"{t.drive}-{t.transposed}")
def test_characterised_reads_are_those_of_the_netlist(
    ngspice: NgspiceEngine, rng: np.random.Generator, terminations: Terminations
) -> None:
    crossbars = arrays(rng, (5, 7), (4, 2), terminations=terminations)
    with (
        NgspiceEngine(characterise=True, check_every=4).program_bank(crossbars) as matrix,
        ngspice.program_bank(crossbars) as netlist,
    ):
        sources = []
        for side in (*SIDES, *SIDES, *SIDES):
            drives = [rng.uniform(-0.5, 0.5, (crossbar.ports(side), 3)) for crossbar in crossbars]
            for found, wanted in zip(matrix.read(drives, side), netlist.read(drives, side), strict=True):
                assert relative(found, wanted) < 1e-11
            sources.append(matrix.source)
            assert netlist.source == "netlist"
        assert [part.shape for part in matrix.read([np.zeros((5, 0)), np.zeros((4, 0))])] == [(7, 0), (2, 0)]
    assert sources == ["checked", *3 * ["characterised"], "checked", "characterised"]


@pytest.mark.ngspice
def test_a_read_that_is_not_that_of_the_matrix_says_what_differs(
    ngspice: NgspiceEngine, rng: np.random.Generator
) -> None:
    crossbars = arrays(rng, (3, 3), (4, 2))
    with NgspiceEngine(characterise=True, check_every=2).program_bank(crossbars) as bank:
        drives = [np.full((3, 2), 0.1), np.full((4, 2), 0.1)]
        bank.read(drives)
        assert isinstance(bank, CharacterisedBank)
        bank._transfer["rows"][1][1] *= 1 + 1e-6
        bank.read(drives)  # not checked
        with pytest.raises(CharacterisationError, match=r"array 1 of 2[\s\S]*read 3[\s\S]*bit line 1[\s\S]*1\.0e-09"):
            bank.read(drives)


@pytest.mark.ngspice
def test_currents_that_cancel_are_no_error_of_the_matrix(ngspice: NgspiceEngine) -> None:
    """What is left of them is rounding, which is another one in the netlist than in the matrix."""
    crossbar = Crossbar([[3e-5], [7e-5], [2e-5]], r_word=1.0, r_bit=0.7, r_driver=50.0)
    with NgspiceEngine(characterise=True, check_every=1).program(crossbar) as session:
        K = session.read(np.eye(3))[0]
        cancelling = np.array([[K[1]], [-K[0]], [0.0]]) / K.max()
        assert np.abs(session.read(cancelling)).max() < 1e-14 * K.max()


@pytest.mark.ngspice
def test_cells_that_are_not_linear_cannot_be_characterised(ngspice: NgspiceEngine) -> None:
    with pytest.raises(InvalidInputError, match=r"needs linear cells and amplifiers, got Sinh.*characterise=False"):
        NgspiceEngine(characterise=True).program(Crossbar([[1e-4]], device=Sinh()))


@pytest.mark.ngspice
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"check_every": 0}, "check_every"),
        ({"check_every": None}, "check_every"),
        ({"workers": 0}, "workers"),
        ({"workers": 1.5}, "workers"),
        ({"tolerance": 0.0}, "tolerance"),
        ({"time_limit": float("nan")}, "time_limit"),
        ({"start_limit": "long"}, "start_limit"),
        ({"characterise": "no"}, "characterise"),
        ({"netlists": "folder"}, "list of folders"),
        ({"failures": 7}, "failures"),
    ],
)
def test_options_that_make_no_sense_are_refused(ngspice: NgspiceEngine, options: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        NgspiceEngine(**options)


@pytest.mark.ngspice
def test_the_trace_says_which_reads_were_driven(ngspice: NgspiceEngine, rng: np.random.Generator) -> None:
    trace = ReadTrace()
    engine = NgspiceEngine(characterise=True, check_every=3)
    weights = rng.standard_normal((3, 4))
    with program(weights, engine=engine, trace=trace, r_word=1.0, r_bit=1.0, tile=2) as analog:
        for _ in range(4):
            analog.mv(np.ones(4))
    with program(weights, engine="nodal", trace=trace) as analog:
        analog.mv(np.ones(4))
    assert trace.columns()["source"] == ["checked", "characterised", "characterised", "checked", ""]


@pytest.mark.ngspice
def test_a_closed_bank_has_no_process_and_reads_no_more(ngspice: NgspiceEngine, rng: np.random.Generator) -> None:
    (crossbar,) = arrays(rng, (2, 2))
    session = ngspice.program(crossbar)
    session.read(np.ones(2))
    session.close()
    session.close()
    with pytest.raises(InvalidInputError, match="closed"):
        session.read(np.ones(2))


@pytest.mark.ngspice
def test_a_broken_template_fails_with_a_deck_that_fails_by_hand(
    ngspice: NgspiceEngine, rng: np.random.Generator, tmp_path: Path
) -> None:
    (tmp_path / "cells").mkdir()
    (tmp_path / "cells" / "ohmic.cir.j2").write_text(
        "{% macro models() %}{% endmacro %}"
        "{% macro element(name, p, n, conductance, device) %}X{{ name }} {{ p }} {{ n }} forgotten{% endmacro %}"
    )
    (crossbar,) = arrays(rng, (2, 2))
    engine = NgspiceEngine(netlists=(tmp_path,), failures=tmp_path / "failed")
    with engine.program(crossbar) as session, pytest.raises(SimulationError, match="forgotten") as caught:
        session.read(np.ones(2))
    deck = re.search(r"ngspice -b (\S+)", str(caught.value))
    assert deck is not None
    if shutil.which("ngspice") is None:
        pytest.skip("no command `ngspice` on this machine to run the deck with")
    by_hand = subprocess.run(["ngspice", "-b", deck[1]], capture_output=True, text=True, check=False, timeout=300)
    assert "forgotten" in by_hand.stdout + by_hand.stderr


@pytest.mark.ngspice
def test_a_missing_library_is_an_error_that_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LIBRARY_VARIABLE, "/nowhere/libngspice.so")
    with pytest.raises(EngineUnavailableError, match=r"/nowhere[\s\S]*apt install[\s\S]*conda[\s\S]*brew"):
        NgspiceEngine()
    installation = describe()
    assert not installation.usable
    assert "apt install" in installation.advice[0]


@pytest.mark.ngspice
@pytest.mark.skipif(find_library() is None, reason="no libngspice on this machine")
def test_describe_tries_the_library() -> None:
    installation = describe()
    assert installation.usable
    assert installation.version is not None
    assert installation.klu == (installation.version >= 42)
    assert installation.pyspice is not None


@pytest.mark.ngspice
@pytest.mark.skipif(find_library() is None, reason="no libngspice on this machine")
def test_describe_survives_a_library_that_is_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    import _ctypes

    monkeypatch.setenv(LIBRARY_VARIABLE, _ctypes.__file__)
    assert "ngSpice_Init" in describe().advice[0]


@pytest.mark.ngspice
@pytest.mark.skipif(find_library() is None, reason="no libngspice on this machine")
def test_describe_survives_a_system_without_space(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses() -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("xbar_spice.engines.ngspice.worker_handle.tempfile.TemporaryFile", refuses)
    assert "No space left" in describe().advice[0]
