"""The chip as values: the crossbar and its cells, amplifiers, converters, pulses, variation and noise."""

from xbar_spice.hardware.amplifier import Amplifier
from xbar_spice.hardware.biases import (
    Biases,
    Currents,
    End,
    half_select,
    held_lines,
    name_lines,
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
from xbar_spice.hardware.crossbar import Crossbar, Edge, Hookup, Side, Terminations
from xbar_spice.hardware.drift import CmoDrift, Drift, DriftLaw, NoDrift, PcmDrift
from xbar_spice.hardware.pulse import LineCapacitance, Pulse
from xbar_spice.hardware.read_noise import ReadNoise, pcm_read_noise, thermal_noise
from xbar_spice.hardware.reads import (
    across_cells,
    circuit_of,
    read_biases,
    read_ends,
    reciprocal,
    require_known_voltages,
)
from xbar_spice.hardware.statistics import Correlated, InTurn, Levels, MeasuredProgramming, PublishedError, Stuck
from xbar_spice.hardware.subcircuit import Subcircuit
from xbar_spice.hardware.technology import Technology, technology, wire_technology
from xbar_spice.hardware.variation import Programmed, ProgrammingError, Variation
from xbar_spice.hardware.verilog_a import VerilogACell

__all__ = [
    "Amplifier",
    "Biases",
    "CmoDrift",
    "Converters",
    "Correlated",
    "Crossbar",
    "Currents",
    "Device",
    "Drift",
    "DriftLaw",
    "Edge",
    "End",
    "Hookup",
    "InTurn",
    "Levels",
    "LineCapacitance",
    "MeasuredProgramming",
    "NoDrift",
    "Ohmic",
    "OneSelectorOneResistor",
    "OneTransistorOneResistor",
    "PcmDrift",
    "Polynomial",
    "Programmed",
    "ProgrammingError",
    "PublishedError",
    "Pulse",
    "ReadNoise",
    "Side",
    "Sinh",
    "Stuck",
    "Subcircuit",
    "SubcircuitCell",
    "Technology",
    "Terminations",
    "Variation",
    "VerilogACell",
    "across_cells",
    "circuit_of",
    "half_select",
    "held_lines",
    "level_spacing",
    "name_lines",
    "pcm_read_noise",
    "quantise",
    "random_stream",
    "read_biases",
    "read_ends",
    "reciprocal",
    "require_held",
    "require_known_voltages",
    "require_resistance",
    "technology",
    "thermal_noise",
    "wire_technology",
]
