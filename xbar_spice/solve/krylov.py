"""GMRES for a batch of independent linear systems that are known by their products only.

All samples advance together, so that one batched read of an array serves every one of them; a sample that has converged
leaves the batch, so that no read is spent on it.

Source: Saad and Schultz, GMRES, SIAM J. Sci. Stat. Comput. 7 (1986) 856; why Gram-Schmidt is done twice: Giraud et
al., Numer. Math. 101 (2005) 87.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from xbar_spice.errors import InvalidInputError
from xbar_spice.linear import FloatArray
from xbar_spice.stage import stage

__all__ = ["KrylovOptions", "KrylovResult", "Product", "gmres"]

IndexArray = NDArray[np.intp]
Product = Callable[[FloatArray, IndexArray], FloatArray]
"""M x for some samples: called with x (n, active) and the ascending indices of the active samples."""

_EPS = float(np.finfo(float).eps)
_ROUNDING = 4.0 * _EPS  # backward error |rhs - M x| / (|M| |x|) below which float64 has nothing left to gain
_BREAKDOWN = 1e-14  # of |M|: what orthogonalisation leaves is then rounding, the Krylov space is exhausted
_SINGULAR = 1e-8  # a solution so large that rounding alone leaves this residual: singular to working precision
_REFINE = 1e-14  # rounding of a cycle above which the true residual is worth a product
_WORTHWHILE = 0.5  # an exhausted cycle that leaves more than this part of the residual is not worth repeating
_PROGRESS = 0.999  # the same for a cycle that was cut short by the restart length


@final
@dataclass(frozen=True)
class KrylovOptions:
    """How linear systems are solved.

    Attributes:
        rtol: Residual aimed at, relative to the right-hand side. A Newton step asks for no more than it needs.
        max_iterations: Products per system.
        restart: Length of a cycle, which bounds the memory; None for as many as there are unknowns.

    Raises:
        InvalidInputError: A value is out of range.
    """

    rtol: float = 1e-15
    max_iterations: int = 1000
    restart: int | None = None

    def __post_init__(self) -> None:
        if not 0.0 <= self.rtol < 1.0:
            raise InvalidInputError(f"rtol of a linear solve must be in [0, 1), got {self.rtol}")
        if self.max_iterations < 1:
            raise InvalidInputError(f"max_iterations of a linear solve must be >= 1, got {self.max_iterations}")
        if self.restart is not None and self.restart < 1:
            raise InvalidInputError(f"restart must be None or >= 1, got {self.restart}")


@final
@dataclass(frozen=True)
class KrylovResult:
    """Solution of a batch of linear systems.

    Attributes:
        x: (n, batch).
        iterations: Products spent on each sample, (batch,).
        residual: |rhs - M x| / |rhs| of each sample by the recurrence, at least what rounding leaves of it, (batch,).
        converged: Whether each sample reached what was asked for, or what rounding allows, (batch,).
    """

    x: FloatArray
    iterations: NDArray[np.int64]
    residual: FloatArray
    converged: NDArray[np.bool_]


def gmres(
    product: Product,
    rhs: FloatArray,
    options: KrylovOptions | None = None,
    *,
    rtol: FloatArray | None = None,
    refine: bool = True,
) -> KrylovResult:
    """Solve M x = rhs for each sample, starting from x = 0.

    A sample whose right-hand side is zero gets the solution zero at no product; one whose right-hand side is not finite
    is not attempted. A cycle that ends short of its aim is followed by another one on the true residual (one product
    more), unless it made no progress: then the system is singular, or rounding forbids more, and is reported as such.

    Args:
        product: M x for some samples: (n, active) and their indices to (n, active).
        rhs: (n, batch).
        options: Defaults of `KrylovOptions`.
        rtol: Residual asked of each sample, (batch,), in place of `options.rtol`.
        refine: Whether to measure and correct the residual of a stiff system, in which the rounding of one cycle, about
            eps |M| |x|, is felt. Newton's method goes without, because its own next residual does the same.

    Returns:
        The solutions, with iterations, residual and convergence of each sample.

    Example:
        >>> halves = gmres(lambda x, active: 2.0 * x, np.array([[1.0, 3.0]]))
        >>> halves.x, halves.iterations
        (array([[0.5, 1.5]]), array([1, 1]))
    """
    options = options or KrylovOptions()
    targets = np.maximum(options.rtol if rtol is None else rtol, _ROUNDING) * np.ones(rhs.shape[1])
    solve = _Solve(product, rhs, options, targets, refine)
    active = np.flatnonzero(np.isfinite(solve.scale) & ~solve.converged)
    while active.size:
        active = solve.cycle(active)
        if active.size:
            active = solve.measure(active)
    return solve.result()


@final
class _Solve:
    """The state of each sample between cycles, in units of its right-hand side."""

    def __init__(
        self, product: Product, rhs: FloatArray, options: KrylovOptions, targets: FloatArray, refine: bool
    ) -> None:
        self.product, self.options, self.targets, self.refine = product, options, targets, refine
        self.scale = np.linalg.norm(rhs, axis=0)
        usable = np.isfinite(self.scale)
        self.rhs = np.divide(rhs, self.scale, out=np.zeros_like(rhs), where=usable & (self.scale > 0.0))
        self.left = self.rhs.copy()  # rhs - M x as last measured
        self.x = np.zeros(rhs.shape)
        self.iterations = np.zeros(rhs.shape[1], dtype=np.int64)
        self.residual = np.where(usable, (self.scale > 0.0).astype(float), np.inf)
        self.converged = self.residual <= targets
        self._worthwhile = np.zeros(rhs.shape[1])  # residual below which the last cycle was worth its products
        self._attainable = np.zeros(rhs.shape[1])  # residual that rounding leaves, at the least

    def cycle(self, active: IndexArray) -> IndexArray:
        """Improve the active samples by one cycle; returns those whose residual should then be measured."""
        spent = int(self.iterations[active].max())
        run = _Cycle(self.left[:, active], self.targets[active])
        limit = min(len(self.rhs), self.options.restart or len(self.rhs), self.options.max_iterations - spent)
        run.run(self.product, active, limit, spent)
        self.x[:, active] += run.correction
        self.iterations[active] += run.steps
        self._worthwhile[active] = np.where(run.exhausted, _WORTHWHILE, _PROGRESS) * self.residual[active]
        self._attainable[active] = _ROUNDING * run.norm * np.linalg.norm(self.x[:, active], axis=0)
        rounding = _ROUNDING * run.norm * np.linalg.norm(run.correction, axis=0)
        self.residual[active] = np.maximum(run.estimate, rounding)

        solvable = np.isfinite(run.estimate) & (self._attainable[active] < _SINGULAR)
        met = solvable & (run.estimate <= np.maximum(self.targets[active], rounding))
        doubtful = met & (rounding > np.maximum(self.targets[active], _REFINE)) & self.refine
        self.converged[active] = met
        affordable = self.iterations[active] < self.options.max_iterations - 1
        return np.asarray(active[solvable & (~met | doubtful) & affordable])

    def measure(self, active: IndexArray) -> IndexArray:
        """Read the true residual; returns the samples for which another cycle is worthwhile."""
        with stage(krylov=int(self.iterations[active].max()) + 1):
            self.left[:, active] = self.rhs[:, active] - self.product(self.x[:, active], active)
        self.iterations[active] += 1
        size = np.linalg.norm(self.left[:, active], axis=0)
        self.residual[active] = size
        self.converged[active] = size <= np.maximum(self.targets[active], self._attainable[active])
        return np.asarray(active[(size > self.targets[active]) & (size <= self._worthwhile[active])])

    def result(self) -> KrylovResult:
        """Solutions in the units of the right-hand sides."""
        x = self.x * np.where(np.isfinite(self.scale), self.scale, 1.0)
        return KrylovResult(x, self.iterations, self.residual, self.converged)


@final
class _Cycle:
    """One Arnoldi cycle for the samples of a batch, each with its own basis; a finished sample leaves.

    With V the orthonormal basis, M V_k = V_{k+1} H; Q H = R (Q orthogonal, R upper triangular) turns the least-squares
    problem min |beta e_1 - H y| into R y = beta Q e_1, and the next entry of beta Q e_1 is the residual.

    Attributes:
        correction: What to add to the solution, (n, samples).
        steps: Products spent on each sample.
        estimate: |residual| after the cycle; infinite where a product was not finite.
        norm: Largest |M v| seen, a lower bound of |M|.
        exhausted: Whether the Krylov space of the sample ended before its residual did.
    """

    def __init__(self, residual: FloatArray, targets: FloatArray) -> None:
        n, samples = residual.shape
        beta = np.linalg.norm(residual, axis=0)
        self.correction = np.zeros((n, samples))
        self.steps = np.zeros(samples, dtype=np.int64)
        self.estimate = beta.copy()
        self.norm = np.zeros(samples)
        self.exhausted = np.zeros(samples, dtype=bool)
        self._beta, self._targets = beta, targets
        self._live = np.arange(samples)
        self._basis = (residual / beta).T[:, np.newaxis].copy()  # V: (live, k, n)
        self._upper = np.zeros((samples, 0, 0))  # R
        self._turns = np.ones((samples, 1, 1))  # Q

    def run(self, product: Product, active: IndexArray, limit: int, spent: int) -> None:
        """Iterate until every sample has met its target, exhausted its space or made `limit` steps."""
        for k in range(limit):
            self._grow(k)
            with stage(krylov=spent + k + 1):
                image = product(self._basis[:, k].T, active[self._live]).T
            size = np.linalg.norm(image, axis=1)
            live = self._live
            self.steps[live] += 1
            self.norm[live] = np.fmax(self.norm[live], size)
            rest = self._extend(k, image)
            lost = ~np.isfinite(size)
            estimate = self._beta[live] * np.abs(self._turns[:, k + 1, 0])
            self.estimate[live] = np.where(lost, np.inf, estimate)
            self.exhausted[live] = (rest <= _BREAKDOWN * self.norm[live]) | (k + 1 == self._basis.shape[2])
            done = self.exhausted[live] | (estimate <= self._targets[live]) | lost | (k + 1 == limit)
            self._finish(done & ~lost, k + 1)
            self._keep(~done)
            if not self._live.size:
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
        rest: FloatArray = np.linalg.norm(image, axis=1)
        self._basis[:, k + 1] = image / np.where(rest > 0.0, rest, 1.0)[:, np.newaxis]

        column = (self._turns[:, : k + 1, : k + 1] @ (first + second))[..., 0]
        length = np.hypot(column[:, k], rest)
        # A column that vanishes (a singular M) leaves the residual as it is; `_finish` leaves its direction out.
        vanishes = length <= _EPS * self.norm[self._live]
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
        samples = self._live[done]
        upper = self._upper[done, :k, :k].copy()
        known = self._beta[samples, np.newaxis] * self._turns[done, :k, 0]
        # Only the last diagonal entry can vanish, because the sample is then exhausted.
        singular = upper[:, -1, -1] <= _EPS * self.norm[samples]
        upper[singular, -1, -1], known[singular, -1] = 1.0, 0.0
        weights = np.linalg.solve(upper, known[..., np.newaxis])
        self.correction[:, samples] = (self._basis[done, :k].mT @ weights)[..., 0].T

    def _keep(self, live: NDArray[np.bool_]) -> None:
        if not live.all():
            self._live, self._basis = self._live[live], self._basis[live]
            self._upper, self._turns = self._upper[live], self._turns[live]
