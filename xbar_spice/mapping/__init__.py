"""Weight matrices on arrays: how they are built, read, compensated and written as decks."""

from xbar_spice.mapping.analog_matrix import AnalogMatrix, ReadRecord, ReadTrace, program
from xbar_spice.mapping.base import IntArray, Layout, Lines, Mapping, by_line
from xbar_spice.mapping.compensation import Compensation, compensate
from xbar_spice.mapping.design import Design
from xbar_spice.mapping.export import design_comments, write_netlists
from xbar_spice.mapping.matrix import MappedArray, MappedMatrix, map_weights
from xbar_spice.mapping.pairs import Differential, Interleaved
from xbar_spice.mapping.readout import Readout

__all__ = [
    "AnalogMatrix",
    "Compensation",
    "Design",
    "Differential",
    "IntArray",
    "Interleaved",
    "Layout",
    "Lines",
    "MappedArray",
    "MappedMatrix",
    "Mapping",
    "ReadRecord",
    "ReadTrace",
    "Readout",
    "by_line",
    "compensate",
    "design_comments",
    "map_weights",
    "program",
    "write_netlists",
]
