"""Cells in Verilog-A: the same law in every engine, and sources that are broken, hostile, or have a memory."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from support import engine_or_skip, relative, run_by_hand, truth

import xbar_spice as xs
from xbar_spice.cli.app import app
from xbar_spice.errors import DeviceError
from xbar_spice.hardware.behind_via import BehindVia
from xbar_spice.hardware.verilog_a import VerilogACell, compiler, examine
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
    (folder / "cell.toml").write_text(TOML.format("cell.va", module, parameter).replace('module = ""\n', "") + more)
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


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("simulator", ["ngspice", "vacask"])
def test_the_exact_solver_and_simulators_agree(simulator, name, rng):
    engine = engine_or_skip(simulator)
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


@pytest.mark.parametrize(("name", "step", "allowed"), [("nodal", 1e-5, 1e-7), ("ngspice", 1e-4, 1e-4)])
def test_the_true_gradient_is_the_difference_of_losses(name, step, allowed, dense, rng):
    """Of an asymmetric cell with a node inside, in a random direction of the weights."""
    engine = engine_or_skip(name)
    model = replace(dense.model, steps=1, method="forward_euler")
    model = replace(model, weight_range=tuple(1.2 * np.abs(W).max() for W in (model.A, model.B)))
    design = xs.Design(device=shipped("poly_cell", a2=0.3), r_word=2.0, r_bit=2.0, r_driver=50.0, r_sense=20.0)
    true = xs.three_gradients(replace(dense, model=model), design, engine=engine, step=None).gradients["true"]
    turn = {"A": rng.standard_normal(model.A.shape), "B": rng.standard_normal(model.B.shape)}
    losses = []
    for move in (step, -step):
        moved = replace(model, A=model.A + move * turn["A"], B=model.B + move * turn["B"])
        losses.append(xs.cosimulate(replace(dense, model=moved), design, engine=engine).record.loss.analog)
    wanted = sum(float(np.sum(true[matrix] * turn[matrix])) for matrix in turn)
    assert (losses[0] - losses[1]) / (2 * step) == pytest.approx(wanted, rel=allowed)


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
    "a finish": (stateless("g*V(a, b); if (V(a, b) > 0.2) $finish"), "ended the simulation"),
    "a stop before anything": (stateless("g*V(a, b); $stop"), "ended the simulation"),
    "a current to the ground": (stateless("g*V(a, b); I(b) <+ g*V(b)"), "a third terminal, the ground"),
    "the level of a terminal": (stateless("g*V(a, b)*(1 + V(b))"), "a third terminal, the ground"),
    "a short circuit": (stateless("0; V(a, b) <+ 0").replace("I(a, b) <+ 0; ", ""), "no current between its terminals"),
    "two of one name": (2 * stateless("g*V(a, b)"), r"one that the file defines once \(m, m\), got 'm'"),
    "no such module": (stateless("g*V(a, b)").replace("module m(", "module n("), r"defines once \(n\), got 'm'"),
    "a loop for the compiler": (
        stateless("g*V(a, b); for (i = 0; i < 2; i = i) x = x + 1").replace(
            "parameter", "integer i; real x; parameter"
        ),
        "broke down",
    ),
    "names that differ by their case": (
        stateless("(g + G)*V(a, b)").replace("parameter", "parameter real G = 1e-9; parameter"),
        "parameters g and G, which simulators do not tell apart",
    ),
    "a fatal message": (stateless('g*V(a, b); if (V(a, b) > 0.2) $fatal(0, "too much")'), "operating point"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_no_cell_can_be_is_refused(case, tmp_path):
    text, said = REFUSED[case]
    with pytest.raises(DeviceError, match=said) as raised:
        xs.Crossbar([[1e-5]], device=cell(tmp_path, text))
    assert "cell.va" in str(raised.value)


def test_a_loop_without_end_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(examine, "SECONDS", 2.0)
    text = stateless("g*V(a, b)*x").replace("parameter", "real x; parameter")
    text = text.replace("begin", "begin x = 1; while (x > 0) x = x + 1;")
    with pytest.raises(DeviceError, match=r"cell\.va: its module was not done .* look for loops that do not end"):
        xs.Crossbar([[1e-5]], device=cell(tmp_path, text))


def test_files_that_a_source_includes_are_found_and_count(tmp_path):
    (tmp_path / "parts").mkdir()
    found = []
    for factor in (1, 2):
        (tmp_path / "parts" / "law.inc").write_text(f"`define LAW {factor}*g*V(a, b)\n")
        device = cell(tmp_path, '`include "parts/law.inc"\n' + stateless("`LAW"))
        found.append((device.unique_name, float(device.current(np.array(1e-5), np.array(0.1)))))
    assert found[0][0] != found[1][0]
    assert found[1][1] == pytest.approx(2 * found[0][1], rel=1e-12)


def test_attributes_and_texts_are_no_part_of_a_module(tmp_path):
    text = stateless('g*V(a, b); if (V(a, b) > 9) $strobe("endmodule module q(a, b);")')
    device = cell(tmp_path, f'(* desc="of module q(a, b); endmodule" *) {text}', module="")
    assert device.current(np.array(1e-5), np.array(0.1)) == pytest.approx(1e-6, rel=1e-6)


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


@pytest.mark.ngspice
def test_a_state_moves_in_a_read_in_time_as_its_equations_say():
    engine_or_skip("ngspice")
    for row in TRUTH["state_cell pulses"]["rows"]:
        xbar, pulse = xs.Crossbar([[1e-5]], device=shipped("state_cell")), xs.Pulse(width=row["width"], rise=1e-9)
        read = xs.read_pulse(xbar, [row["v_pulse"]], pulse, xs.LineCapacitance(), engine="ngspice")
        ratio = read.currents(np.array([pulse.top_end]))[0, 0] / row["v_pulse"]
        assert ratio == pytest.approx(row["i_after"] / 0.1, rel=1e-3)
        with pytest.raises(DeviceError, match="moves in a pulse"):
            read.energy()
    with pytest.raises(DeviceError, match="write its law as a DynamicDevice"):
        xs.write_verify(xbar)


@pytest.mark.parametrize(("name", "said"), [("lost_start_cell", "does not begin at the state of a read"),
                                            ("hidden_cell", "a simulator freezes")])  # fmt: skip
def test_a_state_that_a_simulation_in_time_would_lose_is_refused_there(name, said):
    xbar = xs.Crossbar([[1e-5]], device=BehindVia(10.0, shipped(name)))
    assert xbar.device.current(np.array(1e-5), np.array(0.1)) > 0
    with pytest.raises(DeviceError, match=rf"cannot be simulated in time: .*{said}"):
        xs.read_pulse(xbar, [0.1], xs.Pulse(width=1e-9, rise=1e-10), xs.LineCapacitance(), engine="ngspice")


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
        "hidden_cell": ("hidden memory", "a simulator freezes", "in time          no: its memory stands still"),
        "lost_start_cell": ("stateful: w", "drift            533", "in time          no: a transient analysis"),
    }
    for name, lines in said.items():
        done = CliRunner().invoke(app, ["check-model", str(CASES / f"{name}.va")])
        assert done.exit_code == 0, done.output
        for line in lines:
            assert line in done.output


@pytest.mark.ngspice
def test_the_page_on_verilog_a_is_followed(tmp_path, monkeypatch):
    engine_or_skip("ngspice")
    page = (Path(__file__).parents[2] / "docs" / "verilog_a.md").read_text()
    blocks = re.findall(r"```(\w+)\n(.*?)```", page, re.S)
    assert [kind for kind, _ in blocks] == ["verilog", "toml", "text", "python", "python"]
    monkeypatch.chdir(tmp_path)
    Path("rram.va").write_text(blocks[0][1])
    Path("rram.toml").write_text(blocks[1][1])
    assert CliRunner().invoke(app, ["check-model", "rram.toml"]).output == blocks[2][1]
    names: dict[str, Any] = {}
    exec(compile(blocks[3][1] + blocks[4][1], "verilog_a.md", "exec"), names)
    assert 0 < names["error"] < 0.2
    assert names["true"].shape == (4, 3)
    xs.save_model("weights.npz", names["model"])
    commands = re.findall(r"^    xbar-spice (\w+ .*rram\.toml.*|readback decks)$", page, re.M)
    assert [command.split()[0] for command in commands] == ["cosim", "gradients", "netlist", "readback"]
    said = {}
    for command in (commands[0] + " --data random --samples 1", *commands[2:]):
        done = CliRunner().invoke(app, command.split())
        assert done.exit_code == 0, done.output
        said[command.split()[0]] = done.output
    apart = float(re.search(r"reads by nodal, (\S+) apart", said["cosim"])[1])
    assert apart < 1e-9
    assert "A.forward.cir: A, forward read, as written" in said["readback"]
