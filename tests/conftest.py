"""What the tests share: the engines of this machine, reference data, and examples that hypothesis draws."""

from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
from pauses import slow_down

from xbar_spice.cosim import Problem
from xbar_spice.engines.base import Engine
from xbar_spice.engines.ngspice.installation import describe
from xbar_spice.engines.registry import get_engine
from xbar_spice.errors import EngineUnavailableError
from xbar_spice.mapping import Design
from xbar_spice.train.losses import SquaredDistance
from xbar_spice.weights import Kernels, Model

# A machine of any speed: with XBAR_SPICE_SLOW_WORKERS=0.1 every worker waits so many seconds before each answer, and no
# test may notice.
if "XBAR_SPICE_SLOW_WORKERS" in os.environ:
    slow_down(float(os.environ["XBAR_SPICE_SLOW_WORKERS"]))

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
    """Source currents, by the source's name, and voltages of nodes that `ngspice -b` prints for a deck."""
    done = subprocess.run(["ngspice", "-b", str(deck)], capture_output=True, text=True, check=True, timeout=300)
    rows = re.findall(r"^\s+([a-z]\w*)(?:#branch)?\s+(-?\d\S*)$", done.stdout, re.M)
    return {name: float(value) for name, value in rows}


@pytest.fixture
def dense(rng: np.random.Generator) -> Problem:
    """A small model of dense matrices, three samples, and a loss that is smooth."""
    A, B = rng.standard_normal((5, 4)), rng.standard_normal((4, 5)) / 3
    return Problem(
        Model(A, B, h=0.25, steps=2), rng.standard_normal((4, 3)), SquaredDistance(rng.standard_normal((4, 3)))
    )


@pytest.fixture
def convolution(rng: np.random.Generator) -> Problem:
    """The same of two convolutions of a 3 x 3 image, with two samples."""
    kernels = Kernels(0.5 * rng.standard_normal(9), 0.5 * rng.standard_normal(9), (3, 3))
    model = Model.from_kernels(kernels, h=0.25, steps=2)
    return Problem(model, rng.random((9, 2)), SquaredDistance(rng.standard_normal((9, 2))))


def for_cells(problem: Problem, design: Design) -> Problem:
    """Explicit steps for nonlinear cells, whose implicit equations take long to solve to rounding."""
    method = "implicit_euler" if design.device.linear else "forward_euler"
    return replace(problem, model=replace(problem.model, method=method))
