"""Models of frameworks and samples of one's own through the verbs, without a line of Python."""

import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from xbar_spice.cli.app import app
from xbar_spice.errors import DataError, StudyError, WeightsError
from xbar_spice.weights import Classifier, Model, load_model, save_model

TORCH = Path(__file__).parents[1] / "weights" / "torch"
SETTINGS = ("--set", "h=0.25", "--set", "steps=4", "--set", "method=rk4", "--set", "activation=tanh")
CIRCUIT = ("--engine", "nodal", "--r-word", "2", "--r-bit", "2")


def run(*arguments, code=0):
    done = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert done.exit_code == code, done.output
    return " ".join(done.output.split())


@pytest.fixture
def own(tmp_path, rng):
    """A model of three states and a table of twelve samples for it."""
    A, B = rng.standard_normal((4, 3)), rng.standard_normal((3, 4)) / 4
    classifier = Classifier(rng.standard_normal((2, 3)), np.zeros(2))
    save_model(tmp_path / "own.npz", Model(A, B, h=0.25, steps=2, classifier=classifier))
    x = rng.standard_normal((12, 3))
    table = np.column_stack([x, np.arange(12) % 2])
    np.savetxt(tmp_path / "own.csv", table, delimiter=",", header="a,b,c,kind", comments="")
    return tmp_path


DATA = ("--data", "own.csv", "--data-map", "labels=kind")


@pytest.mark.parametrize(
    ("verb", "said"),
    [
        (("cosim", *CIRCUIT), "4 of 12 samples of own.csv, the first ones"),
        (("gradients", *CIRCUIT, "--samples", 6, "--data-seed", 3), "6 of 12 samples of own.csv, drawn with seed 3"),
        (("attribute", *CIRCUIT, "--jobs", 1, "--samples", 12), "all 12 samples of own.csv"),
        (("tune", *CIRCUIT, "--epochs", 1, "--output", "tuned.npz"), "2 held-back samples of own.csv"),
        (("inspect", "--output", "same.npz"), "data all 12 samples of own.csv digital loss"),
    ],
)
def test_a_table_of_ones_own(own, verb, said, monkeypatch):
    monkeypatch.chdir(own)
    assert said in run(verb[0], "own.npz", *DATA, *verb[1:])
    if "--output" in verb:
        assert load_model(verb[-1]).states == 3


@pytest.fixture
def observed(tmp_path, rng, monkeypatch):
    """A model of two states and a table of eight samples with targets at two times."""
    monkeypatch.chdir(tmp_path)
    save_model("own.npz", Model(rng.standard_normal((3, 2)), rng.standard_normal((2, 3)) / 4, h=0.25, steps=3))
    names = ("x0", "x1", *(f"target{k}@{time}" for time in (0.25, 0.75) for k in (0, 1)))
    np.savetxt("own.csv", rng.standard_normal((8, 6)), delimiter=",", header=",".join(names), comments="")
    (tmp_path / "own.toml").write_text(
        'name = "own"\n[model]\nweights = "own.npz"\n[data]\nfile = "own.csv"\nsamples = 2\n'
        '[circuit]\nengine = "nodal"\n[[axes]]\nname = "wires"\nfields = ["circuit.r_word"]\nvalues = [1.0, 4.0]\n'
    )
    return tmp_path


def test_observations_of_ones_own_go_through_every_verb(observed):
    data, taken = ("--data", "own.csv"), "4 of 8 samples of own.csv, the first ones"
    assert "data all 8 samples of own.csv digital loss" in run("inspect", "own.npz", *data)
    for verb in (("cosim",), ("gradients",), ("attribute", "--jobs", 1)):
        output = run(verb[0], "own.npz", *data, *CIRCUIT, *verb[1:])
        assert taken in output
        assert "accuracy" not in output
    tuned = run("tune", "own.npz", *data, *CIRCUIT, "--epochs", 2, "--output", "tuned.npz")
    assert "on the chip loss on 2 held-back samples of own.csv as deployed" in tuned
    assert "%" not in tuned
    assert re.search(r"NFE +[\d.]+ and [\d.]+ back in the first epoch, [\d.]+ and [\d.]+ back in the last", tuned)
    assert not np.array_equal(load_model("tuned.npz").A, load_model("own.npz").A)
    assert "2 cases: 0 were there, 2 run" in run("study", "own.toml", "--output", "runs", "--jobs", 1)
    assert "report: " in run("report", "runs")
    assert "2 of 8 samples of own.csv" in (observed / "runs" / "report.html").read_text()


