"""A field beside the trace of its Jacobian: what a method integrates to follow a density along its solution.

The state is [z; l] with

    dz/dt = f(z),   dl/dt = tr J(z),

so that any method integrates log p(x) = log p(z(T)) + l(T) with its own weights, and differentiates it by its own exact
adjoint. With J = L D R the trace is sum_k c_k D_k, c = diag(R L), and Hutchinson's estimate of it, e^T J e, has
c = (L^T e) o (R e): neither needs a read in a step. Of any other field it takes products with J, n or one for each
probe, and its value only has no derivative.

Source: Grathwohl et al., FFJORD, ICLR 2019.
"""

from __future__ import annotations

from dataclasses import replace
from typing import final

import numpy as np

from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.operator import FloatArray
from xbar_spice.solve.density.jacobian import Factors, field_of_factors, of_matrices, with_curvature
from xbar_spice.solve.fields.evaluation import Evaluation, Parameters, Tie
from xbar_spice.solve.fields.field import Field

__all__ = ["CurvedField", "ProbedField", "TracedField"]


@final
class CurvedField(Field):
    """A field of the form L sig(R z + b) that keeps sig'' of every hidden unit below sig.

    Args:
        field: f, whose reads are all that there is.

    Raises:
        InvalidInputError: f is of another form, or its activation has no curvature.
    """

    def __init__(self, field: Field) -> None:
        found, self.factors, activation = field_of_factors(field)
        self.field = with_curvature(found, activation)
        self.twin, self.circuit = field.twin, field.circuit

    @property
    def states(self) -> int:
        return self.field.states

    @property
    def hidden_units(self) -> int:
        return self.field.hidden_units

    @property
    def kept_inputs(self) -> int:  # type: ignore[override]
        return self.field.kept_inputs

    @property
    def tie(self) -> Tie:
        return self.field.tie

    def evaluate(self, z: FloatArray) -> Evaluation:
        at, m = self.field.evaluate(z), self.hidden_units
        return replace(at, slope=at.slope[:m], hidden=np.vstack([at.hidden, at.slope[m:]]))

    def jvp(self, evaluation: Evaluation, direction: FloatArray) -> FloatArray:
        return self.field.jvp(evaluation, direction)

    def pull_hidden(self, evaluation: Evaluation, cotangent: FloatArray) -> FloatArray:
        return self.field.pull_hidden(evaluation, cotangent)

    def pull_state(self, evaluation: Evaluation, hidden_cotangent: FloatArray) -> FloatArray:
        return self.field.pull_state(evaluation, hidden_cotangent)

    def parameter_gradients(
        self, evaluation: Evaluation, cotangent: FloatArray, hidden_cotangent: FloatArray
    ) -> Parameters:
        return self.field.parameter_gradients(self._plain(evaluation), cotangent, hidden_cotangent)

    def parameter_jvp(self, evaluation: Evaluation, direction: Parameters) -> FloatArray:
        return self.field.parameter_jvp(self._plain(evaluation), direction)

    def curvature(self, evaluation: Evaluation) -> FloatArray:
        """The second derivative sig'' at each hidden unit, (m, batch)."""
        return evaluation.hidden[self.hidden_units :]

    def _plain(self, evaluation: Evaluation) -> Evaluation:
        return replace(evaluation, hidden=evaluation.hidden[: self.hidden_units])


