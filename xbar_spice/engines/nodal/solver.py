"""One circuit, prepared once and solved for many drives: which method answers, and what is kept for the next read.

The transfer matrix answers any number of reads but costs more than a vector by conjugate gradients: two or three times
as much where lines are long, more where wires have 0 ohm. The constants below are times measured by
experiments/bench_nodal.py; only their ratio matters.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Literal, final

import numpy as np

from xbar_spice.engines.nodal.checks import SenseCheck
from xbar_spice.engines.nodal.conjugate_gradients import Check, Outcome, Preconditioner, correct_once, solve_currents
from xbar_spice.engines.nodal.dissection import dissected_transfer
from xbar_spice.engines.nodal.elimination import STACKED_TO, transfer_matrix
from xbar_spice.engines.nodal.factor import FACTOR_CELLS, FactorPreconditioner
from xbar_spice.engines.nodal.grid import Grid, Placement
from xbar_spice.engines.nodal.refined import refine_linear
from xbar_spice.engines.nodal.spectral import FloatingPreconditioner, SpectralPreconditioner
from xbar_spice.engines.nodal.threads import suitable_threads
from xbar_spice.errors import ConvergenceError
from xbar_spice.linear.operator import FloatArray
from xbar_spice.linear.threads import one_thread

__all__ = ["LinearCircuit", "Method", "batches", "require_convergence"]

Method = Literal["auto", "direct", "iterative"]

SINGLE_PRECISION_FROM = 96  # cells on a line; below, calls of functions take more time than what they do
BATCH_BYTES = 400e6  # working memory of vectors that are solved together
WORKING_ARRAYS = 10
REFINED_FROM = 1e3  # load of a line that takes so many digits that rounding shows in the rest


@final
class LinearCircuit:
    """The network of one array under one hookup, with ohmic or linearised cells.

    Args:
        grid: lines and conductances.
        method: as `NodalEngine` takes it.
        tolerance: of sense currents.
        spectral: a preconditioner made for the same lines and conductances nearby, in place of one of its own.
    """

    def __init__(
        self,
        grid: Grid,
        method: Method = "auto",
        tolerance: float = 1e-10,
        *,
        spectral: Preconditioner | None = None,
    ) -> None:
        self.grid = grid
        self._method = method
        self._tolerance = tolerance
        self._solved = 0  # vectors that conjugate gradients have answered
        self._unfit = False  # the spectral preconditioner has failed here
        self._checks: dict[int, SenseCheck] = {}
        self._given = spectral

    @cached_property
    def transfer(self) -> FloatArray:
        """(n0, n1) siemens: current of each line along axis 0 for 1 V at each line along axis 1."""
        if self.grid.floating:
            return self._transfer_by_vectors()
        with suitable_threads(self.grid.shape[1]):
            return dissected_transfer(self.grid) if dissects(self.grid) else transfer_matrix(self.grid)

    def _transfer_by_vectors(self) -> FloatArray:
        """For arrays with floating lines, which elimination does not know."""
        n0, n1 = self.grid.shape
        transfer, check = np.empty((n0, n1)), self._sense_check(0)
        driven = self.grid.conductance.copy()
        if self.grid.floating and self.grid.floating.axis == 1:
            driven[self.grid.floating.places] = 0.0
        for lines in batches(self.grid, n0):
            source, drive = np.zeros((2, lines.stop - lines.start, n0, n1))
            for vector, line in enumerate(range(lines.start, lines.stop)):
                source[vector, line] = driven[line]
                drive[vector, line] = driven[line] > 0
            outcome = self.or_refined(self.solve(source, check), drive)
            require_convergence(outcome, lines.start)
            transfer[lines] = (outcome.currents + outcome.residual).sum(axis=1)
        return transfer

    def read(self, placement: Placement, volts: FloatArray) -> FloatArray:
        """(ports, batch) sense currents in amperes for (ports, batch) volts at the driven side."""
        if self.prefers_transfer(volts.shape[1]):
            return self._through_transfer(placement, volts)
        sensed = []
        check = self._sense_check(placement.sense_axis)
        for columns in batches(self.grid, volts.shape[1]):
            drive = placement.drive_to_grid(volts[:, columns])
            source = self.grid.conductance * drive
            by_transfer = self._method == "auto" and not self.grid.floating  # if conjugate gradients fail
            outcome = self._iterate(source, check) if by_transfer else self.solve(source, check)
            if not outcome.converged.all() and by_transfer:
                return self._through_transfer(placement, volts)
            outcome = self.or_refined(outcome, drive)
            require_convergence(outcome, columns.start)
            sensed.append((outcome.currents + outcome.residual).sum(axis=1 + placement.sense_axis))
        self._solved += volts.shape[1]
        return placement.from_sense(np.concatenate(sensed))

    def solve(self, source: FloatArray, check: Check, *, rough: bool = False) -> Outcome:
        """(1 + G Z) y = f by conjugate gradients, with the sparse factor where the spectral preconditioner fails.

        Args:
            source: (batch, n0, n1) f, amperes.
            check: when to stop.
            rough: whether what conjugate gradients know of the residual is enough.
        """
        if self._falls:
            return self.refined(np.zeros((1, *self.grid.shape)), source)
        outcome = None if self._unfit else self._iterate(source, check, rough=rough and not self.grid.floating)
        if outcome is not None and (outcome.converged.all() or self.grid.conductance.size > FACTOR_CELLS):
            return outcome
        start = outcome.currents if outcome and np.isfinite(outcome.currents).all() else None
        with np.errstate(over="ignore", invalid="ignore"):
            return solve_currents(self.grid, source, self._factor, check, start)

    @cached_property
    def load(self) -> float:
        """How much more the cells of a line conduct than its terminal does, at most."""
        cells, spans = self.grid.conductance, [line.span for line in self.grid.lines]
        largest = float(cells.max())
        sums = [float(cells.sum(axis=axis - 2).max()) for axis in (0, 1)]
        return max(sums[0] * spans[0] + largest * spans[1], sums[1] * spans[1] + largest * spans[0])

    @property
    def subtle(self) -> bool:
        """Whether only `refined` tells everything inside: lines under a large load, or slopes below zero."""
        return (not self.load <= REFINED_FROM or self._falls) and self.grid.conductance.size <= FACTOR_CELLS

    @cached_property
    def _falls(self) -> bool:
        """Whether a slope is below zero, of which conjugate gradients know nothing."""
        return bool(self.grid.conductance.min() < 0)

    def refined(self, drive: FloatArray, source: FloatArray | None = None) -> Outcome:
        """(1 + G Z) y = G D0 + f to the tolerance of each line's current; both broadcast to (batch, n0, n1)."""
        source = np.zeros((1, *self.grid.shape)) if source is None else source
        return refine_linear(self.grid, source, drive, self._tolerance)

    def or_refined(self, outcome: Outcome, drive: FloatArray) -> Outcome:
        """The same read refined, where conjugate gradients have failed."""
        if outcome.converged.all() or self.grid.conductance.size > FACTOR_CELLS:
            return outcome
        return self.refined(drive)

    def _iterate(self, source: FloatArray, check: Check, *, rough: bool = False) -> Outcome:
        # Slopes of nonlinear cells may lie so far apart that the preconditioner leaves the range of floats.
        with one_thread(), np.errstate(over="ignore", invalid="ignore"):
            outcome = (correct_once if rough else solve_currents)(self.grid, source, self.spectral, check)
        self._unfit = not outcome.converged.all()
        return outcome

    def _sense_check(self, sense_axis: int) -> SenseCheck:
        if sense_axis not in self._checks:
            self._checks[sense_axis] = SenseCheck(self.grid, sense_axis, self._tolerance)
        return self._checks[sense_axis]

    @cached_property
    def spectral(self) -> Preconditioner:
        """The preconditioner of the averaged array."""
        if self._given is not None:
            return self._given
        if self.grid.floating:
            whole = SpectralPreconditioner(self.grid, np.float64, whole=True)
            return FloatingPreconditioner(self.grid.floating, self.grid.shape, whole)
        single = min(self.grid.shape) >= SINGLE_PRECISION_FROM
        return SpectralPreconditioner(self.grid, np.float32 if single else np.float64)

    @cached_property
    def _factor(self) -> FactorPreconditioner:
        return FactorPreconditioner(self.grid)

    def _through_transfer(self, placement: Placement, volts: FloatArray) -> FloatArray:
        transfer = self.transfer if placement.sense_axis == 0 else self.transfer.T
        return placement.from_sense(placement.drive_to_grid(volts).reshape(volts.shape[1], -1) @ transfer)

    @property
    def knows_transfer(self) -> bool:
        """Whether the transfer matrix has been found."""
        return "transfer" in self.__dict__

    def prefers_transfer(self, vectors: int) -> bool:
        """Whether the transfer matrix would answer a read of so many vectors."""
        if self._method != "auto":
            return self._method == "direct"
        if self.knows_transfer:
            return True
        # With all vectors so far counted, at most twice the time is spent that the better choice would have taken.
        return transfer_seconds(self.grid) <= (self._solved + vectors) * vector_seconds(self.grid)


