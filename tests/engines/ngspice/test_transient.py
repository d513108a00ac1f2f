"""Transient analyses in a worker process: waveforms, and what happens when one fails."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading

import numpy as np
import psutil
import pytest
from support.pauses import Pauses

from xbar_spice.engines.ngspice.locate import find_library
from xbar_spice.engines.ngspice.transient import run_transient
from xbar_spice.errors import InvalidInputError, ReadTimeoutError, SimulationError, SimulatorCrashError

pytestmark = [
    pytest.mark.ngspice,
    pytest.mark.skipif(find_library() is None, reason="no libngspice on this machine"),
]

RC = """* low pass
Va a 0 PULSE(0 1 0 1n 1n 10u 1)
.subckt load in
R1 in out 1k
C1 out 0 1n
.ends
Xload a load
.options klu reltol=1e-5
.tran 10n 9u 0 10n
.save i(va)
.meas tran last FIND i(va) AT=5u
.end
"""
LONG = RC.replace(".tran 10n 9u 0 10n", ".tran 1p 1 0 1p")


def test_waveforms_of_sources_and_nodes():
    t, into, volts = run_transient(RC, ["Va"], ["a"])
    late = t > 1e-8
    assert into.shape == volts.shape == (1, t.size)
    assert (np.diff(t) > 0).all()
    assert t[[0, -1]] == pytest.approx([0, 9e-6])
    assert volts[0, late] == pytest.approx(1.0)
    assert into[0, late] == pytest.approx(-1e-3 * np.exp(-(t[late] - 0.5e-9) / 1e-6), abs=1e-7)


@pytest.mark.parametrize(
    ("deck", "message"),
    [
        (RC.replace(".tran 10n 9u 0 10n", ""), "no solution came"),
        (RC.replace("R1 in out 1k", "R1 in out nonsense"), "ngspice failed"),
    ],
    ids=["no analysis", "a wrong card"],
)
def test_a_failure_can_be_reproduced(deck, message, tmp_path):
    with pytest.raises(SimulationError, match=message) as caught:
        run_transient(deck, ["Va"], ["a"], failures=tmp_path)
    path, command = re.search(r"deck: (\S+)\n  to reproduce: (.*)", str(caught.value)).groups()
    with open(path) as kept:
        assert kept.read() == deck
    assert command == f"ngspice -b {path}"


def test_a_node_that_is_not_there(tmp_path):
    with pytest.raises(SimulationError, match="the circuit has no b"):
        run_transient(RC, ["Va"], ["b"], failures=tmp_path)


def children() -> set[int]:
    """Process ids of this process's children, zombies included."""
    return {child.pid for child in psutil.Process().children()}


def test_an_analysis_that_takes_too_long(tmp_path):
    before = children()
    with pytest.raises(ReadTimeoutError, match=r"hung twice \(silent for 0.5 s\); raise time_limit"):
        run_transient(LONG, ["Va"], [], time_limit=0.5, failures=tmp_path)
    assert children() == before


@pytest.mark.parametrize("times", [1, 2])
def test_a_worker_that_is_killed_is_replaced_once(times, tmp_path):
    with Pauses("transient") as pauses:

        def kill() -> None:
            for _ in range(times):
                os.kill(pauses.wait(), signal.SIGKILL)
            pauses.close()

        thread = threading.Thread(target=kill)
        thread.start()
        try:
            if times == 1:
                assert run_transient(RC, ["Va"], [])[0][-1] == pytest.approx(9e-6)
            else:
                with pytest.raises(SimulatorCrashError, match=r"crashed twice \(killed by SIGKILL\)"):
                    run_transient(RC, ["Va"], [], failures=tmp_path)
        finally:
            thread.join()


@pytest.mark.parametrize(
    ("deck", "sources", "nodes", "message"),
    [
        (RC.replace(".end\n", ".control\nshell true\n.endc\n.end\n"), ["Va"], [], "without commands"),
        (RC, ["Va; shell true"], [], "name of a voltage source"),
        (RC, ["Va"], ["a) i(va"], "name of a node"),
    ],
)
def test_commands_and_names_that_are_more_are_refused(deck, sources, nodes, message):
    with pytest.raises(InvalidInputError, match=message):
        run_transient(deck, sources, nodes)


def test_a_time_limit_is_a_number_of_seconds():
    with pytest.raises(InvalidInputError, match="positive number of seconds, got 0"):
        run_transient(RC, ["Va"], [], time_limit=0.0)


def test_the_deck_runs_by_hand(tmp_path):
    (tmp_path / "rc.cir").write_text(RC)
    done = subprocess.run(["ngspice", "-b", "rc.cir"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert float(re.search(r"^last\s+=\s+(\S+)", done.stdout, re.M)[1]) == pytest.approx(-np.exp(-5) * 1e-3, rel=1e-2)
