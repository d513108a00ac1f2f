"""Co-simulation: one model on digital matrices and on arrays, its gradients, and where their errors come from."""

from xbar_spice.cosim.analysis.attribution import Attribution, attribute
from xbar_spice.cosim.analysis.chip_loss import chip_loss, chip_losses
from xbar_spice.cosim.analysis.product_cost import ProductCost, product_cost
from xbar_spice.cosim.analysis.sensitivity_map import SensitivityMap, sensitivity_map
from xbar_spice.cosim.analysis.sign_flips import SignFlips, sign_flips
from xbar_spice.cosim.gradients.circuit_field import CircuitField
from xbar_spice.cosim.gradients.three_gradients import GradientStudy, three_gradients
from xbar_spice.cosim.gradients.true_gradient import CircuitGradients, circuit_gradients, weight_gradient
from xbar_spice.cosim.run.comparison import Comparison, compare
from xbar_spice.cosim.run.convergence import failed_runs
from xbar_spice.cosim.run.cosimulation import Cosimulation, Problem, SolverOptions, cosimulate
from xbar_spice.cosim.run.monitors import Monitors
from xbar_spice.cosim.run.programming import program_model, weight_scales
from xbar_spice.cosim.training.chip import Chip

__all__ = [
    "Attribution",
    "Chip",
    "CircuitField",
    "CircuitGradients",
    "Comparison",
    "Cosimulation",
    "GradientStudy",
    "Monitors",
    "Problem",
    "ProductCost",
    "SensitivityMap",
    "SignFlips",
    "SolverOptions",
    "attribute",
    "chip_loss",
    "chip_losses",
    "circuit_gradients",
    "compare",
    "cosimulate",
    "failed_runs",
    "product_cost",
    "program_model",
    "sensitivity_map",
    "sign_flips",
    "three_gradients",
    "weight_gradient",
    "weight_scales",
]
