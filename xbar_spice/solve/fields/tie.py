"""Parameters that several matrices of a field share, such as one array that is read in both directions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import final

from xbar_spice.linear.operator import FloatArray

__all__ = ["Parameters", "Tie"]

Parameters = Mapping[str, FloatArray]
"""Arrays by the name of a parameter."""


def _same(values: Parameters) -> Parameters:
    return values


@final
@dataclass(frozen=True)
class Tie:
    """How the matrices of a field depend on its parameters: a linear map, and the map back for gradients.

    The two are adjoint: sum <collect(g), d> = sum <g, spread(d)> for gradients g of matrices and directions d.

    Attributes:
        spread: Changes of the parameters to changes of the matrices.
        collect: Gradients with respect to the matrices to those with respect to the parameters.
    """

    spread: Callable[[Parameters], Parameters] = _same
    collect: Callable[[Parameters], Parameters] = _same
