"""Read noise: what makes two reads of the same array differ.

Every device's conductance fluctuates anew in each read, and every sense terminal adds a noise current of its own. A
sense current I_j thus has the variance

    var I_j = sum_i (dI(G_ij, V_i)/dG)^2 sigma_ij^2 + n sense^2,    ohmic cells: dI/dG = V_i,

with n sense terminals at the line, and the drive V_i in place of the cell's voltage: the currents of different lines
are then independent, and one normal number for each sense current has the very distribution that a normal number for
each device would give. Without wire and terminal resistance this is exact to first order in sigma. With them cells see
less than their drive and pass less of it on, so that the noise is estimated a little too high;
`tests/hardware/test_read_noise.py` holds it against arrays whose devices fluctuate one by one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal, final

import numpy as np

from xbar_spice.checks import DEVIATION, OneOf, Real, checked, refuse_idle, settle
from xbar_spice.errors import InvalidInputError
from xbar_spice.hardware.device import Device
from xbar_spice.linear.operator import FloatArray
from xbar_spice.settings import setting

__all__ = ["Noise", "ReadNoise", "cmo_read_noise", "pcm_read_noise", "thermal_noise"]

_BOLTZMANN = 1.380649e-23  # joules per kelvin

# Phase-change memory, sigma/G = min(0.0088 / g^0.65, 0.2) sqrt(ln((t + 250 ns) / 500 ns)) with g = G / g_max: the
# preset of aihwkit, after Joshi et al., Nat. Commun. 11 (2020) 2473.
_PCM_AT_G_MAX = 0.0088
_PCM_EXPONENT = 0.65
_CMO_UNIT = 1e-6  # siemens
_CMO_SIZE = 0.0277316483  # microsiemens
_PCM_LARGEST = 0.2 / _PCM_AT_G_MAX  # relative to the value at g_max

GROUP = "Read noise and converters"  # of the settings


class Noise(ABC):
    """What every read adds to its sense currents, drawn anew for each vector."""

    @property
    def random(self) -> bool:
        """True if reads with it need random numbers."""
        return True

    @abstractmethod
    def current_deviation(
        self,
        conductance: FloatArray,
        volts: FloatArray,
        device: Device,
        g_max: float,
        *,
        terminals: int = 1,
        programmed: FloatArray | None = None,
    ) -> FloatArray:
        """Standard deviation of sense currents.

        Args:
            conductance: (driven, sensed) siemens.
            volts: (driven, batch) across the cells of each driven line, as the cell's law counts it.
            device: law of the cells.
            g_max: highest programmed conductance, siemens.
            terminals: sense terminals of each sensed line, whose currents are added up.
            programmed: (driven, sensed) siemens before the devices drifted; None if they have not.

        Returns:
            (sensed, batch) amperes rms.
        """

    def draw(self, deviation: FloatArray, rng: np.random.Generator) -> FloatArray:
        """What one read adds to its currents, (sensed, batch) amperes: normal numbers, if nobody says otherwise.

        Args:
            deviation: (sensed, batch) amperes rms, see `current_deviation`.
            rng: of the read noise of this matrix; asked in the order of the reads.
        """
        return deviation * rng.standard_normal(deviation.shape)


@final
@dataclass(frozen=True)
class ReadNoise(Noise):
    """Noise of devices and sense terminals, independent from read to read.

    Attributes:
        device: relative standard deviation of the conductance of a device at `g_max`.
        law: how that depends on the conductance: "constant" not at all, "pcm" as measured in phase-change memory, where
            it grows as (g_max / G)^0.65, "cmo_hfox" as in CMO/HfOx, where G times it grows as log10(G / 1 uS).
        sense: amperes rms that every sense terminal adds, such as `thermal_noise`.

    Example:
        >>> ReadNoise(device=0.01).random
        True
    """

    NEEDS: ClassVar = {"law": "device"}

    device: float = setting(
        0.0,
        "Relative standard deviation of a device at the highest conductance from read to read.",
        GROUP,
        unit="part",
        flag="--noise",
        deviation=True,
    )
    law: Literal["constant", "pcm", "cmo_hfox"] = setting(
        "constant", "How the read noise of a device depends on its conductance.", GROUP, flag="--noise-law"
    )
    sense: float = setting(
        0.0, "Rms noise current that every sense terminal adds.", GROUP, unit="ampere", flag="--sense-noise"
    )

    def __post_init__(self) -> None:
        settle(self, device=DEVIATION, law=OneOf("constant", "pcm", "cmo_hfox"), sense=Real("A rms", least=0))
        refuse_idle(self)

    @property
    def random(self) -> bool:
        """True if reads with it need random numbers."""
        return self.device > 0 or self.sense > 0

    def conductance_deviation(
        self, conductance: FloatArray, g_max: float, programmed: FloatArray | None = None
    ) -> FloatArray:
        """Standard deviation of conductances of any shape, siemens.

        Args:
            conductance: of the devices as they are read, siemens.
            g_max: the highest programmed one.
            programmed: the same before they drifted, by which the laws count; left out, they have not.
        """
        written = conductance if programmed is None else programmed
        relative: FloatArray | float = self.device
        if self.law == "pcm":
            floor = _PCM_LARGEST ** (-1 / _PCM_EXPONENT)  # g below which the relative deviation grows no more
            relative = self.device * np.maximum(written / g_max, floor) ** -_PCM_EXPONENT
        elif self.law == "cmo_hfox":
            size, largest = (np.log10(np.maximum(g, _CMO_UNIT) / _CMO_UNIT) for g in (written, np.array(g_max)))
            if not largest > 0:
                raise InvalidInputError(f"the read noise of CMO/HfOx is known above 1 uS, got g_max = {g_max:g} S")
            # An amplitude in siemens, of devices that are there.
            return np.asarray(np.where(conductance > 0, self.device * g_max * size / largest, 0.0))
        return np.asarray(relative * conductance)

    def current_deviation(
        self,
        conductance: FloatArray,
        volts: FloatArray,
        device: Device,
        g_max: float,
        *,
        terminals: int = 1,
        programmed: FloatArray | None = None,
    ) -> FloatArray:
        """See `Noise.current_deviation`."""
        variance = np.full((conductance.shape[1], volts.shape[1]), terminals * self.sense**2)
        if self.device > 0:
            sigma = self.conductance_deviation(conductance, g_max, programmed)
            if device.linear:
                variance += (sigma**2).T @ volts**2
            else:
                slopes = device.conductance_sensitivity(conductance[:, :, np.newaxis], volts[:, np.newaxis, :])
                variance += np.einsum("ij,ijb->jb", sigma**2, slopes**2)
        return np.asarray(np.sqrt(variance))


@checked()
def cmo_read_noise(g_max: float, after: float, *, sense: float = 0.0) -> ReadNoise:
    """Read noise of CMO/HfOx, 0.02773 log10(G / 1 uS) sqrt(ln((t + 1 us) / 2 us)) microsiemens, as in aihwkit.

    Args:
        g_max: highest programmed conductance, siemens.
        after: seconds after programming, as `Design.after`.
        sense: amperes rms at every sense terminal.

    Raises:
        InvalidInputError: a time before 1 us, or conductances below 1 uS.

    Example:
        >>> noise = cmo_read_noise(80e-6, 86400.0)
        >>> round(1e6 * float(noise.conductance_deviation(np.array(80e-6), 80e-6)), 4)  # microsiemens
        0.2612
    """
    largest = Real("S", above=_CMO_UNIT, most=1e6, advice="its law is known above 1 uS")("g_max", g_max)
    time = Real("s", least=1e-6, most=1e12)("after", after)
    growth = float(np.sqrt(np.log((time + 1e-6) / 2e-6)))
    deviation = _CMO_UNIT * _CMO_SIZE * float(np.log10(largest / _CMO_UNIT)) * growth
    return ReadNoise(device=deviation / largest, law="cmo_hfox", sense=sense)


@checked()
def pcm_read_noise(seconds: float = 20.0, *, sense: float = 0.0) -> ReadNoise:
    """Read noise of phase-change memory.

    Args:
        seconds: after programming; the 1/f noise that a later read sees is larger. A read `Design.after` seconds after
            the conductances were verified, which is 20 s after programming, has `after + 20`.
        sense: amperes rms at every sense terminal.

    Raises:
        InvalidInputError: a time before 250 ns, from which on the law holds.

    Example:
        >>> round(pcm_read_noise(20.0).device, 4)
        0.0368
    """
    after = Real("s", least=250e-9, most=1e12, advice="the law of PCM read noise holds from 250 ns on")(
        "seconds", seconds
    )
    growth = float(np.sqrt(np.log((after + 250e-9) / 500e-9)))
    return ReadNoise(device=_PCM_AT_G_MAX * growth, law="pcm", sense=sense)


@checked()
def thermal_noise(conductance: float, bandwidth: float, kelvin: float = 300.0) -> float:
    """Johnson noise of a conductance, sqrt(4 k T G df), amperes rms: a lower bound of `ReadNoise.sense`.

    Args:
        conductance: siemens that the sense terminal sees; of a feedback resistor, too.
        bandwidth: hertz.
        kelvin: temperature.

    Example:
        >>> round(1e9 * thermal_noise(1e-3, 1e8), 1)  # nanoamperes
        40.7
    """
    siemens = Real("S", least=0)("conductance", conductance)
    hertz = Real("Hz", least=0)("bandwidth", bandwidth)
    temperature = Real("K", least=0)("kelvin", kelvin)
    return float(np.sqrt(4 * _BOLTZMANN * temperature * siemens * hertz))
