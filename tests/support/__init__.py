"""What the tests share: the engines of this machine, reference data, and how results are compared."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from xbar_spice.cosim import Problem
from xbar_spice.engines.base import Engine
from xbar_spice.engines.ngspice.installation import describe
from xbar_spice.engines.registry import get_engine
from xbar_spice.errors import EngineUnavailableError
from xbar_spice.mapping.design import Design

ENGINE_NAMES = ("ideal", "nodal", "ngspice")


def engine_or_skip(name: str) -> Engine:
    """The engine, or a skip that says what this machine lacks."""
    try:
        return get_engine(name)
    except EngineUnavailableError as error:
        pytest.skip(str(error))


def truth(name: str) -> dict[str, Any]:
    """Reference data of `tests/truth/`."""
    return json.loads((Path(__file__).parents[1] / "truth" / f"{name}.json").read_text())


def relative(found: Any, wanted: Any) -> float:
    """Largest deviation relative to the largest wanted value; absolute where all that is wanted is zero."""
    return float(np.abs(np.subtract(found, wanted)).max() / (np.abs(wanted).max() or 1.0))


@cache
def has_klu() -> bool:
    """Whether ngspice solves with KLU; with Sparse 1.3 the last bits depend on what else is solved."""
    return describe().klu


def assert_same_bits(found: Any, wanted: Any) -> None:
    """Equality under KLU, and to rounding under Sparse 1.3."""
    if has_klu():
        np.testing.assert_array_equal(found, wanted)
    else:
        assert relative(found, wanted) < 1e-12


def run_by_hand(deck: Path) -> dict[str, float]:
    """Source currents, by the source's name, and voltages of nodes that `ngspice -b` prints for a deck."""
    loads = [str(path) for path in (deck.parent / "load.sp", deck.parents[1] / "load.sp") if path.is_file()]
    command = ["ngspice", "-b", *loads, str(deck)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    rows = re.findall(r"^\s+([a-z]\w*)(?:#branch)?\s+(-?\d\S*)$", done.stdout, re.M)
    rows += re.findall(r"^[iv]\((\w+)\) = (-?\d\S*)$", done.stdout, re.M)  # of exported decks
    return {name: float(value) for name, value in rows}


def for_cells(problem: Problem, design: Design) -> Problem:
    """Explicit steps for nonlinear cells, whose implicit equations take long to solve to rounding."""
    method = "implicit_euler" if design.device.linear else "forward_euler"
    return replace(problem, model=replace(problem.model, method=method))
