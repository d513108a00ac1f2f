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
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any, final

import numpy as np
from scipy.linalg.lapack import dpotrf, dtrtri

from xbar_spice.engines.nodal.grid import Grid
from xbar_spice.engines.nodal.line import Line
from xbar_spice.linear.operator import FloatArray

__all__ = ["dissected_transfer"]

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
        spans = self.spans
        inside = np.concatenate([np.arange(spans[kind].start, spans[kind].stop) for kind in kinds])
        kept = np.setdiff1d(np.arange(sum(self.sizes)), inside)
        rows = self.couplings[..., inside, :]
        added = _eliminated(rows[..., inside], rows[..., kept])
        return _Block(
            self.couplings[..., kept[:, np.newaxis], kept] + added,
            [0 if kind in kinds else size for kind, size in enumerate(self.sizes)],
        )


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
        height, width = first.stop - first.start, second.stop - second.start
        if max(height, width) <= TOGETHER and height.bit_count() == width.bit_count() == 1:
            block = _joined_all(self._cells(first, second))
            ends = {FAR_0: first.stop == self.shape[0], FAR_1: second.stop == self.shape[1]}
            open_ends = [kind for kind in self._open if ends[kind]]
            return block.without(open_ends) if open_ends else block
        if height >= width:
            near, far = (self.reduced(part, second) for part in _parts(first))
            return _joined(near, far, axis=0)
        near, far = (self.reduced(first, part) for part in _parts(second))
        return _joined(near, far, axis=1)

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


def _parts(cells: slice) -> tuple[slice, slice]:
    """Two parts, the first of a power of two."""
    middle = cells.start + (1 << (cells.stop - cells.start - 1).bit_length() - 1)
    return slice(cells.start, middle), slice(middle, cells.stop)


def _joined_all(blocks: _Block) -> _Block:
    """(n0, n1) blocks, both powers of two, as one."""
    while blocks.couplings.shape[:2] != (1, 1):
        axis = int(blocks.couplings.shape[1] >= blocks.couplings.shape[0])
        if blocks.sizes[2 * axis] > SINGLE:
            blocks = _Block(np.ascontiguousarray(blocks.couplings), blocks.sizes)
        near, far = (blocks[(slice(None),) * axis + (slice(start, None, 2),)] for start in (0, 1))
        blocks = _joined(near, far, axis)
    return blocks[0, 0]


def _joined(near: _Block, far: _Block, axis: int) -> _Block:
    """Blocks that follow each other along an axis, the far ends of the one being the near ends of the other."""
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
    total = _eliminated(inner, outer)
    for couplings, _, kept in parts:
        for place, span in kept:
            for other_place, other_span in kept:
                total[..., place, other_place] += couplings[..., span, other_span]
    return _Block(total, sizes)


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
