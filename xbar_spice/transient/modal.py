"""Pulsed reads of linear arrays by their modes: each mode follows the pulse in closed form."""

from __future__ import annotations

import itertools
import math
from functools import cached_property
from typing import final

import numpy as np

from xbar_spice.errors import DeviceError, InvalidInputError
from xbar_spice.hardware.biases import Biases
from xbar_spice.hardware.crossbar import Crossbar, Side
from xbar_spice.hardware.pulse import LineCapacitance, Pulse
from xbar_spice.linear.operator import FloatArray
from xbar_spice.transient.modes import excited_modes
from xbar_spice.transient.network import build_network
from xbar_spice.transient.read import Energy, PulseRead
from xbar_spice.transient.shape import drive_rate, drive_shape, pulse_lag, pulse_lag_rate

__all__ = ["ModalRead"]

SPANS = 60.0  # slowest time constants after which nothing moves: exp(-60) is far below rounding
GAUSS_POINTS, GAUSS_WEIGHTS = np.polynomial.legendre.leggauss(12)


@final
class ModalRead(PulseRead):
    """A pulsed read whose node voltages are a sum of modes, e(t) = e_settled s(t) - sum_k x_k h_k l_k(t).

    Every waveform is linear in the state (s, h_1 l_1, h_2 l_2, ...), every power a quadratic form of it.

    Raises:
        DeviceError: the cells are not ohmic.
        InvalidInputError: an ideal step meets a capacitance right at a driver.
        ConvergenceError: too many modes are excited.
    """

    def __init__(
        self, crossbar: Crossbar, side: Side, drive: FloatArray | Biases, pulse: Pulse, capacitance: LineCapacitance
    ) -> None:
        super().__init__(crossbar, side, drive, pulse, capacitance)
        if not crossbar.device.linear:
            raise DeviceError(
                f"only ohmic cells have modes, and these are {type(crossbar.device).__name__}: use engine='ngspice'"
            )
        self._network = build_network(crossbar, self.ends, self.terminals, capacitance)
        network, volts = self._network, self._source_volts
        if pulse.rise == 0 and (network.capacitance[network.inner :] @ np.append(np.zeros(network.inner), volts)).any():
            raise InvalidInputError(
                "an ideal step draws an infinite current where a capacitance lies right at a driver; give the pulse a "
                "rise, or the line a resistance"
            )
        modes = excited_modes(network, volts, pulse.rise)
        self._time_constants = modes.times
        # Columns: the settled state, then what each mode falls behind.
        self._states = np.zeros((network.nodes, 1 + modes.times.size))
        self._states[: network.inner, 0] = modes.settled
        self._states[network.inner :, 0] = volts
        self._states[: network.inner, 1:] = -modes.shapes * modes.lags
        outward = network.conductance[network.inner :] @ self._states
        charges = network.capacitance[network.inner :] @ self._states
        self._outward = outward, charges
        self._sensed = tuple(self._by_port(part, driven=False) for part in self._outward)
        self._driven = tuple(self._by_port(part, driven=True) for part in self._outward)

    @property
    def time_constants(self) -> FloatArray:
        """(modes,) seconds, rising, of the modes that the drive excites; the fastest may stand for several."""
        return self._time_constants

    @cached_property
    def times(self) -> FloatArray:
        pulse, tau = self.pulse, self._time_constants
        slowest = tau[-1] if tau.size else (pulse.rise or 1.0)
        corners = [0.0, pulse.rise, *([] if math.isinf(pulse.width) else [pulse.top_end, pulse.end, pulse.cycle])]
        if math.isinf(pulse.width):
            corners.append(pulse.rise + SPANS * slowest)
        pieces = [np.array(corners)]
        for first, last in itertools.pairwise(corners):
            if last > first:
                pieces.append(first + np.geomspace(min(1e-4 * slowest, 1e-3 * (last - first)), last - first, 400)[:-1])
                pieces.append(np.linspace(first, last, 50, endpoint=False))
        return np.unique(np.concatenate(pieces))

    @property
    def settled(self) -> FloatArray:
        return np.asarray(-self._sensed[0][:, 0])

    def currents(self, t: FloatArray) -> FloatArray:
        conducted, displaced = self._sensed
        return -(conducted @ self._state(t) + displaced @ self._state_rate(t))

    def source_currents(self, t: FloatArray) -> FloatArray:
        conducted, displaced = self._driven
        return np.asarray(conducted @ self._state(t) + displaced @ self._state_rate(t))

    def _into_terminals(self, t: FloatArray) -> FloatArray:
        conducted, displaced = self._outward
        return -(conducted @ self._state(t) + displaced @ self._state_rate(t))

    def voltages(self, t: FloatArray) -> tuple[FloatArray, FloatArray]:
        volts = np.vstack([self._states @ self._state(t), np.zeros((1, np.size(t)))])  # the last one is at 0 V
        return volts[self._network.word], volts[self._network.bit]

    def energy(self, until: float | None = None) -> Energy:
        last = self._checked_moment(until, self.pulse.cycle)
        t, weights = self._quadrature(last)
        state, network = self._state(t), self._network

        def dissipated(form: FloatArray) -> float:
            return float(np.einsum("kt,kt,t->", state, form @ state, weights))

        final_state = self._state(np.array([last]))[:, 0]
        held = self._states.T @ (network.capacitance @ self._states)
        return Energy(
            until=last,
            delivered=self.drive * (self.source_currents(t) @ (weights * drive_shape(self.pulse, t))),
            cells=dissipated(self._states.T @ (network.cells @ self._states)),
            wires=dissipated(self._states.T @ (network.wires @ self._states)),
            periphery=dissipated(self._states.T @ (network.periphery @ self._states)),
            stored=0.5 * float(final_state @ held @ final_state),
        )

    def _state(self, t: FloatArray) -> FloatArray:
        """(1 + modes, T)."""
        return np.vstack([drive_shape(self.pulse, t), pulse_lag(self.pulse, t, self._time_constants)])

    def _state_rate(self, t: FloatArray) -> FloatArray:
        return np.vstack([drive_rate(self.pulse, t), pulse_lag_rate(self.pulse, t, self._time_constants)])

    def _quadrature(self, last: float) -> tuple[FloatArray, FloatArray]:
        """Gauss points and weights up to a moment, in panels that double in length after each corner of the pulse."""
        pulse, tau = self.pulse, self._time_constants
        corners = [corner for corner in (0.0, pulse.rise, pulse.top_end, pulse.end) if corner < last]
        edges = [np.array([last])]
        for first, stop in zip(corners, [*corners[1:], last], strict=True):
            length = stop - first
            shortest = min(0.1 * tau[0], length) if tau.size else length
            if length > 0:
                panels = 1 + math.ceil(math.log2(length / shortest))
                edges.append(first + length * np.append(0.0, 0.5 ** np.arange(panels - 1.0, 0.0, -1.0)))
        grid = np.unique(np.concatenate(edges))
        half = 0.5 * np.diff(grid)[:, np.newaxis]
        centres = 0.5 * (grid[1:] + grid[:-1])[:, np.newaxis]
        return (centres + half * GAUSS_POINTS).ravel(), (half * GAUSS_WEIGHTS).ravel()
