"""The command line: every verb on a small model, and what a user sees when something is wrong."""

import errno
import json
import os
import re
import stat
import subprocess
import sys
from dataclasses import fields, is_dataclass
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from support import engine_or_skip

from xbar_spice.cli.app import app, main
from xbar_spice.cli.options import make_design, make_solver
from xbar_spice.cosim import Monitors, SolverOptions
from xbar_spice.errors import InvalidInputError, StudyError, WeightsError, XbarError
from xbar_spice.hardware.amplifier import Amplifier
from xbar_spice.hardware.cells import Sinh
from xbar_spice.hardware.converters import Converters
from xbar_spice.hardware.drift import PcmDrift
from xbar_spice.hardware.read_noise import ReadNoise
from xbar_spice.hardware.statistics import Levels
from xbar_spice.mapping.design import Design
from xbar_spice.settings import entries
from xbar_spice.spice.device_models import load_device
from xbar_spice.study.store import Store
from xbar_spice.weights import Classifier, Kernels, Model, load_model, save_model

VERBS = ("train", "tune", "netlist", "cosim", "gradients", "attribute", "study", "report", "doctor")

STUDY = """
name = "small"
seeds = [0, 1]
[model]
weights = "small.npz"
[data]
samples = 2
task = "random"
[circuit]
engine = "nodal"
variation.programming = 0.05
[[axes]]
name = "tile"
fields = ["circuit.tile"]
values = [2, 4]
[[axes]]
name = "wire resistance"
unit = "ohm"
fields = ["circuit.r_word", "circuit.r_bit"]
values = [1.0, 5.0]
"""


@pytest.fixture
def weights(tmp_path, rng):
    kernels = Kernels(0.3 * rng.standard_normal(9), 0.3 * rng.standard_normal(9), (2, 3))
    save_model(tmp_path / "small.npz", Model.from_kernels(kernels, h=0.25, steps=2))
    return tmp_path / "small.npz"


def run(*arguments, code=0):
    done = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert done.exit_code == code, done.output
    return done.output


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb):
    output = run(verb, "--help")
    assert output.startswith("Usage:")
    assert len(output.splitlines()) > 5
    assert verb in run("--help")


def test_shown_defaults_are_those_of_the_design():
    assert make_design({}) == Design()
    shown = {
        option.name: option.help.split("[default: ")[1].rstrip("]")
        for option in app.commands["tune"].params
        if hasattr(option, "section") and "[default: " in (getattr(option, "help", None) or "")
    }
    design = Design()
    fields = {field for value in (design, *vars(design).values()) if is_dataclass(value) for field in fields_of(value)}
    parts = {"law", "terminations", "amplifier", "devices", "rest", "numbers", "rounding"}
    assert shown.keys() == fields - parts | {"read_noise", "noise_law", "sense_noise", "digital_rounding"}
    words = {
        "tile": "no limit",
        "active_rows": "all",
        "opamp": "none",
        "reltol": "by kind of cell",
        "technology": "none",
        "conductances": "none",
        "technology_source": "NeuroSim V1.3",
        "skip_empty": "keep-empty",
        "rewritten": "arrays-of-each-step",
    }
    words |= {
        "read_noise": "normal",
        "converters": "uniform",
        "mapping": "differential",
        "device": "ohmic",
        "variation": "relative",
        "drift": "none",
        "g_max": "0.0001",
    }
    assert {name: shown[name] for name in words} == words


def fields_of(value):
    return [field.name for field in fields(value)]


def test_every_setting_has_an_option_that_sets_it():
    for option in app.commands["cosim"].params:
        if getattr(option, "section", "Options") != "Options" and option.name != "models":
            settings = {
                entry.option for default in (Design(), SolverOptions(), Monitors()) for entry in entries(default)
            }
            assert option.name in settings, option.name
    design = make_design(
        {"drift": "pcm", "after": 86400.0, "coverage": 0.99, "scale": "tile", "order": "conductance", "reltol": 1e-5}
    )
    assert design == Design(
        drift=PcmDrift(), after=86400.0, coverage=0.99, scale="tile", order="conductance", reltol=1e-5
    )
    assert make_design({"variation": "levels(levels=4)"}).variation == Levels(4)


