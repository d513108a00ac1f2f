"""Converters between the digital numbers and the array: what finite resolution does to drives and sense currents.

Both kinds are mid-tread: with b bits there are 2^b - 1 levels k s, k = -(2^(b-1) - 1) ... 2^(b-1) - 1, evenly spaced
over +- full scale, so that zero stays zero and both ends are levels. Beyond full scale they clip. Quantisation is a
staircase whose derivative says nothing; gradients pass straight through it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal, final, overload

import numpy as np

from xbar_spice.checks import OneOf, Optional, Real, Whole, refuse_idle, settle
from xbar_spice.linear.operator import FloatArray
from xbar_spice.settings import setting

__all__ = ["Converter", "Converters", "level_spacing", "pulses", "quantise"]

LARGEST_RANGE = 1e12  # beyond it all currents of an array lie within half a level of zero, whatever the resolution

GROUP = "Read noise and converters"  # of the settings


class Converter(ABC):
    """What stands between digital numbers and arrays: DACs at the driven lines, ADCs at the sensed ones.

    Gradients pass straight through both. A class of one's own may state other values of these attributes.

    Attributes:
        adc_range: full scale of the ADCs, as part of the largest current that `adc_reference` allows for.
        adc_reference: what that largest current is, see `Converters`.
        adc_shared: what has one full scale, each "array" or each "line".
        subtraction: of the plus and minus currents of a weight, "digital" or "analog".
    """

    adc_range: float = 1.0
    adc_reference: Literal["window", "devices", "calibration"] = "window"
    adc_shared: Literal["array", "line"] = "array"
    subtraction: Literal["digital", "analog"] = "digital"

    @abstractmethod
    def drive(self, volts: FloatArray, full_scale: float) -> FloatArray:
        """What the DACs make of voltages of any shape between +- full scale, volts."""

    @abstractmethod
    def sense(self, currents: FloatArray, full_scale: FloatArray | float) -> FloatArray:
        """What the ADCs make of sense currents, amperes.

        Args:
            currents: (lines, batch).
            full_scale: of the ADCs, amperes: one, or (lines, 1).
        """

    @abstractmethod
    def drive_spacing(self, full_scale: float) -> float:
        """The spacing of levels, volts, over one of which the error of a drive spreads evenly; 0 if it has none.

        Any other error counts by its root mean square times the square root of 12.
        """

    @abstractmethod
    def sense_spacing(self, full_scale: FloatArray | float) -> FloatArray | float:
        """The same for the sense currents, amperes."""

    def pulses(self, volts: FloatArray, full_scale: float) -> tuple[FloatArray, FloatArray]:
        """The reads that are made of voltages, one after the other; one if nobody says otherwise.

        Args:
            volts: of any shape, which no DAC has seen yet.
            full_scale: of the DACs, volts.

        Returns:
            (reads, ...) volts, and (reads,) with which part the currents of each one count.
        """
        return self.drive(volts, full_scale)[np.newaxis], np.ones(1)

    @property
    def serial(self) -> bool:
        """True if `pulses` makes several reads, or one that is not `drive`, of a vector."""
        return type(self).pulses is not Converter.pulses

    @property
    def drive_resolution(self) -> str:
        """Of the DACs, in words for the manifest of a deck, such as "8 bits"; empty to name the class there."""
        return ""

    @property
    def exact_drives(self) -> bool:
        """True if DACs change nothing."""
        return self.drive_spacing(1.0) == 0.0

    @property
    def exact_currents(self) -> bool:
        """True if ADCs change nothing."""
        return self.sense_spacing(1.0) == 0.0

    @property
    def ideal(self) -> bool:
        """True if neither changes anything."""
        return self.exact_drives and self.exact_currents


@final
@dataclass(frozen=True)
class Converters(Converter):
    """Resolution of drives and sense currents, with evenly spaced levels.

    Attributes:
        dac_bits: of the drive voltages over [-v_read, v_read]; None is exact.
        adc_bits: of the sense currents; None is exact.
        adc_range: full scale of the ADCs, as part of the largest current that `adc_reference` allows for.
        adc_reference: what a line could carry at `v_read` on all inputs: "window" with all its devices at `g_max`,
            "devices" with the devices of the most conductive line of the array, to which the ADC is then calibrated;
            "calibration" what it did carry, without noise, when it was read with calibration vectors after programming.
        adc_shared: the full scale is that of the largest line of each "array", or each "line" has its own.
        subtraction: of the plus and minus currents of a weight: "digital" after an ADC for each, "analog" before one
            ADC for both. Currents of different tiles are always added digitally.

        input: "dac" drives with a voltage for each input; "bit_serial" with one pulse of `v_read` for each of the
            `dac_bits` bits of an input in two's complement, whose currents, after the ADCs, are shifted and added. The
            topmost bit counts negative. For linear cells and exact ADCs both give the same product, in both directions:
            the transposed read stays the exact transpose.

    Example:
        >>> Converters(adc_bits=8).ideal
        False
    """

    NEEDS: ClassVar = dict.fromkeys(("adc_range", "adc_reference", "adc_shared", "subtraction"), "adc_bits") | {
        "input": "dac_bits"
    }

    dac_bits: int | None = setting(
        None, "Resolution of the converters of the drive voltages.", GROUP, unit="bits", none="exact"
    )
    adc_bits: int | None = setting(
        None, "Resolution of the converters of the sense currents.", GROUP, unit="bits", none="exact"
    )
    adc_range: float = setting(1.0, "Full scale of the ADCs, as part of their reference.", GROUP, unit="part")
    adc_reference: Literal["window", "devices", "calibration"] = setting(
        "window",
        "Full-scale reference of the ADCs: all cells at the highest conductance, this array's own, or as measured.",
        GROUP,
    )
    adc_shared: Literal["array", "line"] = setting(
        "array", "What has one full scale of the ADCs: each array, or each line its own.", GROUP
    )
    subtraction: Literal["digital", "analog"] = setting(
        "digital", "Where plus and minus currents are subtracted: after their ADCs, or before one for both.", GROUP
    )
    input: Literal["dac", "bit_serial"] = setting(
        "dac", "Drive an input with a voltage, or with a pulse of v_read for each of its dac_bits bits.", GROUP
    )

    def __post_init__(self) -> None:
        bits = Optional(Whole(2, 32), "for exact")
        settle(
            self,
            dac_bits=bits,
            adc_bits=bits,
            adc_range=Real(above=0, most=LARGEST_RANGE, advice="it is a part of the largest current"),
            adc_reference=OneOf("window", "devices", "calibration"),
            adc_shared=OneOf("array", "line"),
            input=OneOf("dac", "bit_serial"),
            subtraction=OneOf("digital", "analog"),
        )
        refuse_idle(self)

    @property
    def serial(self) -> bool:
        """True if the bits of an input are read one after the other."""
        return self.input == "bit_serial" and self.dac_bits is not None

    @property
    def drive_resolution(self) -> str:
        """See `Converter.drive_resolution`."""
        return f"{self.dac_bits} bits"

    def drive(self, volts: FloatArray, full_scale: float) -> FloatArray:
        """The nearest levels of the DACs, see `Converter.drive`."""
        return quantise(volts, full_scale, self.dac_bits)

    def sense(self, currents: FloatArray, full_scale: FloatArray | float) -> FloatArray:
        """The nearest levels of the ADCs, see `Converter.sense`."""
        return quantise(currents, full_scale, self.adc_bits)

    def drive_spacing(self, full_scale: float) -> float:
        """See `Converter.drive_spacing`."""
        return level_spacing(full_scale, self.dac_bits)

    def sense_spacing(self, full_scale: FloatArray | float) -> FloatArray | float:
        """See `Converter.sense_spacing`."""
        return level_spacing(full_scale, self.adc_bits)

    def pulses(self, volts: FloatArray, full_scale: float) -> tuple[FloatArray, FloatArray]:
        """One pulse for each bit of an input if they are read in turn, see `Converter.pulses`."""
        if self.input == "dac" or self.dac_bits is None:
            return super().pulses(volts, full_scale)
        return pulses(volts, full_scale, self.dac_bits)


@overload
def level_spacing(full_scale: float, bits: int | None) -> float: ...


@overload
def level_spacing(full_scale: FloatArray, bits: int | None) -> FloatArray | float: ...


def level_spacing(full_scale: FloatArray | float, bits: int | None) -> FloatArray | float:
    """Distance of neighbouring levels of a converter, in the unit of its full scale; 0 if it is exact."""
    return 0.0 if bits is None else full_scale / (2 ** (bits - 1) - 1)


def pulses(values: FloatArray, full_scale: float, bits: int) -> tuple[FloatArray, FloatArray]:
    """The pulses that stand for values on `quantise`'s levels in two's complement.

    Args:
        values: of any shape.
        full_scale: of the values, and of a pulse.
        bits: of a value, with its sign.

    Returns:
        (bits, ...) full scale or 0, least significant bit first; and (bits,) with which part each counts.

    Example:
        >>> pulse, part = pulses(np.array([-1.0, 0.4]), 1.0, 3)  # -3 and 1 of 3
        >>> pulse.tolist(), part.round(3).tolist()
        ([[1.0, 1.0], [0.0, 0.0], [1.0, 0.0]], [0.333, 0.667, -1.333])
    """
    top = 2 ** (bits - 1) - 1
    numbers = np.rint(np.clip(values * (top / full_scale), -top, top)).astype(np.int64) % 2**bits
    place = np.arange(bits).reshape(-1, *(1,) * values.ndim)
    parts = 2.0 ** np.arange(bits)
    parts[-1] *= -1
    return (numbers >> place & 1) * full_scale, parts / top


def quantise(values: FloatArray, full_scale: FloatArray | float, bits: int | None) -> FloatArray:
    """The nearest level of a converter to each value.

    Args:
        values: of any shape.
        full_scale: the highest level, > 0, of a shape that broadcasts to that of the values, which are clipped to it.
        bits: resolution; None changes nothing.

    Example:
        >>> quantise(np.array([-2.0, -0.3, 0.0, 0.2, 0.6]), 1.0, 2).tolist()
        [-1.0, 0.0, 0.0, 0.0, 1.0]
    """
    if bits is None:
        return values
    top = 2 ** (bits - 1) - 1
    # Adding 0.0 turns -0.0 into 0.0.
    return np.asarray(np.clip(np.rint(values * (top / full_scale)), -top, top) * (full_scale / top) + 0.0)
