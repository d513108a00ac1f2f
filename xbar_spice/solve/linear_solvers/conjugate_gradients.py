"""Conjugate gradients: one product per iteration and no memory, for symmetric positive definite systems only.

I - h B D A is such a system if B = -A^T. Whether a system is symmetric shows at no cost in the second iteration: then
p_0^T M p_1 must vanish, as p_1^T M p_0 does by construction.

Source: Hestenes and Stiefel, J. Res. Nat. Bur. Stand. 49 (1952) 409.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.norms import norms
from xbar_spice.linear.operator import FloatArray
from xbar_spice.solve.fields.evaluation import IndexArray
from xbar_spice.solve.linear_solvers.cycle import Cycle, Product, dot
from xbar_spice.solve.linear_solvers.solver import LinearSolver

__all__ = ["ConjugateGradientCycle", "ConjugateGradients"]

_ASYMMETRY = 1e-8  # |p_0^T M p_1| in units of |p_0| |M p_1| that rounding may explain
_ALLOWED = 10.0  # asymmetry in units of the accuracy asked for, such as reads of two arrays have it


@final
@dataclass(frozen=True)
class ConjugateGradients(LinearSolver):
    """Conjugate gradients, for symmetric systems only, B = -A^T; an unsymmetric one is refused."""

    def cycle(
        self, residual: FloatArray, targets: FloatArray, *, inverse: Product | None = None, watch: bool = False
    ) -> ConjugateGradientCycle:
        return ConjugateGradientCycle(residual, targets)


@final
class ConjugateGradientCycle(Cycle):
    """One run; a sample along whose direction M is not positive is given up."""

    def __init__(self, residual: FloatArray, targets: FloatArray) -> None:
        super().__init__(residual, targets)
        self._residual = residual

    def run(self, product: Product, active: IndexArray, limit: int, spent: int) -> None:
        r = p = self._residual
        rho = dot(r, r)
        before = np.zeros_like(p)
        for k in range(limit):
            image = self.apply(product, active, p, spent + k + 1)
            if k == 1:
                self._check_symmetry(before, image)
            curvature = dot(p, image)
            lost = ~(curvature > 0.0)
            alpha = np.divide(rho, curvature, out=np.zeros_like(rho), where=~lost)
            self.correction[:, self.live] += alpha * p
            r = r - alpha * image
            fresh = dot(r, r)
            self.estimate[self.live] = np.where(np.isfinite(curvature), np.sqrt(fresh), np.inf)
            before, p = p, r + fresh / rho * p
            r, p, before, rho = self.leave(r, p, before, fresh, lost=lost)
            if not self.live.size:
                return

    def _check_symmetry(self, first: FloatArray, image: FloatArray) -> None:
        size = norms(first) * norms(image)
        asymmetry = np.abs(dot(first, image)) / np.where(size > 0.0, size, 1.0)
        worst = float((asymmetry / np.maximum(_ASYMMETRY, _ALLOWED * self.targets[self.live])).max())
        if worst > 1.0:
            raise InvalidInputError(
                "the linear solver cg needs a symmetric matrix I - h B D A, as for B = -A^T, and found an asymmetry of "
                f"{float(asymmetry.max()):.1e}; choose gmres or bicgstab, "
                "or allow the asymmetry of noisy reads by a larger rtol"
            )
