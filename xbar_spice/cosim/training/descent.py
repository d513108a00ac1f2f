"""What a step against a gradient does to the analog loss: expected to first order, and measured on the same chip."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np

from xbar_spice.cosim.run.cosimulation import Problem, Run, SolverOptions, solve_model
from xbar_spice.cosim.run.programming import ends_on, field_on, in_digital_numbers, program_model
from xbar_spice.engines.base import Engine
from xbar_spice.linear.operator import FloatArray
from xbar_spice.mapping.design import Design
from xbar_spice.weights import Model
from xbar_spice.weights.end import of_end

__all__ = ["Descent", "Step"]


@final
@dataclass(frozen=True)
class Step:
    """One small step of the weights against a gradient.

    Attributes:
        decrease: of the analog loss, "expected" to first order and "measured".
        convergence: of the run after the step, as `Run.convergence` gives it.
    """

    decrease: dict[str, float]
    convergence: dict[str, Any]


@final
@dataclass(frozen=True)
class Descent:
    """Steps of the weights on one chip.

    Attributes:
        problem: model, samples and loss before the step; the model has the `weight_range` of the chip.
        design: how the arrays are built.
        engine: who answers the reads.
        seed: from which the devices are drawn.
        options: tolerances.
        step: length of a step, relative to the weights (of the kernels, if there are kernels).
    """

    problem: Problem
    design: Design
    engine: str | Engine
    seed: int
    options: SolverOptions
    step: float

    def along(self, gradient: Mapping[str, FloatArray], true: Mapping[str, FloatArray], loss: float) -> Step:
        """Take a step against a gradient from weights with this analog loss."""
        weights = _free_parameters(self.problem.model)
        length = self.step * _joint_norm(weights, weights) / max(_joint_norm(gradient, weights), np.finfo(float).tiny)
        moved = {name: values - length * gradient[name] for name, values in weights.items()}
        expected = length * sum(float(np.vdot(gradient[name], true[name])) for name in weights)
        run = self._run(self.problem.model.with_tensors(moved))
        return Step({"expected": expected, "measured": loss - run.loss}, run.convergence)

    def _run(self, model: Model) -> Run:
        with ExitStack() as opened:
            model = in_digital_numbers(model, self.design, self.seed)
            matrices = program_model(model, self.design, self.engine, seed=self.seed)
            for matrix in matrices:
                opened.enter_context(matrix)
            field, ends = field_on(model, matrices), ends_on(model, matrices)
            return solve_model(replace(self.problem, model=model), field, self.options, ends=ends)


def _free_parameters(model: Model) -> dict[str, FloatArray]:
    """What a trainer of the fields changes, of stages too: their kernels or matrices, and biases."""
    stages = tuple(f"{name}." for name in model.stages)
    return {name: value for name, value in model.tensors.items() if name.startswith(stages) or not of_end(name)}


def _joint_norm(values: Mapping[str, FloatArray], names: Mapping[str, FloatArray]) -> float:
    return float(np.sqrt(sum(np.vdot(values[name], values[name]) for name in names)))
