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
these nodes in S of the halves. All cells together take some four times what the transfer matrix takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import dpotrf, dtrtri

from xbar_spice.engines.nodal.grid import Grid
from xbar_spice.engines.nodal.line import Line
from xbar_spice.linear.operator import FloatArray

__all__ = ["dissected_gradient", "dissected_transfer"]

SINGLE = 2  # nodes of many blocks that are eliminated one after the other, all blocks at once
TOGETHER = 64
BATCHED = 16  # nodes up to which a factor of many small blocks takes one call
DOMINATED = 1e4  # ratio of couplings to each other and to ports from which pivots lose too many digits

NEAR_0, FAR_0, NEAR_1, FAR_1 = range(4)  # the kinds of ports: ends of lines along axis 0, and along axis 1


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
    array = _Array(grid)
    height, width = array.shape
    doubles = [line.double for line in grid.lines]
    sizes = (width, width * doubles[0], height, height * doubles[1])
    spans = _Block(np.empty((0, 0)), sizes).spans
    products = np.zeros((sum(sizes), sum(sizes)))
    for driven in (NEAR_1, FAR_1)[: 1 + doubles[1]]:
        for sensed in (NEAR_0, FAR_0)[: 1 + doubles[0]]:
            rows, cols = spans[driven].start, spans[sensed].start
            products[rows : rows + grid.shape[0], cols : cols + grid.shape[1]] = weights
    found = np.empty(array.shape)
    array.pull(slice(0, height), slice(0, width), 0.5 * (products + products.T), found)
    return found[: grid.shape[0], : grid.shape[1]]


