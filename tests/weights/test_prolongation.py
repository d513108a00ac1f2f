"""A model on twice the steps: the reference values, and what must be kept."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support import relative, truth
from support.solver_table import numbers

import xbar_spice as xs
from xbar_spice.train.losses import softmax_cross_entropy
from xbar_spice.weights import Prolongation

CASE = truth("multilevel")["multilevel"]
BUILD: dict[str, tuple[Any, str]] = {
    "res": (xs.LayerField, "forward_euler"),
    "antisym_ab3_own": (xs.antisymmetric_field, "ab3"),
}


def model_of(kind: str, **others: Any) -> xs.Model:
    given, (build, method) = CASE["inputs"], BUILD[kind]
    layers = xs.Layers([build(K, b) for K, b in zip(given["K"], given["b"], strict=True)])
    classifier = xs.Classifier(given["W"], given["mu"])
    h = given["T"] / given["N"]
    return xs.Model(field=layers, h=h, steps=given["N"], method=method, classifier=classifier, **others)


def loss(model: xs.Model) -> float:
    given = CASE["inputs"]
    z = xs.integrate(model.field, numbers(given["Y0"]), model.method, **model.times).z[-1]
    return softmax_cross_entropy(model.classifier.weight, model.classifier.bias, z, given["labels"]).loss  # type: ignore[union-attr]


@pytest.mark.parametrize("how", ["constant", "linear"])
@pytest.mark.parametrize("kind", BUILD)
def test_reference_values(kind: str, how: Prolongation) -> None:
    wanted = CASE["results"][kind]
    coarse = model_of(kind)
    fine = xs.prolong(coarse, how)
    finest = xs.prolong(fine, how)
    found = [loss(coarse), loss(fine), loss(finest)]
    assert found == pytest.approx(
        [wanted["before"]["loss"], wanted[how]["loss"], wanted[how]["loss_second"]], rel=1e-12
    )
    assert (fine.h, fine.steps, finest.steps) == (coarse.h / 2, 2 * coarse.steps, 4 * coarse.steps)
    assert fine.classifier is coarse.classifier
    if how == "linear":
        assert relative(fine.tensors["K"][1], CASE["prolonged_linear_K_1"]) < 1e-15
        assert relative(fine.tensors["K"][-1], CASE["prolonged_linear_K_last"]) < 1e-15
    else:  # no array is written anew
        assert fine.field.fields[0] is fine.field.fields[1] is coarse.field.fields[0]  # type: ignore[union-attr]


def test_what_else_a_model_has_goes_along() -> None:
    ranges = (1.0, 2.0, 3.0, 4.0)
    coarse = model_of("res", weight_range=ranges, encoder=xs.Encoder(np.eye(2)), frozen=("bias",), on_arrays=("bias",))
    fine = xs.prolong(coarse, "linear")
    assert fine.weight_range == (1.0, 2.0, 2.0, 3.0, 3.0, 4.0, 4.0, 4.0)
    assert xs.prolong(coarse).weight_range == (1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 4.0, 4.0)
    assert (fine.encoder, fine.frozen, fine.on_arrays) == (coarse.encoder, ("bias",), ("bias",))
    shared = xs.Model([[1.0, 0.0]], [[0.0], [1.0]], grid=[0.0, 1.0, 4.0])  # a field that does not change stays one
    found = xs.prolong(shared, "linear")
    assert found.field is shared.field
    np.testing.assert_array_equal(found.grid, [0.0, 0.5, 1.0, 2.5, 4.0])


def test_kernels_are_prolonged_as_kernels() -> None:
    kernels = [[xs.Convolution(np.full(9, k * scale), (3, 3)) for scale in (1.0, 2.0)] for k in (1.0, 3.0)]
    fields = [xs.ReluField(a, b) for a, b in kernels]
    fine = xs.prolong(xs.Model(field=xs.Layers(fields), h=0.5, steps=2), "linear")
    assert {name: value.reshape(4, -1)[:, 0].tolist() for name, value in fine.tensors.items()} == {
        "a": [1.0, 2.0, 3.0, 3.0],
        "b": [2.0, 4.0, 6.0, 6.0],
    }
