"""The documentation site: what its strict build does not see, and what is to be done where something is missing."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
NAV = re.findall(r"^ +- .+?: (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.M)


def test_every_page_has_a_place() -> None:
    """A page that nobody can reach is no page."""
    missing = sorted({path.name for path in DOCS.glob("*.md")} - set(NAV))
    assert not missing, f"give {missing} places in `nav` of mkdocs.yml, such as `- Its title: {missing[0]}`"


def test_every_place_has_a_page() -> None:
    assert len(set(NAV)) == len(NAV)
    for path in NAV:
        outer = path.removeprefix("files/") if path.startswith("files/") else f"docs/{path}"
        assert path == "index.md" or (ROOT / outer).exists(), f"nav of mkdocs.yml has {path}, which is not there"


def test_the_gallery_has_every_figure_with_its_script() -> None:
    entries = (DOCS / "gallery.md").read_text(encoding="utf-8").split("\n## ")[1:]
    scripts = {
        re.findall(r"figures/(\w+)\.png", entry)[0]: re.findall(r"\(\.\./(\S+\.py)\)", entry)[0] for entry in entries
    }
    missing = {path.stem for path in (DOCS / "figures").glob("*.png")} - set(scripts)
    assert not missing, (
        f"docs/gallery.md lacks {sorted(missing)}: each has a heading, the figure, its script and its page"
    )
    assert all((ROOT / script).exists() for script in scripts.values())


def test_the_floors_are_drawn_as_they_are() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    rooms = {room for layer in contracts[0]["layers"] for room in re.findall(r"\w+", layer)}
    shown = re.findall(r"<!-- (\w+) -->", (DOCS / "figures" / "floors.svg").read_text(encoding="utf-8"))
    assert rooms == set(shown) - {"imports"}, "experiments/diagrams.py draws them anew"


def test_the_tutorial_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From top to bottom in one namespace, as its reader does; with one chip, and the report is left to an example."""
    monkeypatch.chdir(tmp_path)
    text = (DOCS / "tutorial.md").read_text(encoding="utf-8")
    for shown, tried in (
        ("seeds=range(8)", "seeds=range(1)"),
        ('print(xs.write_report("results", "report.html"))\n', ""),
    ):
        assert shown in text
        text = text.replace(shown, tried)
    names: dict[str, Any] = {}
    for number, code in enumerate(re.findall(r"```python\n(.*?)```", text, re.S)):
        exec(compile(code, f"tutorial.md, block {number}", "exec"), names)
    assert np.round(1e6 * names["solution"].sense_currents, 1).tolist() == [24.8, 18.1, 13.1]  # as its comment says
    assert len(names["table"]) == 6
