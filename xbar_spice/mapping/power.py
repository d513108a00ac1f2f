"""What the drivers of a read deliver while it is on, and the energy that it takes."""

from __future__ import annotations

import numpy as np

from xbar_spice.hardware.crossbar import Side
from xbar_spice.linear.operator import FloatArray
from xbar_spice.mapping.matrix import MappedMatrix

__all__ = ["READ_SECONDS", "read_power"]

READ_SECONDS = 1e-8
"""How long a read takes of which the energy is given; of another one it is in proportion."""


def read_power(mapped: MappedMatrix, vectors: FloatArray, side: Side) -> float:
    """Watts of a read: the sum over all cells of their voltage times their current, the mean over the vectors.

    Each cell is taken to see the whole drive of its line. Wires and terminals keep some of that from it, so that arrays
    of ohmic cells take less, never more: a resistance that is added to a network between sources of voltage lowers its
    power. Lines that charge, amplifiers and converters are not counted; `xbar_spice.transient` knows the first.

    Args:
        mapped: the arrays.
        vectors: (n, batch) for side "rows", (m, batch) for "cols".
        side: the driven side.

    Returns:
        The mean over the batch; of bit-serial inputs the sum of all pulses, each of which is a read of the arrays.

    Example:
        >>> from xbar_spice.mapping.matrix import map_weights
        >>> from xbar_spice.mapping.design import Design
        >>> mapped = map_weights([[1.0]], Design(g_min=1e-6, g_max=1e-4, v_read=0.2))
        >>> read_power(mapped, np.array([[3.0]]), "rows")  # a pair of devices at 0.2 V
        4.04e-06
    """
    drives, _ = mapped.pulses(vectors, side)
    total = 0.0
    for array, lines in zip(mapped.arrays, drives, strict=True):
        crossbar = array.crossbar
        volts = crossbar.applied(lines, side)
        if crossbar.device.linear:
            siemens = crossbar.conductance.sum(axis=1 if side == "rows" else 0)
            total += float(siemens @ np.square(volts).sum(axis=1))
            continue
        across = volts.T[:, :, np.newaxis] if side == "rows" else -volts.T[:, np.newaxis, :]
        for one in across:  # (rows, 1) or (1, cols) of a vector: no array of all vectors at once
            total += float((one * crossbar.device.current(crossbar.conductance, one)).sum())
    return float(total / vectors.shape[1])
