"""A study from Python, and its figures: how large may the tiles of a random neural ODE be?

Writes weights.npz, the cases in results/ and report.html with figures/ beside it, into the current folder.
"""

from pathlib import Path

import numpy as np

import xbar_spice as xs
from xbar_spice.report.html import write_report
from xbar_spice.study.runner import run_study
from xbar_spice.study.study_file import parse_study

rng = np.random.default_rng(0)
A, B = rng.standard_normal((12, 12)), rng.standard_normal((12, 12)) / 12
xs.save_model("weights.npz", xs.Model(A, B, h=0.25, steps=2))
study = parse_study(
    {
        "name": "Error against tile size",
        "seeds": [0, 1],
        "model": {"weights": str(Path("weights.npz").resolve())},
        "data": {"task": "random", "samples": 2},
        "circuit": {"engine": "nodal", "r_word": 5.0, "r_bit": 5.0},
        "axes": [
            {"name": "tile", "fields": ["circuit.tile"], "values": [4, 8, 12]},
            {"name": "programming error", "fields": ["circuit.variation.programming"], "values": [0.0, 0.05]},
        ],
    }
)

if __name__ == "__main__":  # its cases run in processes of their own, which import this file
    print(run_study(study, Path("results"), jobs=1))
    print("wrote", write_report(Path("results"), Path("report.html")))
