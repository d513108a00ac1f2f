"""The names that users import."""

import inspect
import subprocess
import sys
from importlib.metadata import version

import numpy as np
import pytest

import xbar_spice as xs
from xbar_spice.errors import InvalidInputError


def test_every_public_name_is_there():
    for name in xs.__all__:
        assert getattr(xs, name) is not None
    assert set(xs.__all__) <= set(dir(xs))


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="attribute crossbar"):
        _ = xs.crossbar


def test_importing_the_package_alone_stays_light():
    code = (
        "import sys, xbar_spice; print([m for m in ('scipy', 'pandas', 'matplotlib', 'PySpice') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_training_has_the_name_of_its_package():
    import xbar_spice.train.training as home

    assert home.train is xs.train.__wrapped__
    assert list(inspect.signature(xs.train).parameters)[:2] == ["task", "seed"]
    with pytest.raises(InvalidInputError, match="task must be one of 'digits-conv', 'digits-dense'"):
        xs.train("mnist")
    code = "import xbar_spice as xs; print(callable(xs.train), xs.__version__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", version("xbar-spice")]


@pytest.mark.parametrize("mapping", ["differential", "interleaved"])
@pytest.mark.parametrize("method", ["forward_euler", "implicit_euler"])
def test_hardware_gradients_are_exact_for_the_effective_matrices(method, mapping, circuit_engine, rng):
    A, B = rng.standard_normal((6, 4)), rng.standard_normal((4, 6)) / 4
    z0, target = rng.standard_normal((4, 2)), rng.standard_normal((4, 2))
    design = xs.Design(r_word=2.0, r_bit=1.0, r_driver=20.0, tile=3, mapping=mapping)

    def solve(A_used, B_used, start=z0):
        return xs.integrate(xs.ReluField(A_used, B_used), start, method=method, h=0.25, steps=3)

    def loss(trajectory):
        return 0.5 * np.sum((trajectory.z[-1] - target) ** 2)

    with (
        xs.program(A, design, engine=circuit_engine, name="A") as A_hw,
        xs.program(B, design, engine=circuit_engine, name="B") as B_hw,
    ):
        trajectory = solve(A_hw, B_hw)
        hardware = xs.gradients(trajectory, trajectory.z[-1] - target)
        effective = solve(A_hw.to_dense(), B_hw.to_dense())
        exact = xs.gradients(effective, effective.z[-1] - target)
        step = 1e-6 * rng.standard_normal(z0.shape)
        difference = loss(solve(A_hw, B_hw, z0 + step)) - loss(solve(A_hw, B_hw, z0 - step))
    assert np.abs(effective.z - solve(A, B).z).max() > 1e-5  # the wires do change the model
    assert pytest.approx(exact.A, rel=1e-9, abs=1e-11) == hardware.A
    assert pytest.approx(exact.B, rel=1e-9, abs=1e-11) == hardware.B
    assert hardware.z0 == pytest.approx(exact.z0, rel=1e-9, abs=1e-11)
    assert difference == pytest.approx(2 * np.sum(hardware.z0 * step), rel=1e-6)
