"""Vector fields f of dz/dt = f(z) over linear operators: evaluation, Jacobian products both ways, gradients."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from copy import copy
from dataclasses import replace
from types import MappingProxyType
from typing import Any, ClassVar, Protocol, Self, cast, final

import numpy as np
from numpy.typing import ArrayLike

from xbar_spice.checks import ANYTHING, Array, checked
from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.operator import FloatArray, LinearOperator, as_operator
from xbar_spice.solve.fields.activation import Activation, get_activation
from xbar_spice.solve.fields.evaluation import BoolArray, Evaluation, Form, Parameters, Tie

__all__ = [
    "ActivationField",
    "CircuitSolver",
    "Field",
    "ReluField",
    "bias_gradient",
    "checked_bias",
    "spread_bias",
]


class Field(ABC):
    """A vector field f and its derivatives, all for a batch of samples at once; every product is a read of an array.

    The transposed derivative comes in the two halves in which an array makes it, because the first alone gives the
    gradients of the parameters: `pull_hidden` carries a cotangent back to the hidden units, `pull_state` on to z.

    Attributes:
        twin: The same field with the target weights, digitally, for the linear solver "chord"; None without one.
        circuit: The field's arrays in a circuit that solves its linear systems, for "feedback"; None without one.
        kept_inputs: How many inputs of reads its evaluations keep.
        digital: Names that a model gives to what is trained beside the matrices, with the attributes that hold them;
            their gradients are named as the attributes are.
    """

    twin: Field | None = None
    circuit: CircuitSolver | None = None
    kept_inputs: int = 0
    digital: ClassVar[Mapping[str, str]] = MappingProxyType({})

    @property
    @abstractmethod
    def states(self) -> int:
        """Length n of the state."""

    @property
    @abstractmethod
    def hidden_units(self) -> int:
        """Number m of hidden units."""

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
    ) -> Parameters:
        """The gradients of w^T f with respect to each matrix, summed over the batch; digital, no read.

        Args:
            evaluation: Where.
            cotangent: w, (n, batch).
            hidden_cotangent: `pull_hidden` of w, (m, batch).
        """

    @abstractmethod
    def parameter_jvp(self, evaluation: Evaluation, direction: Parameters) -> FloatArray:
        """The change of f at fixed z for a change of each matrix, (n, batch); a matrix left out does not change."""

    @property
    def outputs(self) -> int:
        """Length of f(z): `states`, unless it is a part of a `SplitField`."""
        return self.states

    @property
    def formula(self) -> str:
        """f(z) in words, for reports."""
        return f"{type(self).__name__}(z)"

    @property
    def tie(self) -> Tie:
        """How the matrices depend on the field's parameters; by default they are the parameters."""
        return Tie()

    @property
    def operators(self) -> Mapping[str, LinearOperator]:
        """The matrices by name, which arrays can take the place of; by default every attribute that is an operator."""
        return {name: value for name, value in vars(self).items() if isinstance(value, LinearOperator)}

    @property
    def vectors(self) -> Parameters:
        """What is trained beside the matrices, such as biases, by the name that a model gives it."""
        held = {name: getattr(self, attribute) for name, attribute in self.digital.items()}
        return {name: value for name, value in held.items() if isinstance(value, np.ndarray)}

    def replaced(self, values: Mapping[str, LinearOperator | FloatArray]) -> Self:
        """The same field with other operators, or vectors, of these names."""
        made = copy(self)
        for name, value in values.items():
            object.__setattr__(made, self.digital.get(name, name), value)
        return made

    def written_as(self, form: Form) -> Field:
        """The field with other matrices on its arrays in place of one K that is read from both sides.

        Args:
            form: "difference", K - K^T under the name of K; or "transpose", K^T beside K on an array of its own.

        Raises:
            InvalidInputError: This one is not made of them.
        """
        reason = {
            "difference": "is not made of K - K^T: only an antisymmetric field is",
            "transpose": "has no K^T that could be on an array of its own: parabolic and Hamiltonian fields have",
        }
        raise InvalidInputError(f"on_arrays has {form!r}, and {type(self).__name__} {reason[form]}; leave {form!r} out")

    def from_written(self, form: Form, gradients: Parameters) -> Parameters:
        """The gradients of K from those of the matrices of such a form, whatever axes are in front."""
        return gradients

    def with_bias_lines(self) -> Field:
        """The same field with its bias on the array, as one more column of a matrix, whose input is held at one.

        Raises:
            InvalidInputError: The field has no such form.
        """
        raise InvalidInputError(
            f"{type(self).__name__} has no bias that could be one more line of an array; leave 'bias' out of on_arrays"
        )

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

    def push(self, evaluation: Evaluation, change: FloatArray, direction: Parameters) -> FloatArray:
        """The change of f for a change of z, (n, batch), and of the matrices."""
        return self.jvp(evaluation, change) + self.parameter_jvp(evaluation, direction)


