"""Neural ODE solvers and their exact discrete gradients; they see linear operators only."""

from xbar_spice.solve.adjoint import Gradients, gradients
from xbar_spice.solve.fields import Field, ReluField
from xbar_spice.solve.integrators import Method, Trajectory, integrate
from xbar_spice.solve.linear_solvers import KrylovOptions, LinearSolver
from xbar_spice.solve.newton import NewtonOptions

__all__ = [
    "Field",
    "Gradients",
    "KrylovOptions",
    "LinearSolver",
    "Method",
    "NewtonOptions",
    "ReluField",
    "Trajectory",
    "gradients",
    "integrate",
]
