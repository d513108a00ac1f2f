"""A model on a finer grid in time, to go on training from: the prolongation of multilevel training."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from xbar_spice.checks import checked
from xbar_spice.linear.operator import FloatArray
from xbar_spice.solve.fields.field import Field
from xbar_spice.solve.integrators.layers import Layers, fields_of
from xbar_spice.weights.model import Model

__all__ = ["Prolongation", "prolong", "unroll"]

Prolongation = Literal["constant", "linear"]
"""What the new layers between two others are: the one before, or the mean of both."""


@checked()
def prolong(model: Model, how: Prolongation = "constant") -> Model:
    """The model with twice the steps of half the length, in stages too; encoder, classifier and all else are kept.

    The weights of layer j belong to the time at which it begins. Layers 2 j and 2 j + 1 of the new model are layer j
    twice ("constant": nothing is programmed anew, both use the arrays that are there until they are trained apart), or
    layer j and its mean with layer j + 1, the last one being repeated ("linear"). A field whose weights do not change
    in time stays one. The solution, and so the loss, moves by O(h) if the coarse model resolves it.

    Args:
        model: With a set of weights for each step, `Layers` of as many fields; or with fewer.
        how: "constant" or "linear".

    Example:
        >>> from xbar_spice.solve.fields.layer_field import LayerField
        >>> coarse = Model(field=Layers([LayerField([[1.0]]), LayerField([[3.0]])]), h=0.5, steps=2)
        >>> fine = prolong(coarse, "linear")
        >>> fine.h, fine.steps, fine.tensors["K"].ravel()
        (0.25, 4, array([1., 2., 3., 3.]))
    """
    changed: dict[str, Any] = {"field": _twice(model), "weight_range": _ranges(model, how), **_finer_grid(model)}
    finer = replace(model.with_stages({name: prolong(one, how) for name, one in model.stages.items()}), **changed)
    if how == "constant" or not isinstance(model.field, Layers) or len(model.field.fields) < 2:
        return finer
    own = {name: value for name, value in model.tensors.items() if not _of_an_end(model, name)}
    return finer.with_tensors({name: _between(value) for name, value in own.items()})


def unroll(model: Model) -> Model:
    """The same model with weights of its own for every step, equal within each layer that it has.

    Example:
        >>> from xbar_spice.solve.fields.layer_field import LayerField
        >>> unroll(Model(field=LayerField([[1.0]]), h=0.5, steps=2)).tensors["K"].ravel()
        array([1., 1.])
    """
    fields = fields_of(model.field)
    each = model.steps // len(fields)
    if each < 2:
        return model
    ranges = model.weight_range
    if ranges is not None:
        count = len(ranges) // len(fields)
        ranges = tuple(one for k in range(len(fields)) for one in each * ranges[k * count : (k + 1) * count])
    changed: dict[str, Any] = {"field": Layers([field for field in fields for _ in range(each)])}
    return replace(model, **changed, weight_range=ranges)


def _twice(model: Model) -> Field | Layers:
    if not isinstance(model.field, Layers):
        return model.field
    return Layers([field for field in model.field.fields for _ in range(2)])


def _finer_grid(model: Model) -> dict[str, Any]:
    if model.grid is None:
        return {"h": model.h / 2, "steps": 2 * model.steps}
    times = np.empty(2 * model.grid.size - 1)
    times[::2] = model.grid
    times[1::2] = (model.grid[:-1] + model.grid[1:]) / 2
    return {"grid": times, "h": None, "steps": None}


def _of_an_end(model: Model, name: str) -> bool:
    ends = ("encoder", model.encoder), ("classifier", model.classifier)
    return any(end is not None and name.startswith(f"{kind}.") for kind, end in ends)


def _between(values: FloatArray) -> FloatArray:
    """The values of layers, and the means of neighbours between them; the last one twice."""
    found = np.repeat(values, 2, axis=0)
    found[1:-1:2] = (values[:-1] + values[1:]) / 2
    return found


def _ranges(model: Model, how: Prolongation) -> tuple[float, ...] | None:
    """The largest weight of each matrix of each new layer."""
    if model.weight_range is None or not isinstance(model.field, Layers):
        return model.weight_range
    each = len(model.weight_range) // len(model.field.fields)
    layers = [model.weight_range[first : first + each] for first in range(0, len(model.weight_range), each)]
    found = list[float]()
    for one, after in pairwise([*layers, layers[-1]]):
        between = one if how == "constant" else tuple(map(max, one, after))
        found += (*one, *between)
    return tuple(found)
