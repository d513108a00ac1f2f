"""Kirchhoff's equations of a crossbar as sparse matrices.

Unknowns are the voltages of the line nodes. Terminals are nodes of known voltage; a line that touches its terminal
without resistance is that very node, and a line without wire resistance is one node, so 0 ohm is exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csc_array

from xbar_spice.array import Connection, Crossbar, Hookup
from xbar_spice.linear import FloatArray

__all__ = ["Network", "build_network"]

IntArray = NDArray[np.int64]


@final
@dataclass(frozen=True)
class Network:
    """The linear network of one array under one hookup.

    Attributes:
        word: (rows, cols) node number of each cell's word-line end.
        bit: (rows, cols) node number of each cell's bit-line end.
        terminals: the terminal nodes of each connection, in the order of its lines.
        free: numbers of the nodes whose voltage is unknown.
        laplacian: (nodes, nodes) conductance matrix in siemens; row k times the voltages is the current that
            flows from node k into the network.
    """

    word: IntArray
    bit: IntArray
    terminals: dict[Connection, IntArray]
    free: IntArray
    laplacian: csc_array


def build_network(crossbar: Crossbar, hookup: Hookup) -> Network:
    """Number the nodes and stamp every resistor; linear cells only."""
    rows, cols = crossbar.shape
    word = _line_nodes(rows, cols, crossbar.r_word)
    bit = int(word.max()) + 1 + _line_nodes(cols, rows, crossbar.r_bit).T
    branches: list[tuple[IntArray, IntArray, FloatArray]] = [(word.ravel(), bit.ravel(), crossbar.conductance.ravel())]
    if crossbar.r_word > 0:
        branches.append(_wires(word[:, :-1], word[:, 1:], crossbar.r_word))
    if crossbar.r_bit > 0:
        branches.append(_wires(bit[:-1, :], bit[1:, :], crossbar.r_bit))
    count = int(bit.max()) + 1
    terminals: dict[Connection, IntArray] = {}
    for connection in hookup.driven + hookup.sensed:
        inner = {"left": word[:, 0], "right": word[:, -1], "top": bit[0, :], "bottom": bit[-1, :]}[connection.edge]
        resistance = connection.resistance + crossbar.segment_resistance(connection.side)
        if resistance == 0:
            terminals[connection] = inner
            continue
        terminals[connection] = np.arange(count, count + inner.size)
        branches.append(_wires(terminals[connection], inner, resistance))
        count += inner.size
    known = np.zeros(count, dtype=bool)
    known[np.concatenate(list(terminals.values()))] = True
    return Network(word, bit, terminals, np.flatnonzero(~known), _laplacian(branches, count))


def _line_nodes(lines: int, cells: int, segment_resistance: float) -> IntArray:
    """(lines, cells) node numbers from 0: one for each cell, or one for each line if its wire is ideal."""
    if segment_resistance > 0:
        return np.arange(lines * cells).reshape(lines, cells)
    return np.repeat(np.arange(lines)[:, np.newaxis], cells, axis=1)


def _wires(first: IntArray, second: IntArray, resistance: float) -> tuple[IntArray, IntArray, FloatArray]:
    return first.ravel(), second.ravel(), np.full(first.size, 1.0 / resistance)


def _laplacian(branches: list[tuple[IntArray, IntArray, FloatArray]], count: int) -> csc_array:
    first, second, conductance = (np.concatenate(parts) for parts in zip(*branches, strict=True))
    entries = np.concatenate([conductance, conductance, -conductance, -conductance])
    rows = np.concatenate([first, second, first, second])
    cols = np.concatenate([first, second, second, first])
    return csc_array(coo_array((entries, (rows, cols)), shape=(count, count)))