def test_every_setting_of_the_solvers_has_an_option_that_sets_it():
    options = {option.name for option in app.commands["cosim"].params}
    assert {entry.option for entry in entries(SolverOptions())} <= options
    given = dict.fromkeys(entry.option for entry in entries(SolverOptions()))
    assert make_solver(dict(given)) == SolverOptions()
    found = make_solver(given | {"linear_solver": "richardson", "damping": 0.5, "newton_rtol": 1e-6, "attempts": 9})
    assert (found.krylov.method, found.krylov.damping) == ("richardson", 0.5)
    assert (found.newton.rtol, found.adaptive.max_attempts) == (1e-6, 9)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("1 day", 86400),
        ("2 h", 7200),
        ("30min", 1800),
        ("5", 5),
        ("1e3 s", 1e3),
        ("2 Weeks", 1209600),
        ("1 month", 2592000),
    ],
)
def test_times_may_have_a_unit(text, count, weights, tmp_path):
    run("netlist", weights, "--drift", "pcm", "--after", text, "--output", tmp_path / "a")
    run("netlist", weights, "--drift", "pcm", "--after", count, "--output", tmp_path / "b")
    one, two = ((tmp_path / folder / "A.forward.cir").read_text() for folder in "ab")
    assert one == two
    assert "a time must be a number" in run("netlist", weights, "--after", "soon", code=2)


def test_a_part_of_ones_own_is_an_option(weights, tmp_path):
    parts = Path(__file__).parents[1] / "parts"
    own = ("--mapping", f"{parts}/signed_rows.py:RowPairs", "--variation", f"{parts}/common_offset.py:CommonOffset")
    run("cosim", weights, "--data", "random", "--engine", "ideal", *own, "--output", tmp_path / "one")
    output = run("netlist", weights, *own, "--programming", 0.1, code=2)
    assert "names a part with its options: leave out --programming" in " ".join(output.split())
    cell = tmp_path / "cell.py"
    cell.write_text("from xbar_spice.hardware.cells import Sinh\nsoft = Sinh(0.5)\n")
    assert make_design({"device": f"{cell}:soft(v0=0.3)"}).device == make_design({"device": "sinh(v0=0.3)"}).device


def test_help_has_headings_and_every_option_once():
    output = run("netlist", "--help")
    headings = ["Options:", "Arrays:", "Wires and terminals:", "Devices:", "Read noise and converters:"]
    places = [output.index(f"\n{heading}") for heading in headings]
    assert places == sorted(places)
    flags = re.findall(r"^  (?:-h, )?(--[a-z-]+)", output, re.M)
    assert sorted(flags) == sorted(
        {opt for p in app.commands["netlist"].params for opt in p.opts if opt[:2] == "--"} | {"--help"}
    )
    assert output.index("--r-word OHM") > output.index("Wires and terminals:")


def test_the_example_run_is_not_wrapped():
    assert "\n    xbar-spice train digits-conv --output weights.npz\n    xbar-spice netlist" in run("--help")


def test_options_become_the_design():
    assert make_design({"r_feedback": 1e4, "saturation": 0.5}).amplifier == Amplifier(1e4, saturation=0.5)
    design = make_design({"tile": 8, "r_word": 1.0, "stuck_on": 0.1, "transposed": "far_ends", "g_min": None})
    assert (design.tile, design.r_word, design.g_min) == (8, 1.0, Design().g_min)
    assert design.variation.stuck_on == 0.1
    assert design.terminations.transposed == "far_ends"
    assert make_design({"device": "stanford_gap"}).device == Sinh(0.25)
    assert make_design({"compensated": True, "headroom": 2.0}) == Design(compensated=True, headroom=2.0)
    design = make_design({"noise": 0.02, "noise_law": "pcm", "sense_noise": 1e-8, "adc_bits": 8, "dac_bits": None})
    assert design.noise == ReadNoise(device=0.02, law="pcm", sense=1e-8)
    assert design.converters == Converters(adc_bits=8)
    assert make_design({"r_feedback": 1e4, "saturation": 0.5}).amplifier == Amplifier(1e4, saturation=0.5)
    assert make_design({"skip_empty": True}).skip_empty


