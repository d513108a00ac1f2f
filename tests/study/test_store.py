"""The store: segments, folders of old, and what crashes and damage do to them."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from support.studies import a_study, first_run

from xbar_spice import disk
from xbar_spice.cosim import Cosimulation
from xbar_spice.errors import StudyError
from xbar_spice.report.data import read_results
from xbar_spice.report.findings import findings
from xbar_spice.study import store as store_module
from xbar_spice.study.case_folder import write_case
from xbar_spice.study.runner import run_study
from xbar_spice.study.segments import line_of
from xbar_spice.study.store import Store
from xbar_spice.study.study_file import StudyFile
from xbar_spice.weights import Model, save_model


@pytest.fixture(scope="module")
def result() -> Cosimulation:
    model = Model([[0.5, -1.0], [1.0, 0.25]], [[-1.0, 0.5], [0.25, -0.5]], h=0.25, steps=2)
    return first_run(a_study(), model)


def line(result: Cosimulation, case_id: str, **more: Any) -> bytes:
    record: Mapping[str, Any] = result.record | {"case": {"id": case_id, "axes": {"tile": 2}}} | more
    return line_of(case_id, "done", record, result.trace.columns())


def test_segments_and_folders_of_old_hold_the_same(result: Cosimulation, tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.locked():
        store.write_segment([line(result, "new")])
        write_case(tmp_path / "cases" / "old", result, case={"id": "old", "axes": {"tile": 2}})
        write_case(tmp_path / "cases" / "new", result, case={"id": "new"})  # counts once
    problems: list[str] = []
    cases = {case.id: case for case in store.cases(problems)}
    assert not problems
    assert list(cases) == ["new", "old"]
    for case in cases.values():
        assert case.record == result.record | {"case": dict(case.record["case"])}
        assert case.content["state"] == result.record["state"]
        assert (case.axes, case.converged) == ({"tile": 2}, True)
    pd.testing.assert_frame_equal(
        cases["new"].trace().drop(columns="source"), cases["old"].trace().drop(columns="source")
    )
    assert store.trace("new")["relative_error"].tolist() == result.trace.columns()["relative_error"]
    assert store.status() == {"new": "done", "old": "done"}
    with pytest.raises(StudyError, match="no readable trace of case 'other'"):
        store.trace("other")


def test_what_is_not_finite_is_null_in_json(result: Cosimulation, tmp_path: Path) -> None:
    odd = {"odd": [float("nan"), float("inf"), np.float64(1.5), np.int64(2)]}
    path = write_case(tmp_path / "case", replace(result, record=result.record | odd))
    segment = Store(tmp_path).write_segment([line(result, "one", **odd)])
    assert json.loads((path / "record.json").read_text(), parse_constant=pytest.fail)["odd"] == [None, None, 1.5, 2]
    assert json.loads(segment.read_text(), parse_constant=pytest.fail)["record"]["odd"] == [None, None, 1.5, 2]


@pytest.mark.parametrize("broken", ["write_durably", "sync_folder"])
def test_a_crash_while_writing_leaves_nothing_that_only_looks_finished(
    broken: str, result: Cosimulation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, lines = Store(tmp_path), [line(result, "a"), line(result, "b")]

    def half(path: Path, content: bytes | None = None) -> None:
        if content is not None:
            path.write_bytes(content[: len(content) // 2])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, store.locked():
        patch.setattr(disk, broken, half)
        patch.setattr(pathlib.Path, "unlink", lambda *_, **__: None)  # a killed process clears nothing away
        with pytest.raises(KeyboardInterrupt):
            store.write_segment(lines)
    assert store.finished() == (set() if broken == "write_durably" else {"a", "b"})
    assert len(list((tmp_path / "segments").iterdir())) == 1
    with store.locked():
        assert len(list((tmp_path / "segments").iterdir())) == len(store.finished()) / 2
        store.write_segment(lines)
    assert store.finished() == {"a", "b"}
    assert store.results()[1] == []


@pytest.mark.parametrize("broken", ["write_durably", "sync_folder", "move_folder"])
def test_a_crash_while_writing_a_folder_leaves_no_half_of_it(
    broken: str, result: Cosimulation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(disk, broken, crash)
        patch.setattr(disk.shutil, "rmtree", lambda *_, **__: None)  # a killed process clears nothing away
        with pytest.raises(KeyboardInterrupt):
            write_case(tmp_path / "cases" / "abc", result, case={"id": "abc"})
    store = Store(tmp_path)
    assert store.finished() == set()
    assert len(list((tmp_path / "cases").iterdir())) == 1
    with store.locked():
        assert not list((tmp_path / "cases").iterdir())


def crash(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


def test_many_small_segments_are_put_together_and_a_crash_amid_loses_none(
    result: Cosimulation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "_MANY", 3)
    store, names = Store(tmp_path), [f"case{number}" for number in range(5)]
    paths = [store.write_segment([line(result, name)]) for name in names]
    with monkeypatch.context() as patch:
        patch.setattr(pathlib.Path, "unlink", crash)
        with pytest.raises(KeyboardInterrupt):
            store.tidy()
    assert [case.id for case in store.cases()] == names
    assert all(path.exists() for path in paths)
    reading = store.cases()  # somebody reads meanwhile
    read = [next(reading).id]
    assert store.tidy() == []
    assert not any(path.exists() for path in paths)
    assert len(list((tmp_path / "segments").iterdir())) == 1
    assert read + [case.id for case in reading] == [case.id for case in store.cases()] == names


def test_a_folder_of_the_user_s_is_not_replaced(result: Cosimulation, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(StudyError, match=r"holds 'thesis\.tex'"):
        write_case(tmp_path, result)
    write_case(tmp_path / "case", result)
    write_case(tmp_path / "case", result)
    assert sorted(os.listdir(tmp_path)) == ["case", "thesis.tex"]


def test_folders_that_are_no_cases_are_reported_and_left_out(result: Cosimulation, tmp_path: Path) -> None:
    write_case(tmp_path / "cases" / "good", result, case={"id": "good"})
    write_case(tmp_path / "cases" / "renamed", result, case={"id": "other"})
    (tmp_path / "cases" / "half").mkdir()
    (tmp_path / "cases" / "half" / "record.json").write_text('{"case": ')
    (tmp_path / "cases" / "note.txt").write_text("mine")
    records, problems = Store(tmp_path).records()
    assert records["case.id"].tolist() == ["good"]
    assert [Path(problem.split(":")[0]).name for problem in problems] == ["half", "note.txt", "renamed"]


def damage(kind: str, folder: Path) -> None:
    """Do to a finished case what disks, editors and other programs do."""
    record, trace = folder / "record.json", folder / "trace.csv"
    content = json.loads(record.read_text())
    lines = trace.read_bytes().splitlines(keepends=True)
    if kind == "cut in the middle of a row":
        trace.write_bytes(trace.read_bytes()[:-7])
    elif kind == "cut between two rows":
        trace.write_bytes(b"".join(lines[:-1]))
    elif kind == "another number":
        trace.write_bytes(trace.read_bytes().replace(b"0.", b"1.", 1))
    elif kind == "a trace of zeros":
        trace.write_bytes(bytes(trace.stat().st_size))
    elif kind == "a header only":
        trace.write_bytes(lines[0])
    elif kind == "an empty trace":
        trace.write_bytes(b"")
    elif kind == "no trace":
        trace.unlink()
    elif kind == "a folder as trace":
        trace.unlink()
        trace.mkdir()
    elif kind == "a pipe as record":
        record.unlink()
        os.mkfifo(record)
    elif kind == "nested without end":
        record.write_text("[" * 100_000)
    else:
        record.write_bytes(RECORDS[kind](content))


RECORDS: dict[str, Any] = {
    "an empty record": lambda _: b"",
    "half a record": lambda content: json.dumps(content).encode()[:300],
    "a record of zeros": lambda content: bytes(len(json.dumps(content))),
    "not UTF-8": lambda content: json.dumps(content).encode() + b"\xff",
    "null": lambda _: b"null",
    "a list": lambda _: b"[1, 2]",
    "an id and no more": lambda content: json.dumps({"case": content["case"]}).encode(),
    "the record of another program": lambda _: b'{"name": "other", "version": 3}',
    "of another case": lambda content: json.dumps(content | {"case": content["case"] | {"id": "x"}}).encode(),
    "a text for a number": lambda content: json.dumps(content | {"state": {"relative_error": "small"}}).encode(),
    "no gradients": lambda content: json.dumps(content | {"gradients": None}).encode(),
}
TRACES = (
    "cut in the middle of a row",
    "cut between two rows",
    "another number",
    "a trace of zeros",
    "a header only",
    "an empty trace",
    "no trace",
    "a folder as trace",
    "a pipe as record",
    "nested without end",
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[StudyFile, Path]:
    """A study of two cases, and its store."""
    folder = tmp_path_factory.mktemp("finished")
    save_model(folder / "weights.npz", Model([[0.5, -1.0], [1.0, 0.25]], [[-1.0, 0.5], [0.25, -0.5]], h=0.25, steps=2))
    study = a_study(folder / "weights.npz", axes=[])
    run_study(study, folder / "out", jobs=1)
    return study, folder / "out"


@pytest.mark.parametrize("old", [False, True], ids=["now", "of old"])
@pytest.mark.parametrize("kind", [*RECORDS, *TRACES])
def test_a_folder_that_is_damaged_empty_or_foreign_is_not_finished(
    kind: str, old: bool, result: Cosimulation, tmp_path: Path
) -> None:
    if old and kind == "another number":
        pytest.skip("records of old say nothing about the numbers in their trace")
    folder = write_case(tmp_path / "cases" / "abc", result, case={"id": "abc"})
    if old:  # records had no digest of their trace
        record = json.loads((folder / "record.json").read_text())
        del record["trace_sha256"]
        (folder / "record.json").write_text(json.dumps(record))
    store = Store(tmp_path)
    assert store.finished() == {"abc"}
    damage(kind, folder)
    assert store.finished() == set()
    assert len(store.records()[1]) == 1


LINES: dict[str, Any] = {
    "cut in the middle": lambda lines: [lines[0], lines[1][:-9]],
    "cut at the end of the line": lambda lines: [lines[0], lines[1][:-1]],
    "another number": lambda lines: [lines[0], lines[1].replace(b"0.", b"1.", 1)],
    "another id": lambda lines: [lines[0], lines[1].replace(b'"id":"', b'"id":"0', 1)],
    "another status": lambda lines: [lines[0], lines[1].replace(b'"done"', b'"unconverged"', 1)],
    "zeros": lambda lines: [lines[0], bytes(len(lines[1]))],
    "not UTF-8": lambda lines: [lines[0], lines[1].replace(b'"record":{', b'"record":{\xff', 1)],
    "a line of somebody else's": lambda lines: [lines[0], b'{"name": "other"}\n'],
    "empty": lambda _: [],
    "zeros before all": lambda lines: [b"\0\0\n", lines[0]],
}


@pytest.mark.parametrize("kind", LINES)
def test_a_line_that_is_damaged_is_no_finished_case_and_is_run_again(
    kind: str, finished: tuple[StudyFile, Path], tmp_path: Path
) -> None:
    store = Store(shutil.copytree(finished[1], tmp_path / "out"))
    whole = list(store.cases())
    lines = [
        text for path in sorted((store.folder / "segments").iterdir()) for text in path.read_bytes().splitlines(True)
    ]
    shutil.rmtree(store.folder / "segments")
    path = store.write_segment(LINES[kind](lines))
    kept = 0 if kind == "empty" else 1
    assert store.finished() == {case.id for case in whole[:kept]}
    assert len(store.records()[1]) == kept
    assert f"{2 - kept} of 2 cases have not been run yet." in findings(read_results(store.folder))
    damaged = path.read_bytes()
    summary = run_study(finished[0], store.folder, jobs=1)
    assert (summary.present, summary.done, len(summary.problems)) == (kept, 2 - kept, kept)
    if kept:
        assert (store.folder / "damaged" / path.name).read_bytes() == damaged
    again = {case.id: case for case in store.cases()}
    assert [again[case.id].content["state"] for case in whole] == [case.content["state"] for case in whole]
    assert run_study(finished[0], store.folder, jobs=1).problems == []


@pytest.mark.parametrize("kind", ["a folder", "a named pipe"])
def test_what_is_no_segment_is_told_and_blocks_nothing(
    kind: str, finished: tuple[StudyFile, Path], tmp_path: Path
) -> None:
    store = Store(shutil.copytree(finished[1], tmp_path / "out"))
    odd = store.folder / "segments" / "odd.jsonl"
    odd.mkdir() if kind == "a folder" else os.mkfifo(odd)
    summary = run_study(finished[0], store.folder, jobs=1)
    assert (summary.present, len(summary.problems)) == (2, 1)
    assert f"it is {kind}" in summary.problems[0]


def test_a_damaged_folder_of_old_is_run_again(finished: tuple[StudyFile, Path], tmp_path: Path) -> None:
    store = Store(shutil.copytree(finished[1], tmp_path / "out"))
    case = next(store.cases())
    shutil.rmtree(store.folder / "segments")
    (store.folder / "cases" / case.id).mkdir(parents=True)
    summary = run_study(finished[0], store.folder, jobs=1)
    assert (summary.present, summary.done, summary.problems) == (0, 2, [])


def test_two_runs_do_not_share_a_store(tmp_path: Path) -> None:
    with (
        Store(tmp_path).locked(),
        pytest.raises(StudyError, match="another run is writing"),
        Store(tmp_path).locked(),
    ):
        pass
