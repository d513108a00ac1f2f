"""Small arrays worked on together, since on each of them alone calls would take the time: the tiles of a matrix.

Those of nonlinear cells are read as one batch in which every vector has the conductances of its array; those of linear
cells are eliminated side by side.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from xbar_spice.engines.nodal.elimination import STACKED_TO, transfer_matrices
from xbar_spice.engines.nodal.grid import Placement
from xbar_spice.engines.nodal.laws import Laws
from xbar_spice.engines.nodal.line import Line
from xbar_spice.engines.nodal.newton import WORKING_ARRAYS, operating_point, require_operating_point
from xbar_spice.engines.nodal.solver import LinearCircuit, batches
from xbar_spice.engines.nodal.spectral import SpectralPreconditioner
from xbar_spice.hardware.device import Device
from xbar_spice.linear.operator import FloatArray

__all__ = ["eliminate_together", "read_stacked", "stacks"]

TOGETHER = 2**16  # cells of arrays that are eliminated together; their blocks still fit a cache


def eliminate_together(circuits: Iterable[LinearCircuit]) -> None:
    """Let circuits know their transfer matrices, those of the same lines found at once, and of equal cells only once.

    Args:
        circuits: any; long or floating ones, and those that know theirs, are left alone.
    """
    found: dict[tuple[Line, Line], dict[bytes, list[LinearCircuit]]] = {}
    for circuit in circuits:
        grid = circuit.grid
        if not circuit.knows_transfer and grid.floating is None and grid.shape[1] <= STACKED_TO:
            found.setdefault(grid.lines, {}).setdefault(grid.conductance.tobytes(), []).append(circuit)
    for lines, by_cells in found.items():
        equal = list(by_cells.values())  # a convolution has the same tile many times
        count = max(1, TOGETHER // equal[0][0].grid.conductance.size)
        for first in range(0, len(equal), count):
            some = equal[first : first + count]
            transfers = transfer_matrices(np.stack([one[0].grid.conductance for one in some]), lines)
            for alike, transfer in zip(some, transfers, strict=True):
                for circuit in alike:
                    circuit.transfer = transfer


def stacks(placed: Mapping[int, tuple[LinearCircuit, Placement, Device]]) -> list[list[int]]:
    """The numbers of arrays that can be read together: small ones with the same lines and cells, none that floats."""
    found: dict[object, list[int]] = {}  # a device that a user brings need not be hashable, but it is one object
    for number, (circuit, placement, device) in placed.items():
        if circuit.grid.floating is None and circuit.grid.shape[0] <= STACKED_TO:
            found.setdefault((circuit.grid.lines, placement, id(device)), []).append(number)
    return [stack for stack in found.values() if len(stack) > 1]


def read_stacked(
    circuits: Sequence[LinearCircuit],
    placement: Placement,
    device: Device,
    drives: Sequence[FloatArray],
    tolerance: float,
    laws: Laws,
) -> list[FloatArray]:
    """(ports, batch) sense currents of each array for its (ports, batch) volts, one batch for all.

    Args:
        circuits: the arrays, with the same lines and their programmed conductances.
        placement: how each of them lies there.
        device: law of their cells.
        drives: of each array.
        tolerance: relative to each sense current.
        laws: what this session knows of its devices.

    Raises:
        ConvergenceError: for the columns of a drive that did not converge.
    """
    count, vectors = len(circuits), drives[0].shape[1]
    spectral = [circuit.spectral for circuit in circuits]
    sensed: list[list[FloatArray]] = [[] for _ in circuits]
    for columns in batches(circuits[0].grid, vectors, WORKING_ARRAYS * count):
        together = columns.stop - columns.start
        conductances = np.repeat(np.stack([circuit.grid.conductance for circuit in circuits]), together, axis=0)
        grid = replace(circuits[0].grid, conductance=conductances)
        between_ends = np.concatenate([placement.drive_to_grid(volts[:, columns]) for volts in drives])
        preconditioner = SpectralPreconditioner.stacked(
            [one for one in spectral if isinstance(one, SpectralPreconditioner)], together
        )
        outcome = operating_point(
            grid, placement, device, placement.sign * between_ends, tolerance, spectral=preconditioner, laws=laws
        )
        for converged, volts in zip(outcome.converged.reshape(count, together), drives, strict=True):
            require_operating_point(converged, device, volts, columns.start)
        total = placement.sign * (outcome.currents + outcome.residual).sum(axis=1 + placement.sense_axis)
        for part, amperes in zip(sensed, total.reshape(count, together, -1), strict=True):
            part.append(amperes)
    return [placement.from_sense(np.concatenate(part)) for part in sensed]
