"""What a pulsed read is, whoever solved it: waveforms, settling times, energies."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal, final

import numpy as np
from numpy.typing import NDArray

from xbar_spice.errors import InvalidInputError
from xbar_spice.hardware.biases import EDGES, Biases, Currents
from xbar_spice.hardware.crossbar import Crossbar, Edge, Side, other
from xbar_spice.hardware.pulse import LineCapacitance, Pulse
from xbar_spice.hardware.reads import read_biases
from xbar_spice.linear.operator import FloatArray

__all__ = ["Energy", "PulseRead"]

BISECTIONS = 50


@final
@dataclass(frozen=True, eq=False)
class Energy:
    """Where the energy of a pulsed read has gone, from its beginning until some moment; joule.

    Attributes:
        until: seconds, that moment.
        delivered: (ports,) by the sources of each driven line, or by each terminal under biases, less what it gave
            back.
        cells: dissipated in the cells.
        wires: dissipated in the segments of the lines.
        periphery: dissipated in the resistances of drivers and sense terminals.
        stored: in the capacitances at that moment.
    """

    until: float
    delivered: FloatArray
    cells: float
    wires: float
    periphery: float
    stored: float

    @property
    def total(self) -> float:
        """What all sources delivered."""
        return float(self.delivered.sum())

    @property
    def dissipated(self) -> float:
        """What became heat."""
        return self.cells + self.wires + self.periphery

    @property
    def balance_error(self) -> float:
        """(delivered - dissipated - stored) / (dissipated + stored), zero but for errors of the solution."""
        spent = self.dissipated + self.stored
        return (self.total - spent) / spent if spent else self.total


class PulseRead(ABC):
    """An array under a pulse, solved: a read, or any biases, whose volts all rise and fall together.

    What goes by ports is that of a read. Under biases every terminal is a port, in the order of `terminals`.

    Attributes:
        crossbar: the array.
        biases: what the pulse is at its full height.
        side: the driven side of a read; None under other biases.
        drive: (ports,) volts of the pulse there.
        pulse: its shape.
        capacitance: of the lines.
        ends: what stands at every edge.
        terminals: edge and line of each connected end; in a read the driven ones come first.
    """

    def __init__(
        self, crossbar: Crossbar, side: Side, drive: FloatArray | Biases, pulse: Pulse, capacitance: LineCapacitance
    ) -> None:
        self.crossbar = crossbar
        self.pulse = pulse
        self.capacitance = capacitance
        self.side: Side | None = None
        edges = EDGES
        if isinstance(drive, Biases):
            self.biases = drive
        else:
            self.biases, self.side = read_biases(crossbar, drive, side), side
            hookup = crossbar.hookup(side)
            edges = hookup.driven + hookup.sensed
        self.ends = self.biases.ends(crossbar)
        self.terminals: tuple[tuple[Edge, int], ...] = tuple(
            (edge, line) for edge in edges for line in np.flatnonzero(self.ends[edge].connected).tolist()
        )
        self._source_volts = np.array([self.ends[edge].volts[line, 0] for edge, line in self.terminals])
        self.drive = self._source_volts if isinstance(drive, Biases) else drive

    @property
    @abstractmethod
    def times(self) -> FloatArray:
        """(T,) seconds, rising, close together where the waveforms are fast; to the end of the cycle."""

    @property
    @abstractmethod
    def settled(self) -> FloatArray:
        """(ports,) amperes into the sense terminals when the drive stays on: the read without its dynamics."""

    @abstractmethod
    def currents(self, t: FloatArray) -> FloatArray:
        """(ports, T) amperes into the sense terminals at times (T,)."""

    @abstractmethod
    def source_currents(self, t: FloatArray) -> FloatArray:
        """(ports, T) amperes out of the sources of each driven line."""

    @abstractmethod
    def _into_terminals(self, t: FloatArray) -> FloatArray:
        """(terminals, T) amperes."""

    def terminal_currents(self, t: FloatArray) -> Currents:
        """(lines, T) amperes into the terminals of every edge at times (T,), 0 at open ends."""
        amperes = {edge: np.zeros((end.connected.size, np.size(t))) for edge, end in self.ends.items()}
        for (edge, line), flowing in zip(self.terminals, self._into_terminals(t), strict=True):
            amperes[edge][line] = flowing
        return Currents(**amperes)

    @abstractmethod
    def voltages(self, t: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(rows, cols, T) volts at the word-line end of each cell, and likewise at its bit-line end."""

    @abstractmethod
    def energy(self, until: float | None = None) -> Energy:
        """Where the energy went.

        Args:
            until: seconds since the beginning of the pulse; the whole cycle, discharge and all, when left out.

        Raises:
            InvalidInputError: a moment before the pulse or beyond what was solved.
        """

    def settling_times(self, accuracy: float, reference: Literal["each", "largest"] = "each") -> FloatArray:
        """When each sense current comes to stay near its settled value, while the drive is on.

        Args:
            accuracy: how near, as a part of the reference.
            reference: "each" current's own settled value, or the "largest" settled value of all lines. A line that
                settles at 0 A never comes near by its own measure.

        Returns:
            (ports,) seconds from the beginning of the pulse; infinity for a current that is not there when the drive
            begins to fall.
        """
        if not 0 < accuracy < 1:
            raise InvalidInputError(f"the accuracy to settle to must be between 0 and 1, got {accuracy}")
        if reference not in ("each", "largest"):
            raise InvalidInputError(f"reference must be 'each' or 'largest', got {reference!r}")
        size = np.abs(self.settled)
        allowed = accuracy * (size if reference == "each" else np.full_like(size, size.max()))[:, np.newaxis]
        wanted = self.settled[:, np.newaxis]
        t = self.times[self.times < self.pulse.top_end]
        if not math.isinf(self.pulse.top_end):  # at the corner itself the drive falls already: the moment before it
            t = np.union1d(t, [math.nextafter(self.pulse.top_end, 0.0)])
        outside = np.abs(self.currents(t) - wanted) > allowed
        last = np.where(outside.any(axis=1), t.size - 1 - np.argmax(outside[:, ::-1], axis=1), -1)
        before, after = t[np.maximum(last, 0)], t[np.minimum(last + 1, t.size - 1)]
        for _ in range(BISECTIONS):
            middle = 0.5 * (before + after)
            still = np.diagonal(np.abs(self.currents(middle) - wanted) > allowed)
            before, after = np.where(still, middle, before), np.where(still, after, middle)
        return np.where(last == t.size - 1, math.inf, np.where(last < 0, 0.0, after))

    def settling_time(self, accuracy: float, reference: Literal["each", "largest"] = "each") -> float:
        """The settling time of the slowest line, seconds."""
        return float(self.settling_times(accuracy, reference).max())

    def _by_port(self, amperes: FloatArray, *, driven: bool) -> FloatArray:
        """(ports, ...) of (terminals, ...): the ends of each driven or sensed line of a read added up."""
        if self.side is None:
            return amperes
        side, hookup = self.side if driven else other(self.side), self.crossbar.hookup(self.side)
        found = np.zeros((self.crossbar.ports(side), *amperes.shape[1:]))
        chosen = [edge in (hookup.driven if driven else hookup.sensed) for edge, _ in self.terminals]
        lines: NDArray[np.int64] = np.array([line for _, line in self.terminals], dtype=np.int64)[chosen]
        np.add.at(found, lines, amperes[chosen])
        return found

    def _checked_moment(self, until: float | None, end: float) -> float:
        """The moment up to which energy is asked for, when it can be had until `end`."""
        last = end if until is None else until
        if math.isinf(last):
            raise InvalidInputError("a drive that stays on needs a moment to stop at: give energy(until=...)")
        if not 0 <= last <= end * (1 + 1e-12):  # a simulator's last step is the end of the cycle but for rounding
            raise InvalidInputError(f"energy can be had from 0 s to {end:g} s, got until={last:g}")
        return min(last, end)
