"""Cells in Verilog-A: the same law in every engine, and sources that are broken, hostile, or have a memory."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from support import engine_or_skip, relative, run_by_hand, truth

import xbar_spice as xs
from xbar_spice.cli.app import app
from xbar_spice.errors import DeviceError
from xbar_spice.hardware.behind_via import BehindVia
from xbar_spice.hardware.verilog_a import VerilogACell, compiler
from xbar_spice.hardware.verilog_a.examine import structure_of
from xbar_spice.mapping.export import write_netlists
from xbar_spice.mapping.matrix import map_weights

pytestmark = pytest.mark.skipif(
    compiler.find_compiler() is None, reason="needs the Verilog-A compiler of the extra verilog-a"
)

CASES = Path(__file__).parents[1] / "cases" / "verilog_a"
TRUTH = truth("verilog_a")
HEAD = '`include "disciplines.vams"\n'
TOML = 'law = "verilog_a"\nsource_file = "{}"\nmodule = "{}"\nconductance_parameter = "{}"\n'


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """Libraries of these tests are kept apart from the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(compiler.CACHE_VARIABLE, str(tmp_path_factory.mktemp("cache")))
        yield


def cell(folder: Path, text: str, module: str = "m", parameter: str = "g", more: str = "") -> VerilogACell:
    (folder / "cell.va").write_text(HEAD + text)
    (folder / "cell.toml").write_text(TOML.format("cell.va", module, parameter) + more)
    return xs.load_device(folder / "cell.toml")


def shipped(name: str, parameter: str = "g", **parameters: float) -> VerilogACell:
    return VerilogACell.from_file(CASES / f"{name}.va", conductance_parameter=parameter, parameters=parameters)


def test_currents_and_slopes_are_those_of_closed_forms():
    for name, key in (("sinh_cell", "didv"), ("poly_cell", "didv"), ("state_cell", None)):
        device, rows = shipped(name), TRUTH[name]
        g, v = (np.array([row[key] for row in rows]) for key in ("g", "v"))
        current, slope = device.evaluate(g, v)
        np.testing.assert_allclose(current, [row["i"] for row in rows], rtol=1e-12)
        if key:
            np.testing.assert_allclose(slope, [row[key] for row in rows], rtol=1e-12)
        np.testing.assert_allclose(device.conductance_sensitivity(g, v) * g, current, rtol=0.2)


def stateless(current: str) -> str:
    """A module of two terminals with this current."""
    return (
        "module m(a, b); inout a, b; electrical a, b; parameter real g = 1e-5 from (0:1e-3];\n"
        f"analog begin I(a, b) <+ {current}; end endmodule\n"
    )


CELLS = {
    "sinh": lambda: shipped("sinh_cell"),
    "inner node": lambda: shipped("poly_cell", a2=0.3),
    "state": lambda: shipped("state_cell"),
    "joined nodes": lambda: shipped("contact_cell", "Gp"),
    "branch current": lambda: shipped("contact_cell", "Gp", rs=300.0),
    "behind a via": lambda: BehindVia(300.0, shipped("sinh_cell")),
}


@pytest.mark.ngspice
@pytest.mark.parametrize("name", CELLS)
def test_the_exact_solver_and_ngspice_agree(name, rng):
    engine = engine_or_skip("ngspice")
    g = rng.uniform(1e-6, 1e-4, (4, 3))
    g[1, 2] = 0.0
    xbar = xs.Crossbar(g, r_word=2.0, r_bit=3.0, r_driver=50.0, r_sense=20.0, device=CELLS[name]())
    drive, back = rng.uniform(-0.3, 0.3, (4, 2)), rng.uniform(-0.3, 0.3, 3)
    with engine.program(xbar) as session, xs.get_engine("nodal").program(xbar) as exact:
        assert relative(session.read(drive), exact.read(drive)) < 1e-9
        assert relative(session.read(back, "cols"), exact.read(back, "cols")) < 1e-9


def test_arrays_are_those_of_the_reference():
    for name, case in TRUTH["arrays"].items():
        ohms = {key: case[key] for key in ("r_word", "r_bit", "r_driver", "r_sense")}
        xbar = xs.Crossbar(np.array(case["conductance"]), **ohms, device=shipped(name))
        with xs.get_engine("nodal").program(xbar) as session:
            np.testing.assert_allclose(session.read(case["v_rows"]), case["i_cols"], rtol=1e-11)
            np.testing.assert_allclose(session.read(case["v_cols"], "cols"), case["i_rows"], rtol=1e-11)


def test_sensitivities_are_those_of_the_same_law_in_numpy(rng):
    g = rng.uniform(1e-6, 1e-4, (3, 4))
    drive, weights = rng.uniform(-0.3, 0.3, 3), rng.standard_normal(4)
    gradients = []
    for device in (shipped("sinh_cell"), xs.Sinh(0.25)):
        xbar = xs.Crossbar(g, r_word=2.0, r_bit=3.0, r_driver=50.0, r_sense=20.0, device=device)
        gradients.append(xs.Sensitivity(xbar, drive).vjp(weights).conductance)
    assert relative(*gradients) < 1e-9


def test_the_true_gradient_is_that_of_the_same_law_in_numpy(dense):
    one = replace(dense, model=replace(dense.model, steps=1))
    gradients = []
    for device in (shipped("sinh_cell"), xs.Sinh(0.25)):
        design = xs.Design(device=device, r_word=2.0, r_bit=2.0, r_driver=50.0, r_sense=20.0)
        gradients.append(xs.three_gradients(one, design, step=None).gradients["true"])
    assert relative(gradients[0]["A"], gradients[1]["A"]) < 1e-9


