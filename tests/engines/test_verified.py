"""A sample of the reads on another engine: how many, how far apart, and what the record says."""

from dataclasses import replace

import numpy as np
import pytest
from support.studies import a_study

import xbar_spice as xs
from xbar_spice.engines.verified import Verdict, VerifiedEngine
from xbar_spice.errors import InvalidInputError, StudyError
from xbar_spice.report.data import read_results
from xbar_spice.report.findings import findings
from xbar_spice.study.runner import run_study


def test_a_record_says_how_far_the_judge_is(dense):
    one = replace(dense, model=replace(dense.model, steps=1, method="forward_euler"))
    design = xs.Design(r_driver=50.0)
    engine = VerifiedEngine(xs.get_engine("nodal"), xs.get_engine("ideal"), 0.5)
    verdicts = [xs.cosimulate(one, design, engine=engine).record.verified for _ in range(2)]
    plain = xs.cosimulate(one, design, engine="nodal").record
    assert verdicts[0] == verdicts[1]
    assert isinstance(verdicts[0], Verdict)
    assert verdicts[0].engine == "ideal"
    assert 0 < verdicts[0].reads <= verdicts[0].of == sum(plain.reads.values())
    assert 1e-4 < verdicts[0].worst < 0.1
    assert plain.verified is None


def test_an_engine_cannot_judge_itself():
    with pytest.raises(InvalidInputError, match="cannot judge itself"):
        VerifiedEngine(xs.get_engine("nodal"), xs.get_engine("nodal"))
    assert np.isfinite(VerifiedEngine(xs.get_engine("nodal"), xs.get_engine("ideal")).share)


CIRCUIT = {"engine": "nodal", "r_driver": 50.0, "r_word": 1.0}


def test_a_study_has_the_judge_in_its_records_its_table_and_its_report(dense, tmp_path):
    xs.save_model(tmp_path / "weights.npz", replace(dense.model, steps=1, method="forward_euler"))
    judged = CIRCUIT | {"verify": 0.5, "verify_with": "ideal"}
    for name, circuit in (("judged", judged), ("plain", CIRCUIT)):
        study = a_study(tmp_path / "weights.npz", circuit=circuit, seeds=[0])
        assert not run_study(study, tmp_path / name, jobs=1).failed
    table, without = xs.load_results(tmp_path / "judged"), xs.load_results(tmp_path / "plain")
    assert (table["verified.engine"] == "ideal").all()
    assert ((table["verified.reads"] > 1) & (table["verified.reads"] < table["reads"])).all()
    assert table["verified.worst"].between(1e-4, 0.1).all()
    assert not any(column.startswith("verified") for column in without)
    assert table["state.relative_error"].tolist() == without["state.relative_error"].tolist()
    assert set(table["id"]).isdisjoint(without["id"])
    (said,) = (text for text in findings(read_results(tmp_path / "judged")) if text.startswith("ideal answered"))
    assert f"{table['verified.worst'].max():.1e}" in said


def test_a_study_of_objects_takes_a_judged_engine(dense, tmp_path):
    one = replace(dense, model=replace(dense.model, steps=1, method="forward_euler"))
    engine = VerifiedEngine(xs.get_engine("nodal"), xs.get_engine("ideal"), 0.5)
    study = xs.Study(one, xs.Design(r_driver=50.0), {"tile": [2, 4]}, engine=engine)
    xs.run_study(study, tmp_path / "out", jobs=1)
    assert xs.load_results(tmp_path / "out")["verified.reads"].min() > 1


def test_who_judges_is_said_by_the_settings():
    def of(**circuit):
        return a_study(circuit=CIRCUIT | circuit).points()[0][1]

    judges = [of(**more).judge for more in ({}, {"verify": 0.1}, {"verify": 0.1, "engine": "ngspice"})]
    assert judges == [None, "ngspice", "nodal"]
    for change, said in (
        ({"verify": 0.1, "verify_with": "nodal"}, "cannot judge itself"),
        ({"verify_with": "ideal"}, "give the part"),
        ({"verify": 1.5}, "less than or equal to 1"),
        ({"verify": 0.1, "verify_with": "spectre"}, "engine must be one of"),
    ):
        with pytest.raises(StudyError, match=said):
            of(**change)
