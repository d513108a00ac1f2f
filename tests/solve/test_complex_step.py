"""Values and gradients of every method, field and linear solver against a second implementation, to rounding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support import relative
from support.complex_reference import complex_step
from support.solver_table import FIELDS, IMPLICIT, PAIRS, SOLVERS, changes, run, slope, start

from xbar_spice.solve.adjoint.discrete import gradients
from xbar_spice.solve.integrators.integration import Trajectory, integrate
from xbar_spice.solve.linear_solvers.krylov import KrylovOptions

H, STEPS = 0.15, 5  # of `solver_table.run`


def check(method: str, name: str, trajectory: Trajectory) -> None:
    """Values, and the gradients along a random change of state and parameters."""
    rng = np.random.default_rng(4)
    cotangent, dz = rng.normal(size=(2, *trajectory.z.shape[1:]))
    dp = changes(FIELDS[name][1])
    end, change = complex_step(name, method, trajectory, FIELDS[name][1], dz, dp)
    g = gradients(trajectory, cotangent)
    assert trajectory.converged_all
    assert g.converged_all
    assert relative(trajectory.z[-1], end) < 2e-13
    size = float(np.linalg.norm(cotangent) * np.linalg.norm(change))
    assert abs(slope(g, dz, dp) - np.sum(cotangent * change)) <= 1e-12 * size


@pytest.mark.parametrize(("method", "name"), PAIRS)
def test_every_method_on_every_field(method: str, name: str) -> None:
    check(method, name, run(method, name, FIELDS[name][1], start(name)))


# One field of each kind of Jacobian; on the other fields the linear solvers have the same code below them.
JACOBIANS = ("relu", "softplus", "antisymmetric", "parabolic", "split")


@pytest.mark.parametrize(
    ("name", "method", "solver"),
    [
        (name, method, solver)
        for name in JACOBIANS
        for method in IMPLICIT
        for solver in SOLVERS
        if solver != "cg" or name == "parabolic"  # cg is for symmetric systems, B = -A^T
    ],
)
def test_every_linear_solver(name: str, method: str, solver: Any) -> None:
    build, parameters = FIELDS[name]
    field, rng = build(parameters), np.random.default_rng(6)
    field.twin = build({key: value * (1 + 0.01 * rng.normal(size=value.shape)) for key, value in parameters.items()})
    krylov = KrylovOptions(method=solver)
    check(method, name, integrate(field, start(name, 2), method, h=H, steps=STEPS, krylov=krylov))
