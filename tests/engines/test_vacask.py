"""The second simulator: what it cannot express is refused, and an end without a result is a failure."""

from __future__ import annotations

import numpy as np
import pytest
from support import engine_or_skip, relative

import xbar_spice as xs
from xbar_spice.errors import EngineUnavailableError, InvalidInputError, SimulationError
from xbar_spice.hardware.behind_via import BehindVia
from xbar_spice.hardware.dynamic.yakopcic import TwoSidedSinh
from xbar_spice.spice.vacask import SIMULATOR_VARIABLE


@pytest.fixture(scope="module", autouse=True)
def judge():
    return engine_or_skip("vacask")


@pytest.mark.parametrize("terminations", [xs.Terminations(), xs.Terminations("double", "far_ends", "double")])
def test_a_bank_is_read_as_by_the_exact_solver(judge, terminations, rng):
    conductance = rng.uniform(5e-5, 2e-4, (3, 4))
    conductance[1] = 0.0
    common = {"r_word": 2.0, "r_bit": 0.0, "r_driver": 50.0, "r_sense": 20.0, "terminations": terminations}
    crossbars = [xs.Crossbar(conductance, device=device, **common) for device in (xs.Ohmic(), xs.Sinh(0.2))]
    drives = [rng.uniform(-0.3, 0.3, (4, 3)) for _ in crossbars]
    with judge.program_bank(crossbars) as bank, xs.get_engine("nodal").program_bank(crossbars) as exact:
        for found, wanted in zip(bank.read(drives, "cols"), exact.read(drives, "cols"), strict=True):
            assert relative(found, wanted) < 1e-9
        assert bank.read([drive[:, :0] for drive in drives], "cols")[0].shape == (3, 0)


DEVICES = (
    xs.Ohmic(),
    xs.Sinh(0.2),
    xs.Polynomial(),
    xs.OneTransistorOneResistor(),
    xs.OneSelectorOneResistor(),
    BehindVia(500.0, xs.Sinh(0.2)),
    TwoSidedSinh(0.25, 0.7),
)


@pytest.mark.parametrize("amplifier", [{}, {"r_feedback": 5e3, "gain": 100.0}, {"r_feedback": 5e3, "saturation": 0.2}])
@pytest.mark.parametrize("side", ["rows", "cols"])
def test_every_law_and_amplifier_is_that_of_the_exact_solver(judge, side, amplifier, rng):
    common = {"r_word": 2.0, "r_bit": 1.0, "r_driver": 50.0, "r_sense": 20.0, "amplifier": xs.Amplifier(**amplifier)}
    crossbars = [xs.Crossbar(rng.uniform(5e-5, 2e-4, (3, 4)), device=device, **common) for device in DEVICES]
    drives = [rng.uniform(-0.3, 0.3, (3 if side == "rows" else 4, 2)) for _ in crossbars]
    with judge.program_bank(crossbars) as bank, xs.get_engine("nodal").program_bank(crossbars) as exact:
        for found, wanted in zip(bank.read(drives, side), exact.read(drives, side), strict=True):
            assert relative(found, wanted) < 1e-9


@pytest.mark.parametrize(
    "more",
    [{"gates": [1.2, 0.5, 0.0]}, {"amplified": ("bottom",)}, {"right": [np.nan, 0.1, 0.2]}],
    ids=["gates", "amplified", "right"],
)
def test_biases_are_those_of_the_exact_solver(judge, more, rng):
    device, amplifier = xs.OneTransistorOneResistor(), xs.Amplifier(r_feedback=2e3)
    xbar = xs.Crossbar(rng.uniform(5e-5, 2e-4, (3, 4)), 2.0, 1.0, 50.0, 20.0, device=device, amplifier=amplifier)
    biases = xs.Biases(left=[[0.1, 0.2], [0.3, 0.0], [-0.8, 0.1]], bottom=[0.0, 0.2, -1.5, 0.0], **more)
    with judge.program(xbar) as session, xs.get_engine("nodal").program(xbar) as exact:
        found, wanted = session.bias(biases), exact.bias(biases)
    for edge in ("left", "bottom"):
        assert relative(getattr(found, edge), getattr(wanted, edge)) < 1e-9


def test_what_it_has_no_model_of_is_refused(judge):
    opamp = xs.Subcircuit("amp", ".subckt amp in out\nE1 out 0 0 in 1e4\n.ends\n")
    with pytest.raises(InvalidInputError, match="op-amps alone, got the subcircuit 'amp'"):
        judge.program(xs.Crossbar([[1e-4]], amplifier=xs.Amplifier(r_feedback=1e3, opamp=opamp))).read([0.1])
    cell = xs.SubcircuitCell(xs.Subcircuit("cell", ".subckt cell p n g=1e-6\nR1 p n {1/g}\n.ends\n"))
    with pytest.raises(InvalidInputError, match="VACASK has no SubcircuitCell cells"):
        judge.program(xs.Crossbar([[1e-4]], device=cell))


def test_an_end_without_a_result_is_a_failure(judge, tmp_path, monkeypatch):
    silent = tmp_path / "vacask"
    silent.write_text("#!/bin/sh\nexit 0\n")
    silent.chmod(0o755)
    session = judge.program(xs.Crossbar([[1e-4]], r_driver=1.0))
    monkeypatch.setenv(SIMULATOR_VARIABLE, str(silent))
    with pytest.raises(SimulationError, match=r"ended well, without a result of vectors \[0, 1\][\s\S]*to reproduce"):
        session.read(np.full((1, 2), 0.1))
    monkeypatch.setenv(SIMULATOR_VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(EngineUnavailableError, match="verilog-a"):
        xs.get_engine("vacask")
