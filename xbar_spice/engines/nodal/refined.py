"""The last resort of every solve: a sparse factor of the signed slopes, and residuals of twice the usual precision.

Where a line meets its terminal through a large resistance, the sense current is a small rest of the currents of its
cells, and Kirchhoff's laws checked in floats no longer tell it. Here the currents of the cells are `Extended` numbers,
corrected until a correction changes no sense current any more. This makes no use of the signs of the slopes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import final

import numpy as np

from xbar_spice.engines.nodal.checks import CANCELLATION
from xbar_spice.engines.nodal.conjugate_gradients import Inside, Outcome
from xbar_spice.engines.nodal.extended import Extended, exact
from xbar_spice.engines.nodal.factor import FactorPreconditioner
from xbar_spice.engines.nodal.grid import Grid, IntArray
from xbar_spice.engines.nodal.line import Line
from xbar_spice.linear.operator import FloatArray

__all__ = ["Law", "Refined", "gather", "refine", "refine_linear"]

CORRECTIONS = 60
SAFETY = 0.1  # the part of the allowed error that the last correction may still make
STEADY = 1e-13  # of the largest voltage: a correction of the voltages below is noise
SETTLED = 1e-6  # of the largest voltage: slopes are those of the solution when a correction is smaller

Law = Callable[[Extended], tuple[Extended, FloatArray]]  # currents and slopes of all cells at their voltages


@final
@dataclass(frozen=True, eq=False)
class Refined:
    """One solved vector.

    Attributes:
        currents: (1, n0, n1) amperes.
        volts: (1, n0, n1) across the cells.
        nodes: (1, n0, n1) volts by which the lines along either axis lie below their drive.
        levels: (1, lines) volts of floating lines.
        converged: whether the sense currents stand still.
        corrections: how many were made.
    """

    currents: Extended
    volts: FloatArray
    nodes: tuple[Extended, Extended]
    levels: FloatArray
    converged: bool
    corrections: int


def refine_linear(grid: Grid, source: FloatArray, drive: FloatArray, tolerance: float) -> Outcome:
    """(1 + G Z) y = f + G D0 for a batch of vectors; the slopes G may be negative.

    Args:
        grid: the array.
        source: f, amperes, broadcasts to (batch, n0, n1).
        drive: D0, volts, likewise.
        tolerance: relative to the sum of the currents of each line.
    """
    solved: list[Refined] = []
    factor: FactorPreconditioner | None = None
    for index in range(max(len(source), len(drive))):
        slopes = grid.conductances()[[index if grid.conductance.ndim == 3 else 0]]
        one = replace(grid, conductance=slopes[0])
        if factor is None or grid.conductance.ndim == 3:
            factor = FactorPreconditioner(one)
        amperes = exact(source[[index if len(source) > 1 else 0]])

        def law(volts: Extended, f: Extended = amperes, g: FloatArray = slopes) -> tuple[Extended, FloatArray]:
            return f + exact(g) * volts, g

        volts = drive[[index if len(drive) > 1 else 0]]
        solved.append(refine(one, volts, law, np.zeros((1, *grid.shape)), tolerance, factor=factor))
    return gather(solved)


def gather(solved: list[Refined]) -> Outcome:
    """The vectors of a batch as one outcome, in which what was rounded away of the currents is their residual."""
    return Outcome(
        np.concatenate([one.currents.high for one in solved]),
        np.concatenate([one.currents.low for one in solved]),
        np.array([one.converged for one in solved]),
        sum(one.corrections for one in solved),
        np.concatenate([one.levels for one in solved]),
        Inside(
            np.concatenate([one.volts for one in solved]),
            np.concatenate([one.nodes[0].rounded() for one in solved]),
            np.concatenate([one.nodes[1].rounded() for one in solved]),
        ),
    )


def refine(
    grid: Grid,
    drive: FloatArray,
    law: Law,
    currents: FloatArray,
    tolerance: float,
    *,
    levels: FloatArray | None = None,
    factor: FactorPreconditioner | None = None,
) -> Refined:
    """Correct the currents of one vector until no sum over a line changes any more.

    Args:
        grid: the array; its conductances do not matter.
        drive: (1, n0, n1) volts between the ends of the lines.
        law: of the cells.
        currents: (1, n0, n1) amperes to start from, near the solution where the law is not linear.
        tolerance: relative to each of these sums.
        levels: (1, lines) volts of floating lines to start from.
        factor: of the slopes, for a linear law.
    """
    lines = grid.floating
    flowing = exact(currents)
    level = exact(np.zeros((1, lines.places.size if lines else 0)) if levels is None else levels)
    fixed = factor is not None
    largest = float(np.abs(drive).max())
    steady, before, stalled, made = False, np.inf, 0, 0
    nodes = _nodes(grid, flowing, level)
    while not steady and made < CORRECTIONS and stalled < 4:
        made += 1
        volts = exact(drive) - nodes[0] - nodes[1]
        largest = max(largest, float(np.abs(volts.high).max()))
        amperes, slopes = law(volts)
        residual = (amperes - flowing).rounded()
        if not np.isfinite(residual).all():
            break
        if factor is None:
            factor = FactorPreconditioner(replace(grid, conductance=slopes[0]))
        lost = np.asarray(factor.solve(residual), dtype=np.float64)
        change = np.asarray(residual - slopes * lost)
        if lines:
            level = level + exact(_rise(grid, change, lost))
            total = flowing + exact(change)
            change = change - _strays(grid, total, slopes)
        flowing = flowing + exact(change)
        nodes = _nodes(grid, flowing, level)
        size = float(np.abs(lost).max(initial=0.0))
        steady = size <= STEADY * largest or not change.any()
        for axis in (1, 2):
            moved = np.abs(change.sum(axis=axis, keepdims=True))
            gross = np.abs(flowing.high).sum(axis=axis, keepdims=True)
            allowed = np.maximum(tolerance * np.abs(flowing.total(axis).rounded()), CANCELLATION * gross)
            steady &= bool((moved <= SAFETY * allowed).all())
        stalled = stalled + 1 if size > 0.5 * before else 0
        before = size
        if not fixed and size > SETTLED * largest:
            factor = None
    volts = exact(drive) - nodes[0] - nodes[1]
    return Refined(flowing, volts.rounded(), nodes, level.rounded(), steady, made)


def _nodes(grid: Grid, currents: Extended, levels: Extended) -> tuple[Extended, Extended]:
    """What the nodes of the lines along either axis lose, less the levels of those that float."""
    nodes = []
    for axis, line in enumerate(grid.lines):
        free = grid.floating if grid.floating and grid.floating.axis == axis else None
        lost = exact(np.zeros(currents.high.shape))
        if line.terminal > 0:
            lost = lost + _drops(line, currents, axis + 1, None if free is None else free.places)
        if free:
            raised = Extended(np.zeros_like(lost.high), np.zeros_like(lost.high))
            free.raise_by(levels.high, raised.high)
            free.raise_by(levels.low, raised.low)
            lost = lost - raised
        nodes.append(lost)
    return nodes[0], nodes[1]


def _drops(line: Line, currents: Extended, axis: int, free: IntArray | None) -> Extended:
    """`Line.add_drops`; nothing leaves the far end of `free` lines."""
    if line.segment == 0:
        return currents.total(axis) * exact(line.terminal / (2 if line.double else 1))
    along = np.expand_dims([line.terminal] + [line.segment] * (line.cells - 1), (0, 3 - axis))
    drops = (currents.reversed(axis).running(axis).reversed(axis) * exact(along)).running(axis)
    if not line.double:
        return drops
    distance = exact(along).running(axis)
    ends = drops.last(axis)
    if free is not None:
        kept = np.ones(ends.high.shape)
        np.moveaxis(kept, 3 - axis, 1)[:, free] = 0.0
        ends = ends * exact(kept)
    return drops - ends * (distance / (distance.last(axis) + exact(line.terminal)))


def _rise(grid: Grid, change: FloatArray, lost: FloatArray) -> FloatArray:
    """(1, lines) volts by which floating lines rise: what their nodes gain beyond Z."""
    assert grid.floating is not None
    drops = grid.drops(change, np.empty_like(change), np.empty_like(change))
    return np.asarray(grid.floating.take(drops - lost).mean(axis=2))


def _strays(grid: Grid, total: Extended, slopes: FloatArray) -> FloatArray:
    """(1, n0, n1) amperes that floating lines would carry in sum, shared among their cells as these conduct."""
    assert grid.floating is not None
    lines = grid.floating
    sums = _line_sums(grid, total)
    weights = np.abs(lines.take(np.broadcast_to(slopes, total.high.shape)))
    whole = weights.sum(axis=2, keepdims=True)
    shares = np.divide(weights, whole, out=np.full_like(weights, 1.0 / weights.shape[2]), where=whole > 0)
    strays = np.zeros(total.high.shape)
    lines.add(strays, sums[:, :, np.newaxis] * shares)
    return strays


def _line_sums(grid: Grid, total: Extended) -> FloatArray:
    """(1, lines) amperes into the floating lines."""
    assert grid.floating is not None
    sums = total.total(1 + grid.floating.axis).rounded().reshape(1, -1)
    return np.asarray(sums[:, grid.floating.places])
