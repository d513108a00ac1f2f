"""Trained weights: the model as a value, and the files that it comes from."""

from xbar_spice.weights.chains import Chain
from xbar_spice.weights.ends import Classifier, Encoder, Normalisation, Pool
from xbar_spice.weights.fields import field_named, formula_of, kernel_name
from xbar_spice.weights.files import load_model, require_savable, save_model
from xbar_spice.weights.gradients import end_gradients, from_written, named_gradients
from xbar_spice.weights.kernels import Kernels
from xbar_spice.weights.model import Model, matrix_of
from xbar_spice.weights.prolongation import Prolongation, prolong, unroll
from xbar_spice.weights.stages import Stage, staged
from xbar_spice.weights.written import read_by

__all__ = [
    "Chain",
    "Classifier",
    "Encoder",
    "Kernels",
    "Model",
    "Normalisation",
    "Pool",
    "Prolongation",
    "Stage",
    "end_gradients",
    "field_named",
    "formula_of",
    "from_written",
    "kernel_name",
    "load_model",
    "matrix_of",
    "named_gradients",
    "prolong",
    "read_by",
    "require_savable",
    "save_model",
    "staged",
    "unroll",
]