@pytest.mark.parametrize(
    ("option", "value", "need", "switch"),
    [
        ("--gain", 1e4, "--r-feedback", 1e3),  # its default, but it was given
        ("--saturation", 0.5, "--r-feedback", 1e3),
        ("--opamp", "loaded", "--r-feedback", 1e3),
        ("--adc-range", 0.5, "--adc-bits", 8),
        ("--adc-reference", "devices", "--adc-bits", 8),
        ("--subtraction", "analog", "--adc-bits", 8),
        ("--noise-law", "pcm", "--noise", 0.01),
        ("--distribution", "lognormal", "--programming", 0.05),
    ],
)
def test_options_without_effect_are_refused(option, value, need, switch, weights, tmp_path):
    output = run("netlist", weights, option, value, "--output", tmp_path / "out", code=2)
    assert f"{option} has no effect without {need}" in output.replace("\n", " ")
    run("netlist", weights, option, value, need, switch, "--output", tmp_path / "out")


@pytest.mark.parametrize("option", ["--programming", "--noise"])
def test_per_cent_in_place_of_a_part_is_asked_about(option, weights, tmp_path):
    output = run("netlist", weights, option, 5, "--output", tmp_path, code=2)
    assert f"were 5 % meant? Then give {option} 0.05" in " ".join(output.split())
    with pytest.raises(InvalidInputError, match="were 5 % meant"):
        run("netlist", weights, "--stuck-on", 5, "--output", tmp_path)


def test_netlist_writes_decks_of_a_pulse(weights, tmp_path):
    run("netlist", weights, "--pulse-width", 1e-9, "--c-word", 1e-16, "--output", tmp_path)
    decks = sorted(path.name for path in (tmp_path / "A").glob("*.pulse.cir"))
    assert decks == ["t0_0m.forward.pulse.cir", "t0_0p.forward.pulse.cir"]
    text = (tmp_path / "A" / decks[0]).read_text()
    assert "1e-10 1e-10 1e-09" in text  # rise, fall, width
    assert "Cw0_0 left0 0 6e-16" in text  # six cells on a line without resistance
    output = run("netlist", weights, "--c-word", 1e-16, "--output", tmp_path, code=2)
    assert "give --pulse-width" in output


def test_netlist_refuses_what_has_no_circuit_before_it_writes(weights, tmp_path):
    folder = tmp_path / "out"
    output = run("netlist", weights, "--feedback", "--device", "stanford_gap", "--output", folder, code=2)
    assert "--feedback needs linear cells, got --device stanford_gap" in output
    with pytest.raises(InvalidInputError, match="a read as a pulse is sensed by 0 V"):
        run("netlist", weights, "--pulse-width", 1e-9, "--r-feedback", 1e4, "--output", folder)
    with pytest.raises(InvalidInputError, match="needs a rise and a finite width above 0 s, got rise=0"):
        run("netlist", weights, "--pulse-width", 1e-9, "--pulse-rise", 0, "--output", folder)
    assert not folder.exists()


@pytest.mark.parametrize("mapping", ["differential", "interleaved"])
def test_every_deck_of_a_model_is_tidy(weights, mapping, tmp_path):
    wires = ("--r-word", 1, "--r-driver", 50, "--tile", 4)
    run("netlist", weights, "--feedback", "--pulse-width", 1e-9, "--mapping", mapping, *wires, "--output", tmp_path)
    decks = {path: path.read_text() for path in tmp_path.rglob("*.cir")}
    assert len(decks) == 2 * (1 + 2 * (8 if mapping == "differential" else 4)) + 3
    for path, deck in decks.items():
        assert "* mapping: " in deck, path
        assert not re.search(r"\n\n\n|\n\n\.end|[ \t]\n|\d\.0\s", deck), path
        assert deck.endswith("\n.end\n"), path


