"""Vector fields f of dz/dt = f(z) over linear operators: evaluation, Jacobian products both ways, gradients."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xbar_spice.errors import InvalidInputError
from xbar_spice.linear import FloatArray, LinearOperator, as_operator

__all__ = ["BoolArray", "Evaluation", "Field", "IndexArray", "ReluField"]

BoolArray = NDArray[np.bool_]
IndexArray = NDArray[np.intp]


@final
@dataclass(frozen=True, slots=True)
class Evaluation:
    """What one evaluation of a field leaves behind: all that its derivatives need, so that nothing is read again.

    The slopes are stored, never derived again: a second, noisy read of s could fall on the other side of a kink.

    Attributes:
        z: State, (n, batch).
        value: f(z), (n, batch).
        slope: Derivative of the activation at each hidden unit, (m, batch); bits for relu.
        hidden: Activation of each hidden unit, (m, batch).
    """

    z: FloatArray
    value: FloatArray
    slope: BoolArray | FloatArray
    hidden: FloatArray

    @property
    def batch(self) -> int:
        """Number of samples."""
        return int(self.z.shape[1])

    def columns(self, samples: IndexArray) -> Evaluation:
        """The evaluation of some samples, given by distinct ascending indices."""
        if samples.size == self.batch:
            return self
        return Evaluation(self.z[:, samples], self.value[:, samples], self.slope[:, samples], self.hidden[:, samples])

    def with_columns(self, samples: IndexArray, other: Evaluation) -> Evaluation:
        """This evaluation with the given samples replaced by the columns of another one."""
        if samples.size == self.batch:
            return other
        merged = Evaluation(self.z.copy(), self.value.copy(), self.slope.copy(), self.hidden.copy())
        merged.z[:, samples], merged.value[:, samples] = other.z, other.value
        merged.slope[:, samples], merged.hidden[:, samples] = other.slope, other.hidden
        return merged


class Field(ABC):
    """A vector field f and its derivatives, all for a batch of samples at once; every product is a read of an array.

    The transposed derivative comes in the two halves in which an array makes it, because the first alone gives the
    gradients of the parameters: `pull_hidden` carries a cotangent back to the hidden units, `pull_state` on to z.
    """

    @property
    @abstractmethod
    def states(self) -> int:
        """Length n of the state."""

    @abstractmethod
    def evaluate(self, z: FloatArray) -> Evaluation:
        """Evaluate f at each column of z, (n, batch)."""

    @abstractmethod
    def jvp(self, evaluation: Evaluation, direction: FloatArray) -> FloatArray:
        """J(z) x for each sample; direction and result (n, batch)."""

    @abstractmethod
    def pull_hidden(self, evaluation: Evaluation, cotangent: FloatArray) -> FloatArray:
        """The gradient of w^T f with respect to the hidden units' inputs; w (n, batch), result (m, batch)."""

    @abstractmethod
    def pull_state(self, evaluation: Evaluation, hidden_cotangent: FloatArray) -> FloatArray:
        """The gradient with respect to z of what `pull_hidden` gave; (m, batch) to (n, batch)."""

    @abstractmethod
    def parameter_gradients(
        self, evaluation: Evaluation, cotangent: FloatArray, hidden_cotangent: FloatArray
    ) -> Mapping[str, FloatArray]:
        """The gradients of w^T f with respect to each parameter, summed over the batch; digital, no read.

        Args:
            evaluation: Where.
            cotangent: w, (n, batch).
            hidden_cotangent: `pull_hidden` of w, (m, batch).
        """

    def evaluate_finite(self, z: FloatArray) -> Evaluation:
        """Evaluate f where z is finite; no array is driven with infinity, such a sample keeps the value NaN."""
        finite = np.isfinite(z).all(axis=0)
        if finite.all():
            return self.evaluate(z)
        evaluation = self.evaluate(np.where(finite, z, 0.0))
        return replace(evaluation, value=np.where(finite, evaluation.value, np.nan))

    def vjp(self, evaluation: Evaluation, cotangent: FloatArray) -> FloatArray:
        """J(z)^T w for each sample; cotangent and result (n, batch)."""
        return self.pull_state(evaluation, self.pull_hidden(evaluation, cotangent))


@final
class ReluField(Field):
    """f(z) = B relu(A z), with the derivative u of relu taken as u(0) = 0.

    With s = A z, r = relu(s) and D = diag(u(s)) the Jacobian is J = B D A.

    Args:
        A: m x n matrix or operator.
        B: n x m matrix or operator.

    Raises:
        InvalidInputError: The shapes of A and B do not belong together, or a matrix is not finite.

    Example:
        >>> field = ReluField([[1.0, 0.0], [0.0, -1.0]], [[1.0, 2.0], [3.0, 4.0]])
        >>> field.evaluate(np.array([[1.0], [1.0]])).value[:, 0]
        array([1., 3.])
    """

    def __init__(self, A: ArrayLike | LinearOperator, B: ArrayLike | LinearOperator) -> None:
        self.A = as_operator(A)
        self.B = as_operator(B)
        if self.A.shape != self.B.shape[::-1]:
            raise InvalidInputError(
                f"B relu(A z) needs A of shape (m, n) and B of shape (n, m), got A {self.A.shape} and B {self.B.shape}"
            )

    @property
    def states(self) -> int:
        return self.A.shape[1]

    def evaluate(self, z: FloatArray) -> Evaluation:
        s = self.A.mv(z)
        r = np.maximum(s, 0.0)
        return Evaluation(z=z, value=self.B.mv(r), slope=s > 0.0, hidden=r)

    def jvp(self, evaluation: Evaluation, direction: FloatArray) -> FloatArray:
        return self.B.mv(evaluation.slope * self.A.mv(direction))  # B D A x

    def pull_hidden(self, evaluation: Evaluation, cotangent: FloatArray) -> FloatArray:
        return evaluation.slope * self.B.T.mv(cotangent)  # p = D B^T w

    def pull_state(self, evaluation: Evaluation, hidden_cotangent: FloatArray) -> FloatArray:
        return self.A.T.mv(hidden_cotangent)  # A^T p

    def parameter_gradients(
        self, evaluation: Evaluation, cotangent: FloatArray, hidden_cotangent: FloatArray
    ) -> Mapping[str, FloatArray]:
        return {
            "A": hidden_cotangent @ evaluation.z.T,  # p z^T
            "B": cotangent @ evaluation.hidden.T,  # w r^T
        }
