"""From a study file and the command line: cells that move, written in their circuit, read and differentiated."""

from __future__ import annotations

import numpy as np
import pytest
from click.testing import CliRunner

import xbar_spice as xs
from xbar_spice.cli.app import app

STUDY = """
name = "how near"
seeds = [0]
data = { task = "random", samples = 2 }
model = { weights = "m.npz" }

[circuit]
engine = "nodal"
device = "yakopcic_fast"
g_min = 1e-5
g_max = 1.2e-4
r_word = 2.0
r_bit = 2.0

[[axes]]
name = "writing"
fields = ["circuit.variation"]
values = ["write_verify(tolerance=0.1, scheme='1t1r')", "write_verify(tolerance=0.01, scheme='1t1r')"]
"""


@pytest.fixture
def folder(tmp_path, rng):
    model = xs.Model(rng.standard_normal((2, 2)), rng.standard_normal((2, 2)), h=0.1, steps=2)
    xs.save_model(tmp_path / "m.npz", model)
    return tmp_path


def test_a_study_writes_reads_and_differentiates(folder):
    (folder / "study.toml").write_text(STUDY)
    study = xs.load_study(folder / "study.toml")
    xs.run_study(study, folder / "store", study_file=folder / "study.toml", jobs=1)
    found = xs.load_results(folder / "store").sort_values("writing")
    errors = found["gradient.A.relative_error"].to_numpy()
    assert len(errors) == 2
    assert errors[0] < 0.1
    assert errors[0] < errors[1]
    for name in ("pulses", "seconds", "energy", "passes"):
        assert (found[f"programming.{name}"] > 0).all()
    assert found["programming.pulses"].is_monotonic_decreasing
    assert (found[["programming.disturb", "programming.given_up"]] == 0).all(axis=None)


def test_the_verb_writes_what_the_function_does(folder):
    options = "--device yakopcic_fast --g-min 1e-5 --g-max 1.2e-4 --r-word 2 --tolerance 0.1 --scheme 1t1r"
    command = ["write", f"{folder / 'm.npz'}", "--name", "A.t0_0m", "--output", f"{folder / 'w'}", *options.split()]
    done = CliRunner().invoke(app, command, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "near enough      4 of 4 cells, 0 given up" in done.output
    with np.load(folder / "w" / "A_t0_0m.npz") as file:
        written = file["conductance"]
    design = xs.Design(
        device=xs.load_device("yakopcic_fast"), g_min=1e-5, g_max=1.2e-4, r_word=2.0,
        programming=xs.WriteVerify(tolerance=0.1, scheme="1t1r"),
    )  # fmt: skip
    mapped = xs.map_weights(xs.load_model(folder / "m.npz").A, design)
    (array,) = [array for array in mapped.arrays if array.name == "t0_0m"]
    np.testing.assert_allclose(written, array.crossbar.conductance)
    refused = CliRunner().invoke(app, [*command[:-1], "v/2", "--device", "ohmic"])
    assert isinstance(refused.exception, xs.XbarError)
    assert "cells with a state" in str(refused.exception)
