"""Iterative solution of a batch of independent linear systems that are known by their products only.

All samples advance together, so that one batched read of an array serves every one of them; a sample that has converged
leaves the batch, so that no read is spent on it. A method is a `Cycle`; around it the true residual is measured where
rounding may have spoiled the recurrence, and the cycle repeated on it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, final, get_args

import numpy as np
from numpy.typing import NDArray

from xbar_spice.checks import settle
from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.norms import norms
from xbar_spice.linear.operator import FloatArray
from xbar_spice.read_context import stage
from xbar_spice.solve.fields.evaluation import IndexArray
from xbar_spice.solve.linear_solvers.bicgstab import BiCGSTAB
from xbar_spice.solve.linear_solvers.conjugate_gradient import ConjugateGradient
from xbar_spice.solve.linear_solvers.cycle import Cycle, Product
from xbar_spice.solve.linear_solvers.gmres import Arnoldi
from xbar_spice.solve.linear_solvers.richardson import Richardson

__all__ = ["KrylovOptions", "KrylovResult", "LinearMethod", "solve_linear"]

LinearMethod = Literal["gmres", "bicgstab", "cg", "richardson", "chord", "feedback"]

_EPS = float(np.finfo(float).eps)
_ROUNDING = 4.0 * _EPS  # backward error |rhs - M x| / (|M| |x|) below which float64 has nothing left to gain
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
        restart: Length of a cycle of GMRES, which bounds its memory; None for as many as there are unknowns.
        method: "gmres" (1 product per iteration), "bicgstab" (2, no memory; a sample of which it makes nothing goes on
            with GMRES), "cg" (1, no memory; only for symmetric systems, B = -A^T), "richardson" (1; only if h |A| |B|
            is small), "chord" (a digital twin solves, the array corrects: the fewest reads if the twin is good) or
            "feedback" (likewise, a circuit solves).
        damping: Factor of the corrections of "richardson", "chord" and "feedback".
        warm_start: Whether the adjoint's systems start from the one before instead of from zero.

    Raises:
        InvalidInputError: A value is out of range.
    """

    rtol: float = 1e-15
    max_iterations: int = 1000
    restart: int | None = None
    method: LinearMethod = "gmres"
    damping: float = 1.0
    warm_start: bool = False

    def __post_init__(self) -> None:
        settle(self)
        if not 0.0 <= self.rtol < 1.0:
            raise InvalidInputError(f"rtol of a linear solve must be in [0, 1), got {self.rtol}")
        if self.max_iterations < 1:
            raise InvalidInputError(f"max_iterations of a linear solve must be >= 1, got {self.max_iterations}")
        if self.restart is not None and self.restart < 1:
            raise InvalidInputError(f"restart must be None or >= 1, got {self.restart}")
        if self.method not in get_args(LinearMethod):
            raise InvalidInputError(
                f"method of a linear solve must be one of {', '.join(get_args(LinearMethod))}, got {self.method!r}"
            )
        if not 0.0 < self.damping <= 1.0:
            raise InvalidInputError(f"damping must be in (0, 1], got {self.damping}")


@final
@dataclass(frozen=True)
class KrylovResult:
    """Solution of a batch of linear systems.

    Attributes:
        x: (n, batch).
        iterations: Products spent on each sample, (batch,).
        residual: |rhs - M x| / |rhs| of each sample, (batch,): of "bicgstab" and "cg" as measured at the end, of others
            by the recurrence, at least what rounding leaves of it.
        converged: Whether each sample reached what was asked for, or what rounding allows, (batch,).
        stiffest: Of `Arnoldi`, (batch,), if it was asked for and the method is "gmres".
    """

    x: FloatArray
    iterations: NDArray[np.int64]
    residual: FloatArray
    converged: NDArray[np.bool_]
    stiffest: NDArray[np.complex128] | None = None


def solve_linear(
    product: Product,
    rhs: FloatArray,
    options: KrylovOptions | None = None,
    *,
    rtol: FloatArray | None = None,
    refine: bool = True,
    start: FloatArray | None = None,
    inverse: Product | None = None,
    watch: bool = False,
) -> KrylovResult:
    """Solve M x = rhs for each sample.

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
        start: Where to start, (n, batch), for one product more; zero when left out.
        inverse: About M^{-1} x, called as `product` is; needed by, and for, the methods "chord" and "feedback".
        watch: Whether the `stiffest` part is wanted; it takes no product.

    Returns:
        The solutions, with iterations, residual and convergence of each sample.

    Raises:
        InvalidInputError: The method is "cg" and the system is not symmetric.

    Example:
        >>> halves = solve_linear(lambda x, active: 2.0 * x, np.array([[1.0, 3.0]]))
        >>> halves.x, halves.iterations
        (array([[0.5, 1.5]]), array([1, 1]))
    """
    options = options or KrylovOptions()
    targets = np.maximum(options.rtol if rtol is None else rtol, _ROUNDING) * np.ones(rhs.shape[1])
    solve = _Solve(product, rhs, options, targets, refine, inverse)
    if watch and options.method == "gmres":
        solve.stiffest = np.zeros(rhs.shape[1], dtype=complex)
    active = np.flatnonzero(np.isfinite(solve.scale) & ~solve.converged)
    if start is not None and active.size:
        active = solve.begin(active, start)
    solve.iterate(active)
    if options.method == "bicgstab":
        solve.iterate(solve.stalled())
    return solve.result()


