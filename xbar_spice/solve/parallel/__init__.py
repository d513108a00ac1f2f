"""Runs that are parallel in time: slices of steps at once, corrected by a coarse run, forwards and backwards."""

from xbar_spice.solve.parallel.backward import ParallelGradients, parallel_gradients
from xbar_spice.solve.parallel.forward import ParallelTrajectory, parallel_in_time
from xbar_spice.solve.parallel.parareal import Relaxation, Work

__all__ = [
    "ParallelGradients",
    "ParallelTrajectory",
    "Relaxation",
    "Work",
    "parallel_gradients",
    "parallel_in_time",
]
