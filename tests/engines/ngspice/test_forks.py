"""Sessions in a program that is forked: each side has a simulator of its own, and reads what it asked for."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from support import assert_same_bits, engine_or_skip
from support.pauses import PATIENCE, Pauses

from xbar_spice.engines.ngspice.engine import NgspiceBank, NgspiceEngine
from xbar_spice.engines.ngspice.supervised_circuit import ResidentProcess
from xbar_spice.hardware.cells import Sinh
from xbar_spice.hardware.crossbar import Crossbar

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="programs cannot be forked here"),
    # Python warns of the threads beside a fork, which is what is tested here.
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning"),
]

DIVIDER = "* divider\nVa a 0 DC 0\nR1 a m 1k\nR2 m 0 2k\n.op\n.end\n"


def in_a_copy(action: Callable[[], Any]) -> Callable[[], Any]:
    """Starts an action in a forked copy of this program; what is returned waits for its result."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    copy = context.Process(target=lambda: theirs.send(action()))
    copy.start()
    theirs.close()

    def result() -> Any:
        assert ours.poll(PATIENCE)
        found = ours.recv()
        copy.join(PATIENCE)
        assert copy.exitcode == 0
        return found

    return result


@pytest.fixture
def volts(rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(-0.3, 0.3, (6, 40))


ENGINES: dict[str, dict[str, Any]] = {
    "driven": {"workers": 1},
    "characterised": {"characterise": True, "check_every": 2},
}


@pytest.mark.ngspice
@pytest.mark.parametrize("options", [*ENGINES.values(), {"workers": 2}], ids=[*ENGINES, "two workers"])
def test_both_sides_of_a_fork_read_what_they_asked_for(
    options: dict[str, Any], volts: np.ndarray, rng: np.random.Generator
) -> None:
    engine_or_skip("ngspice")
    crossbars = [Crossbar(rng.uniform(1e-5, 1e-4, (6, 5)), r_word=1.0, r_bit=2.0) for _ in range(2)]
    with NgspiceEngine(**options).program_bank(crossbars) as bank:
        wanted = bank.read([volts, volts]), bank.read([-volts, 2 * volts])

        def read_and_close() -> list[list[np.ndarray]]:
            with bank:
                return [bank.read([-volts, 2 * volts]) for _ in range(20)]

        theirs = in_a_copy(read_and_close)
        ours = [bank.read([volts, volts]) for _ in range(20)]
        for found, right in (*((found, wanted[0]) for found in ours), *((found, wanted[1]) for found in theirs())):
            for array in range(2):
                np.testing.assert_allclose(found[array], right[array], rtol=1e-10, atol=1e-20)
        assert_same_bits(bank.read([volts, volts])[1], wanted[0][1])


@pytest.mark.ngspice
def test_the_worker_of_the_original_outlives_its_copies(volts: np.ndarray) -> None:
    engine_or_skip("ngspice")
    crossbar = Crossbar(np.full((6, 4), 1e-5), device=Sinh(0.2))
    with NgspiceEngine(workers=1).program_bank([crossbar]) as bank:
        assert isinstance(bank, NgspiceBank)
        before = bank.read([volts])[0]
        pid = bank.processes[0].pid
        assert in_a_copy(lambda: [process.pid for process in bank.processes])() == [None]
        in_a_copy(bank.close)()
        assert bank.processes[0].pid == pid
        np.testing.assert_allclose(bank.read([volts])[0], before, rtol=1e-9)


@pytest.mark.ngspice
def test_a_copy_made_in_the_middle_of_a_read_waits_for_nobody() -> None:
    engine_or_skip("ngspice")
    ones = np.ones((1, 40))
    with Pauses("read") as pauses, ResidentProcess(DIVIDER, ["Va"]) as circuit:
        found = []
        reader = threading.Thread(target=lambda: found.append(circuit.read(ones)))
        reader.start()
        pauses.wait()

        def read_alone() -> np.ndarray:
            pauses.close()  # those of the copy; its worker does not stop
            return circuit.read(2 * ones)

        np.testing.assert_allclose(in_a_copy(read_alone)(), -2 / 3e3 * ones, rtol=1e-12)
        pauses.close()
        reader.join()
        np.testing.assert_allclose(found[0], -1 / 3e3 * ones, rtol=1e-12)
