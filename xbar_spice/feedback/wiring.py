"""Which rail drives each line of a matrix's arrays, and which summing node takes its current.

A read subtracts the currents of minus devices digitally; a feedback circuit has to do it by itself. Driven lines that
belong to minus devices hang on rails of inverted voltage. Where plus and minus devices share a driven line (interleaved
pairs, read forward), the minus currents go to summing nodes of their own, whose amplifiers invert them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

import numpy as np
from numpy.typing import NDArray

from xbar_spice.engines.nodal.ports import port_conductance
from xbar_spice.errors import InvalidInputError
from xbar_spice.hardware.amplifier import Amplifier
from xbar_spice.hardware.crossbar import Side
from xbar_spice.linear.operator import FloatArray
from xbar_spice.mapping.matrix import MappedArray, MappedMatrix

__all__ = ["ArrayWiring", "Wiring", "wire"]

IntArray = NDArray[np.int64]


@final
@dataclass(frozen=True, eq=False)
class ArrayWiring:
    """Where the lines of one array go.

    Attributes:
        array: the array.
        rails: (driven lines,) input of each line, plus the number of inputs if it is on the inverted rail.
        nodes: (sensed lines,) output of each line, plus the number of outputs if its current is inverted.
    """

    array: MappedArray
    rails: IntArray
    nodes: IntArray


@final
@dataclass(frozen=True, eq=False)
class Wiring:
    """The arrays of a matrix between the rails of its inputs and the summing nodes of its outputs.

    Attributes:
        inputs: length of the vector that is multiplied.
        outputs: length of the product.
        side: the driven side of the arrays.
        siemens_per_weight: conductance of a weight of 1.
        arrays: where the lines of each array go.
    """

    inputs: int
    outputs: int
    side: Side
    siemens_per_weight: float
    arrays: tuple[ArrayWiring, ...]

    @property
    def inverts_inputs(self) -> bool:
        """Whether there are rails of inverted voltage."""
        return any((wired.rails >= self.inputs).any() for wired in self.arrays)

    @property
    def inverts_outputs(self) -> bool:
        """Whether there are summing nodes whose current is inverted."""
        return any((wired.nodes >= self.outputs).any() for wired in self.arrays)

    @property
    def rails(self) -> int:
        """Number of rails, those of inverted voltage behind the others."""
        return self.inputs * (1 + self.inverts_inputs)

    @property
    def nodes(self) -> int:
        """Number of summing nodes, those of inverted currents behind the others."""
        return self.outputs * (1 + self.inverts_outputs)

    def conductance(self) -> FloatArray:
        """(rails + nodes, rails + nodes) siemens: what flows into the arrays at each of them for 1 V at another."""
        total = np.zeros((self.rails + self.nodes,) * 2)
        for wired in self.arrays:
            lines = np.concatenate([wired.rails, self.rails + wired.nodes])
            np.add.at(total, np.ix_(lines, lines), port_conductance(wired.array.crossbar, self.side))
        return total


def wire(mapped: MappedMatrix, side: Side) -> Wiring:
    """The wiring of a product with W (side "rows") or with W^T (side "cols").

    The op-amps of the circuit stand where reads may have amplifiers, which are left out.

    Raises:
        InvalidInputError: the word lines are read in parts, which no circuit of all of them is.
    """
    if mapped.design.active_rows is not None:
        raise InvalidInputError(
            f"a feedback circuit has all word lines at once, got active_rows={mapped.design.active_rows}; leave it out"
        )
    outputs, inputs = mapped.shape
    for array in mapped.arrays:
        simple = array.factor == 1 and array.cols.shared is None and array.cols.scale is None
        if not (simple and (array.rows.weight == 1).all() and (np.abs(array.cols.weight) == 1).all()):
            raise InvalidInputError(
                "a feedback circuit adds and subtracts currents as they are, which needs pairs of devices on bit lines "
                f"with one scale for the matrix and no digital factors, got {mapped.design.mapping!r} with scale "
                f"{mapped.design.scale!r}; try mapping='differential' or 'interleaved', scale='matrix'"
            )
    arrays = []
    for mapped_array in mapped.arrays:
        array = replace(mapped_array, crossbar=replace(mapped_array.crossbar, amplifier=Amplifier()))
        minus = array.signs < 0
        if side == "cols":
            arrays.append(ArrayWiring(array, array.outputs + outputs * minus, array.inputs))
        elif (minus == minus[0]).all():
            arrays.append(ArrayWiring(array, array.inputs + inputs * int(minus[0]), array.outputs))
        else:
            arrays.append(ArrayWiring(array, array.inputs, array.outputs + outputs * minus))
    if side == "cols":
        inputs, outputs = outputs, inputs
    return Wiring(inputs, outputs, side, mapped.siemens_per_weight, tuple(arrays))
