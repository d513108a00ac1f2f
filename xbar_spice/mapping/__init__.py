"""Weight matrices on arrays: how they are built, read, compensated and written as decks."""

from xbar_spice.mapping.analog_matrix import AnalogMatrix, ReadRecord, ReadTrace, program
from xbar_spice.mapping.compensation import Compensation, compensate
from xbar_spice.mapping.export import design_comments, write_netlists
from xbar_spice.mapping.matrix import Design, MappedArray, MappedMatrix, map_weights
from xbar_spice.mapping.readout import Readout

__all__ = [
    "AnalogMatrix",
    "Compensation",
    "Design",
    "MappedArray",
    "MappedMatrix",
    "ReadRecord",
    "ReadTrace",
    "Readout",
    "compensate",
    "design_comments",
    "map_weights",
    "program",
    "write_netlists",
]
