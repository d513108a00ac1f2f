"""How weighted sums of an array's transfer matrix change with its cells."""

from __future__ import annotations

import numpy as np

from xbar_spice.engines.nodal.dissection import dissected_gradient
from xbar_spice.engines.nodal.grid import gridded, place
from xbar_spice.engines.nodal.sensitivity import Sensitivity
from xbar_spice.engines.nodal.solver import LinearCircuit
from xbar_spice.engines.nodal.threads import suitable_threads
from xbar_spice.hardware.crossbar import Crossbar, Side
from xbar_spice.linear.operator import FloatArray

__all__ = ["transfer_gradients"]

DISSECTED_FROM = 32  # cells on a line; below, the solves for all lines are fewer calls


def transfer_gradients(crossbar: Crossbar, weights: FloatArray, side: Side = "rows") -> FloatArray:
    """The gradients of weighted sums of the currents for 1 V at each port, with respect to every cell.

    Args:
        crossbar: with linear cells.
        weights: (sums, ports of the sensed side, ports of the driven side), finite.
        side: the driven side.

    Returns:
        (sums, rows, cols) per siemens.

    Raises:
        InvalidInputError: cells that are not linear.
    """
    # For many sums, products of matrices share what the solves for all lines have found.
    if len(weights) == 1 and crossbar.linear and not crossbar.open_rows and gridded(crossbar, side):
        grid, placement = place(crossbar, side)
        wires = min(line.segment for line in grid.lines)
        if min(grid.shape) >= DISSECTED_FROM and wires > 0 and not LinearCircuit(grid).subtle:
            entries = weights[0].T if side == "rows" else weights[0]
            with suitable_threads(grid.shape[1]):
                cells = dissected_gradient(grid, placement.to_grid(entries))
            return crossbar.amplifier.returned_share * placement.to_array(cells)[np.newaxis]
    return Sensitivity(crossbar, np.eye(crossbar.ports(side)), side).conductance_gradients(weights)
