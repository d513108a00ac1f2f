"""Losses of final states: values, and gradients against central differences."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from xbar_spice.errors import InvalidInputError
from xbar_spice.linear.operator import FloatArray
from xbar_spice.train.losses import CrossEntropy, SquaredDistance, softmax_cross_entropy
from xbar_spice.train.optimise import Adam, fit_classifier
from xbar_spice.weights import Classifier


def differences(function: Callable[[FloatArray], float], at: FloatArray, step: float = 1e-6) -> FloatArray:
    slopes = np.zeros_like(at)
    for index in np.ndindex(at.shape):
        move = np.zeros_like(at)
        move[index] = step
        slopes[index] = (function(at + move) - function(at - move)) / (2.0 * step)
    return slopes


@pytest.fixture
def problem() -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(4, 3)), rng.normal(size=4), rng.normal(size=(3, 5)), rng.integers(0, 4, size=5)


def test_cross_entropy_is_minus_the_mean_log_probability(problem: tuple[FloatArray, ...]) -> None:
    weight, bias, z, labels = problem
    exponentials = np.exp(weight @ z + bias[:, np.newaxis])
    probability = (exponentials / exponentials.sum(axis=0))[labels, np.arange(5)]
    score = softmax_cross_entropy(weight, bias, z, labels)
    assert score.loss == pytest.approx(-np.log(probability).mean(), rel=1e-14)
    assert score.accuracy == np.mean(exponentials.argmax(axis=0) == labels)


def test_cross_entropy_gradients(problem: tuple[FloatArray, ...]) -> None:
    weight, bias, z, labels = problem
    score = softmax_cross_entropy(weight, bias, z, labels)
    for actual, expected in (
        (score.weight, differences(lambda w: softmax_cross_entropy(w, bias, z, labels).loss, weight)),
        (score.bias, differences(lambda b: softmax_cross_entropy(weight, b, z, labels).loss, bias)),
        (score.cotangent, differences(lambda x: softmax_cross_entropy(weight, bias, x, labels).loss, z)),
    ):
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-9)


def test_scores_of_any_size_do_not_overflow() -> None:
    score = softmax_cross_entropy(np.eye(2), np.zeros(2), np.array([[1e4, 0.0], [0.0, 1e4]]), [0, 0])
    assert score.loss == pytest.approx(5e3)
    assert score.accuracy == 0.5
    assert np.isfinite(score.cotangent).all()


@pytest.mark.parametrize("lost", [np.nan, np.inf, -np.inf])
def test_a_sample_that_ran_away_is_not_classified_correctly(lost: float) -> None:
    z = np.array([[lost, 1.0, 0.0], [0.0, 0.0, 1.0]])
    score = softmax_cross_entropy(np.eye(2), np.zeros(2), z, [0, 0, 1])
    assert np.isnan(score.loss)
    assert score.accuracy == pytest.approx(2 / 3)


def test_the_objective_of_a_classifier_is_its_cross_entropy(problem: tuple[FloatArray, ...]) -> None:
    weight, bias, z, labels = problem
    classifier = Classifier(weight, bias)
    score = CrossEntropy(classifier, labels.astype(np.int64)).evaluate(z)
    np.testing.assert_array_equal(score.cotangent, softmax_cross_entropy(weight, bias, z, labels).cotangent)
    assert score.accuracy == np.mean(classifier.logits(z).argmax(axis=0) == labels)


def test_squared_distance() -> None:
    rng = np.random.default_rng(1)
    z, objective = rng.normal(size=(3, 4)), SquaredDistance(rng.normal(size=(3, 4)))
    score = objective.evaluate(z)
    assert score.accuracy is None
    slopes = differences(lambda x: objective.evaluate(x).loss, z)
    np.testing.assert_allclose(score.cotangent, slopes, rtol=0, atol=1e-9)
    with pytest.raises(InvalidInputError, match=r"shape of the target, \(3, 4\), got \(3, 5\)"):
        objective.evaluate(np.zeros((3, 5)))


@pytest.mark.parametrize(
    ("z", "labels", "message"),
    [
        (np.zeros((2, 5)), [0] * 5, r"takes states \(3, batch\) .* got \(2, 5\)"),
        (np.zeros((3, 5)), [0] * 4, r"got \(3, 5\) and \(4,\)"),
        (np.zeros((3, 2)), [0, 4], "labels must be whole numbers from 0 to 3"),
        (np.zeros((3, 2)), [0, -1], "labels must be whole numbers from 0 to 3"),
        (np.zeros((3, 2)), [0.0, 1.0], "labels must be whole numbers"),
        (np.zeros((3, 0)), np.zeros(0, dtype=int), "at least one sample"),
    ],
)
def test_labels_that_do_not_fit(z: FloatArray, labels: list[int], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        softmax_cross_entropy(np.zeros((4, 3)), np.zeros(4), z, labels)


def test_adam_moves_by_the_learning_rate_at_first() -> None:
    """Whatever the scale of the gradient."""
    moved = Adam().step({"x": np.zeros(3)}, {"x": np.array([1e-3, -1.0, 1e3])}, 0.1)
    np.testing.assert_allclose(moved["x"], [-0.1, 0.1, -0.1], rtol=1e-4)


def test_adam_finds_a_minimum() -> None:
    adam, parameters = Adam(), {"x": np.array([3.0, -2.0])}
    for step in range(1500):
        parameters = adam.step(parameters, {"x": np.array([1.0, 10.0]) * (parameters["x"] - 1.0)}, 0.1 * 0.995**step)
    np.testing.assert_allclose(parameters["x"], [1.0, 1.0], atol=1e-2)


def test_the_fitted_classifier_is_a_minimum() -> None:
    rng = np.random.default_rng(2)
    z, labels = rng.normal(size=(3, 40)), rng.integers(0, 4, size=40)
    fitted = fit_classifier(z, labels, 4, weight_decay=0.1)
    score = softmax_cross_entropy(fitted.weight, fitted.bias, z, labels)
    np.testing.assert_allclose(score.weight + 0.1 * fitted.weight, 0.0, atol=1e-4)
    np.testing.assert_allclose(score.bias, 0.0, atol=1e-4)


@pytest.mark.parametrize("kind", ["cross-entropy", "squared distance"])
def test_curvature_is_the_hessian_of_each_sample(kind: str) -> None:
    rng = np.random.default_rng(4)
    z = rng.normal(size=(4, 3))
    objective = (
        CrossEntropy(Classifier(rng.normal(size=(5, 4)), rng.normal(size=5)), np.array([0, 4, 2]))
        if kind == "cross-entropy"
        else SquaredDistance(rng.normal(size=(4, 3)))
    )
    roots, step = objective.curvature(z), 1e-6
    for sample in range(3):
        columns = []
        for state in range(4):
            move = np.zeros_like(z)
            move[state, sample] = step
            ends = [objective.evaluate(z + sign * move).cotangent[:, sample] for sign in (1, -1)]
            columns.append((ends[0] - ends[1]) / (2 * step))
        np.testing.assert_allclose(roots[:, :, sample].T @ roots[:, :, sample], columns, rtol=1e-7, atol=1e-9)
