"""Gradients of a model by the names of its tensors, from those of its field."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from xbar_spice.linear.convolution import Convolution
from xbar_spice.linear.fourier_form import FourierForm
from xbar_spice.linear.operator import FloatArray
from xbar_spice.solve.fields.evaluation import READS
from xbar_spice.solve.fields.field import Field
from xbar_spice.solve.integrators.layers import fields_of
from xbar_spice.weights.end import named_below
from xbar_spice.weights.fields import kernel_name
from xbar_spice.weights.model import Model
from xbar_spice.weights.written import form_of

__all__ = ["end_gradients", "from_written", "named_gradients"]


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
    fields = fields_of(model.field)
    names = {attribute: name for name, attribute in fields[0].digital.items()}
    by_name: dict[str, FloatArray] = {}
    for key in found if len(fields) == 1 else dict.fromkeys(name.rpartition("[")[0] for name in found):
        parts = [found[key if len(fields) == 1 else f"{key}[{layer}]"] for layer in range(len(fields))]
        by_name[names.get(key, key)] = np.stack(parts, axis=lead) if len(fields) > 1 else parts[0]
    if "bias" in model.on_arrays:
        by_name |= _from_bias_lines(fields[0], by_name)
    for name, operator in fields[0].operators.items():
        if not isinstance(operator, Convolution) or name not in by_name:
            continue
        # Nobody asks for that of a large matrix; arrays of a Fourier form hold none.
        kept = not operator.large and "fourier" not in model.on_arrays
        found_for = by_name[name] if kept else by_name.pop(name)
        of_kernel = operator.large and found_for.shape[-operator.kernel.ndim :] == operator.kernel.shape
        by_name[kernel_name(name)] = found_for if of_kernel else operator.kernel_gradient(found_for)
    return by_name


def from_written(model: Model, by_matrix: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    """The gradients of the field's matrices from those with respect to the weights that were written to arrays.

    Args:
        model: Whose field it is.
        by_matrix: By the names of all that was written; encoder and classifier are left out.
    """
    whole = dict(by_matrix)
    for name, operator in model.deployed.operators.items():
        if isinstance(operator, FourierForm):
            whole[name] = operator.matrix_gradient(named_below(by_matrix, name))
    form, found = form_of(model.on_arrays), dict[str, FloatArray]()
    pairs = [fields_of(one) for one in (model.field, model.deployed)]
    for number, (field, deployed) in enumerate(zip(*pairs, strict=True)):
        end = f"[{number}]" if len(pairs[0]) > 1 else ""
        mine = {name: whole[f"{name}{end}"] for name in deployed.operators if f"{name}{end}" in whole}
        if mine and form is not None:
            mine = dict(field.from_written(form, mine))
        found |= {f"{name}{end}": gradient for name, gradient in mine.items()}
    return found


def end_gradients(model: Model, by_matrix: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    """The gradients of encoder and classifier, by the names of the model's tensors.

    Args:
        model: Whose they are.
        by_matrix: Those with respect to the matrices that live on arrays, such as "encoder.weight" and "A", (m, n), or
            to the kernels of large convolutions.
    """
    return {
        f"{kind}.{name}": gradient
        for kind, end in (("encoder", model.encoder), ("classifier", model.classifier))
        if end is not None
        for name, gradient in end.from_written(named_below(by_matrix, kind)).items()
    }


def _from_bias_lines(field: Field, found: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    """The gradients of a matrix and its bias, from that of the matrix which has the bias as its last column."""
    parts: dict[str, FloatArray] = {}
    for name, operator in field.operators.items():
        whole = found.get(name)
        if whole is not None and whole.shape[-1] == operator.shape[1] + 1:
            count = len(field.vectors["bias"])  # one number a channel, or a line
            bias = whole[..., -1].reshape(*whole.shape[:-2], count, -1).sum(axis=-1)
            parts |= {name: whole[..., :-1], "bias": bias}
    return parts
