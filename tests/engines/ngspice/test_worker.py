"""The worker process and its supervisor: what they answer, and what they survive."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from support import assert_same_bits
from support.pauses import PATIENCE, Pauses, run_in_workers

from xbar_spice.engines.ngspice import supervised_circuit as process_module
from xbar_spice.engines.ngspice import worker_handle as supervisor
from xbar_spice.engines.ngspice.cards import (
    checked_nodes,
    checked_sources,
    resident_cards,
    resistive,
    with_volts,
)
from xbar_spice.engines.ngspice.locate import LIBRARY_VARIABLE, find_library
from xbar_spice.engines.ngspice.messages import Severity, classify
from xbar_spice.engines.ngspice.supervised_circuit import ResidentProcess
from xbar_spice.errors import (
    EngineUnavailableError,
    InvalidInputError,
    NonConvergenceError,
    ReadTimeoutError,
    SimulationError,
    SimulatorCrashError,
    SimulatorExitError,
    SingularCircuitError,
)

needs_library = pytest.mark.skipif(find_library() is None, reason="no libngspice on this machine")

DIVIDER = "* divider\nVa a 0 DC 0\nR1 a m 1k\nR2 m b 2k\nVb b 0 DC 0\n.options klu\n.op\n.save i(va)\n.end\n"
SOURCES = ("Va", "Vb")


def ladder(cells: int) -> str:
    """A square network of resistors."""
    lines = ["* square network", "Va n0_0 0 DC 0", f"Vb n{cells - 1}_{cells - 1} 0 DC 0", ".options klu", ".op"]
    for i in range(cells):
        for j in range(cells):
            lines.append(f"Rx{i}_{j} n{i}_{j} n{i}_{j + 1} {1 + 0.1 * i:.17g}" if j + 1 < cells else "*")
            lines.append(f"Ry{i}_{j} n{i}_{j} n{i + 1}_{j} {1 + 0.1 * j:.17g}" if i + 1 < cells else "*")
            lines.append(f"Rg{i}_{j} n{i}_{j} 0 1k")
    return "\n".join([*lines, ".end"])


@pytest.fixture
def volts(rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(-1, 1, (2, 100))


@contextmanager
def meanwhile(action: Callable[[], object]) -> Iterator[None]:
    """Runs something beside the block, and waits for its end too."""
    thread = threading.Thread(target=action)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def gone(pid: int) -> bool:
    """Whether a process, of whomever, ends while there is patience."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], PATIENCE)[0])
    finally:
        os.close(descriptor)


# --- answers ----------------------------------------------------------------------------------------------------------


@pytest.mark.ngspice
@needs_library
def test_the_current_of_a_source_is_positive_from_its_node_through_it_to_ground() -> None:
    with ResidentProcess(DIVIDER, SOURCES) as circuit:
        currents = circuit.read(np.array([[3.0, 0.0], [0.0, 0.3]]))
    np.testing.assert_allclose(currents, [[-1e-3, 1e-4], [1e-3, -1e-4]], rtol=1e-14)


@pytest.mark.ngspice
@needs_library
def test_voltages_of_nodes_follow_the_currents() -> None:
    with ResidentProcess(DIVIDER, SOURCES, nodes=["B", "a"]) as circuit:
        results = circuit.read(np.array([[1.0, -2.0], [3.0, 0.5]]))
    assert results[2:].tolist() == [[3.0, 0.5], [1.0, -2.0]]


@pytest.mark.ngspice
@needs_library
def test_volts_and_amperes_pass_without_loss_of_a_bit(volts: np.ndarray) -> None:
    deck = "* one ohm\nVa a 0 0\nR1 a 0 1\n.op\n.end"
    with ResidentProcess(deck, ["Va"]) as circuit:
        np.testing.assert_array_equal(circuit.read(volts[:1]), -volts[:1])


