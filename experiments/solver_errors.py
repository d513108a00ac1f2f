#!/usr/bin/env python3
"""How exact every integrator, field and linear solver is, against a second implementation in complex numbers.

Prints for each method the worst over all fields of the tests: states and gradients (along a random change of state and
parameters) against complex steps of 1e-30, which are exact to rounding; the two identities that any exact gradient of
a homogeneous field obeys; and the order of convergence that halving the step shows. Then the errors by linear solver.
"""

from __future__ import annotations

import sys
from typing import Any

from common import ROOT, Arguments

import numpy as np
from scipy.integrate import solve_ivp

import xbar_spice as xs
from xbar_spice.linear.operator import FloatArray
from xbar_spice.parts import METHODS
from xbar_spice.solve.integrators.integration import Trajectory

sys.path.insert(0, str(ROOT / "tests"))
from support.complex_reference import complex_step
from support.solver_table import FIELDS, HOMOGENEOUS, IMPLICIT, SOLVERS, SPLIT, changes, run, slope, start


def errors(method: str, name: str, trajectory: Trajectory) -> FloatArray:
    """Of states, gradients, the scaling of hidden units and homogeneity; the latter two NaN where they do not hold."""
    rng = np.random.default_rng(4)
    cotangent, dz = rng.normal(size=(2, *trajectory.z.shape[1:]))
    parameters = FIELDS[name][1]
    dp = changes(parameters)
    end, change = complex_step(name, method, trajectory, parameters, dz, dp)
    g = xs.gradients(trajectory, cotangent)
    state = np.abs(trajectory.z[-1] - end).max() / np.abs(end).max()
    gradient = abs(slope(g, dz, dp) - np.sum(cotangent * change)) / np.linalg.norm(cotangent) / np.linalg.norm(change)
    scaling = homogeneity = np.nan
    if name in ("relu", "relu-bias", "abs", "identity"):
        parts = np.sum(g.A * parameters["A"], axis=1), np.sum(g.B * parameters["B"], axis=0)
        scaling = np.abs(parts[0] - parts[1]).max() / np.abs(parts[1]).max()
    if name in HOMOGENEOUS:
        ends = np.sum(trajectory.z[-1] * cotangent, axis=0)
        homogeneity = np.abs(np.sum(trajectory.z[0] * g.z0, axis=0) - ends).max() / np.abs(ends).max()
    return np.array([state, gradient, scaling, homogeneity])


def order(method: str) -> str:
    """Of the error at time 2, by halving the step, on a smooth field; an adaptive method has none."""
    if method == "dopri5":
        return "-"
    name = "hamiltonian" if "verlet" in method else "tanh"
    field, z0 = FIELDS[name][0](FIELDS[name][1]), start(name, 1)[:, 0]

    def right(_: float, z: FloatArray) -> FloatArray:
        return np.asarray(field.evaluate(z[:, np.newaxis]).value[:, 0])

    exact = solve_ivp(right, (0.0, 2.0), z0, method="DOP853", rtol=1e-13, atol=1e-14).y[:, -1]
    wide, narrow = (
        np.linalg.norm(xs.integrate(field, z0, method, h=2.0 / steps, steps=steps).z[-1] - exact) for steps in (80, 160)
    )
    return f"{np.log2(wide / narrow):.2f}"


def by_solver(method: str, name: str, solver: Any) -> FloatArray:
    build, parameters = FIELDS[name]
    field, rng = build(parameters), np.random.default_rng(6)
    field.twin = build({key: value * (1 + 0.01 * rng.normal(size=value.shape)) for key, value in parameters.items()})
    krylov = xs.KrylovOptions(method=solver)
    return errors(method, name, xs.integrate(field, start(name, 2), method, h=0.15, steps=5, krylov=krylov))


def printed(label: str, found: list[FloatArray], last: str = "") -> None:
    worst = "".join(f"{'-':>12}" if np.isnan(value) else f"{value:>12.1e}" for value in np.fmax.reduce(found))
    print(f"{label:32}{len(found):>7}{worst}{last:>8}", flush=True)


def main() -> None:
    parser = Arguments(__doc__, figure=False)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS), help="Integrators.")
    options = parser.parse(methods=["rk4"])
    print(f"{'':32}{'fields':>7}{'states':>12}{'gradients':>12}{'scaling':>12}{'homogeneity':>12}{'order':>8}")
    for method in options.methods:
        fields = [name for name in FIELDS if "verlet" not in method or name in SPLIT]
        found = [errors(method, name, run(method, name, FIELDS[name][1], start(name, 2))) for name in fields]
        printed(method, found, order(method))
    for method in (method for method in IMPLICIT if method in options.methods):
        for solver in SOLVERS:
            symmetric = solver == "cg"  # B = -A^T
            names = ("parabolic", "parabolic-bias") if symmetric else ("relu", "softplus", "antisymmetric", "split")
            printed(f"{method}, {solver}", [by_solver(method, name, solver) for name in names])


if __name__ == "__main__":
    main()
