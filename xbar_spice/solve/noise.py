"""How noisy the reads behind a field are."""

from __future__ import annotations

import numpy as np

from xbar_spice.errors import InvalidInputError
from xbar_spice.linear import FloatArray
from xbar_spice.solve.field import Field

__all__ = ["measured_noise"]


def measured_noise(field: Field, z: FloatArray, repeats: int = 8) -> float:
    """Relative standard deviation of f(z) from read to read, for `NewtonOptions.noise`; rounding for exact reads.

    Args:
        field: f.
        z: Where to read, (n, batch); typical states.
        repeats: Evaluations to spend, >= 2.
    """
    if repeats < 2:
        raise InvalidInputError(f"noise is measured by at least 2 evaluations, got repeats = {repeats}")
    values = np.stack([field.evaluate(z).value for _ in range(repeats)])
    spread = np.linalg.norm(values.std(axis=0, ddof=1), axis=0)
    return float(np.max(spread / np.maximum(np.linalg.norm(values.mean(axis=0), axis=0), np.finfo(float).tiny)))
