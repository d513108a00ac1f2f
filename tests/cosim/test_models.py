"""Models of any field through everything: gradients against central differences of the loss on the same chip."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import xbar_spice as xs
from xbar_spice.cosim.run import Run, program_model, solve_model
from xbar_spice.cosim.run.programming import ends_on, field_on
from xbar_spice.solve.fields import AntisymmetricField, HamiltonianField, ParabolicField

WIRED = xs.Design(r_word=20.0, r_bit=20.0, r_driver=50.0, r_sense=50.0, headroom=2.0)
TIGHT = xs.SolverOptions(xs.NewtonOptions(rtol=1e-12), xs.KrylovOptions(rtol=1e-12))
SAMPLES = 2
rng = np.random.default_rng(5)


def numbers(*shape: int) -> np.ndarray:
    return rng.standard_normal(shape) / 2


def image(*channels: int) -> xs.Convolution:
    return xs.Convolution(numbers(*channels, 3, 3), (2, 2), "zero")


FIELDS: dict[str, xs.Field | xs.Layers] = {
    "activation": xs.ActivationField(
        numbers(4, 3), numbers(3, 4), "tanh", bias=numbers(4), output_bias=numbers(3)
    ),
    "softplus": xs.ActivationField(numbers(2, 3), numbers(3, 2), "softplus", bias=numbers(2)),
    "layer": xs.LayerField(numbers(3, 3), numbers(3), "tanh"),
    "residual": xs.ResidualField("tanh", K1=numbers(4, 3), b1=numbers(4), K2=numbers(3, 4), b2=numbers(3)),
    "antisymmetric": AntisymmetricField(numbers(3, 3), numbers(3), "tanh"),
    "parabolic": ParabolicField(numbers(4, 3), "tanh", bias=numbers(4)),
    "hamiltonian": HamiltonianField(numbers(2, 2), numbers(2), "tanh"),
    "convolutions": xs.ActivationField(image(2, 1), image(1, 2), "tanh", bias=numbers(2), output_bias=numbers(1)),
    "convolution layer": HamiltonianField(image(1, 1), numbers(1), "tanh"),
    "weights of each step": xs.Layers([xs.LayerField(numbers(3, 3), numbers(3), "tanh") for _ in range(2)]),
}  # fmt: skip
METHODS = {"hamiltonian": "verlet", "weights of each step": "ab3", "layer": "rk4", "residual": "trapezoid"}


def problem_of(field: xs.Field | xs.Layers, method: str = "implicit_euler", **others: object) -> xs.Problem:
    draw = np.random.default_rng(6)
    n = field.states
    model = xs.Model(
        field=field,
        h=0.25,
        steps=2,
        method=method,
        encoder=xs.Encoder(draw.standard_normal((n, 2)), draw.standard_normal(n), activation="tanh"),
        classifier=xs.Classifier(draw.standard_normal((3, n)), draw.standard_normal(3)),
        **others,  # type: ignore[arg-type]
    )
    return xs.Problem(model, draw.standard_normal((2, SAMPLES)), xs.CrossEntropy(model.classifier, np.array([0, 2])))


def run(problem: xs.Problem, scale: tuple[float, ...], design: xs.Design = WIRED) -> Run:
    """On a chip of this range of weights."""
    model = replace(problem.model, weight_range=scale)
    matrices = program_model(model, design, "nodal", seed=3)
    return solve_model(problem, field_on(model, matrices), TIGHT, ends=ends_on(model, matrices))


def range_of(model: xs.Model) -> tuple[float, ...]:
    return tuple(2.0 * float(np.abs(W).max()) for W in model.matrices.values())


def moved(problem: xs.Problem, name: str, direction: np.ndarray, step: float) -> xs.Problem:
    model = problem.model.with_tensors({name: problem.model.tensors[name] + step * direction})
    objective = problem.objective
    if isinstance(objective, xs.CrossEntropy):
        objective = replace(objective, classifier=model.classifier)
    return replace(problem, model=model, objective=objective)


@pytest.mark.parametrize("name", FIELDS)
def test_the_true_gradient_of_every_field_is_that_of_the_loss_on_the_chip(name: str) -> None:
    problem = problem_of(FIELDS[name], METHODS.get(name, "implicit_euler"))
    model, scale = problem.model, range_of(problem.model)
    held = replace(problem, model=replace(model, weight_range=scale))
    found = xs.three_gradients(held, WIRED, seed=3, solver=TIGHT, step=None).gradients["true"]
    draw = np.random.default_rng(7)
    for tensor, value in model.tensors.items():
        direction = draw.standard_normal(value.shape)
        up, down = (run(moved(problem, tensor, direction, step), scale).loss for step in (1e-5, -1e-5))
        expected = (up - down) / 2e-5
        assert np.vdot(found[tensor], direction) == pytest.approx(expected, rel=1e-6, abs=1e-9), tensor
