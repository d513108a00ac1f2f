"""A field of one layer: one read of one array for each evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, cast

import numpy as np
from numpy.typing import ArrayLike

from xbar_spice.checks import ANYTHING, checked
from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.operator import FloatArray, LinearOperator, as_operator
from xbar_spice.solve.fields.activation import Activation, get_activation
from xbar_spice.solve.fields.evaluation import Evaluation, Parameters, Tie
from xbar_spice.solve.fields.field import Field, beside, bias_gradient, checked_bias, spread_bias

__all__ = ["LayerField"]


class LayerField(Field):
    """f(y) = sign sig(K y + b), one read of one array; the bias is added behind it, digitally.

    Args:
        K: l x k matrix or operator; square unless it is a part of a `SplitField`.
        b: (l,), of a convolution also one number a channel; none when left out. Models call it "bias". True says that
            it is on the array: the last column of K, (l, k + 1), whose input is held at one.
        activation: Name of an activation, or an `Activation`.
        sign: 1 or -1.
        tie: As for `ActivationField`.

    Raises:
        InvalidInputError: b does not belong to K or is not finite, or the activation or the sign is unknown.

    Example:
        >>> LayerField([[0.0, 1.0], [-1.0, 0.0]], activation="identity").evaluate(np.array([[1.0], [2.0]])).value[:, 0]
        array([ 2., -1.])
    """

    digital: ClassVar[Mapping[str, str]] = MappingProxyType({"bias": "b"})

    @checked(b=ANYTHING)
    def __init__(
        self,
        K: ArrayLike | LinearOperator,
        b: ArrayLike | bool | None = None,
        activation: str | Activation = "tanh",
        *,
        sign: int = 1,
        tie: Tie | None = None,
    ) -> None:
        self.K = as_operator(K, "K")
        self.b: FloatArray | bool | None = None
        if isinstance(b, bool):
            self.b = b or None
        elif b is not None:
            self.b = checked_bias("b", b, self.K)
        self.activation = get_activation(activation)
        self.sign = sign
        self._tie = tie or Tie()
        if sign not in (-1, 1):
            raise InvalidInputError(f"sign must be 1 or -1, got {sign}")

    @property
    def formula(self) -> str:
        return f"{'-' if self.sign < 0 else ''}{self.activation.name}(K z{'' if self.b is None else ' + bias'})"

    @property
    def states(self) -> int:
        return self.K.shape[1] - (self.b is True)

    @property
    def outputs(self) -> int:
        return self.K.shape[0]

    @property
    def hidden_units(self) -> int:
        return self.K.shape[0]

    @property
    def tie(self) -> Tie:
        return self._tie

    def evaluate(self, z: FloatArray) -> Evaluation:
        s = spread_bias(self.K.mv(self._driven(z, 1.0)), self.b)
        r = self.activation.value(s)
        return Evaluation(z=z, value=self.sign * r, slope=self.activation.slope(s, r), hidden=r)

    def jvp(self, evaluation: Evaluation, direction: FloatArray) -> FloatArray:
        return self.sign * (evaluation.slope * self.K.mv(self._driven(direction, 0.0)))  # D K x

    def pull_hidden(self, evaluation: Evaluation, cotangent: FloatArray) -> FloatArray:
        return self.sign * (evaluation.slope * cotangent)  # p = D w

    def pull_state(self, evaluation: Evaluation, hidden_cotangent: FloatArray) -> FloatArray:
        return self.K.T.mv(hidden_cotangent)[: self.states]  # K^T p

    def parameter_gradients(
        self, evaluation: Evaluation, cotangent: FloatArray, hidden_cotangent: FloatArray
    ) -> Parameters:
        return {
            "K": self.K.outer(hidden_cotangent, self._driven(evaluation.z, 1.0)),
            **bias_gradient("b", self.b, hidden_cotangent),
        }  # p y^T

    def parameter_jvp(self, evaluation: Evaluation, direction: Parameters) -> FloatArray:
        change = np.zeros_like(evaluation.value)
        if "K" in direction:
            change += direction["K"] @ self._driven(evaluation.z, 1.0)
        change = spread_bias(change, direction.get("b"))
        return self.sign * (evaluation.slope * change)  # D (dK y + db)

    def with_bias_lines(self) -> Field:
        if not isinstance(self.b, np.ndarray):
            return super().with_bias_lines()
        return self.replaced({"K": beside(self.K, self.b), "bias": cast(Any, True)})

    def _driven(self, y: FloatArray, last: float) -> FloatArray:
        """What drives K: the state, and with a bias on the array the constant below it."""
        return np.vstack([y, np.full((1, y.shape[1]), last)]) if self.b is True else y
