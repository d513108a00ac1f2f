"""Fields that read one array from both sides, and Fourier transforms, on simulated arrays with wires."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable

import numpy as np
import pytest
from support import engine_or_skip, relative

import xbar_spice as xs
from xbar_spice.errors import DesignWarning
from xbar_spice.linear.operator import FloatArray, LinearOperator
from xbar_spice.solve.fields.field import Field

DESIGN = xs.Design(r_word=2.0, r_bit=1.0, r_driver=20.0)
FIELDS: dict[str, Callable[[FloatArray | LinearOperator], Field]] = {
    "antisymmetric": xs.antisymmetric_field,
    "parabolic": xs.parabolic_field,
    "parabolic-bias": lambda K: xs.parabolic_field(K, "tanh", bias=True),
    "hamiltonian": xs.hamiltonian_field,
    "layer": xs.LayerField,
}
CASES = [
    (name, method)
    for name in FIELDS
    for method in ("rk4", "dopri5", "implicit_euler", "velocity_verlet")
    if "verlet" not in method or name == "hamiltonian"
]


@pytest.mark.parametrize(("name", "method"), CASES)
def test_one_array_gives_the_gradient_of_its_effective_matrix(name: str, method: str) -> None:
    """The same ends and ohmic cells make the transposed read exact, so that forward and backward use of K agree."""
    rng = np.random.default_rng(0)
    K = rng.normal(size=(4, 5 if name == "parabolic-bias" else 4))
    build = FIELDS[name]
    with xs.program(K, DESIGN, engine=engine_or_skip("nodal"), name="K") as array:
        z0 = rng.normal(size=(build(K).states, 2))
        trajectory = xs.integrate(build(array), z0, method, h=0.1, steps=4)
        hardware = xs.gradients(trajectory, np.ones_like(z0))
        effective = xs.integrate(build(array.to_dense()), z0, method, h=0.1, steps=4)
    exact = xs.gradients(effective, np.ones_like(z0))
    programmed = xs.integrate(build(K), z0, method, h=0.1, steps=4)
    assert relative(programmed.z, effective.z) > 1e-5  # the wires do change the model
    assert relative(trajectory.z, effective.z) < 1e-9
    assert relative(hardware.z0, exact.z0) < 1e-9
    assert relative(hardware.parameters["K"], exact.parameters["K"]) < 1e-9


def test_the_chord_method_finds_the_solution_of_the_array_with_the_programmed_weights() -> None:
    rng = np.random.default_rng(1)
    A, B, z0 = rng.normal(size=(6, 4)), rng.normal(size=(4, 6)), rng.normal(size=(4, 3))
    engine = engine_or_skip("nodal")
    chord = xs.KrylovOptions(method="chord", rtol=1e-9)
    with xs.program(A, DESIGN, engine=engine, name="A") as A_hw, xs.program(B, DESIGN, engine=engine, name="B") as B_hw:
        field = xs.ReluField(A_hw, B_hw)
        field.twin = xs.ReluField(A, B)
        found = xs.integrate(field, z0, h=0.1, steps=3, newton=xs.NewtonOptions(rtol=1e-9), krylov=chord)
        g = xs.gradients(found, np.ones_like(z0))
        effective = xs.integrate(xs.ReluField(A_hw.to_dense(), B_hw.to_dense()), z0, h=0.1, steps=3)
    assert found.krylov_iterations.sum() == 0
    assert relative(found.z, effective.z) < 1e-8
    assert relative(g.A, xs.gradients(effective, np.ones_like(z0)).A) < 1e-7


def test_fourier_transforms_on_arrays() -> None:
    """Ideal arrays give the convolution; wires change it, and the transposed product remains the transpose."""
    kernel, shape = np.random.default_rng(2).normal(size=9), (3, 4)
    made = xs.fourier_matrices(kernel, shape)
    direct = xs.convolution_matrix(kernel, shape)
    errors = {}
    for name in ("ideal", "nodal"):
        engine = engine_or_skip(name)
        with (
            xs.program(made.rows, DESIGN, engine=engine, name="rows") as rows,
            xs.program(made.columns, DESIGN, engine=engine, name="columns") as columns,
            xs.program(made.blocks, DESIGN, engine=engine, name="blocks") as blocks,
        ):
            operator = xs.FourierConvolution(rows, columns, blocks, shape)
            errors[name] = relative(operator.to_dense(), direct)
            assert relative(operator.T.to_dense(), operator.to_dense().T) < 1e-9
    assert errors["ideal"] < 1e-9
    assert 1e-4 < errors["nodal"] < 0.2


def noisy_field(noise: float) -> tuple[xs.ActivationField, xs.ReadTrace]:
    """A field of 4 states whose reads are counted."""
    rng, trace = np.random.default_rng(5), xs.ReadTrace()
    design = xs.Design(noise=xs.ReadNoise(device=noise))
    matrices = {"A": rng.normal(size=(8, 4)) / 2, "B": rng.normal(size=(4, 8)) / 3}
    arrays = {
        name: xs.program(W, design, engine="ideal", noise_rng=np.random.default_rng(1), name=name, trace=trace)
        for name, W in matrices.items()
    }
    return xs.ActivationField(**arrays, activation="tanh"), trace


@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_steps_as_short_as_the_noise_of_reads_are_said_aloud(noise: float) -> None:
    """Of arrays with noise alone, without a read to find it, and not where the advice is taken."""
    field, trace = noisy_field(noise)
    tight, z0 = xs.AdaptiveOptions(rtol=1e-4, atol=1e-7), np.ones((4, 1))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        blind = xs.integrate(field, z0, "dopri5", h=2.0, steps=1, adaptive=tight)
    assert len(trace) == 2 * blind.evaluations.sum()
    if not noise:
        assert not said
        return
    (warning,) = said
    assert warning.category is DesignWarning
    assert warning.filename == __file__
    advised = re.search(r"AdaptiveOptions\(noise=(\S+)\)", str(warning.message))
    assert advised
    allowed = xs.AdaptiveOptions(rtol=1e-4, atol=1e-7, noise=float(advised.group(1)))
    seeing = xs.integrate(field, z0, "dopri5", h=2.0, steps=1, adaptive=allowed)
    assert seeing.evaluations.sum() < 0.2 * blind.evaluations.sum()
