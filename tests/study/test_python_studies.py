"""Studies of Python objects, and the points that axes, conditions and random designs make."""

from __future__ import annotations

import json
import textwrap
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from support.studies import TIMINGS, a_study

import xbar_spice as xs
from xbar_spice.cli.results import ls
from xbar_spice.cosim import Problem
from xbar_spice.engines.registry import get_engine
from xbar_spice.errors import StudyError
from xbar_spice.report.array_figures import Attribution
from xbar_spice.report.data import read_results
from xbar_spice.study.attributed import attribute_study
from xbar_spice.study.axes import log_range, steps_of_range
from xbar_spice.study.store import Store
from xbar_spice.study.study_file import load_study, parse_study
from xbar_spice.train.losses import SquaredDistance

ERRORS = xs.Design(variation=xs.Variation(programming=0.05))


@pytest.fixture
def problem(model: xs.Model, rng: np.random.Generator) -> Problem:
    return Problem(model, rng.standard_normal((3, 2)), SquaredDistance(np.zeros((3, 2))))


def test_a_study_of_objects_gives_the_records_of_its_co_simulations(problem: Problem, tmp_path: Path) -> None:
    axes: dict[Any, Any] = {"tile": [2, 4], "r_word": np.array([1.0, 2.0])}
    study = xs.Study(problem, ERRORS, axes=axes, seeds=range(2), engine="nodal")
    summary = xs.run_study(study, tmp_path, jobs=2)
    assert (summary.total, summary.done, summary.failed) == (8, 8, {})
    assert xs.run_study(study, tmp_path, jobs=1).present == 8
    for case in Store(tmp_path).cases():
        assert case.content["case"]["axes"] == case.axes
        design = replace(ERRORS, **case.axes)
        alone = xs.cosimulate(problem, design, engine=get_engine("nodal"), seed=case.content["seed"]).record
        kept = {name: value for name, value in case.content.items() if name not in {*TIMINGS, "case"}}
        assert kept == {name: value for name, value in alone.items() if name not in TIMINGS}


@dataclass(frozen=True)
class OtherLoss(xs.Objective):
    factor: float = 1.0

    def evaluate(self, z: Any) -> Any:
        return SquaredDistance(np.full_like(z, self.factor)).evaluate(z)


def ids(study: xs.Study) -> list[str]:
    source = study.source()
    return [source.setup(point.changes).case_id(seed) for point in study.combinations for seed in study.seeds]


def test_the_id_of_a_case_covers_all_that_it_is_made_of(problem: Problem, model: xs.Model) -> None:
    other = replace(problem, model=replace(model, A=model.A + 1e-15))
    losses = [replace(problem, objective=OtherLoss(factor)) for factor in (1.0, 2.0)]
    changes: list[dict[str, Any]] = [
        {},
        {"design": xs.Design(r_word=1.0)},
        {"design": xs.Design(mapping=xs.BitSliced(bits=4))},
        {"engine": "ideal"},
        {"engine": "nodal(tolerance=1e-9)"},
        {"solver": xs.SolverOptions(krylov=xs.KrylovOptions(rtol=1e-9))},
        {"seeds": [1]},
        {"problem": replace(problem, z0=problem.z0 + 1e-15)},
        *({"problem": one} for one in (other, *losses)),
    ]
    given: dict[str, Any] = {"problem": problem, "engine": "nodal"}
    found = [ids(xs.Study(**given | change))[0] for change in changes]
    assert len(set(found)) == len(found)
    assert ids(xs.Study(**given | {"name": "other", "axes": {"r_word": [0.0, 1.0]}})) == found[:2]


def test_objects_are_axes_by_their_names(problem: Problem, model: xs.Model, tmp_path: Path) -> None:
    problems = {"few": problem, "slow": replace(problem, model=replace(model, steps=3))}
    engines = {"exact": get_engine("nodal", tolerance=1e-12), "no wires": "ideal"}
    study = xs.Study(problem, ERRORS, {"problem": problems, "engine": engines, "mapping": ["differential", "offset"]})
    assert xs.run_study(study, tmp_path, jobs=1).failed == {}
    cases = list(Store(tmp_path).cases())
    assert {tuple(case.axes.values()) for case in cases} == {
        (which, engine, mapping) for which in problems for engine in engines for mapping in ("differential", "offset")
    }
    assert {(case.axes["engine"], case.record.engine) for case in cases} == {("exact", "nodal"), ("no wires", "ideal")}


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no setting": ({"axes": {"tiles": [1]}}, "did you mean 'tile'[?] allowed are problem, engine, mapping"),
    "an object without a name": ({"axes": {"mapping": [xs.Differential()]}}, "hand objects over by name"),
    "a value that is not allowed": ({"axes": {"tile": [0, 2]}}, "axis value tile = 0: tile must be .* >= 1"),
    "a value twice": ({"axes": {"tile": [2, 2]}}, "must be numbers or texts, and differ"),
    "a setting twice": ({"axes": {"tile": [2], ("r_bit", "tile"): [(1.0, 2)]}}, "'circuit.tile' more than once"),
    "rows of another length": ({"axes": {("tile", "r_bit"): [(1, 1.0), (2,)]}}, "each row needs 2 values"),
    "no values": ({"axes": {"tile": []}}, "has no values"),
    "a seed twice": ({"seeds": [1, 1]}, "seeds must be at least one, and differ"),
    "nothing left": ({"axes": {"tile": [2]}, "skip": [{"tile": "> 1"}]}, "every combination .* is left out"),
    "no order": ({"skip": [{"engine": "> 3"}]}, "cannot be compared with 'nodal'"),
    "too many": ({"axes": {"r_word": np.arange(1e3), "r_bit": np.arange(1e3)}}, "make 1000000 cases"),
    "an engine that is none": ({"engine": "spectre"}, "engine must be one of"),
}


