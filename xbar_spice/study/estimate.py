"""What a case will take, roughly, before anything has been run: for the order of cases, and for a dry run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import fmean
from typing import final

from xbar_spice.study.setups import Setup

__all__ = ["Estimate", "estimate"]

# Seconds of a case, of each read, of each array of a read that is not one product, of each weight, and of each weight,
# step and sample; bytes of each weight. Of one core of 2020, within a factor of three: studies measure what cases take,
# and dry runs say how rough this is.
_COSTS = {
    "ideal": (3e-3, 1e-4, 1e-5, 2e-8, 2e-9, 200.0),
    "nodal": (3e-3, 1.5e-4, 1.5e-5, 1e-6, 2e-8, 2e3),
    "ngspice": (0.5, 1e-3, 1e-4, 2e-5, 2e-6, 2e4),
}
_READS = 16  # of a step: four stages, two matrices, forwards and back; more where equations are solved
_NONLINEAR = 30.0  # times as much as linear cells
_PROCESS = 150 * 2**20  # bytes of a worker without any case


@final
@dataclass(frozen=True)
class Estimate:
    """What a case will take.

    Attributes:
        seconds: of one core.
        bytes: of memory, the process included.
    """

    seconds: float
    bytes: float


def estimate(setup: Setup) -> Estimate:
    """What a case will take, by what it is made of."""
    first, read, array, weight, product, size = _COSTS.get(setup.engine_name.partition("(")[0], _COSTS["nodal"])
    models = [setup.model, *setup.model.stages.values()]
    shapes = [operator.shape for model in models for operator in model.operators.values()]
    steps = sum(model.steps for model in models)
    weights = sum(rows * columns for rows, columns in shapes)
    arrays = fmean(_arrays(shape, setup.design.tile) for shape in shapes) if not setup.design.exact_reads else 0.0
    linear = setup.design.device.linear and setup.design.amplifier.linear
    times = 1.0 if linear or setup.engine_name == "ideal" else _NONLINEAR
    return Estimate(
        first + _READS * steps * (read + array * arrays) + times * weights * (weight + product * steps * setup.samples),
        _PROCESS + size * weights + 8.0 * setup.model.states * (steps + 1) * setup.samples,
    )


def _arrays(shape: tuple[int, int], tile: int | None) -> int:
    """How many a matrix takes, two for each tile."""
    return 2 * math.prod(-(-lines // (tile or lines)) for lines in shape)
