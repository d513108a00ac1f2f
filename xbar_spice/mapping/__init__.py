"""Weight matrices on arrays: how they are built, read, compensated and written as decks."""

from xbar_spice.mapping.analog_matrix import AnalogMatrix, program
from xbar_spice.mapping.base import IntArray, Layout, Lines, Mapping
from xbar_spice.mapping.compensation import Compensation, compensate
from xbar_spice.mapping.design import Design
from xbar_spice.mapping.export import design_comments, write_netlists
from xbar_spice.mapping.matrix import MappedArray, MappedMatrix, map_weights
from xbar_spice.mapping.offset import Offset
from xbar_spice.mapping.pairs import Differential, Interleaved, SignedRows
from xbar_spice.mapping.readout import Readout
from xbar_spice.mapping.slices import BitSliced
from xbar_spice.mapping.trace import ReadRecord, ReadTrace

__all__ = [
    "AnalogMatrix",
    "BitSliced",
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
    "Offset",
    "ReadRecord",
    "ReadTrace",
    "Readout",
    "SignedRows",
    "compensate",
    "design_comments",
    "map_weights",
    "program",
    "write_netlists",
]