def test_skip_empty_leaves_tiles_out(tmp_path):
    sparse = np.zeros((4, 4))
    sparse[:2, :2] = 1.0
    save_model(tmp_path / "sparse.npz", Model(sparse, sparse, h=0.25, steps=2))
    for flag, arrays in (("--keep-empty", 8), ("--skip-empty", 2)):
        output = run("netlist", tmp_path / "sparse.npz", "--tile", 2, flag, "--output", tmp_path / flag)
        assert f"{arrays} arrays" in output


def test_models_of_ones_own_are_found_in_their_folder(tmp_path):
    shipped = Path(load_device.__code__.co_filename).parents[2] / "models"
    for name in ("sinh_series.toml", "sinh_series.lib"):
        (tmp_path / name).write_text((shipped / name).read_text().replace("1e3", "2e3"))
    (tmp_path / "opamps").mkdir()
    for name in ("loaded.toml", "loaded.lib"):
        (tmp_path / "opamps" / name).write_text((shipped / "opamps" / name).read_text().replace("100", "300"))
    design = make_design({"device": "sinh_series", "r_feedback": 1e4, "opamp": "loaded", "models": (tmp_path,)})
    assert dict(design.device.subcircuit.parameters)["r_series"] == 2e3
    assert dict(design.amplifier.opamp.parameters)["r_out"] == 300.0


def test_netlist_writes_decks_and_manifests(weights, tmp_path):
    output = run("netlist", weights, "--tile", 4, "--r-word", 1, "--output", tmp_path / "decks")
    assert "ngspice -b" in output
    for name in ("A", "B"):
        manifest = json.loads((tmp_path / "decks" / f"{name}.forward.json").read_text())
        assert (tmp_path / "decks" / manifest["deck"]).is_file()
        assert "weights: small.npz" in (tmp_path / "decks" / manifest["deck"]).read_text()


@pytest.mark.parametrize("engine", ["ideal", "nodal", "ngspice"])
def test_cosim_prints_and_keeps_what_it_finds(engine, weights, tmp_path):
    engine_or_skip(engine)
    output = run(
        "cosim",
        weights,
        "--data",
        "random",
        "--engine",
        engine,
        "--tile",
        4,
        "--r-bit",
        2,
        "--output",
        tmp_path / "one",
    )
    assert "gradient of a" in output
    record = json.loads((tmp_path / "one" / "record.json").read_text())
    assert record["engine"] == engine
    trace = (tmp_path / "one" / "trace.csv").read_text().splitlines()
    assert len(trace) - 1 == sum(record["reads"].values())


def test_tune_keeps_the_weights_and_the_range_of_their_chip(tmp_path, rng):
    kernels = Kernels(0.2 * rng.standard_normal(9), 0.2 * rng.standard_normal(9), (8, 8))
    classifier = Classifier(rng.standard_normal((10, 64)) / 8, np.zeros(10))
    save_model(
        tmp_path / "digits.npz",
        Model.from_kernels(kernels, h=0.25, steps=1, classifier=classifier, trained_on="digits"),
    )
    options = ("--engine", "ideal", "--programming", 0.1, "--headroom", 2, "--epochs", 1, "--learning-rate", 0.05)
    output = run("tune", tmp_path / "digits.npz", *options, "--output", tmp_path / "tuned.npz")
    before, after = (float(re.search(rf"{name} +(\S+)", output).group(1)) for name in ("as deployed", "epoch 1"))
    assert after < before
    tuned = load_model(tmp_path / "tuned.npz")
    assert tuned.weight_range == (2 * np.abs(kernels.a).max(), 2 * np.abs(kernels.b).max())
    assert not np.array_equal(tuned.kernels.a, kernels.a)


def test_a_noise_floor_reaches_the_solvers(weights, tmp_path):
    run("cosim", weights, "--data", "random", "--engine", "ideal", "--noise-floor", 0.02, "--output", tmp_path / "one")
    solver = json.loads((tmp_path / "one" / "record.json").read_text())["solver"]
    assert (solver["newton"]["noise"], solver["krylov"]["rtol"], solver["adaptive"]["noise"]) == (0.01, 0.02, 0.02)


