"""Small studies for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from xbar_spice.study.cases import Case, expand, model_key
from xbar_spice.study.config import Study, parse_study
from xbar_spice.weights import Model

TIMINGS = ["seconds", "read_seconds", "written"]
"""Entries of records that differ from run to run."""


def a_study(weights: Path | str = "weights.npz", folder: Path = Path(), **changes: Any) -> Study:
    content = {
        "name": "small",
        "seeds": [0, 1],
        "model": {"weights": str(weights)},
        "data": {"samples": 2, "task": "random"},
        "circuit": {"engine": "nodal", "r_word": 1.0, "r_bit": 1.0, "variation": {"programming": 0.05}},
        "axes": [{"name": "tile", "fields": ["circuit.tile"], "values": [2, 4]}],
    }
    return parse_study(content | changes, folder=folder)


def cases_of(study: Study, model: Model) -> list[Case]:
    return expand(study, {model_key(parameters): model for _, parameters in study.points()})
