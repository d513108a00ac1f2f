"""Subcircuit cells that cannot be what they claim are refused before anything is read with them, with the figures."""

import logging
from pathlib import Path

import pytest
from click.testing import CliRunner
from support import engine_or_skip

from xbar_spice.cli.app import app
from xbar_spice.engines.ngspice import model_check
from xbar_spice.engines.ngspice.installation import describe
from xbar_spice.errors import DeviceError
from xbar_spice.hardware.amplifier import Amplifier
from xbar_spice.hardware.cells import Ohmic, SubcircuitCell
from xbar_spice.hardware.crossbar import Crossbar
from xbar_spice.hardware.subcircuit import Subcircuit
from xbar_spice.hardware.subcircuit.rails import on_rails
from xbar_spice.hardware.subcircuit.states import odd_power, states
from xbar_spice.spice.device_models import load_device

CASES = Path(__file__).parents[2] / "cases"
ROOT = Path(__file__).parents[3]
LAW = ".subckt cell p n g=1e-4 ron=1k roff=100k\n{}\n.ends\n"
V = "v(p,n)"


def cell(body, resistance="", **more):
    return SubcircuitCell(Subcircuit("cell", LAW.format(body), **more), resistance_parameter=resistance)


@pytest.mark.ngspice
@pytest.mark.parametrize(
    ("body", "message"),
    [
        (f"Cx x 0 1 IC={{1/g}}\nRx x 0 1e9\nB1 p n I={V}/v(x)", "Cx x 0 1 IC=.*sets a state, which an operating point"),
        (f"Cx x 0 1\nRx x 0 1e9\n.ic v(x)={{1/g}}\nB1 p n I={V}*g", "[.]ic v.x.=.* sets a state"),
        ("X1 p n inner k={g}\n.ends\n.subckt inner p n k=1\nL1 p m 1 ic=1\nR1 m n {1/k}", "L1 p m 1 ic=1 .* sets"),
        (f"B1 p n I={V}/ron", "does not depend on g: .* A at 1e-05 S and .* A at 0.0001 S, both at"),
        (f"B1 p n I={V}/max(min(1/g,2k),1.5k)*(1+1e-9*g)", "does not depend on g.*range of its fixed parameters"),
        ("R1 p n {g}", "falls as its conductance grows: .* resistance_parameter = 'g'"),
        (f"B1 p n I={V}/g", "falls as its conductance grows"),
        (f"B1 p n I=g*{V}^3", r"source of energy: .* A at -0.3 V.*ngspice takes v\(p,n\)\^3 as a power of the size"),
        (f"B1 p n I=g*({V}+0.1*({V}/0.5)**3)", r"takes \(v\(p,n\)/0.5\)\*\*3 as .* write powers as products"),
        (f".func cube(x) {{x^3}}\nB1 p n I=g*({V}+cube({V}))", r"takes x\^3 as a power of the size"),
        (f"B1 p n I=g*({V}+pow({V},3))", r"takes pow\(v\(p,n\),3\) as a power"),
        (f"B1 p n I=-g*{V}", "source of energy: .* programmed to"),
        (f"B1 p n I=g*{V}+1e-6", "source of energy"),
    ],
)  # fmt: skip
def test_cells_that_cannot_be_what_they_claim(body, message):
    with pytest.raises(DeviceError, match=message):
        engine_or_skip("ngspice").program(Crossbar([[1e-5, 1e-4]], device=cell(body)))


@pytest.mark.ngspice
@pytest.mark.parametrize(
    "body",
    [
        "R1 p n {1/g}\nC1 p n 1f ic=0",
        f"B1 p n I=g*({V}+abs({V})^3*sgn({V}))",
        f"B1 p n I=g*{V}*(1+{V}^2)",
        f"B1 p n I=g*{V}*({V}>0 ? 1 : 0.3)",
        f"B1 p n I=g*0.1*sinh({V}/0.1)",
        f"B1 p n I={V}*(max(g,1e-9))",
    ],
)
def test_cells_that_are_what_they_claim(body):
    with engine_or_skip("ngspice").program(Crossbar([[1e-5, 1e-4]], device=cell(body))) as session:
        assert session.read([0.3]).shape == (2,)


@pytest.mark.ngspice
def test_powers_of_other_dialects_are_what_they_seem():
    engine_or_skip("ngspice")
    found = model_check.characterise(cell(f"B1 p n I=g*({V}+{V}^3)", compat="lt"), 1e-5, 1e-4)
    assert not found.refusals
    assert found.asymmetry < 1e-9


@pytest.mark.ngspice
def test_a_resistance_that_is_said_to_be_one():
    engine_or_skip("ngspice")
    text = ".subckt cell p n r=1k\nR1 p n {r}\n.ends\n"
    found = model_check.characterise(SubcircuitCell(Subcircuit("cell", text), resistance_parameter="r"), 1e-5, 1e-4)
    assert not found.refusals
    assert found.small_signal == pytest.approx(found.conductances)
    wrong = SubcircuitCell(Subcircuit("cell", text.replace("{r}", "{1/r}")), resistance_parameter="r")
    assert "conductance_parameter = 'r'" in " ".join(model_check.characterise(wrong, 1e-5, 1e-4).refusals)


