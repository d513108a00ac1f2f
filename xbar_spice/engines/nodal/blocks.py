"""Blocks of cells as the couplings between their ports, the ends of their pieces of line: joined, and taken apart.

`dissection` says what for, and what S is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import dpotrf, dtrtri

from xbar_spice.linear.operator import FloatArray

__all__ = ["FAR_0", "FAR_1", "NEAR_0", "NEAR_1", "Block", "joined", "joined_all", "pairs", "parted"]

SINGLE = 2  # nodes of many blocks that are eliminated one after the other, all blocks at once
BATCHED = 16  # nodes up to which a factor of many small blocks takes one call
DOMINATED = 1e4  # ratio of couplings to each other and to ports from which pivots lose too many digits

NEAR_0, FAR_0, NEAR_1, FAR_1 = range(4)  # the kinds of ports: ends of lines along axis 0, and along axis 1


@final
@dataclass(frozen=True, eq=False)
class Block:
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

    def __getitem__(self, some: Any) -> Block:
        return Block(self.couplings[some], self.sizes)

    def without(self, kinds: Sequence[int]) -> Block:
        """The same with nothing connected to some kinds of ports."""
        inside, kept = self._places(kinds)
        rows = self.couplings[..., inside, :]
        added = _eliminated(rows[..., inside], rows[..., kept])
        return Block(
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


def joined_all(blocks: Block) -> Block:
    """(n0, n1) blocks, both powers of two, as one."""
    while blocks.couplings.shape[:2] != (1, 1):
        blocks = joined(*pairs(blocks))
    return blocks[0, 0]


def pairs(blocks: Block) -> tuple[Block, Block, int]:
    """Every other block along an axis, those that follow them, and the axis."""
    axis = int(blocks.couplings.shape[1] >= blocks.couplings.shape[0])
    if blocks.sizes[2 * axis] > SINGLE:
        blocks = Block(np.ascontiguousarray(blocks.couplings), blocks.sizes)
    near, far = (blocks[(slice(None),) * axis + (slice(start, None, 2),)] for start in (0, 1))
    return near, far, axis


Part = tuple[FloatArray, slice, list[tuple[slice, slice]]]


def joined(near: Block, far: Block, axis: int) -> Block:
    """Blocks that follow each other along an axis, the far ends of the one being the near ends of the other."""
    inner, outer, parts, sizes = _joint(near, far, axis)
    total = _eliminated(inner, outer)
    for couplings, _, kept in parts:
        for place, span in kept:
            for other_place, other_span in kept:
                total[..., place, other_place] += couplings[..., span, other_span]
    return Block(total, sizes)


def parted(near: Block, far: Block, axis: int, products: FloatArray) -> list[FloatArray]:
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


def _joint(near: Block, far: Block, axis: int) -> tuple[FloatArray, FloatArray, list[Part], list[int]]:
    """Where two blocks meet: couplings between the shared nodes, and to the ports of both, as `_eliminated` takes them.

    Of each block its couplings, the place of the shared nodes in it, and where its other ports come to lie; then how
    many ports of each kind there are together.
    """
    near_ends, far_ends = 2 * axis, 2 * axis + 1
    sizes = [one + two for one, two in zip(near.sizes, far.sizes, strict=True)]
    sizes[near_ends], sizes[far_ends] = near.sizes[near_ends], far.sizes[far_ends]
    whole = Block(near.couplings, sizes).spans
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


def _runs(block: Block, inside: int, starts: Sequence[int]) -> list[tuple[slice, slice]]:
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
