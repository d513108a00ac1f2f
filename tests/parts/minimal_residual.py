"""A linear solver of a user's own: along the residual, as far as makes the next residual smallest."""

from dataclasses import dataclass

import numpy as np

from xbar_spice.solve.linear_solvers import Cycle, LinearSolver, dot


@dataclass(frozen=True)
class MinimalResidual(LinearSolver):
    """d <- d + omega a r with a = (M r)^T r / |M r|^2; converges if the symmetric part of M is positive definite."""

    relaxation: float = 1.0  # omega
    drifts = False  # the residual is read anew with every product

    def cycle(self, residual, targets, *, inverse=None, watch=False):
        return MinimalResidualCycle(residual, targets, self.relaxation)


class MinimalResidualCycle(Cycle):
    """One run, for the samples of a batch that are not solved yet."""

    def __init__(self, residual, targets, relaxation):
        super().__init__(residual, targets)
        self.residual, self.relaxation = residual, relaxation

    def run(self, product, active, limit, spent):
        r = self.residual
        for k in range(limit):
            image = self.apply(product, active, r, spent + k + 1)  # M r of the samples in `live`: one read for all
            size = dot(image, image)
            step = self.relaxation * dot(image, r) / np.where(size > 0, size, 1.0)
            self.correction[:, self.live] += step * r
            r = r - step * image
            self.estimate[self.live] = np.linalg.norm(r, axis=0)
            (r,) = self.leave(r, lost=step <= 0)  # lets those go that have met their target, or have no way on
            if not self.live.size:
                return
