"""An array between terminals as a network in time: nodes, conductances by what they belong to, capacitances.

With e the voltages of all nodes above ground, the currents that flow out of the nodes into the network are

    G e + C de/dt,    G = cells + wires + periphery.

They are zero at the inner nodes; at the nodes of the sources they are what the sources deliver. The resistance of a
terminal and the segment behind it are in series and carry one current, so that no node stands between the two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array

from xbar_spice.hardware.biases import OPPOSITE_EDGES, BoolArray, End
from xbar_spice.hardware.crossbar import Crossbar, Edge
from xbar_spice.hardware.pulse import LineCapacitance
from xbar_spice.linear.operator import FloatArray

__all__ = ["Network", "build_network"]

IntArray = NDArray[np.int64]
Sparse: TypeAlias = "csr_array[Any, tuple[int, int]]"  # in quotes: before SciPy 1.16 the class takes no brackets


@final
@dataclass(frozen=True, eq=False)
class Network:
    """Nodes 0 .. inner-1 find their own voltage; those behind them are the sources, in the order of the terminals.

    Attributes:
        inner: number of nodes without a source.
        terminals: number of the others.
        word: (rows, cols) node at the word-line end of each cell; -1 where nothing is connected (0 V).
        bit: (rows, cols) node at its bit-line end.
        wires: (nodes, nodes) siemens, the segments of the lines.
        periphery: (nodes, nodes) siemens, drivers and sense terminals.
        cells: (nodes, nodes) siemens, cells taken as ohmic.
        capacitance: (nodes, nodes) farad.
    """

    inner: int
    terminals: int
    word: IntArray
    bit: IntArray
    wires: Sparse
    periphery: Sparse
    cells: Sparse
    capacitance: Sparse

    @property
    def nodes(self) -> int:
        """Number of nodes."""
        return self.inner + self.terminals

    @property
    def conductance(self) -> Sparse:
        """(nodes, nodes) siemens of everything."""
        return self.wires + self.periphery + self.cells


@final
class _Branches:
    """Two-terminal elements between nodes, gathered before they become a matrix."""

    def __init__(self) -> None:
        self._parts: list[tuple[IntArray, IntArray, FloatArray]] = []

    def add(self, first: IntArray, second: IntArray, value: FloatArray | float) -> None:
        """Elements of this value between these nodes."""
        first, second = np.ravel(first), np.ravel(second)
        self._parts.append((first, second, np.broadcast_to(np.ravel(value), first.shape)))

    def matrix(self, nodes: int, to_ground: FloatArray | None = None) -> Sparse:
        """Their Laplacian, and elements from each node to ground on its diagonal."""
        diagonal = np.arange(nodes)
        grounded = np.zeros(nodes) if to_ground is None else to_ground
        parts = self._parts or [(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), np.zeros(0))]
        first, second, value = (np.concatenate(part) for part in zip(*parts, strict=True))
        rows = np.concatenate([first, second, first, second, diagonal])
        cols = np.concatenate([first, second, second, first, diagonal])
        entries = np.concatenate([value, value, -value, -value, grounded])
        return csr_array(coo_array((entries, (rows, cols)), shape=(nodes, nodes)))


def build_network(
    crossbar: Crossbar, ends: Mapping[Edge, End], terminals: Sequence[tuple[Edge, int]], capacitance: LineCapacitance
) -> Network:
    """The network of an array between terminals, each given by the edge and the line where it stands."""
    word, bit, inner = _place_nodes(crossbar, ends, terminals)
    nodes = inner + len(terminals)
    wires, periphery = _line_conductances(crossbar, ends, terminals, word, bit, inner)
    cells, across = _Branches(), _Branches()
    present = crossbar.conductance > 0
    cells.add(word[present], bit[present], crossbar.conductance[present])
    across.add(word[present], bit[present], capacitance.c_cell)
    to_ground = np.zeros(nodes)
    np.add.at(to_ground, word[word >= 0], capacitance.c_word)
    np.add.at(to_ground, bit[bit >= 0], capacitance.c_bit)
    return Network(
        inner=inner,
        terminals=len(terminals),
        word=word,
        bit=bit,
        wires=wires.matrix(nodes),
        periphery=periphery.matrix(nodes),
        cells=cells.matrix(nodes),
        capacitance=across.matrix(nodes, to_ground),
    )


def _line_conductances(
    crossbar: Crossbar,
    ends: Mapping[Edge, End],
    terminals: Sequence[tuple[Edge, int]],
    word: IntArray,
    bit: IntArray,
    inner: int,
) -> tuple[_Branches, _Branches]:
    """Wires and periphery."""
    wires, periphery = _Branches(), _Branches()
    along, down = crossbar.segments("rows"), crossbar.segments("cols").T
    for nodes, inside, axis in ((word, along[:, 1:-1], 1), (bit, down[1:-1], 0)):
        first, second = (np.delete(nodes, cut, axis) for cut in (-1, 0))
        wired = (inside > 0) & (first >= 0)
        wires.add(first[wired], second[wired], 1.0 / inside[wired])
    at_ends = {
        "left": (word[:, 0], along[:, 0]),
        "right": (word[:, -1], along[:, -1]),
        "top": (bit[0], down[0]),
        "bottom": (bit[-1], down[-1]),
    }
    for pin, (edge, line) in enumerate(terminals, start=inner):
        nodes, segments = at_ends[edge]
        segment, ohms = segments[line], ends[edge].ohms[line]
        if (total := ohms + segment) > 0:
            between = np.array([pin]), nodes[[line]]
            wires.add(*between, segment / total**2)  # each takes its share of the power of both
            periphery.add(*between, ohms / total**2)
    return wires, periphery


def _place_nodes(
    crossbar: Crossbar, ends: Mapping[Edge, End], terminals: Sequence[tuple[Edge, int]]
) -> tuple[IntArray, IntArray, int]:
    """Nodes of word lines and bit lines, both (rows, cols), and the number of those without a source."""
    pins = {terminal: pin for pin, terminal in enumerate(terminals)}
    present: BoolArray = crossbar.conductance > 0
    placed, at_pins, inner = [], [], 0
    for (near, far), cells in zip(OPPOSITE_EDGES, (present, present.T), strict=True):
        segments = crossbar.segments(ends[near].side)
        nodes = np.full((segments.shape[0], segments.shape[1] - 1), -1, dtype=np.int64)
        sources = nodes.copy()
        for line, ohms in enumerate(segments):
            if not (cells[line].any() or ends[near].connected[line] or ends[far].connected[line]):
                continue  # nothing fixes its voltage
            group = np.append(0, np.cumsum(ohms[1:-1] > 0))
            for edge, at_end, touched in ((near, ohms[0], 0), (far, ohms[-1], group[-1])):
                if ends[edge].connected[line] and ends[edge].ohms[line] + at_end == 0:
                    sources[line, group == touched] = pins[edge, line]
            free, places = np.unique(group[sources[line] < 0], return_inverse=True)
            nodes[line, sources[line] < 0] = inner + places
            inner += free.size
        placed.append(nodes)
        at_pins.append(sources)
    word, bit = (np.where(sources >= 0, inner + sources, nodes) for nodes, sources in zip(placed, at_pins, strict=True))
    return word, bit.T, inner
