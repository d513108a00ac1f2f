"""Every example runs: programs as they stand, study files up to their cases."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

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


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*.toml")), ids=lambda path: path.stem)
def test_example_is_a_study(example: Path) -> None:
    assert load_study(example).points()


def test_every_example_is_listed() -> None:
    guide = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")
    for example in EXAMPLES.iterdir():
        if example.suffix in (".py", ".toml"):
            assert f"`{example.name}`" in guide, example.name
