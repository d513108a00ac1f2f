"""What the README shows is true."""

import re
from pathlib import Path

import numpy as np
import pytest
from conftest import engine_or_skip

from xbar_spice.cli.app import app

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted(ROOT.glob("*/README.md"))]


def test_python_example_runs():
    engine_or_skip("ngspice")
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    names = {}
    exec(compile(code, "README.md", "exec"), names)
    assert names["currents"].shape == (64,)
    assert names["deck"].endswith(".end\n")
    assert names["trajectory"].converged_all
    assert np.isfinite(names["gradient"].A).all()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
        assert target.startswith("https://") or (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_exist_with_their_options(page):
    for line in re.findall(r"xbar-spice ((?:train|tune|netlist|cosim|study|report|doctor)\b[^`\n]*)", page.read_text()):
        verb, *words = line.split()
        known = {flag for option in app.commands[verb].params for flag in option.opts}
        assert {word for word in words if word.startswith("--")} <= known, line
