"""The nodal engine: the exact solution of the array's network."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import final, get_args

import numpy as np

from xbar_spice.checks import checked
from xbar_spice.engines.base import Bank, Engine
from xbar_spice.engines.nodal.amplifiers import Array, end_conductances, read_saturating
from xbar_spice.engines.nodal.biased import BiasedArray
from xbar_spice.engines.nodal.grid import Placement, gridded, place
from xbar_spice.engines.nodal.gridless import GridlessReads
from xbar_spice.engines.nodal.laws import Laws
from xbar_spice.engines.nodal.newton import read_nonlinear
from xbar_spice.engines.nodal.solver import LinearCircuit, Method
from xbar_spice.engines.nodal.stacked import eliminate_together, read_stacked, stacks
from xbar_spice.errors import InvalidInputError
from xbar_spice.hardware.biases import End
from xbar_spice.hardware.crossbar import Crossbar, Edge, Side, other
from xbar_spice.hardware.reads import circuit_of, read_ends
from xbar_spice.linear.operator import FloatArray

__all__ = ["NodalBank", "NodalEngine"]

KEPT = 8  # factors of biases with other ends that a session keeps


@final
class NodalEngine(Engine):
    """Exact network solution in NumPy and SciPy.

    Args:
        method: how linear arrays are solved. "direct" finds the whole transfer matrix at the first read, "iterative"
            solves each vector, "auto" takes what costs less for the vectors read so far. The results are the same
            within the tolerance.
        tolerance: error allowed in each sense current, relative to it, as estimated from the residual.

    Raises:
        InvalidInputError: an unknown method, or a tolerance that is not between 1e-14 and 1.
    """

    name = "nodal"

    @checked()
    def __init__(self, method: Method = "auto", tolerance: float = 1e-10) -> None:
        if method not in get_args(Method):
            raise InvalidInputError(f"method must be one of {', '.join(map(repr, get_args(Method)))}, got {method!r}")
        if not 1e-14 <= tolerance < 1:
            raise InvalidInputError(f"tolerance must be between 1e-14 and 1, got {tolerance}")
        self.method: Method = method
        self.tolerance = float(tolerance)

    def program_bank(self, crossbars: Sequence[Crossbar]) -> Bank:
        return NodalBank(crossbars, self.method, self.tolerance)


@final
class NodalBank(Bank):
    """Arrays with what has been computed of their circuits; both sides of one circuit share it."""

    def __init__(self, crossbars: Sequence[Crossbar], method: Method, tolerance: float) -> None:
        super().__init__(crossbars)
        self._method: Method = method
        self._tolerance = tolerance
        self._circuits: list[dict[Hashable, LinearCircuit]] = [{} for _ in self.crossbars]
        self._placed: dict[tuple[int, Side], tuple[LinearCircuit, Placement]] = {}
        self._laws = Laws()
        self._grids: dict[tuple[int, Side], bool] = {}
        self._biased_arrays: dict[Hashable, BiasedArray] = {}
        self._gridless: dict[int, GridlessReads] = {}
        self._ends: dict[tuple[int, Side], FloatArray | None] = {}

    def _read(self, drives: Sequence[FloatArray], side: Side) -> list[FloatArray]:
        known: dict[int, FloatArray] = {}
        if drives and drives[0].shape[1]:
            self._eliminate(drives[0].shape[1], side)
            known = self._read_stacks(drives, side)
        return [self._read_one(index, volts, side, known.get(index)) for index, volts in enumerate(drives)]

    def _eliminate(self, vectors: int, side: Side) -> None:
        """Find the transfer matrices that will answer this read, if several arrays want theirs."""
        arrays = enumerate(self.crossbars)
        linear = [index for index, crossbar in arrays if crossbar.linear and self._has_grid(index, side)]
        circuits = [self._circuit(index, side)[0] for index in linear]
        wanting = [one for one in circuits if not one.knows_transfer and one.prefers_transfer(vectors)]
        if len(wanting) > 1:
            eliminate_together(wanting)

    def transfers(self, side: Side) -> list[FloatArray] | None:
        if not all(crossbar.linear for crossbar in self.crossbars):
            return None
        found = []
        for index, crossbar in enumerate(self.crossbars):
            if not self._has_grid(index, side):
                transfer = self._without_grid(index).transfer(side)
                if transfer is None:
                    return None
                found.append(transfer)
                continue
            if (index, side) not in self._placed:
                return None
            circuit, placement = self._placed[index, side]
            if not circuit.knows_transfer:
                return None
            transfer = crossbar.amplifier.returned_share * placement.to_array(circuit.transfer)
            if side == "cols":
                transfer[list(crossbar.open_rows)] = 0.0  # but for rounding, it is
            found.append(transfer)
        return found

    def _bias(self, ends: Mapping[Edge, End]) -> Mapping[Edge, FloatArray]:
        return self._biased(ends).currents(ends)

    def _biased(self, ends: Mapping[Edge, End]) -> BiasedArray:
        """The only array with such ends, prepared once whatever their voltages."""
        key = circuit_of(ends)
        if key not in self._biased_arrays:
            while len(self._biased_arrays) >= KEPT:
                self._biased_arrays.pop(next(iter(self._biased_arrays)))
            self._biased_arrays[key] = BiasedArray(self.crossbars[0], ends, self._tolerance, laws=self._laws)
        return self._biased_arrays[key]

    def _without_grid(self, index: int) -> GridlessReads:
        if index not in self._gridless:
            self._gridless[index] = GridlessReads(self.crossbars[index], self._method, self._tolerance, self._laws)
        return self._gridless[index]

    def _has_grid(self, index: int, side: Side) -> bool:
        if (index, side) not in self._grids:
            self._grids[index, side] = gridded(self.crossbars[index], side)
        return self._grids[index, side]

    def _read_stacks(self, drives: Sequence[FloatArray], side: Side) -> dict[int, FloatArray]:
        """The currents of arrays that are solved together, by their number."""
        nonlinear = [
            index
            for index, crossbar in enumerate(self.crossbars)
            if crossbar.amplifier.linear and not crossbar.device.linear and self._has_grid(index, side)
        ]
        placed = {index: (*self._circuit(index, side), self.crossbars[index].device) for index in nonlinear}
        known: dict[int, FloatArray] = {}
        for stack in stacks(placed):
            circuits = [placed[index][0] for index in stack]
            _, placement, device = placed[stack[0]]
            volts = [drives[index] for index in stack]
            known |= zip(
                stack, read_stacked(circuits, placement, device, volts, self._tolerance, self._laws), strict=True
            )
        return known

    def _read_one(self, index: int, volts: FloatArray, side: Side, known: FloatArray | None) -> FloatArray:
        crossbar = self.crossbars[index]
        if not volts.shape[1]:
            return np.zeros((crossbar.ports(other(side)), 0))
        if not self._has_grid(index, side):
            return self._without_grid(index).read(volts, side)
        circuit, placement = self._circuit(index, side)
        amplifier = crossbar.amplifier
        if not amplifier.linear:
            array = Array(circuit.grid, placement, crossbar.device, self._laws)
            ends = self._end_conductances(index, side, array) if crossbar.device.linear else None
            currents = read_saturating(array, amplifier, volts, self._tolerance, ends)
        elif known is not None:
            currents = amplifier.returned_share * known
        elif not crossbar.device.linear:
            currents = amplifier.returned_share * read_nonlinear(
                circuit.grid,
                placement,
                crossbar.device,
                volts,
                self._tolerance,
                spectral=circuit.spectral,
                laws=self._laws,
            )
        else:
            currents = amplifier.returned_share * circuit.read(placement, volts)
        if side == "cols":
            currents[list(crossbar.open_rows)] = 0.0  # but for rounding, it is
        return currents

    def _end_conductances(self, index: int, side: Side, array: Array) -> FloatArray | None:
        """Of an array with linear cells, found at its first read into amplifiers that saturate."""
        if (index, side) not in self._ends:
            self._ends[index, side] = end_conductances(array.grid, array.placement)
        return self._ends[index, side]

    def _circuit(self, index: int, side: Side) -> tuple[LinearCircuit, Placement]:
        """The circuit of a read and how the array lies in it, prepared at the first read of that side."""
        if (index, side) not in self._placed:
            crossbar = self.crossbars[index]
            ends = read_ends(crossbar, side)
            grid, placement = place(crossbar, side, ends)
            known, key = self._circuits[index], circuit_of(ends)
            if key not in known:
                known[key] = LinearCircuit(grid, self._method, self._tolerance)
            self._placed[index, side] = known[key], placement
        return self._placed[index, side]
