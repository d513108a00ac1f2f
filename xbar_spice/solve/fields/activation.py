"""Activations with the derivative that is stored beside every evaluation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from xbar_spice.checks import settle
from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.operator import FloatArray

__all__ = ["ACTIVATIONS", "Activation", "get_activation"]


@final
@dataclass(frozen=True)
class Activation:
    """A function of one variable, applied to each hidden unit.

    Attributes:
        name: How it is called.
        value: r = sig(s).
        slope: sig'(s), called with s and r; bits where it is 0 or 1 only.
        curvature: sig''(s), called with s and r; 0 at kinks. None of one that does not say: only derivatives of traces
            and determinants of the Jacobian, as those of densities, need it.
    """

    name: str
    value: Callable[[FloatArray], FloatArray]
    slope: Callable[[FloatArray, FloatArray], NDArray[np.bool_] | FloatArray]
    curvature: Callable[[FloatArray, FloatArray], FloatArray] | None = None

    def __post_init__(self) -> None:
        settle(self)

    def __reduce__(self) -> str | tuple[Any, ...]:
        """A known one goes to another process by its name, because its functions have none."""
        known = ACTIVATIONS.get(self.name) is self
        return (get_activation, (self.name,)) if known else (Activation, tuple(vars(self).values()))


def _sigmoid(s: FloatArray) -> FloatArray:
    return 0.5 * (1.0 + np.tanh(0.5 * s))  # without overflow


def _straight(s: FloatArray, r: FloatArray) -> FloatArray:
    return np.zeros(s.shape)  # between kinks


def _normal(s: FloatArray) -> FloatArray:
    density: FloatArray = np.exp(-0.5 * s * s) / np.sqrt(2.0 * np.pi)
    return density


_KNOWN = (
    Activation("relu", lambda s: np.maximum(s, 0.0), lambda s, r: s > 0.0, _straight),  # u(0) = 0
    Activation("identity", lambda s: s, lambda s, r: np.ones(s.shape, dtype=bool), _straight),
    Activation("abs", np.abs, lambda s, r: np.sign(s), _straight),
    Activation("tanh", np.tanh, lambda s, r: 1.0 - r * r, lambda s, r: -2.0 * r * (1.0 - r * r)),
    Activation("sigmoid", _sigmoid, lambda s, r: r * (1.0 - r), lambda s, r: r * (1.0 - r) * (1.0 - 2.0 * r)),
    Activation(
        "elu",
        lambda s: np.where(s > 0, s, np.expm1(np.minimum(s, 0.0))),
        lambda s, r: np.where(s > 0, 1.0, 1.0 + r),
        lambda s, r: np.where(s > 0, 0.0, 1.0 + r),
    ),
    Activation(
        "silu",
        lambda s: s * _sigmoid(s),
        lambda s, r: _sigmoid(s) + r * (1.0 - _sigmoid(s)),
        lambda s, r: _sigmoid(s) * (1.0 - _sigmoid(s)) * (2.0 + s * (1.0 - 2.0 * _sigmoid(s))),
    ),
    Activation(
        "gelu",
        lambda s: s * ndtr(s),
        lambda s, r: ndtr(s) + s * np.exp(-0.5 * s * s) / np.sqrt(2.0 * np.pi),
        lambda s, r: (2.0 - s * s) * _normal(s),
    ),
    Activation("leaky_relu", lambda s: np.maximum(s, 0.01 * s), lambda s, r: np.where(s > 0.0, 1.0, 0.01), _straight),
    Activation(
        "softplus",
        lambda s: np.logaddexp(0.0, s),
        lambda s, r: _sigmoid(s),
        lambda s, r: _sigmoid(s) * (1.0 - _sigmoid(s)),
    ),
)

ACTIVATIONS: Mapping[str, Activation] = MappingProxyType({activation.name: activation for activation in _KNOWN})
"""Every activation by its name; a field takes any other `Activation`, too."""


def get_activation(activation: str | Activation) -> Activation:
    """An activation as it is, or the one of a name.

    Raises:
        InvalidInputError: No activation has this name.
    """
    if isinstance(activation, Activation):
        return activation
    if activation not in ACTIVATIONS:
        raise InvalidInputError(
            f"activation must be one of {', '.join(ACTIVATIONS)} or an Activation, got {activation!r}"
        )
    return ACTIVATIONS[activation]