@pytest.mark.ngspice
def test_what_is_far_from_the_programmed_conductance_is_said(caplog):
    engine = engine_or_skip("ngspice")
    with caplog.at_level(logging.WARNING):
        engine.program(Crossbar([[1e-5, 1e-4]], device=cell("Cx x 0 1\nRx x 0 1e9\nR1 p n {2/g}"))).close()
    assert "Cx x 0 1 may hold a state, which an operating point forgets" in caplog.text
    assert "programmed to 1e-05 S, its current comes no nearer to G V than 0.5 times" in caplog.text


@pytest.mark.ngspice
def test_a_cell_is_measured_once_for_a_range(monkeypatch):
    engine = engine_or_skip("ngspice")
    measured = []
    original = model_check.characterise
    monkeypatch.setattr(model_check, "MEASURED", {})
    monkeypatch.setattr(model_check, "characterise", lambda *given: measured.append(given[1:]) or original(*given))
    device = load_device("sinh_series")
    for values in ([1e-6, 1e-4], [2e-6, 1.1e-4], [0.0, 5e-5]):
        engine.program(Crossbar([values], device=device)).close()
    assert measured == [(1e-6, 1e-4)]
    engine.program(Crossbar([[1e-4, 1e-3]], device=device)).close()
    assert measured[1:] == [(1e-4, 1e-3)]
    engine.program(Crossbar([[1e-4]], device=Ohmic())).close()
    assert len(measured) == 2


@pytest.mark.ngspice
def test_an_op_amp_with_exchanged_inputs_is_refused():
    text = ".subckt op in+ in- out\nE1 out 0 in+ in- 1e4\n.ends\n"
    right, wrong = (on_rails(Subcircuit("op", text), None, (*pins, "out")) for pins in (("in+", "in-"), ("in-", "in+")))
    engine = engine_or_skip("ngspice")
    engine.program(Crossbar([[1e-4]], amplifier=Amplifier(1e4, opamp=right))).close()
    with pytest.raises(DeviceError, match=r"is -1000 V at -0.1 V and 1000 V at 0.1 V; exchange in. and in-"):
        engine.program(Crossbar([[1e-4]], amplifier=Amplifier(1e4, opamp=wrong)))


def test_what_the_text_of_a_library_says():
    assert states(Subcircuit.from_file(CASES / "state_in_capacitor.lib", "cell"))[0].set
    assert not states(load_device("hfo2_polynomial").subcircuit)
    assert odd_power(Subcircuit("cell", LAW.format(f"B1 p n I=g*exp({V})^3+2^3*{V}^2"))) == ""


@pytest.mark.ngspice
@pytest.mark.parametrize("name", ["sinh_series", "hfo2_polynomial", "diode_1s1r"])
def test_shipped_models_are_usable(name):
    engine_or_skip("ngspice")
    found = CliRunner().invoke(app, ["check-model", str(ROOT / "models" / f"{name}.toml")])
    assert found.exit_code == 0, found.output
    assert found.output.splitlines()[-1].split() == ["usable", "yes"]
    assert "static" in found.output


@pytest.mark.ngspice
def test_check_model_prints_what_it_found():
    engine_or_skip("ngspice")
    found = CliRunner().invoke(app, ["check-model", str(CASES / "pspice_if.lib"), "--compat", "psa", "--g-max", "1e-3"])
    assert found.exit_code == 0, found.output
    rows = dict(line.split(maxsplit=1) for line in found.output.splitlines() if not line.startswith(("small", "worst")))
    assert rows["odd"] == "no: both signs differ by 50.00%"
    assert rows["passive"] == "yes"
    assert rows["conductance"].startswith("1e-06 to 0.001 S; around 0 V")
    assert "worst mismatch" in found.output


@pytest.mark.ngspice
def test_check_model_refuses(tmp_path):
    engine_or_skip("ngspice")
    found = CliRunner().invoke(app, ["check-model", str(CASES / "state_in_capacitor.lib")])
    assert found.exit_code == 1
    assert "stateful" in found.output
    assert "sets a state" in found.output
    (tmp_path / "two.lib").write_text(LAW.format("R1 p n {g}") + LAW.format("R1 p n {1/g}").replace("cell", "other"))
    found = CliRunner().invoke(app, ["check-model", str(tmp_path / "two.lib")])
    assert isinstance(found.exception, DeviceError)
    assert "2 subcircuits of two pins (cell, other); choose one by --name" in str(found.exception)
    found = CliRunner().invoke(app, ["check-model", str(ROOT / "models" / "sinh_series.toml"), "--name", "cell"])
    assert found.exit_code == 2
    found = CliRunner().invoke(app, ["check-model", str(tmp_path / "two.lib"), "--name", "cell"])
    assert found.exit_code == 1
    assert "resistance_parameter = 'g'" in found.output


def test_a_node_that_only_current_sources_reach_is_noticed():
    """KLU answers such a circuit without a word, and wrongly."""
    if not engine_or_skip("ngspice") or not describe().klu:
        pytest.skip("only KLU takes such a circuit")
    with pytest.raises(DeviceError, match=r"has no definite current: ngspice finds .* only current sources"):
        model_check.characterise(cell("C1 q 0 1p\nI1 0 q 1n\nR1 p m {0.5/g}\nR2 m n {0.5/g}"), 1e-5, 1e-4)
