"""Jacobians of fields as matrices, and what the gradient of a function of them needs.

Of a field f(z) = L sig(R z + b) with s = R z + b and D = diag(sig'(s)) the Jacobian is J = L D R. With the derivative
G of a scalar with respect to J, of the shape of J^T, so that d = tr(G dJ),

    gL = G^T R^T D,   gR = D L^T G^T,   cotangent of s: sig''(s) o diag(R G L)

Both matrices are those that forward reads make: L and R are read once, by unit vectors, and the slopes are those that
the run stored. Nothing of J is read again.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, final

import numpy as np

from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.operator import FloatArray
from xbar_spice.solve.fields.activation import Activation
from xbar_spice.solve.fields.evaluation import Evaluation, Parameters
from xbar_spice.solve.fields.field import ActivationField, Field
from xbar_spice.solve.fields.layer_field import LayerField

__all__ = ["Factors", "ReadField", "factors_of", "field_of_factors", "jacobians", "of_matrices", "with_curvature"]


class ReadField(Field):
    """A field around another one, whose reads have derivatives of their own."""

    @property
    @abstractmethod
    def inner(self) -> Field:
        """The other one."""

    @abstractmethod
    def factor_gradients(self, left: FloatArray, right: FloatArray) -> Parameters:
        """As `of_matrices`, with those of the reads by unit vectors which L and R are known by."""


@final
@dataclass(frozen=True, eq=False)
class Factors:
    """L and R of a Jacobian L D R.

    Attributes:
        left: (n, m).
        right: (m, n).
    """

    left: FloatArray
    right: FloatArray

    @cached_property
    def diagonal(self) -> FloatArray:
        """(m,) what each slope adds to the trace of J."""
        return np.asarray(np.sum(self.left.T * self.right, axis=1))

    def jacobians(self, slope: FloatArray) -> FloatArray:
        """(batch, n, n) for slopes of shape (m, batch)."""
        return np.asarray((self.left * slope.T[:, np.newaxis, :]) @ self.right)

    def pull(self, slope: FloatArray, G: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """What d = tr(G dJ) of each sample, (batch, n, n), makes of L, R and the slopes.

        Returns:
            gL, (n, m), and gR, (m, n), summed over the samples; and the cotangent of the slopes, (m, batch).
        """
        RG = self.right @ G  # (batch, m, n)
        GL = G @ self.left  # (batch, n, m)
        left = np.einsum("bmn,mb->nm", RG, slope)
        right = np.einsum("bnm,mb->mn", GL, slope)
        return left, right, np.einsum("bmn,nm->mb", RG, self.left)


def factors_of(field: Field) -> Factors | None:
    """What reads make of L and R, by a unit vector for each of their columns; None of another field."""
    if isinstance(field, ReadField):
        return factors_of(field.inner)
    if field.outputs != field.states:
        return None
    if isinstance(field, ActivationField):
        return Factors(field.B.to_dense(), field.A.to_dense()[:, : field.states])
    if isinstance(field, LayerField):
        return Factors(field.sign * np.eye(field.outputs), field.K.to_dense()[:, : field.states])
    return None


def field_of_factors(field: Field) -> tuple[Field, Factors, Activation]:
    """A field whose Jacobian can be differentiated, with L, R and the activation.

    Raises:
        InvalidInputError: It is none, or its activation does not say how it is curved.
    """
    found, formula = factors_of(field), field.inner if isinstance(field, ReadField) else field
    if found is None or not isinstance(formula, ActivationField | LayerField):
        raise InvalidInputError(
            "the gradient of a density needs a field of the form L sig(R z + b), such as ActivationField, ReluField or "
            f"LayerField, got {type(formula).__name__}; log_density itself takes any field"
        )
    if formula.activation.curvature is None:
        raise InvalidInputError(
            f"the activation {formula.activation.name} does not say its second derivative, which the gradient of a "
            "density needs: give Activation(..., curvature=lambda s, r: ...)"
        )
    return field, found, formula.activation


def jacobians(field: Field, at: Evaluation, factors: Factors | None) -> FloatArray:
    """J at each sample, (batch, n, n); of a field without factors by products with unit vectors."""
    if factors is not None:
        return factors.jacobians(np.asarray(at.slope, dtype=float))
    units = np.eye(field.states)
    columns = [field.jvp(at, np.repeat(unit[:, np.newaxis], at.batch, axis=1)) for unit in units]
    return np.stack(columns).transpose(2, 1, 0)


def with_curvature(field: Field, activation: Activation) -> Field:
    """The same field, whose evaluations have the curvature of every hidden unit below its slope."""

    def both(s: FloatArray, r: FloatArray) -> FloatArray:
        if activation.curvature is None:  # as `field_of_factors` has seen
            raise InvalidInputError(f"{activation.name} has no curvature")
        return np.vstack([activation.slope(s, r), activation.curvature(s, r)])

    curved: Any = replace(activation, slope=both)  # of no array, but replaced in the same way
    return field.replaced({"activation": curved})


def of_matrices(field: Field, left: FloatArray, right: FloatArray) -> Parameters:
    """The gradients of the field's matrices of those with respect to L and R alone.

    A field knows the gradients of w^T f. Two evaluations with opposite cotangents, one driven with unit vectors and one
    with nothing, leave those of the matrices and take away those of biases.
    """
    if isinstance(field, ReadField):
        return field.factor_gradients(left, right)
    n, m = left.shape
    empty = np.zeros
    of_right = field.parameter_gradients(
        Evaluation(np.hstack([np.eye(n), empty((n, n))]), empty((n, 2 * n)), empty((m, 2 * n)), empty((m, 2 * n))),
        empty((n, 2 * n)),
        np.hstack([right, -right]),
    )
    of_left = field.parameter_gradients(
        Evaluation(empty((n, 2 * m)), empty((n, 2 * m)), empty((m, 2 * m)), np.hstack([np.eye(m), empty((m, m))])),
        np.hstack([left, -left]),
        empty((m, 2 * m)),
    )
    return {name: of_left[name] + of_right[name] for name in of_right}
