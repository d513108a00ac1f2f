"""Integration methods, each with the exact adjoint and tangent of what it ran."""

from xbar_spice.solve.integrators.dormand_prince import DormandPrince
from xbar_spice.solve.integrators.imex import Imex
from xbar_spice.solve.integrators.integration import (
    Nonconvergence,
    Trajectory,
    check_nonconvergence,
    checked_problem,
    handle_nonconvergence,
    integrate,
    method_text,
    warn_of_instability,
)
from xbar_spice.solve.integrators.layers import Layers
from xbar_spice.solve.integrators.leapfrog import Leapfrog
from xbar_spice.solve.integrators.method import (
    AdjointRun,
    Carry,
    ForwardRun,
    Grid,
    Method,
    SolveOptions,
    SolveReport,
    Substep,
    TangentRun,
)
from xbar_spice.solve.integrators.multistep import LinearMultistep
from xbar_spice.solve.integrators.runge_kutta import RungeKutta, Tableau
from xbar_spice.solve.integrators.step_control import AdaptiveOptions
from xbar_spice.solve.integrators.verlet import Verlet

__all__ = [
    "AdaptiveOptions",
    "AdjointRun",
    "Carry",
    "DormandPrince",
    "ForwardRun",
    "Grid",
    "Imex",
    "Layers",
    "Leapfrog",
    "LinearMultistep",
    "Method",
    "Nonconvergence",
    "RungeKutta",
    "SolveOptions",
    "SolveReport",
    "Substep",
    "Tableau",
    "TangentRun",
    "Trajectory",
    "Verlet",
    "check_nonconvergence",
    "checked_problem",
    "handle_nonconvergence",
    "integrate",
    "method_text",
    "warn_of_instability",
]
