"""BiCGSTAB: two products per iteration, and no memory of earlier ones.

Source: van der Vorst, SIAM J. Sci. Stat. Comput. 13 (1992) 631.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from xbar_spice.linear.norms import norms
from xbar_spice.linear.operator import FloatArray
from xbar_spice.solve.fields.evaluation import IndexArray
from xbar_spice.solve.linear_solvers.cycle import Cycle, Product, dot
from xbar_spice.solve.linear_solvers.gmres import Gmres
from xbar_spice.solve.linear_solvers.solver import LinearSolver, check_restart

__all__ = ["BiCGStab", "BiCGStabCycle"]

_BREAKDOWN = 1e-14  # cosine between residual and shadow residual below which the recurrence has lost its way


@final
@dataclass(frozen=True)
class BiCGStab(LinearSolver):
    """BiCGSTAB; a sample of which it makes nothing goes on with GMRES.

    Its recurrence breaks down, or stands still, where eigenvalues of M lie far from the real axis.

    Attributes:
        restart: Of that GMRES.
    """

    restart: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_restart(self.restart)

    @property
    def fallback(self) -> Gmres:
        return Gmres(self.rtol, self.max_iterations, restart=self.restart)

    def cycle(
        self, residual: FloatArray, targets: FloatArray, *, inverse: Product | None = None, watch: bool = False
    ) -> BiCGStabCycle:
        return BiCGStabCycle(residual, targets)


@final
class BiCGStabCycle(Cycle):
    """One run, which ends early for a sample whose recurrence breaks down."""

    def __init__(self, residual: FloatArray, targets: FloatArray) -> None:
        super().__init__(residual, targets)
        self._residual = residual

    def run(self, product: Product, active: IndexArray, limit: int, spent: int) -> None:
        r = shadow = p = self._residual
        rho = dot(r, r)
        for k in range(0, limit - 1, 2):
            v = self.apply(product, active, p, spent + k + 1)
            alpha = _ratio(rho, dot(shadow, v))
            self.correction[:, self.live] += alpha * p
            half = r - alpha * v
            self.estimate[self.live] = norms(half)
            none = np.zeros(self.live.size, dtype=bool)
            r, shadow, p, v, half, rho, alpha = self.leave(r, shadow, p, v, half, rho, alpha, lost=none)
            if not self.live.size:
                return
            t = self.apply(product, active, half, spent + k + 2)
            omega = _ratio(dot(t, half), dot(t, t))
            self.correction[:, self.live] += omega * half
            r = half - omega * t
            size = norms(r)
            self.estimate[self.live] = size
            fresh = dot(shadow, r)
            lost = (np.abs(fresh) <= _BREAKDOWN * size * norms(shadow)) | (omega == 0.0)
            beta = _ratio(fresh, rho) * _ratio(alpha, omega)
            p = r + beta * (p - omega * v)
            r, shadow, p, rho = self.leave(r, shadow, p, fresh, lost=lost)
            if not self.live.size:
                return


def _ratio(above: FloatArray, below: FloatArray) -> FloatArray:
    """Above / below, 0 where that has no meaning: the step is then left out and the sample found to be lost."""
    return np.divide(above, below, out=np.zeros_like(above), where=below != 0.0)
