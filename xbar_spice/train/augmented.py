"""The gradient of training by one solve of the augmented equation backwards, in place of the adjoint of the steps."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.operator import FloatArray
from xbar_spice.solve.adjoint.augmented import augmented_gradients
from xbar_spice.solve.adjoint.discrete import Gradients
from xbar_spice.solve.integrators.dormand_prince import DormandPrince
from xbar_spice.solve.integrators.integration import Trajectory
from xbar_spice.solve.integrators.layers import Layers
from xbar_spice.train.processor import Programmed
from xbar_spice.weights import Model

__all__ = ["augmented_pull"]


def augmented_pull(
    programmed: Programmed, model: Model, trajectory: Trajectory, at: Mapping[int, FloatArray]
) -> Gradients:
    """What `gradients` finds, by `augmented_gradients`; inexact by the error of the method.

    A method of fixed steps goes back by the steps of the grid, an adaptive one by steps of its own between the times at
    which the loss looks.

    Args:
        programmed: The model, as it ran.
        model: The same.
        trajectory: The run.
        at: dL/dz_k by the number k of the grid point, (n, samples).

    Raises:
        InvalidInputError: The field has weights of each step, the method is none of Runge and Kutta's, the model runs
            back in time, or the processor's gradient goes through the circuit.
    """
    if isinstance(programmed.field, Layers):
        raise InvalidInputError(
            'adjoint="augmented" solves one equation backwards, and this model has weights of each step: take '
            'adjoint="discrete"'
        )
    if programmed.of_tensors is not None:
        raise InvalidInputError(
            'adjoint="augmented" is made of products: take gradient="hardware" or "hybrid" and no rounding of '
            'gradients, or adjoint="discrete"'
        )
    if model.h < 0:
        raise InvalidInputError(
            'adjoint="augmented" needs a model that runs forward in time, h > 0, got ' + f"{model.h:g}"
        )
    times = model.h * np.arange(model.steps + 1) if model.grid is None else model.grid
    own = isinstance(trajectory.scheme, DormandPrince)
    points = sorted({0, model.steps, *at}) if own else list(range(model.steps + 1))
    nothing = np.zeros_like(trajectory.z[0])
    found = augmented_gradients(
        programmed.field,
        times[points],
        trajectory.z[points],
        np.stack([at.get(point, nothing) for point in points]),
        trajectory.scheme,
        adaptive=trajectory.options.adaptive,
    )
    blank = np.ones((1, found.z0.shape[1]))
    return Gradients(
        found.z0,
        found.parameters,
        np.atleast_2d(np.isfinite(found.z0).all(axis=0)),
        np.zeros(blank.shape, dtype=np.int64),
        0.0 * blank,
        evaluations=found.evaluations.sum(axis=0),
    )
