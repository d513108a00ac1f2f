"""Every example runs: programs as they stand, study files up to their cases."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

from xbar_spice.study.study_file import load_study

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_example_runs(
    example: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(example)])
    runpy.run_path(str(example), run_name="__main__")
    assert capsys.readouterr().out


def test_the_notebook_on_results_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cell by cell in one namespace, as a kernel would."""
    monkeypatch.chdir(tmp_path)
    example = EXAMPLES / "results.ipynb"
    names: dict[str, Any] = {}
    for number, cell in enumerate(json.loads(example.read_text(encoding="utf-8"))["cells"]):
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), f"{example.name}, cell {number}", "exec"), names)
    assert names["table"].shape[0] == 24


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*.toml")), ids=lambda path: path.stem)
def test_example_is_a_study(example: Path) -> None:
    assert load_study(example).points()


def test_every_example_is_listed() -> None:
    page = (ROOT / "docs" / "examples.md").read_text(encoding="utf-8")
    for example in EXAMPLES.iterdir():
        if example.suffix in (".py", ".toml", ".ipynb"):
            assert f"`{example.name}`" in page, example.name
