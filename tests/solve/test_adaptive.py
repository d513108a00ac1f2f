"""How the adaptive method deals with reads that are noisy, and with steps that are rejected."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support import relative
from support.doubles import Noisy

from xbar_spice.errors import ConvergenceWarning, InvalidInputError
from xbar_spice.solve.fields.field import ReluField
from xbar_spice.solve.integrators.integration import integrate
from xbar_spice.solve.integrators.step_control import AdaptiveOptions
from xbar_spice.solve.newton.noise import measured_noise


def test_dopri5_gives_up_a_sample_whose_steps_are_rejected_again_and_again() -> None:
    field, z0 = ReluField(20.0 * np.eye(2), [[0.0, 20.0], [-20.0, 0.0]]), np.array([[1.0, 1e-12], [1.0, 1e-12]])
    bounded = AdaptiveOptions(max_rejections=1)
    with pytest.warns(ConvergenceWarning, match=r"sample 0 .*AdaptiveOptions\(noise=\.\.\.\)"):
        found = integrate(field, z0, "dopri5", h=2.0, steps=1, adaptive=bounded)
    np.testing.assert_array_equal(found.rejected, [[1, 0]])
    np.testing.assert_array_equal(found.converged, [[False, True]])
    assert integrate(field, z0, "dopri5", h=2.0, steps=1, adaptive=AdaptiveOptions(max_rejections=50)).converged_all


def test_dopri5_does_not_follow_an_error_that_is_noise() -> None:
    """Reads that differ by 1 % from each other: without `noise` a thousand attempts, and states that are NaN."""
    rng = np.random.default_rng(0)
    A, B, z0 = 0.2 * rng.normal(size=(32, 8)), 0.2 * rng.normal(size=(8, 32)), rng.normal(size=(8, 3))
    noisy = ReluField(Noisy(A, 0.01, 1), Noisy(B, 0.01, 2))
    found = integrate(noisy, z0, "dopri5", h=1.0, steps=4, adaptive=AdaptiveOptions(noise=measured_noise(noisy, z0)))
    exact = integrate(ReluField(A, B), z0, "dopri5", h=1.0, steps=4)
    assert found.converged_all
    assert found.evaluations.sum() <= exact.evaluations.sum()
    assert relative(found.z, exact.z) < 0.05
    short = AdaptiveOptions(max_attempts=60)
    blind = integrate(noisy, z0, "dopri5", h=1.0, steps=4, adaptive=short, nonconvergence="ignore")
    assert not blind.converged_all
    np.testing.assert_array_equal(np.isfinite(blind.z[1:]).all(axis=1), blind.converged)


@pytest.mark.parametrize("changes", [{"noise": -0.1}, {"noise": 1.0}, {"max_rejections": 0}, {"noise": np.nan}])
def test_adaptive_options_out_of_range_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError, match=f"{next(iter(changes))} of an adaptive method must be"):
        AdaptiveOptions(**changes)
