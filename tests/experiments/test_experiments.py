"""Every experiment says how it is called and finds the environment; one that makes a figure runs in its quick form.

A new file in `experiments/` or `scripts/` is tested without a word here.
"""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from xbar_spice.train.digits import digits_conv
from xbar_spice.weights import Classifier, save_model

ROOT = Path(__file__).resolve().parents[2]
SHARED = ("common", "environment", "measuring")
SCRIPTS = [path for folder in ("experiments", "scripts") for path in sorted((ROOT / folder).glob("*.py"))]
SCRIPTS = [path for path in SCRIPTS if path.stem not in SHARED]
# Those that make a figure; benches are for a machine that does nothing else.
QUICK = [path for path in SCRIPTS if re.search(r"\bArguments\(", path.read_text(encoding="utf-8"))]
QUICK = [path for path in QUICK if path.stem == "demo" or "figure=False" not in path.read_text(encoding="utf-8")]


def run(*command: str | Path) -> str:
    """What a command prints; warnings are errors, as in every test."""
    environment = os.environ | {"PYTHONWARNINGS": "error"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Untrained ones: what the numbers are is not looked at."""
    rng, task = np.random.default_rng(0), digits_conv()
    classifier = Classifier(rng.normal(size=(10, 64)), np.zeros(10))
    path = tmp_path_factory.mktemp("weights") / "weights.npz"
    save_model(path, replace(task.initial(rng), classifier=classifier, trained_on=task.trained_on))
    return path


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_help_says_what_a_script_does(
    script: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert os.access(script, os.X_OK)
    text = script.read_text(encoding="utf-8")
    assert text.startswith("#!/usr/bin/env python3\n")
    if "import torch" in text:
        pytest.importorskip("torch", reason="the extra [torch] is not installed")
    first = text.split('"""')[1].splitlines()[0]
    monkeypatch.syspath_prepend(script.parent)
    monkeypatch.setattr(sys, "argv", [str(script), "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(script), run_name="__main__")
    assert not ended.value.code
    assert first in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("script", QUICK, ids=lambda path: path.stem)
def test_quick_form_runs(
    script: Path,
    weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In this process, which has imported the package already; the demo as a program, as it is called."""
    text = script.read_text(encoding="utf-8")
    options = ["--quick"]
    if "weights=None" in text:
        options += ["--weights", str(weights)]
    figure = "figure=False" not in text
    if figure:
        options += ["--out", str(tmp_path)]
    if script.stem == "demo":
        assert run(sys.executable, script, *options)
    else:
        monkeypatch.syspath_prepend(script.parent)
        monkeypatch.setattr(sys, "argv", [str(script), *options])
        runpy.run_path(str(script), run_name="__main__")
        assert capsys.readouterr().out
    assert len(list(tmp_path.glob("*.svg"))) == figure


@pytest.mark.skipif(not (ROOT / ".venv" / "bin" / "python").exists(), reason="scripts/bootstrap has made no .venv here")
def test_any_python_finds_the_environment() -> None:
    # -S hides all that is installed.
    assert "--states" in run(sys.executable, "-S", ROOT / "experiments" / "checkpoint_memory.py", "--help")


def test_index_has_every_script() -> None:
    index = (ROOT / "scripts" / "README.md").read_text(encoding="utf-8")
    for path in (*SCRIPTS, *(path for path in (ROOT / "scripts").iterdir() if path.is_file() and not path.suffix)):
        assert f"`{path.name}`" in index, path.name
        assert os.access(path, os.X_OK), path.name
