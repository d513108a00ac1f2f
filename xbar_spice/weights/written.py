"""The field of a model as its matrices are written to arrays: of K or of K - K^T, with biases in them, and so on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import get_args

from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.convolution import Convolution
from xbar_spice.linear.fourier_form import FourierForm
from xbar_spice.linear.operator import LinearOperator
from xbar_spice.solve.fields.evaluation import Form
from xbar_spice.solve.fields.field import Field
from xbar_spice.solve.integrators.layers import Layers, fields_of
from xbar_spice.weights.end import named_below

__all__ = ["FORMS", "form_of", "read_by", "written_field", "written_matrices"]

FORMS = ("bias", *get_args(Form), "fourier")
"""Names of `Model.on_arrays` that say what the matrices of a field are made of on their arrays."""


def form_of(on_arrays: Sequence[str]) -> Form | None:
    """What stands on arrays in place of a K that is read from both sides; None if nothing does.

    Raises:
        InvalidInputError: Two of them shall.
    """
    found: list[Form] = [form for form in get_args(Form) if form in on_arrays]
    if len(found) > 1:
        raise InvalidInputError(f"on_arrays has {' and '.join(map(repr, found))}, of which a field has one at most")
    return found[0] if found else None


def written_field(field: Field | Layers, on_arrays: Sequence[str]) -> Field | Layers:
    """The field as its matrices are written to arrays.

    Raises:
        InvalidInputError: It cannot have its bias on an array, is not made of K - K^T, has no K^T, or no circular
            convolution whose Fourier form could stand for it.
    """
    if not set(FORMS) & set(on_arrays):
        return field
    if "fourier" in on_arrays and (others := [one for one in FORMS if one != "fourier" and one in on_arrays]):
        raise InvalidInputError(
            f"on_arrays has 'fourier' and {' and '.join(map(repr, others))}, which make different matrices of one: "
            "take either"
        )
    form, fields = form_of(on_arrays), list(fields_of(field))
    if form is not None:
        fields = [one.written_as(form) for one in fields]
    if "bias" in on_arrays:
        fields = [one.with_bias_lines() for one in fields]
    if "fourier" in on_arrays:
        fields = [_in_fourier_form(one) for one in fields]
    return Layers(fields) if isinstance(field, Layers) else fields[0]


def _in_fourier_form(field: Field) -> Field:
    forms = {name: FourierForm(one) for name, one in field.operators.items() if isinstance(one, Convolution)}
    if not forms:
        raise InvalidInputError(
            f"on_arrays has 'fourier', and no matrix of {type(field).__name__} is a convolution: leave it out"
        )
    return field.replaced(forms)


def written_matrices(written: Field | Layers) -> dict[str, LinearOperator]:
    """The matrices of such a field by name; those of a Fourier form are "A.rows" and so on."""
    found: dict[str, LinearOperator] = {}
    for name, operator in written.operators.items():
        parts = operator.parts.items() if isinstance(operator, FourierForm) else ()
        found |= {f"{name}.{part}": held for part, held in parts} or {name: operator}
    return found


def read_by(written: Field | Layers, operators: Mapping[str, LinearOperator]) -> Field | Layers:
    """Such a field over operators, such as arrays, in place of its matrices, by name."""
    found = dict(operators)
    for name, operator in written.operators.items():
        if isinstance(operator, FourierForm):
            found[name] = operator.with_parts(named_below(operators, name))
    return written.replaced({name: found[name] for name in written.operators if name in found})
