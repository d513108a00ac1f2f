"""Records: one value, written and read by the same code, that says what made it."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

import xbar_spice as xs
from xbar_spice.cosim import Problem
from xbar_spice.cosim.run.record import Record, RunEntry, read_record
from xbar_spice.errors import StudyError
from xbar_spice.study.case_folder import to_json
from xbar_spice.version import commit, versions
from xbar_spice.weights import load_model, save_model

PARTS = Path(__file__).parents[1] / "parts"


@pytest.fixture
def record(dense: Problem) -> Record:
    return xs.cosimulate(dense, xs.Design(r_word=1.0), engine="ideal").record


def test_a_record_is_read_as_it_was_written(record: Record) -> None:
    again = read_record(json.loads(to_json(record)))
    assert again == record
    assert again.state == record.state
    assert again.convergence == {name: replace(run) for name, run in record.convergence.items()}
    assert isinstance(again.convergence["analog"], RunEntry)
    assert record["gradients"]["A"]["cosine"] == record.gradients["A"].cosine


def test_numbers_that_are_null_or_missing_are_nan(record: Record) -> None:
    content = json.loads(to_json(record))
    content["state"]["relative_error"] = None
    del content["worst_read_error"], content["parts"], content["weights"]
    again = read_record(content | {"an entry of later": 1})
    assert math.isnan(again.state.relative_error)
    assert math.isnan(again.worst_read_error)
    assert again.weights is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"engine": 3}, "no engine"),
        ({"state": {"relative_error": "small"}}, r"no state\.relative_error"),
        ({"convergence": {"analog": {"converged": True}}}, r"no convergence\.digital"),
        ({"convergence": {"analog": {"converged": 1}, "digital": {}}}, r"no convergence\.analog\.converged"),
        ({"reads": {"A forward": True}}, r"no reads\.A forward"),
        ({"gradients": None}, "no gradients"),
    ],
)
def test_what_is_no_record_says_which_entry(change: dict[str, Any], said: str, record: Record) -> None:
    with pytest.raises(StudyError, match=said):
        read_record(record | change)


def test_a_record_keeps_what_made_it(dense: Problem, tmp_path: Path) -> None:
    path = tmp_path / "weights.npz"
    save_model(path, dense.model)
    mapping = f"{PARTS / 'signed_rows.py'}:RowPairs(gain=0.5)"
    design = xs.Design(mapping=mapping, variation=xs.Variation(0.1), device=xs.load_device("stanford_gap"))
    problem = replace(dense, model=replace(load_model(path), method="forward_euler"))
    record = xs.cosimulate(problem, design, engine="nodal", seed=3).record
    assert record.weights is not None
    assert (record.weights.file, record.weights.sha256) == (str(path), hashlib.sha256(path.read_bytes()).hexdigest())
    own = record.parts["mapping"]
    assert own.text == "signed_rows.py:RowPairs(gain=0.5)"
    assert own.sha256 == hashlib.sha256((PARTS / "signed_rows.py").read_bytes()).hexdigest()
    assert record.parts["variation"].text == "relative(programming=0.1)"
    assert record.parts["device"].options == {"v0": 0.25}
    assert (record.seed, record.versions, record.commit) == (3, versions(), commit())
    assert {field.name for field in fields(Record)} >= set(record)


def test_the_libraries_of_subcircuits_are_kept_whole(dense: Problem) -> None:
    from xbar_spice.cosim.run.cosimulation import conditions

    amplifier = xs.Amplifier(1e4, opamp=xs.load_opamp("loaded"))
    design = xs.Design(device=xs.load_device("sinh_series"), amplifier=amplifier)
    parts = conditions(dense, design, "ngspice", 0)["parts"]
    assert ".subckt sinh_series" in parts["device"]["options"]["subcircuit"]["library"]
    assert ".subckt loaded" in parts["opamp"]["options"]["library"]
