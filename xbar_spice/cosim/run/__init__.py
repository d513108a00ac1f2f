"""One model solved and differentiated on digital matrices and on arrays, and compared."""

from xbar_spice.cosim.run.comparison import Comparison, compare
from xbar_spice.cosim.run.cosimulation import (
    Cosimulation,
    Problem,
    Run,
    SolverOptions,
    conditions,
    cosimulate,
    named_gradients,
    solve_model,
)
from xbar_spice.cosim.run.programming import expected_noise, program_model, weight_scales

__all__ = [
    "Comparison",
    "Cosimulation",
    "Problem",
    "Run",
    "SolverOptions",
    "compare",
    "conditions",
    "cosimulate",
    "expected_noise",
    "named_gradients",
    "program_model",
    "solve_model",
    "weight_scales",
]
