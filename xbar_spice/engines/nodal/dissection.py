"""The transfer matrix of a long array by nested dissection: blocks of cells, reduced to the lines that leave them.

From outside, a block is the couplings between its ports, the ends of its pieces of line. Neighbours are joined at the
ends that they share, which are then nodes inside and are eliminated. With C the couplings of these nodes to the
remaining ports and M their own part of Kirchhoff's laws, this adds

    C^T M^-1 C = X^T X,    X = L^-1 C,  M = L L^T,

to the couplings of the ports. From single cells on, halves are joined until the whole array is left, seen from its
terminals: about 25 N^3 operations, nearly all of them in the last few products, where line by line takes N^4.

Couplings are >= 0. The diagonal of M is no unknown of its own but the sum of all couplings of a node, and L^-1 has no
entry below 0, so that all sums here are of one sign and each entry of the result is accurate in itself, over any range
of conductances (Grassmann, Taksar and Heyman, Oper. Res. 33, 1107, 1985). The factor alone subtracts, in its pivots;
where nodes are coupled so much to each other that this would show, they are eliminated by halves.

The derivative goes from the whole array down to its cells. With v_i the voltages for 1 V at driven line i and u_j those
for 1 V at sensed line j, dT_ij/dc = -(v_i - v_i')(u_j - u_j') of a conductance c between two nodes. For a sum of
entries with weights w_ij, all that counts of a block is, between its ports,

    S = sum_ij w_ij (v_i u_j^T + u_j v_i^T) / 2.

With R = M^-1 C, the voltages of the nodes between two halves for 1 V at each port, R S and R S R^T take the places of
these nodes in S of the halves. All cells together take a few times what the transfer matrix takes.
"""

from __future__ import annotations

from typing import final

import numpy as np

from xbar_spice.engines.nodal.blocks import FAR_0, FAR_1, NEAR_0, NEAR_1, Block, joined, joined_all, pairs, parted
from xbar_spice.engines.nodal.grid import Grid
from xbar_spice.engines.nodal.line import Line
from xbar_spice.linear.operator import FloatArray

__all__ = ["dissected_gradient", "dissected_transfer"]

TOGETHER = 64  # cells along the side of a region whose blocks are reduced all at once


def dissected_transfer(grid: Grid) -> FloatArray:
    """Short-circuit currents of the lines along axis 0 for 1 V at each line along axis 1.

    Args:
        grid: linear cells, no line that floats, and wires with a resistance.

    Returns:
        (n0, n1), siemens, all >= 0.
    """
    array = _Array(grid)
    whole = array.reduced(slice(0, array.shape[0]), slice(0, array.shape[1]))
    near0, far0, near1, far1 = whole.spans
    transfer = whole.couplings[near1, near0]
    if grid.lines[0].double:
        transfer = transfer + whole.couplings[near1, far0]
    if grid.lines[1].double:
        transfer = transfer + whole.couplings[far1, near0]
    return np.ascontiguousarray(transfer[: grid.shape[0], : grid.shape[1]])


def dissected_gradient(grid: Grid, weights: FloatArray) -> FloatArray:
    """The gradient of sum(weights * dissected_transfer(grid)) with respect to every cell.

    Args:
        grid: as there.
        weights: (n0, n1) of the entries of the transfer matrix.

    Returns:
        (n0, n1), per siemens.
    """
    array = _Array(grid, keeps=True)
    everything = slice(0, array.shape[0]), slice(0, array.shape[1])
    whole = array.reduced(*everything)
    spans, doubles = whole.spans, [line.double for line in grid.lines]
    products = np.zeros_like(whole.couplings)
    for driven in (NEAR_1, FAR_1)[: 1 + doubles[1]]:
        for sensed in (NEAR_0, FAR_0)[: 1 + doubles[0]]:
            rows, cols = spans[driven].start, spans[sensed].start
            products[rows : rows + grid.shape[0], cols : cols + grid.shape[1]] = weights
    found = np.empty(array.shape)
    array.pull(*everything, 0.5 * (products + products.T), found)
    return found[: grid.shape[0], : grid.shape[1]]


