"""What the linear solvers share: one run of an iteration from zero, for the samples of a batch still under way."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from xbar_spice.linear.norms import norms
from xbar_spice.linear.operator import FloatArray
from xbar_spice.read_context import stage
from xbar_spice.solve.fields.evaluation import IndexArray

__all__ = ["Cycle", "Product", "dot"]

Product = Callable[[FloatArray, IndexArray], FloatArray]
"""M x for some samples: called with x (n, active) and the ascending indices of the active samples."""


class Cycle(ABC):
    """Solves M d = r for each sample from d = 0, until its residual is small enough or there is no way on.

    Attributes:
        correction: d, (n, samples).
        steps: Products spent on each sample.
        estimate: |r - M d| by the recurrence of the method; infinite where a product was not finite.
        norm: Largest |M v| / |v| seen, a lower bound of |M|.
        exhausted: Whether the method cannot go on for a sample, so that only great progress is worth another cycle.
        live: The samples that are still under way, as positions in the cycle.
        targets: |r - M d| aimed at.
        stiffest: 1 - theta of each sample, theta being an eigenvalue of M as the run saw it, (samples,) complex, where
            this was asked for and is found; else None.
    """

    stiffest: NDArray[np.complex128] | None = None

    def __init__(self, residual: FloatArray, targets: FloatArray) -> None:
        n, samples = residual.shape
        self.correction = np.zeros((n, samples))
        self.steps = np.zeros(samples, dtype=np.int64)
        self.estimate = norms(residual)
        self.norm = np.zeros(samples)
        self.exhausted = np.zeros(samples, dtype=bool)
        self.live = np.arange(samples)
        self.targets = targets

    @abstractmethod
    def run(self, product: Product, active: IndexArray, limit: int, spent: int) -> None:
        """Iterate until no sample is live any more or `limit` products are spent on one.

        Args:
            product: M x.
            active: Indices of the cycle's samples in the whole batch.
            limit: Products at most.
            spent: Products before this cycle, by which reads are labelled.
        """

    def apply(self, product: Product, active: IndexArray, x: FloatArray, iteration: int) -> FloatArray:
        """M x for the live samples, x (n, live), counted."""
        with stage(krylov=iteration):
            image = product(x, active[self.live])
        self.steps[self.live] += 1
        length = norms(x)
        self.norm[self.live] = np.fmax(self.norm[self.live], norms(image) / np.where(length > 0.0, length, 1.0))
        return image

    def leave(self, *arrays: FloatArray, lost: NDArray[np.bool_]) -> tuple[FloatArray, ...]:
        """Let the samples go that have met their target or are lost; returns the others' columns of some arrays."""
        finite = np.isfinite(self.estimate[self.live])
        self.exhausted[self.live[lost]] = True
        self.correction[:, self.live[~finite]] = 0.0
        self.estimate[self.live[~finite]] = np.inf
        stays = finite & ~lost & (self.estimate[self.live] > self.targets[self.live])
        self.live = self.live[stays]
        return tuple(array[..., stays] for array in arrays)


def dot(x: FloatArray, y: FloatArray) -> FloatArray:
    """x^T y of each sample, (samples,)."""
    return np.asarray(np.einsum("ij,ij->j", x, y), dtype=float)
