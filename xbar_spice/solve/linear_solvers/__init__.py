"""Solvers of a batch of linear systems that are known by their products only."""

from xbar_spice.solve.linear_solvers.bicgstab import BiCGStab
from xbar_spice.solve.linear_solvers.chord import Chord, dense_jacobian
from xbar_spice.solve.linear_solvers.conjugate_gradients import ConjugateGradients
from xbar_spice.solve.linear_solvers.cycle import Cycle, Product, dot
from xbar_spice.solve.linear_solvers.gmres import Arnoldi, Gmres
from xbar_spice.solve.linear_solvers.krylov import (
    KrylovOptions,
    KrylovResult,
    SolverLike,
    get_linear_solver,
    solve_linear,
)
from xbar_spice.solve.linear_solvers.richardson import DampedCorrections, Richardson
from xbar_spice.solve.linear_solvers.solver import LinearSolver
from xbar_spice.solve.linear_solvers.systems import solve_adjoint, solve_tangent

__all__ = [
    "Arnoldi",
    "BiCGStab",
    "Chord",
    "ConjugateGradients",
    "Cycle",
    "DampedCorrections",
    "Gmres",
    "KrylovOptions",
    "KrylovResult",
    "LinearSolver",
    "Product",
    "Richardson",
    "SolverLike",
    "dense_jacobian",
    "dot",
    "get_linear_solver",
    "solve_adjoint",
    "solve_linear",
    "solve_tangent",
]
