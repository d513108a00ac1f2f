"""What every engine is: it programs crossbars once and then reads them often.

An engine opens a `Bank`: a set of arrays that are read together, because a weight matrix is usually cut into several.
A `Session` is a bank of one array with the plain interface. Engines know nothing of weights or networks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self, final

import numpy as np
from numpy.typing import ArrayLike

from xbar_spice.checks import Array, Instance
from xbar_spice.errors import DeviceError, InvalidInputError
from xbar_spice.hardware.biases import Biases, Currents, End, require_held
from xbar_spice.hardware.crossbar import Crossbar, Edge, Side
from xbar_spice.hardware.device import Device
from xbar_spice.hardware.reads import read_ends, require_known_voltages
from xbar_spice.linear.operator import FloatArray

__all__ = ["DRIVE", "Bank", "Closeable", "Engine", "Session", "refuse_numbers"]

DRIVE = Array()
"""What the volts of a drive may be."""


class Closeable(ABC):
    """What stands on live processes: a context manager that closes itself."""

    @abstractmethod
    def close(self) -> None:
        """Free what stands behind it; a second call does nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Bank(Closeable):
    """Programmed arrays that are read together; a context manager, because a simulator may stand behind it."""

    def __init__(self, crossbars: Sequence[Crossbar]) -> None:
        self.crossbars: tuple[Crossbar, ...] = tuple(crossbars)
        self._closed = False

    @property
    def source(self) -> str:
        """What the last read came from, where an engine has more than one way to answer; empty otherwise."""
        return ""

    @abstractmethod
    def _read(self, drives: Sequence[FloatArray], side: Side) -> list[FloatArray]:
        """Currents of every array for checked drives, all of shape (ports, batch) with one batch."""

    def transfers(self, side: Side) -> list[FloatArray] | None:
        """What the reads so far have found every array to make of any drive, or None if that is not known.

        Asking never costs a solve.

        Args:
            side: the driven side.

        Returns:
            (rows, cols) siemens of each array: amperes that a read returns of the one line for 1 V at the other.
        """
        return None

    def _as_read(self, crossbar: Crossbar) -> Crossbar:
        """An array as this engine sees it."""
        return crossbar

    def read(self, drives: Sequence[ArrayLike], side: Side = "rows") -> list[FloatArray]:
        """Read all arrays at once.

        Args:
            drives: one (ports, batch) array of volts for each crossbar; the same batch for all.
            side: the side that is driven; the other one is sensed.

        Returns:
            One (ports, batch) array of amperes for each crossbar, positive into the sense terminal.

        Raises:
            InvalidInputError: wrong shapes, values that are not finite, or a closed bank.
            DeviceError: voltages beyond what the law of the cells knows.
            SimulationError: the simulator behind the bank failed.
        """
        if self._closed:
            raise InvalidInputError("this session is closed; program the crossbar again to read it")
        if len(drives) != len(self.crossbars):
            raise InvalidInputError(f"this bank has {len(self.crossbars)} arrays, got {len(drives)} drives")
        checked = [_checked_drive(xbar, drive, side) for xbar, drive in zip(self.crossbars, drives, strict=True)]
        if len({drive.shape[1] for drive in checked}) > 1:
            raise InvalidInputError(f"one batch for all arrays, got {[drive.shape[1] for drive in checked]}")
        for crossbar, volts in zip(self.crossbars, checked, strict=True):
            if crossbar.device.voltage_range is not None and volts.shape[1]:
                known = self._as_read(crossbar)
                require_known_voltages(known, read_ends(known, side, volts))
        return self._read(checked, side)

    def bias(self, biases: Biases) -> Currents:
        """Put voltages to the ends of all lines of the only array; `Session.bias` says the rest."""
        if self._closed:
            raise InvalidInputError("this session is closed; program the crossbar again to read it")
        if len(self.crossbars) != 1:
            raise InvalidInputError(f"biases are those of one array, and this bank has {len(self.crossbars)}")
        rule: Instance[Biases] = Instance(Biases, example="Biases(left=0.2, bottom=0.0)")
        ends = rule("biases", biases).ends(self.crossbars[0])
        require_held(ends, self.crossbars[0].conductance > 0)
        require_known_voltages(self._as_read(self.crossbars[0]), ends)
        return Currents.of_ends(ends, self._bias(ends), biases.batch)

    def _bias(self, ends: Mapping[Edge, End]) -> Mapping[Edge, FloatArray]:
        """(lines, batch) amperes that the terminals of every edge return, where some terminal holds every line."""
        raise InvalidInputError(f"{type(self).__name__} answers reads only; try engine='nodal' or engine='ngspice'")

    def close(self) -> None:
        self._closed = True


