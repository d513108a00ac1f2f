"""Fields of a state in two parts, each of which drives the other; Hamiltonian networks among them.

dy/dt = velocity(z),   dz/dt = force(y),   the state being [y; z]
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from typing import Self, TypeVar, cast

import numpy as np

from xbar_spice.checks import checked
from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.operator import FloatArray, LinearOperator
from xbar_spice.solve.fields.evaluation import BoolArray, Evaluation, Parameters, Tie
from xbar_spice.solve.fields.field import Field

__all__ = ["SplitField", "prefixed", "unprefixed"]

Value = TypeVar("Value")


class SplitField(Field):
    """dy/dt = velocity(z), dz/dt = force(y) as one field of [y; z].

    Its matrices are those of the two parts, named `velocity.A`, `force.A` and so on. The Verlet methods use the parts
    one after the other; for all other methods it is a field like any other.

    Args:
        velocity: z, (l, batch), to dy/dt, (k, batch).
        force: y, (k, batch), to dz/dt, (l, batch).
        tie: Parameters that the two parts share.

    Raises:
        InvalidInputError: The shapes of the parts do not belong together.

    Example:
        >>> from xbar_spice.solve.fields.layer_field import LayerField
        >>> spring = SplitField(LayerField([[1.0]], activation="identity"), LayerField([[-4.0]], activation="identity"))
        >>> spring.evaluate(np.array([[1.0], [3.0]])).value[:, 0]
        array([ 3., -4.])
    """

    @checked()
    def __init__(self, velocity: Field, force: Field, *, tie: Tie | None = None) -> None:
        if (velocity.states, velocity.outputs) != (force.outputs, force.states):
            raise InvalidInputError(
                "velocity must lead from z to y and force from y to z, got velocity "
                f"from {velocity.states} to {velocity.outputs} and force from {force.states} to {force.outputs}"
            )
        self.velocity, self.force = velocity, force
        self._tie = tie or Tie()

    @property
    def states(self) -> int:
        return self.y_size + self.velocity.states

    @property
    def y_size(self) -> int:
        """Length k of y, the first part of the state."""
        return self.velocity.outputs

    @property
    def hidden_units(self) -> int:
        return self.velocity.hidden_units + self.force.hidden_units

    @property
    def tie(self) -> Tie:
        return self._tie

    @property
    def operators(self) -> Mapping[str, LinearOperator]:
        return {
            f"{part}.{name}": operator
            for part, field in (("velocity", self.velocity), ("force", self.force))
            for name, operator in field.operators.items()
        }

    @property
    def vectors(self) -> Parameters:
        return {**prefixed("velocity", self.velocity.vectors), **prefixed("force", self.force.vectors)}

    def replaced(self, values: Mapping[str, LinearOperator | FloatArray]) -> Self:
        made = copy(self)
        made.velocity = self.velocity.replaced(unprefixed("velocity", values))
        made.force = self.force.replaced(unprefixed("force", values))
        return made

    def evaluate(self, z: FloatArray) -> Evaluation:
        velocity = self.velocity.evaluate(z[self.y_size :])
        force = self.force.evaluate(z[: self.y_size])
        return Evaluation(
            z=z,
            value=np.vstack([velocity.value, force.value]),
            slope=cast("BoolArray | FloatArray", np.vstack([velocity.slope, force.slope])),  # bits stay bits
            hidden=np.vstack([velocity.hidden, force.hidden]),
            inputs=(*velocity.inputs, *force.inputs),
        )

    def jvp(self, evaluation: Evaluation, direction: FloatArray) -> FloatArray:
        velocity, force = self._parts(evaluation)
        k = self.y_size
        return np.vstack([self.velocity.jvp(velocity, direction[k:]), self.force.jvp(force, direction[:k])])

    def pull_hidden(self, evaluation: Evaluation, cotangent: FloatArray) -> FloatArray:
        velocity, force = self._parts(evaluation)
        k = self.y_size
        return np.vstack(
            [self.velocity.pull_hidden(velocity, cotangent[:k]), self.force.pull_hidden(force, cotangent[k:])]
        )

    def pull_state(self, evaluation: Evaluation, hidden_cotangent: FloatArray) -> FloatArray:
        velocity, force = self._parts(evaluation)
        m = self.velocity.hidden_units
        return np.vstack(
            [
                self.force.pull_state(force, hidden_cotangent[m:]),
                self.velocity.pull_state(velocity, hidden_cotangent[:m]),
            ]
        )

    def parameter_gradients(
        self, evaluation: Evaluation, cotangent: FloatArray, hidden_cotangent: FloatArray
    ) -> Parameters:
        velocity, force = self._parts(evaluation)
        k, m = self.y_size, self.velocity.hidden_units
        return {
            **prefixed("velocity", self.velocity.parameter_gradients(velocity, cotangent[:k], hidden_cotangent[:m])),
            **prefixed("force", self.force.parameter_gradients(force, cotangent[k:], hidden_cotangent[m:])),
        }

    def parameter_jvp(self, evaluation: Evaluation, direction: Parameters) -> FloatArray:
        velocity, force = self._parts(evaluation)
        return np.vstack(
            [
                self.velocity.parameter_jvp(velocity, unprefixed("velocity", direction)),
                self.force.parameter_jvp(force, unprefixed("force", direction)),
            ]
        )

    def _parts(self, evaluation: Evaluation) -> tuple[Evaluation, Evaluation]:
        """What each part has left behind; the hidden units of both are one below the other."""
        k = self.y_size
        m = self.velocity.hidden_units
        kept = self.velocity.kept_inputs
        velocity = Evaluation(
            evaluation.z[k:],
            evaluation.value[:k],
            evaluation.slope[:m],
            evaluation.hidden[:m],
            evaluation.inputs[:kept],
        )
        force = Evaluation(
            evaluation.z[:k],
            evaluation.value[k:],
            evaluation.slope[m:],
            evaluation.hidden[m:],
            evaluation.inputs[kept:],
        )
        return velocity, force


def prefixed(part: str, values: Parameters) -> Parameters:
    """Parameters of a part under their names in the whole field."""
    return {f"{part}.{name}": value for name, value in values.items()}


def unprefixed(part: str, values: Mapping[str, Value]) -> dict[str, Value]:
    """Those parameters of the whole field that belong to a part, under their names there."""
    start = f"{part}."
    return {name.removeprefix(start): value for name, value in values.items() if name.startswith(start)}