@pytest.mark.ngspice
def test_two_modules_of_one_name_stay_apart(tmp_path):
    engine = engine_or_skip("ngspice")
    found = {}
    for factor in (1, 3):
        folder = tmp_path / str(factor)
        folder.mkdir()
        device = cell(folder, stateless(f"{factor}*g*V(a, b)"))
        xbar = xs.Crossbar([[1e-5]], r_driver=1.0, device=device)
        with engine.program(xbar) as session:
            found[factor] = session.read([0.1])[0]
    assert found[3] / found[1] == pytest.approx(3, rel=1e-3)


REFUSED = {
    "syntax": (stateless("g*V(a, b"), r"the Verilog-A compiler refuses it:\n  error"),
    "empty": ("", "module must be one that the file defines once"),
    "a file elsewhere": ('`include "/etc/hostname"\n', "files of its own folder alone"),
    "a file above": ('`include "../x.va"\n', "files of its own folder alone"),
    "itself without end": ('`include "cell.va"\n' + stateless("g*V(a, b)"), "broke down|refuses"),
    "a macro without end": ("`define A `A `A\n`A\n" + stateless("g"), "broke down|refuses"),
    "three terminals": (
        stateless("g*V(a, c)").replace("a, b;", "a, b, c;").replace("(a, b);", "(a, b, c);", 1),
        "has two",
    ),
    "no such parameter": (stateless("h*V(a, b)").replace(" g ", " h "), "has the parameters h"),
    "a source of energy": (stateless("-g*V(a, b)"), "source of energy"),
    "a conductance that does nothing": (stateless("1e-5*V(a, b)"), "does not depend on its conductance"),
    "a resistance": (stateless("1e-10/g*V(a, b)"), "falls as its conductance grows"),
    "a state that nothing sets": (
        stateless("g*V(a, b)*V(w); I(w) <+ 1e-9*ddt(V(w)) - 1e-9*V(a, b)").replace(
            "electrical a, b;", "electrical a, b, w;"
        ),
        "operating point",
    ),
    "a fatal message": (stateless('g*V(a, b); if (V(a, b) > 0.2) $fatal(0, "too much")'), "operating point"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_no_cell_can_be_is_refused(case, tmp_path):
    text, said = REFUSED[case]
    with pytest.raises(DeviceError, match=said) as raised:
        xs.Crossbar([[1e-5]], device=cell(tmp_path, text))
    assert "cell.va" in str(raised.value)


def test_a_conductance_beyond_the_range_of_the_module_is_refused():
    device = shipped("contact_cell", "Gp")
    xs.Crossbar([[1e-3]], device=device)
    with pytest.raises(DeviceError, match=r"0\.002 S.*outside the range"):
        xs.Crossbar([[2e-3]], device=device)
    with pytest.raises(DeviceError, match="rs is outside"):
        shipped("contact_cell", "Gp", rs=-1.0).findings()


def test_memory_is_named(caplog):
    assert "freezes" in shipped("hidden_cell").findings().frozen
    for name in ("sinh_cell", "poly_cell"):
        assert not shipped(name).findings().frozen
    drift = np.array(shipped("state_cell").findings().drift)
    volts = np.array(shipped("state_cell").findings().volts)
    assert not drift[:, np.abs(volts) <= 0.3].any()
    np.testing.assert_allclose(drift[:, volts == 0.5], 4 * 1e6 * 0.2 * 0.8 / 1.8, rtol=1e-5)
    assert shipped("state_cell").structure.states == ("w",)
    xs.Crossbar([[1e-5]], device=shipped("state_cell", rate=2e6))
    assert "holds a state (w)" in caplog.text


def test_a_broken_library_ends_a_process_of_its_own_alone(tmp_path):
    device = shipped("sinh_cell")
    broken = tmp_path / "broken.osdi"
    broken.write_bytes(device.library.read_bytes()[:9000])
    with pytest.raises(DeviceError, match=r"not loaded anywhere|cannot load library"):
        structure_of(broken, "cell.va")


@pytest.mark.ngspice
def test_decks_are_taken_elsewhere_with_all_that_they_need(tmp_path, rng):
    engine_or_skip("ngspice")
    design = xs.Design(device=shipped("contact_cell", "Gp", rs=300.0), r_word=2.0, r_bit=2.0, r_driver=5.0, r_sense=5.0)
    mapped = map_weights(rng.standard_normal((2, 3)), design, rng=rng)
    write_netlists(mapped, tmp_path / "made", name="A")
    (tmp_path / "made").rename(tmp_path / "moved")
    with xs.get_engine("nodal").program_bank(mapped.crossbars) as bank:
        wanted = np.concatenate(bank.read(mapped.drives(np.ones((3, 1)), "rows")))[:, 0]
    printed = run_by_hand(tmp_path / "moved" / "A.forward.cir")
    manifest = json.loads((tmp_path / "moved" / "A.forward.json").read_text())
    ends = [end for array in manifest["arrays"] for end in array["terminals"] if end["role"] == "sense"]
    np.testing.assert_allclose([printed[end["result"][2:-1]] for end in ends], wanted, rtol=1e-9)


def test_check_model_says_what_a_module_is():
    said = {
        "sinh_cell": ("state            static", "odd              yes", "usable           yes"),
        "state_cell": ("stateful: w", "drift", "0.5 V"),
        "hidden_cell": ("hidden memory", "a simulator freezes"),
    }
    for name, lines in said.items():
        done = CliRunner().invoke(app, ["check-model", str(CASES / f"{name}.va")])
        assert done.exit_code == 0, done.output
        for line in lines:
            assert line in done.output
