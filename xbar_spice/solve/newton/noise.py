"""How noisy the reads behind a field are, and how exactly equations can be solved with them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from xbar_spice.checks import Array, Whole, checked
from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.norms import norms
from xbar_spice.linear.operator import FloatArray
from xbar_spice.solve.fields.field import Field
from xbar_spice.solve.linear_solvers.krylov import KrylovOptions, get_linear_solver
from xbar_spice.solve.linear_solvers.solver import LinearSolver
from xbar_spice.solve.newton.options import NewtonOptions

__all__ = ["allowing_noise", "measured_noise"]

_LARGEST_NOISE = 0.3  # beyond which Newton's method would take any state for a solution


def allowing_noise(
    newton: NewtonOptions, krylov: KrylovOptions | LinearSolver, noise: float
) -> tuple[NewtonOptions, KrylovOptions | LinearSolver]:
    """The same options, but no more exact than noisy reads allow.

    The residual of a solution is itself about as large as the noise. Newton's method stops at one and a half times
    that, and a sample that is stuck below three times has converged; linear systems are solved to the noise of one
    product, times the `noise_factor` of their solver.

    Args:
        newton: How implicit equations are solved.
        krylov: How linear systems are solved.
        noise: Of the residual of an implicit step, relative to the state; 0 changes nothing.

    Example:
        >>> allowing_noise(NewtonOptions(), KrylovOptions(), 0.01)[0].floor
        0.03
    """
    if not noise:
        return newton, krylov
    left = min(noise, _LARGEST_NOISE)
    linear = get_linear_solver(krylov).noise_factor * left
    told = max(newton.noise, left / 2)  # Newton's method stops at three times what it is told
    return (
        replace(newton, noise=told, floor=max(newton.floor, 3.0 * left)),
        replace(krylov, rtol=max(krylov.rtol, linear)),
    )


@checked(z=Array(), repeats=Whole(None, 10**5))
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
    spread, size = norms(values.std(axis=0, ddof=1)), norms(values.mean(axis=0))
    # Where f is zero on average, all that is read is noise.
    return float(np.max(np.divide(spread, size, out=np.where(spread > 0, np.inf, 0.0), where=size > 0)))
