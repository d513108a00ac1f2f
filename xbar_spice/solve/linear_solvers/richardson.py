"""Damped Richardson iteration, and with something that nearly solves the system the chord iteration.

d <- d + omega P (r - M d), with P = 1, which converges if the spectral radius of I - omega M is below 1, or with P the
inverse of a digital twin of M, or a circuit: the better it is, the fewer products. The fixed point is that of M.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

from xbar_spice.linear.norms import norms
from xbar_spice.linear.operator import FloatArray
from xbar_spice.solve.fields.evaluation import IndexArray
from xbar_spice.solve.linear_solvers.cycle import Cycle, Product
from xbar_spice.solve.linear_solvers.solver import LinearSolver, check_damping

__all__ = ["DampedCorrections", "Richardson", "RichardsonCycle"]

_DIVERGED = 1e3  # growth of the residual after which nothing good can follow


@dataclass(frozen=True)
class DampedCorrections(LinearSolver):
    """What adds up corrections, each of them measured by one product.

    Attributes:
        damping: Factor omega of the corrections; below 1 it widens what is solved.
    """

    damping: float = 1.0

    drifts: ClassVar[bool] = False  # every product is the residual's own

    def __post_init__(self) -> None:
        super().__post_init__()
        check_damping(self.damping)

    def cycle(
        self, residual: FloatArray, targets: FloatArray, *, inverse: Product | None = None, watch: bool = False
    ) -> RichardsonCycle:
        return RichardsonCycle(residual, targets, self.damping, inverse)


@final
@dataclass(frozen=True)
class Richardson(DampedCorrections):
    """Richardson's iteration: one product per iteration and no memory, if h |A| |B| is small."""


@final
class RichardsonCycle(Cycle):
    """One run; a sample whose residual grows without end is given up with the correction 0.

    Args:
        residual: r.
        targets: As for `Cycle`.
        damping: omega.
        inverse: P x; x itself when left out.
    """

    def __init__(
        self, residual: FloatArray, targets: FloatArray, damping: float = 1.0, inverse: Product | None = None
    ) -> None:
        super().__init__(residual, targets)
        self._residual, self._damping, self._inverse = residual, damping, inverse

    def run(self, product: Product, active: IndexArray, limit: int, spent: int) -> None:
        r = self._residual
        start = self.estimate.copy()
        for k in range(limit):
            change = self._damping * (r if self._inverse is None else self._inverse(r, active[self.live]))
            self.correction[:, self.live] += change
            r = r - self.apply(product, active, change, spent + k + 1)
            size = norms(r)
            self.estimate[self.live] = size
            lost = size > _DIVERGED * start[self.live]
            self.correction[:, self.live[lost]] = 0.0
            self.estimate[self.live[lost]] = start[self.live[lost]]
            (r,) = self.leave(r, lost=lost)
            if not self.live.size:
                return
