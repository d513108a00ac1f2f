"""Converters between the digital numbers and the array: what finite resolution does to drives and sense currents.

Both kinds are mid-tread: with b bits there are 2^b - 1 levels k s, k = -(2^(b-1) - 1) ... 2^(b-1) - 1, evenly spaced
over +- full scale, so that zero stays zero and both ends are levels. Beyond full scale they clip. Quantisation is a
staircase whose derivative says nothing; gradients pass straight through it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, final, overload

import numpy as np

from xbar_spice.checks import OneOf, Optional, Real, Whole, refuse_idle, settle
from xbar_spice.linear.operator import FloatArray
from xbar_spice.settings import setting

__all__ = ["Converters", "level_spacing", "pulses", "quantise"]

LARGEST_RANGE = 1e12  # beyond it all currents of an array lie within half a level of zero, whatever the resolution

GROUP = "Read noise and converters"  # of the settings


@final
@dataclass(frozen=True)
class Converters:
    """Resolution of drives and sense currents.

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
    def ideal(self) -> bool:
        """True if nothing is quantised."""
        return self.dac_bits is None and self.adc_bits is None


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
