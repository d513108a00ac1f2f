"""A small model, and its weight file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from xbar_spice.weights import Model, save_model


@pytest.fixture
def model(rng: np.random.Generator) -> Model:
    return Model(rng.normal(size=(4, 3)), 0.3 * rng.normal(size=(3, 4)), h=0.25, steps=2)


@pytest.fixture
def weights(model: Model, tmp_path: Path) -> Path:
    save_model(tmp_path / "weights.npz", model)
    return tmp_path / "weights.npz"