def batches(grid: Grid, vectors: int, arrays: int = WORKING_ARRAYS) -> Iterator[slice]:
    """Slices of a batch that are solved together, when a solution needs so many arrays of cells at once."""
    together = max(1, int(BATCH_BYTES / (8 * arrays * grid.shape[0] * grid.shape[1])))
    for first in range(0, vectors, together):
        yield slice(first, min(first + together, vectors))


def require_convergence(outcome: Outcome, first: int = 0) -> None:
    """Raise for the vectors of a batch that are not solved; `first` is the number of its first vector."""
    if not outcome.converged.all():
        columns = (first + np.flatnonzero(~outcome.converged)).tolist()
        raise ConvergenceError(
            f"conjugate gradients stalled for columns {columns} of the drive after {outcome.iterations} iterations, "
            "and so did their refinement; try NodalEngine(method='direct'), smaller ratios between the resistances of "
            "terminals and wires, or a larger tolerance"
        )


def dissects(grid: Grid) -> bool:
    """Whether the transfer matrix is found by dissection, which long lines are worth, and which knows no 0 ohm."""
    return grid.shape[1] > STACKED_TO and min(line.segment for line in grid.lines) > 0


def transfer_seconds(grid: Grid) -> float:
    """About what the transfer matrix takes."""
    n0, n1 = grid.shape
    if grid.floating:
        return n0 * vector_seconds(grid)
    if dissects(grid):
        return 3e-3 + n0 * n1 * (1e-6 + 1.3e-9 * n1)
    return n0 * (60e-6 + 2.4 * n1**3 / 26e9)


def vector_seconds(grid: Grid) -> float:
    """About what one vector takes by conjugate gradients."""
    n0, n1 = grid.shape
    return 20 * (60e-6 + 2.2e-8 * n0 * n1)