@pytest.mark.ngspice
@needs_library
@pytest.mark.parametrize("points", [64, 8192])
def test_a_batch_is_its_single_reads_bit_for_bit(
    volts: np.ndarray, points: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_module, "POINTS", points)  # 64 makes the sweep start anew in the midst of both
    with ResidentProcess(ladder(8), SOURCES) as circuit:
        batch = circuit.read(volts)
        singles = np.hstack([circuit.read(volts[:, [k]]) for k in range(volts.shape[1])])
    assert_same_bits(batch, singles)


@pytest.mark.ngspice
@needs_library
def test_an_empty_batch_starts_nothing() -> None:
    with ResidentProcess(DIVIDER, SOURCES) as circuit:
        assert circuit.read(np.zeros((2, 0))).shape == (2, 0)
        assert circuit.pid is None


@pytest.mark.ngspice
@needs_library
def test_the_worker_does_not_grow(volts: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_module, "POINTS", 64)
    with ResidentProcess(ladder(8), SOURCES) as circuit:
        for _ in range(100):
            circuit.read(volts[:, :1])
        assert circuit.pid is not None
        worker = psutil.Process(circuit.pid)
        before = worker.memory_info().rss
        for _ in range(1000):
            circuit.read(volts[:, :1])
        assert worker.memory_info().rss - before < 2**21


@pytest.mark.ngspice
@needs_library
def test_warnings_as_errors_in_the_user_s_program_do_not_reach_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    with ResidentProcess(DIVIDER, SOURCES) as circuit:
        assert circuit.read(np.ones((2, 1))).shape == (2, 1)


# --- crashes and hangs ------------------------------------------------------------------------------------------------


@pytest.mark.ngspice
@needs_library
def test_a_worker_killed_between_reads_is_replaced(volts: np.ndarray) -> None:
    with ResidentProcess(ladder(8), SOURCES) as circuit:
        before = circuit.read(volts)
        killed = circuit.pid
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        np.testing.assert_array_equal(circuit.read(volts), before)
        assert circuit.pid not in (killed, None)


@pytest.mark.ngspice
@needs_library
def test_a_worker_killed_in_the_middle_of_a_read_is_replaced(volts: np.ndarray) -> None:
    with Pauses("read") as pauses, ResidentProcess(ladder(8), SOURCES) as circuit:
        killed = []

        def kill() -> None:
            killed.append(pauses.wait())
            pauses.close()
            os.kill(killed[0], signal.SIGKILL)

        with meanwhile(kill):
            after = circuit.read(volts)
        np.testing.assert_array_equal(after, circuit.read(volts))
        assert circuit.pid not in (*killed, None)


@pytest.mark.ngspice
@needs_library
@pytest.mark.parametrize("place", ["load", "read"])
def test_a_worker_killed_again_and_again_is_a_crash(place: str, volts: np.ndarray, tmp_path: Path) -> None:
    with Pauses(place) as pauses, ResidentProcess(ladder(8), SOURCES, failures=tmp_path) as circuit:

        def kill() -> None:
            for _ in range(2):
                os.kill(pauses.wait(), signal.SIGKILL)

        with meanwhile(kill), pytest.raises(SimulatorCrashError, match="SIGKILL"):
            circuit.read(volts)
        assert len(list(tmp_path.iterdir())) == 1
        pauses.close()
        assert circuit.read(volts).shape == volts.shape  # the next read finds a simulator


@pytest.mark.ngspice
@needs_library
def test_a_read_that_takes_too_long_is_a_timeout(volts: np.ndarray, tmp_path: Path) -> None:
    with (
        Pauses("read"),  # nobody lets them go on
        ResidentProcess(ladder(8), SOURCES, time_limit=0.2, failures=tmp_path) as circuit,
        pytest.raises(ReadTimeoutError, match=r"raise time_limit[\s\S]*ngspice -b "),
    ):
        circuit.read(volts)


