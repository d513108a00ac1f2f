"""Names of the nodes of an array in its deck."""

from __future__ import annotations

from collections.abc import Mapping

from xbar_spice.hardware.biases import OPPOSITE_EDGES, Biases, End
from xbar_spice.hardware.crossbar import Crossbar, Edge, Side
from xbar_spice.hardware.reads import read_ends

__all__ = ["line_nodes", "nodes_of"]


def line_nodes(crossbar: Crossbar, drive: Side | Biases = "rows") -> tuple[list[list[str]], list[list[str]]]:
    """Names of the nodes at each cell in the deck of one array: word-line ends and bit-line ends, both (rows, cols).

    Nodes without resistance between them are one, and have the name of the first of them; or that of a terminal which
    they touch.
    """
    if isinstance(drive, Biases):
        return nodes_of(crossbar, drive.ends(crossbar))
    return nodes_of(crossbar, read_ends(crossbar, drive))


def nodes_of(crossbar: Crossbar, ends: Mapping[Edge, End]) -> tuple[list[list[str]], list[list[str]]]:
    """The same with what stands at every edge."""
    word, bit = (_side_nodes(crossbar, ends[near], ends[far]) for near, far in OPPOSITE_EDGES)
    return word, [list(row) for row in zip(*bit, strict=True)]


def _side_nodes(crossbar: Crossbar, near: End, far: End) -> list[list[str]]:
    """Names of the nodes of each line of a side."""
    stem, named = ("w", "{0}_{1}") if near.side == "rows" else ("b", "{1}_{0}")
    lines = []
    for line, segments in enumerate(crossbar.segments(near.side).tolist()):
        cells = range(len(segments) - 1)
        first = [0] * len(segments)
        for cell in cells[1:]:
            first[cell] = cell if segments[cell] > 0 else first[cell - 1]
        ideal = not any(segments)
        names = [f"{stem}{line}" if ideal else stem + named.format(line, first[cell]) for cell in cells]
        for end, at_end, group in ((far, segments[-1], first[cells[-1]]), (near, segments[0], 0)):
            if end.connected[line] and end.ohms[line] + at_end == 0:
                names = [f"{end.edge}{line}" if first[cell] == group else names[cell] for cell in cells]
        lines.append(names)
    return lines