def test_gradients_prints_and_keeps_what_it_finds(weights, tmp_path):
    output = run("gradients", weights, "--data", "random", "--tile", 4, "--r-bit", 5, "--output", tmp_path / "out")
    assert "bias: hardware - true" in output
    record = json.loads((tmp_path / "out" / "gradients.json").read_text())
    assert f"{record['differences']['bias']['a']['relative_error']:.3e}" in output


def test_attribute_prints_and_keeps_what_it_finds(weights, tmp_path):
    circuit = ("--tile", 4, "--r-bit", 5, "--programming", 0.05, "--noise", 0.01, "--adc-bits", 8)
    output = run(
        "attribute", weights, "--data", "random", *circuit, "--split", "--jobs", 1, "--output", tmp_path / "out"
    )
    for expected in ("wires", "programming error", "read noise", "converters", "bias of a", "shift of b"):
        assert expected in output
    values = json.loads((tmp_path / "out" / "attribution.json").read_text())["measures"]["gradient of a"]
    assert sum(values["shapley"].values()) == pytest.approx(values["total"] - values["none"])
    assert f"{values['shapley']['wires']:.3%}" in output
    assert (tmp_path / "out" / "attribution.png").is_file()


@pytest.mark.ngspice
def test_cosim_can_characterise_and_says_which_reads_were_driven(weights, tmp_path):
    engine_or_skip("ngspice")
    run("cosim", weights, "--data", "random", "--characterise", "--tile", 4, "--r-bit", 2, "--output", tmp_path / "one")
    header, *rows = (line.split(",") for line in (tmp_path / "one" / "trace.csv").read_text().splitlines())
    sources = [row[header.index("source")] for row in rows]
    assert set(sources) == {"characterised", "checked"}
    assert sources[0] == "checked"
    assert len(sources) / 16 <= sources.count("checked") <= len(sources) / 16 + 2  # A and B are counted apart
    refused = CliRunner().invoke(app, ["cosim", str(weights), "--engine", "nodal", "--characterise"])
    assert refused.exit_code == 2
    assert "for --engine ngspice" in refused.output


@pytest.mark.parametrize("verb", ["cosim", "gradients", "attribute"])
def test_every_output_names_its_data_and_none_are_guessed(verb, weights, tmp_path):
    options = ("--engine", "nodal", "--r-bit", 5, "--programming", 0.05, "--output", tmp_path / "out")
    with pytest.raises(StudyError, match="which data is the model of 6 states to run on"):
        run(verb, weights, *options)
    assert not (tmp_path / "out").exists()
    words = "4 random states (standard normal), drawn with seed 3"
    assert words in run(verb, weights, *options, "--seed", 3, "--data", "random")
    (record,) = (tmp_path / "out").glob("*.json")
    assert json.loads(record.read_text())["data"] == words


def test_tune_takes_digits_for_a_model_of_theirs_only(tmp_path, rng):
    classifier = Classifier(rng.standard_normal((10, 64)), np.zeros(10))
    encoded = Model(*rng.standard_normal((2, 64, 64)), h=0.25, steps=1, classifier=classifier)
    save_model(tmp_path / "encoded.npz", encoded)
    with pytest.raises(InvalidInputError, match="does not say that it was trained on the digits"):
        run("tune", tmp_path / "encoded.npz", "--output", tmp_path / "tuned.npz")


