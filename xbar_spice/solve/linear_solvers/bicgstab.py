"""BiCGSTAB: two products per iteration, and no memory of earlier ones.

Source: van der Vorst, SIAM J. Sci. Stat. Comput. 13 (1992) 631.
"""

from __future__ import annotations

from typing import final

import numpy as np

from xbar_spice.linear.norms import norms
from xbar_spice.linear.operator import FloatArray
from xbar_spice.solve.fields.evaluation import IndexArray
from xbar_spice.solve.linear_solvers.cycle import Cycle, Product, dot

__all__ = ["BiCGSTAB"]

_BREAKDOWN = 1e-14  # cosine between residual and shadow residual below which the recurrence has lost its way


@final
class BiCGSTAB(Cycle):
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
