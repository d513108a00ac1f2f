"""Iterative solution of a batch of independent linear systems that are known by their products only.

All samples advance together, so that one batched read of an array serves every one of them; a sample that has converged
leaves the batch, so that no read is spent on it. A `LinearSolver` makes cycles; around them the true residual is
measured where rounding may have spoiled the recurrence, and the cycle repeated on it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, TypeAlias, final

import numpy as np
from numpy.typing import NDArray

from xbar_spice.checks import settle
from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.norms import norms
from xbar_spice.linear.operator import FloatArray
from xbar_spice.parts import LINEAR_SOLVERS
from xbar_spice.read_context import stage
from xbar_spice.settings import setting
from xbar_spice.solve.fields.evaluation import IndexArray
from xbar_spice.solve.linear_solvers.cycle import Product
from xbar_spice.solve.linear_solvers.solver import LinearSolver, check_damping, check_restart

__all__ = ["KrylovOptions", "KrylovResult", "SolverLike", "get_linear_solver", "solve_linear"]

GROUP = "Linear systems of implicit steps"  # of the settings

_EPS = float(np.finfo(float).eps)
_ROUNDING = 4.0 * _EPS  # backward error |rhs - M x| / (|M| |x|) below which float64 has nothing left to gain
_SINGULAR = 1e-8  # a solution so large that rounding alone leaves this residual: singular to working precision
_REFINE = 1e-14  # rounding of a cycle above which the true residual is worth a product
_WORTHWHILE = 0.5  # an exhausted cycle that leaves more than this part of the residual is not worth repeating
_PROGRESS = 0.999  # the same for a cycle that was cut short by the restart length


@final
@dataclass(frozen=True)
class KrylovOptions:
    """How linear systems are solved, as plain values and a text, such as study files hold them.

    A `LinearSolver`, such as `Gmres(restart=20)`, says the same as an object and goes wherever this goes.

    Attributes:
        rtol: As for every `LinearSolver`.
        max_iterations: As for every `LinearSolver`.
        restart: For the solvers that have this option, such as `Gmres`; others ignore it.
        method: The text of a linear solver: a name of `LINEAR_SOLVERS`, such as "chord", or one of your own, as
            "file.py:Class(option=1)".
        damping: For the solvers that have this option, such as `Richardson`; others ignore it.
        warm_start: As for every `LinearSolver`.

    Raises:
        InvalidInputError: A value is out of range, or no solver has this text.
    """

    rtol: float = setting(
        1e-15,
        "Residual at which a linear system is solved, relative to its right-hand side.",
        GROUP,
        unit="part",
        flag="--linear-rtol",
    )
    max_iterations: int = setting(
        1000, "Iterations of each sample in a linear system.", GROUP, unit="count", flag="--linear-iterations"
    )
    restart: int | None = setting(
        None, "Iterations after which GMRES forgets its basis.", GROUP, unit="count", none="never"
    )
    method: str = setting(
        "gmres",
        "Linear solver of implicit steps; feedback is a circuit of the arrays and op-amps.",
        GROUP,
        flag="--linear-solver",
        registry=LINEAR_SOLVERS,
    )
    damping: float = setting(1.0, "Part of each correction that Richardson's iteration takes.", GROUP, unit="part")
    warm_start: bool = setting(
        False, "Start from the solution of the last system.", GROUP, flag="--warm-start/--cold-start"
    )

    def __post_init__(self) -> None:
        if not isinstance(self.method, str):
            raise InvalidInputError(
                f"method must be the text of a linear solver, got {self.method!r}; a LinearSolver has all of these "
                "options itself: give it in place of KrylovOptions"
            )
        settle(self)
        check_restart(self.restart)
        check_damping(self.damping)
        self.solver  # noqa: B018 - checks the rest

    @property
    def solver(self) -> LinearSolver:
        """The linear solver that this describes."""
        common = {"rtol": self.rtol, "max_iterations": self.max_iterations, "warm_start": self.warm_start}
        return self._with_own_options(LINEAR_SOLVERS.get(self.method, **common))

    def without_circuit(self) -> KrylovOptions | LinearSolver:
        """The same for fields that are not prepared, such as digital ones."""
        solver = self.solver
        other = solver.without_circuit()
        return self if other == solver else self._with_own_options(other)

    def _with_own_options(self, solver: LinearSolver) -> LinearSolver:
        """The solver with those of `restart` and `damping` that it has and that are no defaults."""
        has = {field.name for field in fields(solver)}
        own: dict[str, Any] = {"restart": self.restart} if self.restart is not None else {}
        own |= {"damping": self.damping} if self.damping != 1.0 else {}
        return replace(solver, **{name: value for name, value in own.items() if name in has})


SolverLike: TypeAlias = KrylovOptions | LinearSolver | str
"""A linear solver, its plain values, or its text."""


def get_linear_solver(solver: SolverLike | None, default: LinearSolver | str = "gmres") -> LinearSolver:
    """The linear solver itself; the default where none is given.

    Raises:
        InvalidInputError: No linear solver is meant.

    Example:
        >>> get_linear_solver("richardson(damping=0.5)")
        Richardson(rtol=1e-15, max_iterations=1000, warm_start=False, damping=0.5)
    """
    if isinstance(solver, KrylovOptions):
        return solver.solver
    return LINEAR_SOLVERS.get(default if solver is None else solver)


@final
@dataclass(frozen=True)
class KrylovResult:
    """Solution of a batch of linear systems.

    Attributes:
        x: (n, batch).
        iterations: Products spent on each sample, (batch,).
        residual: |rhs - M x| / |rhs| of each sample, (batch,): as measured at the end if the solver `drifts`, else by
            the recurrence, at least what rounding leaves of it.
        converged: Whether each sample reached what was asked for, or what rounding allows, (batch,).
        stiffest: Of `Arnoldi`, (batch,), if it was asked for and the solver is `Gmres`.
    """

    x: FloatArray
    iterations: NDArray[np.int64]
    residual: FloatArray
    converged: NDArray[np.bool_]
    stiffest: NDArray[np.complex128] | None = None


def solve_linear(
    product: Product,
    rhs: FloatArray,
    solver: SolverLike | None = None,
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
        solver: Who solves; `Gmres()` by default.
        rtol: Residual asked of each sample, (batch,), in place of `solver.rtol`.
        refine: Whether to measure and correct the residual of a stiff system, in which the rounding of one cycle, about
            eps |M| |x|, is felt. Newton's method goes without, because its own next residual does the same.
        start: Where to start, (n, batch), for one product more; zero when left out.
        inverse: About M^{-1} x, called as `product` is; needed by, and for, the solvers that have one.
        watch: Whether the `stiffest` part is wanted; it takes no product.

    Returns:
        The solutions, with iterations, residual and convergence of each sample.

    Raises:
        InvalidInputError: The solver is "cg" and the system is not symmetric.

    Example:
        >>> halves = solve_linear(lambda x, active: 2.0 * x, np.array([[1.0, 3.0]]))
        >>> halves.x, halves.iterations
        (array([[0.5, 1.5]]), array([1, 1]))
    """
    solver = get_linear_solver(solver)
    targets = np.maximum(solver.rtol if rtol is None else rtol, _ROUNDING) * np.ones(rhs.shape[1])
    solve = _Solve(product, rhs, solver, targets, refine, inverse, watch)
    active = np.flatnonzero(np.isfinite(solve.scale) & ~solve.converged)
    if start is not None and active.size:
        active = solve.begin(active, start)
    solve.iterate(active)
    if solver.fallback is not None:
        solve.iterate(solve.stalled(solver.fallback))
    return solve.result()