@pytest.mark.parametrize(("change", "said"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_run_is_refused_with_the_way_out(change: dict[str, Any], said: str, problem: Problem) -> None:
    with pytest.raises(xs.XbarError, match=said):
        xs.Study(**{"problem": problem, "engine": "nodal"} | change)


def test_the_engine_follows_the_size(problem: Problem) -> None:
    rules: dict[str, Any] = {"when": [({"tile": "> 2"}, {"engine": "nodal"}), ({"tile": 3}, {"r_bit": 7.0})]}
    study = xs.Study(problem, xs.Design(), {"tile": [1, 2, 3, 4]}, engine="ideal", **rules)
    setups = [study.source().setup(point.changes) for point in study.combinations]
    assert [setup.engine_name for setup in setups] == ["ideal", "ideal", "nodal", "nodal"]
    assert [setup.design.r_bit for setup in setups] == [0.0, 0.0, 7.0, 0.0]
    whole = xs.Study(problem, xs.Design(), engine="ideal", **rules)  # one array whatever its size is larger than any
    assert whole.source().setup(whole.combinations[0].changes).engine_name == "nodal"


def test_a_file_and_python_describe_the_same_points(problem: Problem) -> None:
    tables: list[dict[str, Any]] = [
        {"name": "tile", "fields": ["circuit.tile"], "range": {"from": 2, "to": 6, "step": 2}, "zip": "size"},
        {"name": "r_word", "fields": ["circuit.r_word"], "values": [1.0, 1.0, 2.0], "zip": "size"},
        {"name": "r_bit", "fields": ["circuit.r_bit"], "log": {"from": 0.1, "to": 10.0, "steps": 3}},
        {"name": "r_driver", "fields": ["circuit.r_driver"], "random": {"from": 1.0, "to": 99.0, "scale": "log"}},
        {"name": "headroom", "fields": ["circuit.headroom"], "random": {"from": 1, "to": 4}},
    ]
    rules: dict[str, Any] = {
        "random": {"count": 5, "seed": 3},
        "when": [{"if": {"circuit.r_bit": "> 1"}, "set": {"circuit.engine": "ideal"}}],
        "skip": [{"circuit.tile": [2, 6], "circuit.engine": "ideal"}],
    }
    file = a_study(axes=tables, **rules)
    python = xs.Study(
        problem,
        axes={
            ("tile", "r_word"): [(2, 1.0), (4, 1.0), (6, 2.0)],
            "r_bit": np.geomspace(0.1, 10.0, 3),
            **xs.latin_hypercube({"r_driver": (1.0, 99.0, "log"), "headroom": (1, 4)}, 5, seed=3),
        },
        engine="nodal",
        when=[({"r_bit": "> 1"}, {"engine": "ideal"})],
        skip=[{"tile": [2, 6], "engine": "ideal"}],
    )
    assert len(file.combinations) == 3 * 3 * 5 - 2 * 5
    assert [dict(point.axes) for point in file.combinations] == [dict(point.axes) for point in python.combinations]
    assert [dict(point.changes) for point in file.combinations] == [dict(p.changes) for p in python.combinations]
    assert [axis.values for group in file.groups for axis in group.axes][:2] == [(2, 4, 6), (1.0, 2.0)]


@given(count=st.integers(1, 40), seed=st.integers(0, 9), log=st.booleans())
def test_a_latin_hypercube_has_one_value_in_every_part_of_every_range(count: int, seed: int, log: bool) -> None:
    ends = (0.1, 10.0, "log") if log else (0.1, 10.0)
    ((_, rows),) = xs.latin_hypercube({"r_word": ends, "r_bit": ends}, count, seed=seed).items()
    for values in np.array(rows).T:
        place = np.log10(values / 0.1) / 2 if log else (values - 0.1) / 9.9
        assert sorted(np.minimum(count - 1, np.floor(place * count + 1e-9))) == list(range(count))
    assert rows == next(iter(xs.latin_hypercube({"r_word": ends, "r_bit": ends}, count, seed=seed).values()))


@given(first=st.integers(1, 50), more=st.integers(1, 50), steps=st.integers(2, 9))
def test_ranges_end_where_they_are_told_to(first: int, more: int, steps: int) -> None:
    for values in (steps_of_range(first, first + more, steps=steps), log_range(first, first + more, steps)):
        assert (values[0], values[-1], len(values)) == (first, first + more, steps)
        assert all(isinstance(value, int) for value in values)
    assert steps_of_range(first, first + more, step=1) == list(range(first, first + more + 1))
    assert steps_of_range(0.1, 0.1 * steps, step=0.1) == [float(f"{0.1 * (i + 1):.12g}") for i in range(steps)]


def test_settings_of_a_file_are_changed_from_outside(tmp_path: Path) -> None:
    text = 'name = "n"\nmodel.weights = "w.npz"\ncircuit.r_word = 1.0\n'
    text += '[[axes]]\nname = "tile"\nfields = ["circuit.tile"]\nrange = { from = 2, to = 8, step = 2 }\n'
    (tmp_path / "study.toml").write_text(text)
    changed = {"circuit.tile": 32, "circuit.r_bit": 2.0, "seeds": [4, 5], "circuit.variation.programming": 0.1}
    study = load_study(tmp_path / "study.toml", changed)
    ((axes, parameters),) = study.points()
    design = parameters.design()
    assert (axes, design.tile, design.r_word, design.r_bit) == ({"tile": 32}, 32, 1.0, 2.0)
    assert (study.seeds, design.variation.programming) == ([4, 5], 0.1)
    with pytest.raises(StudyError, match=r"circuit\.tiles: unknown key; did you mean 'tile'"):
        load_study(tmp_path / "study.toml", {"circuit.tiles": 32})


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "two kinds of values": ({"values": [1], "range": {"from": 1, "to": 2, "steps": 2}}, "give one of values, range"),
    "none": ({}, "give one of values, range, log and random, got none"),
    "a range that falls": ({"range": {"from": 2, "to": 1, "steps": 2}}, "from must be less than to"),
    "steps and step": ({"range": {"from": 1, "to": 2, "steps": 2, "step": 1}}, "give either steps"),
    "a log range from zero": ({"log": {"from": 0.0, "to": 1.0, "steps": 2}}, "must be greater than 0"),
    "random without a design": ({"random": {"from": 1, "to": 2}}, r"the table \[random\].* need each other"),
}


@pytest.mark.parametrize(("change", "said"), WRONG.values(), ids=WRONG)
def test_an_axis_of_a_file_says_what_is_wrong(change: dict[str, Any], said: str) -> None:
    axis = {"name": "tile", "fields": ["circuit.tile"]} | change
    with pytest.raises(StudyError, match=said):
        parse_study({"name": "n", "model": {"weights": "w.npz"}, "axes": [axis]}, "my.toml")


def test_the_study_of_the_page_is_one() -> None:
    page = (Path(__file__).parents[2] / "docs" / "studies.md").read_text()
    block = textwrap.dedent(page.split("## A study file\n\n")[1].split("\n\nThe tables")[0])
    study = parse_study(tomllib.loads(block))
    assert len(study.combinations) == 4 * 5
    assert {parameters.engine for _, parameters in study.points()} == {"ngspice", "nodal"}


def test_a_study_knows_the_energy_of_its_reads_and_where_its_errors_come_from(problem: Problem, tmp_path: Path) -> None:
    study = xs.Study(problem, ERRORS, axes={"tile": [2, 4]}, engine="nodal", tags=["thesis"])
    xs.run_study(study, tmp_path, jobs=1)
    table = xs.load_results(tmp_path)
    kinds = [name for name in table if name.startswith("read_energy.")]
    assert {table.attrs["units"][name] for name in ["read_energy", *kinds]} == {"joule"}
    low, high = table[kinds].min(axis=1), table[kinds].max(axis=1)
    assert table["read_energy"].between(low, high).all()
    assert not Attribution().applies(read_results(tmp_path))
    (path,) = attribute_study(study, tmp_path)
    assert path == tmp_path / "attribution-0" / "attribution.json"
    record = json.loads(path.read_text())
    assert (record["sources"], record["point"]) == (["programming error"], "tile 4")
    assert "of 1 chip at tile 4" in Attribution().caption(read_results(tmp_path))
    assert "#thesis" in CliRunner().invoke(ls, [str(tmp_path)]).output
