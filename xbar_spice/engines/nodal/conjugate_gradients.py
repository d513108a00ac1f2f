"""Conjugate gradients for the currents of the cells, (1 + G Z) y = f, checked by the residual of the circuit itself.

Written for the voltages e = Z y that the lines lose, the equation is (1/Z + G) e = f: symmetric, positive definite,
and never formed, for a preconditioner that says what (1/Z + g) z is for its answer z tells what the matrix makes of it:
(1/Z + G) z = (1/Z + g) z + (G - g) z. An iteration is therefore one call of the preconditioner and a few products by
cells.

The iteration may run in single precision: it only ever corrects y, whose residual is computed in double precision
from the wires and cells themselves (iterative refinement).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, final

import numpy as np

from xbar_spice.engines.nodal.grid import BoolArray, Grid, IntArray, RealArray
from xbar_spice.engines.nodal.memory import keep_dropped_arrays
from xbar_spice.linear.operator import FloatArray

__all__ = ["ROUNDING", "Check", "Outcome", "Preconditioner", "correct_once", "solve_currents"]

ITERATIONS = 80  # of one correction; the preconditioner of an array that needs more does not fit it
CORRECTIONS = 8
ROUNDING = 1e-13  # of the source: a residual below is noise
NOTHING = 1e-30  # of the source: a residual below is none, even beside a sense current that should be exactly 0
_UNSCALABLE = 1e-280  # amperes: a residual that rounding has all but removed, whose inverse would overflow
GAIN = {np.dtype(np.float32): 3e-5, np.dtype(np.float64): 1e-12}  # what one correction can take off the residual

keep_dropped_arrays()


class Preconditioner(Protocol):
    """Solves (1/Z + g) e = r, about, for a conductance g near G.

    Attributes:
        conductance: g in siemens, broadcasts to (n0, n1); its precision is that of the iteration.
    """

    conductance: RealArray

    def __call__(self, residual: RealArray) -> tuple[RealArray, RealArray]:
        """Voltages e for a residual r in amperes, all (batch, n0, n1), and (1/Z + g) e, which is about r.

        The second may be the residual itself, and is not to be changed.
        """


@final
@dataclass(frozen=True, eq=False)
class Inside:
    """Voltages that are known better than by what the wires do with rounded currents.

    Attributes:
        volts: (batch, n0, n1) across the cells.
        first: (batch, n0, n1) volts by which the nodes of the lines along axis 0 lie below their drive.
        second: the same of the lines along axis 1.
    """

    volts: FloatArray
    first: FloatArray
    second: FloatArray


@final
@dataclass(frozen=True, eq=False)
class Outcome:
    """The currents of the cells and how well they are known.

    Attributes:
        currents: (batch, n0, n1) y, amperes; exactly what the wires carry.
        residual: (batch, n0, n1) f - G Z y - y, amperes: what the cells would like to carry on top.
        converged: (batch,) whether the check is met.
        levels: (batch, lines) volts by which floating lines lie above where the source assumes them.
        iterations: number of preconditioner calls.
        inside: the voltages, where they do not follow from the currents to all digits.
        lost: (batch, n0, n1) Z y, volts that the lines lose, where the solver has found them.
    """

    currents: FloatArray
    residual: FloatArray
    converged: BoolArray
    iterations: int
    levels: FloatArray
    inside: Inside | None = None
    lost: FloatArray | None = None

    def volts(self, grid: Grid, drive: FloatArray) -> FloatArray:
        """(batch, n0, n1) volts across the cells of the array that was solved, for the drive that it was solved for."""
        if self.inside:
            return self.inside.volts
        if self.lost is None:
            return grid.volts(drive, self.currents + self.residual, self.levels)
        return grid.behind(drive, self.lost, self.levels)

    def with_vectors(self, places: IntArray, better: Outcome) -> Outcome:
        """The same with some vectors of the batch replaced."""
        if len(places) == len(self.converged):
            return better
        names = ("currents", "residual", "converged", "levels")
        merged = {name: getattr(self, name).copy() for name in names}
        for name, values in merged.items():
            values[places] = getattr(better, name)
        return Outcome(**merged, iterations=self.iterations + better.iterations)


class Check(Protocol):
    """When a residual is small enough. Errors and allowances have the shape (batch, places), in amperes."""

    def error(self, residual: RealArray) -> RealArray:
        """What a residual may do to the result."""

    def allowance(self, currents: FloatArray, residual: FloatArray) -> FloatArray:
        """What is tolerated at these currents."""

    def met_by_noise(self, currents: FloatArray, residual: FloatArray, rounding: BoolArray) -> BoolArray:
        """(batch,) whether the result is as good as cancellation in it and rounding errors in the residual allow.

        `rounding`, (batch,), says of which residuals rounding errors are all that is left.
        """

    def told(self, currents: FloatArray, residual: FloatArray) -> BoolArray:
        """(batch,) whether rounding errors leave enough of the residual to tell the error."""


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
    lost, residual = np.zeros_like(source), source.copy()
    currents = np.zeros_like(source) if start is None else start.copy()
    if start is not None:
        grid.residual(source, currents, residual, lost)
    levels = np.zeros((source.shape[0], 0))
    descent = _Descent(grid, precondition, source.shape[0])
    done: BoolArray = np.zeros(source.shape[0], dtype=bool)
    left = whole = np.abs(source).sum(axis=(1, 2))
    for _ in range(CORRECTIONS):
        before = np.abs(residual).sum()
        descent.correct(currents, residual, check)
        levels = grid.residual(source, currents, residual, lost)
        left = np.abs(residual).sum(axis=(1, 2))
        done = np.asarray((check.error(residual) <= check.allowance(currents, residual)).all(axis=1))
        done |= left <= NOTHING * whole
        if done.all() or not np.abs(residual).sum() < 0.1 * before:
            break
    if not done.all():
        done |= check.met_by_noise(currents, residual, left <= ROUNDING * whole)
    done &= check.told(currents, residual)
    return Outcome(currents, residual, done, descent.iterations, levels, lost=lost)


def correct_once(grid: Grid, source: FloatArray, precondition: Preconditioner, check: Check) -> Outcome:
    """`solve_currents` without a look at the circuit itself, for who asks for few digits and looks at it anyway.

    Args:
        grid: an array in which no line floats.
        source: as `solve_currents` takes it.
        precondition: likewise.
        check: likewise.

    Returns:
        The currents, and their residual as conjugate gradients know it.
    """
    descent, currents = _Descent(grid, precondition, len(source)), np.zeros_like(source)
    residual, met = descent.correct(currents, source, check)
    return Outcome(currents, residual(), met(), descent.iterations, np.zeros((len(source), 0)))


@final
class _Descent:
    """The conjugate directions of one solve, kept from one correction of the currents to the next."""

    def __init__(self, grid: Grid, precondition: Preconditioner, batch: int) -> None:
        dtype = precondition.conductance.dtype
        self._conductance = grid.conductance
        self._precondition = precondition
        cells = grid.shape[0] * grid.shape[1]
        self._excess = (grid.conductance.astype(dtype) - precondition.conductance).reshape(-1, cells)
        self._direction = np.zeros((batch, cells), dtype=dtype)
        self._image = np.zeros_like(self._direction)
        self._curvature = np.zeros((batch, 1), dtype=dtype)
        self._scale = np.ones((batch, 1, 1))
        self._noise = 4 * np.finfo(dtype).eps  # looked up once, which takes as long as a small product
        self.iterations = 0

    def correct(
        self, currents: FloatArray, residual: FloatArray, check: Check
    ) -> tuple[Callable[[], FloatArray], Callable[[], BoolArray]]:
        """Add to `currents` in place what reduces their residual as far as the precision goes.

        Returns:
            What tells the residual as conjugate gradients know it, and (batch,) whether they came as far.
        """
        self._rescale(np.abs(residual).max(axis=(1, 2), keepdims=True))
        change = residual / self._scale
        left = change.astype(self._direction.dtype)
        allowed = check.allowance(currents, residual) / self._scale[:, :, 0]
        goal = np.maximum(allowed, GAIN[left.dtype] * check.error(left))
        volts = self._iterate(left, lambda rest: bool((check.error(rest) <= goal).all()))
        # (1/Z + G) e = r - rest, so the currents of the correction, Z^-1 e, are r - rest - G e.
        change -= left
        change -= self._conductance * volts
        change *= self._scale
        currents += change
        scale = self._scale
        return lambda: left * scale, lambda: np.asarray((check.error(left) <= goal).all(axis=1))

    def _rescale(self, scale: FloatArray) -> None:
        """Measure residuals in units of `scale`, which keeps single precision away from its limits."""
        scale = np.where(scale > _UNSCALABLE, scale, self._scale)
        ratio = self._scale / scale
        # A residual that fell so far at once is noise, and earlier directions mean nothing to it.
        kept = np.where(ratio < 1e8, ratio, 0.0)[:, :, 0].astype(self._direction.dtype)
        self._direction *= kept
        self._image *= kept
        self._curvature *= kept**2
        self._scale = scale

    def _iterate(self, residual: RealArray, done: Callable[[RealArray], bool]) -> RealArray:
        """Conjugate gradients from zero; `residual` becomes what is left. Returns the voltages."""
        volts, direction, image = np.zeros_like(residual), self._direction, self._image
        total, left = _flat(volts), _flat(residual)
        for _ in range(ITERATIONS):
            self.iterations += 1
            correction, solved = map(_flat, self._precondition(residual))
            # Steps and turns by their definition: the shorter formulas trust that no residual was ever replaced.
            turn = -_ratio(_dot(correction, image), self._curvature)
            direction *= turn
            direction += correction
            image *= turn
            image += solved
            correction *= self._excess
            image += correction
            self._curvature, step = self._line(left)
            total += np.multiply(direction, step, out=correction)
            left -= np.multiply(image, step, out=correction)
            if done(residual):
                break
        return volts

    def _line(self, residual: RealArray) -> tuple[RealArray, RealArray]:
        """Curvature along the direction, and the step to the minimum, both (batch, 1).

        A residual that stiff wires cannot pass on, such as one that adds up to zero on a line of one node, costs no
        voltage: direction and curvature are rounding errors. A step of 1 takes it away, since the preconditioner is
        exact about wires.
        """
        direction, image = self._direction, self._image
        curvature, falls = _dot(direction, image), _dot(residual, direction)
        noise = self._noise * np.sqrt(_dot(direction, direction) * _dot(image, image))
        if (curvature > noise).all():
            return curvature, falls / curvature
        curvature = np.where(curvature > noise, curvature, 0.0)
        return curvature, np.where(curvature > 0, _ratio(falls, curvature), 1.0)


def _flat(cells: RealArray) -> RealArray:
    """(batch, cells), without copies of what the iteration itself has made."""
    return cells.reshape(len(cells), -1)


def _dot(first: RealArray, second: RealArray) -> RealArray:
    """(batch, 1) inner products of (batch, cells)."""
    return np.asarray(np.vecdot(first, second)[:, np.newaxis])


def _ratio(numerator: RealArray, denominator: RealArray) -> RealArray:
    """0 where a vector of the batch has nothing left to do."""
    return np.divide(numerator, denominator, out=np.zeros(numerator.shape, numerator.dtype), where=denominator > 0)
