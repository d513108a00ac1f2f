"""What the README and the documentation show is true."""

import os
import re
import textwrap
import tomllib
from pathlib import Path

import click
import numpy as np
import pytest
from support import engine_or_skip

import xbar_spice as xs
from xbar_spice.cli.app import app
from xbar_spice.study.config import Parameters, parse_study
from xbar_spice.study.messages import leaves

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


# Those that begin with an import; the others go on from there or need a weight file.
EXAMPLES = [
    pytest.param(code, id=f"{page.stem}-{number}")
    for page in sorted((ROOT / "docs").glob("*.md"))
    for number, code in enumerate(re.findall(r"```python\n((?:import|from) .*?)```", page.read_text(), re.S))
]


@pytest.mark.parametrize("code", EXAMPLES)
def test_examples_of_the_pages_run(code):
    exec(compile(code, "example", "exec"), {})


def test_ngspice_reads_the_cell_that_the_page_on_extending_writes(tmp_path):
    engine_or_skip("ngspice")
    text = (ROOT / "docs" / "extending.md").read_text()
    names = {}
    exec(compile(re.search(r"```python\n(.*?)```", text, re.S).group(1), "extending.md", "exec"), names)
    template = re.search(r"^    \{% macro models.*?(?=^\S)", text, re.M | re.S).group(0)
    (tmp_path / "cells").mkdir()
    (tmp_path / names["xbar"].device.template).write_text(textwrap.dedent(template))
    with xs.get_engine("ngspice", netlists=(tmp_path,)).program(names["xbar"]) as session:
        assert session.read(np.full(8, 0.2)) == pytest.approx(names["currents"], rel=1e-9)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page):
    for target, anchor in re.findall(r"\]\(([^)#\s]*)#?([^)\s]*)\)", page.read_text()):
        if target.startswith("https://"):
            continue
        found = page.parent / target if target else page
        assert found.exists(), target
        if anchor:
            assert anchor in anchors(found), f"{target}#{anchor}"


def anchors(page):
    """The anchors of a page's headings, as its readers' browsers have them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.S | re.M)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in re.findall(r"^#+ (.+)$", text, re.M))
    return {heading.replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_exist_with_their_options(page):
    for line in re.findall(rf"xbar-spice ((?:{'|'.join(app.commands)})\b[^`\n|]*)", page.read_text()):
        name, *words = line.split()
        verb = app.commands[name]
        while isinstance(verb, click.Group) and words and words[0] in verb.commands:
            verb = verb.commands[words.pop(0)]
        known = {flag for option in verb.params for flag in option.opts} | {"--help"}
        assert {word for word in words if word.startswith("--")} <= known, line


def test_every_public_name_in_the_documentation_exists():
    for page in PAGES:
        for name in re.findall(r"\bxs\.([A-Za-z_]\w*)", page.read_text()):
            assert name in xs.__all__, f"{page.name}: xs.{name}"


def test_the_guide_has_every_public_name():
    (table,) = re.findall(r"^## The Python names$(.*?)^## ", (ROOT / "docs" / "guide.md").read_text(), re.M | re.S)
    assert sorted(re.findall(r"`(\w+)`", table)) == sorted(xs.__all__)


def test_the_guide_has_every_verb_and_every_setting():
    guide = (ROOT / "docs" / "guide.md").read_text()
    for verb in app.commands:
        assert f"`xbar-spice {verb}" in guide, verb
    for setting in leaves(Parameters):
        section, _, name = setting.partition(".")
        assert section != "circuit" or f"`{name}`" in guide, setting
    for option in app.commands["cosim"].params:
        assert getattr(option, "section", "Options") == "Options" or f"`{option.opts[0]}`" in guide, option.opts


def test_the_study_in_the_guide_is_one():
    guide = (ROOT / "docs" / "guide.md").read_text()
    (block,) = re.findall(r"^    name = .*?(?=^\S)", guide, re.M | re.S)
    assert len(parse_study(tomllib.loads(textwrap.dedent(block)), "guide").points()) == 12


def test_every_script_is_listed_and_can_be_run():
    table = (ROOT / "scripts" / "README.md").read_text()
    for script in (ROOT / "scripts").iterdir():
        if script.is_file() and not script.suffix:
            assert f"`{script.name}`" in table, script.name
            assert os.access(script, os.X_OK), script.name
            assert script.read_text().startswith("#!/usr/bin/env "), script.name


def test_every_example_is_listed():
    guide = (ROOT / "docs" / "guide.md").read_text()
    for example in (ROOT / "examples").iterdir():
        assert f"`{example.name}`" in guide, example.name
