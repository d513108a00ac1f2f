"""Study files: what is read, and what an error says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from xbar_spice.errors import StudyError
from xbar_spice.hardware.amplifier import Amplifier
from xbar_spice.hardware.cells import Polynomial, Sinh
from xbar_spice.hardware.converters import Converters
from xbar_spice.hardware.read_noise import ReadNoise
from xbar_spice.mapping.design import Design
from xbar_spice.solve.integrators.step_control import AdaptiveOptions
from xbar_spice.spice.device_models import load_opamp
from xbar_spice.study.study_file import load_study, parse_study

EXAMPLES = Path(__file__).parents[2] / "examples"
PLAIN: dict[str, Any] = {"name": "plain", "model": {"weights": "weights.npz"}}


def axis(values: Any, field: str = "circuit.tile", name: str = "tile") -> dict[str, Any]:
    return {"name": name, "fields": [field], "values": values}


def test_what_is_left_out_has_the_package_s_defaults() -> None:
    ((point, parameters),) = parse_study(PLAIN).points()
    assert point == {}
    assert parameters.design() == Design()
    assert parameters.solver_options().newton.rtol == 1e-8
    assert parameters.engine == "ngspice"


def test_every_setting_reaches_the_design() -> None:
    circuit = {
        "engine": "nodal",
        "tile": 8,
        "r_word": 2,
        "variation": {"programming": 0.1},
        "terminations": {"drive": "double"},
        "device": "hfo2_milo2021",
        "g_min": 5e-5,
        "g_max": 2e-4,
        "amplifier": {"r_feedback": 1e4, "opamp": "loaded"},
        "noise": {"device": 0.01},
        "converters": {"adc_bits": 8},
    }
    solver = {"newton": {"max_iterations": 7, "noise": 0.01}, "adaptive": {"noise": 0.02, "max_rejections": 9}}
    ((_, parameters),) = parse_study(PLAIN | {"circuit": circuit, "solver": solver}).points()
    design = parameters.design()
    assert (design.tile, design.r_word, design.variation.programming) == (8, 2.0, 0.1)
    assert design.terminations.drive == "double"
    assert design.device == Polynomial()
    assert design.amplifier == Amplifier(1e4, opamp=load_opamp("loaded"))
    assert design.noise == ReadNoise(device=0.01)
    assert design.converters == Converters(adc_bits=8)
    assert parameters.solver_options().newton.max_iterations == 7
    assert parameters.solver_options().newton.noise == 0.01
    assert parameters.solver_options().adaptive == AdaptiveOptions(noise=0.02, max_rejections=9)
    assert parameters.solver_options().newton.rtol == 1e-8


def test_a_task_is_trained_as_the_study_says() -> None:
    training = {"epochs": 2, "optimiser": "gauss-newton", "levels": 3, "smoothness": 1e-4, "unroll": True}
    ((_, parameters),) = parse_study({"name": "trained", "model": {"task": "wine", "training": training}}).points()
    assert parameters.model.schedule == training


def test_axes_make_every_combination_and_may_set_several_fields() -> None:
    wires = {"name": "wires", "fields": ["circuit.r_word", "circuit.r_bit"], "values": [0.5, 2.0]}
    points = parse_study(PLAIN | {"axes": [axis([8, 16]), wires]}).points()
    assert [tuple(point.values()) for point, _ in points] == [(8, 0.5), (8, 2.0), (16, 0.5), (16, 2.0)]
    assert [(p.design().tile, p.design().r_word, p.design().r_bit) for _, p in points][-1] == (16, 2.0, 2.0)


def test_an_amplifier_can_be_an_axis() -> None:
    circuit = {"amplifier": {"r_feedback": 1e4}}
    gain = {"name": "gain", "fields": ["circuit.amplifier.gain"], "values": [1e3, 1e5]}
    points = parse_study(PLAIN | {"circuit": circuit, "axes": [gain]}).points()
    assert [parameters.design().amplifier for _, parameters in points] == [Amplifier(1e4, 1e3), Amplifier(1e4, 1e5)]


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.toml")), ids=lambda path: path.stem)
def test_the_examples_are_studies(path: Path) -> None:
    assert load_study(path).points()


WRONG = {
    "an unknown key": ({"circuit": {"tiles": 8}}, ["circuit.tiles", "did you mean 'tile'", "r_word"]),
    "an unknown table": ({"circut": {}}, ["circut", "did you mean 'circuit'"]),
    "a schedule that is none": (
        {"model": {"task": "wine", "training": {"optimiser": "lbfgs", "momentum": 0.5}}},
        ["model.training", "momentum is of optimiser"],
    ),
    "a training of what is trained": ({"model": {"weights": "w.npz", "training": {"epochs": 1}}}, ["give task"]),
    "a text for a number": ({"circuit": {"tile": "8"}}, ["circuit.tile", "a whole number", "'8'"]),
    "true for a number": ({"circuit": {"tile": True}}, ["circuit.tile", "a whole number", "True"]),
    "a value out of range": ({"circuit": {"r_word": -1.0}}, ["r_word must be finite and >= 0 ohm", "-1.0"]),
    "values that do not fit": ({"circuit": {"g_min": 1e-3}}, ["g_min < g_max", "0.001"]),
    "a nested key": ({"circuit": {"variation": {"sigma": 0.1}}}, ["circuit.variation.sigma", "programming"]),
    "an unknown engine": ({"circuit": {"engine": "spice"}}, ["circuit.engine", "'ngspice'", "'spice'"]),
    "a negative gain": ({"circuit": {"amplifier": {"gain": -1.0}}}, ["gain of an amplifier", "> 0", "-1.0"]),
    "an unknown op-amp": ({"circuit": {"amplifier": {"opamp": "magic"}}}, ["opamp", "'loaded'", "'magic'"]),
    "an unknown device": ({"circuit": {"device": "magic"}}, ["circuit.device", "'ohmic'", "'magic'"]),
    "a wrong tolerance": ({"solver": {"newton": {"rtol": 2.0}}}, ["solver", "must be in [0, 1)", "2.0"]),
    "no model": ({"model": {}}, ["model", "either weights", "neither"]),
    "two models": ({"model": {"weights": "w.npz", "task": "digits-conv"}}, ["model", "both"]),
    "an unknown task": ({"model": {"task": "mnist"}}, ["model.task", "digits-conv", "'mnist'"]),
    "no samples": ({"data": {"samples": 0}}, ["data.samples", ">= 1", "0"]),
    "no seeds": ({"seeds": []}, ["seeds", "at least one"]),
    "a seed twice": ({"seeds": [1, 1]}, ["seeds", "differ", "[1, 1]"]),
    "a negative seed": ({"seeds": [-1]}, ["seeds[0]", ">= 0", "-1"]),
    "an axis of nothing": ({"axes": [axis([])]}, ["axes[0].values", "at least one"]),
    "an axis value twice": ({"axes": [axis([8, 8])]}, ["axes[0].values", "differ"]),
    "an axis of an unknown field": ({"axes": [axis([1], "circuit.tiles")]}, ["'circuit.tiles'", "circuit.tile,"]),
    "an axis value of another type": ({"axes": [axis(["a"])]}, ["tile = 'a'", "circuit.tile", "whole number"]),
    "an axis value out of range": ({"axes": [axis([8, 0])]}, ["tile = 0", "whole number >= 1"]),
    "a field in two axes": ({"axes": [axis([8]), axis([9], name="b")]}, ["'circuit.tile' more than once"]),
    "a nested list": ({"axes": [axis([[8]])]}, ["axes[0].values[0]", "a number", "[8]"]),
    "a key left out": ({"axes": [{"name": "tile", "values": [8]}]}, ["axes[0].fields", "is missing"]),
}


@pytest.mark.parametrize(("change", "said"), WRONG.values(), ids=WRONG)
def test_an_error_names_key_value_and_what_is_allowed(change: dict[str, Any], said: list[str]) -> None:
    with pytest.raises(StudyError) as caught:
        parse_study(PLAIN | change, "my.toml")
    text = str(caught.value)
    assert text.startswith("my.toml:")
    assert all(part in text for part in said), text


IDLE = [
    ("amplifier", {"gain": 5.0}, "r_feedback", [0.0, 1e4]),
    ("amplifier", {"opamp": "loaded"}, "r_feedback", [0.0, 1e4]),
    ("converters", {"adc_range": 0.5}, "adc_bits", [8]),
    ("noise", {"law": "pcm"}, "device", [0.0, 0.01]),
    ("variation", {"distribution": "lognormal"}, "programming", [0.0, 0.05]),
]


@pytest.mark.parametrize(("part", "given", "need", "values"), IDLE, ids=str)
def test_a_setting_that_no_case_uses_is_refused(part: str, given: dict[str, Any], need: str, values: list[Any]) -> None:
    study = PLAIN | {"circuit": {part: given}}
    setting = next(iter(given))
    with pytest.raises(StudyError, match=rf"circuit\.{part}\.{setting} has no effect without circuit\.{part}\.{need}"):
        parse_study(study)
    as_axis = {"name": setting, "fields": [f"circuit.{part}.{setting}"], "values": list(given.values())}
    with pytest.raises(StudyError, match=f"{setting} has no effect without"):
        parse_study(PLAIN | {"axes": [as_axis]})
    switch = {"name": need, "fields": [f"circuit.{part}.{need}"], "values": values}
    for _, parameters in parse_study(study | {"axes": [switch]}).points():
        made = getattr(parameters.design(), part)
        assert bool(getattr(made, need)) == (getattr(made, setting) != getattr(type(made), setting))


def test_all_errors_are_said_at_once() -> None:
    with pytest.raises(StudyError, match=r"(?s)data\.samples:.*circuit\.tile:"):
        parse_study(PLAIN | {"circuit": {"tile": "8"}, "data": {"samples": 0}})


def test_a_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"none\.toml: cannot be read: No such file"):
        load_study(tmp_path / "none.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("name = \n")
    with pytest.raises(StudyError, match=r"broken\.toml: not valid TOML: .*line 1"):
        load_study(broken)


def test_paths_are_relative_to_the_study_file(tmp_path: Path) -> None:
    (tmp_path / "cell.toml").write_text('law = "sinh"\n[parameters]\nv0 = 0.5\n')
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "named.toml").write_text('law = "sinh"\n[parameters]\nv0 = 0.7\n')
    text = 'name = "s"\nmodels = ["mine"]\n[model]\nweights = "w.npz"\n[circuit]\nafter = "1 day"\ndrift = "pcm"\n'
    axes = '[[axes]]\nname = "cell"\nfields = ["circuit.device"]\nvalues = ["cell.toml", "named", "stanford_gap"]\n'
    (tmp_path / "study.toml").write_text(text + axes)
    designs = [parameters.design() for _, parameters in load_study(tmp_path / "study.toml").points()]
    assert [design.device for design in designs] == [Sinh(0.5), Sinh(0.7), Sinh(0.25)]
    assert designs[0].after == 86400.0


def test_folders_that_are_not_there_or_not_used_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"models folder .*none.* does not exist"):
        parse_study(PLAIN | {"models": ["none"]}, folder=tmp_path)
    (tmp_path / "mine").mkdir()
    with pytest.raises(StudyError, match="netlists has no effect without engine 'ngspice'"):
        parse_study(PLAIN | {"netlists": ["mine"], "circuit": {"engine": "nodal"}}, folder=tmp_path)
    study = parse_study(PLAIN | {"netlists": ["mine"]}, folder=tmp_path)
    assert study.points()[0][1].engine_options == {"netlists": (tmp_path / "mine",)}


def test_a_mapping_is_an_axis_and_an_engine_a_text() -> None:
    values = ["differential", "interleaved", "bit_sliced(bits=4)"]
    study = parse_study(PLAIN | {"axes": [axis(values, "circuit.mapping", "mapping")]})
    assert [type(p.design().mapping).__name__ for _, p in study.points()] == [
        "Differential",
        "Interleaved",
        "BitSliced",
    ]
    assert parse_study(PLAIN | {"circuit": {"engine": "nodal(tolerance=1e-9)"}}).engine == "nodal(tolerance=1e-9)"


def test_importing_the_package_reads_no_model_file() -> None:
    code = (
        "import sys; opened = []\n"
        "sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == 'open' else None)\n"
        "import xbar_spice, xbar_spice.study.config, xbar_spice.study.runner\n"
        "print([name for name in opened if name.endswith(('.toml', '.lib'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
