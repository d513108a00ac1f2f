"""`xbar-spice study` and `show study`: settings from outside, dry runs, failed cases, tags and notes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import xbar_spice as xs
from xbar_spice.cli.app import app
from xbar_spice.errors import SimulationError
from xbar_spice.study import setups
from xbar_spice.study.store import Store

STUDY = """
name = "small"
seeds = [0, 1]
model.weights = "weights.npz"
data = { task = "random", samples = 2 }
circuit = { engine = "nodal", variation.programming = 0.05 }
[[axes]]
name = "tile"
fields = ["circuit.tile"]
values = [2, 4]
[[axes]]
name = "wire"
unit = "ohm"
fields = ["circuit.r_word"]
log = { from = 0.1, to = 10.0, steps = 3 }
"""


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    xs.save_model("weights.npz", xs.Model(rng.normal(size=(4, 3)), 0.3 * rng.normal(size=(3, 4)), h=0.25, steps=2))
    Path("study.toml").write_text(STUDY)
    return "study.toml"


def run(*words: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert done.exit_code == code, done.output
    return done.output


def test_a_study_from_a_dry_run_to_what_is_shown_of_it(study: str, monkeypatch: pytest.MonkeyPatch) -> None:
    options = [
        study,
        "--jobs",
        "1",
        "--set",
        "circuit.tile=2",
        "--set",
        "seeds=[3]",
        "--tag",
        "wires",
        "--note",
        "why?",
    ]
    said = run("study", *options, "--dry-run")
    assert "3 cases: 0 are there, 3 to run" in said
    assert "within a factor of three" in said
    assert not Path("runs").exists()

    real = setups.cosimulate

    def fails_once(*given: object, **options: object) -> object:
        if given[1].r_word == 10.0:  # type: ignore[attr-defined]
            raise SimulationError("no convergence")
        return real(*given, **options)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(setups, "cosimulate", fails_once)
        run("study", *options, code=1)
    assert "3 cases: 2 are there, 1 to run (1 failed before)" in run("study", *options, "--dry-run")
    shown = run("show", "study", "runs/study")
    for text in ("small #wires", "why?", "2 random states", "0.1, 1, 10", "2 done, 1 failed", "no convergence"):
        assert text in shown
    assert "1 failed" in run("study", *options, "--keep-failed", code=1)
    assert "3 cases: 2 were there, 1 run in" in run("study", *options, "--retry-failed")
    assert "3 cases: 3 are there, 0 to run" in run("study", *options, "--dry-run")
    assert Store(Path("runs/study")).study()["tags"] == ["wires"]


def test_what_others_took_is_what_a_dry_run_goes_by(study: str) -> None:
    run("study", study, "--jobs", "1", "--set", "circuit.r_word=1.0")
    said = run("study", study, "--jobs", "2", "--dry-run")
    assert "12 cases: 4 are there, 8 to run" in said
    assert "with 2 at a time\n" in said
    assert "factor of three" not in said


def test_a_setting_that_is_none_is_refused(study: str) -> None:
    assert "expected NAME=VALUE" in run("study", study, "--set", "circuit.tile", code=2)
    with pytest.raises(xs.XbarError, match="unknown key; did you mean 'tile'"):
        run("study", study, "--set", "circuit.tyle=2", "--dry-run")


def test_nothing_is_trained_for_a_dry_run(study: str) -> None:
    text = Path(study).read_text().replace('model.weights = "weights.npz"', 'model.task = "digits-conv"')
    Path(study).write_text(text.replace('task = "random", ', ""))
    assert "12 cases: 0 are there" in run("study", study, "--dry-run")
    assert not Path("runs").exists()


def test_finished_cases_come_one_by_one_and_are_kept(study: str) -> None:
    parsed = xs.load_study(Path(study), {"seeds": [0]})
    cases = xs.iterate_study(parsed, Path("out"), study_file=Path(study), jobs=1)
    first = next(cases)
    assert first.record.converged
    cases.close()  # type: ignore[attr-defined]
    kept = Store(Path("out")).finished()
    assert first.id in kept
    again = [case.id for case in xs.iterate_study(parsed, Path("out"), study_file=Path(study), jobs=1)]
    assert (len(again), len(set(again)), set(again[: len(kept)])) == (6, 6, kept)
