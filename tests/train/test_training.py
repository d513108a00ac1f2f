"""Training: exact gradients, reproducible by seed, and as accurate as the tasks promise."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from xbar_spice.cosim import Chip
from xbar_spice.data.spirals import SpiralPaths
from xbar_spice.errors import InvalidInputError
from xbar_spice.mapping.design import Design
from xbar_spice.parts import DATA, TASKS
from xbar_spice.solve.fields import LayerField, hamiltonian_field
from xbar_spice.solve.integrators.layers import Layers
from xbar_spice.study.problem import make_problem
from xbar_spice.train.descent import Epoch, evaluate, loss_and_gradients, pulled_loss
from xbar_spice.train.digits import DigitsTask, load_digits
from xbar_spice.train.named import NamedTask
from xbar_spice.train.samples import Samples
from xbar_spice.train.spirals import SpiralTask
from xbar_spice.train.tasks import Schedule
from xbar_spice.train.training import train, tune
from xbar_spice.weights import Classifier, Kernels, Model


def rescheduled(task: DigitsTask, **changes: object) -> DigitsTask:
    return replace(task, schedule=replace(task.schedule, **changes))  # type: ignore[arg-type]


DIGITS = ("digits-conv", "digits-dense")
SHORT = {name: rescheduled(TASKS.get(name), epochs=1, batch=256) for name in DIGITS}

rng = np.random.default_rng(0)
CLASSIFIER = Classifier(rng.normal(size=(3, 20)), rng.normal(size=3))
KERNELS = Kernels(0.5 * rng.normal(size=(2, 1, 9)), 0.5 * rng.normal(size=(1, 2, 9)), (4, 5))
MODELS = {
    "convolution": Model.from_kernels(KERNELS, h=0.2, steps=3, classifier=CLASSIFIER),
    "dense": Model(*(0.2 * rng.normal(size=(2, 20, 20))), h=0.2, steps=3, classifier=CLASSIFIER),
}
SAMPLES = Samples(rng.uniform(size=(20, 6)), rng.integers(0, 3, size=6))


def moved(model: Model, name: str, change: np.ndarray) -> Model:
    """The model with one of its parameters changed."""
    classifier, kernels = model.classifier, model.kernels
    assert classifier is not None
    if name.startswith("classifier."):
        part = name.removeprefix("classifier.")
        return replace(model, classifier=replace(classifier, **{part: getattr(classifier, part) + change}))
    if kernels is None:
        return replace(model, **{name: getattr(model, name) + change})
    kernels = replace(kernels, **{name: getattr(kernels, name) + change})
    return Model.from_kernels(kernels, h=model.h, steps=model.steps, classifier=classifier)


@pytest.mark.parametrize(
    ("structure", "name"),
    [
        *(("convolution", name) for name in ("a", "b", "classifier.weight", "classifier.bias")),
        *(("dense", name) for name in ("A", "B", "classifier.weight", "classifier.bias")),
    ],
)
def test_gradients_are_those_of_the_loss(structure: str, name: str) -> None:
    """Along random directions, against central differences."""
    model, step = MODELS[structure], 1e-6
    _, slopes = loss_and_gradients(model, SAMPLES, tolerance=1e-13)
    directions = np.random.default_rng(1).normal(size=(5, *slopes[name].shape))
    for direction in directions:
        ends = [
            loss_and_gradients(moved(model, name, sign * step * direction), SAMPLES, tolerance=1e-13)[0].loss
            for sign in (1.0, -1.0)
        ]
        expected = (ends[0] - ends[1]) / (2.0 * step)
        assert np.vdot(slopes[name], direction) == pytest.approx(expected, rel=1e-6, abs=1e-8)


def test_evaluate_agrees_with_the_loss_that_is_trained() -> None:
    for model in MODELS.values():
        score, _ = loss_and_gradients(model, SAMPLES)
        accuracy, loss = evaluate(model, SAMPLES)
        assert (accuracy, loss) == (score.accuracy, pytest.approx(score.loss, rel=1e-12))


def test_a_model_without_a_classifier_cannot_be_evaluated() -> None:
    with pytest.raises(InvalidInputError, match="no classifier"):
        evaluate(replace(MODELS["dense"], classifier=None), SAMPLES)


@pytest.mark.parametrize("name", DIGITS)
def test_the_start_has_the_stiffness_of_its_task(name: str) -> None:
    model = TASKS.get(name).initial(np.random.default_rng(0))
    assert (model.A.shape, model.B.shape) == ((64, 64), (64, 64))
    norms = np.linalg.norm(model.A, 2) * np.linalg.norm(model.B, 2)
    assert model.h * norms == pytest.approx(TASKS.get(name).stiffness, rel=1e-12)


@pytest.mark.parametrize("name", DIGITS)
def test_a_short_training_reduces_the_loss(name: str) -> None:
    """Of the neural ODE with its own classifier, of which both have been fitted before on the same samples."""
    seen: list[Epoch] = []
    result = train(rescheduled(SHORT[name], epochs=3, jitter=0.0), progress=seen.append)
    assert tuple(seen) == result.history
    assert [(epoch.number, epoch.of) for epoch in seen] == [(1, 3), (2, 3), (3, 3)]
    assert seen[2].loss < seen[0].loss
    assert result.model.source == f"task {name}, seed 0"


def test_the_seed_decides_everything() -> None:
    task = replace(TASKS.get("two-moons"), schedule=replace(TASKS.get("two-moons").schedule, epochs=2))
    first, again, other = (train(task, seed=seed).model.tensors for seed in (1, 1, 2))
    for name, value in first.items():
        np.testing.assert_array_equal(value, again[name])
        assert not np.array_equal(value, other[name])


@pytest.mark.parametrize(("name", "least"), [("digits-conv", 0.95), ("digits-dense", 0.97)])
def test_accuracy_on_images_held_back(name: str, least: float) -> None:
    result = train(name)
    assert result.test_accuracy >= least
    assert result.test_accuracy == evaluate(result.model, load_digits().test).accuracy
    # The answer comes through the neural ODE: its classifier alone, on the images themselves, does much worse.
    assert result.bypassed_accuracy <= result.test_accuracy - 0.1
    assert (result.model.kernels is not None) == (TASKS.get(name).structure == "convolution")


def test_a_task_of_a_named_set() -> None:
    """Of the swiss roll, whose classes no line tells apart; the model finds its own data again."""
    result = train("swiss-roll")
    assert result.linear_accuracy < 0.6
    assert result.test_accuracy > 0.97
    problem = make_problem(result.model, samples=100)
    assert problem.data == "100 of 513 held-back points of the swiss roll, drawn with seed 0"
    assert set(result.model.tensors) >= {"A", "B", "bias", "encoder.weight", "classifier.bias"}


@pytest.mark.parametrize("name", ["spirals", "spirals-latent"])
def test_spirals_are_followed_at_irregular_times(name: str) -> None:
    """Small ones, whose gradient is that of the loss at all times, and whose loss falls."""
    whole = TASKS.get(name)
    schedule = replace(whole.schedule, epochs=3, batch=8)
    task = replace(whole, paths=replace(whole.paths, samples=32, times=12), hidden=6, h=1.0, schedule=schedule)
    model, data = task.initial(np.random.default_rng(0)), task.data().train
    assert model.grid is not None
    assert data.times is not None
    assert set(data.times) <= set(model.grid)
    _, found = loss_and_gradients(model, data)
    assert found.keys() == model.tensors.keys()
    for parameter, gradient in found.items():
        direction = np.random.default_rng(1).standard_normal(gradient.shape)
        losses = [
            evaluate(model.with_tensors({parameter: model.tensors[parameter] + step * direction}), data).loss
            for step in (1e-5, -1e-5)
        ]
        assert np.vdot(gradient, direction) == pytest.approx((losses[0] - losses[1]) / 2e-5, rel=1e-5)
    result = train(task)
    assert result.test_accuracy is None
    assert result.history[-1].loss < result.history[0].loss
    untrained = replace(whole.initial(np.random.default_rng(0)), trained_on=result.model.trained_on)
    problem = make_problem(untrained, samples=4)  # of the data that it names
    assert problem.objective.times is not None
    assert problem.objective.times.size == 30


def two_moons(method: str, **changes: object) -> NamedTask:
    schedule = Schedule(epochs=2, batch=16, jitter=0.0, **changes)  # type: ignore[arg-type]
    return NamedTask("two_moons(samples=60)", 4, 8, h=0.5, steps=4, method=method, schedule=schedule)


@pytest.mark.parametrize(
    ("method", "forward", "back"),
    [("rk4", 16, 16), ("verlet", 8, 8), ("dopri5", None, None), ("trapezoid", None, None)],
)
def test_every_history_has_the_evaluations_of_f(method: str, forward: int | None, back: int | None) -> None:
    """Of both ways; those of steps that follow the weights are more than one for each step."""
    task = two_moons(method)
    model = replace(task.initial(np.random.default_rng(0)), classifier=Classifier(np.eye(2, 4), np.zeros(2)))
    if method == "verlet":
        model = replace(model, field=hamiltonian_field(np.eye(2), np.zeros(2)))
    tuned = tune(model, task.schedule, digits=task.data())
    histories = [tuned.history] if method == "verlet" else [tuned.history, train(task).history]
    for epoch in (epoch for history in histories for epoch in history):
        assert epoch.noise == 0.0
        for spent, wanted in ((epoch.evaluations, forward), (epoch.adjoint_evaluations, back)):
            assert spent == wanted if wanted else spent > 4.0


@pytest.mark.parametrize(("method", "off"), [("rk4", 1e-4), ("dopri5(rtol=1e-9)", 1e-7)])
def test_the_augmented_solve_is_near_the_exact_adjoint(method: str, off: float) -> None:
    """Directly with losses at several times, and with ends; it takes no more evaluations than its steps have."""
    paths = SpiralPaths(samples=8, times=3, seen=2)
    for states in (0, 3):
        task = SpiralTask("mine", "spiral_paths", replace(paths, seen=2 if states else 0), states, 4, 0.2, method)
        model, data = task.initial(np.random.default_rng(0)), task.data().train
        exact, found = (pulled_loss(model, data, adjoint=way) for way in ("discrete", "augmented"))
        assert exact.score.loss == found.score.loss
        assert exact.slopes.keys() == found.slopes.keys() == model.tensors.keys()
        for name, slope in exact.slopes.items():
            np.testing.assert_allclose(found.slopes[name], slope, rtol=0, atol=off * np.abs(slope).max())
        assert found.adjoint_evaluations > 0
        assert method != "rk4" or found.adjoint_evaluations == exact.adjoint_evaluations


@pytest.mark.parametrize(
    ("changes", "gradient", "message"),
    [
        ({"method": "ab3"}, "hardware", "Runge-Kutta method"),
        ({"h": -0.5}, "hardware", "forward in time, h > 0"),
        ({"field": Layers([LayerField(np.eye(4))] * 2)}, "hardware", "weights of each step"),
        ({}, "true", 'take gradient="hardware"'),
    ],
)
def test_what_has_no_augmented_solve_says_so(changes: dict[str, Any], gradient: Any, message: str) -> None:
    task = two_moons("rk4")
    model = replace(task.initial(np.random.default_rng(0)), classifier=Classifier(np.eye(2, 4)), **changes)
    chip = Chip(Design(), engine="ideal", gradient=gradient)
    with pytest.raises(InvalidInputError, match=message):
        loss_and_gradients(chip.prepared(model), task.data().test, processor=chip, adjoint="augmented")


@pytest.mark.parametrize("name", sorted(set(TASKS.names) - set(DIGITS)))
def test_tasks_of_named_sets_say_what_they_are(name: str) -> None:
    task = TASKS.get(name)
    assert task.name == name
    assert task.trained_on.partition("(")[0] in DATA.names
    assert task.schedule.jitter == 0.0


def test_an_unknown_task() -> None:
    with pytest.raises(
        InvalidInputError,
        match=r"one of 'digits-conv', 'digits-dense', .*, an object of your own class of Task, .* got 'digits'",
    ):
        train("digits")
    with pytest.raises(InvalidInputError, match="seed must be a whole number >= 0, got -1"):
        train("digits-conv", seed=-1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"structure": "sparse"}, "structure must be"),
        ({"h": 0.0}, "h must be > 0"),
        ({"steps": 0}, "steps must be >= 1"),
        ({"stiffness": -1.0}, "stiffness must be > 0"),
    ],
)
def test_a_task_checks_its_values(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        DigitsTask(**({"name": "mine", "structure": "dense"} | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs must be >= 1"),
        ({"batch": 0}, "batch must be >= 1"),
        ({"learning_rate": 0.0}, "learning_rate must be > 0"),
        ({"weight_decay": -1.0}, "weight_decay must be >= 0"),
        ({"tolerance": 0.0}, "tolerance must be finite and > 0"),
        ({"trained": "kernels"}, "trained must be one of"),
        ({"adjoint": "continuous"}, "adjoint must be one of"),
    ],
)
def test_a_schedule_checks_its_values(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        Schedule(**changes)  # type: ignore[arg-type]
