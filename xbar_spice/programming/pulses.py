"""One pulse on an array whose cells move, by two engines with one result.

Both take the same equations: Kirchhoff's for the whole array at every moment, and the rate of each state at the voltage
across its cell. Lines hold no charge, so that a pulse is rectangular at every cell but for what the motion itself does.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Self, final

import numpy as np

from xbar_spice.errors import ConvergenceError, DeviceError, InvalidInputError
from xbar_spice.hardware.biases import Biases
from xbar_spice.hardware.crossbar import Crossbar
from xbar_spice.hardware.dynamic import DynamicDevice, moved
from xbar_spice.hardware.reads import circuit_of
from xbar_spice.linear.operator import FloatArray
from xbar_spice.programming.network import Network

__all__ = ["FastPulses", "Pulsed", "Pulses", "dynamic_law"]

ERROR = 1e-6  # of the span of the states, about what a pulse may be wrong by
SHORTEST = 2.0**-30  # step, of a pulse
ROUNDING = 1e-9  # of what is left of a pulse, for which no step is worth its while
TINY = np.finfo(float).tiny
SETTLED = 1e-5  # of the largest voltage: states and voltages of a step agree
REPEATS = 20
STRIDE = 0.1  # of its span, or of the conductance, that a step may move a state: energies are integrals over steps


@final
@dataclass(frozen=True, eq=False)
class Pulsed:
    """What a pulse did.

    Attributes:
        state: (rows, cols) afterwards.
        energy: Joule that the terminals delivered.
    """

    state: FloatArray
    energy: float


class Pulses(AbstractContextManager["Pulses"], ABC):
    """An engine that applies pulses; it prepares an array when it meets it, and keeps it for the pulses that follow."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of what the engine holds."""

    @abstractmethod
    def apply(
        self,
        crossbar: Crossbar,
        state: FloatArray,
        biases: Biases,
        seconds: float,
        speed: FloatArray | None = None,
    ) -> Pulsed:
        """One pulse.

        Args:
            crossbar: Wires, device, and by its conductances which cells are there.
            state: (rows, cols) before it.
            biases: While it lasts.
            seconds: How long that is.
            speed: (rows, cols) by which the rate of each cell is larger in this pulse than its law says; 1 when left
                out.

        Raises:
            ConvergenceError: A state runs away, or the network has none.
        """


def dynamic_law(crossbar: Crossbar) -> DynamicDevice:
    """The law of an array whose cells move.

    Raises:
        DeviceError: They do not.
        InvalidInputError: The array is sensed by amplifiers.
    """
    if not isinstance(crossbar.device, DynamicDevice):
        raise DeviceError(
            f"pulses move cells with a state, got {crossbar.device!r}; take xs.load_device('yakopcic_fast'), "
            "'stanford_gap_dynamic', 'vteam_read' or another dynamic set of models/"
            + (", or give the law of this Verilog-A module as a DynamicDevice" if crossbar.device.moves else "")
        )
    if crossbar.amplifier.present:
        raise InvalidInputError(
            f"pulses take terminals that are sources, got {crossbar.amplifier!r}; leave the amplifier out"
        )
    return crossbar.device


