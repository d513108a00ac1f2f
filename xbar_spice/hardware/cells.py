"""Static laws of the two-terminal cells of an array: current, differential conductance, SPICE element."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn, final

import numpy as np
from numpy.typing import NDArray

from xbar_spice.checks import Instance, Many, Real, Text, settle
from xbar_spice.errors import DeviceError
from xbar_spice.hardware.device import Device
from xbar_spice.hardware.elementwise import both_in_blocks, in_blocks
from xbar_spice.hardware.subcircuit import Subcircuit
from xbar_spice.linear.operator import FloatArray

__all__ = ["Device", "Ohmic", "OneSelectorOneResistor", "OneTransistorOneResistor", "Polynomial", "Sinh",
           "SubcircuitCell"]  # fmt: skip

ITERATIONS = 100
CUBED = 3e-5  # of which the third power is rounding


@final
@dataclass(frozen=True)
class Ohmic(Device):
    """I = G V."""

    @property
    def linear(self) -> bool:
        return True

    @property
    def template(self) -> str:
        return "cells/ohmic.cir.j2"

    def current(self, conductance: FloatArray, voltage: FloatArray) -> FloatArray:
        return conductance * voltage

    def differential_conductance(self, conductance: FloatArray, voltage: FloatArray) -> FloatArray:
        return conductance + 0.0 * voltage

    def conductance_sensitivity(self, conductance: FloatArray, voltage: FloatArray) -> FloatArray:
        return voltage + 0.0 * conductance


@final
@dataclass(frozen=True)
class Sinh(Device):
    """I = G v0 sinh(V / v0): conduction through a barrier.

    Attributes:
        v0: volts beyond which the current grows faster than the voltage.
    """

    v0: float = 0.25

    def __post_init__(self) -> None:
        settle(self, DeviceError, v0=Real("V", above=0))

    @property
    def linear(self) -> bool:
        return False

    @property
    def template(self) -> str:
        return "cells/sinh.cir.j2"

    def current(self, conductance: FloatArray, voltage: FloatArray) -> FloatArray:
        return np.asarray(conductance * self.v0 * np.sinh(voltage / self.v0))

    def differential_conductance(self, conductance: FloatArray, voltage: FloatArray) -> FloatArray:
        return np.asarray(conductance * np.cosh(voltage / self.v0))

    def conductance_sensitivity(self, conductance: FloatArray, voltage: FloatArray) -> FloatArray:
        return np.asarray(self.v0 * np.sinh(voltage / self.v0) + 0.0 * conductance)


@final
@dataclass(frozen=True)
class Polynomial(Device):
    """I = G V + a2(G) V^2 + a3(G) V^3, where a2 and a3 are polynomials of log10(G / 1 S).

    The default coefficients describe HfO2 devices of 50 to 225 uS up to 0.5 V (V. Milo et al., IRPS 2021, as fitted
    in CrossSim). Outside the range of G the fit is taken at its nearest end, in proportion to G.

    Attributes:
        square: coefficients of a2 in A/V^2, highest power first.
        cube: coefficients of a3 in A/V^3, highest power first.
        g_range: siemens between which the fit holds.
    """

    square: tuple[float, ...] = (1.388e-4, 1.541e-3, 5.711e-3, 7.063e-3)
    cube: tuple[float, ...] = (8.871e-5, 6.7919e-4, 1.2968e-3)
    g_range: tuple[float, float] = (50e-6, 225e-6)

    def __post_init__(self) -> None:
        coefficients = Many(Real(), least=1)
        settle(self, DeviceError, square=coefficients, cube=coefficients, g_range=Many(Real("S"), 2))
        low, high = self.g_range
        if not 0 < low < high < np.inf:
            raise DeviceError(f"g_range must be 0 < low < high in siemens, got {self.g_range}")

    @property
    def linear(self) -> bool:
        return False

    @property
    def template(self) -> str:
        return "cells/polynomial.cir.j2"

    @property
    def fitted_range(self) -> tuple[float, float]:
        return self.g_range

    def coefficients(self, conductance: FloatArray) -> tuple[FloatArray, FloatArray]:
        """a2 in A/V^2 and a3 in A/V^3 of cells with these conductances."""
        inside = np.clip(conductance, *self.g_range)
        scale, decades = conductance / inside, np.log10(inside)
        return scale * np.polyval(self.square, decades), scale * np.polyval(self.cube, decades)

    def current(self, conductance: FloatArray, voltage: FloatArray) -> FloatArray:
        square, cube = self.coefficients(conductance)
        return np.asarray(voltage * (conductance + voltage * (square + voltage * cube)))

    def differential_conductance(self, conductance: FloatArray, voltage: FloatArray) -> FloatArray:
        square, cube = self.coefficients(conductance)
        return np.asarray(conductance + voltage * (2 * square + voltage * 3 * cube))


@final
@dataclass(frozen=True)
class OneTransistorOneResistor(Device):
    """An ohmic cell in series with a level-1 NMOS transistor whose source is at the bit line.

    In triode the transistor carries beta (v_on u - u^2 / 2) for the voltage u across it, in saturation (u >= v_on)
    beta v_on^2 / 2, with v_on = v_gate - v_threshold; a negative u exchanges source and drain. Bulk effect and
    channel-length modulation are left out.

    Attributes:
        beta: transconductance parameter KP W / L, A/V^2.
        v_gate: volts of the gate above the bit-line end.
        v_threshold: threshold voltage, volts.
    """

    beta: float = 1e-3
    v_gate: float = 1.2
    v_threshold: float = 0.4

    def __post_init__(self) -> None:
        settle(self, DeviceError, beta=Real("A/V^2", above=0), v_gate=Real("V"), v_threshold=Real("V"))
        Real("V", above=0)("v_gate - v_threshold", self.v_on, DeviceError)

    @property
    def v_on(self) -> float:
        """Overdrive, volts."""
        return float(f"{self.v_gate - self.v_threshold:.15g}")  # 1.2 - 0.4 is 0.8 and not 0.7999999999999999

    @property
    def linear(self) -> bool:
        return False

    @property
    def junctions(self) -> bool:
        return True

    @property
    def template(self) -> str:
        return "cells/one_transistor_one_resistor.cir.j2"

    def transistor_voltage(self, conductance: FloatArray, voltage: FloatArray) -> FloatArray:
        """u, from G (V - u) = beta (v_on u - u^2 / 2), or from the saturated current; volts."""
        slope = self.beta * self.v_on + conductance
        root = np.sqrt(np.maximum(slope**2 - 2 * self.beta * conductance * voltage, 0.0))
        triode = 2 * conductance * voltage / (slope + root)
        with np.errstate(divide="ignore", invalid="ignore"):
            saturated = voltage - 0.5 * self.beta * self.v_on**2 / conductance
        return np.where(self._saturates(conductance, voltage), saturated, triode)

    def current(self, conductance: FloatArray, voltage: FloatArray) -> FloatArray:
        return self.current_and_slope(conductance, voltage)[0]

    def differential_conductance(self, conductance: FloatArray, voltage: FloatArray) -> FloatArray:
        return self.current_and_slope(conductance, voltage)[1]

    def current_and_slope(self, conductance: FloatArray, voltage: FloatArray) -> tuple[FloatArray, FloatArray]:
        return both_in_blocks(self._current_and_slope, np.asarray(conductance), np.asarray(voltage))

    def _current_and_slope(self, conductance: FloatArray, voltage: FloatArray) -> tuple[FloatArray, FloatArray]:
        over_transistor = self.transistor_voltage(conductance, voltage)
        channel = self.beta * np.maximum(self.v_on - over_transistor, 0.0)
        triode = conductance * (voltage - over_transistor)
        current = np.where(self._saturates(conductance, voltage), 0.5 * self.beta * self.v_on**2, triode)
        return current, conductance * channel / (conductance + channel)

    def conductance_sensitivity(self, conductance: FloatArray, voltage: FloatArray) -> FloatArray:
        channel = self._channel(conductance, voltage)
        return np.asarray((voltage - self.transistor_voltage(conductance, voltage)) * channel / (conductance + channel))

    def _channel(self, conductance: FloatArray, voltage: FloatArray) -> FloatArray:
        """Differential conductance of the transistor, siemens; 0 in saturation."""
        return self.beta * np.maximum(self.v_on - self.transistor_voltage(conductance, voltage), 0.0)

    def _saturates(self, conductance: FloatArray, voltage: FloatArray) -> NDArray[np.bool_]:
        return np.asarray(conductance * (voltage - self.v_on) >= 0.5 * self.beta * self.v_on**2)


@final
@dataclass(frozen=True)
class OneSelectorOneResistor(Device):
    """An ohmic cell in series with a two-terminal selector that carries i0 sinh(u / v0) for the voltage u across it.

    That is the law of two antiparallel diodes with the saturation current i0 / 2, and of selectors whose current grows
    exponentially either way. Below a few v0 the selector keeps the cell from conducting.

    Attributes:
        i0: amperes that set the selector's leakage.
        v0: volts in which the selector's current grows by a factor e.
    """

    i0: float = 1e-7
    v0: float = 0.025

    def __post_init__(self) -> None:
        settle(self, DeviceError, i0=Real("A", above=0), v0=Real("V", above=0))

    @property
    def linear(self) -> bool:
        return False

    @property
    def template(self) -> str:
        return "cells/one_selector_one_resistor.cir.j2"

    def selector_voltage(self, conductance: FloatArray, voltage: FloatArray) -> FloatArray:
        """u, from G (V - u) = i0 sinh(u / v0); volts."""
        return np.asarray(np.copysign(self.v0 * self._levels(conductance, voltage), voltage))

    def current(self, conductance: FloatArray, voltage: FloatArray) -> FloatArray:
        return self.current_and_slope(conductance, voltage)[0]

    def differential_conductance(self, conductance: FloatArray, voltage: FloatArray) -> FloatArray:
        return self.current_and_slope(conductance, voltage)[1]

    def current_and_slope(self, conductance: FloatArray, voltage: FloatArray) -> tuple[FloatArray, FloatArray]:
        return both_in_blocks(self._current_and_slope, np.asarray(conductance), np.asarray(voltage))

    def _current_and_slope(self, conductance: FloatArray, voltage: FloatArray) -> tuple[FloatArray, FloatArray]:
        level = self._level(conductance, np.abs(voltage))
        selector = self.i0 / self.v0 * np.cosh(level)  # siemens
        slope = conductance * selector / (conductance + selector)
        return np.copysign(self.i0 * np.sinh(level), voltage), slope

    def conductance_sensitivity(self, conductance: FloatArray, voltage: FloatArray) -> FloatArray:
        level = self._levels(conductance, voltage)
        selector = self.i0 / self.v0 * np.cosh(level)
        over_resistor = voltage - np.copysign(self.v0 * level, voltage)
        return np.asarray(over_resistor * selector / (conductance + selector))

    def _levels(self, conductance: FloatArray, voltage: FloatArray) -> FloatArray:
        return in_blocks(self._level, np.asarray(conductance), np.abs(voltage))

    def _level(self, conductance: FloatArray, size: FloatArray) -> FloatArray:
        """The x = u / v0 of a voltage >= 0, from G v0 x + i0 sinh x = G V.

        What either part alone would give is above the solution, the lesser by log 2 at most where the second part
        counts. From there Halley's method triples the digits: a small step is the last. It works in place, as these
        lines are most of the time of a read.
        """
        total = conductance * size
        slope = conductance * self.v0
        with np.errstate(over="ignore"):  # a voltage so far off that it has no number is refused by the caller
            level = np.minimum(size / self.v0, np.arcsinh(total / self.i0))
            for _ in range(ITERATIONS):
                rise, step, turn = np.cosh(level), slope * level, np.sinh(level)
                rise *= self.i0
                rise += slope
                turn *= self.i0
                step += turn
                step -= total
                step /= rise
                turn *= step
                turn /= rise
                turn *= -0.5
                turn += 1.0
                step /= turn
                level -= step
                if (np.abs(step, out=step) <= CUBED * np.minimum(level, 1.0)).all():
                    break
        return np.asarray(np.maximum(level, 0.0))


@final
@dataclass(frozen=True)
class SubcircuitCell(Device):
    """A cell that is a subcircuit of the user's own: two pins, and a parameter that takes the programmed conductance.

    Only ngspice knows its law. The nodal and ideal engines, and what is computed with them, refuse it.

    Attributes:
        subcircuit: with the word line as its first pin and the bit line as its second.
        conductance_parameter: the parameter that takes G, siemens.
        resistance_parameter: the parameter that takes 1 / G, ohm, in its place; empty for none.
    """

    subcircuit: Subcircuit
    conductance_parameter: str = "g"
    resistance_parameter: str = ""

    def __post_init__(self) -> None:
        subcircuit: Instance[Subcircuit] = Instance(Subcircuit, example='load_device("...").subcircuit')
        settle(self, DeviceError, subcircuit=subcircuit, conductance_parameter=Text())
        self.subcircuit.require_pins(2, "a cell has two pins, word line and bit line")
        if self.resistance_parameter and self.conductance_parameter not in ("", SubcircuitCell.conductance_parameter):
            raise DeviceError(
                "a cell takes its conductance by one parameter, got conductance_parameter="
                f"{self.conductance_parameter!r} and resistance_parameter={self.resistance_parameter!r}; leave one out"
            )
        parameter, _ = self.setting(1.0)
        self.subcircuit.require_parameter(parameter)
        if parameter.lower() in {name.lower() for name, _ in self.subcircuit.parameters}:
            raise DeviceError(f"parameter {parameter} takes the conductance of each cell and cannot be fixed")

    def setting(self, conductance: float) -> tuple[str, float]:
        """The parameter that a cell of this conductance is programmed by, and its value in siemens or ohm."""
        if self.resistance_parameter:
            return self.resistance_parameter, 1.0 / conductance
        return self.conductance_parameter, conductance

    @property
    def linear(self) -> bool:
        return False

    @property
    def known(self) -> bool:
        return False

    @property
    def junctions(self) -> bool:
        return True

    @property
    def template(self) -> str:
        return "cells/subcircuit.cir.j2"

    @property
    def subcircuits(self) -> tuple[Subcircuit, ...]:
        return (self.subcircuit,)

    def current(self, conductance: FloatArray, voltage: FloatArray) -> FloatArray:
        self._refuse()

    def differential_conductance(self, conductance: FloatArray, voltage: FloatArray) -> FloatArray:
        self._refuse()

    def conductance_sensitivity(self, conductance: FloatArray, voltage: FloatArray) -> FloatArray:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise DeviceError(
            f"the law of the cell {self.subcircuit.name!r} is known to its subcircuit alone; read with "
            "engine='ngspice', or write it as a subclass of xbar_spice.hardware.device.Device"
        )