@final
class _Solve:
    """The state of each sample between cycles, in units of its right-hand side."""

    def __init__(
        self,
        product: Product,
        rhs: FloatArray,
        solver: LinearSolver,
        targets: FloatArray,
        refine: bool,
        inverse: Product | None,
        watch: bool,
    ) -> None:
        self.product, self.solver, self.targets, self.refine = product, solver, targets, refine
        self.inverse, self.watch = inverse, watch
        self.stiffest: NDArray[np.complex128] | None = None
        self.scale = norms(rhs)
        usable = np.isfinite(self.scale)
        self.rhs = np.divide(rhs, self.scale, out=np.zeros_like(rhs), where=usable & (self.scale > 0.0))
        self.left = self.rhs.copy()  # rhs - M x as last measured
        self.x = np.zeros(rhs.shape)
        self.iterations = np.zeros(rhs.shape[1], dtype=np.int64)
        self.residual = np.where(usable, (self.scale > 0.0).astype(float), np.inf)
        self.converged = self.residual <= targets
        self._drifts = solver.drifts
        self._worthwhile = np.zeros(rhs.shape[1])  # residual below which the last cycle was worth its products
        self._attainable = np.zeros(rhs.shape[1])  # residual that rounding leaves, at the least

    def iterate(self, active: IndexArray) -> None:
        """Cycles for the active samples, with the true residual between them, as long as they are worthwhile."""
        while active.size:
            active = self.cycle(active)
            if active.size:
                active = self.measure(active)

    def stalled(self, fallback: LinearSolver) -> IndexArray:
        """Samples of which the solver could make nothing, to be solved anew by another one."""
        self.solver, self.watch = fallback, False
        affordable = self.iterations < fallback.max_iterations
        samples = np.flatnonzero(~self.converged & np.isfinite(self.scale) & affordable)
        self.x[:, samples], self.left[:, samples], self.residual[samples] = 0.0, self.rhs[:, samples], 1.0
        return samples

    def cycle(self, active: IndexArray) -> IndexArray:
        """Improve the active samples by one cycle; returns those whose residual should then be measured."""
        spent = int(self.iterations[active].max())
        run = self.solver.cycle(self.left[:, active], self.targets[active], inverse=self.inverse, watch=self.watch)
        run.run(self.product, active, self.solver.max_iterations - spent, spent)
        if run.stiffest is not None:
            if self.stiffest is None:
                self.stiffest = np.zeros(self.scale.size, dtype=complex)
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
        left = self.solver.max_iterations - self.iterations[active]
        self.converged[active] = met & ~(doubtful & (left < 1))  # what is doubtful counts once it has been measured
        return np.asarray(active[solvable & np.where(doubtful, left >= 1, ~met & (left > 1))])

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
