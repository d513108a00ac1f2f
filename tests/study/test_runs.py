"""Studies as they are run: cases and their ids, the store, interruptions, failures, workers."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pytest
from support import engine_or_skip
from support.studies import TIMINGS, a_study, cases_of, expanded, first_run, source_of

from xbar_spice import disk
from xbar_spice.cosim import Cosimulation
from xbar_spice.engines.ngspice.worker_handle import Worker
from xbar_spice.errors import SimulationError, StudyError
from xbar_spice.report.array_figures import CellDeficit
from xbar_spice.report.data import read_results
from xbar_spice.spice.resources import search_path
from xbar_spice.study import file_source, runner, setups
from xbar_spice.study.chunks import Chunk, Outcome, Packed, run_chunk
from xbar_spice.study.execute import Workers
from xbar_spice.study.problem import fingerprint, make_problem
from xbar_spice.study.runner import Progress, run_study
from xbar_spice.study.store import Store
from xbar_spice.study.study_file import StudyFile, load_study
from xbar_spice.weights import Classifier, Model, save_model

PARTS = Path(__file__).parents[1] / "parts"


# --- cases ----------------------------------------------------------------------------------------------------------


def test_ids_are_the_same_in_every_run_and_on_every_machine() -> None:
    exact = Model(np.array([[1.0, -2.0]]), np.array([[0.5], [0.25]]), h=0.5, steps=2)
    weights = "530d02b47f0cb1ac749c877c0c37f2c89147b986d6543469d927607169ad9e7d"
    assert fingerprint(exact) == weights
    case, _ = expanded(a_study(), exact)[1]
    # The recipe instead of a value: a setting that is added, or a default that moves, must change the ids.
    _, parameters = a_study().points()[0]
    samples = {"task": "random", "samples": 2, "seed": 0}
    settings = parameters.plain() | {"model": weights, "data": samples}
    assert not any(
        key.startswith("verify") for key in settings["circuit"]
    )  # as of studies from before there were judges
    content = {"numerics": setups.NUMERICS, "parameters": settings, "seed": 1, "law": "Ohmic"}
    content |= {"design": asdict(parameters.design()), "opamp": None, "templates": None}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    assert case.id == hashlib.sha256(text.encode()).hexdigest()[:16]


def test_an_id_does_not_depend_on_names_or_on_the_way_of_writing(model: Model) -> None:
    named = a_study("elsewhere.npz", name="other", axes=[{"name": "T", "fields": ["circuit.tile"], "values": [2, 4]}])
    assert [case.id for case in cases_of(named, model)] == [case.id for case in cases_of(a_study(), model)]
    whole = a_study(circuit={"engine": "nodal", "r_word": 1, "r_bit": 1, "variation": {"programming": 0.05}})
    assert [case.id for case in cases_of(whole, model)] == [case.id for case in cases_of(a_study(), model)]


def test_an_id_changes_with_all_that_determines_the_result(model: Model) -> None:
    circuit = {"engine": "nodal", "r_word": 1.0, "r_bit": 1.0, "variation": {"programming": 0.05}}
    studies = [
        a_study(),
        a_study(circuit=circuit | {"engine": "ngspice"}),
        a_study(circuit=circuit | {"r_word": 1.5}),
        a_study(circuit=circuit | {"terminations": {"transposed": "far_ends"}}),
        a_study(circuit=circuit | {"variation": {"programming": 0.06}}),
        a_study(data={"samples": 3, "task": "random"}),
        a_study(data={"samples": 2, "seed": 1, "task": "random"}),
        a_study(solver={"krylov": {"rtol": 1e-9}}),
    ]
    models = [replace(model, h=0.5), replace(model, steps=3), replace(model, A=model.A + 1e-15)]
    found = [case.id for study in studies for case in cases_of(study, model)]
    found += [case.id for changed in models for case in cases_of(a_study(), changed)]
    assert len(set(found)) == len(found) == 4 * (len(studies) + len(models))


def test_an_id_covers_the_content_of_what_the_settings_name(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netlists, models = tmp_path / "netlists", tmp_path / "models"
    shutil.copytree(search_path("netlists")[0], netlists)
    shutil.copytree(search_path("models")[0], models)
    device, opamp, cell = models / "sinh_series.lib", models / "opamps" / "loaded.lib", tmp_path / "own.py"
    cell.write_text((PARTS / "signed_rows.py").read_text())
    circuit = {"engine": "ngspice", "device": "sinh_series", "amplifier": {"r_feedback": 1e4, "opamp": "loaded"}}
    circuit["mapping"] = "own.py:RowPairs"
    monkeypatch.setattr(file_source, "search_path", lambda _: (netlists,))

    def found(**changes: Any) -> str:
        study = a_study(circuit=circuit | changes, models=["models"], folder=tmp_path)
        return cases_of(study, model)[0].id

    ids = [found(), found()]
    assert ids[0] == ids[1]
    assert found(mapping=f"{cell}:RowPairs") == ids[0]
    for path in (device, opamp, netlists / "array.cir.j2", cell):
        path.write_text(path.read_text() + ("\n# another version\n" if path == cell else "\n* another version\n"))
        ids.append(found())
    for path in (device, opamp):
        settings = path.with_suffix(".toml")
        settings.write_text(settings.read_text().replace("1e3", "2e3").replace("100", "300"))
        ids.append(found())
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "array.cir.j2").write_text("* mine")
    ids.append(cases_of(a_study(circuit=circuit, models=["models"], netlists=["mine"], folder=tmp_path), model)[0].id)
    monkeypatch.setattr(file_source, "NUMERICS", setups.NUMERICS + 1)
    ids.append(found())
    assert len(set(ids)) == len(ids) - 1


def soft_cell(folder: Path, v0: float) -> str:
    (folder / "soft.toml").write_text(f'law = "sinh"\nsource = "here"\n[parameters]\nv0 = {v0}\n')
    return "soft.toml"


def test_an_edited_device_model_leaves_no_result_that_was_there(weights: Path, tmp_path: Path) -> None:
    def study(v0: float) -> StudyFile:
        circuit = {"engine": "nodal", "device": soft_cell(tmp_path, v0)}
        return a_study(weights, circuit=circuit, axes=[], folder=tmp_path)

    assert run_study(study(0.25), tmp_path / "out", jobs=1).done == 1
    assert run_study(study(0.25), tmp_path / "out", jobs=1).present == 1
    summary = run_study(study(0.3), tmp_path / "out", jobs=1)
    assert (summary.present, summary.done) == (0, 1)


def test_a_worker_gets_the_devices_as_the_study_read_them(model: Model, tmp_path: Path) -> None:
    study = a_study(circuit={"engine": "nodal", "device": soft_cell(tmp_path, 0.25)}, folder=tmp_path)
    packed = Packed.of(source_of(study, model))
    case = cases_of(study, model)[0]
    (tmp_path / "soft.toml").unlink()
    (outcome,) = run_chunk(pickle.loads(pickle.dumps(Chunk(packed, (case,)))))
    assert outcome.status == "done"
    assert "v0=0.25" in outcome.line.decode()


def test_a_worker_with_other_templates_does_not_answer(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    study = a_study(circuit={"engine": "ngspice"})
    case = cases_of(study, model)[0]
    monkeypatch.setattr("xbar_spice.study.file_source.templates", lambda _: "others")
    (outcome,) = run_chunk(Chunk(Packed.of(source_of(study, model)), (case,)))
    assert outcome.status == "failed"
    assert "has other device models, op-amps, templates or parts" in outcome.error


def test_a_study_with_parts_of_ones_own_runs_in_workers(weights: Path, tmp_path: Path) -> None:
    circuit = {
        "engine": "nodal",
        "mapping": "own/signed_rows.py:RowPairs",
        "variation": "own/common_offset.py:CommonOffset",
    }
    shutil.copytree(PARTS, tmp_path / "own")
    summary = run_study(a_study(weights, circuit=circuit, folder=tmp_path), tmp_path / "out", jobs=2)
    assert (summary.failed, summary.done) == ({}, 4)


def test_numbers_of_a_version_stay() -> None:
    """Where this fails for a reason that is right, raise `NUMERICS` and write down the new numbers."""
    exact = Model([[0.5, -1.0], [1.0, 0.25]], [[-1.0, 0.5], [0.25, -0.5]], h=0.25, steps=2)
    record = first_run(a_study(), exact).record
    errors = [record["state"]["relative_error"], *(record["gradients"][name]["relative_error"] for name in "AB")]
    assert (setups.NUMERICS, errors) == (1, pytest.approx(NUMBERS, rel=1e-6))


NUMBERS = [0.0021617325958401736, 0.04002457493015353, 0.07034706659547034]


@pytest.mark.parametrize("field", ["circuit.variation.programming", "circuit.noise.device", "circuit.noise.sense"])
def test_a_case_without_randomness_runs_once_whatever_the_seeds(field: str, model: Model) -> None:
    axes = [{"name": "error", "fields": [field], "values": [0.0, 0.1]}]
    study = a_study(circuit={"engine": "nodal"}, axes=axes, seeds=[5, 6, 7])
    assert [case.label for case in cases_of(study, model)] == [
        "error 0, seed 5",
        "error 0.1, seed 5",
        "error 0.1, seed 6",
        "error 0.1, seed 7",
    ]


def test_a_case_is_a_function_of_what_it_holds(model: Model) -> None:
    case, setup = expanded(a_study(), model)[1]
    first, second = (setup.run(case.seed) for _ in range(2))
    assert without_timings(first.record) == without_timings(second.record)
    other = setup.run(7)
    assert other.record["state"] != first.record["state"]


def without_timings(record: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key not in TIMINGS}


# --- samples --------------------------------------------------------------------------------------------------------


def test_samples_follow_the_data_seed_alone(model: Model) -> None:
    one, same, other = (make_problem(model, samples=2, seed=seed, task="random").z0 for seed in (3, 3, 4))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("trained_on", ["", "faces"])
@pytest.mark.parametrize("states", [3, 64])
def test_data_are_never_guessed(states: int, trained_on: str, rng: np.random.Generator) -> None:
    classifier = Classifier(rng.normal(size=(10, states)), np.zeros(10))
    model = Model(*rng.normal(size=(2, states, states)), h=0.25, steps=1, classifier=classifier, trained_on=trained_on)
    with pytest.raises(StudyError, match=r"which data is the model of .* Ask for 'digits' .* or for 'random'"):
        make_problem(model)
    with pytest.raises(StudyError, match="which data is the model"):
        cases_of(a_study(data={"samples": 2}), model)
    assert make_problem(model, task="random").data == "8 random states (standard normal), drawn with seed 0"


def test_digits_go_to_a_model_that_was_trained_on_them_or_on_request(rng: np.random.Generator) -> None:
    classifier = Classifier(rng.normal(size=(10, 64)), np.zeros(10))
    model = Model(*rng.normal(size=(2, 64, 64)), h=0.25, steps=1, classifier=classifier)
    asked, said = make_problem(model, task="digits"), make_problem(replace(model, trained_on="digits"))
    assert asked.data == said.data == "8 test images of the handwritten digits, drawn with seed 0"
    assert np.array_equal(asked.z0, said.z0)
    ids = [
        expanded(a_study(data={"task": task}), replace(model, trained_on="digits"))[0][1].described["data"]
        for task in ("auto", "digits")
    ]
    assert ids == [said.data] * 2


def test_digits_need_a_model_that_takes_them(model: Model) -> None:
    with pytest.raises(StudyError, match=r"needs a classifier and 64 states, got a model of 3 states without"):
        make_problem(model, task="digits")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[StudyFile, Path]:
    """A study of one case, and its store."""
    folder = tmp_path_factory.mktemp("finished")
    save_model(folder / "weights.npz", Model([[0.5, -1.0], [1.0, 0.25]], [[-1.0, 0.5], [0.25, -0.5]], h=0.25, steps=2))
    study = a_study(folder / "weights.npz", axes=[], seeds=[0])
    run_study(study, folder / "out", jobs=1)
    return study, folder / "out"


@pytest.mark.parametrize("kind", ["garbage", "half", "empty", "folder", "pipe", "numbers"])
def test_a_side_file_never_blocks_a_store(kind: str, finished: tuple[StudyFile, Path], tmp_path: Path) -> None:
    store = Store(shutil.copytree(finished[1], tmp_path / "out"))
    side = store.folder / "cell_deficit.npz"
    content = side.read_bytes()
    side.unlink()
    if kind == "folder":
        side.mkdir()
    elif kind == "pipe":
        os.mkfifo(side)
    else:
        damaged = {"garbage": b"no archive", "half": content[: len(content) // 2], "empty": b""}
        side.write_bytes(damaged.get(kind, content))
    if kind == "numbers":
        store.write_arrays("cell_deficit", {"case": 3, "cells": np.zeros(2)})
    results = read_results(store.folder)
    assert not CellDeficit().applies(results)
    summary = run_study(finished[0], store.folder, jobs=1)
    assert (summary.present, summary.failed) == (1, {})
    assert len(summary.problems) == (1 if kind in ("folder", "pipe") else 0)
    assert CellDeficit().applies(results) == (not summary.problems)


def test_a_simulation_that_fails_for_the_side_file_is_told_and_no_more(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise np.linalg.LinAlgError("singular")

    monkeypatch.setattr(runner, "first_read_voltages", fail)
    summary = run_study(a_study(weights), tmp_path / "out", jobs=1)
    assert (summary.done, summary.problems) == (4, ["no cell voltages for the report: LinAlgError: singular"])


def test_a_full_disk_ends_a_study_and_keeps_what_is_finished(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, written = disk.write_durably, 0

    def fills_up(path: Path, content: str | bytes) -> None:
        nonlocal written
        written += 1
        real(path, b"" if written > 3 else content)
        if written > 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(disk, "write_durably", fills_up)
        with pytest.raises(StudyError, match=r"No space left on device; free some space.*finished cases are kept"):
            run_study(a_study(weights), tmp_path / "out", jobs=1)
    assert not [*tmp_path.rglob(f"{disk.DRAFT}*")]
    assert len(Store(tmp_path / "out").finished()) == 1
    assert run_study(a_study(weights), tmp_path / "out", jobs=1).present == 1


def test_what_did_not_converge_is_told(weights: Path, tmp_path: Path) -> None:
    study = a_study(weights, solver={"krylov": {"max_iterations": 1, "rtol": 1e-12}}, axes=[], seeds=[0])
    for _ in range(2):
        summary = run_study(study, tmp_path / "out", jobs=1)
        assert summary.unconverged == ["seed 0"]
        assert "NOT CONVERGED: seed 0" in str(summary)


def test_values_that_differ_late_are_cases_of_their_own(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(setups, "cosimulate", crash_softly)
    axes = [{"name": "wire", "fields": ["circuit.r_word"], "values": [1.0000001, 1.0000002, 1.0]}]
    summary = run_study(a_study(weights, axes=axes, seeds=[0]), tmp_path / "out", jobs=1)
    assert sorted(summary.failed) == ["wire 1, seed 0", "wire 1.0000001, seed 0", "wire 1.0000002, seed 0"]


def crash_softly(*_: Any, **__: Any) -> None:
    raise SimulationError("no")


# --- runs -----------------------------------------------------------------------------------------------------------


def test_a_rerun_does_only_what_is_missing(weights: Path, tmp_path: Path) -> None:
    seen: list[Progress] = []
    first = run_study(a_study(weights), tmp_path / "out", jobs=1, on_progress=seen.append)
    assert (first.total, first.present, first.done) == (4, 0, 4)
    assert [update.settled for update in seen] == [1, 2, 3, 4]
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "cases").glob("*/*")}

    larger = a_study(weights, axes=[{"name": "tile", "fields": ["circuit.tile"], "values": [2, 3, 4]}])
    seen.clear()
    second = run_study(larger, tmp_path / "out", jobs=1, on_progress=seen.append)
    assert (second.total, second.present, second.done) == (6, 4, 2)
    assert [update.status for update in seen] == 4 * ["present"] + 2 * ["done"]
    assert all(path.stat().st_mtime_ns == when for path, when in written.items())
    assert str(second) == "6 cases: 4 were there, 2 run"
    assert len(Store(tmp_path / "out").study()["cases"]) == 6


def test_a_failed_case_is_kept_told_and_tried_again(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = setups.cosimulate

    def fails_on_seed_1(*given: Any, **options: Any) -> Cosimulation:
        if options["seed"] == 1:
            raise SimulationError("no convergence\nnetlist: somewhere")
        return real(*given, **options)

    store = Store(tmp_path / "out")
    with monkeypatch.context() as patch:
        patch.setattr(setups, "cosimulate", fails_on_seed_1)
        summary = run_study(a_study(weights), store.folder, jobs=1)
    assert (summary.done, sorted(summary.failed)) == (2, ["tile 2, seed 1", "tile 4, seed 1"])
    assert "failed: tile 2, seed 1: SimulationError: no convergence" in str(summary)
    assert [failure["error"] for failure in store.failures()] == 2 * [
        "SimulationError: no convergence\nnetlist: somewhere"
    ]
    summary = run_study(a_study(weights), store.folder, jobs=1)
    assert (summary.present, summary.done, summary.failed) == (2, 2, {})
    assert store.failures() == []


def test_an_interruption_keeps_what_is_finished(weights: Path, tmp_path: Path) -> None:
    def interrupt(update: Progress) -> None:
        if update.settled == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study(a_study(weights), tmp_path / "out", jobs=1, on_progress=interrupt)
    assert len(Store(tmp_path / "out").finished()) == 2
    assert run_study(a_study(weights), tmp_path / "out", jobs=1).present == 2


def test_the_voltages_of_the_hardest_case_are_kept(weights: Path, tmp_path: Path) -> None:
    run_study(a_study(weights), tmp_path / "out", jobs=1)
    kept = Store(tmp_path / "out").arrays("cell_deficit")
    assert kept is not None
    assert str(kept["label"]) == "tile 4, seed 0"
    assert kept["cells"].shape == (3, 4)
    assert (np.abs(kept["cells"]) < np.abs(kept["drive"]).max()).all()


def test_a_study_can_vary_the_model(model: Model, tmp_path: Path) -> None:
    for index in range(2):
        save_model(tmp_path / f"{index}.npz", replace(model, steps=1 + index))
    axes = [{"name": "weights", "fields": ["model.weights"], "values": ["0.npz", "1.npz"]}]
    summary = run_study(a_study("0.npz", axes=axes), tmp_path / "out", study_file=tmp_path / "study.toml", jobs=1)
    assert (summary.total, summary.failed) == (4, {})


def dies_at_seed_1(chunk: Chunk) -> list[Outcome]:
    if any(case.seed == 1 for case in chunk.cases):
        os._exit(1)
    return run_chunk(chunk)


def test_workers_give_the_records_of_one_process_and_one_that_dies_costs_its_case_only(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = a_study(weights, axes=[], seeds=[0, 1, 2])
    run_study(study, tmp_path / "one", jobs=1)
    monkeypatch.setattr(runner, "Workers", partial(Workers, run=dies_at_seed_1, alone=0.0))
    summary = run_study(study, tmp_path / "two", jobs=2)
    assert (summary.done, list(summary.failed)) == (2, ["seed 1"])
    assert summary.failed["seed 1"].startswith("its worker process died")

    one, two = (Store(tmp_path / name).records()[0].set_index("seed") for name in ("one", "two"))
    pd.testing.assert_frame_equal(two.drop(columns=TIMINGS), one.loc[two.index].drop(columns=TIMINGS))
    one_trace, two_trace = (Store(tmp_path / name).trace(two["case.id"].iloc[0]) for name in ("one", "two"))
    pd.testing.assert_frame_equal(one_trace.drop(columns="seconds"), two_trace.drop(columns="seconds"))


@pytest.mark.ngspice
def test_simulators_killed_in_the_midst_of_a_study_change_nothing(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine_or_skip("ngspice")
    study = a_study(weights, circuit={"engine": "ngspice", "r_word": 1.0, "variation": {"programming": 0.05}})
    run_study(study, tmp_path / "calm", jobs=1)
    asked = Worker.ask
    seen: list[int] = []

    def kill_every_other(self: Worker, request: tuple[object, ...], time_limit: float) -> Any:
        if request[0] == "read" and self.pid not in seen:
            seen.append(self.pid)
            if len(seen) % 2:
                os.kill(self.pid, signal.SIGKILL)
        return asked(self, request, time_limit)

    monkeypatch.setattr(Worker, "ask", kill_every_other)
    summary = run_study(study, tmp_path / "stormy", jobs=1)
    assert summary.failed == {}
    assert len(seen) == 4 * 2 * 2  # cases, matrices, and every first worker lost
    calm, stormy = (
        Store(tmp_path / name).records()[0].set_index("case.id").drop(columns=TIMINGS) for name in ("calm", "stormy")
    )
    pd.testing.assert_frame_equal(stormy.loc[calm.index], calm)
    assert not [child for child in psutil.Process().children() if child.pid in seen]


@pytest.mark.ngspice
def test_a_case_whose_simulator_dies_again_and_again_leaves_the_others_unharmed(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine_or_skip("ngspice")
    started = Worker.ask

    def dies_with_tile_4(self: Worker, request: tuple[object, ...], time_limit: float) -> Any:
        if request[0] == "load" and any(str(line).startswith("Rw3_") for line in request[1]):  # type: ignore[attr-defined]
            os.kill(self.pid, signal.SIGKILL)
        return started(self, request, time_limit)

    monkeypatch.setattr(Worker, "ask", dies_with_tile_4)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    study = a_study(weights, circuit={"engine": "ngspice", "r_word": 1.0}, seeds=[0])
    summary = run_study(study, tmp_path / "out", jobs=1)
    assert (summary.done, list(summary.failed)) == (1, ["tile 4, seed 0"])
    assert "SimulatorCrashError: ngspice crashed twice (killed by SIGKILL)" in summary.failed["tile 4, seed 0"]


def test_characterised_arrays_are_for_linear_cells_and_ngspice(weights: Path) -> None:
    assert a_study(weights, circuit={"characterise": True}).engine_options == {"characterise": True}
    for circuit in ({"engine": "nodal"}, {"device": "stanford_gap"}):
        with pytest.raises(StudyError, match="characterise needs engine 'ngspice', linear cells"):
            a_study(weights, circuit={"characterise": True} | circuit)


def test_a_scheduler_that_is_not_there_is_said_so(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="no Dask scheduler answers at 'nonsense'"):
        run_study(a_study(weights), tmp_path / "out", scheduler="nonsense")


@pytest.fixture
def scheduler() -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A Dask scheduler of somebody else's, without workers."""
    code = (
        "import asyncio, distributed\n"
        "async def serve():\n"
        "    async with distributed.Scheduler(host='127.0.0.1', port=0, dashboard=False,\n"
        "                                     dashboard_address='127.0.0.1:0') as found:\n"
        "        print(found.address, flush=True)\n"
        "        await found.finished()\n"
        "asyncio.run(serve())\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    yield process.stdout.readline().strip(), process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_scheduler_without_workers_is_waited_for_as_long_as_the_user_wants(
    scheduler: tuple[str, subprocess.Popen[str]], weights: Path, tmp_path: Path
) -> None:
    said: list[str] = []
    with pytest.raises(StudyError, match=r"has had no worker for 0\.1 s; finished cases are kept.*--wait"):
        run_study(a_study(weights), tmp_path / "out", scheduler=scheduler[0], wait=0.1, on_waiting=said.append)
    assert said == [f"the Dask scheduler at {scheduler[0]} has no worker; waiting 0.1 s for one"]


