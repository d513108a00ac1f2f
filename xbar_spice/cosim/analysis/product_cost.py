"""What one product with a matrix on arrays takes: its reads one after the other, their time and their energy."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

import numpy as np
from numpy.typing import ArrayLike

from xbar_spice.checks import Array, Real, checked
from xbar_spice.errors import InvalidInputError
from xbar_spice.hardware.crossbar import Side
from xbar_spice.hardware.pulse import LineCapacitance, Pulse
from xbar_spice.mapping.matrix import MappedMatrix
from xbar_spice.transient import read_pulse

__all__ = ["ProductCost", "product_cost"]


@final
@dataclass(frozen=True)
class ProductCost:
    """What one product takes.

    Attributes:
        reads: one after the other, see `MappedMatrix.activations`; all arrays of the matrix share them.
        conversions: of currents into numbers, over all arrays.
        settling: seconds from the beginning of a read until all of its currents have settled.
        seconds: of all reads, each with its discharge.
        joule: that the drivers deliver to all arrays.
    """

    reads: int
    conversions: int
    settling: float
    seconds: float
    joule: float


@checked(accuracy=Real(above=0, below=1))
def product_cost(
    mapped: MappedMatrix,
    x: ArrayLike,
    capacitance: LineCapacitance,
    side: Side = "rows",
    *,
    accuracy: float = 0.01,
    rise: float = 1e-12,
) -> ProductCost:
    """Time and energy of one product, all arrays read at once and the rows of an array some at a time.

    All pulses are as long as the slowest current of all reads takes to settle. Converters and digital sums are not
    counted.

    Args:
        mapped: the matrix on arrays of ohmic cells.
        x: (n,) the vector, or (m,) for side "cols".
        capacitance: of the lines, at the rows that are read; those of rows whose transistors are off are left out.
        side: the driven side.
        accuracy: what settled means, relative to the largest current of an array.
        rise: seconds in which drivers rise and fall.

    Raises:
        InvalidInputError: a vector of another shape.
        DeviceError: cells that are not ohmic.
    """
    vector = Array()("x", x)
    length = mapped.shape[1] if side == "rows" else mapped.shape[0]
    if vector.shape != (length,):
        raise InvalidInputError(f"side={side!r} takes x of shape ({length},), got {vector.shape}")
    drives = [volts[:, 0] for volts in mapped.drives(vector[:, np.newaxis], side)]
    arrays = [array.crossbar for array in mapped.arrays]
    on = Pulse(np.inf, rise)
    settling = max(
        read_pulse(crossbar, volts, on, capacitance, side).settling_time(accuracy, "largest")
        for crossbar, volts in zip(arrays, drives, strict=True)
    )
    pulse = replace(on, width=max(settling - rise, rise))
    energies = [
        read_pulse(crossbar, volts, pulse, capacitance, side).energy().total
        for crossbar, volts in zip(arrays, drives, strict=True)
    ]
    ports = sum(crossbar.shape[1 if side == "rows" else 0] for crossbar in arrays)
    return ProductCost(mapped.activations, ports, settling, mapped.activations * pulse.cycle, float(sum(energies)))
