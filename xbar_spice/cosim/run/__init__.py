"""One model solved and differentiated on digital matrices and on arrays, and compared."""

from xbar_spice.cosim.run.comparison import Comparison, compare
from xbar_spice.cosim.run.convergence import Convergence, failed_runs, named_failures, warn_of_failures
from xbar_spice.cosim.run.cosimulation import (
    Cosimulation,
    Problem,
    Run,
    SolverOptions,
    conditions,
    cosimulate,
    solve_model,
)
from xbar_spice.cosim.run.made import Conditions, fingerprint
from xbar_spice.cosim.run.monitors import Monitors
from xbar_spice.cosim.run.programming import expected_noise, program_model, weight_scales
from xbar_spice.cosim.run.record import Record, read_record

__all__ = [
    "Comparison",
    "Conditions",
    "Convergence",
    "Cosimulation",
    "Monitors",
    "Problem",
    "Record",
    "Run",
    "SolverOptions",
    "compare",
    "conditions",
    "cosimulate",
    "expected_noise",
    "failed_runs",
    "fingerprint",
    "named_failures",
    "program_model",
    "read_record",
    "solve_model",
    "warn_of_failures",
    "weight_scales",
]
