"""The chip as values: the crossbar and its cells, amplifiers, converters, pulses, variation and noise."""

from xbar_spice.hardware.amplifier import Amplifier
from xbar_spice.hardware.biases import (
    Biases,
    Currents,
    End,
    half_select,
    held_lines,
    name_lines,
    read_biases,
    read_ends,
    require_held,
    require_resistance,
)
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
from xbar_spice.hardware.variation import Variation, random_stream

__all__ = [
    "Amplifier",
    "Biases",
    "Connection",
    "Converters",
    "Crossbar",
    "Currents",
    "Device",
    "End",
    "Hookup",
    "LineCapacitance",
    "Ohmic",
    "OneSelectorOneResistor",
    "OneTransistorOneResistor",
    "Polynomial",
    "Pulse",
    "ReadNoise",
    "Side",
    "Sinh",
    "Subcircuit",
    "SubcircuitCell",
    "Terminations",
    "Variation",
    "half_select",
    "held_lines",
    "level_spacing",
    "name_lines",
    "pcm_read_noise",
    "quantise",
    "random_stream",
    "read_biases",
    "read_ends",
    "require_held",
    "require_resistance",
    "thermal_noise",
]