@final
class Session(Closeable):
    """One programmed array."""

    def __init__(self, bank: Bank) -> None:
        self._bank = bank

    @property
    def crossbar(self) -> Crossbar:
        """The array behind this session."""
        return self._bank.crossbars[0]

    def read(self, drive: ArrayLike, side: Side = "rows") -> FloatArray:
        """Drive one side of the array and sense the other.

        Args:
            drive: (ports,) or (ports, batch), volts at the sources of the driven side; those of open lines do nothing.
            side: "rows" for a forward read, "cols" for a transposed one.

        Returns:
            (ports,) or (ports, batch) of the other side, amperes, positive into the sense terminal.

        Raises:
            InvalidInputError: wrong shape, values that are not finite, or a closed session.
            SimulationError: the simulator behind the session failed.
        """
        volts = DRIVE("drive", drive)
        if volts.ndim == 1:
            return self._bank.read([volts[:, np.newaxis]], side)[0][:, 0]
        return self._bank.read([volts], side)[0]

    def bias(self, biases: Biases) -> Currents:
        """Put voltages to the ends of all lines, and take the current of every terminal.

        Args:
            biases: volts and ohms, for one set of voltages or for a batch of them.

        Returns:
            The currents, each (lines,) or (lines, batch).

        Raises:
            InvalidInputError: shapes that do not fit the array, or a closed session.
            SingularCircuitError: lines that no terminal holds, or two terminals without resistance between them.
            ConvergenceError: cells that are not linear did not settle.
            SimulationError: the simulator behind the session failed.
        """
        return self._bank.bias(biases)

    def close(self) -> None:
        self._bank.close()


class Engine(ABC):
    """A way to answer reads."""

    name: str

    @abstractmethod
    def program_bank(self, crossbars: Sequence[Crossbar]) -> Bank:
        """Prepare arrays that will be read together."""

    def program(self, crossbar: Crossbar) -> Session:
        """Prepare one array for many reads."""
        return Session(self.program_bank([crossbar]))


def _checked_drive(crossbar: Crossbar, drive: ArrayLike, side: Side) -> FloatArray:
    volts = DRIVE("drive", drive)
    ports = crossbar.ports(side)
    if volts.ndim != 2 or volts.shape[0] != ports:
        raise InvalidInputError(
            f"an array of {crossbar.shape[0]} rows x {crossbar.shape[1]} cols read with side={side!r} takes a drive "
            f"of shape ({ports},) or ({ports}, batch), got {volts.shape}"
        )
    return crossbar.applied(volts, side)


def refuse_numbers(device: Device, conductance: FloatArray, volts: FloatArray, values: FloatArray, what: str) -> None:
    """Raise for the smallest voltage at which a law gave no number.

    Args:
        device: whose law it is.
        conductance: of the cells, siemens.
        volts: across them.
        values: what the law gave there.
        what: "current" or "differential conductance".

    Raises:
        DeviceError: there is one; the text says where.
    """
    wrong = ~np.isfinite(values)
    if wrong.any():
        at = int(np.argmin(np.where(wrong, np.abs(volts), np.inf)))
        raise DeviceError(
            f"{device!r} gives a {what} of {values.flat[at]:g} at {volts.flat[at]:g} V and "
            f"{np.broadcast_to(conductance, values.shape).flat[at]:g} S; its law must give a number there, or the "
            "voltages be lower"
        )
