"""Forward Euler with a fixed linear part taken implicitly: one solve with a matrix that never changes.

    (I + h L) z' = z + h (f(z) + L z),   which is   z' = z + h (I + h L)^{-1} f(z)

Its fixed points are those of f, whatever L is. For f = -a z it is stable at any h if L >= a / 2; it helps no eigenvalue
on the imaginary axis. With lam' = dL/dz' and q = (I + h L)^{-T} lam' the adjoint is

    lam = lam' + J^T h q,   parameters of f: those of the vjp with h q,   dL/dL = h q (z - z')^T,
    dL/dh = q . (z' - z) / h

Source: Haber, Lensink, Treister and Ruthotto, IMEXnet, ICML 2019.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, cast, final

import numpy as np
from numpy.typing import ArrayLike

from xbar_spice.checks import ANYTHING, Many, Real, Rule, Whole, settle
from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.operator import DenseOperator, FloatArray, LinearOperator, as_operator
from xbar_spice.read_context import stage
from xbar_spice.solve.fields.contributions import Contributions
from xbar_spice.solve.fields.evaluation import Evaluation, Parameters
from xbar_spice.solve.fields.field import Field
from xbar_spice.solve.integrators.method import (
    AdjointRun,
    Carry,
    ForwardRun,
    Grid,
    Method,
    SolveOptions,
    SolveReport,
    TangentRun,
)
from xbar_spice.solve.linear_solvers.krylov import KrylovResult
from xbar_spice.solve.linear_solvers.solver import LinearSolver
from xbar_spice.solve.linear_solvers.systems import solve_adjoint, solve_tangent

__all__ = ["Imex"]


class Solves(Protocol):
    """Solves a linear system that never changes."""

    def solve(self, b: FloatArray) -> FloatArray:
        """X for (n, batch) right-hand sides."""


@final
class _Solves(Rule[Solves]):
    allowed = "an object with a method solve, such as a FeedbackSolver"

    def checked(self, value: Any) -> Solves:
        if isinstance(value, type) or not callable(getattr(value, "solve", None)):
            raise ValueError
        solver: Solves = value
        return solver


_SOLVES = _Solves()


@final
@dataclass(frozen=True, eq=False)
class Imex(Method):
    """z' = z + h (I + h L)^{-1} f(z).

    Attributes:
        stencil: L as a symmetric, periodic stencil: s_0 I + sum_j s_j (shift by j + shift back), along every axis of
            `shape`; one number alone is a multiple of the identity. Solved by a Fourier transform, at no read.
        shape: Of an image that the states hold, perhaps of several channels, one after the other; one axis of all
            states when left out.
        matrix: L as a matrix, or as an operator such as an array, in place of a stencil. A digital one is factored, any
            other one solved by reads with the linear solver of the run.
        circuits: Who solves (I + h L) x = r and (I + h L^T) x = r for a batch, in place of both: objects with a method
            `solve`, such as two `FeedbackSolver`s, one of them `transposed`, which are made for one h.
        trained: Whether gradients have "L", too, of the shape of what was given.

    Raises:
        InvalidInputError: The values do not belong together.
    """

    hint = "the step may be unstable: try a smaller h or a larger L"

    stencil: tuple[float, ...] = (1.0,)
    shape: tuple[int, ...] = ()
    matrix: ArrayLike | LinearOperator | None = None
    circuits: tuple[Solves, Solves] | None = None
    trained: bool = False

    def __post_init__(self) -> None:
        settle(self, stencil=Many(Real(), least=1), shape=Many(Whole(1)), matrix=ANYTHING, circuits=ANYTHING)
        if self.circuits is not None:
            pair = Many(_SOLVES, 2)("circuits", self.circuits)
            object.__setattr__(self, "circuits", pair)
        if self.matrix is None:
            return
        matrix = as_operator(self.matrix, "matrix")
        if matrix.shape[0] != matrix.shape[1]:
            raise InvalidInputError(f"matrix must be square, got {matrix.shape}")
        object.__setattr__(self, "matrix", matrix)

    @property
    def one_step(self) -> bool:  # type: ignore[override]
        return True

    def run(
        self,
        field: Field,
        z0: FloatArray,
        grid: Grid,
        options: SolveOptions,
        carry: Carry = (),
        known: tuple[Evaluation, ...] = (),
    ) -> ForwardRun:
        part, report = self._part(z0), SolveReport.blank(grid.steps, z0.shape[1])
        z = np.empty((grid.steps + 1, *z0.shape))
        z[0] = z0
        evaluations: list[tuple[Evaluation, ...]] = []
        for k in range(grid.steps):
            with stage(phase="forward", step=grid.start + k):
                at = field.evaluate_finite(z[k])
                z[k + 1] = z[k] + self._solved(part, grid.h, grid.h * at.value, options.krylov, report, k)
            evaluations.append((at,))
        report.converged[:] &= np.isfinite(z[1:]).all(axis=1)
        report.evaluations[:] = 1
        z.setflags(write=False)
        return ForwardRun(field, grid, z, (*evaluations, ()), report)

    def adjoint(
        self,
        run: ForwardRun,
        cotangent: FloatArray,
        krylov: LinearSolver,
        total: Contributions,
        carry: Carry = (),
    ) -> AdjointRun:
        part, h = self._part(cotangent), run.grid.h
        report = SolveReport.blank(run.grid.steps, cotangent.shape[1])
        lengths = np.zeros((run.grid.steps, cotangent.shape[1]))
        for k in range(run.grid.steps - 1, -1, -1):
            step, (at,) = run.grid.start + k, run.evaluations[k]
            with stage(phase="adjoint", step=step):
                q = h * self._solved(part, h, cotangent, krylov, report, k, transposed=True)
                lengths[k] = (q * (run.z[k + 1] - run.z[k])).sum(axis=0) / h**2
                cotangent = cotangent + total.pull(run.field, at, {step: q})
            if self.trained:
                moved = Evaluation(run.z[k] - run.z[k + 1], at.value, at.slope, at.hidden)
                total.add(part, moved, q, q, step=step)
        return AdjointRun(cotangent, report, lengths=lengths)

    def tangent(
        self,
        run: ForwardRun,
        change: FloatArray,
        direction: Parameters,
        krylov: LinearSolver,
        carry: Carry = (),
    ) -> TangentRun:
        part, h = self._part(change), run.grid.h
        report = SolveReport.blank(run.grid.steps, change.shape[1])
        for k in range(run.grid.steps):
            (at,) = run.evaluations[k]
            rhs = run.field.push(at, change, direction)
            if "L" in direction:
                rhs = rhs + part.applied(direction["L"], run.z[k] - run.z[k + 1])
            change = change + self._solved(part, h, h * rhs, krylov, report, k)
        return TangentRun(change, report)

    def _solved(
        self,
        part: _Linear,
        h: float,
        rhs: FloatArray,
        krylov: LinearSolver,
        report: SolveReport,
        k: int,
        *,
        transposed: bool = False,
    ) -> FloatArray:
        """The solution with I + h L, by whoever solves it."""
        if self.circuits is not None:
            return np.asarray(self.circuits[transposed].solve(rhs))
        return part.solved(h, rhs, krylov, report, k, transposed=transposed)

    def _part(self, z: FloatArray) -> _Linear:
        """L, for states of this length."""
        if self.matrix is not None:
            matrix = cast(LinearOperator, self.matrix)
            if matrix.shape[0] != len(z):
                raise InvalidInputError(f"the matrix of imex must be {len(z)} x {len(z)} as f is, got {matrix.shape}")
            return _Matrix(matrix)
        shape = self.shape or (len(z),)
        if len(z) % int(np.prod(shape)):
            raise InvalidInputError(f"states of length {len(z)} are no images of shape {shape}: set shape of imex")
        return _Stencil(self.stencil, shape, len(z))


class _Linear(Field):
    """-L z, the linear field that stands for L."""

    hidden_units = 0

    def solved(
        self, h: float, rhs: FloatArray, krylov: LinearSolver, report: SolveReport, k: int, *, transposed: bool = False
    ) -> FloatArray:
        """(I + h L)^{-1} rhs, or that of the transpose; what it took goes into the report of step k."""
        raise NotImplementedError

    def applied(self, change: FloatArray, z: FloatArray) -> FloatArray:
        """The change of L z for a change of what L is given by."""
        raise NotImplementedError

    def evaluate(self, z: FloatArray) -> Evaluation:
        empty = np.zeros((0, z.shape[1]))
        return Evaluation(z, self.jvp(Evaluation(z, z, empty, empty), z), empty, empty)

    def jvp(self, evaluation: Evaluation, direction: FloatArray) -> FloatArray:
        raise NotImplementedError

    def pull_hidden(self, evaluation: Evaluation, cotangent: FloatArray) -> FloatArray:
        return cotangent

    def pull_state(self, evaluation: Evaluation, hidden_cotangent: FloatArray) -> FloatArray:
        raise NotImplementedError

    def parameter_jvp(self, evaluation: Evaluation, direction: Parameters) -> FloatArray:
        return -self.applied(direction["L"], evaluation.z) if "L" in direction else np.zeros_like(evaluation.z)


@final
class _Stencil(_Linear):
    """A periodic stencil, diagonal in the Fourier domain; it is its own transpose."""

    def __init__(self, stencil: tuple[float, ...], shape: tuple[int, ...], states: int) -> None:
        self._stencil, self._shape, self._states = stencil, shape, states

    @property
    def states(self) -> int:
        return self._states

    @cached_property
    def _modes(self) -> FloatArray:
        """Eigenvalues of the shifts, (number of stencil, *shape)."""
        angles = np.meshgrid(*(2.0 * np.pi * np.arange(size) / size for size in self._shape), indexing="ij")
        shifts = [sum(2.0 * np.cos(j * angle) for angle in angles) for j in range(1, len(self._stencil))]
        return np.stack([np.ones(self._shape), *shifts])

    def solved(
        self, h: float, rhs: FloatArray, krylov: LinearSolver, report: SolveReport, k: int, *, transposed: bool = False
    ) -> FloatArray:
        return self._filtered(1.0 / (1.0 + h * np.tensordot(self._stencil, self._modes, axes=1)), rhs)

    def applied(self, change: FloatArray, z: FloatArray) -> FloatArray:
        return self._filtered(np.tensordot(change, self._modes, axes=1), z)

    def jvp(self, evaluation: Evaluation, direction: FloatArray) -> FloatArray:
        return -self.applied(np.array(self._stencil), direction)

    def pull_state(self, evaluation: Evaluation, hidden_cotangent: FloatArray) -> FloatArray:
        return self.jvp(evaluation, hidden_cotangent)

    def parameter_gradients(
        self, evaluation: Evaluation, cotangent: FloatArray, hidden_cotangent: FloatArray
    ) -> Parameters:
        return {"L": np.array([np.vdot(cotangent, self._filtered(mode, evaluation.z)) for mode in self._modes])}

    def _filtered(self, modes: FloatArray, z: FloatArray) -> FloatArray:
        images = z.reshape(-1, *self._shape, z.shape[1])
        axes = tuple(range(1, 1 + len(self._shape)))
        spectrum = np.fft.fftn(images, axes=axes) * modes[..., np.newaxis]
        return np.asarray(np.fft.ifftn(spectrum, axes=axes).real.reshape(z.shape))


@final
class _Matrix(_Linear):
    """A matrix; a digital one is solved directly, one on an array by reads."""

    def __init__(self, matrix: LinearOperator) -> None:
        self.L = matrix

    @property
    def states(self) -> int:
        return self.L.shape[0]

    def solved(
        self, h: float, rhs: FloatArray, krylov: LinearSolver, report: SolveReport, k: int, *, transposed: bool = False
    ) -> FloatArray:
        if isinstance(self.L, DenseOperator):
            system = np.eye(self.states) + h * self.L.matrix
            return np.asarray(np.linalg.solve(system.T if transposed else system, rhs))
        empty = np.zeros((0, rhs.shape[1]))
        at = Evaluation(rhs, rhs, empty, empty)
        result: KrylovResult = (solve_adjoint if transposed else solve_tangent)(self, at, h, rhs, krylov)
        report.converged[k], report.residuals[k] = result.converged, result.residual
        report.krylov_iterations[k] = result.iterations
        return result.x

    def applied(self, change: FloatArray, z: FloatArray) -> FloatArray:
        return np.asarray(change @ z)

    def jvp(self, evaluation: Evaluation, direction: FloatArray) -> FloatArray:
        return -self.L.mv(direction)

    def pull_state(self, evaluation: Evaluation, hidden_cotangent: FloatArray) -> FloatArray:
        return -self.L.T.mv(hidden_cotangent)

    def parameter_gradients(
        self, evaluation: Evaluation, cotangent: FloatArray, hidden_cotangent: FloatArray
    ) -> Parameters:
        return {"L": self.L.outer(cotangent, evaluation.z)}
