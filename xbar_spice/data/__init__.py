"""Samples with their labels or targets: those of a file, and named sets that are made or come with scikit-learn."""

from xbar_spice.data.files import load_data
from xbar_spice.data.named import DataSet, load_named_data
from xbar_spice.data.samples import Data

__all__ = ["Data", "DataSet", "load_data", "load_named_data"]
