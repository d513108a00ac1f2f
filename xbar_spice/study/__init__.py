"""Batches of co-simulations: a study file, its cases, who runs them, and where the results are kept."""

from xbar_spice.study.axes import latin_hypercube
from xbar_spice.study.problem import make_problem
from xbar_spice.study.runner import iterate_study, run_study
from xbar_spice.study.study import Study
from xbar_spice.study.study_file import StudyFile, load_study

__all__ = ["Study", "StudyFile", "iterate_study", "latin_hypercube", "load_study", "make_problem", "run_study"]