def test_a_checkpoint_is_read_where_weights_are_taken(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    expected = np.load(TORCH / "expected.npz")
    np.savez("data.npz", x=expected["x"], labels=expected["labels"])
    accuracy = f"{(expected['tanh.logits'].argmax(axis=1) == expected['labels']).mean():.2%}"
    output = run("inspect", TORCH / "checkpoint.pt", *SETTINGS, "--data", "data.npz", "--output", "net.npz")
    for said in (
        "state_dict.module.odefunc.l1.weight │ 6 x 4 │ float32 │ A │",
        "left out optimizer: state of an optimiser",
        "field activation, activation tanh",
        "states 4, from 5 inputs",
        "encoder 4 x 5 classifier 3 classes 3 x 4",
        f"digital accuracy {accuracy}",
        "written net.npz",
    ):
        assert said in output
    straight = run("cosim", TORCH / "checkpoint.pt", *SETTINGS, "--data", "data.npz", "--samples", 20, *CIRCUIT)
    again = run("cosim", "net.npz", "--data", "data.npz", "--samples", 20, *CIRCUIT)
    assert "read from checkpoint.pt: A = state_dict.module.odefunc.l1.weight" in straight
    loss = again.split("loss ")[1].split(" reads")[0]
    assert loss in straight
    mapping = ("--map", "A=l1", "--map", "B=l2")
    output = run("inspect", TORCH / "checkpoint.pt", *SETTINGS, *mapping)
    assert "state_dict.module.fc.weight │ 3 x 4 │ float32 │ nothing │" in output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--set", "h=0.1"), "'steps' is missing"),
        (("--map", "A=nowhere"), "mapping A=nowhere: 'nowhere' is not there"),
        (("--set", "color=red"), "setting 'color': expected one of field, activation, method"),
    ],
)
def test_what_is_wrong_with_a_weight_file_is_said_behind_its_tensors(arguments, said):
    try:
        output = run("inspect", TORCH / "checkpoint.pt", *arguments, code=1)
    except WeightsError as error:
        output = str(error)
    assert said in output


def test_options_that_mean_nothing(own, monkeypatch):
    monkeypatch.chdir(own)
    assert "give --data FILE, too" in run("cosim", "own.npz", "--data-map", "labels=kind", code=2)
    assert "expected NAME=VALUE, got 'h'" in run("cosim", "own.npz", "--set", "h", code=2)
    assert "data set must be one of 'digits'" in run("cosim", "own.npz", "--data", "faces", code=2)
    assert "random states have no classes" in run("tune", "own.npz", "--data", "random", "--output", "t.npz", code=2)
    with pytest.raises(StudyError, match="samples of 2 entries do not fit a model of 3 states"):
        run("cosim", "own.npz", "--data", "spirals", *CIRCUIT)
    with pytest.raises(StudyError, match=r"samples of 4 entries .* say which: --data-map targets=NAME,NAME"):
        run("cosim", "own.npz", "--data", "own.csv", *CIRCUIT)
    with pytest.raises(DataError, match="cannot be read"):
        run("cosim", "own.npz", "--data", "none.csv")


def test_weights_of_each_step_on_rewritten_arrays(own, monkeypatch):
    monkeypatch.chdir(own)
    K = np.eye(3) * np.arange(1.0, 5.0)[:, None, None] - 1.0
    np.savez("layers.npz", K=K, h=0.25, steps=4, field="layer", method="ab3", **{"classifier.weight": np.eye(2, 3)})
    output = run("cosim", "layers.npz", *DATA, *CIRCUIT, "--rewritten")
    assert "8 (4 K forward in 4 layers, 4 K transposed in 4 layers)" in output
    assert re.search(r"writes K 4 forward, 3 back; \d+ devices with another target", output)
