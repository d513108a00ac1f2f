"""Gradients of a model by the names of its tensors, from those of its field."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from xbar_spice.linear.convolution import Convolution
from xbar_spice.linear.operator import FloatArray
from xbar_spice.solve.fields.evaluation import READS
from xbar_spice.solve.integrators.layers import Layers
from xbar_spice.weights.fields import kernel_name
from xbar_spice.weights.model import Model

__all__ = ["named_gradients"]


def named_gradients(model: Model, found: Mapping[str, FloatArray], *, lead: int = 0) -> dict[str, FloatArray]:
    """The gradients of all tensors of the field, and beside those of kernels the ones of their matrices.

    Args:
        model: Whose field they are of, on whatever operators.
        found: Gradients as the adjoint names them, or of the matrices alone.
        lead: Number of leading axes of all of them, as split gradients have.

    Returns:
        By name; weights of one time step after the other are stacked along an axis behind the leading ones.
    """
    found = {name: value for name, value in found.items() if not name.startswith(READS)}
    fields = model.field.fields if isinstance(model.field, Layers) else (model.field,)
    names = {attribute: name for name, attribute in fields[0].digital.items()}
    by_name: dict[str, FloatArray] = {}
    for key in found if len(fields) == 1 else dict.fromkeys(name.rpartition("[")[0] for name in found):
        parts = [found[key if len(fields) == 1 else f"{key}[{layer}]"] for layer in range(len(fields))]
        by_name[names.get(key, key)] = np.stack(parts, axis=lead) if len(fields) > 1 else parts[0]
    for name, operator in fields[0].operators.items():
        if not isinstance(operator, Convolution) or name not in by_name:
            continue
        if operator.large and by_name[name].shape[-operator.kernel.ndim :] == operator.kernel.shape:
            by_name[kernel_name(name)] = by_name.pop(name)
        else:
            by_name[kernel_name(name)] = operator.kernel_gradient(by_name[name])
    return by_name
