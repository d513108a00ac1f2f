"""The chip as values: the crossbar and its cells, amplifiers, converters, pulses, variation and noise."""

from xbar_spice.hardware.amplifier import Amplifier
from xbar_spice.hardware.cells import (
    Device,
    Ohmic,
    OneSelectorOneResistor,
    OneTransistorOneResistor,
    Polynomial,
    Sinh,
    SubcircuitCell,
)
from xbar_spice.hardware.converters import Converters, level_spacing, quantise
from xbar_spice.hardware.crossbar import Connection, Crossbar, Hookup, Side, Terminations
from xbar_spice.hardware.pulse import LineCapacitance, Pulse
from xbar_spice.hardware.read_noise import ReadNoise, pcm_read_noise, thermal_noise
from xbar_spice.hardware.subcircuit import Subcircuit
from xbar_spice.hardware.variation import Programmed, ProgrammingError, Variation

__all__ = [
    "Amplifier",
    "Connection",
    "Converters",
    "Crossbar",
    "Device",
    "Hookup",
    "LineCapacitance",
    "Ohmic",
    "OneSelectorOneResistor",
    "OneTransistorOneResistor",
    "Polynomial",
    "Programmed",
    "ProgrammingError",
    "Pulse",
    "ReadNoise",
    "Side",
    "Sinh",
    "Subcircuit",
    "SubcircuitCell",
    "Terminations",
    "Variation",
    "level_spacing",
    "pcm_read_noise",
    "quantise",
    "thermal_noise",
]
