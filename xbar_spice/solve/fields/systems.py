"""Fields one of whose matrices is read from both sides: antisymmetric, parabolic and Hamiltonian networks."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from types import MappingProxyType
from typing import Any, ClassVar, Self, cast, final

import numpy as np
from numpy.typing import ArrayLike

from xbar_spice.checks import ANYTHING, checked
from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.compose import FirstRows, ProductOperator, ScaledOperator, SumOperator
from xbar_spice.linear.convolution import Convolution
from xbar_spice.linear.operator import FloatArray, LinearOperator, as_operator
from xbar_spice.solve.fields.activation import Activation
from xbar_spice.solve.fields.evaluation import Evaluation, Form, Parameters, Tie
from xbar_spice.solve.fields.field import ActivationField, Field, bias_gradient
from xbar_spice.solve.fields.layer_field import LayerField
from xbar_spice.solve.fields.split import SplitField

__all__ = [
    "AntisymmetricField",
    "HamiltonianField",
    "ParabolicField",
    "antisymmetric_field",
    "hamiltonian_field",
    "parabolic_field",
]


@final
class AntisymmetricField(LayerField):
    """f(y) = sig((K - K^T) y + b): one array, read once from each side.

    Args:
        K: n x n matrix or operator.
        b: (n,); none when left out. Models call it "bias".
        activation: sig.
        time: Whether K has one more column, for the time behind the state, as a `TimedField` takes it; it stays out of
            K^T.

    Raises:
        InvalidInputError: K is not square, or b does not belong to it.
    """

    @checked()
    def __init__(
        self,
        K: ArrayLike | LinearOperator,
        b: ArrayLike | None = None,
        activation: str | Activation = "tanh",
        *,
        time: bool = False,
    ) -> None:
        array = as_operator(K, "K")
        if array.shape[0] + time != array.shape[1]:
            one_more = " and one more column for the time" if time else ""
            raise InvalidInputError(f"K - K^T needs a square K{one_more}, got {array.shape}")

        super().__init__(_from_both_sides(array), b, activation, tie=Tie(_antisymmetric, _antisymmetric))
        self._array = array

    @property
    def formula(self) -> str:
        return f"{self.activation.name}((K - K^T) z{'' if self.b is None else ' + bias'})"

    @property
    def operators(self) -> Mapping[str, LinearOperator]:
        return {"K": self._array}

    @property
    def tie(self) -> Tie:
        return Tie() if self._array.keeps_kernel else super().tie

    def parameter_gradients(
        self, evaluation: Evaluation, cotangent: FloatArray, hidden_cotangent: FloatArray
    ) -> Parameters:
        if not self._array.keeps_kernel:
            return super().parameter_gradients(evaluation, cotangent, hidden_cotangent)
        p, y = hidden_cotangent, evaluation.z
        back = np.vstack([p, np.zeros((y.shape[0] - p.shape[0], p.shape[1]))])  # the time stays out of K^T
        return {
            "K": self._array.outer(p, y) - self._array.outer(y[: self.outputs], back),
            **bias_gradient("b", self.b, p),
        }

    def written_as(self, form: Form) -> Field:
        if form == "transpose":
            raise InvalidInputError(
                "on_arrays has 'transpose', and an antisymmetric field adds up K and -K^T: take 'difference', which "
                "writes K - K^T to one array, or leave it out"
            )
        array = self._array
        if not isinstance(array, Convolution) or not array.large:
            return LayerField(self.K.to_dense(), None, self.activation, tie=self.tie).replaced(self.vectors)
        kernel, change = array.with_kernel(array.less_transpose(array.kernel)), self._of_kernel
        return LayerField(kernel, self.b, self.activation, tie=Tie(change, change))

    def _of_kernel(self, values: Parameters) -> Parameters:
        """How the kernel of K - K^T depends on that of K; its own adjoint."""
        kernel = cast(Convolution, self._array)
        return {name: kernel.less_transpose(value) if name == "K" else value for name, value in values.items()}

    def from_written(self, form: Form, gradients: Parameters) -> Parameters:
        kernel = self._array.kernel if isinstance(self._array, Convolution) and self._array.large else None
        of_kernel = kernel is not None and gradients["K"].shape[-kernel.ndim :] == kernel.shape
        return self._of_kernel(gradients) if of_kernel else _antisymmetric(gradients)

    def with_bias_lines(self) -> Field:
        return Field.with_bias_lines(self)  # one more column would not be one of K - K^T

    def replaced(self, values: Mapping[str, LinearOperator | FloatArray]) -> Self:
        made = super().replaced(values)
        if "K" in values:
            made._array = as_operator(values["K"], "K")
            made.K = _from_both_sides(made._array)
        return made


def _from_both_sides(array: LinearOperator) -> LinearOperator:
    """K - K^T, of whose columns that of a time stays out of K^T."""
    back: LinearOperator = ScaledOperator(-1.0, array.T)
    if array.shape[0] != array.shape[1]:
        square = FirstRows(*array.shape)
        back = ProductOperator(square, back, square)
    return SumOperator(array, back)


def _antisymmetric(values: Parameters) -> Parameters:
    """How K - K^T depends on K; its own adjoint. A column of a bias stays what it is, whatever axes are in front."""
    return {name: _less_transpose(value) if name == "K" else value for name, value in values.items()}


def _less_transpose(value: FloatArray) -> FloatArray:
    square, rest = np.split(value, [value.shape[-2]], axis=-1)
    return np.concatenate([square - square.swapaxes(-1, -2), rest], axis=-1)


@checked()
def antisymmetric_field(
    K: ArrayLike | LinearOperator, b: ArrayLike | None = None, activation: str | Activation = "tanh"
) -> AntisymmetricField:
    """f(y) = sig((K - K^T) y + b): one array, read once from each side.

    Args:
        K: n x n matrix or operator.
        b: (n,); none when left out.
        activation: sig.

    Raises:
        InvalidInputError: K is not square, or b does not belong to it.

    Source: Haber and Ruthotto, Stable architectures for deep neural networks, Inverse Problems 34 (2018) 014004.

    Example:
        >>> import numpy as np
        >>> turn = antisymmetric_field([[0.0, 1.0], [0.0, 0.0]], activation="identity")
        >>> turn.evaluate(np.array([[1.0], [2.0]])).value[:, 0]
        array([ 2., -1.])
    """
    return AntisymmetricField(K, b, activation)


@final
class ParabolicField(ActivationField):
    """f(y) = -K^T sig(K y), or -K^T sig(K y + bias): one array, driven from both sides; it can only contract.

    Args:
        K: m x n matrix or operator; m x (n + 1) with a bias on the array, which is its last column and stays out of
            K^T.
        activation: sig.
        bias: (m,), added digitally; or whether K has a column for it.
        time: Whether K has a column for the time, behind those of the state, for a `TimedField`; it stays out of K^T.

    Raises:
        InvalidInputError: The activation is unknown, or the bias does not belong to K.
    """

    @checked(bias=ANYTHING)
    def __init__(
        self,
        K: ArrayLike | LinearOperator,
        activation: str | Activation = "relu",
        *,
        bias: bool | ArrayLike | None = False,
        time: bool = False,
    ) -> None:
        array = as_operator(K, "K")
        column = isinstance(bias, bool | np.bool_) and bool(bias)
        super().__init__(array, _back(array, array.shape[1] - column - time), activation, bias=bias, time=time)

    @property
    def formula(self) -> str:
        return "-K^T" + super().formula[1:].replace("(A", "(K")

    @property
    def tie(self) -> Tie:
        return Tie(self._spread, self._collect)

    def _spread(self, change: Parameters) -> Parameters:
        others = {name: value for name, value in change.items() if name != "K"}
        return others | ({"A": change["K"], "B": -change["K"].T[: self.outputs]} if "K" in change else {})

    def _collect(self, gradients: Parameters) -> Parameters:
        total = gradients["A"].copy()
        if self.A.keeps_kernel:
            total -= gradients["B"]
        else:
            total[:, : self.outputs] -= gradients["B"].T
        return {"K": total} | {name: value for name, value in gradients.items() if name not in ("A", "B")}

    def written_as(self, form: Form) -> Field:
        if form != "transpose":
            return super().written_as(form)
        return ActivationField(
            self.A,
            _transposed(self.A, -1.0, self.outputs),
            self.activation,
            bias=cast(Any, self.bias),
            output_bias=self.output_bias,
            tie=self.tie,
            time=self.states > self.outputs,
        )

    def from_written(self, form: Form, gradients: Parameters) -> Parameters:
        A = gradients["A"]
        back = gradients["B"].swapaxes(-1, -2)
        return {"K": np.concatenate([A[..., : self.outputs] - back, A[..., self.outputs :]], axis=-1)}

    @property
    def operators(self) -> Mapping[str, LinearOperator]:
        return {"K": self.A}

    def parameter_gradients(
        self, evaluation: Evaluation, cotangent: FloatArray, hidden_cotangent: FloatArray
    ) -> Parameters:
        # Both add up to one matrix, or to one kernel, of which a time stays out of K^T.
        w = FirstRows(self.outputs, self.A.shape[1]).T.mv(cotangent) if self.A.keeps_kernel else cotangent
        return {
            "A": self.A.outer(hidden_cotangent, self._driven(evaluation.z, 1.0)),
            "B": self.A.T.outer(w, evaluation.hidden),
            **bias_gradient("bias", self.bias, hidden_cotangent),
            **bias_gradient("output_bias", self.output_bias, cotangent),
        }

    def replaced(self, values: Mapping[str, LinearOperator | FloatArray]) -> Self:
        made = super().replaced({name: value for name, value in values.items() if name != "K"})
        if "K" in values:
            made.A = as_operator(values["K"], "K")
            made.B = _back(made.A, self.outputs)
        return made


def _transposed(K: LinearOperator, factor: float, rows: int) -> FloatArray:
    """The first rows of factor K^T, as a matrix that goes to an array of its own.

    Raises:
        InvalidInputError: K is a large convolution, whose matrix is never built.
    """
    if K.keeps_kernel:
        raise InvalidInputError(
            "on_arrays has 'transpose', and K is a large convolution, of which there is no matrix; leave it out, and "
            "one array of K is read from both sides"
        )
    return np.ascontiguousarray(factor * K.to_dense().T[:rows])


def _back(array: LinearOperator, outputs: int) -> LinearOperator:
    """-K^T, without the columns of a time and of a bias."""
    back = ScaledOperator(-1.0, array.T)
    return back if outputs == array.shape[1] else ProductOperator(FirstRows(outputs, array.shape[1]), back)


@checked(bias=ANYTHING)
def parabolic_field(
    K: ArrayLike | LinearOperator, activation: str | Activation = "relu", *, bias: bool | ArrayLike | None = False
) -> ParabolicField:
    """f(y) = -K^T sig(K y), or -K^T sig(K y + bias): one array, driven from both sides; it can only contract.

    Args:
        K: m x n matrix or operator; m x (n + 1) with a bias on the array, which is its last column and stays out of
            K^T.
        activation: sig.
        bias: (m,), added digitally; or whether K has a column for it.

    Raises:
        InvalidInputError: The activation is unknown, or the bias does not belong to K.

    Source: Ruthotto and Haber, Deep neural networks motivated by partial differential equations, JMIV 62 (2020) 352.

    Example:
        >>> import numpy as np
        >>> parabolic_field([[2.0]]).evaluate(np.array([[1.0, -1.0]])).value
        array([[-4., 0.]])
    """
    return ParabolicField(K, activation, bias=bias)


@final
class HamiltonianField(SplitField):
    """dy/dt = sig(K^T z + b), dz/dt = -sig(K y + b) on the state [y; z]: one array, read from both sides.

    Args:
        K: l x k matrix or operator; square with a bias.
        b: (l,), shared by both parts; none when left out. Models call it "bias".
        activation: sig.

    Raises:
        InvalidInputError: b does not belong to K and K^T, or the activation is unknown.
    """

    digital: ClassVar[Mapping[str, str]] = MappingProxyType({"bias": "b"})

    @checked()
    def __init__(
        self, K: ArrayLike | LinearOperator, b: ArrayLike | None = None, activation: str | Activation = "tanh"
    ) -> None:
        self.K = as_operator(K, "K")
        velocity, force = LayerField(self.K.T, b, activation), LayerField(self.K, b, activation, sign=-1)
        self.b, self.activation = cast("FloatArray | None", force.b), force.activation

        super().__init__(velocity, force)

    @property
    def formula(self) -> str:
        bias, name = "" if self.b is None else " + bias", self.activation.name
        return f"[{name}(K^T z{bias}); -{name}(K y{bias})]"

    @property
    def tie(self) -> Tie:
        return Tie(self._spread, self._collect)

    def _spread(self, change: Parameters) -> Parameters:
        values: dict[str, FloatArray] = {}
        if "K" in change:
            values |= {"velocity.K": change["K"].T, "force.K": change["K"]}
        if "b" in change:
            values |= {"velocity.b": change["b"], "force.b": change["b"]}
        return values

    def _collect(self, gradients: Parameters) -> Parameters:
        back = gradients["velocity.K"]
        total = {"K": gradients["force.K"] + (back if self.K.keeps_kernel else back.T)}
        return total if self.b is None else total | {"b": gradients["force.b"] + gradients["velocity.b"]}

    @property
    def operators(self) -> Mapping[str, LinearOperator]:
        return {"K": self.K}

    @property
    def vectors(self) -> Parameters:
        return {} if self.b is None else {"bias": self.b}

    def replaced(self, values: Mapping[str, LinearOperator | FloatArray]) -> Self:
        made = copy(self)
        made.K = as_operator(values.get("K", self.K), "K")
        made.b = cast("FloatArray | None", values.get("bias", self.b))
        biases = {} if made.b is None else {"bias": made.b}
        made.velocity = self.velocity.replaced({"K": made.K.T, **biases})
        made.force = self.force.replaced({"K": made.K, **biases})
        return made

    def written_as(self, form: Form) -> Field:
        if form != "transpose":
            return super().written_as(form)
        back = LayerField(_transposed(self.K, 1.0, self.K.shape[1]), None, self.activation)
        return SplitField(back.replaced(self.vectors), self.force, tie=self.tie)

    def from_written(self, form: Form, gradients: Parameters) -> Parameters:
        return {"K": gradients["force.K"] + gradients["velocity.K"].swapaxes(-1, -2)}


@checked()
def hamiltonian_field(
    K: ArrayLike | LinearOperator, b: ArrayLike | None = None, activation: str | Activation = "tanh"
) -> HamiltonianField:
    """dy/dt = sig(K^T z + b), dz/dt = -sig(K y + b) on the state [y; z]: one array, read from both sides.

    Args:
        K: l x k matrix or operator; square with a bias.
        b: (l,), shared by both parts; none when left out.
        activation: sig.

    Raises:
        InvalidInputError: b does not belong to K and K^T, or the activation is unknown.

    Source: Haber and Ruthotto, Stable architectures for deep neural networks, Inverse Problems 34 (2018) 014004.

    Example:
        >>> import numpy as np
        >>> spring = hamiltonian_field([[2.0]], activation="identity")
        >>> spring.evaluate(np.array([[1.0], [3.0]])).value[:, 0]
        array([ 6., -2.])
    """
    return HamiltonianField(K, b, activation)
