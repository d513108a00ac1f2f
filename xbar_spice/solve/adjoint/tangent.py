"""The tangent of a run: how z_N moves with z_0 and the parameters, by forward products only.

For forward Euler and one parameter p the change S of z obeys S_{n+1} = (I + h J_n) S_n + h df/dp(z_n); with dp/dt = 0
as an extra component this is the same scheme on the block system of (z, S, p). It takes one run for each parameter,
where the adjoint takes one for all, and shares none of the adjoint's transposed reads: an independent check.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from xbar_spice.checks import Array, checked
from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.operator import FloatArray
from xbar_spice.solve.adjoint.discrete import ADJOINT_HINT
from xbar_spice.solve.fields.evaluation import Parameters
from xbar_spice.solve.integrators.integration import (
    Nonconvergence,
    Trajectory,
    check_nonconvergence,
    handle_nonconvergence,
)
from xbar_spice.solve.integrators.method import Carry, SolveReport
from xbar_spice.solve.linear_solvers.krylov import SolverLike, get_linear_solver

__all__ = ["tangent"]


@checked()
def tangent(
    trajectory: Trajectory,
    z0: ArrayLike,
    parameters: Parameters | None = None,
    *,
    krylov: SolverLike | None = None,
    nonconvergence: Nonconvergence = "warn",
) -> FloatArray:
    """The change of z_N for a change of z_0 and of the parameters; <cotangent, tangent> = <gradients, changes>.

    Args:
        trajectory: What `integrate` returned.
        z0: Change of z_0, of its shape.
        parameters: Change of each parameter, by the names that `gradients` gives them; one left out does not change.
        krylov: How linear systems are solved; as in the forward run by default.
        nonconvergence: As for `integrate`.

    Returns:
        (n[, batch]).

    Raises:
        InvalidInputError: The change of z_0 has another shape than z_0 or is not finite, or a name is unknown.
        ConvergenceError: A solve did not converge and `nonconvergence` is "raise".

    Example:
        >>> from xbar_spice.solve.fields.field import ReluField
        >>> from xbar_spice.solve.integrators.integration import integrate
        >>> decay = integrate(ReluField([[1.0], [-1.0]], [[-1.0, 1.0]]), [8.0], h=1.0, steps=3)
        >>> tangent(decay, [1.0])  # z_3 = z_0 / 2^3
        array([0.125])
    """
    given = Array(finite=False)("the change of z0", z0)
    if given.shape != trajectory.z.shape[1:]:
        raise InvalidInputError(
            f"the change of z0 must have the shape of z0, {trajectory.z.shape[1:]}, got {given.shape}"
        )
    if not all(np.isfinite(values).all() for values in (given, *(parameters or {}).values())):
        raise InvalidInputError("changes of z0 and of the parameters must be finite, got NaN or infinity in them")
    check_nonconvergence(nonconvergence)
    change = given if trajectory.batched else given[:, np.newaxis]
    changes = dict(parameters or {})
    layers = {run.grid.layer for run in trajectory.runs}
    suffixes = {layer: f"[{layer}]" if len(layers) > 1 else "" for layer in layers}
    if unknown := [name for name in changes if not name.endswith(tuple(suffixes.values()))]:
        raise InvalidInputError(f"no layer has the parameters {', '.join(unknown)}; gradients(...) lists their names")
    solver = get_linear_solver(krylov, trajectory.options.krylov)
    carry: Carry = ()
    reports: list[SolveReport] = []
    for run in trajectory.runs:  # several of one layer where its grid was cut
        suffix = suffixes[run.grid.layer]
        mine = {name.removesuffix(suffix): value for name, value in changes.items() if name.endswith(suffix)}
        direction = run.field.tie.spread({name: Array()(name, value) for name, value in mine.items()})
        with np.errstate(over="ignore", invalid="ignore"):  # a change that is not finite is reported below
            part = trajectory.scheme.tangent(run, change, direction, solver, carry)
        change, carry = part.z, part.carry
        reports.append(part.report)
    report = SolveReport.joined(reports)
    report.converged[:] &= np.isfinite(change).all(axis=0)
    handle_nonconvergence(f"the tangent of {trajectory.method}", report, nonconvergence, ADJOINT_HINT)
    return change if trajectory.batched else change[:, 0]
