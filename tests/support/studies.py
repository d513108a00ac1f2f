"""Small studies for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from xbar_spice.cosim import Cosimulation
from xbar_spice.study.cases import Case, expand
from xbar_spice.study.file_source import FileSource, model_key
from xbar_spice.study.setups import Setup
from xbar_spice.study.study_file import StudyFile, parse_study
from xbar_spice.weights import Model

TIMINGS = ["seconds", "read_seconds", "written"]
"""Entries of records that differ from run to run."""


def a_study(weights: Path | str = "weights.npz", folder: Path = Path(), **changes: Any) -> StudyFile:
    content = {
        "name": "small",
        "seeds": [0, 1],
        "model": {"weights": str(weights)},
        "data": {"samples": 2, "task": "random"},
        "circuit": {"engine": "nodal", "r_word": 1.0, "r_bit": 1.0, "variation": {"programming": 0.05}},
        "axes": [{"name": "tile", "fields": ["circuit.tile"], "values": [2, 4]}],
    }
    return parse_study(content | changes, folder=folder)


def source_of(study: StudyFile, model: Model) -> FileSource:
    """Of a study whose models are all this one."""
    return FileSource(
        study.given, study.lookup, {model_key(study.at(point)): ("here", model) for point in study.combinations}
    )


def expanded(study: StudyFile, model: Model) -> list[tuple[Case, Setup]]:
    found = expand(study.combinations, study.seeds, study.groups, source_of(study, model))
    return [(case, setup) for cases, setup in found for case in cases]


def cases_of(study: StudyFile, model: Model) -> list[Case]:
    return [case for case, _ in expanded(study, model)]


def first_run(study: StudyFile, model: Model) -> Cosimulation:
    """The co-simulation of the first case."""
    case, setup = expanded(study, model)[0]
    return setup.run(case.seed)
