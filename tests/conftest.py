"""Fixtures, and how hypothesis draws."""

from __future__ import annotations

import hypothesis
import numpy as np
import pytest
from support import ENGINE_NAMES, engine_or_skip

from xbar_spice.cosim import Problem
from xbar_spice.engines.base import Engine
from xbar_spice.train.losses import SquaredDistance
from xbar_spice.weights import Kernels, Model

hypothesis.settings.register_profile("repeatable", deadline=None, derandomize=True, max_examples=50)


hypothesis.settings.load_profile("repeatable")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test with "ngspice" as one of its parameters needs it, whatever else it says."""
    for item in items:
        parameters = item.callspec.params.values() if hasattr(item, "callspec") else ()
        if any(isinstance(value, str) and value == "ngspice" for value in parameters):
            item.add_marker("ngspice")


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