@pytest.mark.ngspice
@needs_library
def test_a_stopped_worker_is_replaced(volts: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    with ResidentProcess(ladder(2), SOURCES) as circuit:
        before = circuit.read(volts)
        assert circuit.pid is not None
        os.kill(circuit.pid, signal.SIGSTOP)
        drop = circuit.drop

        def drop_and_be_patient() -> None:
            circuit.time_limit = PATIENCE  # the next worker is not stopped, and may be as slow as it is
            drop()

        circuit.time_limit = 0.2
        monkeypatch.setattr(circuit, "drop", drop_and_be_patient)
        many = np.tile(volts, 150)  # more than the pipe holds, so that sending it blocks
        np.testing.assert_array_equal(circuit.read(many)[:, :100], before)
        assert circuit.time_limit == PATIENCE


@pytest.mark.ngspice
@needs_library
def test_ctrl_c_is_the_supervisor_s_business(volts: np.ndarray) -> None:
    with ResidentProcess(DIVIDER, SOURCES) as circuit:
        circuit.read(volts)
        pid = circuit.pid
        assert pid is not None
        os.kill(pid, signal.SIGINT)
        circuit.read(volts)
        assert circuit.pid == pid


@pytest.mark.ngspice
@needs_library
def test_a_simulator_that_ends_itself_is_an_error_of_its_own(tmp_path: Path) -> None:
    deck = "* title\nVa a 0 0\nR1 a 0 1k\n.op\n.end"
    circuit = ResidentProcess(deck, ["Va"], failures=tmp_path)
    assert circuit._cards is not None
    circuit._cards, circuit._paired = [*circuit._cards[:-1], ".control", "quit", ".endc", ".end"], None
    with circuit, pytest.raises(SimulatorExitError, match=r"ended itself twice[\s\S]*ngspice -b "):
        circuit.read(np.ones((1, 1)))


@pytest.mark.ngspice
@needs_library
@pytest.mark.parametrize("place", ["load", "read"])
def test_a_circuit_that_another_thread_closes_starts_no_worker_again(
    place: str, volts: np.ndarray, tmp_path: Path
) -> None:
    ourselves = psutil.Process()
    descriptors, children = ourselves.num_fds(), {child.pid for child in ourselves.children()}
    with Pauses(place) as pauses, ResidentProcess(ladder(8), SOURCES, failures=tmp_path) as circuit:

        def close() -> None:
            pauses.wait()
            circuit.close()

        with meanwhile(close), pytest.raises(SimulationError, match="closed in the middle"):
            circuit.read(volts)
        assert circuit.pid is None
        with pytest.raises(SimulationError, match="closed in the middle"):
            circuit.read(volts, circuit.closings - 1)  # asked for before it was closed
        assert circuit.pid is None
    assert ourselves.num_fds() == descriptors
    assert {child.pid for child in ourselves.children()} == children
    assert not list(tmp_path.iterdir())


@pytest.mark.ngspice
@needs_library
def test_a_circuit_that_is_closed_while_its_worker_starts_leaves_nothing_behind(
    volts: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    children = {child.pid for child in psutil.Process().children()}
    with ResidentProcess(DIVIDER, SOURCES) as circuit:
        closings = circuit.closings
        start = process_module.Worker

        def start_late() -> process_module.Worker:
            closer.start()
            while circuit.closings == closings:  # the other thread counts before it waits for this one
                os.sched_yield()
            return start()

        closer = threading.Thread(target=circuit.close)
        monkeypatch.setattr(process_module, "Worker", start_late)
        with pytest.raises(SimulationError, match="closed in the middle"):
            circuit.read(volts)
        closer.join()
    assert {child.pid for child in psutil.Process().children()} == children


@pytest.mark.ngspice
@needs_library
def test_a_signal_handler_may_close_a_circuit_in_its_own_read() -> None:
    program_text = (
        "import os, signal, sys, threading\nimport numpy as np\n"
        "from support.pauses import Pauses\n"
        "from xbar_spice.engines.ngspice.supervised_circuit import ResidentProcess\n"
        "from xbar_spice.errors import SimulationError\n"
        "circuit = ResidentProcess(sys.stdin.read(), ('Va', 'Vb'))\n"
        "signal.signal(signal.SIGTERM, lambda *_: circuit.close())\n"
        "with Pauses('read') as pauses:\n"
        "    threading.Thread(target=lambda: (pauses.wait(), os.kill(os.getpid(), signal.SIGTERM))).start()\n"
        "    try:\n        circuit.read(np.ones((2, 20000)))\n"
        "    except SimulationError as error:\n        print(error, circuit.pid)\n"
    )
    done = program(program_text, input=ladder(8))
    assert (done.returncode, done.stderr) == (0, "")
    assert "closed in the middle" in done.stdout
    assert done.stdout.split()[-1] == "None"


# --- decks that cannot be solved --------------------------------------------------------------------------------------

BAD_CIRCUITS = {
    "an element without a value": ("R1 a b\nR2 b 0 1k", SimulationError),
    "a value that is no number": ("R1 a 0 xx", SimulationError),
    "an unknown subcircuit": ("R1 a 0 1k\nX1 a 0 nothere", SimulationError),
    "an unknown model": ("R1 a 0 1k\nD1 a 0 nothere", SimulationError),
    "a missing file": ("R1 a 0 1k\n.include /nowhere/models.lib", SimulationError),
    "an undefined parameter": ("R1 a 0 {nothere}", SimulationError),
    "an unknown function": ("B1 a 0 i=nothere(v(a))", SimulationError),
    "a floating resistor": ("R1 a 0 1k\nR2 b c 1k", SingularCircuitError),
    "a floating resistor under KLU": ("R1 a 0 1k\nR2 b c 1k\n.options klu", SingularCircuitError),
    "a floating resistor beside a diode": ("D1 a 0 dio\n.model dio d\nR2 b c 1k\n.options klu", SingularCircuitError),
    "an unknown subcircuit among resistors": ("R1 a 0 1k\nX1 a 0 nothere\nR2 a 0 2k", SimulationError),
    "a loop of voltage sources": ("R1 a 0 1k\nV2 a 0 1", SingularCircuitError),
    "no solution": (
        "R1 a b 1k\nB1 b 0 i=(v(b) > 0.3) ? 1e-3 : -1e-3\nR3 b 0 1g\n.options itl1=20 itl2=20 gminsteps=0",
        NonConvergenceError,
    ),
}


@pytest.mark.ngspice
@needs_library
@pytest.mark.parametrize(("circuit", "error"), BAD_CIRCUITS.values(), ids=BAD_CIRCUITS)
def test_a_circuit_that_cannot_be_solved_is_an_error_that_can_be_reproduced(
    circuit: str, error: type[SimulationError], tmp_path: Path
) -> None:
    deck = f"* error in the title\nVa a 0 DC 0\n{circuit}\n.op\n.end\n"
    with ResidentProcess(deck, ["Va"], failures=tmp_path) as resident, pytest.raises(SimulationError) as caught:
        resident.read(np.array([[0.25]]))
    assert type(caught.value) is error, caught.value
    assert "no circuit loaded" not in str(caught.value)
    (path,) = tmp_path.iterdir()
    assert f"ngspice -b {path}" in str(caught.value)
    assert path.read_text() == with_volts(deck, ["Va"], [0.25])
    assert "Va a 0 DC 0.25" in path.read_text()
    assert resident.pid is None


@pytest.mark.ngspice
@needs_library
def test_the_deck_of_an_error_holds_the_vector_that_failed(tmp_path: Path) -> None:
    no_solution_above_1_volt = "B1 b 0 i=(v(a) > 1) ? ((v(b) > 0.3) ? 1e-3 : -1e-3) : v(b)"
    deck = f"* title\nVa a 0 0\nR1 a b 1k\n{no_solution_above_1_volt}\n.options itl1=20 itl2=20 gminsteps=0\n.op\n.end"
    with ResidentProcess(deck, ["Va"], failures=tmp_path) as circuit, pytest.raises(SimulationError):
        circuit.read(np.linspace(0.1, 2.0, 40)[np.newaxis])
    (path,) = tmp_path.iterdir()
    # Within the part of 16 vectors that did not come back.
    assert 0.8 < float(path.read_text().splitlines()[1].split()[-1]) <= 1.01 + 16 * 0.05


@pytest.mark.ngspice
@needs_library
def test_good_circuits_raise_nothing_and_warn_of_nothing(caplog: pytest.LogCaptureFixture) -> None:
    deck = "* error, singular matrix: a title may say anything\nVa a 0 0\nR1 a 0 1k\n.options klu\n.op\n.end"
    with ResidentProcess(deck, ["Va"]) as circuit:
        circuit.read(np.ones((1, 3)))
    assert not caplog.records


@pytest.mark.ngspice
@needs_library
def test_a_library_that_is_another_one_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    import _ctypes

    monkeypatch.setenv(LIBRARY_VARIABLE, _ctypes.__file__)
    with ResidentProcess(DIVIDER, SOURCES) as circuit, pytest.raises(EngineUnavailableError, match="ngSpice_Init"):
        circuit.read(np.ones((2, 1)))


# --- nothing is left --------------------------------------------------------------------------------------------------


@pytest.mark.ngspice
@needs_library
def test_no_process_no_descriptor_and_no_file_is_left(
    volts: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    ourselves = psutil.Process()
    descriptors, children = ourselves.num_fds(), {child.pid for child in ourselves.children()}
    for _ in range(3):
        with ResidentProcess(DIVIDER, SOURCES) as circuit:
            circuit.read(volts)
            assert circuit.pid is not None
            os.kill(circuit.pid, signal.SIGKILL)
            circuit.read(volts)
    assert ourselves.num_fds() == descriptors
    assert {child.pid for child in ourselves.children()} == children  # zombies count as children
    assert not list(tmp_path.iterdir())


PROGRAM = """
import os, pathlib, signal, sys, threading
import numpy as np
from support.pauses import Pauses
from xbar_spice.engines.ngspice.supervised_circuit import ResidentProcess
signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background of a shell it would be ignored
pauses = Pauses("read")
def in_the_middle(number):
    threading.Thread(target=lambda: (pauses.wait(), os.kill(os.getpid(), number))).start()
circuit = ResidentProcess(pathlib.Path(sys.argv[1]).read_text(), ("Va", "Vb"))
circuit.read(np.ones((2, 1)))
print(circuit.pid, flush=True)
{ending}
pauses.close()
"""
ENDINGS = {
    "falls off its end": ("", 0),
    "is killed": ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
    "is killed during a read": (
        "in_the_middle(signal.SIGKILL)\ncircuit.read(np.ones((2, 100)))",
        -signal.SIGKILL,
    ),
    "is interrupted during a read": (
        "in_the_middle(signal.SIGINT)\n"
        "try:\n    circuit.read(np.ones((2, 100)))\n"
        "except KeyboardInterrupt:\n    pauses.close()\n    sys.exit(3 if circuit.pid is None else 4)",
        3,
    ),
}


def program(text: str, *arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
    """Runs a script without a `__main__` guard, with warnings as errors so that a process left open would show."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", text, *arguments],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        **more,
    )


@pytest.mark.ngspice
@needs_library
@pytest.mark.parametrize(("ending", "code"), ENDINGS.values(), ids=ENDINGS)
def test_the_worker_ends_with_the_program_that(ending: str, code: int, tmp_path: Path) -> None:
    (tmp_path / "deck.cir").write_text(ladder(8))
    done = program(PROGRAM.format(ending=ending), str(tmp_path / "deck.cir"))
    assert done.returncode == code, done.stderr
    assert done.stderr == ""
    assert gone(int(done.stdout))


# --- what users have lying about --------------------------------------------------------------------------------------

HOSTILE = "set ngbehavior=ltpsa\noption klu=0 reltol=0.1 abstol=1 gmin=1e-3 rshunt=1k\nset temp=100\nquit 3\n"


@pytest.mark.ngspice
@needs_library
@pytest.mark.parametrize("name", [".spiceinit", "spice.rc"])
def test_files_of_the_user_change_nothing(name: str, volts: np.ndarray, tmp_path: Path, monkeypatch: Any) -> None:
    deck = DIVIDER.replace(".op\n", ".model dio d\nD1 m 0 dio\n.op\n")
    with ResidentProcess(deck, SOURCES) as circuit:
        wanted = circuit.read(volts)
    for place in ("home", "work"):
        (tmp_path / place).mkdir()
        (tmp_path / place / name).write_text(HOSTILE)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "work")
    with ResidentProcess(deck, SOURCES) as circuit:
        np.testing.assert_array_equal(circuit.read(volts), wanted)


@pytest.mark.ngspice
@needs_library
def test_relative_names_in_a_deck_start_where_the_user_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my parts.lib").write_text("* parts\n.subckt part p n\nR1 p n 2\n.ends\n")
    monkeypatch.chdir(tmp_path)
    with ResidentProcess('* title\nVa a 0 0\nX1 a 0 part\n.include "my parts.lib"\n.op\n.end', ["Va"]) as circuit:
        assert circuit.read(np.ones((1, 1))).tolist() == [[-0.5]]


# --- two vectors at a time --------------------------------------------------------------------------------------------

OTHER_CIRCUITS = ["D1 a 0 dio", "R1 a 0 {x}", "R1 a 0 r='v(a)'", "C1 a 0 1p", "V2 b 0 1", "B1 a 0 i=v(a)", ".include x"]


def test_only_circuits_of_plain_resistors_are_resistive() -> None:
    assert resistive(DIVIDER, SOURCES)
    assert resistive("* title\n.subckt c p n\nR1 p n 1.5e3\n.ends\nVa a 0 0\n+ AC 1\nX1 a 0\n+ c\n.op\n.end", ["va"])
    assert not resistive(DIVIDER, ["Va"])  # the other source stays as it is
    assert not resistive("* title\n.subckt c p n\nVa p n 1\n.ends\nVa a 0 0\nX1 a 0 c\n.end", ["va"])
    for circuit in OTHER_CIRCUITS:
        assert not resistive(f"* title\nVa a 0 0\nR9 a 0 1\n{circuit}\n.end", ["Va"]), circuit


@pytest.mark.ngspice
@needs_library
@pytest.mark.parametrize("size", [1e-300, 1e-30, 1.0, 1e30])
def test_both_ways_of_reading_agree_bit_for_bit_in_the_voltages(size: float, volts: np.ndarray) -> None:
    deck = "* one ohm\nVa a 0 0\nR1 a 0 1\n.op\n.end"
    neighbour = np.stack([volts[0] * size, volts[1]], axis=1).reshape(1, -1)  # of a very different size
    with ResidentProcess(deck, ["Va"]) as paired:
        found = paired.read(neighbour)
    if size < 1e-290:  # ngspice knows no such voltages
        neighbour[:, ::2] = 0
    np.testing.assert_array_equal(found, -neighbour)


@pytest.mark.ngspice
@needs_library
def test_a_title_that_looks_like_a_source_is_a_title() -> None:
    with ResidentProcess("Va a 0 DC 9\nVa a 0 DC 0\nR1 a 0 2\n.op\n.end", ["Va"]) as circuit:
        assert circuit.read(np.ones((1, 1))).tolist() == [[-0.5]]


@pytest.mark.ngspice
@needs_library
def test_a_network_read_two_vectors_at_a_time_is_the_network_read_one_at_a_time(volts: np.ndarray) -> None:
    deck = ladder(12)
    with_a_diode_that_does_nothing = deck.replace(".op\n", ".model dio d(is=1e-60)\nD1 0 0 dio\n.op\n")
    with (
        ResidentProcess(deck, SOURCES, nodes=["n3_4"]) as paired,
        ResidentProcess(with_a_diode_that_does_nothing, SOURCES, nodes=["n3_4"]) as swept,
    ):
        assert paired._paired is not None
        assert swept._paired is None
        np.testing.assert_allclose(paired.read(volts), swept.read(volts), rtol=1e-12)


# --- names and text ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["", "R1", "V", "V1\nquit", "V1;quit", "V1 0 0", "V1 [shell]", "v(1)", "Vä", "V$x", "V1\n", "@V1"]
)
def test_names_that_are_not_plain_words_are_refused(name: str) -> None:
    with pytest.raises(InvalidInputError, match="name of a voltage source"):
        checked_sources([name])


@pytest.mark.parametrize("name", ["", "0a", "a)", "a b", "a\n.end", "v(a)", "a;b"])
def test_nodes_that_are_not_plain_words_are_refused(name: str) -> None:
    with pytest.raises(InvalidInputError, match="name of a node"):
        checked_nodes([name])


def test_the_same_name_twice_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="same name"):
        checked_sources(["Va", "vA"])


def test_resident_cards_keep_the_circuit_and_replace_what_is_analysed() -> None:
    deck = """\
* .op in the title stays
.subckt cell p n
Va p n 5
.ends
VA a 0 DC
+ 3
X1 a 0
+ cell
.op
.save i(va)
+ i(vb)
.options klu
.end
"""
    assert resident_cards(deck, ["Va"], 10) == [
        "* .op in the title stays",
        ".subckt cell p n",
        "Va p n 5",
        ".ends",
        "VA a 0 external",
        "X1 a 0",
        "+ cell",
        ".options klu",
        "vxbar_point xbar_point 0 0",
        "rxbar_point xbar_point 0 1",
        ".save i(Va)",
        ".dc vxbar_point 0 9 1",
        ".end",
    ]


def test_a_source_that_is_not_in_the_deck_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="no voltage source vc"):
        resident_cards(DIVIDER, ["Vc"], 10)


def test_a_deck_with_commands_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="without commands"):
        resident_cards("* title\nVa a 0 0\n.control\nshell true\n.endc\n.end", ["Va"], 10)


@pytest.mark.parametrize("limit", [0.0, -1.0, float("nan"), float("inf")])
def test_a_limit_is_a_positive_number_of_seconds(limit: float) -> None:
    with pytest.raises(InvalidInputError, match="time_limit"):
        ResidentProcess(DIVIDER, SOURCES, time_limit=limit)


@pytest.mark.parametrize(
    ("line", "severity"),
    [
        ("Using KLU as Direct Linear Solver", Severity.INFORMATION),
        ("Note: can't find init file.", Severity.INFORMATION),
        ("Note: Starting dynamic gmin stepping", Severity.INFORMATION),
        ("doAnalyses: pause requested", Severity.INFORMATION),
        ("run simulation interrupted", Severity.INFORMATION),
        ("Stopped after 4 steps.", Severity.INFORMATION),
        ("Circuit: * error of a singular matrix", Severity.INFORMATION),
        ("Trying gmin =   1.0000E-04 Note: One successful gmin step", Severity.INFORMATION),
        ("Trying gmin =   5.6234E-03 Warning: Further gmin increment", Severity.WARNING),
        ("Warning: True gmin stepping failed", Severity.WARNING),
        ("something that nobody has seen before", Severity.WARNING),
        ("Error: unknown subckt: x1 a 0 nothere", Severity.FAILURE),
        ("Error on line 3 or its substitute:", Severity.FAILURE),
        ("Warning: singular matrix:  check node v1#branch", Severity.FAILURE),
        ("Trying gmin =   1.0000E-03 Warning: singular matrix:  check node b", Severity.FAILURE),
        ("Warning: 'r1 a b' is not a valid resistor instance line, ignored!", Severity.FAILURE),
        ("Warning: r1: resistance to low, set to 1 mOhm", Severity.FAILURE),
        ("Warning: Value of resistor r1 is too small, set to 1.000000e-12", Severity.FAILURE),
        ("doAnalyses: DC:  Timestep too small;  vindex = 0: trouble with node b", Severity.FAILURE),
        ("run simulation(s) aborted", Severity.FAILURE),
        ("Warning (Factor): KLU Matrix is SINGULAR", Severity.FAILURE),
        ("Warning (ReFactor): KLU Matrix is SINGULAR", Severity.WARNING),
        ("Error (Factor): KLUnumeric object is NULL. A problem occurred", Severity.FAILURE),
        ("Undefined parameter [nothere]", Severity.FAILURE),
        ('Too few parameters for subcircuit type "cell" (instance: x1)', Severity.FAILURE),
        ("Warning: Cannot read 2 nodes in line r1 a", Severity.FAILURE),
        ("Warning: 'c1 a' is not a valid capacitor instance line, ignored!", Severity.FAILURE),
        ("Warning: Model issue on line 3 :", Severity.FAILURE),
        ("*** Non-convergence during load ***", Severity.FAILURE),
        ("Linear circuit, option noopac given: no OP analysis", Severity.INFORMATION),
        ("Note: Stopped after 4 steps.", Severity.INFORMATION),
    ],
)
def test_every_line_of_the_simulator_has_a_severity(line: str, severity: Severity) -> None:
    assert classify(line) is severity


@pytest.mark.ngspice
def test_find_library_never_replaces_one_that_was_asked_for(tmp_path: Path) -> None:
    library = tmp_path / "libngspice.so.0"
    assert find_library({LIBRARY_VARIABLE: str(library)}) is None
    library.touch()
    assert find_library({LIBRARY_VARIABLE: str(library)}) == str(library)
    assert find_library({"LD_LIBRARY_PATH": f"/nowhere:{tmp_path}"}) == str(library)


# --- what the system refuses ------------------------------------------------------------------------------------------


def refuses(*_: Any, **__: Any) -> Any:
    raise OSError(28, "No space left on device")


@pytest.mark.ngspice
@needs_library
@pytest.mark.parametrize("what", ["tempfile.TemporaryFile", "socket.socketpair", "subprocess.Popen"])
def test_a_worker_that_cannot_start_is_our_error_and_leaves_nothing(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    descriptors = psutil.Process().num_fds()
    with ResidentProcess(DIVIDER, SOURCES) as circuit:
        with monkeypatch.context() as patched:
            patched.setattr(f"xbar_spice.engines.ngspice.worker_handle.{what}", refuses)
            with pytest.raises(EngineUnavailableError, match=r"cannot start a worker.*No space left[\s\S]*TMPDIR"):
                circuit.read(np.ones((2, 1)))
        assert psutil.Process().num_fds() == descriptors
        assert circuit.read(np.ones((2, 1))).shape == (2, 1)


@pytest.mark.ngspice
@needs_library
@pytest.mark.parametrize("name", ["a" * 300, "\ud800", "a\0b", "file/inside", "/proc/nowhere"])
def test_a_deck_that_cannot_be_kept_hides_no_failure(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    deck = "* title\nVa a 0 0\nR1 a 0 xx\n.op\n.end\n"
    with (
        ResidentProcess(deck, ["Va"], failures=tmp_path / name) as circuit,
        pytest.raises(SimulationError, match=r"ngspice failed[\s\S]*could not be kept.*failures=[\s\S]*last lines"),
    ):
        circuit.read(np.ones((1, 1)))


@pytest.mark.ngspice
@needs_library
def test_no_line_goes_unread_where_the_log_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "START_WORKER", supervisor.START_WORKER)  # as it was, at the end
    run_in_workers("import os\ndef full(*_):\n    raise OSError(28, 'full')\nos.write = full\n")
    deck = "* title\nVa a 0 0\nR1 a 0 1k\nR2 b c 1k\n.op\n.end"
    with (
        ResidentProcess(deck, ["Va"], failures=tmp_path) as circuit,
        pytest.raises(SingularCircuitError, match="singular matrix"),
    ):
        circuit.read(np.ones((1, 1)))