@final
@dataclass(frozen=True, eq=False)
class _Block:
    """Blocks of the same size, any number of them.

    Attributes:
        couplings: (..., ports, ports) siemens, symmetric; the diagonal means nothing.
        sizes: how many ports of each kind: near and far ends of the lines along axis 0, then of those along axis 1.
    """

    couplings: FloatArray
    sizes: Sequence[int]

    @property
    def spans(self) -> list[slice]:
        """The places of the four kinds of ports."""
        return [slice(*span) for span in pairwise(accumulate(self.sizes, initial=0))]

    def __getitem__(self, some: Any) -> _Block:
        return _Block(self.couplings[some], self.sizes)

    def without(self, kinds: Sequence[int]) -> _Block:
        """The same with nothing connected to some kinds of ports."""
        inside, kept = self._places(kinds)
        rows = self.couplings[..., inside, :]
        added = _eliminated(rows[..., inside], rows[..., kept])
        return _Block(
            self.couplings[..., kept[:, np.newaxis], kept] + added,
            [0 if kind in kinds else size for kind, size in enumerate(self.sizes)],
        )

    def with_open(self, kinds: Sequence[int], products: FloatArray) -> FloatArray:
        """S of all ports from that of `without`."""
        inside, kept = self._places(kinds)
        rows = self.couplings[..., inside, :]
        reach = _levels(rows[..., inside], rows[..., kept])
        whole = np.empty_like(self.couplings)
        whole[..., kept[:, np.newaxis], kept] = products
        whole[..., inside[:, np.newaxis], kept] = reached = reach @ products
        whole[..., kept[:, np.newaxis], inside] = reached.swapaxes(-1, -2)
        whole[..., inside[:, np.newaxis], inside] = reached @ reach.swapaxes(-1, -2)
        return whole

    def _places(self, kinds: Sequence[int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Those of the ports of some kinds, and of all others."""
        spans = self.spans
        inside = np.concatenate([np.arange(spans[kind].start, spans[kind].stop) for kind in kinds])
        return inside, np.setdiff1d(np.arange(sum(self.sizes)), inside)


@final
class _Array:
    """The cells, filled up to blocks of equal size by wires without cells.

    What is filled up lies behind the open ends of lines, or is part of the resistance of their far terminals.
    """

    def __init__(self, grid: Grid) -> None:
        self._open = [kind for kind, line in zip((FAR_0, FAR_1), grid.lines, strict=True) if not line.double]
        self._wires = [1.0 / _resistances(line) for line in grid.lines]
        self.shape = tuple(len(wires) for wires in self._wires)
        self._conductance = np.zeros(self.shape)
        self._conductance[: grid.shape[0], : grid.shape[1]] = grid.conductance

    def reduced(self, first: slice, second: slice) -> _Block:
        """The cells of these ranges along axis 0 and axis 1, seen from outside of the array and of this region."""
        if _at_once(first, second):
            block = _joined_all(self._cells(first, second))
            open_ends = self._open_ends(first, second)
            return block.without(open_ends) if open_ends else block
        axis, halves = _halves(first, second)
        near, far = (self.reduced(*half) for half in halves)
        return _joined(near, far, axis)

    def pull(self, first: slice, second: slice, products: FloatArray, found: FloatArray) -> None:
        """Write the gradient with respect to the cells of these ranges, from S of what is seen of them from outside."""
        if not _at_once(first, second):
            axis, halves = _halves(first, second)
            near, far = (self.reduced(*half) for half in halves)
            for half, part in zip(halves, _parted(near, far, axis, products), strict=True):
                self.pull(*half, part, found)
            return
        blocks, joints = self._cells(first, second), []
        while blocks.couplings.shape[:2] != (1, 1):
            joints.append(_pairs(blocks))
            blocks = _joined(*joints[-1])
        open_ends = self._open_ends(first, second)
        if open_ends:
            products = blocks[0, 0].with_open(open_ends, products)
        products = products[np.newaxis, np.newaxis]
        for near, far, axis in reversed(joints):
            parts = _parted(near, far, axis, products)
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

    def _cells(self, first: slice, second: slice) -> _Block:
        """(n0, n1) blocks of a cell with the wires between it and its nearer neighbours."""
        cells = self._conductance[first, second]
        couplings = np.zeros((4, 4, *cells.shape)).transpose(2, 3, 0, 1)  # the same of all blocks side by side
        for one, two, siemens in (
            (NEAR_0, FAR_0, self._wires[0][first, np.newaxis]),
            (NEAR_1, FAR_1, self._wires[1][second]),
            (FAR_0, FAR_1, cells),
        ):
            couplings[..., one, two] = couplings[..., two, one] = siemens
        return _Block(couplings, (1, 1, 1, 1))


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


def _joined_all(blocks: _Block) -> _Block:
    """(n0, n1) blocks, both powers of two, as one."""
    while blocks.couplings.shape[:2] != (1, 1):
        blocks = _joined(*_pairs(blocks))
    return blocks[0, 0]


def _pairs(blocks: _Block) -> tuple[_Block, _Block, int]:
    """Every other block along an axis, those that follow them, and the axis."""
    axis = int(blocks.couplings.shape[1] >= blocks.couplings.shape[0])
    if blocks.sizes[2 * axis] > SINGLE:
        blocks = _Block(np.ascontiguousarray(blocks.couplings), blocks.sizes)
    near, far = (blocks[(slice(None),) * axis + (slice(start, None, 2),)] for start in (0, 1))
    return near, far, axis


Part = tuple[FloatArray, slice, list[tuple[slice, slice]]]


def _joined(near: _Block, far: _Block, axis: int) -> _Block:
    """Blocks that follow each other along an axis, the far ends of the one being the near ends of the other."""
    inner, outer, parts, sizes = _joint(near, far, axis)
    total = _eliminated(inner, outer)
    for couplings, _, kept in parts:
        for place, span in kept:
            for other_place, other_span in kept:
                total[..., place, other_place] += couplings[..., span, other_span]
    return _Block(total, sizes)


def _parted(near: _Block, far: _Block, axis: int, products: FloatArray) -> list[FloatArray]:
    """S of both, from that of both joined."""
    inner, outer, parts, _ = _joint(near, far, axis)
    reach = _levels(inner, outer)
    reached = reach @ products
    between = reached @ reach.swapaxes(-1, -2)
    found = []
    for couplings, inside, kept in parts:
        one = np.empty(couplings.shape)
        one[..., inside, inside] = between
        for place, span in kept:
            one[..., inside, span] = reached[..., place]
            one[..., span, inside] = reached[..., place].swapaxes(-1, -2)
            for other_place, other_span in kept:
                one[..., span, other_span] = products[..., place, other_place]
        found.append(one)
    return found


def _joint(near: _Block, far: _Block, axis: int) -> tuple[FloatArray, FloatArray, list[Part], list[int]]:
    """Where two blocks meet: couplings between the shared nodes, and to the ports of both, as `_eliminated` takes them.

    Of each block its couplings, the place of the shared nodes in it, and where its other ports come to lie; then how
    many ports of each kind there are together.
    """
    near_ends, far_ends = 2 * axis, 2 * axis + 1
    sizes = [one + two for one, two in zip(near.sizes, far.sizes, strict=True)]
    sizes[near_ends], sizes[far_ends] = near.sizes[near_ends], far.sizes[far_ends]
    whole = _Block(near.couplings, sizes).spans
    parts = [
        (near.couplings, near.spans[far_ends], _runs(near, far_ends, [span.start for span in whole])),
        (
            far.couplings,
            far.spans[near_ends],
            _runs(far, near_ends, [span.stop - size for span, size in zip(whole, far.sizes, strict=True)]),
        ),
    ]
    inner = np.add(*(couplings[..., inside, inside] for couplings, inside, _ in parts))
    outer = _zeros_like(inner, sum(sizes))
    for couplings, inside, kept in parts:
        for place, span in kept:
            outer[..., place] += couplings[..., inside, span]
    return inner, outer, parts, sizes


def _runs(block: _Block, inside: int, starts: Sequence[int]) -> list[tuple[slice, slice]]:
    """Where ports come to lie and where they are now, but for one kind; of those that stay together, as one."""
    runs: list[tuple[slice, slice]] = []
    for kind, (start, span) in enumerate(zip(starts, block.spans, strict=True)):
        stop = start + span.stop - span.start
        if runs and kind != inside and (runs[-1][0].stop, runs[-1][1].stop) == (start, span.start):
            place, before = runs.pop()
            runs.append((slice(place.start, stop), slice(before.start, span.stop)))
        elif kind != inside:
            runs.append((slice(start, stop), span))
    return runs


def _zeros_like(inner: FloatArray, ports: int) -> FloatArray:
    """(..., nodes, ports), in the order of memory of the couplings between the nodes."""
    if inner.shape[-1] > SINGLE:
        return np.zeros((*inner.shape[:-1], ports))
    return np.moveaxis(np.zeros((inner.shape[-1], ports, *inner.shape[:-2])), (0, 1), (-2, -1))


def _eliminated(inner: FloatArray, outer: FloatArray) -> FloatArray:
    """(..., ports, ports) siemens that nodes add between the ports.

    Args:
        inner: (..., nodes, nodes) couplings between the nodes; the diagonal means nothing.
        outer: (..., nodes, ports) couplings to the ports.
    """
    nodes = inner.shape[-1]
    if nodes <= SINGLE:
        return _one_by_one(inner, outer)
    itself = np.arange(nodes)
    matrix = -inner
    matrix[..., itself, itself] = 0.0
    to_ports, to_nodes = outer.sum(axis=-1), -matrix.sum(axis=-1)
    if (to_nodes > DOMINATED * to_ports).any():
        return _by_halves(inner, outer)
    matrix[..., itself, itself] = to_ports + to_nodes
    reach = _inverse_factor(matrix) @ outer
    return np.asarray(reach.swapaxes(-1, -2) @ reach)


def _levels(inner: FloatArray, outer: FloatArray) -> FloatArray:
    """(..., nodes, ports) voltages of nodes with 1 V at each port, as `_eliminated` has them."""
    itself = np.arange(inner.shape[-1])
    matrix = -inner
    matrix[..., itself, itself] = 0.0
    total = outer.sum(axis=-1) - matrix.sum(axis=-1)
    matrix[..., itself, itself] = np.where(total > 0, total, 1.0)
    if len(itself) <= BATCHED:
        return np.asarray(np.linalg.solve(matrix, outer), dtype=float)
    inverse = _inverse_factor(matrix)
    return np.asarray(inverse.swapaxes(-1, -2) @ (inverse @ outer))


def _one_by_one(inner: FloatArray, outer: FloatArray) -> FloatArray:
    """`_eliminated`, a node after the other: each one shares what comes from one side among the others."""
    nodes = inner.shape[-1]
    reach = _zeros_like(inner, nodes + outer.shape[-1])
    reach[..., :nodes], reach[..., nodes:] = inner, outer
    added = None
    for node in range(nodes):
        passed = reach[..., node, node + 1 :]
        total = passed.sum(axis=-1, keepdims=True)
        share = passed / np.where(total > 0, total, 1.0)
        left = nodes - node - 1
        reach[..., node + 1 :, node + 1 :] += share[..., :left, np.newaxis] * passed[..., np.newaxis, :]
        between = share[..., left:, np.newaxis] * passed[..., np.newaxis, left:]
        added = between if added is None else np.add(added, between, out=added)
    return np.asarray(added)


def _by_halves(inner: FloatArray, outer: FloatArray) -> FloatArray:
    """`_eliminated`, the first half of the nodes before the others, to which they are ports."""
    half = inner.shape[-1] // 2
    first, rest = slice(0, half), slice(half, None)
    passed = _eliminated(
        inner[..., first, first], np.concatenate([outer[..., first, :], inner[..., first, rest]], axis=-1)
    )
    ports, others = slice(0, outer.shape[-1]), slice(outer.shape[-1], None)
    total = _eliminated(
        inner[..., rest, rest] + passed[..., others, others], outer[..., rest, :] + passed[..., others, ports]
    )
    total += passed[..., ports, ports]
    return total


def _inverse_factor(matrix: FloatArray) -> FloatArray:
    """L^-1 of symmetric matrices L L^T, (..., nodes, nodes)."""
    if matrix.shape[-1] <= BATCHED:
        return np.linalg.inv(np.linalg.cholesky(matrix))
    inverse = np.empty_like(matrix)
    for place in np.ndindex(matrix.shape[:-2]):
        inverse[place] = dtrtri(dpotrf(matrix[place], lower=1)[0], lower=1)[0]
    return inverse