@final
class _Solve:
    """The state of each sample between cycles, in units of its right-hand side."""

    def __init__(
        self,
        product: Product,
        rhs: FloatArray,
        options: KrylovOptions,
        targets: FloatArray,
        refine: bool,
        inverse: Product | None,
    ) -> None:
        self.product, self.options, self.targets, self.refine = product, options, targets, refine
        self.inverse = inverse
        self.stiffest: NDArray[np.complex128] | None = None
        self.scale = norms(rhs)
        usable = np.isfinite(self.scale)
        self.rhs = np.divide(rhs, self.scale, out=np.zeros_like(rhs), where=usable & (self.scale > 0.0))
        self.left = self.rhs.copy()  # rhs - M x as last measured
        self.x = np.zeros(rhs.shape)
        self.iterations = np.zeros(rhs.shape[1], dtype=np.int64)
        self.residual = np.where(usable, (self.scale > 0.0).astype(float), np.inf)
        self.converged = self.residual <= targets
        # The recurrences without memory drift from the true residual; that of GMRES does not, if products are exact.
        self._drifts = options.method in ("bicgstab", "cg")
        self._worthwhile = np.zeros(rhs.shape[1])  # residual below which the last cycle was worth its products
        self._attainable = np.zeros(rhs.shape[1])  # residual that rounding leaves, at the least

    def iterate(self, active: IndexArray) -> None:
        """Cycles for the active samples, with the true residual between them, as long as they are worthwhile."""
        while active.size:
            active = self.cycle(active)
            if active.size:
                active = self.measure(active)

    def stalled(self) -> IndexArray:
        """Samples of which BiCGSTAB could make nothing, to be solved anew by GMRES.

        Its recurrence breaks down, or stands still, where eigenvalues of M lie far from the real axis.
        """
        self.options = replace(self.options, method="gmres")
        affordable = self.iterations < self.options.max_iterations
        samples = np.flatnonzero(~self.converged & np.isfinite(self.scale) & affordable)
        self.x[:, samples], self.left[:, samples], self.residual[samples] = 0.0, self.rhs[:, samples], 1.0
        return samples

    def cycle(self, active: IndexArray) -> IndexArray:
        """Improve the active samples by one cycle; returns those whose residual should then be measured."""
        spent = int(self.iterations[active].max())
        run = self._method(self.left[:, active], self.targets[active])
        limit = self.options.max_iterations - spent
        if self.options.restart is not None and self.options.method == "gmres":
            limit = min(limit, self.options.restart)
        run.run(self.product, active, limit, spent)
        if self.stiffest is not None and isinstance(run, Arnoldi):
            before = self.stiffest[active]
            self.stiffest[active] = np.where(np.abs(run.stiffest) > np.abs(before), run.stiffest, before)
        self.x[:, active] += run.correction
        self.iterations[active] += run.steps
        self._worthwhile[active] = np.where(run.exhausted, _WORTHWHILE, _PROGRESS) * self.residual[active]
        self._attainable[active] = _ROUNDING * run.norm * norms(self.x[:, active])
        rounding = _ROUNDING * run.norm * norms(run.correction)
        self.residual[active] = np.maximum(run.estimate, rounding)

        solvable = np.isfinite(run.estimate) & (self._attainable[active] < _SINGULAR)
        met = solvable & (run.estimate <= np.maximum(self.targets[active], rounding))
        inexact = rounding > np.maximum(self.targets[active], _REFINE)
        doubtful = met & (self._drifts | inexact) & self.refine
        left = self.options.max_iterations - self.iterations[active]
        self.converged[active] = met & ~(doubtful & (left < 1))  # what is doubtful counts once it has been measured
        return np.asarray(active[solvable & np.where(doubtful, left >= 1, ~met & (left > 1))])

    def _method(self, residual: FloatArray, targets: FloatArray) -> Cycle:
        match self.options.method:
            case "gmres":
                return Arnoldi(residual, targets, watch=self.stiffest is not None)
            case "bicgstab":
                return BiCGSTAB(residual, targets)
            case "cg":
                return ConjugateGradient(residual, targets)
            case "richardson" | "chord" | "feedback":
                return Richardson(residual, targets, self.options.damping, self.inverse)

    def begin(self, active: IndexArray, start: FloatArray) -> IndexArray:
        """Start the active samples from a guess if it is better than zero; returns those that are not solved by it."""
        self.x[:, active] = start[:, active] / self.scale[active]
        self._worthwhile[active] = self.residual[active]
        left = self.measure(active)
        worse = active[~self.converged[active] & ~np.isin(active, left)]
        self.x[:, worse], self.left[:, worse] = 0.0, self.rhs[:, worse]
        self.residual[worse] = 1.0
        return np.asarray(active[~self.converged[active]])

    def measure(self, active: IndexArray) -> IndexArray:
        """Read the true residual; returns the samples for which another cycle is worthwhile."""
        with stage(krylov=int(self.iterations[active].max()) + 1):
            self.left[:, active] = self.rhs[:, active] - self.product(self.x[:, active], active)
        self.iterations[active] += 1
        size = norms(self.left[:, active])
        self.residual[active] = size
        self.converged[active] = size <= np.maximum(self.targets[active], self._attainable[active])
        return np.asarray(active[(size > self.targets[active]) & (size <= self._worthwhile[active])])

    def result(self) -> KrylovResult:
        """Solutions in the units of the right-hand sides."""
        x = self.x * np.where(np.isfinite(self.scale), self.scale, 1.0)
        return KrylovResult(x, self.iterations, self.residual, self.converged, self.stiffest)
