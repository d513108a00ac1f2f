"""What the README and the documentation show is true."""

import re
import textwrap
import tomllib
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner
from support import engine_or_skip
from support.studies import first_run

import xbar_spice as xs
from xbar_spice import parts
from xbar_spice.cli.app import app
from xbar_spice.cosim import SolverOptions
from xbar_spice.mapping.design import GROUPS, Design
from xbar_spice.registry import Registry
from xbar_spice.settings import table
from xbar_spice.study.config import Parameters
from xbar_spice.study.messages import leaves
from xbar_spice.study.study_file import parse_study

ROOT = Path(__file__).parent.parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md")), *sorted(ROOT.glob("*/README.md"))]


@pytest.mark.ngspice
def test_python_example_runs():
    engine_or_skip("ngspice")
    first, second = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert set(first.splitlines()) <= set((ROOT / "examples" / "crossbar_read.py").read_text().splitlines())
    names = {}
    exec(compile(first + second, "README.md", "exec"), names)
    assert names["currents"] == pytest.approx(names["solution"].sense_currents, rel=1e-9)
    assert names["deck"].endswith(".end\n")
    assert names["trajectory"].converged_all
    assert np.isfinite(names["gradient"].A).all()


# Those that begin with an import; the others go on from there or need a weight file.
EXAMPLES = [
    pytest.param(code, id=f"{page.stem}-{number}")
    for page in sorted((ROOT / "docs").glob("*.md"))
    if page.stem != "verilog_a"  # tests/hardware/test_verilog_a.py runs it, where there is a compiler
    for number, code in enumerate(re.findall(r"```python\n((?:import|from) .*?)```", page.read_text(), re.S))
]


EXTENDING = (ROOT / "docs" / "extending.md").read_text()
FILES = dict(re.findall(r"^`(\w+\.py)`:\n\n```python\n(.*?)```", EXTENDING, re.M | re.S))


@pytest.mark.parametrize("code", EXAMPLES)
def test_examples_of_the_pages_run(code, tmp_path, monkeypatch):
    if "import torch" in code:
        pytest.importorskip("torch", reason="the extra [torch] is not installed")
    for name, content in FILES.items():
        (tmp_path / name).write_text(content)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "example", "exec"), {})


def test_parts_of_the_page_on_extending_on_the_command_line_and_in_a_study(tmp_path, monkeypatch):
    """A task, an integrator, an engine, a mapping and a linear solver go by texts, as the table of the page says."""
    monkeypatch.chdir(tmp_path)
    engine = EXTENDING[EXTENDING.index("## An engine") :]
    bench = re.search(r"```python\n(.*?)```", engine, re.S).group(1)
    for name, content in (FILES | {"bench.py": bench}).items():
        Path(name).write_text(content)
    run = CliRunner().invoke
    assert run(app, ["train", "moons.py:Moons(hidden=4)", "--output", "w.npz"], catch_exceptions=False).exit_code == 0
    options = "--mapping signed_rows.py:RowPairs --linear-solver minimal_residual.py:MinimalResidual --data random"
    for words in ("--engine bench.py:Bench", f"--engine nodal --r-word 1 {options}"):
        done = run(app, ["cosim", "w.npz", *words.split(), *([] if "--data" in words else ["--data", "random"])])
        assert done.exit_code == 0, done.output
    content = {
        "model": {"task": "moons.py:Moons(hidden=4)"},
        "data": {"task": "random"},
        "circuit": {
            "engine": "bench.py:Bench",
            "mapping": "signed_rows.py:RowPairs",
            "variation": "common_offset.py:CommonOffset",
            "drift": "logarithmic_drift.py:LogarithmicDrift",
            "after": 10.0,
            "noise": "shot_noise.py:ShotNoise",
            "converters": "inexact_gain.py:InexactGain(bits=12)",
        },
        "solver": {"krylov": {"method": "minimal_residual.py:MinimalResidual"}},
    }
    record = first_run(parse_study({"name": "own"} | content), xs.load_model("w.npz")).record
    assert record["convergence"]["analog"]["converged"]


@pytest.mark.parametrize("name", FILES)
def test_files_of_the_page_on_extending_are_those_of_the_tests(name):
    assert FILES[name] == (ROOT / "tests" / "parts" / name).read_text()


def test_the_page_on_extending_has_every_kind_of_part_with_its_names():
    for registry in (value for value in vars(parts).values() if isinstance(value, Registry)):
        home, _, protocol = registry.protocol.partition(":")
        names = ", ".join(f"`{name}`" for name in registry)
        assert f"| {registry.kind} | `{protocol}` of `{home}` | {names} |\n" in EXTENDING


@pytest.mark.ngspice
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
        known = {flag for one in verb.params for flag in (*one.opts, *one.secondary_opts)} | {"--help"}
        assert {word for word in words if word.startswith("--")} <= known, line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_code_is_whole_and_programs_exist_with_their_options(page):
    text = page.read_text()
    for code in re.findall(r"^( *)```python\n(.*?)^\1```", text, re.S | re.M):
        compile(textwrap.dedent(code[1]), page.name, "exec")
    for name, words in re.findall(
        r"\b((?:experiments|examples|scripts)/\w+(?:\.\w+)?)((?: --?[\w.-]+| [A-Z\d.e-]+)*)", text
    ):
        program = ROOT / name
        assert program.exists(), name
        source = program.read_text() if program.is_file() else ""
        for option in re.findall(r"--([a-z][\w-]*)", words):
            known = re.search(rf"--{option}\b|\b{option.replace('-', '_')}=", source)
            assert known or option in ("out", "quick", "help"), f"{name} --{option}"


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


def test_the_table_of_settings_is_that_of_the_dataclasses():
    shown = re.findall(r"^\| field \|.*?(?=\n\n)", (ROOT / "docs" / "guide.md").read_text(), re.M | re.S)
    assert shown == [table(Design(), GROUPS), table(SolverOptions()), table(xs.Monitors())], (
        "print(table(...)) makes new ones"
    )


def test_the_study_in_the_guide_is_one():
    guide = (ROOT / "docs" / "guide.md").read_text()
    (block,) = re.findall(r"^    name = .*?(?=^\S)", guide, re.M | re.S)
    assert len(parse_study(tomllib.loads(textwrap.dedent(block)), "guide").points()) == 12
