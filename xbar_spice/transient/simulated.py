"""Pulsed reads as ngspice finds them by `.tran`: arrays with cells of any law, and the judge of the modes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import final

import numpy as np

from xbar_spice.engines.ngspice.engine import NgspiceEngine
from xbar_spice.engines.ngspice.transient import run_transient
from xbar_spice.errors import DeviceError
from xbar_spice.hardware.biases import Biases
from xbar_spice.hardware.crossbar import Crossbar, Side
from xbar_spice.hardware.gate_lines import GateLines
from xbar_spice.hardware.pulse import LineCapacitance, Pulse
from xbar_spice.linear.operator import FloatArray
from xbar_spice.spice.nodes import nodes_of
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
        drive: FloatArray | Biases,
        pulse: Pulse,
        capacitance: LineCapacitance,
        *,
        accuracy: float = 1e-3,
        time_limit: float = 600.0,
        netlists: Sequence[Path] = (),
    ) -> None:
        super().__init__(crossbar, side, drive, pulse, capacitance)
        self._deck = pulse_deck(crossbar, drive, pulse, capacitance, side, accuracy=accuracy, netlists=netlists)
        word, bit = nodes_of(crossbar, self.ends)
        bare = [] if self.side is None else crossbar.bare_rows
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
            if isinstance(drive, Biases):
                settled = session.bias(drive)
                self._settled = np.array([getattr(settled, edge)[line] for edge, line in self.terminals])
            else:
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
        return self._at(t, self._by_port(self._into, driven=False))

    def source_currents(self, t: FloatArray) -> FloatArray:
        return -self._at(t, self._by_port(self._into, driven=True))

    def _into_terminals(self, t: FloatArray) -> FloatArray:
        return self._at(t, self._into)

    def voltages(self, t: FloatArray) -> tuple[FloatArray, FloatArray]:
        return self._at(t, self._word), self._at(t, self._bit)

    def energy(self, until: float | None = None) -> Energy:
        if self.crossbar.device.moves:
            raise DeviceError(
                f"the power of cells is that of their law at rest, and {self.crossbar.device!r} moves in a pulse: take "
                "the currents and voltages of this read instead"
            )
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
        if self.ends["left"].gates is None:
            flows = crossbar.device.current(crossbar.conductance[..., np.newaxis], across)
        else:
            gates = GateLines.beside(crossbar.device, self.ends["left"].gates)
            at = (np.moveaxis(volts, 2, 0) for volts in (across, bit))
            flows = np.moveaxis(gates.current(crossbar.conductance, *at), 0, 2)
        cells = np.sum(across * flows, axis=(0, 1))
        wires, periphery = np.zeros_like(t), np.zeros_like(t)
        along, down = crossbar.segments("rows")[:, 1:-1], crossbar.segments("cols").T[1:-1]
        for volts, ohms in ((np.diff(word, axis=1), along), (np.diff(bit, axis=0), down)):
            wired = ohms > 0  # nodes without resistance between them are one
            wires += (volts[wired] ** 2 / ohms[wired, np.newaxis]).sum(axis=0)
        for terminal, amperes in zip(self._deck.terminals, into, strict=True):
            wires += terminal.segment * amperes**2
            periphery += terminal.resistance * amperes**2
        applied = self.drive[:, np.newaxis] * drive_shape(self.pulse, t)
        return np.vstack([cells, wires, periphery, -applied * self._by_port(into, driven=True)])

    def _at(self, t: FloatArray, waveforms: FloatArray) -> FloatArray:
        """(..., T) of waveforms on the simulator's steps, at other times."""
        place = np.clip(np.searchsorted(self._times, t, side="right") - 1, 0, self._times.size - 2)
        first, after = self._times[place], self._times[place + 1]
        part = (t - first) / (after - first)
        return waveforms[..., place] * (1.0 - part) + waveforms[..., place + 1] * part


def _half_way(waveforms: FloatArray) -> FloatArray:
    return 0.5 * (waveforms[..., :-1] + waveforms[..., 1:])
