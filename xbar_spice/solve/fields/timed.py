"""Fields that depend on time, as fields of a state whose last entry is the time."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import replace
from typing import Self, final

import numpy as np

from xbar_spice.checks import checked
from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.operator import FloatArray, LinearOperator
from xbar_spice.solve.fields.evaluation import Evaluation, Form, Parameters, Tie
from xbar_spice.solve.fields.field import Field

__all__ = ["TimedField"]


@final
class TimedField(Field):
    """dz/dt = f(z, t) as a field of [z; t], with dt/dt = 1: the time is one more input line.

    Every method of this package is exact for the time itself, so that f is evaluated at the times at which the method
    says. A `Model` adds the time to its states by itself, and takes it away at the end.

    Args:
        field: From [z; t], (n + 1, batch), to dz/dt, (n, batch), such as an `ActivationField` with `time=True`.

    Raises:
        InvalidInputError: The field does not take one entry more than it gives.

    Example:
        >>> from xbar_spice.solve.fields.layer_field import LayerField
        >>> from xbar_spice.solve.integrators.integration import integrate
        >>> growing = TimedField(LayerField([[0.0, 2.0]], activation="identity"))  # dz/dt = 2 t
        >>> integrate(growing, [0.0, 0.0], "rk4", h=0.5, steps=2).z[-1]  # z = t^2, and t
        array([1., 1.])
    """

    @checked()
    def __init__(self, field: Field) -> None:
        if field.states != field.outputs + 1:
            raise InvalidInputError(
                "a field of state and time takes one entry more than it gives, the time behind the state, got one from "
                f"{field.states} to {field.outputs}"
            )
        self.field = field
        self.digital = field.digital  # type: ignore[misc]

    @property
    def states(self) -> int:
        return self.field.states

    @property
    def hidden_units(self) -> int:
        return self.field.hidden_units

    @property
    def tie(self) -> Tie:
        return self.field.tie

    @property
    def formula(self) -> str:
        return self.field.formula.replace(" z", " [z; t]")

    @property
    def operators(self) -> Mapping[str, LinearOperator]:
        return self.field.operators

    @property
    def vectors(self) -> Parameters:
        return self.field.vectors

    def replaced(self, values: Mapping[str, LinearOperator | FloatArray]) -> Self:
        made = copy(self)
        made.field = self.field.replaced(values)
        return made

    def written_as(self, form: Form) -> Field:
        return TimedField(self.field.written_as(form))

    def from_written(self, form: Form, gradients: Parameters) -> Parameters:
        return self.field.from_written(form, gradients)

    def with_bias_lines(self) -> Field:
        return TimedField(self.field.with_bias_lines())

    def evaluate(self, z: FloatArray) -> Evaluation:
        found = self.field.evaluate(z)
        return replace(found, value=np.vstack([found.value, np.ones((1, z.shape[1]))]))

    def jvp(self, evaluation: Evaluation, direction: FloatArray) -> FloatArray:
        return _standing_still(self.field.jvp(_of_field(evaluation), direction))

    def pull_hidden(self, evaluation: Evaluation, cotangent: FloatArray) -> FloatArray:
        return self.field.pull_hidden(_of_field(evaluation), cotangent[:-1])

    def pull_state(self, evaluation: Evaluation, hidden_cotangent: FloatArray) -> FloatArray:
        return self.field.pull_state(_of_field(evaluation), hidden_cotangent)

    def parameter_gradients(
        self, evaluation: Evaluation, cotangent: FloatArray, hidden_cotangent: FloatArray
    ) -> Parameters:
        return self.field.parameter_gradients(_of_field(evaluation), cotangent[:-1], hidden_cotangent)

    def parameter_jvp(self, evaluation: Evaluation, direction: Parameters) -> FloatArray:
        return _standing_still(self.field.parameter_jvp(_of_field(evaluation), direction))


def _of_field(evaluation: Evaluation) -> Evaluation:
    return replace(evaluation, value=evaluation.value[:-1])


def _standing_still(change: FloatArray) -> FloatArray:
    """With the change of dt/dt below it, which is none."""
    return np.vstack([change, np.zeros((1, change.shape[1]))])