class ActivationField(Field):
    """f(z) = B sig(A z + bias) + output_bias; or with a bias on the array B sig(A [z; 1]), its last input held at one.

    With s = A z, r = sig(s) and D = diag(sig'(s)) the Jacobian is J = B D A.

    Args:
        A: m x n matrix or operator; m x (n + 1) with a bias on the array, the bias being its last column.
        B: n x m matrix or operator; with a time also n x (m + 1), whose last column the time drives.
        activation: Name of an activation, or an `Activation`.
        bias: (m,), added digitally; or whether A has a column for it. Of a convolution also one number a channel.
        output_bias: (n,), added digitally; none when left out.
        tie: Parameters that A and B share; by default they are the parameters themselves.
        time: Whether A has a column for the time, behind those of the state, for a `TimedField`.

    Raises:
        InvalidInputError: The shapes of A and B do not belong together, a matrix or a bias is not finite, or the
            activation is unknown.

    Example:
        >>> field = ActivationField([[1.0, 0.5]], [[2.0]], "identity", bias=True)  # 2 (z + 0.5)
        >>> field.evaluate(np.array([[1.0]])).value[:, 0]
        array([3.])
        >>> field = ActivationField([[1.0]], [[2.0]], "identity", bias=[0.5], output_bias=[1.0])
        >>> field.evaluate(np.array([[1.0]])).value[:, 0]
        array([4.])
    """

    digital: ClassVar[Mapping[str, str]] = MappingProxyType({"bias": "bias", "output_bias": "output_bias"})

    @checked(bias=ANYTHING)
    def __init__(
        self,
        A: ArrayLike | LinearOperator,
        B: ArrayLike | LinearOperator,
        activation: str | Activation = "relu",
        *,
        bias: bool | ArrayLike | None = False,
        output_bias: ArrayLike | None = None,
        tie: Tie | None = None,
        time: bool = False,
    ) -> None:
        self.A = as_operator(A, "A")
        self.B = as_operator(B, "B")
        self.activation = get_activation(activation)
        n, m = self.B.shape
        self._late = time and m == self.A.shape[0] + 1  # whether the time drives B, too
        m -= self._late
        self.bias = (
            bool(bias) if bias is None or isinstance(bias, bool | np.bool_) else checked_bias("bias", bias, self.A)
        )
        self.output_bias = None if output_bias is None else checked_bias("output_bias", output_bias, self.B)
        self._tie = tie or Tie()
        if self.A.shape != (m, n + time + self._column):
            formula, inputs = (
                (f"B {self.activation.name}(A [z; 1])", "n + 1")
                if self._column
                else (f"B {self.activation.name}(A z)", "n")
            )
            raise InvalidInputError(
                f"{formula} needs A of shape (m, {inputs}) and B of shape (n, m), "
                f"got A {self.A.shape} and B {self.B.shape}"
            )

    @property
    def formula(self) -> str:
        inside = "A [z; 1]" if self._column else "A z" if not isinstance(self.bias, np.ndarray) else "A z + bias"
        behind = "" if self.output_bias is None else " + output_bias"
        return f"B {self.activation.name}({inside}){behind}"

    @property
    def states(self) -> int:
        return self.A.shape[1] - self._column

    @property
    def outputs(self) -> int:
        return self.B.shape[0]

    @property
    def hidden_units(self) -> int:
        return self.A.shape[0]

    @property
    def tie(self) -> Tie:
        return self._tie

    def with_bias_lines(self) -> Field:
        if not isinstance(self.bias, np.ndarray):
            return super().with_bias_lines()
        return self.replaced({next(iter(self.operators)): beside(self.A, self.bias), "bias": cast(Any, True)})

    @property
    def _column(self) -> bool:
        """Whether the bias is a column of A."""
        return self.bias is True

    def evaluate(self, z: FloatArray) -> Evaluation:
        s = spread_bias(self.A.mv(self._driven(z, 1.0)), self.bias)
        r = self.activation.value(s)
        value = spread_bias(self.B.mv(self._hidden(r, z)), self.output_bias)
        return Evaluation(z=z, value=value, slope=self.activation.slope(s, r), hidden=r)

    def jvp(self, evaluation: Evaluation, direction: FloatArray) -> FloatArray:
        r = evaluation.slope * self.A.mv(self._driven(direction, 0.0))
        return self.B.mv(self._hidden(r, direction))  # B D A x

    def pull_hidden(self, evaluation: Evaluation, cotangent: FloatArray) -> FloatArray:
        back = self.B.T.mv(cotangent)
        if not self._late:
            return evaluation.slope * back  # p = D B^T w
        return np.vstack([evaluation.slope * back[:-1], back[-1:]])  # and below it what the time gets from B

    def pull_state(self, evaluation: Evaluation, hidden_cotangent: FloatArray) -> FloatArray:
        if not self._late:
            return self.A.T.mv(hidden_cotangent)[: self.states]  # A^T p
        found = self.A.T.mv(hidden_cotangent[:-1])[: self.states]
        return np.vstack([found[:-1], found[-1:] + hidden_cotangent[-1:]])

    def parameter_gradients(
        self, evaluation: Evaluation, cotangent: FloatArray, hidden_cotangent: FloatArray
    ) -> Parameters:
        p = hidden_cotangent[: self.hidden_units]
        return {
            "A": self.A.outer(p, self._driven(evaluation.z, 1.0)),  # p z^T
            "B": self.B.outer(cotangent, self._hidden(evaluation.hidden, evaluation.z)),  # w r^T
            **bias_gradient("bias", self.bias, p),
            **bias_gradient("output_bias", self.output_bias, cotangent),
        }

    def parameter_jvp(self, evaluation: Evaluation, direction: Parameters) -> FloatArray:
        change, still = np.zeros_like(evaluation.value), np.zeros_like(evaluation.z)
        if "A" in direction:
            r = evaluation.slope * (direction["A"] @ self._driven(evaluation.z, 1.0))
            change += self.B.mv(self._hidden(r, still))  # B D dA z
        if "bias" in direction:
            r = evaluation.slope * spread_bias(np.zeros_like(evaluation.hidden), direction["bias"])
            change += self.B.mv(self._hidden(r, still))
        if "B" in direction:
            change += direction["B"] @ self._hidden(evaluation.hidden, evaluation.z)  # dB r
        return spread_bias(change, direction.get("output_bias"))

    def _driven(self, z: FloatArray, last: float) -> FloatArray:
        """What drives A: the state, and with a bias on the array the constant below it."""
        return np.vstack([z, np.full((1, z.shape[1]), last)]) if self._column else z

    def _hidden(self, r: FloatArray, z: FloatArray) -> FloatArray:
        """What drives B: the hidden units, and below them the time, the last entry of z, where it does, too."""
        return np.vstack([r, z[-1:]]) if self._late else r