@pytest.mark.parametrize("verb", ["cosim", "gradients", "attribute", "netlist", "study", "report"])
@pytest.mark.parametrize("kind", ["pipe", "device", "file", "long", "under a file", "read-only"])
def test_an_output_that_cannot_be_written_is_refused_before_the_work(verb, kind, weights, tmp_path, monkeypatch):
    monkeypatch.setattr("xbar_spice.cosim.cosimulate", None)
    monkeypatch.setattr("xbar_spice.cosim.gradients.three_gradients", None)
    monkeypatch.setattr("xbar_spice.cosim.attribute", None)
    monkeypatch.setattr("xbar_spice.study.runner.run_cases", None)
    monkeypatch.setattr("xbar_spice.report.html.write_figures", None)
    (tmp_path / "file").write_text("mine")
    os.mkfifo(tmp_path / "pipe")
    place = {
        "pipe": tmp_path / "pipe",
        "device": "/dev/null",
        "file": tmp_path / "file",
        "long": tmp_path / ("x" * 300),
        "under a file": tmp_path / "file" / "new",
        "read-only": "/proc/new",
    }[kind]
    study = tmp_path / "small.toml"
    study.write_text(STUDY)
    if verb == "report":
        Store(tmp_path / "store").locked().__enter__()
        Store(tmp_path / "store").write_study({"name": "empty", "axes": [], "cases": [], "parameters": {}})
        if kind == "file":
            pytest.skip("a page may replace a file")
    given = {
        "netlist": (weights,),
        "study": (study, "--jobs", 1),
        "report": (tmp_path / "store",),
    }.get(verb, (weights, "--engine", "nodal", "--data", "random", "--r-bit", 1))
    done = CliRunner().invoke(app, [verb, *map(str, given), "--output", str(place)])
    assert done.exit_code in (1, 2)
    assert isinstance(done.exception, SystemExit | XbarError), done.exception
    named = {"device": "/dev", "under a file": tmp_path / "file"}.get(kind, place)
    assert str(named) in re.sub(r"\s+", " ", done.output + str(done.exception))
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    assert (tmp_path / "file").read_text() == "mine"
    assert not [*tmp_path.rglob(".draft-*")]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EFBIG, errno.EROFS])
@pytest.mark.parametrize("verb", ["cosim", "gradients", "netlist"])
def test_a_disk_that_takes_no_more_is_an_error_without_drafts(verb, number, weights, tmp_path, monkeypatch):
    def fail(path, content):
        path.write_bytes(b"half")
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("xbar_spice.disk.write_durably", fail)
    options = () if verb == "netlist" else ("--engine", "ideal", "--data", "random")
    with pytest.raises(XbarError, match=f"cannot be written: {os.strerror(number)}; "):
        run(verb, weights, *options, "--output", tmp_path / "out")
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


