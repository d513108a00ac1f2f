"""Weights that change in time: one field after the other, piecewise constant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import final

from xbar_spice.checks import checked
from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.operator import FloatArray, LinearOperator
from xbar_spice.solve.fields.field import Field
from xbar_spice.solve.integrators.method import Grid

__all__ = ["Layers", "fields_of"]


@final
class Layers:
    """Fields that follow each other in time, each for the same number of steps; the layers of a network.

    A method of several steps goes on from layer to layer: it looks back at values of f that earlier layers left, each
    with the weights of the step that began there. An implicit term has those of its own step. Layers that are equal
    give what one field gives, also with one step a layer. Gradients are named by parameter and layer, `K[0]`, `K[1]`
    and so on. Residual blocks are layers with forward Euler and h = 1.

    Args:
        fields: The field of each layer.

    Raises:
        InvalidInputError: There is no layer, or their states have different lengths.

    Example:
        >>> from xbar_spice.solve.fields.layer_field import LayerField
        >>> from xbar_spice.solve.integrators.integration import integrate
        >>> blocks = Layers([LayerField([[1.0]], activation="relu"), LayerField([[2.0]], activation="relu")])
        >>> integrate(blocks, [1.0], "forward_euler", h=1.0, steps=2).z[:, 0]
        array([1., 2., 6.])
    """

    @checked()
    def __init__(self, fields: Sequence[Field]) -> None:
        self.fields = tuple(fields)
        lengths = {(field.states, field.outputs) for field in self.fields}
        if len(lengths) != 1 or len(set(*lengths)) != 1:
            raise InvalidInputError(
                "layers need at least one field, and all of them states of one length, got fields from states to "
                f"values of lengths {sorted(lengths)}"
            )

    @property
    def states(self) -> int:
        """Length n of the state."""
        return self.fields[0].states

    @property
    def operators(self) -> Mapping[str, LinearOperator]:
        """The matrices of all layers by name and layer, such as "K[0]"."""
        return {
            f"{name}[{layer}]": operator
            for layer, field in enumerate(self.fields)
            for name, operator in field.operators.items()
        }

    def replaced(self, values: Mapping[str, LinearOperator | FloatArray]) -> Layers:
        """The same layers with other operators, or vectors, of these names."""
        return Layers(
            [
                field.replaced({name.removesuffix(end): value for name, value in values.items() if name.endswith(end)})
                for field, end in ((field, f"[{layer}]") for layer, field in enumerate(self.fields))
            ]
        )

    def pieces(self, grid: Grid) -> Iterator[tuple[Field, Grid]]:
        """Each field with its part of a grid.

        Raises:
            InvalidInputError: The steps cannot be shared out evenly.
        """
        steps, rest = divmod(grid.steps, len(self.fields))
        if rest:
            raise InvalidInputError(
                f"steps must be a multiple of the number of layers, {len(self.fields)}, got {grid.steps}"
            )
        for layer, field in enumerate(self.fields):
            yield field, Grid(grid.h, steps, grid.start + layer * steps, layer)


def fields_of(field: Field | Layers) -> tuple[Field, ...]:
    """The fields of all layers, or the one."""
    return field.fields if isinstance(field, Layers) else (field,)