@final
class _Array:
    """The cells, filled up to blocks of equal size by wires without cells.

    What is filled up lies behind the open ends of lines, or is part of the resistance of their far terminals.

    Args:
        grid: of linear cells.
        keeps: whether `reduced` keeps the halves of every region, which `pull` needs.
    """

    def __init__(self, grid: Grid, *, keeps: bool = False) -> None:
        self._keeps = keeps
        self._kept: dict[tuple[int, int, int, int], tuple[Block, Block]] = {}
        self._open = [kind for kind, line in zip((FAR_0, FAR_1), grid.lines, strict=True) if not line.double]
        self._wires = [1.0 / _resistances(line) for line in grid.lines]
        self.shape = tuple(len(wires) for wires in self._wires)
        self._conductance = np.zeros(self.shape)
        self._conductance[: grid.shape[0], : grid.shape[1]] = grid.conductance

    def reduced(self, first: slice, second: slice) -> Block:
        """The cells of these ranges along axis 0 and axis 1, seen from outside of the array and of this region."""
        if _at_once(first, second):
            block = joined_all(self._cells(first, second))
            open_ends = self._open_ends(first, second)
            return block.without(open_ends) if open_ends else block
        axis, halves = _halves(first, second)
        near, far = (self.reduced(*half) for half in halves)
        if self._keeps:
            self._kept[first.start, first.stop, second.start, second.stop] = near, far
        return joined(near, far, axis)

    def pull(self, first: slice, second: slice, products: FloatArray, found: FloatArray) -> None:
        """Write the gradient with respect to the cells of these ranges, from S of what is seen of them from outside."""
        if not _at_once(first, second):
            axis, halves = _halves(first, second)
            near, far = self._kept.pop((first.start, first.stop, second.start, second.stop))
            for half, part in zip(halves, parted(near, far, axis, products), strict=True):
                self.pull(*half, part, found)
            return
        blocks, joints = self._cells(first, second), []
        while blocks.couplings.shape[:2] != (1, 1):
            joints.append(pairs(blocks))
            blocks = joined(*joints[-1])
        open_ends = self._open_ends(first, second)
        if open_ends:
            products = blocks[0, 0].with_open(open_ends, products)
        products = products[np.newaxis, np.newaxis]
        for near, far, axis in reversed(joints):
            parts = parted(near, far, axis, products)
            lead = [size * (1 + (place == axis)) for place, size in enumerate(products.shape[:2])]
            products = np.empty((*lead, *parts[0].shape[2:]))
            for start, part in enumerate(parts):
                products[(slice(None),) * axis + (slice(start, None, 2),)] = part
        across = products[..., FAR_0, FAR_0] + products[..., FAR_1, FAR_1]
        found[first, second] = 2.0 * products[..., FAR_0, FAR_1] - across

    def _open_ends(self, first: slice, second: slice) -> list[int]:
        """Kinds of ports of this region that are the open ends of lines."""
        ends = {FAR_0: first.stop == self.shape[0], FAR_1: second.stop == self.shape[1]}
        return [kind for kind in self._open if ends[kind]]

    def _cells(self, first: slice, second: slice) -> Block:
        """(n0, n1) blocks of a cell with the wires between it and its nearer neighbours."""
        cells = self._conductance[first, second]
        couplings = np.zeros((4, 4, *cells.shape)).transpose(2, 3, 0, 1)  # the same of all blocks side by side
        for one, two, siemens in (
            (NEAR_0, FAR_0, self._wires[0][first, np.newaxis]),
            (NEAR_1, FAR_1, self._wires[1][second]),
            (FAR_0, FAR_1, cells),
        ):
            couplings[..., one, two] = couplings[..., two, one] = siemens
        return Block(couplings, (1, 1, 1, 1))


def _resistances(line: Line) -> FloatArray:
    """Ohm before every node of a line, and of those that fill it up to some blocks of equal size."""
    size = 1 << max(0, line.cells.bit_length() - 4)  # at least eight of these blocks
    nodes = -(-(line.cells + line.double) // size) * size
    ohms = np.full(nodes, line.segment)
    ohms[0] = line.terminal
    if line.double:
        ohms[line.cells :] = line.terminal / (nodes - line.cells)
    return ohms


def _at_once(first: slice, second: slice) -> bool:
    """Whether the cells of these ranges are reduced all together."""
    sides = [part.stop - part.start for part in (first, second)]
    return max(sides) <= TOGETHER and all(int(side).bit_count() == 1 for side in sides)


def _halves(first: slice, second: slice) -> tuple[int, list[tuple[slice, slice]]]:
    """The axis along which a region is cut, and its two halves."""
    if first.stop - first.start >= second.stop - second.start:
        return 0, [(part, second) for part in _parts(first)]
    return 1, [(first, part) for part in _parts(second)]


def _parts(cells: slice) -> tuple[slice, slice]:
    """Two parts, the first of a power of two."""
    middle = cells.start + (1 << (cells.stop - cells.start - 1).bit_length() - 1)
    return slice(cells.start, middle), slice(middle, cells.stop)
