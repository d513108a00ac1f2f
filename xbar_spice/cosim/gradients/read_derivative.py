"""The exact derivative of the reads of a programmed matrix.

A read of W with the input x drives s x volts, s = v_read / max|x|, and returns y(x) = F(s x) / s, where F adds up the
signed sense currents of all arrays over the siemens of a unit weight. Hence

    dy/dx = F' + (F' x - y) (d ln s/dx),    d ln s/dx = -e_j / x_j at the largest entry j,

where F' is the transfer matrix of the small-signal arrays at the operating point. For linear cells F' x = y, and the
derivative is the effective matrix. All of it comes from the nodal engine, whichever engine answers the reads.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import fields, replace
from typing import cast, final

import numpy as np

from xbar_spice.engines.nodal.engine import NodalEngine
from xbar_spice.engines.nodal.sensitivity import Sensitivity
from xbar_spice.engines.nodal.solution import solve_array
from xbar_spice.engines.nodal.transfer_gradient import transfer_gradients
from xbar_spice.errors import InvalidInputError
from xbar_spice.hardware.cells import Ohmic
from xbar_spice.hardware.crossbar import Crossbar, Side, other
from xbar_spice.linear.operator import FloatArray
from xbar_spice.mapping.matrix import MappedArray, MappedMatrix
from xbar_spice.mapping.merged import summed_tiles
from xbar_spice.mapping.tiled import TiledDevices, by_tile

__all__ = ["ReadDerivative"]


@final
class ReadDerivative:
    """The derivative of the reads of a programmed matrix with respect to input and devices.

    Args:
        mapped: the arrays of the matrix, (m, n).
        side: the driven side: "rows" of forward reads, whose inputs are (n, batch) and products (m, batch); "cols" of
            transposed reads, whose inputs are (m, batch) and products (n, batch).

    Raises:
        InvalidInputError: cells or amplifiers whose derivative is not known: subcircuits, outputs that saturate.
    """

    def __init__(self, mapped: MappedMatrix, side: Side = "rows") -> None:
        design = mapped.design
        if not (design.device.known and design.amplifier.linear):
            raise InvalidInputError(
                "the derivative of a read is known for cells with a law and for linear amplifiers, got "
                f"{design.device!r} and {design.amplifier!r}"
            )
        self._mapped, self._side, self._sensed = mapped, side, other(side)
        self._arrays = (*mapped.arrays, *mapped.left_out)
        self._known: dict[bytes, FloatArray] = {}  # by operating point; a linear solve asks for each many times

    @property
    def linear(self) -> bool:
        """Whether the derivative with respect to the input is the same everywhere."""
        return self._mapped.design.device.linear

    def jacobian(self, x: FloatArray) -> FloatArray:
        """(products, inputs) dy/dx at the input x, (inputs,)."""
        key = b"" if self.linear else x.tobytes()
        if key not in self._known:
            self._known[key] = _transfer(self._mapped, self._side) if self.linear else self._linearised(x)
        return self._known[key]

    def pull(self, x: FloatArray, cotangent: FloatArray) -> FloatArray:
        """(inputs, batch) transposed product with dy/dx; x is (inputs, batch), the cotangent (products, batch)."""
        if self.linear:
            return self.jacobian(x).T @ cotangent
        pairs = zip(x.T, cotangent.T, strict=True)
        return np.stack([self.jacobian(point).T @ w for point, w in pairs], axis=1)

    def outer(self, cotangent: FloatArray, x: FloatArray) -> FloatArray:
        """What the gradients of reads add up to, from x, (inputs, batch), and the cotangent, (products, batch).

        Of linear cells the gradient with respect to the effective matrix, of a matrix that is kept by tile what of it
        lies on the tiles, one after the other; of other cells `device_gradient`.
        """
        if not self.linear:
            return self.device_gradient(x, cotangent)
        target = by_tile(self._mapped.target)
        if target is None:
            return cotangent @ x.T
        tiles = self._tiles(target)
        return np.concatenate([(cotangent[outputs] @ x[inputs].T).ravel() for inputs, outputs in tiles])

    def _tiles(self, devices: TiledDevices) -> list[tuple[slice, slice]]:
        """Driven and sensed lines of every tile."""
        found = [
            (slice(top, top + block.shape[-2]), slice(left, left + block.shape[-1]))
            for (top, left), block in devices.blocks.items()
        ]
        return found if self._side == "rows" else [(outputs, inputs) for inputs, outputs in found]

    def device_gradient(self, x: FloatArray, cotangent: FloatArray) -> FloatArray:
        """The gradient of sum(cotangent * y(x)) with respect to all devices.

        Args:
            x: (inputs, batch).
            cotangent: (products, batch).

        Returns:
            (devices, n, m) per siemens: the devices of the weight from input j to output i at [:, j, i]; in tiles that
            `skip_empty` left out, of the tile as it would be built.
        """
        mapped = self._mapped
        if mapped.design.converters.serial and not self.linear:
            raise InvalidInputError(
                f"bit-serial reads of {mapped.design.device!r} cells have no derivative; try input='dac', or Ohmic()"
            )
        total = np.zeros_like(mapped.target)
        weights = cotangent / mapped.siemens_per_weight / mapped.volts_per_unit(x)
        for array, volts in zip(self._arrays, mapped.drives(x, self._side, self._arrays), strict=True):
            wanted = array.factor * array.lines(self._sensed).spread(weights)
            used = volts.any(axis=0) & wanted.any(axis=0)
            if used.any():
                change = Sensitivity(array.crossbar, volts[:, used], self._side).vjp(wanted[:, used])
                total[array.devices] += change.conductance
        return total

    def devices_of(self, gradient: FloatArray) -> FloatArray:
        """The gradient of <gradient, W> with respect to all devices, W being the effective matrix of linear cells.

        Args:
            gradient: (..., m, n); of transposed reads (..., n, m).

        Returns:
            (..., devices, n, m) per siemens, as `device_gradient`.
        """
        mapped = self._mapped
        if (tiles := by_tile(mapped.target)) is not None:
            return cast(FloatArray, self._devices_of_tiles(gradient, tiles))
        outputs, inputs = mapped.shape if self._side == "rows" else mapped.shape[::-1]
        wanted = gradient.reshape(-1, outputs, inputs) / mapped.siemens_per_weight
        total = np.zeros((len(wanted), *mapped.target.shape))
        for copies in alike(self._arrays):
            weights = []
            for array in copies:
                driven, sensed = array.lines(self._side), array.lines(self._sensed)
                by_line = sensed.spread(wanted.swapaxes(0, 1).reshape(outputs, -1))
                by_cell = driven.spread(by_line.reshape(-1, inputs).T).reshape(driven.index.size, -1, len(wanted))
                weights.append(array.factor * by_cell.transpose(2, 1, 0))
            for array, found in zip(copies, self._of_copies(copies, weights), strict=True):
                total[(slice(None), *array.devices)] += found
        return total.reshape(*gradient.shape[:-2], *mapped.target.shape)

    def _devices_of_tiles(self, gradient: FloatArray, target: TiledDevices) -> TiledDevices:
        """The same of what lies on the tiles, (..., entries), in the order of `outer`."""
        lead, mapped = gradient.shape[:-1], self._mapped
        flat = gradient.reshape(-1, gradient.shape[-1]) / mapped.siemens_per_weight
        blocks = {place: np.zeros((len(flat), *block.shape)) for place, block in target.blocks.items()}
        lines, start = self._tiles(target), 0
        wanted: dict[tuple[int, int], FloatArray] = {}
        for place, (inputs, outputs) in zip(target.blocks, lines, strict=True):
            shape = len(flat), outputs.stop - outputs.start, inputs.stop - inputs.start
            wanted[place] = flat[:, start : start + shape[1] * shape[2]].reshape(shape)
            start += shape[1] * shape[2]
        # The tiles of a convolution are copies of a few: each of those is solved once, for all of its copies.
        for copies in alike(mapped.arrays):
            weights = []
            for array in copies:
                driven, sensed = array.lines(self._side).local, array.lines(self._sensed).local
                of_tile = wanted[target.place_of(array.inputs, array.outputs)]
                by_line = sensed.spread(of_tile.swapaxes(0, 1).reshape(of_tile.shape[1], -1))
                of_lines = by_line.reshape(-1, of_tile.shape[2]).T
                by_cell = driven.spread(of_lines).reshape(driven.index.size, -1, len(flat))
                weights.append(array.factor * by_cell.transpose(2, 1, 0))
            for array, found in zip(copies, self._of_copies(copies, weights), strict=True):
                place, (device, rows, cols) = target.place_of(array.inputs, array.outputs), array.devices
                blocks[place][:, device, rows - place[0], cols - place[1]] += found
        shaped = {place: block.reshape(*lead, *block.shape[1:]) for place, block in blocks.items()}
        return TiledDevices(target.shape, target.size, shaped)

    def _of_copies(self, copies: Sequence[MappedArray], weights: Sequence[FloatArray]) -> FloatArray:
        """(copies, sums, rows, cols) per siemens of arrays that are alike, (sums, sensed, driven) weights of each."""
        crossbar = copies[0].crossbar
        found = transfer_gradients(crossbar, np.concatenate(weights), self._side)
        return found.reshape(len(copies), -1, *crossbar.shape)

    def _linearised(self, x: FloatArray) -> FloatArray:
        mapped, column = self._mapped, x[:, np.newaxis]
        drives = mapped.drives(column, self._side)
        pairs = zip(mapped.arrays, drives, strict=True)
        arrays = tuple(
            replace(array, crossbar=_small_signal(array.crossbar, volts[:, 0], self._side)) for array, volts in pairs
        )
        slope = _transfer(replace(mapped, arrays=arrays), self._side)
        largest = int(np.argmax(np.abs(x)))
        if x[largest] != 0:
            with NodalEngine().program_bank(mapped.crossbars) as bank:
                y = mapped.products(bank.read(drives, self._side), column, self._side)[:, 0]
            slope[:, largest] -= (slope @ x - y) / x[largest]
        return slope


def _transfer(mapped: MappedMatrix, side: Side) -> FloatArray:
    """(products, inputs) effective matrix of arrays with linear cells; without its zeros, where it is kept by tile."""
    if by_tile(mapped.target) is not None:
        transfers: dict[int, FloatArray] = {}
        for copies in alike(mapped.arrays):  # in turn: all unit vectors of all arrays would fill the memory
            crossbar = copies[0].crossbar
            with NodalEngine().program(crossbar) as session:
                found = session.read(np.eye(crossbar.ports(side)), side)
            transfers |= dict.fromkeys(map(id, copies), found.T if side == "rows" else found)
        whole = summed_tiles(mapped, [transfers[id(array)] for array in mapped.arrays]) / mapped.siemens_per_weight
        return cast(FloatArray, whole if side == "rows" else whole.T)
    inputs = np.eye(mapped.shape[1] if side == "rows" else mapped.shape[0])
    with NodalEngine().program_bank(mapped.crossbars) as bank:
        return mapped.products(bank.read(mapped.drives(inputs, side), side), inputs, side)


def alike(arrays: Iterable[MappedArray]) -> list[list[MappedArray]]:
    """The arrays whose circuits are the same, together, in the order in which the first of each comes."""
    found: dict[Hashable, list[MappedArray]] = {}
    for array in arrays:
        values = (getattr(array.crossbar, field.name) for field in fields(array.crossbar))
        key = tuple((v.shape, v.tobytes()) if isinstance(v, np.ndarray) else v for v in values)
        found.setdefault(key, []).append(array)
    return list(found.values())


def _small_signal(crossbar: Crossbar, drive: FloatArray, side: Side) -> Crossbar:
    """The array of the differential conductances at an operating point."""
    voltages = solve_array(crossbar, drive, side).cell_voltages if drive.any() else np.zeros(crossbar.shape)
    slopes = crossbar.device.differential_conductance(crossbar.conductance, voltages)
    return replace(crossbar, conductance=slopes, device=Ohmic())
