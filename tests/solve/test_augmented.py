"""The adjoint equation as one solve backwards in time, against its reference values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support import relative, truth
from support.solver_table import FIELDS, numbers, start

import xbar_spice as xs
from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.operator import FloatArray

CASE = truth("multilevel")["augmented"]
GIVEN = CASE["inputs"]
FIELD = xs.ActivationField(GIVEN["A"], GIVEN["B"], "tanh")


def solved(steps: int) -> tuple[FloatArray, FloatArray]:
    """States at the times, by RK4, and what the loss gives back there."""
    z = [numbers(GIVEN["z0"])]
    for span in np.diff(GIVEN["t"]):
        z.append(xs.integrate(FIELD, z[-1], "rk4", h=span / steps, steps=steps).z[-1])
    off = np.stack(z) - np.vstack([z[:1], numbers(GIVEN["targets"])])
    return np.stack(z), off


def test_rk4() -> None:
    first, *others = CASE["rk4"]
    z, off = solved(first["N_per_interval"])
    assert 0.5 * np.sum(off**2) == pytest.approx(first["loss"], rel=1e-12)
    found = xs.augmented_gradients(FIELD, GIVEN["t"], z, off, "rk4", steps=first["N_per_interval"])
    wanted = first["augmented"]
    for name, value in (
        ("gA", found.parameters["A"]),
        ("gB", found.parameters["B"]),
        ("gz0", found.z0),
        ("gt", found.t),
    ):
        assert relative(value, wanted[name]) < 1e-12
    np.testing.assert_array_equal(found.evaluations, [8, 8, 8])
    errors = []
    for other in others[:2]:
        z, off = solved(other["N_per_interval"])
        found = xs.augmented_gradients(FIELD, GIVEN["t"], z, off, "rk4", steps=other["N_per_interval"])
        errors.append(relative(found.parameters["A"], CASE["gA"]))
    assert errors[0] / errors[1] > 12.0  # order 4


@pytest.mark.parametrize("tolerance", [1e-6, 1e-9])
def test_dopri5_goes_back_by_steps_of_its_own(tolerance: float) -> None:
    z = numbers(CASE["z"])
    off = z - np.vstack([z[:1], numbers(GIVEN["targets"])])
    found = xs.augmented_gradients(
        FIELD, GIVEN["t"], z, off, "dopri5", adaptive=xs.AdaptiveOptions(rtol=tolerance, atol=tolerance)
    )
    for name, value in (
        ("gA", found.parameters["A"]),
        ("gB", found.parameters["B"]),
        ("gz0", found.z0),
        ("gt", found.t),
    ):
        assert relative(value, CASE[name]) < 10 * tolerance


@pytest.mark.parametrize("kind", ["relu-bias", "hamiltonian", "split", "convolution"])
def test_every_field_comes_near_the_discrete_gradient(kind: str) -> None:
    make, parameters = FIELDS[kind]
    field, z0 = make(parameters), start(kind, 2)
    run = xs.integrate(field, z0, "rk4", h=0.01, steps=20)
    last = np.cos(np.arange(z0.size)).reshape(z0.shape)
    z, off = run.z[[0, -1]], np.stack([np.zeros_like(last), last])
    wanted = xs.gradients(run, last)
    for method, steps in (("rk4", 20), ("dopri5", 1)):
        found = xs.augmented_gradients(field, [0.0, 0.2], z, off, method, steps=steps)
        assert found.evaluations.shape == (1, 2)
        assert relative(found.z0, wanted.z0) < 1e-4
        assert found.parameters.keys() == wanted.parameters.keys()
        for name, value in wanted.parameters.items():
            assert relative(found.parameters[name], value) < 1e-4


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"method": "implicit_euler"}, "method must be an explicit Runge-Kutta method"),
        ({"t": [1.0, 0.0]}, "t must be at least two growing times"),
        ({"z": np.zeros((2, 2))}, r"must have shape \(2, 3\), with an axis"),
    ],
)
def test_what_does_not_fit_is_refused(changed: dict[str, Any], text: str) -> None:
    arguments: dict[str, Any] = {"t": [0.0, 1.0], "z": np.zeros((2, 3)), "cotangents": np.zeros((2, 3))}
    with pytest.raises(InvalidInputError, match=text):
        xs.augmented_gradients(FIELD, **{**arguments, **changed})
