"""Newton's method for the classifier and Gauss-Newton steps for the layers, against their reference values."""

from __future__ import annotations

import numpy as np
import pytest
from support import relative, truth
from support.solver_table import numbers

import xbar_spice as xs
from xbar_spice.errors import InvalidInputError
from xbar_spice.train.gauss_newton import block_coordinate_descent, gauss_newton_product, newton_classifier
from xbar_spice.train.regulariser import Regulariser
from xbar_spice.train.samples import Samples

CASE = truth("multilevel")["bcd_gauss_newton"]
GIVEN = CASE["inputs"]
LABELS = np.array(GIVEN["labels"])
PENALTY = Regulariser(decay=GIVEN["alpha_theta"])


@pytest.fixture(scope="module")
def model() -> xs.Model:
    layers = xs.Layers([xs.LayerField(K, b) for K, b in zip(GIVEN["K"], GIVEN["b"], strict=True)])
    fitted = numbers(CASE["classifier"]["W_mu"])
    classifier = xs.Classifier(fitted[:, :-1], fitted[:, -1])
    return xs.Model(field=layers, h=GIVEN["h"], steps=3, method="forward_euler", classifier=classifier)


def test_the_classifier_by_newton() -> None:
    wanted = CASE["classifier"]
    found = newton_classifier(numbers(CASE["Y_N"]), LABELS, 3, decay=GIVEN["alpha_W"], iterations=5, tolerance=0.0)
    assert found.objectives == pytest.approx(wanted["newton_objectives_from_zero"], rel=1e-12)
    assert found.slopes[:5] == pytest.approx(wanted["grad_norms"][:5], rel=1e-3)
    V = np.column_stack([found.classifier.weight, found.classifier.bias])
    assert relative(V, wanted["W_mu"]) < 1e-10


def test_the_product_with_the_gauss_newton_matrix(model: xs.Model) -> None:
    """By one tangent and one adjoint."""
    v = numbers(GIVEN["v"]).reshape(3, 6)
    run = xs.integrate(model.field, numbers(GIVEN["Y0"]), "forward_euler", h=model.h, steps=3)
    direction = {"K": v[:, :4].reshape(3, 2, 2), "bias": v[:, 4:]}
    found = gauss_newton_product(model, run, direction)
    joined = np.hstack([found["K"].reshape(3, 4), found["bias"]]).ravel()
    quadratic = GIVEN["alpha_theta"] * GIVEN["h"] * v.ravel()
    assert relative(joined + quadratic, CASE["gauss_newton_times_v"]) < 1e-12


def test_a_round_of_block_coordinate_descent(model: xs.Model) -> None:
    start = xs.Model(
        field=model.field,
        h=model.h,
        steps=3,
        method=model.method,
        classifier=xs.Classifier(np.zeros((3, 2)), np.zeros(3)),
    )
    data = Samples(numbers(GIVEN["Y0"]), LABELS)
    (found,) = block_coordinate_descent(start, data, PENALTY, rounds=1, cg_iterations=18, cg_tolerance=1e-10)
    assert found.residuals[:6] == pytest.approx(CASE["cg_relative_residuals"], rel=1e-6)
    moved = {name: found.model.tensors[name] - model.tensors[name] for name in ("K", "bias")}
    step = np.hstack([moved["K"].reshape(3, 4), moved["bias"]])
    assert relative(step.ravel(), CASE["step"]) < 1e-8
    assert found.length == CASE["armijo_t"]
    of_classifier = GIVEN["alpha_W"] / 2 * float(np.sum(numbers(CASE["classifier"]["W_mu"]) ** 2))
    assert found.objective - of_classifier == pytest.approx(CASE["loss_after_full_step"], rel=1e-8)
    products = len(
        found.residuals
    )  # forward: the run, one a product, the trial; transposed: the gradient, one a product
    assert (found.forward, found.transposed) == (3 * (1 + products + 1), 3 * (1 + products))


def test_rounds_make_the_objective_smaller(model: xs.Model) -> None:
    data = Samples(numbers(GIVEN["Y0"]), LABELS)
    penalty = Regulariser(1e-2, 1e-2)  # with the preconditioner of the layers
    rounds = block_coordinate_descent(model, data, penalty, rounds=4)
    values = [found.objective for found in rounds]
    assert values == sorted(values, reverse=True)
    assert all(found.length > 0.0 for found in rounds)


def test_what_does_not_fit_is_refused(model: xs.Model) -> None:
    data = Samples(numbers(GIVEN["Y0"]), LABELS)
    with pytest.raises(InvalidInputError, match="decay > 0"):
        block_coordinate_descent(model, data, Regulariser(1.0))
    headless = xs.Model(field=model.field, h=0.1, steps=3, method="forward_euler")
    with pytest.raises(InvalidInputError, match="a model with a linear classifier"):
        block_coordinate_descent(headless, data, PENALTY)
