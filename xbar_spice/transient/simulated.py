"""Pulsed reads as ngspice finds them by `.tran`: arrays with cells of any law, and the judge of the modes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import final

import numpy as np

from xbar_spice.engines.ngspice.engine import NgspiceEngine
from xbar_spice.engines.ngspice.transient import run_transient
from xbar_spice.hardware.crossbar import Crossbar, Side, other
from xbar_spice.hardware.pulse import LineCapacitance, Pulse
from xbar_spice.linear.operator import FloatArray
from xbar_spice.spice.netlist import line_nodes
from xbar_spice.spice.pulse_netlist import pulse_deck
from xbar_spice.transient.read import Energy, PulseRead
from xbar_spice.transient.shape import drive_shape

__all__ = ["SimulatedRead"]


@final
class SimulatedRead(PulseRead):
    """A pulsed read on the simulator's own time steps; straight lines lead from each to the next.

    Energies are integrals of powers over those steps. The power of a cell is its voltage times the current that its
    law in Python gives, everything else comes from the simulated voltages and currents.
    """

    def __init__(
        self,
        crossbar: Crossbar,
        side: Side,
        drive: FloatArray,
        pulse: Pulse,
        capacitance: LineCapacitance,
        *,
        accuracy: float = 1e-3,
        time_limit: float = 600.0,
        netlists: Sequence[Path] = (),
    ) -> None:
        super().__init__(crossbar, side, drive, pulse, capacitance)
        self._deck = pulse_deck(crossbar, drive, pulse, capacitance, side, accuracy=accuracy, netlists=netlists)
        word, bit = line_nodes(crossbar, side)
        bare = crossbar.bare_rows
        names = list(dict.fromkeys(name for i, row in enumerate(word) if i not in bare for name in row))
        names += [name for name in dict.fromkeys(name for row in bit for name in row) if name not in names]
        sources = [terminal.source for terminal in self._deck.terminals]
        self._times, self._into, volts = run_transient(
            self._deck.text,
            sources,
            names,
            time_limit=time_limit,
            behaviour=self._deck.behaviour,
            compiled=self._deck.compiled,
        )
        row_of = {name: row for row, name in enumerate(names)}
        volts = np.vstack([volts, np.zeros_like(self._times)])  # a line that nothing is connected to
        self._word = volts[[[row_of.get(name, -1) for name in row] for row in word]]
        self._bit = volts[[[row_of[name] for name in row] for row in bit]]
        with NgspiceEngine(netlists=tuple(netlists)).program(crossbar) as session:
            self._settled = session.read(drive, side)

    @property
    def deck(self) -> str:
        """The deck that was simulated; it runs by hand."""
        return self._deck.text

    @property
    def times(self) -> FloatArray:
        return self._times

    @property
    def settled(self) -> FloatArray:
        return self._settled

    def currents(self, t: FloatArray) -> FloatArray:
        return self._at(t, self._by_line(self._into, driven=False))

    def source_currents(self, t: FloatArray) -> FloatArray:
        return -self._at(t, self._by_line(self._into, driven=True))

    def voltages(self, t: FloatArray) -> tuple[FloatArray, FloatArray]:
        return self._at(t, self._word), self._at(t, self._bit)

    def energy(self, until: float | None = None) -> Energy:
        last = self._checked_moment(until, float(self._times[-1]))
        spent = self._at(np.array([last]), self._energies)[:, 0]
        word, bit = (volts[..., 0] for volts in self.voltages(np.array([last])))
        held = self.capacitance
        across = np.where(self.crossbar.conductance > 0, word - bit, 0.0)
        cells, wires, periphery = spent[:3].tolist()
        return Energy(
            until=last,
            delivered=spent[3:],
            cells=cells,
            wires=wires,
            periphery=periphery,
            stored=0.5 * float(np.sum(held.c_word * word**2 + held.c_bit * bit**2 + held.c_cell * across**2)),
        )

    @cached_property
    def _energies(self) -> FloatArray:
        """(3 + ports, T) joule up to each step: cells, wires, periphery, and the sources of each driven line.

        Between two steps voltages and currents are straight lines, on which Simpson's rule is exact for ohmic power.
        """
        steps = np.diff(self._times)
        at_steps = self._powers(self._word, self._bit, self._into, self._times)
        half_way = self._powers(*(_half_way(x) for x in (self._word, self._bit, self._into, self._times)))
        spent = steps / 6 * (at_steps[:, :-1] + 4 * half_way + at_steps[:, 1:])
        return np.hstack([np.zeros((spent.shape[0], 1)), np.cumsum(spent, axis=1)])

    def _powers(self, word: FloatArray, bit: FloatArray, into: FloatArray, t: FloatArray) -> FloatArray:
        """(3 + ports, T) watts, in the order of `_energies`."""
        crossbar = self.crossbar
        across = word - bit
        cells = np.sum(across * crossbar.device.current(crossbar.conductance[..., np.newaxis], across), axis=(0, 1))
        wires, periphery = np.zeros_like(t), np.zeros_like(t)
        if crossbar.r_word > 0:
            wires += np.sum(np.diff(word, axis=1) ** 2, axis=(0, 1)) / crossbar.r_word
        if crossbar.r_bit > 0:
            wires += np.sum(np.diff(bit, axis=0) ** 2, axis=(0, 1)) / crossbar.r_bit
        hookup = crossbar.hookup(self.side)
        ends = {connection.edge: connection for connection in hookup.driven + hookup.sensed}
        for terminal, amperes in zip(self._deck.terminals, into, strict=True):
            wires += crossbar.segment_resistance(terminal.side) * amperes**2
            periphery += ends[terminal.edge].resistance * amperes**2
        volts = self.drive[:, np.newaxis] * drive_shape(self.pulse, t)
        return np.vstack([cells, wires, periphery, -volts * self._by_line(into, driven=True)])

    def _by_line(self, into: FloatArray, *, driven: bool) -> FloatArray:
        """(ports, T) amperes into the terminals of each line of a side, ends added up."""
        side = self.side if driven else other(self.side)
        found = np.zeros((self.crossbar.ports(side), into.shape[1]))
        for terminal, amperes in zip(self._deck.terminals, into, strict=True):
            if terminal.side == side:
                found[terminal.line] += amperes
        return found

    def _at(self, t: FloatArray, waveforms: FloatArray) -> FloatArray:
        """(..., T) of waveforms on the simulator's steps, at other times."""
        place = np.clip(np.searchsorted(self._times, t, side="right") - 1, 0, self._times.size - 2)
        first, after = self._times[place], self._times[place + 1]
        part = (t - first) / (after - first)
        return waveforms[..., place] * (1.0 - part) + waveforms[..., place + 1] * part


def _half_way(waveforms: FloatArray) -> FloatArray:
    return 0.5 * (waveforms[..., :-1] + waveforms[..., 1:])
