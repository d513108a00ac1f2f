"""The fields, methods and linear solvers that the tests of solvers go through, and random runs of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from support import truth
from xbar_spice.linear.operator import FloatArray
from xbar_spice.parts import LINEAR_SOLVERS, METHODS
from xbar_spice.solve.adjoint.discrete import Gradients
from xbar_spice.solve.fields.convolved import convolution_field
from xbar_spice.solve.fields.field import ActivationField, Field, ReluField
from xbar_spice.solve.fields.layer_field import LayerField
from xbar_spice.solve.fields.split import SplitField
from xbar_spice.solve.fields.systems import antisymmetric_field, hamiltonian_field, parabolic_field
from xbar_spice.solve.integrators.integration import Trajectory, integrate

Parameters = Mapping[str, FloatArray]
Build = Callable[[Parameters], Field]

_RNG = np.random.default_rng(7)


def weights(*shape: int, size: float = 0.5) -> FloatArray:
    return size * _RNG.normal(size=shape)


def _hamiltonian_f(p: Parameters) -> SplitField:
    """Forces and velocities that are fields B sig(A z) themselves."""
    velocity = ActivationField(p["velocity.A"], p["velocity.B"], "tanh")
    return SplitField(velocity, ActivationField(p["force.A"], p["force.B"], "softplus"))


FIELDS: dict[str, tuple[Build, Parameters]] = {
    "relu": (lambda p: ReluField(p["A"], p["B"]), {"A": weights(6, 4), "B": weights(4, 6)}),
    "relu-bias": (
        lambda p: ActivationField(p["A"], p["B"], bias=True),
        {"A": weights(6, 5), "B": weights(4, 6)},
    ),
    **{
        name: (
            lambda p, name=name: ActivationField(p["A"], p["B"], name, bias=True),
            {"A": weights(6, 5), "B": weights(4, 6)},
        )
        for name in ("tanh", "sigmoid", "softplus", "abs")
    },
    "identity": (lambda p: ActivationField(p["A"], p["B"], "identity"), {"A": weights(6, 4), "B": weights(4, 6)}),
    "layer": (lambda p: LayerField(p["K"], p["b"], "tanh"), {"K": weights(4, 4), "b": weights(4)}),
    "residual-relu": (lambda p: LayerField(p["K"], p["b"], "relu"), {"K": weights(4, 4), "b": weights(4)}),
    "antisymmetric": (lambda p: antisymmetric_field(p["K"], p["b"]), {"K": weights(4, 4), "b": weights(4)}),
    "parabolic": (lambda p: parabolic_field(p["K"]), {"K": weights(5, 4)}),
    "parabolic-bias": (lambda p: parabolic_field(p["K"], "tanh", bias=True), {"K": weights(5, 5)}),
    "hamiltonian": (lambda p: hamiltonian_field(p["K"], p["b"]), {"K": weights(2, 2, size=1.0), "b": weights(2)}),
    "hamiltonian-relu": (lambda p: hamiltonian_field(p["K"], activation="relu"), {"K": weights(1, 3, size=1.0)}),
    "split": (
        _hamiltonian_f,
        {
            "velocity.A": weights(5, 2),
            "velocity.B": weights(2, 5),
            "force.A": weights(3, 2),
            "force.B": weights(2, 3),
        },
    ),
    "convolution": (
        lambda p: convolution_field(p["a"], p["b"], (2, 2), "circular"),
        {"a": weights(9, size=0.3), "b": weights(9, size=0.3)},
    ),
    "convolution-zero-4x4": (
        lambda p: convolution_field(p["a"], p["b"], (4, 4), "zero", activation="tanh"),
        {"a": weights(9, size=0.3), "b": weights(9, size=0.3)},
    ),
    "convolution-channels": (
        lambda p: convolution_field(p["a"], p["b"], (2, 1), "zero"),
        {"a": weights(3, 2, 9, size=0.3), "b": weights(2, 3, 9, size=0.3)},
    ),
}
SPLIT = ("hamiltonian", "hamiltonian-relu", "split")
KINKED = ("relu", "relu-bias", "abs", "residual-relu", "parabolic", "hamiltonian-relu", "convolution")
HOMOGENEOUS = ("relu", "identity", "parabolic", "hamiltonian-relu", "convolution", "convolution-channels")
IMPLICIT = tuple(name for name in METHODS if getattr(METHODS.get(name), "implicit", False))
SOLVERS = tuple(name for name in LINEAR_SOLVERS if name != "feedback")  # which needs a circuit: tests/feedback
PREPARED = tuple(
    name for name in LINEAR_SOLVERS if LINEAR_SOLVERS.get(name).without_circuit() != LINEAR_SOLVERS.get(name)
)
"""The solvers that need something on a field."""
# Methods that take f as forward Euler does, on one field of each kind.
EXPLICIT_TOO, PLAIN = (
    ("leapfrog", "euler_maruyama", "imex"),
    ("relu", "tanh", "parabolic-bias", "hamiltonian", "convolution"),
)
PAIRS = [
    pytest.param(method, field, id=f"{method}-{field}")
    for method in METHODS
    for field in FIELDS
    if ("verlet" not in method or field in SPLIT) and (method not in EXPLICIT_TOO or field in PLAIN)
]


ANY_FIELD = [method for method in METHODS if "verlet" not in method]
REFERENCE = [
    pytest.param(case, method, id=f"{case['name']}-{method}")
    for case in truth("neural_ode")["cases"]
    if "A" in case
    for method in case["results"]
]
"""The reference cases of B relu(A z), each with the methods that it has values for."""


def numbers(values: Any) -> FloatArray:
    """Of reference data, which are decimal strings."""
    return np.array(values, dtype=float)


def run(method: str, name: str, parameters: Parameters, z0: FloatArray, **options: Any) -> Trajectory:
    return integrate(FIELDS[name][0](parameters), z0, method, h=0.15, steps=5, **options)


def start(name: str, batch: int = 3) -> FloatArray:
    build, parameters = FIELDS[name]
    return np.random.default_rng(3).normal(size=(build(parameters).states, batch))


def changes(parameters: Parameters, seed: int = 5) -> dict[str, FloatArray]:
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=value.shape) for name, value in parameters.items()}


def slope(g: Gradients, dz: FloatArray, dp: Parameters) -> float:
    assert set(g.parameters) == set(dp)
    return float(np.sum(g.z0 * dz) + sum(np.sum(g.parameters[name] * dp[name]) for name in dp))