@final
class FastPulses(Pulses):
    """The exact network at each step, and states by a step that is implicit in the voltages.

    The voltages of a step are those of the network at the states half-way, which these voltages lead to: an implicit
    midpoint rule, of second order in what a step changes of the voltages. At these voltages the states follow their own
    equation, as exactly as `moved` does. A step whose change of voltage matters too much is halved.

    Args:
        error: About what a pulse may be wrong by, relative to the span of the states.
    """

    def __init__(self, error: float = ERROR) -> None:
        self._error = error
        self._crossbar: Crossbar | None = None
        self._networks: dict[Hashable, Network] = {}

    def apply(
        self,
        crossbar: Crossbar,
        state: FloatArray,
        biases: Biases,
        seconds: float,
        speed: FloatArray | None = None,
    ) -> Pulsed:
        device = dynamic_law(crossbar)
        network = self._network(crossbar, biases)
        source = network.open_circuit(biases)
        times = np.where(crossbar.conductance > 0, 1.0 if speed is None else speed, 0.0)
        energy, left, h, allowed = 0.0, seconds, seconds, self._error * device.span
        while left > 0:
            h = left if h > (1.0 - ROUNDING) * left else h
            after, watts, error, stride = _step(crossbar, network, state, biases, source, h * times, allowed)
            longer = float(
                np.clip(min(0.9 * (allowed / max(error, TINY)) ** (1 / 3), 0.9 * STRIDE / max(stride, TINY)), 0.1, 5.0)
            )
            if error <= allowed and stride <= STRIDE:
                state, energy, left = after, energy + watts * h, left - h
            elif h < seconds * SHORTEST:
                raise ConvergenceError(
                    f"a cell of {device!r} runs away under a pulse of {np.abs(source).max():g} V: its state "
                    "jumps within no time; lower the voltage, or put more resistance in series"
                )
            h *= longer
        return Pulsed(state, energy)

    def _network(self, crossbar: Crossbar, biases: Biases) -> Network:
        if crossbar is not self._crossbar:
            self._crossbar, self._networks = crossbar, {}
        key = circuit_of(biases.ends(crossbar))
        if key not in self._networks:
            self._networks[key] = Network(crossbar, biases)
        return self._networks[key]


def _step(
    crossbar: Crossbar,
    network: Network,
    state: FloatArray,
    biases: Biases,
    source: FloatArray,
    seconds: FloatArray,
    tolerance: float,
) -> tuple[FloatArray, float, float, float]:
    """States after a step of (rows, cols) seconds, watts within it, an estimate of the error, and how far it went."""
    device, there = dynamic_law(crossbar), crossbar.conductance > 0

    def siemens(states: FloatArray) -> FloatArray:
        return np.where(there, device.conductance_of(states), 0.0)

    def later(volts: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The states half-way and at the end."""
        half, after = moved(device, np.stack([state, state]), np.stack([volts, volts]), times, tolerance / device.span)
        return half, after

    times, enough = np.stack([0.5 * seconds, seconds]), SETTLED * float(np.abs(source).max())
    first = before = network.solve(siemens(state), biases, source)
    half, at_first = later(first)
    at_before, volts = at_first, network.solve(siemens(half), biases, source)
    for _ in range(REPEATS):
        half, at_volts = later(volts)
        aim = network.solve(siemens(half), biases, source)
        # Each cell ends where its own voltage takes it: a secant says what the last change of that does to its state.
        step, change = volts - before, aim - volts
        moves = np.where(step == 0, 0.0, (at_volts - at_before) / np.where(step == 0, 1.0, step)) * change
        before, at_before, volts = volts, at_volts, aim
        ratio = np.abs(change).max() / max(np.abs(step).max(), TINY)  # by which the next change is smaller again
        if np.abs(change).max() <= enough and np.abs(moves).max() * max(ratio, 0.1) <= 0.1 * tolerance:
            break
    else:
        return state, 0.0, np.inf, 0.0
    after = device.within(at_before + moves)
    powers = [
        float(np.sum(source * device.current(siemens(x), v)))
        for x, v in ((state, first), (half, volts), (after, volts))
    ]
    watts = (powers[0] + 4.0 * powers[1] + powers[2]) / 6.0
    # What the change of the voltages within the step does to the states, times the share by which things change.
    shift = float(np.abs(after - at_first).max())
    old, new = siemens(state), siemens(after)
    change = np.abs(new - old) / np.maximum(np.maximum(new, old), np.finfo(float).tiny)
    part = np.abs(after - state) / device.span
    share = shift / device.span + float(part.max() + change.max())
    # A state can go far without any change of the conductance, as a logit at its end does: that costs no step.
    return after, watts, 0.1 * shift * min(1.0, share), float(np.minimum(part, change).max())
