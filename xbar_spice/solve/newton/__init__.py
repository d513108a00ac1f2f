"""Newton's method for the equations of implicit steps."""

from xbar_spice.solve.newton.newton import NewtonOptions, NewtonResult, solve_implicit
from xbar_spice.solve.newton.noise import allowing_noise, measured_noise

__all__ = [
    "NewtonOptions",
    "NewtonResult",
    "allowing_noise",
    "measured_noise",
    "solve_implicit",
]
