"""The promise of a read kept for everything inside an array: the tolerance holds for each sense current.

A state is first found to a tolerance of the largest current, which serves voltages and derivatives. The small currents
beside it are mostly right then, too; where an estimate cannot exclude that one is not, the state is found again.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from xbar_spice.engines.nodal.checks import SenseCheck
from xbar_spice.engines.nodal.conjugate_gradients import Outcome
from xbar_spice.engines.nodal.grid import Grid

__all__ = ["balanced", "for_each_current"]

CAUTION = 2.0  # times the allowed error by which estimates have never been too small by a factor


def for_each_current(
    outcome: Outcome, grid: Grid, sense_axis: int, tolerance: float, again: Callable[[], Outcome]
) -> Outcome:
    """The outcome itself if each of its sense currents is right, else a better one.

    Args:
        outcome: found to a tolerance of the largest sense current.
        grid: the array with the small-signal conductances there.
        sense_axis: over which a sensed line adds up its cells.
        tolerance: relative to each sense current.
        again: finds the state to a tolerance of each sense current.
    """
    if outcome.inside is not None:
        return outcome
    check = SenseCheck(grid, sense_axis, tolerance)
    likely = check.error(outcome.residual) <= CAUTION * check.allowance(outcome.currents, outcome.residual)
    if likely.all() and check.told(outcome.currents, outcome.residual).all():
        return outcome
    better = again()
    sums = [(one.currents + one.residual).sum(axis=1 + sense_axis) for one in (outcome, better)]
    right = np.abs(sums[0] - sums[1]) <= tolerance * np.abs(sums[1])
    return outcome if better.converged.all() and right.all() else better


def balanced(outcome: Outcome, grid: Grid, tolerance: float) -> bool:
    """Whether the currents of the cells on each floating line add up to zero, so that its level is right."""
    lines = grid.floating
    if lines is None or outcome.inside is not None:
        return True
    cells = lines.take(outcome.currents + outcome.residual)
    return bool((np.abs(cells.sum(axis=2)) <= tolerance * np.abs(cells).sum(axis=2)).all())