@final
class TracedField(Field):
    """[f(z); tr J(z)] of the state [z; l], with all of its derivatives.

    Args:
        field: f, of the form L sig(R z + b).
        probes: e of Hutchinson's estimate, (probes, n, batch), the same at every step; the trace itself when left out.
    """

    def __init__(self, field: Field, probes: FloatArray | None = None) -> None:
        self._curved = CurvedField(field)
        self._probes = probes
        factors = self._curved.factors
        if probes is None:
            self._weights = factors.diagonal[:, np.newaxis]  # c, (m, 1) or (m, batch)
        else:
            self._weights = _estimated(factors, probes)

    @property
    def states(self) -> int:
        return self._curved.states + 1

    @property
    def hidden_units(self) -> int:
        return self._curved.hidden_units

    @property
    def kept_inputs(self) -> int:  # type: ignore[override]
        return self._curved.kept_inputs

    @property
    def tie(self) -> Tie:
        return self._curved.tie

    def evaluate(self, z: FloatArray) -> Evaluation:
        at = self._curved.evaluate(z[:-1])
        trace = np.sum(self._weights * at.slope, axis=0)
        return replace(at, z=z, value=np.vstack([at.value, trace]))

    def jvp(self, evaluation: Evaluation, direction: FloatArray) -> FloatArray:
        change = self._curved.jvp(evaluation, direction[:-1])
        # sum_k c_k sig''_k (R x)_k, by the matrix that R is known to be: no read more.
        trace = np.sum(self._bend(evaluation) * (self._curved.factors.right @ direction[:-1]), axis=0)
        return np.vstack([change, trace])

    def pull_hidden(self, evaluation: Evaluation, cotangent: FloatArray) -> FloatArray:
        pulled = self._curved.pull_hidden(evaluation, cotangent[:-1])
        return np.asarray(pulled + self._bend(evaluation) * cotangent[-1])

    def pull_state(self, evaluation: Evaluation, hidden_cotangent: FloatArray) -> FloatArray:
        pulled = self._curved.pull_state(evaluation, hidden_cotangent)
        return np.vstack([pulled, np.zeros((1, pulled.shape[1]))])

    def parameter_gradients(
        self, evaluation: Evaluation, cotangent: FloatArray, hidden_cotangent: FloatArray
    ) -> Parameters:
        at = self._inner(evaluation)
        found = self._curved.parameter_gradients(at, cotangent[:-1], hidden_cotangent)
        left, right = self._pulled_weights(evaluation.slope * cotangent[-1])
        direct = of_matrices(self._curved.field, left, right)
        return {name: value + direct[name] for name, value in found.items()}

    def parameter_jvp(self, evaluation: Evaluation, direction: Parameters) -> FloatArray:
        raise InvalidInputError("a density has gradients, and no tangent: take density_gradients")

    def _inner(self, evaluation: Evaluation) -> Evaluation:
        return replace(evaluation, z=evaluation.z[:-1], value=evaluation.value[:-1])

    def _bend(self, evaluation: Evaluation) -> FloatArray:
        """The derivative of the trace with respect to the inputs of the hidden units, (m, batch)."""
        return np.asarray(self._weights * self._curved.curvature(evaluation))

    def _pulled_weights(self, of_weights: FloatArray) -> tuple[FloatArray, FloatArray]:
        """What the cotangent of c, (m, batch), makes of L, (n, m), and of R, (m, n)."""
        factors, probes = self._curved.factors, self._probes
        if probes is None:
            total = of_weights.sum(axis=1)
            return factors.right.T * total, total[:, np.newaxis] * factors.left.T
        share = of_weights / len(probes)
        left, right = np.zeros_like(factors.left), np.zeros_like(factors.right)
        for e in probes:
            left += e @ (share * (factors.right @ e)).T
            right += (share * (factors.left.T @ e)) @ e.T
        return left, right


@final
class ProbedField(Field):
    """[f(z); tr J(z)] of any field, by products with J; it has no derivatives.

    Args:
        field: f.
        probes: As for `TracedField`; the unit vectors, whose sum is the trace itself, when left out.
    """

    def __init__(self, field: Field, probes: FloatArray | None = None) -> None:
        self._field, self._probes = field, probes

    @property
    def states(self) -> int:
        return self._field.states + 1

    @property
    def hidden_units(self) -> int:
        return self._field.hidden_units

    def evaluate(self, z: FloatArray) -> Evaluation:
        at, units = self._field.evaluate(z[:-1]), np.eye(self._field.states)
        if self._probes is None:
            products = (self._field.jvp(at, np.repeat(unit[:, np.newaxis], at.batch, axis=1)) for unit in units)
            trace = np.sum([product[k] for k, product in enumerate(products)], axis=0)
        else:
            trace = np.mean([np.sum(e * self._field.jvp(at, e), axis=0) for e in self._probes], axis=0)
        return Evaluation(z, np.vstack([at.value, trace]), at.slope, at.hidden)

    def jvp(self, evaluation: Evaluation, direction: FloatArray) -> FloatArray:
        raise _no_derivative(self._field)

    def pull_hidden(self, evaluation: Evaluation, cotangent: FloatArray) -> FloatArray:
        raise _no_derivative(self._field)

    def pull_state(self, evaluation: Evaluation, hidden_cotangent: FloatArray) -> FloatArray:
        raise _no_derivative(self._field)

    def parameter_gradients(
        self, evaluation: Evaluation, cotangent: FloatArray, hidden_cotangent: FloatArray
    ) -> Parameters:
        raise _no_derivative(self._field)

    def parameter_jvp(self, evaluation: Evaluation, direction: Parameters) -> FloatArray:
        raise _no_derivative(self._field)


def _estimated(factors: Factors, probes: FloatArray) -> FloatArray:
    """The c of Hutchinson's estimate, (m, batch): the mean of (L^T e) o (R e)."""
    return np.asarray(np.mean([(factors.left.T @ e) * (factors.right @ e) for e in probes], axis=0))


def _no_derivative(field: Field) -> InvalidInputError:
    return InvalidInputError(
        f"the trace of the Jacobian of {type(field).__name__} has no derivative, which implicit methods need, too: "
        'take an explicit method, such as rk4, or by="determinant", or a field of the form L sig(R z + b)'
    )
