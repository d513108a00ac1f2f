"""An array seen from its terminals alone: the conductances between the ends of its lines.

A read needs a part of it, the currents of the sensed lines for the voltages of the driven ones. Where amplifiers are at
the ends, whose virtual grounds are not exactly at 0 V and whose lines load them, the rest counts, too.
"""

from __future__ import annotations

import numpy as np

from xbar_spice.engines.nodal.checks import ReductionCheck
from xbar_spice.engines.nodal.grid import place
from xbar_spice.engines.nodal.solver import LinearCircuit, batches, require_convergence
from xbar_spice.errors import InvalidInputError
from xbar_spice.hardware.crossbar import Crossbar, Side, other
from xbar_spice.linear.operator import FloatArray

__all__ = ["port_conductance"]

REDUCTION = 1e-12  # of the residual, against that of lines without resistance


def port_conductance(crossbar: Crossbar, side: Side = "rows") -> FloatArray:
    """The conductance matrix of an array between the terminals of a read.

    Args:
        crossbar: the array, with linear cells.
        side: the side that the read drives, which says where the terminals are and through which resistances.

    Returns:
        (lines, lines) siemens, symmetric: entry (i, j) is the current into the array at line i for 1 V at line j and
        0 V at all others. The driven lines come first. The two ends of a line that is driven at both count as one.

    Raises:
        InvalidInputError: cells whose current is not proportional to their voltage.
        ConvergenceError: a solve did not converge.

    Example:
        >>> port_conductance(Crossbar([[1e-4, 3e-4]], r_driver=2500.0)) * 1e4
        array([[ 2.   , -0.5  , -1.5  ],
               [-0.5  ,  0.875, -0.375],
               [-1.5  , -0.375,  1.875]])
    """
    if not crossbar.device.linear:
        raise InvalidInputError(f"cells of {crossbar.device!r} have no conductance matrix; use linear cells")
    grid, placement = place(crossbar, side)
    circuit = LinearCircuit(grid)
    driven = np.diag(crossbar.applied(np.ones(crossbar.ports(side)), side))
    sensed = np.diag(crossbar.applied(np.ones(crossbar.ports(other(side))), other(side)))
    columns = []
    for volts, to_grid, sign in ((driven, placement.drive_to_grid, 1.0), (sensed, placement.sense_to_grid, -1.0)):
        for some in batches(grid, volts.shape[1]):
            cells = _cell_currents(circuit, sign * grid.conductance * to_grid(volts[:, some]), some.start)
            drawn = placement.from_drive(cells.sum(axis=2 - placement.sense_axis))
            returned = placement.from_sense(cells.sum(axis=1 + placement.sense_axis))
            columns.append(np.vstack([drawn, -returned]))
    return np.hstack(columns)


def _cell_currents(circuit: LinearCircuit, source: FloatArray, first: int) -> FloatArray:
    """(batch, n0, n1) amperes; what the sources drive where no line loses anything."""
    if not any(line.terminal > 0 for line in circuit.grid.lines):
        return source
    outcome = circuit.solve(source, ReductionCheck(source, REDUCTION))
    require_convergence(outcome, first)
    return outcome.currents + outcome.residual
