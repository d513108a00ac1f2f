"""An array under a read as a network in time: nodes, conductances by what they belong to, capacitances.

With e the voltages of all nodes above ground, the currents that flow out of the nodes into the network are

    G e + C de/dt,    G = cells + wires + periphery.

They are zero at the inner nodes; at the nodes of the sources they are what the sources deliver. The resistance of a
terminal and the segment behind it are in series and carry one current, so that no node stands between the two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias, final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array

from xbar_spice.hardware.crossbar import Connection, Crossbar, Side
from xbar_spice.hardware.pulse import LineCapacitance
from xbar_spice.linear.operator import FloatArray

__all__ = ["Network", "Source", "build_network"]

IntArray = NDArray[np.int64]
Sparse: TypeAlias = "csr_array[Any, tuple[int, int]]"  # in quotes: before SciPy 1.16 the class takes no brackets


@final
@dataclass(frozen=True)
class Source:
    """A voltage source of the network: the line it stands at, and whether it is driven or senses at 0 V."""

    line: int
    driven: bool


@final
@dataclass(frozen=True, eq=False)
class Network:
    """Nodes 0 .. inner-1 find their own voltage; those behind them are the sources, in the order of `sources`.

    Attributes:
        inner: number of nodes without a source.
        sources: what stands at each of the others.
        word: (rows, cols) node at the word-line end of each cell; -1 where nothing is connected (0 V).
        bit: (rows, cols) node at its bit-line end.
        wires: (nodes, nodes) siemens, the segments of the lines.
        periphery: (nodes, nodes) siemens, drivers and sense terminals.
        cells: (nodes, nodes) siemens, cells taken as ohmic.
        capacitance: (nodes, nodes) farad.
    """

    inner: int
    sources: tuple[Source, ...]
    word: IntArray
    bit: IntArray
    wires: Sparse
    periphery: Sparse
    cells: Sparse
    capacitance: Sparse

    @property
    def nodes(self) -> int:
        """Number of nodes."""
        return self.inner + len(self.sources)

    @property
    def conductance(self) -> Sparse:
        """(nodes, nodes) siemens of everything."""
        return self.wires + self.periphery + self.cells

    def source_nodes(self, *, driven: bool) -> tuple[IntArray, IntArray]:
        """Node and line of each source that drives, or of each that senses."""
        chosen = [(self.inner + k, source.line) for k, source in enumerate(self.sources) if source.driven == driven]
        nodes, lines = np.array(chosen, dtype=np.int64).reshape(-1, 2).T
        return nodes, lines


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


def build_network(crossbar: Crossbar, side: Side, capacitance: LineCapacitance) -> Network:
    """The network of a read that drives `side`."""
    hookup = crossbar.hookup(side)
    ends = [(connection, connection in hookup.driven) for connection in hookup.driven + hookup.sensed]
    sources = tuple(Source(line, driven) for connection, driven in ends for line in crossbar.connected(connection.side))
    word, bit, inner = _place_nodes(crossbar, [connection for connection, _ in ends])
    nodes = inner + len(sources)
    wires, periphery = _line_conductances(crossbar, [connection for connection, _ in ends], word, bit, inner)
    cells, across = _Branches(), _Branches()
    present = crossbar.conductance > 0
    cells.add(word[present], bit[present], crossbar.conductance[present])
    across.add(word[present], bit[present], capacitance.c_cell)
    to_ground = np.zeros(nodes)
    np.add.at(to_ground, word[word >= 0], capacitance.c_word)
    np.add.at(to_ground, bit, capacitance.c_bit)
    return Network(
        inner=inner,
        sources=sources,
        word=word,
        bit=bit,
        wires=wires.matrix(nodes),
        periphery=periphery.matrix(nodes),
        cells=cells.matrix(nodes),
        capacitance=across.matrix(nodes, to_ground),
    )


def _line_conductances(
    crossbar: Crossbar, ends: list[Connection], word: IntArray, bit: IntArray, inner: int
) -> tuple[_Branches, _Branches]:
    """Wires and periphery."""
    wires, periphery = _Branches(), _Branches()
    if crossbar.r_word > 0:
        kept = word[word[:, 0] >= 0]
        wires.add(kept[:, :-1], kept[:, 1:], 1.0 / crossbar.r_word)
    if crossbar.r_bit > 0:
        wires.add(bit[:-1], bit[1:], 1.0 / crossbar.r_bit)
    source = inner
    for connection in ends:
        lines = np.array(crossbar.connected(connection.side), dtype=np.int64)
        pins = source + np.arange(lines.size)
        source += lines.size
        segment = crossbar.segment_resistance(connection.side)
        if (total := connection.resistance + segment) > 0:
            line_ends = {"left": word[:, 0], "right": word[:, -1], "top": bit[0], "bottom": bit[-1]}
            line_end = line_ends[connection.edge][lines]
            wires.add(pins, line_end, segment / total**2)  # each takes its share of the power of both
            periphery.add(pins, line_end, connection.resistance / total**2)
    return wires, periphery


def _place_nodes(crossbar: Crossbar, ends: list[Connection]) -> tuple[IntArray, IntArray, int]:
    """Nodes of word lines and bit lines, both (rows, cols), and the number of those without a source."""
    rows, cols = crossbar.shape
    places: dict[Side, IntArray] = {}
    inner = 0
    # A row with neither terminals nor cells has no node: nothing fixes its voltage.
    bare = crossbar.bare_rows
    extents: tuple[tuple[Side, int, int], ...] = (("rows", rows, cols), ("cols", cols, rows))
    for side, lines, cells in extents:
        at_source = crossbar.connected(side) if any(c.side == side and _touches(crossbar, c) for c in ends) else ()
        along = np.arange(cells) if crossbar.segment_resistance(side) > 0 else np.zeros(cells, dtype=np.int64)
        places[side] = np.full((lines, cells), -1, dtype=np.int64)
        for line in range(lines):
            if line not in at_source and not (side == "rows" and line in bare):
                places[side][line] = inner + along
                inner += 1 + int(along[-1])
    source = inner
    for connection in ends:
        connected = list(crossbar.connected(connection.side))
        if _touches(crossbar, connection):
            places[connection.side][connected] = source + np.arange(len(connected))[:, np.newaxis]
        source += len(connected)
    return places["rows"], places["cols"].T, inner


def _touches(crossbar: Crossbar, connection: Connection) -> bool:
    """Whether lines are their sources' nodes."""
    return connection.resistance == 0 and crossbar.segment_resistance(connection.side) == 0
