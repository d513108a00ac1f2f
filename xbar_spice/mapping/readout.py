"""From the sense terminals of a matrix's arrays to digital numbers: read noise, then the ADCs.

Engines answer without either, so that both are the same whichever engine reads. Every array has its own noise; its
draws follow each other in the order of the reads, so that the same run sees the same noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np

from xbar_spice.errors import InvalidInputError
from xbar_spice.hardware.crossbar import Side
from xbar_spice.linear.operator import FloatArray
from xbar_spice.mapping.matrix import MappedArray, MappedMatrix

__all__ = ["Readout"]


@final
class Readout:
    """What stands between sense terminals and digital sums.

    Args:
        mapped: the arrays of a matrix, with the noise and the converters of its design.
        rng: source of the read noise; not needed without any.

    Raises:
        InvalidInputError: there is read noise and no generator.
    """

    def __init__(self, mapped: MappedMatrix, rng: np.random.Generator | None = None) -> None:
        design = mapped.design
        if design.noise.random and rng is None:
            raise InvalidInputError(
                f"{design.noise!r} draws random numbers: pass noise_rng=numpy.random.default_rng(seed), "
                "got no generator"
            )
        self._mapped, self._rng = mapped, rng
        self._full_scales: dict[Side, list[FloatArray | float]] = {}

    def __call__(self, currents: Sequence[FloatArray], drives: Sequence[FloatArray], side: Side) -> list[FloatArray]:
        """The currents that the digital side gets to know.

        Where plus and minus currents are subtracted before the ADC, the difference counts for the plus line and
        nothing for the minus line.

        Args:
            currents: of every array, (ports, batch) amperes.
            drives: of every array, (ports, batch) volts.
            side: the driven side.
        """
        found = list(currents)
        if self._rng is not None and self._mapped.design.noise.random:
            found = [
                amperes + self._mapped.design.noise.draw(sigma, self._rng)
                for amperes, sigma in zip(found, self._deviations(drives, side), strict=True)
            ]
        converters = self._mapped.design.converters
        if converters.exact_currents:
            return found
        joined = self._joined(found, side)
        return [converters.sense(amperes, top) for amperes, top in zip(joined, self._tops(side), strict=True)]

    def before(self, mapped: MappedMatrix) -> Readout:
        """Noise of the same source behind other arrays."""
        return Readout(mapped, self._rng)

    def needs_calibration(self, side: Side) -> bool:
        """Whether the ADCs of this direction still wait for `calibrate`."""
        converters = self._mapped.design.converters
        waits = not converters.exact_currents and converters.adc_reference == "calibration"
        return waits and side not in self._full_scales

    def calibrate(self, currents: Sequence[FloatArray], side: Side) -> None:
        """Set the full scale of the ADCs by what the lines carry.

        Args:
            currents: of every array, (ports, batch) amperes.
            side: the driven side.
        """
        joined = self._joined(list(currents), side)
        largest = [self._shared(np.abs(amperes).max(axis=1)) for amperes in joined]
        part, other = self._mapped.design.converters.adc_range, self._mapped.design.g_max * self._mapped.design.v_read
        self._full_scales[side] = [part * np.where(top > 0, top, other) for top in map(np.asarray, largest)]

    def variance(self, drives: Sequence[FloatArray], side: Side) -> list[FloatArray]:
        """Expected squares of what noise and ADCs add to the current of every line, (ports, batch) A^2 for each array.

        Rounding to a level is taken as an error that is uniform over one spacing; nothing is said of clipping.
        """
        spacing = self._mapped.design.converters.sense_spacing
        return [
            sigma**2 + spacing(top) ** 2 / 12 * self._share(side)
            for sigma, top in zip(self._deviations(drives, side), self._tops(side), strict=True)
        ]

    def _deviations(self, drives: Sequence[FloatArray], side: Side) -> list[FloatArray]:
        noise, g_max = self._mapped.design.noise, self._mapped.design.g_max
        # A cell counts its voltage from word line to bit line, so driving the columns reverses it.
        sign = 1.0 if side == "rows" else -1.0
        return [
            noise.current_deviation(
                _driven(array, side),
                sign * volts,
                array.crossbar.device,
                g_max,
                terminals=len(array.crossbar.hookup(side).sensed),
                programmed=self._before_drift(array, side),
            )
            for array, volts in zip(self._mapped.arrays, drives, strict=True)
        ]

    def _before_drift(self, array: MappedArray, side: Side) -> FloatArray | None:
        """(driven, sensed) siemens that programming left, if time has changed them."""
        if not self._mapped.design.after:
            return None
        written = self._mapped.written[array.devices]
        return written if side == "rows" else written.T

    def _subtracts(self, side: Side) -> bool:
        """Whether two lines share an ADC."""
        design = self._mapped.design
        return design.converters.subtraction == "analog" and design.mapping.subtracts(side)

    def _share(self, side: Side) -> float:
        """Conversions for each line."""
        return 0.5 if self._subtracts(side) else 1.0

    def _joined(self, currents: list[FloatArray], side: Side) -> list[FloatArray]:
        """The currents as the ADCs see them."""
        return self._mapped.design.mapping.subtracted(currents, side) if self._subtracts(side) else currents

    def _tops(self, side: Side) -> list[FloatArray | float]:
        """Full scale of the ADCs of every array, amperes: one, or (ports, 1)."""
        if side not in self._full_scales:
            self._full_scales[side] = self._largest_currents(side)
        return self._full_scales[side]

    def _largest_currents(self, side: Side) -> list[FloatArray | float]:
        design, arrays = self._mapped.design, self._mapped.arrays
        if design.converters.exact_currents or design.converters.adc_reference == "window":
            tops: list[FloatArray | float] = [design.g_max * _driven(array, side).shape[0] for array in arrays]
        else:
            by_line = [_driven(array, side).T for array in arrays]
            if self._subtracts(side):
                by_line = self._joined(by_line, "rows")
            tops = [self._shared(np.abs(line).sum(axis=1)) for line in by_line]
        # A line without devices carries nothing, whatever its full scale is.
        part = design.converters.adc_range * design.v_read
        return [part * np.where(top > 0, top, design.g_max) for top in map(np.asarray, tops)]

    def _shared(self, largest: FloatArray) -> FloatArray | float:
        """(ports,) the largest values of the lines as those of their ADCs."""
        return largest[:, np.newaxis] if self._mapped.design.converters.adc_shared == "line" else float(largest.max())


def _driven(array: MappedArray, side: Side) -> FloatArray:
    """(driven, sensed) siemens."""
    conductance = array.crossbar.conductance
    return conductance if side == "rows" else conductance.T