def checked_bias(name: str, bias: ArrayLike, operator: LinearOperator) -> FloatArray:
    """A bias behind an operator: one number for each of its outputs, or behind a convolution for each of its channels.

    Raises:
        InvalidInputError: It has another shape, or is not finite.
    """
    vector = np.array(Array()(name, bias))
    outputs, channels = operator.shape[0], operator.channels
    if vector.shape not in ((outputs,), (channels,)):
        allowed = f"({outputs},)" + (f" or ({channels},)" if channels not in (None, outputs) else "")
        raise InvalidInputError(
            f"{name} must be finite and of shape {allowed} for a matrix of shape {operator.shape}, got {vector.shape}"
        )
    vector.setflags(write=False)
    return vector


def spread_bias(sums: FloatArray, bias: FloatArray | bool | None) -> FloatArray:
    """(m, batch) sums with a bias added, (m,) or one number for each channel; as they are without one."""
    if not isinstance(bias, np.ndarray):
        return sums
    return sums + np.repeat(bias, len(sums) // len(bias))[:, np.newaxis]


def beside(operator: LinearOperator, bias: FloatArray) -> LinearOperator:
    """A matrix with a bias, (m,) or one number a channel, as its last column."""
    dense = operator.to_dense()
    return as_operator(np.hstack([dense, np.repeat(bias, len(dense) // len(bias))[:, np.newaxis]]))


def bias_gradient(name: str, bias: FloatArray | bool | None, cotangent: FloatArray) -> dict[str, FloatArray]:
    """The gradient of w^T s with respect to a bias of s, by its name; nothing without a bias."""
    if not isinstance(bias, np.ndarray):
        return {}
    return {name: cotangent.sum(axis=1).reshape(len(bias), -1).sum(axis=1)}


@final
class ReluField(ActivationField):
    """f(z) = B relu(A z), with the derivative u of relu taken as u(0) = 0.

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

    @checked()
    def __init__(self, A: ArrayLike | LinearOperator, B: ArrayLike | LinearOperator) -> None:
        super().__init__(A, B, "relu")


class CircuitSolver(Protocol):
    """Solves (I - c B D A) x = r, and the transposed system, in one step for a batch of samples.

    The solution is as good as the circuit: Newton's method takes it as it comes and measures by its next residual, the
    adjoint measures what is left of each right-hand side and has that solved, too.
    """

    def solve(
        self, slopes: BoolArray | FloatArray, c: float, rhs: FloatArray, *, transposed: bool = False
    ) -> FloatArray:
        """The solution for each sample.

        Args:
            slopes: D of each sample, (m, batch), as the field's evaluation stored it.
            c: Step size times the coefficient of the implicit term.
            rhs: r, (n, batch).
            transposed: Whether to solve (I - c A^T D B^T) x = r.

        Returns:
            x, (n, batch).
        """