def test_a_scheduler_that_goes_ends_the_run(
    scheduler: tuple[str, subprocess.Popen[str]], weights: Path, tmp_path: Path
) -> None:
    address, process = scheduler
    with pytest.raises(StudyError, match="has gone; finished cases are kept"):
        run_study(a_study(weights), tmp_path / "out", scheduler=address, wait=600, on_waiting=lambda _: process.kill())


def a_worker(address: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-nanny"]
    quiet = ["--no-dashboard", "--death-timeout", "60"]
    return subprocess.Popen(command + quiet, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def test_workers_of_a_scheduler_come_and_go(
    scheduler: tuple[str, subprocess.Popen[str]], weights: Path, tmp_path: Path
) -> None:
    workers = [a_worker(scheduler[0])]
    study = a_study(weights, seeds=list(range(6)))

    def replace_the_worker(update: Progress) -> None:
        if update.settled == 1:
            workers[0].kill()
            workers.append(a_worker(scheduler[0]))

    try:
        kept = {"scheduler": scheduler[0], "wait": 600, "on_progress": replace_the_worker}
        summary = run_study(study, tmp_path / "out", **kept)
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    assert (summary.done, summary.failed, len(workers)) == (12, {}, 2)
    run_study(study, tmp_path / "alone", jobs=1)
    there, alone = (Store(tmp_path / name).records()[0].set_index("case.id") for name in ("out", "alone"))
    pd.testing.assert_frame_equal(there.loc[alone.index].drop(columns=TIMINGS), alone.drop(columns=TIMINGS))


# --- samples and models of one's own --------------------------------------------------------------------------------

OWN = """
name = "own"
[model]
weights = "net.npz"
mapping = { A = "up", B = "down" }
set = { h = 0.25, steps = 2, activation = "tanh" }
[data]
file = "data.csv"
samples = 4
[circuit]
engine = "nodal"
[[axes]]
name = "data seed"
fields = ["data.seed"]
values = [0, 1]
"""


def test_a_study_of_ones_own_model_and_table(tmp_path: Path, rng: np.random.Generator) -> None:
    np.savez(tmp_path / "net.npz", **{"up.weight": rng.normal(size=(4, 3)), "down.weight": rng.normal(size=(3, 4))})
    table = rng.normal(size=(9, 6))
    header = "a,b,c,target0,target1,target2"
    np.savetxt(tmp_path / "data.csv", table, delimiter=",", header=header, comments="")
    path = tmp_path / "study.toml"
    path.write_text(OWN)

    def ran() -> list[dict[str, Any]]:
        run_study(load_study(path), tmp_path / "run", study_file=path, jobs=1)
        usable = read_results(tmp_path / "run").usable
        study = Store(tmp_path / "run").study()
        assert sorted(usable["id"]) == sorted(case["id"] for case in study["cases"])
        assert set(study["data"]) == {f"4 of 9 samples of data.csv, drawn with seed {k}" for k in (0, 1)}
        return study["cases"]

    cases = ran()
    assert ran() == cases
    table[0, 0] += 1.0  # another number in the table, and cases that have it, are others
    np.savetxt(tmp_path / "data.csv", table, delimiter=",", header=header, comments="")
    assert [case["id"] for case in ran()] != [case["id"] for case in cases]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"file": "a.csv", "task": "random"}, "give either file or task, got both"),
        ({"mapping": {"labels": "y"}}, "mapping says what is what in a file"),
        ({"task": "faces"}, "data set must be one of 'digits'"),
    ],
)
def test_settings_of_data_that_do_not_belong_together(data: dict[str, Any], message: str) -> None:
    with pytest.raises(StudyError, match=message):
        a_study(data=data)
