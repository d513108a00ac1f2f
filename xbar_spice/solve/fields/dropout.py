"""Hidden units left out by chance: their word lines are not driven, and backwards the same ones are left out."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import replace
from typing import Any, Self, final

import numpy as np
from numpy.typing import ArrayLike

from xbar_spice.checks import ANYTHING, Array, Real, checked, given
from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.operator import FloatArray, LinearOperator
from xbar_spice.solve.fields.evaluation import BoolArray, Evaluation, Parameters, Tie
from xbar_spice.solve.fields.field import ActivationField, Field
from xbar_spice.solve.fields.layer_field import LayerField

__all__ = ["DropoutField"]


@final
class DropoutField(Field):
    """f(z) = B (keep / (1 - part) o sig(A z + b)), with the same factor on the slopes; of a layer, on its values.

    Without `keep` another draw is made at every evaluation, which is noise; with it one holds for the whole run, which
    is a network of its own. A unit is left out for all samples of a batch: its line is at 0 V.

    Args:
        field: f, an `ActivationField` or a `LayerField`.
        part: Probability that a hidden unit is left out, < 1.
        rng: Of the draws; needed without `keep`.
        keep: (m,) 1 where a unit is kept and 0 elsewhere.

    Raises:
        InvalidInputError: An argument is not allowed, or neither `rng` nor `keep` is given.

    Source: Srivastava et al., Dropout, JMLR 15 (2014) 1929.

    Example:
        >>> from xbar_spice.solve.fields.field import ReluField
        >>> whole = ReluField([[1.0], [1.0]], [[1.0, 3.0]])
        >>> DropoutField(whole, 0.5, keep=[1, 0]).evaluate(np.array([[2.0]])).value
        array([[4.]])
    """

    @checked(part=Real(least=0, below=1), keep=ANYTHING)
    def __init__(
        self,
        field: Field,
        part: float,
        rng: np.random.Generator | None = None,
        keep: ArrayLike | None = None,
    ) -> None:
        if not isinstance(field, ActivationField | LayerField):
            raise InvalidInputError(
                f"units are left out of an ActivationField or a LayerField, such as ReluField, got {given(field)}"
            )
        if (rng is None) == (keep is None):
            raise InvalidInputError("give rng, for a draw at every evaluation, or keep, for one that holds")
        self.field, self.part, self._rng = field, part, rng
        self.twin, self.circuit = field.twin, field.circuit
        self._keep: FloatArray | None = None
        if keep is not None:
            self._keep = Array()("keep", keep)
            if self._keep.shape != (field.hidden_units,) or not np.isin(self._keep, (0.0, 1.0)).all():
                raise InvalidInputError(f"keep must be {field.hidden_units} numbers 0 or 1, got {given(self._keep)}")

    @property
    def states(self) -> int:
        return self.field.states

    @property
    def outputs(self) -> int:
        return self.field.outputs

    @property
    def hidden_units(self) -> int:
        return self.field.hidden_units

    @property
    def formula(self) -> str:
        return f"{self.field.formula}, {self.part:g} of the units left out"

    @property
    def tie(self) -> Tie:
        return self.field.tie

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

    def evaluate(self, z: FloatArray) -> Evaluation:
        keep = self._keep
        if keep is None and self._rng is not None:
            keep = (self._rng.random(self.hidden_units) >= self.part).astype(float)
        factor = np.asarray(keep)[:, np.newaxis] / (1.0 - self.part)
        whole = self.field.activation

        def value(s: FloatArray) -> FloatArray:
            return factor * whole.value(s)

        def slope(s: FloatArray, r: FloatArray) -> BoolArray | FloatArray:
            return np.asarray(factor * whole.slope(s, whole.value(s)))

        thinned: Any = replace(whole, value=value, slope=slope)  # of no array, but replaced in the same way
        return self.field.replaced({"activation": thinned}).evaluate(z)

    def jvp(self, evaluation: Evaluation, direction: FloatArray) -> FloatArray:
        return self.field.jvp(evaluation, direction)

    def pull_hidden(self, evaluation: Evaluation, cotangent: FloatArray) -> FloatArray:
        return self.field.pull_hidden(evaluation, cotangent)

    def pull_state(self, evaluation: Evaluation, hidden_cotangent: FloatArray) -> FloatArray:
        return self.field.pull_state(evaluation, hidden_cotangent)

    def parameter_gradients(
        self, evaluation: Evaluation, cotangent: FloatArray, hidden_cotangent: FloatArray
    ) -> Parameters:
        return self.field.parameter_gradients(evaluation, cotangent, hidden_cotangent)

    def parameter_jvp(self, evaluation: Evaluation, direction: Parameters) -> FloatArray:
        return self.field.parameter_jvp(evaluation, direction)
