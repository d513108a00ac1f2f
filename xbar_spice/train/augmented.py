"""The gradient of training by one solve of the augmented equation backwards, in place of the adjoint of the steps."""

from __future__ import annotations

import numpy as np

from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.operator import FloatArray
from xbar_spice.solve.adjoint.augmented import augmented_gradients
from xbar_spice.solve.adjoint.discrete import Gradients
from xbar_spice.solve.integrators.dormand_prince import DormandPrince
from xbar_spice.solve.integrators.integration import Trajectory
from xbar_spice.solve.integrators.layers import Layers
from xbar_spice.train.observed import Looks
from xbar_spice.train.processor import Programmed

__all__ = ["augmented_pull"]


def augmented_pull(programmed: Programmed, looks: Looks, trajectory: Trajectory, cotangents: FloatArray) -> Gradients:
    """What `gradients` finds, by `augmented_gradients`; inexact by the error of the method.

    A method of fixed steps goes back by the steps of the grid, an adaptive one by steps of its own between the times at
    which the loss looks.

    Args:
        programmed: The model, as it ran.
        looks: Where the loss looks at its run.
        trajectory: The run.
        cotangents: Of the states that the loss looks at, (times, n, samples).

    Raises:
        InvalidInputError: The field has weights of each step or stages in front, the method is none of Runge and
            Kutta's, the model runs back in time, the loss looks between grid points, or the processor's gradient goes
            through the circuit.
    """
    model = looks.model
    if model.stages:
        raise InvalidInputError(
            'adjoint="augmented" solves one equation backwards, and this model has stages in front: take '
            'adjoint="discrete"'
        )
    if looks.between:
        raise InvalidInputError(
            f'adjoint="augmented" goes back from grid points, and the loss looks at time {looks.between[0]:g} between '
            'them: give the model a grid with these times, or take adjoint="discrete"'
        )
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
    at = {point: model.started(one) for point, one in zip(looks.stops, cotangents, strict=True)}
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
