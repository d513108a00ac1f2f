"""Linear arrays that ngspice has measured once: later products are digital, and checked against the netlist."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import final

import numpy as np

from xbar_spice.engines.base import Bank
from xbar_spice.errors import CharacterisationError, InvalidInputError
from xbar_spice.hardware.biases import End
from xbar_spice.hardware.crossbar import Crossbar, Edge, Side, other
from xbar_spice.hardware.reads import reciprocal
from xbar_spice.linear.operator import FloatArray

__all__ = ["CharacterisedBank", "require_linear"]


@final
class CharacterisedBank(Bank):
    """Answers reads by transfer matrices that were read through the netlist.

    With linear cells a read is currents = K @ volts. K comes from one batch of unit vectors; where both directions of
    a read share a circuit, the network is reciprocal and the other direction has K^T, which costs nothing. The first
    read and every `check_every`-th one after it are driven through the netlist as well: the currents of the netlist
    are returned, and they must be those of the matrix.

    Args:
        netlist: the same arrays, read by driving their circuit.
        check_every: reads, of either direction, from one check to the next.
        tolerance: largest difference that a check allows, relative to the largest current that the array could carry
            at the voltages of the vector if no two cancelled.
    """

    def __init__(self, netlist: Bank, check_every: int, tolerance: float) -> None:
        super().__init__(netlist.crossbars)
        self._netlist = netlist
        self._check_every = check_every
        self._tolerance = tolerance
        self._transfer: dict[Side, list[FloatArray]] = {}
        self._reads = 0
        self._source = ""

    @property
    def source(self) -> str:
        return self._source

    def _read(self, drives: Sequence[FloatArray], side: Side) -> list[FloatArray]:
        expected = [K @ volts for K, volts in zip(self._matrices(side), drives, strict=True)]
        if not drives[0].shape[1]:
            return expected
        self._reads += 1
        if self._reads % self._check_every != 1 % self._check_every:
            self._source = "characterised"
            return expected
        driven = self._netlist.read(drives, side)
        for array, (found, wanted) in enumerate(zip(driven, expected, strict=True)):
            size = (np.abs(self._transfer[side][array]) @ np.abs(drives[array])).max(axis=0)
            self._compare(array, side, found, wanted, size)
        self._source = "checked"
        return driven

    def _bias(self, ends: Mapping[Edge, End]) -> Mapping[Edge, FloatArray]:
        self._source = "netlist"
        return self._netlist._bias(ends)

    def _matrices(self, side: Side) -> list[FloatArray]:
        """(sensed ports, driven ports) of each array, siemens."""
        opposite = other(side)
        if side not in self._transfer:
            if opposite in self._transfer and all(map(reciprocal, self.crossbars)):
                self._transfer[side] = [K.T for K in self._transfer[opposite]]
            else:
                self._transfer[side] = self._measure(side)
        return self._transfer[side]

    def _measure(self, side: Side) -> list[FloatArray]:
        ports = [crossbar.ports(side) for crossbar in self.crossbars]
        # All arrays at once; those with fewer ports are at rest while the others go on.
        currents = self._netlist.read([np.eye(count, max(ports)) for count in ports], side)
        return [found[:, :count] for found, count in zip(currents, ports, strict=True)]

    def _compare(self, array: int, side: Side, found: FloatArray, wanted: FloatArray, size: FloatArray) -> None:
        error = np.abs(found - wanted) / np.maximum(size, np.finfo(float).tiny)
        port, vector = np.unravel_index(np.argmax(error), error.shape)
        if error[port, vector] <= self._tolerance:
            return
        line = "bit line" if side == "rows" else "word line"
        raise CharacterisationError(
            f"array {array} of {len(self.crossbars)} does not behave like its transfer matrix any more: in read "
            f"{self._reads}, with side={side!r}, vector {vector}, the netlist gives {found[port, vector]:.9e} A at "
            f"{line} {port}, the matrix {wanted[port, vector]:.9e} A; they differ by {error[port, vector]:.1e} of the "
            f"largest possible current, allowed is {self._tolerance:.1e}. Cells that are not linear cannot be "
            "characterised: read them with characterise=False"
        )

    def close(self) -> None:
        super().close()
        self._netlist.close()


def require_linear(crossbars: Sequence[Crossbar]) -> None:
    """Refuse arrays that have no transfer matrix.

    Raises:
        InvalidInputError: cells or amplifiers are not linear.
    """
    for crossbar in crossbars:
        if not crossbar.linear:
            raise InvalidInputError(
                "characterise=True reads a transfer matrix once, which needs linear cells and amplifiers, got "
                f"{crossbar.device!r} and {crossbar.amplifier!r}; use ohmic cells and amplifiers without saturation, "
                "or characterise=False to drive the netlist at every read"
            )
