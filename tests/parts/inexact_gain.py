"""Converters of a user's own: exact DACs, and ADCs with a gain error."""

from dataclasses import dataclass

from xbar_spice.hardware.converters import Converter, level_spacing, quantise


@dataclass(frozen=True)
class InexactGain(Converter):
    """ADCs whose levels all lie too far out by the same part."""

    bits: int = 8
    gain_error: float = 0.01
    adc_reference = "devices"

    def drive(self, volts, full_scale):
        return volts

    def drive_spacing(self, full_scale):
        return 0.0

    def sense(self, currents, full_scale):
        return (1 + self.gain_error) * quantise(currents, full_scale, self.bits)

    def sense_spacing(self, full_scale):
        return level_spacing(full_scale, self.bits)