@pytest.mark.parametrize("verb", ["cosim", "gradients", "attribute", "netlist", "study", "report"])
def test_ctrl_c_says_what_was_kept(verb, weights, tmp_path, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    names = {"cosim": "cosimulate", "gradients": "three_gradients", "attribute": "attribute"}
    places = {
        "netlist": "xbar_spice.mapping.export.write_netlists",
        "study": "xbar_spice.study.runner.run_study",
        "report": "xbar_spice.report.html.write_report",
    }
    monkeypatch.setattr(places.get(verb) or f"xbar_spice.cosim.{names[verb]}", interrupt)
    (tmp_path / "small.toml").write_text(STUDY)
    given = {"netlist": (weights,), "study": (tmp_path / "small.toml",), "report": (tmp_path,)}
    output = tmp_path / "out"
    where = given.get(verb, (weights, "--engine", "nodal", "--data", "random", "--r-bit", 1))
    said = run(verb, *where, "--output", output, code=130)
    assert "interrupted: " in said
    assert {"study": f"finished cases are kept in {output}", "netlist": "decks"}.get(verb, "not") in said


def test_netlist_does_not_leave_feedback_circuits_of_another_design(weights, tmp_path):
    run("netlist", weights, "--feedback", "--output", tmp_path / "decks")
    said = run("netlist", weights, "--tile", 2, "--output", tmp_path / "decks", code=2)
    assert "holds circuits of an earlier --feedback (loop.forward.cir)" in said
    run("netlist", weights, "--tile", 2, "--feedback", "--output", tmp_path / "decks")


def test_a_study_that_did_not_converge_has_an_exit_status_of_its_own(weights, tmp_path):
    study = tmp_path / "small.toml"
    study.write_text(STUDY + "[solver.krylov]\nmax_iterations = 1\nrtol = 1e-12\n")
    said = run("study", study, "--output", tmp_path / "out", "--jobs", 1, code=1)
    assert "NOT CONVERGED: tile 2, wire resistance 1 ohm, seed 0" in said


def test_cosim_by_a_circuit_says_what_it_solved(weights):
    output = run("cosim", weights, "--data", "random", "--engine", "nodal", "--linear-solver", "feedback")
    assert "circuit solves" in output


def test_study_and_report(weights, tmp_path):
    study = tmp_path / "small.toml"
    study.write_text(STUDY)
    assert "8 cases: 0 were there, 8 run" in run("study", study, "--output", tmp_path / "out", "--jobs", 1)
    assert "8 cases: 8 were there, 0 run" in run("study", study, "--output", tmp_path / "out", "--jobs", 1)
    report = Path(run("report", tmp_path / "out").split("report: ")[1].strip())
    assert report.read_text().lower().startswith("<!doctype html>")


def test_doctor_names_what_matters(monkeypatch, tmp_path):
    monkeypatch.setenv("XBAR_OPENVAF", str(tmp_path / "nowhere"))
    simulator = tmp_path / "vacask"
    simulator.write_text("#!/bin/sh\necho This is vacask 0.3.4.\n")
    simulator.chmod(0o755)
    monkeypatch.setenv("XBAR_VACASK", str(simulator))
    output = run("doctor")
    for word in ("Python", "PySpice", "netlists", "libngspice", "ngspice 39 and 46", "engines"):
        assert word in output
    assert re.search(r"Verilog-A +not found .*pip install 'xbar-spice\[verilog-a\]'.*XBAR_OPENVAF", output)
    assert f"VACASK           vacask 0.3.4, {simulator}" in output


def test_an_error_is_a_message_without_a_traceback(tmp_path):
    np.savez(tmp_path / "bad.npz", A=np.ones((2, 2)))
    command = [sys.executable, "-c", "from xbar_spice.cli import main; main()", "cosim", str(tmp_path / "bad.npz")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "bad.npz" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("verb", ["train", "tune"])
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("model.txt", "expected a name ending in .npz, .safetensors, .pt, .pth"),
        ("missing/model.npz", "No such file or directory"),
        ("x" * 300 + ".npz", "File name too long"),
        ("pipe.npz", "it is a named pipe"),
    ],
)
def test_names_are_checked_before_a_training(verb, name, text, weights, tmp_path, monkeypatch):
    monkeypatch.setattr("xbar_spice.train.training.train", None)
    monkeypatch.setattr("xbar_spice.train.training.tune", None)
    os.mkfifo(tmp_path / "pipe.npz")
    with pytest.raises(WeightsError, match=re.escape(text)):
        run(verb, "digits-conv" if verb == "train" else weights, "--output", tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pipe.npz", "small.npz"]


@pytest.mark.parametrize("verb", ["train", "tune"])
def test_ctrl_c_in_a_training_says_what_was_kept(verb, weights, tmp_path, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("xbar_spice.train.training.train", interrupt)
    monkeypatch.setattr("xbar_spice.train.training.tune", interrupt)
    task = "digits-conv" if verb == "train" else weights
    output = run(verb, task, "--output", tmp_path / "new.npz", code=130)
    assert output.strip() == f"interrupted: no weights were written to {tmp_path / 'new.npz'}"
    assert [path.name for path in tmp_path.iterdir()] == ["small.npz"]


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "runs/a"), "runs/a: No space left on device; free some"),
        (MemoryError(), "it needs more memory than there is"),
        (InvalidInputError("a"), "a"),
    ],
)
def test_what_the_system_says_is_a_message_without_a_traceback(error, text, monkeypatch, capsys):
    def fail():
        raise error

    monkeypatch.setattr("xbar_spice.cli.app.app", fail)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert capsys.readouterr().err.startswith(f"error: {text}")


def test_a_wrong_option_names_the_choices(weights):
    assert "'ideal', 'nodal', 'ngspice'" in run("cosim", weights, "--data", "random", "--engine", "spectre", code=2)
