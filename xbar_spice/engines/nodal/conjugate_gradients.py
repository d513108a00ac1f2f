"""Conjugate gradients for the currents of the cells, (1 + G Z) y = f, checked by the residual of the circuit itself.

Written for the voltages e = Z y that the lines lose, the equation is (1/Z + G) e = f: symmetric, positive definite,
and never formed, for a preconditioner that solves (1/Z + g) z = r tells what the matrix makes of its answer:
(1/Z + G) z = r + (G - g) z. An iteration is therefore one call of the preconditioner and a few products by cells.

The iteration may run in single precision: it only ever corrects y, whose residual is computed in double precision
from the wires and cells themselves (iterative refinement).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, final

import numpy as np

from xbar_spice.engines.nodal.grid import BoolArray, Grid, RealArray
from xbar_spice.linear import FloatArray

__all__ = ["Check", "Outcome", "Preconditioner", "solve_currents"]

ITERATIONS = 80  # of one correction; the preconditioner of an array that needs more does not fit it
CORRECTIONS = 8
GAIN = {np.dtype(np.float32): 1e-6, np.dtype(np.float64): 1e-12}  # what one correction can take off the residual


class Preconditioner(Protocol):
    """Solves (1/Z + g) e = r for a conductance g near G.

    Attributes:
        conductance: g in siemens, broadcasts to (n0, n1); its precision is that of the iteration.
    """

    conductance: RealArray

    def __call__(self, residual: RealArray) -> RealArray:
        """Voltages e for a residual in amperes, both (batch, n0, n1)."""


@final
@dataclass(frozen=True, eq=False)
class Outcome:
    """The currents of the cells and how well they are known.

    Attributes:
        currents: (batch, n0, n1) y, amperes; exactly what the wires carry.
        residual: (batch, n0, n1) f - G Z y - y, amperes: what the cells would like to carry on top.
        converged: (batch,) whether the check is met.
        iterations: number of preconditioner calls.
    """

    currents: FloatArray
    residual: FloatArray
    converged: BoolArray
    iterations: int


class Check(Protocol):
    """When a residual is small enough. Errors and allowances have the shape (batch, places), in amperes."""

    def error(self, residual: RealArray) -> RealArray:
        """What a residual may do to the result."""

    def allowance(self, currents: FloatArray, residual: FloatArray) -> FloatArray:
        """What is tolerated at these currents."""

    def met_up_to_rounding(self, currents: FloatArray, residual: FloatArray) -> BoolArray:
        """(batch,) whether the error is as small as cancellation in the result lets it be."""


def solve_currents(
    grid: Grid, source: FloatArray, precondition: Preconditioner, check: Check, start: FloatArray | None = None
) -> Outcome:
    """Solve (1 + G Z) y = f for a batch of sources.

    Args:
        grid: the array.
        source: (batch, n0, n1) f, amperes; G D0 for a read.
        precondition: of the same array.
        check: when to stop.
        start: (batch, n0, n1) first guess of y, amperes; zero when left out.

    Returns:
        The currents, and their residual by Kirchhoff's laws.
    """
    work, residual = np.empty_like(source), source.copy()
    currents = np.zeros_like(source) if start is None else start.copy()
    if start is not None:
        grid.residual(source, currents, residual, work)
    excess = grid.conductance.astype(precondition.conductance.dtype) - precondition.conductance
    total, done = 0, np.zeros(source.shape[0], dtype=bool)
    for _ in range(CORRECTIONS):
        before = np.abs(residual).sum()
        total += _correct(grid, currents, residual, excess, precondition, check)
        grid.residual(source, currents, residual, work)
        done = (check.error(residual) <= check.allowance(currents, residual)).all(axis=1)
        if done.all() or not np.abs(residual).sum() < 0.1 * before:
            break
    return Outcome(currents, residual, done | check.met_up_to_rounding(currents, residual), total)


def _correct(
    grid: Grid,
    currents: FloatArray,
    residual: FloatArray,
    excess: RealArray,
    precondition: Preconditioner,
    check: Check,
) -> int:
    """Add to `currents` in place what reduces their residual as far as the precision goes; the iterations it took."""
    # Scaling keeps single precision away from its limits.
    scale = np.abs(residual).max(axis=(1, 2), keepdims=True)
    scale[scale == 0] = 1.0
    left = (residual / scale).astype(excess.dtype)
    allowed = check.allowance(currents, residual) / scale[:, :, 0]
    goal = np.maximum(allowed, GAIN[excess.dtype] * check.error(left))
    volts, iterations = _iterate(left, excess, precondition, lambda rest: bool((check.error(rest) <= goal).all()))
    # (1/Z + G) e = r - rest, so the currents of the correction, Z^-1 e, are r - rest - G e.
    change = residual / scale
    change -= left
    change -= grid.conductance * volts
    change *= scale
    currents += change
    return iterations


def _iterate(
    residual: RealArray, excess: RealArray, precondition: Preconditioner, done: Callable[[RealArray], bool]
) -> tuple[RealArray, int]:
    """Conjugate gradients from zero; `residual` becomes what is left. The voltages and the number of iterations."""
    volts, direction, image = np.zeros_like(residual), np.zeros_like(residual), np.zeros_like(residual)
    slope = np.zeros((residual.shape[0], 1, 1), dtype=residual.dtype)
    for iteration in range(1, ITERATIONS + 1):
        correction = precondition(residual)
        new_slope = _dot(residual, correction)
        turn, slope = _ratio(new_slope, slope), new_slope
        direction *= turn
        direction += correction
        image *= turn
        image += residual
        correction *= excess
        image += correction
        step = _ratio(slope, _dot(direction, image))
        volts += np.multiply(direction, step, out=correction)
        residual -= np.multiply(image, step, out=correction)
        if done(residual):
            break
    return volts, iteration


def _dot(first: RealArray, second: RealArray) -> RealArray:
    """(batch, 1, 1) inner products."""
    return np.einsum("bij,bij->b", first, second)[:, np.newaxis, np.newaxis]


def _ratio(numerator: RealArray, denominator: RealArray) -> RealArray:
    """0 where a vector of the batch has nothing left to do."""
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)
