"""The analog loss of chips: of some that are drawn, or of one whose devices are given."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace

import numpy as np

from xbar_spice.cosim.run.convergence import named_failures
from xbar_spice.cosim.run.cosimulation import Problem, Run, SolverOptions, solve_model
from xbar_spice.cosim.run.programming import (
    ends_on,
    expected_noise,
    field_on,
    in_digital_numbers,
    program_model,
    weight_scales,
    weights_on_arrays,
)
from xbar_spice.engines.base import Engine
from xbar_spice.engines.registry import get_engine
from xbar_spice.errors import ConvergenceError
from xbar_spice.hardware.drift import NoDrift
from xbar_spice.hardware.variation import Variation
from xbar_spice.linear.operator import FloatArray
from xbar_spice.linear.threads import one_thread
from xbar_spice.mapping.analog_matrix import AnalogMatrix
from xbar_spice.mapping.design import Design
from xbar_spice.mapping.matrix import MappedMatrix, map_weights
from xbar_spice.mapping.readout import Readout
from xbar_spice.streams import Streams

__all__ = ["allowed_options", "chip_loss", "chip_losses"]


def chip_losses(
    problem: Problem,
    design: Design,
    seeds: Iterable[int],
    *,
    engine: str | Engine = "nodal",
    solver: SolverOptions | None = None,
) -> FloatArray:
    """(seeds,) analog losses of chips drawn from these seeds, to hold a prediction against.

    Args:
        problem: model, samples and loss.
        design: how the arrays are built.
        seeds: from which the devices are drawn.
        engine: who answers the reads.
        solver: tolerances.

    Raises:
        ConvergenceError: a chip has samples that did not converge: such a loss means nothing.
    """
    losses = []
    with one_thread():
        for seed in seeds:
            with ExitStack() as opened:
                held = replace(problem, model=in_digital_numbers(problem.model, design, seed))
                matrices = program_model(held.model, design, engine, seed=seed)
                for matrix in matrices:
                    opened.enter_context(matrix)
                losses.append(_loss_on(held, matrices, solver, f"chip of seed {seed}"))
    return np.array(losses)


def chip_loss(
    problem: Problem,
    design: Design,
    conductance: Mapping[str, FloatArray],
    *,
    engine: str | Engine = "nodal",
    seed: int = 0,
    solver: SolverOptions | None = None,
) -> float:
    """The analog loss of one chip whose devices are given.

    Args:
        problem: model, samples and loss.
        design: how the arrays are built; nothing varies.
        conductance: (2, inputs, outputs) siemens of the devices of matrices by name; as wanted where left out.
        engine: who answers the reads.
        seed: from which read noise is drawn.
        solver: tolerances.

    Raises:
        ConvergenceError: some samples did not converge: such a loss means nothing.
    """
    answering, scales = get_engine(engine), weight_scales(problem.model, design)
    with one_thread(), ExitStack() as opened:
        chip = []
        for name, W in weights_on_arrays(problem.model).items():
            mapped = map_weights(W, _as_given(design), siemens_per_weight=scales.get(name))
            if name in conductance:
                mapped = _with_devices_of(mapped, conductance[name])
            readout = Readout(mapped, Streams(seed).read_noise(name))
            bank = answering.program_bank(mapped.crossbars)
            chip.append(opened.enter_context(AnalogMatrix(W, mapped, bank, name=name, readout=readout)))
        return _loss_on(problem, chip, solver, "chip of these devices")


def _loss_on(problem: Problem, matrices: Sequence[AnalogMatrix], solver: SolverOptions | None, chip: str) -> float:
    options = allowed_options((solver or SolverOptions()).iterative, problem, matrices)
    model = problem.model
    return _loss_of(solve_model(problem, field_on(model, matrices), options, ends=ends_on(model, matrices)), chip)


def _as_given(design: Design) -> Design:
    """The design of a chip of which everything is known."""
    return replace(design, variation=Variation(), cycle=Variation(), drift=NoDrift(), after=0.0, conductances=None)


def _loss_of(run: Run, chip: str) -> float:
    """The loss alone, which cannot say of itself that it is none."""
    if failures := named_failures({chip: run.convergence}):
        raise ConvergenceError(
            f"there is no loss: {failures[0]} did not converge; allow more iterations or looser tolerances "
            "(SolverOptions), or take smaller steps (Model.h)"
        )
    return run.loss


def allowed_options(options: SolverOptions, problem: Problem, matrices: Sequence[AnalogMatrix]) -> SolverOptions:
    """The options as far as the noise of these arrays allows, judged by the initial states."""
    return options.allowing(expected_noise(problem.model, matrices, problem.model.started(problem.z0)[np.newaxis]))


def _with_devices_of(mapped: MappedMatrix, conductance: FloatArray) -> MappedMatrix:
    arrays = tuple(
        replace(array, crossbar=replace(array.crossbar, conductance=conductance[array.devices]))
        for array in mapped.arrays
    )
    return replace(mapped, arrays=arrays)
