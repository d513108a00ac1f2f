"""Trained weights: the model as a value, and the files that it comes from."""

from xbar_spice.weights.files import load_model, require_savable, save_model
from xbar_spice.weights.model import Classifier, Kernels, Model

__all__ = ["Classifier", "Kernels", "Model", "load_model", "require_savable", "save_model"]
