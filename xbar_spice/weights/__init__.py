"""Trained weights: the model as a value, and the files that it comes from."""

from xbar_spice.weights.ends import Classifier, Encoder
from xbar_spice.weights.fields import field_named, formula_of
from xbar_spice.weights.files import load_model, require_savable, save_model
from xbar_spice.weights.gradients import named_gradients
from xbar_spice.weights.kernels import Kernels
from xbar_spice.weights.model import Model, matrix_of
from xbar_spice.weights.prolongation import Prolongation, prolong

__all__ = [
    "Classifier",
    "Encoder",
    "Kernels",
    "Model",
    "Prolongation",
    "field_named",
    "formula_of",
    "load_model",
    "matrix_of",
    "named_gradients",
    "prolong",
    "require_savable",
    "save_model",
]
