"""Pooling of the reference: values, and what goes back to the pixels."""

from __future__ import annotations

import numpy as np
from support import truth

from xbar_spice.weights.steps import Pooled


def test_reference_values() -> None:
    case = truth("steps")["cases"]["pooling"]
    given = case["inputs"]
    x, cotangent = (np.array(given[name]).reshape(-1, 1) for name in ("x", "cotangent"))
    for kind, name in (("max", "max"), ("mean", "average")):
        pooled = Pooled(kind, given["block"], (4, 4))
        y = pooled.value(x)
        np.testing.assert_array_equal(y.reshape(2, 2), case[name])
        np.testing.assert_array_equal(pooled.pull(x, y, cotangent).reshape(4, 4), case[f"{name}_grad"])
