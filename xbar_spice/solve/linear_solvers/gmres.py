"""GMRES: the smallest residual in the Krylov space, one product per iteration.

Source: Saad and Schultz, GMRES, SIAM J. Sci. Stat. Comput. 7 (1986) 856; why Gram-Schmidt is done twice: Giraud et
al., Numer. Math. 101 (2005) 87.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
from numpy.typing import NDArray

from xbar_spice.linear.norms import norms
from xbar_spice.linear.operator import FloatArray
from xbar_spice.solve.fields.evaluation import IndexArray
from xbar_spice.solve.linear_solvers.cycle import Cycle, Product
from xbar_spice.solve.linear_solvers.solver import LinearSolver, check_restart

__all__ = ["Arnoldi", "Gmres"]

_EPS = float(np.finfo(float).eps)
_BREAKDOWN = 1e-14  # of |M|: what orthogonalisation leaves is then rounding, the Krylov space is exhausted


@final
@dataclass(frozen=True)
class Gmres(LinearSolver):
    """GMRES: the fewest products of the solvers that need no model; its memory grows with the iterations.

    Attributes:
        restart: Length of a cycle, which bounds its memory; None for as many as there are unknowns.
    """

    restart: int | None = None

    drifts: ClassVar[bool] = False  # Gram-Schmidt is done twice
    noise_factor: ClassVar[float] = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_restart(self.restart)

    def cycle(
        self, residual: FloatArray, targets: FloatArray, *, inverse: Product | None = None, watch: bool = False
    ) -> Arnoldi:
        return Arnoldi(residual, targets, restart=self.restart, watch=watch)


@final
class Arnoldi(Cycle):
    """One Arnoldi cycle for the samples of a batch, each with its own basis; a finished sample leaves.

    Args:
        residual: As for `Cycle`.
        targets: As for `Cycle`.
        restart: Products after which the run ends; None for as many as there are unknowns.
        watch: Whether to find `stiffest`.

    Attributes:
        stiffest: 1 - theta of each sample, theta being the eigenvalue of M on its Krylov space (a Ritz value) for which
            this is largest and not in the right half plane, (samples,); 0 without one. Of M = I - c J it is c lambda of
            the stiffest damped part of the state.

    With V the orthonormal basis, M V_k = V_{k+1} H; Q H = R (Q orthogonal, R upper triangular) turns the least-squares
    problem min |beta e_1 - H y| into R y = beta Q e_1, and the next entry of beta Q e_1 is the residual.
    """

    def __init__(
        self, residual: FloatArray, targets: FloatArray, *, restart: int | None = None, watch: bool = False
    ) -> None:
        super().__init__(residual, targets)
        self._restart = restart
        samples = residual.shape[1]
        beta = self.estimate.copy()
        self._beta = beta
        self.stiffest = np.zeros(samples, dtype=complex) if watch else None
        self._basis = (residual / beta).T[:, np.newaxis].copy()  # V: (live, k, n)
        self._upper = np.zeros((samples, 0, 0))  # R
        self._turns = np.ones((samples, 1, 1))  # Q

    def run(self, product: Product, active: IndexArray, limit: int, spent: int) -> None:
        limit = limit if self._restart is None else min(limit, self._restart)
        for k in range(min(limit, self._basis.shape[2])):
            self._grow(k)
            image = self.apply(product, active, self._basis[:, k].T, spent + k + 1).T
            size = norms(image, axis=1)
            live = self.live
            rest = self._extend(k, image)
            lost = ~np.isfinite(size)
            estimate = self._beta[live] * np.abs(self._turns[:, k + 1, 0])
            self.estimate[live] = np.where(lost, np.inf, estimate)
            self.exhausted[live] = (rest <= _BREAKDOWN * self.norm[live]) | (k + 1 == self._basis.shape[2])
            done = self.exhausted[live] | (estimate <= self.targets[live]) | lost | (k + 1 == limit)
            self._finish(done & ~lost, k + 1)
            self._keep(~done)
            if not self.live.size:
                return

    def _grow(self, k: int) -> None:
        """Make room for step k; capacity doubles, so that growing costs little."""
        live, room, n = self._basis.shape
        if k + 2 <= room:
            return
        wider = min(max(2 * room, 8), n + 1)
        basis, upper, turns = np.zeros((live, wider, n)), np.zeros((live, wider, wider)), np.zeros((live, wider, wider))
        basis[:, :room] = self._basis
        upper[:, : self._upper.shape[1], : self._upper.shape[2]] = self._upper
        turns[:] = np.eye(wider)
        turns[:, :room, :room] = self._turns
        self._basis, self._upper, self._turns = basis, upper, turns

    def _extend(self, k: int, image: FloatArray) -> FloatArray:
        """Orthogonalise M v_k, add its column to R and its rotation to Q; returns h_{k+1,k}."""
        known = self._basis[:, : k + 1]
        first = known @ image[..., np.newaxis]
        image = image - (known.mT @ first)[..., 0]
        second = known @ image[..., np.newaxis]
        image = image - (known.mT @ second)[..., 0]
        rest: FloatArray = norms(image, axis=1)
        self._basis[:, k + 1] = image / np.where(rest > 0.0, rest, 1.0)[:, np.newaxis]

        column = (self._turns[:, : k + 1, : k + 1] @ (first + second))[..., 0]
        length = np.hypot(column[:, k], rest)
        # A column that vanishes (a singular M) leaves the residual as it is; `_finish` leaves its direction out.
        vanishes = length <= _EPS * self.norm[self.live]
        safe = np.where(vanishes, 1.0, length)
        cosine, sine = np.where(vanishes, 0.0, column[:, k]) / safe, np.where(vanishes, 1.0, rest) / safe
        column[:, k] = length
        self._upper[:, : k + 1, k] = column
        upper_row = self._turns[:, k].copy()
        lower_row = self._turns[:, k + 1].copy()
        self._turns[:, k] = cosine[:, np.newaxis] * upper_row + sine[:, np.newaxis] * lower_row
        self._turns[:, k + 1] = cosine[:, np.newaxis] * lower_row - sine[:, np.newaxis] * upper_row
        return rest

    def _finish(self, done: NDArray[np.bool_], k: int) -> None:
        """Solve R y = beta Q e_1 for the samples that are done, and add up their correction V y."""
        if not done.any():
            return
        samples = self.live[done]
        if self.stiffest is not None:
            # H = Q^T R without its last row is M on the space.
            values = 1.0 - np.linalg.eigvals(self._turns[done, :k, :k].mT @ self._upper[done, :k, :k])
            sizes = np.where(values.real <= 0.0, np.abs(values), 0.0)
            rows = np.arange(samples.size)
            largest = sizes.argmax(axis=1)
            self.stiffest[samples] = np.where(sizes[rows, largest] > 0.0, values[rows, largest], 0.0)
        upper = self._upper[done, :k, :k].copy()
        known = self._beta[samples, np.newaxis] * self._turns[done, :k, 0]
        # Only the last diagonal entry can vanish, because the sample is then exhausted.
        singular = upper[:, -1, -1] <= _EPS * self.norm[samples]
        upper[singular, -1, -1], known[singular, -1] = 1.0, 0.0
        weights = np.linalg.solve(upper, known[..., np.newaxis])
        self.correction[:, samples] = (self._basis[done, :k].mT @ weights)[..., 0].T

    def _keep(self, live: NDArray[np.bool_]) -> None:
        if not live.all():
            self.live, self._basis = self.live[live], self._basis[live]
            self._upper, self._turns = self._upper[live], self._turns[live]
