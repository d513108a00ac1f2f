"""The transimpedance amplifier at a sensed line: an op-amp that holds the line near 0 V through a feedback resistor.

          ┌─── R ────┐           the line's current:         I = (v - V_out) / R
          │          │           the op-amp without limits:  V_out = -A v
    v ────┴──┤-      │           what the read returns:      -V_out / R
             │   >───┴── V_out
      0 ─────┤+

An amplifier without limits is an input resistance R / (1 + A) and returns A / (1 + A) of the current into it. One that
saturates does so at small currents. With z = A / (1 + A) R I / V_max its law is

    V_out = -V_max 2 z / (sqrt((z + k)^2 + d) + sqrt((z - k)^2 + d)),    d = 0.5 / (1 + A),    k^2 + d = 1,

the line V_out = -V_max z with rounded corners at -V_max and V_max. Written for the voltages, R I = v - V_out, it is the
law of an op-amp on its own, whose gain falls as its output approaches V_max, and which never exceeds it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np

from xbar_spice.checks import Instance, Optional, Real, refuse_idle, settle
from xbar_spice.errors import InvalidInputError
from xbar_spice.hardware.subcircuit import Subcircuit
from xbar_spice.linear.operator import FloatArray
from xbar_spice.settings import setting

__all__ = ["Amplifier"]

OPAMP_PINS = "an op-amp has two pins, its inverting input and its output"

GROUP = "Amplifiers, one at each sensed line"  # of the settings


@final
@dataclass(frozen=True)
class Amplifier:
    """A transimpedance amplifier at each sensed end of a line, in place of a sense terminal at 0 V.

    Attributes:
        r_feedback: ohm; 0 means that there is no amplifier.
        gain: A, of the op-amp without feedback.
        saturation: V_max, volts that the output approaches and never exceeds; None for an op-amp without limits.
        opamp: the user's own op-amp in place of gain and saturation, a subcircuit with the pins in and out. Only
            ngspice knows what it does.

    Raises:
        InvalidInputError: a value is out of range, there is an op-amp beside a gain or a saturation, or one of these
            without a feedback resistor.

    Example:
        >>> Amplifier(r_feedback=1e4, gain=999.0).input_resistance
        10.0
    """

    NEEDS: ClassVar = dict.fromkeys(("gain", "saturation", "opamp"), "r_feedback")

    r_feedback: float = setting(
        0.0, "Feedback resistance of a transimpedance amplifier; 0 senses with a source of 0 V.", GROUP, unit="ohm"
    )
    gain: float = setting(1e4, "Gain of the op-amp without feedback.", GROUP, unit="times")
    saturation: float | None = setting(
        None, "Output saturation voltage of the op-amp.", GROUP, unit="volt", none="no limit"
    )
    opamp: Subcircuit | None = setting(
        None,
        "Op-amp of your own: a parameter set of `models/opamps/` by its name, or the path of a .toml file.",
        GROUP,
    )

    def __post_init__(self) -> None:
        settle(
            self,
            r_feedback=Real("ohm", least=0, advice="0 is no amplifier"),
            saturation=Optional(Real("V", above=0)),
            opamp=Optional(Instance(Subcircuit, example='load_opamp("loaded")')),
        )
        object.__setattr__(self, "gain", Real(above=0)("gain of an amplifier", self.gain))
        if self.opamp is not None:
            if (self.gain, self.saturation) != (Amplifier.gain, None):
                raise InvalidInputError("give an amplifier either an op-amp of your own or gain and saturation")
            self.opamp.require_pins(2, OPAMP_PINS)
        refuse_idle(self)

    @property
    def present(self) -> bool:
        """Whether there is an amplifier at all."""
        return self.r_feedback > 0

    @property
    def linear(self) -> bool:
        """Whether it answers in proportion to the current; true also where there is none."""
        return not self.present or (self.saturation is None and self.opamp is None)

    @property
    def input_resistance(self) -> float:
        """Ohm of its input at small currents; 0 where there is none."""
        self._require_law()
        return self.r_feedback / (1.0 + self.gain)

    @property
    def returned_share(self) -> float:
        """What the read returns of a small current into it."""
        self._require_law()
        return self.gain / (1.0 + self.gain) if self.present else 1.0

    def input_voltage(self, current: FloatArray) -> FloatArray:
        """Volts at the input for amperes into it, v = R I + V_out."""
        if self.saturation is None:
            return np.asarray(self.input_resistance * current)
        return np.asarray(self.r_feedback * (current - self.returned(current)))

    def returned(self, current: FloatArray) -> FloatArray:
        """Amperes that the read returns, -V_out / R, for amperes into the input."""
        if self.saturation is None:
            return np.asarray(self.returned_share * current)
        z, below, above = self._roots(current)
        return np.asarray(self.saturation / self.r_feedback * 2.0 * z / (below + above))

    def returned_slope(self, current: FloatArray) -> FloatArray:
        """By how much of a small change of the current the returned one changes."""
        if self.saturation is None:
            return np.full_like(current, self.returned_share)
        z, below, above = self._roots(current)
        knee = self._knee
        turned = (z + knee) / below + (z - knee) / above
        return np.asarray(self.returned_share * 2.0 * (below + above - z * turned) / (below + above) ** 2)

    def by_parameters(self, current: FloatArray) -> dict[str, tuple[FloatArray, FloatArray]]:
        """By how much input voltage and returned current change with each parameter, at fixed current into the input.

        Returns:
            For r_feedback, gain and, where there is one, saturation: volts and amperes per unit of it.
        """
        returned, slope = self.returned(current), self.returned_slope(current)
        by_gain = current / (1.0 + self.gain) ** 2
        found = {"r_feedback": (current * (1.0 - slope), (slope * current - returned) / self.r_feedback)}
        if self.saturation is not None:
            z, below, above = self._roots(current)
            rounding = -((1.0 - (z + self._knee) / self._knee) / below + (1.0 + (z - self._knee) / self._knee) / above)
            by_rounding = self.saturation / self.r_feedback * z * rounding / (below + above) ** 2
            by_gain = (slope * current / self.returned_share - 0.5 * by_rounding) / (1.0 + self.gain) ** 2
            by_saturation = (returned - slope * current) / self.saturation
            found["saturation"] = (-self.r_feedback * by_saturation, by_saturation)
        return found | {"gain": (-self.r_feedback * by_gain, by_gain)}

    @property
    def _knee(self) -> float:
        """k, where the output leaves its line."""
        return float(np.sqrt(1.0 - 0.5 / (1.0 + self.gain)))

    def _roots(self, current: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """The z of the law and its two square roots."""
        z = self.returned_share * self.r_feedback * current / (self.saturation or np.inf)
        rounded = 0.5 / (1.0 + self.gain)
        return z, np.sqrt((z + self._knee) ** 2 + rounded), np.sqrt((z - self._knee) ** 2 + rounded)

    def _require_law(self) -> None:
        if self.opamp is not None and self.present:
            raise InvalidInputError(
                f"what the op-amp {self.opamp.name!r} does is known to its subcircuit alone; read with engine='ngspice'"
            )
