"""What the tests share: the engines of this machine, reference data, and examples that hypothesis draws."""

from __future__ import annotations

import json
import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest

from xbar_spice.engines.base import Engine
from xbar_spice.engines.ngspice.installation import describe
from xbar_spice.engines.registry import get_engine
from xbar_spice.errors import EngineUnavailableError

hypothesis.settings.register_profile("repeatable", deadline=None, derandomize=True, max_examples=50)
hypothesis.settings.load_profile("repeatable")

ENGINE_NAMES = ("ideal", "nodal", "ngspice")


def engine_or_skip(name: str) -> Engine:
    """The engine, or a skip that says what this machine lacks."""
    try:
        return get_engine(name)
    except EngineUnavailableError as error:
        pytest.skip(str(error))


@pytest.fixture(params=["nodal", "ngspice"])
def circuit_engine(request: pytest.FixtureRequest) -> Engine:
    """Every engine that sees the parasitics."""
    return engine_or_skip(request.param)


@pytest.fixture(params=ENGINE_NAMES)
def engine(request: pytest.FixtureRequest) -> Engine:
    """Every engine."""
    return engine_or_skip(request.param)


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator that is the same in every run."""
    return np.random.default_rng(20260101)


def truth(name: str) -> dict[str, Any]:
    """Reference data of `tests/truth/`."""
    return json.loads((Path(__file__).parent / "truth" / f"{name}.json").read_text())


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
    """Source currents that `ngspice -b` prints for a deck."""
    done = subprocess.run(["ngspice", "-b", str(deck)], capture_output=True, text=True, check=True, timeout=60)
    return {name: float(value) for name, value in re.findall(r"^\s+(v\w+)#branch\s+(\S+)$", done.stdout, re.M)}
