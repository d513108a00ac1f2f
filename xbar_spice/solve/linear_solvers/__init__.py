"""Solvers of a batch of linear systems that are known by their products only."""

from xbar_spice.solve.linear_solvers.bicgstab import BiCGSTAB
from xbar_spice.solve.linear_solvers.conjugate_gradient import ConjugateGradient
from xbar_spice.solve.linear_solvers.cycle import Cycle, Product, dot
from xbar_spice.solve.linear_solvers.gmres import Arnoldi
from xbar_spice.solve.linear_solvers.krylov import KrylovOptions, KrylovResult, LinearMethod, solve_linear
from xbar_spice.solve.linear_solvers.richardson import Richardson
from xbar_spice.solve.linear_solvers.systems import dense_jacobian, solve_adjoint, solve_tangent

__all__ = [
    "Arnoldi",
    "BiCGSTAB",
    "ConjugateGradient",
    "Cycle",
    "KrylovOptions",
    "KrylovResult",
    "LinearMethod",
    "Product",
    "Richardson",
    "dense_jacobian",
    "dot",
    "solve_adjoint",
    "solve_linear",
    "solve_tangent",
]
