"""How much of its drive voltage each cell of one array loses to the wires, in the first read of a study's hardest case.

The voltages inside an array come from the nodal engine, whichever engine answers the study's reads.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from xbar_spice.cosim.run.programming import drawn_by, weight_scales, weights_on_arrays
from xbar_spice.engines.nodal.solution import solve_array
from xbar_spice.mapping.matrix import map_weights
from xbar_spice.mapping.measured import conductance_map
from xbar_spice.streams import Streams
from xbar_spice.study.cases import Case
from xbar_spice.study.setups import Setup

__all__ = ["first_read_voltages", "hardness"]


def hardness(setup: Setup) -> tuple[float, float] | None:
    """By what the case of the largest arrays, and of the highest wire resistance among those, is found.

    None if no wire has any; nonlinear cells and amplifiers that saturate are left out, too.
    """
    design = setup.design
    if not (design.device.linear and design.amplifier.linear and design.r_word + design.r_bit):
        return None
    return (np.inf if design.tile is None else design.tile, design.r_word + design.r_bit)


def first_read_voltages(case: Case, setup: Setup) -> dict[str, Any]:
    """Voltages in the array of the first matrix with the strongest drive, when that first reads an initial state.

    Of the samples, the one with the largest sum of entries is read.

    Returns:
        `cells`, (rows, cols) volts across the cells; `drive`, (rows,) volts of the sources; and in `case`, `label`,
        `array`, what they belong to.
    """
    problem, design = setup.problem(), setup.design
    model = problem.model
    name, weights = next(iter(weights_on_arrays(model).items()))
    scale = weight_scales(model, design).get(name)
    streams, measured = Streams(case.seed), conductance_map(design, name)
    mapped = map_weights(
        weights,
        design,
        siemens_per_weight=scale,
        conductance=measured,
        rng=drawn_by(streams, name, design),
        cycle_rng=streams.cycle(name),
    )
    sample = int(np.abs(problem.z0).sum(axis=0).argmax())
    read = np.ones((weights.shape[1], 1))  # what is no state is a line that is held at one
    count = min(len(read), model.states)
    read[:count] = problem.z0[:count, [sample]]
    drives = [volts[:, 0] for volts in mapped.drives(read, "rows")]
    strongest = int(np.argmax([np.abs(volts).sum() for volts in drives]))
    array = mapped.arrays[strongest]
    return {
        "cells": solve_array(array.crossbar, drives[strongest], "rows").cell_voltages,
        "drive": drives[strongest],
        "case": case.id,
        "label": case.label,
        "array": f"{name} {array.name}",
    }
